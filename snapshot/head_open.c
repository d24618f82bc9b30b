/* SPDX-License-Identifier: Apache-2.0 */
/* A head's file: made, opened, closed, and in the end sealed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "bits.h"
#include "fileio.h"
#include "head_impl.h"
#include "seal.h"

/* ---- make ---- */

static int write_empty(int fd, const struct layer_header *header,
		       uint32_t log_pages)
{
	struct slot_run log = { 1, log_pages };
	uint8_t page[PAGE_BYTES] = { 0 };
	int err = 0;

	for (uint32_t i = 0; i < log_pages && !err; i++)
		err = file_write(fd, (uint64_t)(1 + i) << PAGE_SHIFT, page,
				 sizeof(page));
	memcpy(page, header, sizeof(*header));
	if (!err)
		err = file_write(fd, 0, page, sizeof(page));
	if (!err)
		err = log_write_root(fd, 1, &log);
	return err ? err : file_sync(fd);
}

int head_create(int fd, const char *name, struct head_info *info,
		uint32_t log_pages, struct fail *why)
{
	struct layer_header h;
	int err;

	if (info->bytes == 0 || info->bytes % 512 ||
	    info->bytes > HEAD_MAX_BYTES)
		return fail_set(why, EXIT_USAGE, -EINVAL, name,
				"use a multiple of 512 bytes, up to 64 TiB",
				"%llu bytes are no size of a disk",
				(unsigned long long)info->bytes);
	err = layer_header_make(&h, 0, info->bytes);
	memcpy(info->uid, h.uid, UID_BYTES);
	h.below_kind = info->below_kind;
	if (info->below_kind == BELOW_LAYER) {
		h.below_root = info->below_root;
		memcpy(h.below, &info->below_layer, ID_BYTES);
	} else if (info->below_kind == BELOW_HEAD) {
		memcpy(h.below, info->below_uid, UID_BYTES);
	}
	layer_header_seal(&h);
	if (!err)
		err = write_empty(fd, &h, MAX(log_pages, 1));
	return err ? file_failed(name, err, "create", why) : 0;
}

/* ---- open ---- */

static int read_header(int fd, const char *name, struct layer_header *h,
		       struct fail *why)
{
	int err = layer_read_header(fd, name, h, why);

	if (err)
		return err;
	if (h->flags || h->bytes == 0 || h->bytes > HEAD_MAX_BYTES)
		return fail_set(why, EXIT_INTEGRITY, -EBADMSG, name, NULL,
				"is no head of a disk");
	return 0;
}

int head_read_info(int fd, const char *name, struct head_info *info,
		   struct fail *why)
{
	struct layer_header h;
	int err = read_header(fd, name, &h, why);

	if (err)
		return err;
	memset(info, 0, sizeof(*info));
	info->bytes = h.bytes;
	memcpy(info->uid, h.uid, UID_BYTES);
	info->below_kind = h.below_kind;
	info->below_root = h.below_root;
	if (h.below_kind == BELOW_LAYER)
		memcpy(&info->below_layer, h.below, ID_BYTES);
	else if (h.below_kind == BELOW_HEAD)
		memcpy(info->below_uid, h.below, UID_BYTES);
	return 0;
}

/* A sealed file has no log any more: as a head it would be empty. */
static int refuse_sealed(const struct head *h, struct fail *why)
{
	struct object_id id;
	int got = layer_is_sealed(h->fd, &h->header, &id);

	if (got < 0)
		return file_failed(h->name, got, "read", why);
	return got ? fail_set(why, EXIT_WRONG_STATE, -EBUSY, h->name,
			      "open it as a layer", "is sealed")
		   : 0;
}

static int recover(struct head *h, struct fail *why)
{
	int err = refuse_sealed(h, why);

	if (!err)
		err = log_recover(h, why);
	if (err || !h->writable)
		return err;
	/* A new head stays without a commit until it has something to keep. */
	if (!h->counts.commits && !h->counts.dropped)
		return 0;
	/* So that blocks of the last commit may be overwritten: from here on
	 * it is no longer the last. But its data may be in the page cache only,
	 * after the end of our process: that is synced before a commit says
	 * that it is there. */
	err = head_sync(h);
	if (!err)
		err = log_append(h, NULL, 0);
	if (!err)
		err = head_sync(h);
	return err ? file_failed(h->name, err, "recover", why) : 0;
}

int head_open(struct head **out, int fd, const char *name,
	      const struct head_below *below, bool writable, struct fail *why)
{
	struct head *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return file_failed(name, -ENOMEM, "open", why);
	h->fd = h->read_fd = fd;
	h->writable = writable;
	h->below = *below;
	h->batch_state = BLOCK_COMMITTED_EVEN;
	snprintf(h->name, sizeof(h->name), "%s", name);
	err = read_header(fd, name, &h->header, why);
	if (!err && blockmap_init(&h->map, (h->header.bytes + PAGE_BYTES - 1) >>
					       PAGE_SHIFT))
		err = file_failed(name, -ENOMEM, "open", why);
	if (!err)
		err = recover(h, why);
	if (err)
		head_close(h);
	else
		*out = h;
	return err;
}

