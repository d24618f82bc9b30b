/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that is a head (snapshot/head.h). Whole blocks go straight between
 * guest memory and the file that head_locate or head_write_begin names; a part
 * of a block that has no slot of its own to be overwritten goes through the
 * job's bounce.
 *
 * What head_locate says of a block holds until that block is written, zeroed,
 * or was so and a flush ends. Since requests that share a block and do not
 * both read are taken one after the other, no read is on its way to a slot
 * that has been given up, and no two partial writes of a block mix.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "disk_impl.h"
#include "util.h"

/* Blocks that are zeroed in one go. */
#define ZERO_BLOCKS 4096

/* Where the job stands. */
struct place {
	uint64_t block, left;
	unsigned inside;
};

static struct place place_of(const struct job *j)
{
	uint64_t at = j->r->offset + j->done;

	return (struct place){ .block = at >> PAGE_SHIFT,
			       .left = j->r->bytes - j->done,
			       .inside = (unsigned)(at % PAGE_BYTES) };
}

/* ---- reading ---- */

static int read_block(struct job *j, struct where *w)
{
	w->extent.count = 1;
	return image_read_extent(&w->extent, j->bounce, NULL);
}

/* Where the next bytes go that lie together: how many, and `*to`. */
static uint64_t next_room(const struct job *j, uint8_t **to)
{
	const struct iovec *v = &j->r->iov[j->iov];
	size_t at = j->iov_at;

	for (; at == v->iov_len; v++)
		at = 0;
	*to = (uint8_t *)v->iov_base + at;
	return v->iov_len - at;
}

/* Whole blocks straight to the guest, where they have room side by side. It may
 * change them before they are compared with their sums: it gets an error then
 * that is its own. */
static int read_image(struct job *j, const struct place *at, struct where *w)
{
	struct part *p = &j->part;
	uint8_t *to;
	uint64_t n = MIN(next_room(j, &to), at->left) >> PAGE_SHIFT;

	if (!at->inside && n) {
		w->extent.count = MIN(n, w->count);
		p->kind = PART_DONE;
		p->bytes = w->extent.count << PAGE_SHIFT;
		return image_read_extent(&w->extent, to, NULL);
	}
	p->kind = PART_COPY;
	p->bytes = MIN(PAGE_BYTES - at->inside, at->left);
	return read_block(j, w);
}

static int read_part(struct job *j, const struct place *at)
{
	struct part *p = &j->part;
	uint64_t blocks =
	    (at->inside + at->left + PAGE_BYTES - 1) >> PAGE_SHIFT;
	struct where w;
	int err = head_locate(j->store->head, at->block, blocks, &w, NULL);

	if (err)
		return err;
	p->inside = at->inside;
	p->kind = PART_FILL;
	p->bytes = MIN((w.count << PAGE_SHIFT) - at->inside, at->left);
	if (w.kind == WHERE_IMAGE)
		return read_image(j, at, &w);
	/* What the file below has not reads as zero. */
	if (w.kind == WHERE_ZERO || w.bytes <= at->inside)
		return 0;
	p->kind = PART_MOVE;
	p->fd = w.fd;
	p->at = w.offset + at->inside;
	p->bytes = MIN(p->bytes, w.bytes - at->inside);
	return 0;
}

/* ---- writing ---- */

/* The block as it was, for a part of it to be changed. */
static int old_block(struct job *j, uint64_t block)
{
	struct part *p = &j->part;
	struct where w;
	int err = head_locate(j->store->head, block, 1, &w, NULL);

	if (err)
		return err;
	if (w.kind == WHERE_IMAGE)
		return read_block(j, &w);
	p->old_bytes = w.kind == WHERE_FILE ? w.bytes : 0;
	memset(j->bounce + p->old_bytes, 0, PAGE_BYTES - p->old_bytes);
	p->old_fd = w.fd;
	p->old_at = w.offset;
	return 0;
}

static int begin_write(struct job *j, uint64_t block, uint64_t blocks)
{
	int err = head_write_begin(j->store->head, block,
				   (uint32_t)MIN(blocks, UINT32_MAX), &j->write,
				   NULL);

	j->begun = err == 0;
	j->part.fd = j->store->fd;
	j->part.at = (uint64_t)j->write.slot << PAGE_SHIFT;
	return err;
}

static int write_part(struct job *j, const struct place *at)
{
	struct part *p = &j->part;
	int err;

	p->kind = PART_MOVE;
	if (!at->inside && at->left >= PAGE_BYTES) {
		err = begin_write(j, at->block, at->left >> PAGE_SHIFT);
		p->bytes = (uint64_t)j->write.count << PAGE_SHIFT;
		return err;
	}
	p->inside = at->inside;
	p->bytes = MIN(PAGE_BYTES - at->inside, at->left);
	err = begin_write(j, at->block, 1);
	if (err)
		return err;
	if (j->write.in_place) {
		p->at += at->inside;
		return 0;
	}
	p->kind = PART_MERGE;
	return old_block(j, at->block);
}

/* Whole blocks, of which the disk's last one may be short. */
static int zero_part(struct job *j, const struct place *at)
{
	struct part *p = &j->part;
	uint64_t offset = j->r->offset + j->done;
	uint64_t bytes = align_down(at->left, PAGE_BYTES);

	if (offset + at->left == j->store->disk.bytes)
		bytes = at->left;
	if (at->inside || !bytes)
		return write_part(j, at);
	p->kind = PART_DONE;
	p->bytes = MIN(bytes, (uint64_t)ZERO_BLOCKS << PAGE_SHIFT);
	return head_zero(j->store->head, offset, p->bytes, NULL);
}

static int head_part(struct job *j)
{
	struct place at = place_of(j);

	if (j->r->op == DISK_READ)
		return read_part(j, &at);
	return job_zeroes(j->r) ? zero_part(j, &at) : write_part(j, &at);
}

static int head_part_end(struct job *j, int err)
{
	return head_write_end(j->store->head, &j->write, !err, NULL);
}

static int flush_step(struct disk_store *s, int result)
{
	int err = !result && s->settle ? s->settle(s->settle_ctx) : 0;

	return err ? err : head_flush_step(s->head, result, NULL);
}

static void destroy(struct disk_store *s)
{
	head_close(s->head);
}

static const struct disk_layout head_layout = {
	.ordered = true,
	.part = head_part,
	.part_end = head_part_end,
	.flush_step = flush_step,
	.destroy = destroy,
};

struct disk *disk_head_create(const struct disk_store_config *c, struct head *h)
{
	struct disk_store *s =
	    disk_store_create(c, &head_layout, head_bytes(h));

	if (!s) {
		head_close(h);
		return NULL;
	}
	s->head = h;
	s->fd = head_fd(h);
	return &s->disk;
}

void disk_head_swap(struct disk *d, struct head *h)
{
	struct disk_store *s = disk_store_of(d);

	assert(s->head && !disk_store_is_busy(s));
	s->head = h;
	s->fd = head_fd(h);
	s->flush_held = true;
}

void disk_head_release(struct disk *d)
{
	disk_store_release(disk_store_of(d));
}