void head_close(struct head *h)
{
	if (!h)
		return;
	if (h->map.leaf)
		blockmap_fini(&h->map);
	free(h->free);
	free(h->extents);
	free(h->pending.v);
	free(h->leaving.v);
	free(h->batch.v);
	free(h->batch_leaving.v);
	free(h->last.v);
	free(h->records.v);
	free(h);
}

/* ---- seal ---- */

struct sums {
	struct head *h;
	uint64_t *used;
};

static bool is_used(const struct sums *s, uint32_t slot)
{
	return bit_get(s->used, slot);
}

/* Only these: a free slot may never have been written, and lie beyond the
 * file's end. */
static int read_used(const struct sums *s, uint32_t slot, uint32_t n,
		     uint8_t *buf)
{
	int err = 0;

	for (uint32_t i = 0, end; i < n && !err; i = end) {
		end = i + 1;
		if (!is_used(s, slot + i))
			continue;
		while (end < n && is_used(s, slot + end))
			end++;
		err = file_read(s->h->fd, (uint64_t)(slot + i) << PAGE_SHIFT,
				buf + i * PAGE_BYTES, (end - i) * PAGE_BYTES);
	}
	return err;
}

/* The sums of some slots that follow each other. */
static int put_some(const struct sums *s, uint32_t slot, uint32_t n,
		    uint8_t *buf, struct layer_writer *w, struct fail *why)
{
	uint64_t sum[CHUNK_PAGES] = { 0 };
	int err = read_used(s, slot, n, buf);

	if (err)
		return file_failed(s->h->name, err, "read", why);
	for (uint32_t i = 0; i < n; i++)
		if (is_used(s, slot + i))
			sum[i] = sum64(buf + i * PAGE_BYTES, PAGE_BYTES, 0);
	return layer_writer_put(w, sum, n, why);
}

static int put_sums(void *ctx, struct layer_writer *w, struct fail *why)
{
	const struct sums *s = ctx;
	_cleanup_free_ uint8_t *buf = malloc(CHUNK_BYTES);
	int err = buf ? 0 : file_failed(s->h->name, -ENOMEM, "seal", why);

	for (uint32_t slot = 1; slot < s->h->end && !err; slot += CHUNK_PAGES)
		err = put_some(s, slot, MIN(s->h->end - slot, CHUNK_PAGES), buf,
			       w, why);
	return err;
}

/* The log is gone now: should the layer lose its end, it must not be taken for
 * an empty head. And what nothing refers to gives its space back; where the
 * file system cannot, it stays. The layer is whole with or without. */
static void punch_unused(const struct sums *s)
{
	static const struct log_root none[2];

	(void)!file_write(s->h->fd, LOG_ROOT_OFFSET(0), none, sizeof(none));
	for (uint32_t slot = 1, end; slot < s->h->end; slot = end) {
		end = slot + 1;
		if (is_used(s, slot))
			continue;
		while (end < s->h->end && !is_used(s, end))
			end++;
		(void)fallocate(s->h->fd,
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)slot << PAGE_SHIFT,
				(off_t)(end - slot) << PAGE_SHIFT);
	}
}

/* What a failed sync lost is not known: sums would vouch for it. */
static int may_seal(const struct head *h, struct fail *why)
{
	if (h->failed)
		return file_failed(h->name, h->failed, "seal", why);
	if (!h->frozen || !h->writable || h->stage != FLUSH_IDLE)
		return fail_set(why, EXIT_WRONG_STATE, -EBUSY, h->name, NULL,
				"is still written: freeze it first");
	return 0;
}

int head_seal(struct head *h, const struct image *base, struct object_id *id,
	      struct fail *why)
{
	_cleanup_free_ uint64_t *used = bits_create(h->end);
	struct sums sums = { .h = h, .used = used };
	struct image none;
	struct seal s = {
		.base = base ? base : &none,
		.bytes = h->header.bytes,
		.map = &h->map,
		.sums = put_sums,
		.ctx = &sums,
	};
	int err = may_seal(h, why);

	if (err)
		return err;
	err = used ? layer_writer_create(&s.writer, h->fd, h->name, &h->header,
					 NULL, why)
		   : file_failed(h->name, -ENOMEM, "seal", why);
	if (err)
		return err;
	image_init_empty(&none, h->header.bytes);
	blockmap_mark_slots(&h->map, used, h->end);
	layer_writer_meta(s.writer, h->end - 1);
	err = seal_layer(&s, id, why);
	if (layer_writer_sync_failed(s.writer))
		h->failed = layer_writer_sync_failed(s.writer);
	layer_writer_destroy(s.writer);
	if (!err)
		punch_unused(&sums);
	else /* a trailer that may be there is gone, and space is free */
		(void)!ftruncate(h->fd, (off_t)h->end << PAGE_SHIFT);
	return err;
}
