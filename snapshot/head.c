/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing a head. A block that is written for the first time gets a
 * slot, and the map learns of it when its data is there; later writes go to the
 * same slot, unless the last commit vouches for what is in it.
 */
#include <errno.h>
#include <string.h>

#include "fileio.h"
#include "head_impl.h"

uint64_t head_bytes(const struct head *h)
{
	return h->header.bytes;
}

int head_fd(const struct head *h)
{
	return h->fd;
}

const uint8_t *head_uid(const struct head *h)
{
	return h->header.uid;
}

void head_read_by(struct head *h, int fd)
{
	h->read_fd = fd;
}

void head_freeze(struct head *h)
{
	h->frozen = true;
}

void head_set_below(struct head *h, const struct head_below *below)
{
	h->below = *below;
}

void head_count(const struct head *h, struct head_counts *c)
{
	*c = h->counts;
	c->blocks = h->map.used;
	c->file_pages = h->end;
	c->log_records = h->log_records;
}

static int beyond(const struct head *h, struct fail *why)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, h->name, NULL,
			"beyond the end of the disk");
}

/* ---- slots ---- */

int numbers_reserve(struct numbers *a, size_t more)
{
	return array_reserve(&a->v, &a->room, a->n + more, sizeof(*a->v));
}

void numbers_add(struct numbers *a, uint64_t v)
{
	a->v[a->n++] = v;
}

int slot_runs_add(struct slot_run **v, size_t *n, size_t *room, uint32_t slot,
		  uint32_t count)
{
	if (array_reserve(v, room, *n + 1, sizeof(**v)))
		return -ENOMEM;
	(*v)[(*n)++] = (struct slot_run){ slot, count };
	return 0;
}

int slots_take_end(struct head *h, uint32_t count, struct slot_run *run)
{
	if (count > LAYER_MAX_DATA_PAGES - h->end)
		return -EFBIG;
	*run = (struct slot_run){ h->end, count };
	h->end += count;
	return 0;
}

/* At most `max` slots that follow each other. 0, -ENOMEM never, -EFBIG. */
static int slots_take(struct head *h, uint32_t max, struct slot_run *run)
{
	struct slot_run *top;

	if (!h->nfree)
		return slots_take_end(h, max, run);
	top = &h->free[h->nfree - 1];
	run->count = MIN(max, top->count);
	top->count -= run->count;
	run->slot = top->slot + top->count;
	h->nfree -= top->count == 0;
	return 0;
}

void slots_give(struct head *h, uint32_t slot, uint32_t count)
{
	struct slot_run *top = h->nfree ? &h->free[h->nfree - 1] : NULL;

	if (slot + count == h->end)
		h->end = slot;
	else if (top && top->slot + top->count == slot)
		top->count += count;
	else if (count)
		(void)slot_runs_add(&h->free, &h->nfree, &h->free_room, slot,
				    count);
}

/* ---- where blocks are ---- */

static void locate_raw(const struct head_below *b, uint64_t block,
		       struct where *w)
{
	uint64_t offset = block << PAGE_SHIFT;
	uint64_t left = offset < b->raw_bytes ? b->raw_bytes - offset : 0;

	if (b->raw_fd < 0 || !left) {
		w->kind = WHERE_ZERO;
		return;
	}
	w->kind = WHERE_FILE;
	w->fd = b->raw_fd;
	w->offset = offset;
	w->count = MIN(w->count, (left + PAGE_BYTES - 1) >> PAGE_SHIFT);
	w->bytes = MIN(left, w->count << PAGE_SHIFT);
}

static int locate_below(const struct head_below *b, uint64_t block,
			struct where *w, struct fail *why)
{
	int err;

	if (!b->image || block >= b->image->pages) {
		locate_raw(b, block, w);
		return 0;
	}
	err = image_extent(b->image, block, &w->extent, why);
	if (err)
		return err;
	w->count = MIN(w->count, w->extent.count);
	w->extent.count = w->count;
	switch (w->extent.kind) {
	case EXTENT_NOTHING:
		locate_raw(b, block, w);
		break;
	case EXTENT_ZERO:
		w->kind = WHERE_ZERO;
		break;
	case EXTENT_PAGES:
	case EXTENT_DIFFS:
		w->kind = WHERE_IMAGE;
		break;
	}
	return 0;
}

int head_locate(struct head *h, uint64_t block, uint64_t max, struct where *w,
		struct fail *why)
{
	struct block b;

	if (!max || !range_within(block, max, h->map.pages))
		return beyond(h, why);
	*w = (struct where){ .fd = -1 };
	do {
		max = blockmap_run(&h->map, block, max);
		b = blockmap_get(&h->map, block);
		w->count = max;
		if (b.kind == BLOCK_NONE && !h->below.head)
			return locate_below(&h->below, block, w, why);
		w->kind = b.kind == BLOCK_PAGE ? WHERE_FILE : WHERE_ZERO;
		w->fd = h->read_fd;
		w->offset = (uint64_t)b.at << PAGE_SHIFT;
		w->bytes = max << PAGE_SHIFT;
		h = h->below.head;
	} while (b.kind == BLOCK_NONE && block < h->map.pages);
	if (b.kind == BLOCK_NONE)
		w->kind = WHERE_ZERO; /* a disk that has grown */
	return 0;
}

/* ---- read ---- */

/* Whole blocks of one run. */
static int read_run(const struct head *h, const struct where *w, uint8_t *buf,
		    struct fail *why)
{
	size_t len = w->count << PAGE_SHIFT;
	int err;

	switch (w->kind) {
	case WHERE_IMAGE:
		return image_read_extent(&w->extent, buf, why);
	case WHERE_ZERO:
		memset(buf, 0, len);
		return 0;
	case WHERE_FILE:
		break;
	}
	memset(buf + w->bytes, 0, len - w->bytes);
	err = file_read(w->fd, w->offset, buf, w->bytes);
	return err ? file_failed(h->name, err, "read", why) : 0;
}

static int read_blocks(struct head *h, uint64_t block, uint64_t count,
		       uint8_t *buf, struct fail *why)
{
	while (count) {
		struct where w;
		int err = head_locate(h, block, count, &w, why);

		if (!err)
			err = read_run(h, &w, buf, why);
		if (err)
			return err;
		block += w.count;
		count -= w.count;
		buf += w.count << PAGE_SHIFT;
	}
	return 0;
}

/* The first part of [offset, offset + len) that is whole blocks, or lies within
 * one block: its length, and the block. */
static size_t next_part(uint64_t offset, size_t len, uint64_t *block)
{
	uint64_t inside = offset % PAGE_BYTES;

	*block = offset >> PAGE_SHIFT;
	if (inside || len < PAGE_BYTES)
		return MIN(len, PAGE_BYTES - inside);
	return align_down(len, PAGE_BYTES);
}

int head_read(struct head *h, uint64_t offset, void *buf, size_t len,
	      struct fail *why)
{
	uint8_t *p = buf, bounce[PAGE_BYTES];

	if (!range_within(offset, len, h->header.bytes))
		return beyond(h, why);
	while (len) {
		uint64_t block;
		size_t n = next_part(offset, len, &block);
		int err;

		if (n % PAGE_BYTES == 0) {
			err = read_blocks(h, block, n >> PAGE_SHIFT, p, why);
		} else {
			err = read_blocks(h, block, 1, bounce, why);
			memcpy(p, bounce + offset % PAGE_BYTES, n);
		}
		if (err)
			return err;
		p += n;
		offset += n;
		len -= n;
	}
	return 0;
}

/* ---- write ---- */

static bool is_committed(struct block b)
{
	return b.kind == BLOCK_PAGE && (b.state == BLOCK_COMMITTED_EVEN ||
					b.state == BLOCK_COMMITTED_ODD);
}

static bool in_place(struct block b)
{
	return b.kind == BLOCK_PAGE && !is_committed(b);
}

static int may_write(const struct head *h, struct fail *why)
{
	if (h->frozen || !h->writable)
		return fail_set(why, EXIT_WRONG_STATE, -EROFS, h->name, NULL,
				"is not written any more");
	return 0;
}

/* A block gets another content: its old slot is free at once, if no commit
 * knows of it, or after the next one. */
static int replace(struct head *h, uint64_t block, struct block now)
{
	struct block old = blockmap_get(&h->map, block);

	/* All or nothing: a slot that is given back while a block is in it
	 * would be another block's tomorrow. A batch on its way may come back.
	 */
	if (numbers_reserve(&h->leaving, h->batch_leaving.n + 1) ||
	    numbers_reserve(&h->pending, h->batch.n + 1) ||
	    blockmap_set(&h->map, block, now))
		return -ENOMEM;
	if (old.state != BLOCK_FRESH)
		numbers_add(&h->pending, block);
	/* A write that is on its way may be to this slot: to a block that is
	 * zeroed there is none, and else none is when the next flush begins. */
	if (old.kind == BLOCK_PAGE && old.state == BLOCK_FRESH &&
	    (now.kind == BLOCK_ZERO || !h->writing))
		slots_give(h, old.at, 1);
	else if (old.kind == BLOCK_PAGE)
		numbers_add(&h->leaving, old.at);
	h->moved |= now.kind == BLOCK_PAGE && is_committed(old);
	h->counts.moved += now.kind == BLOCK_PAGE && is_committed(old);
	return 0;
}

int head_write_begin(struct head *h, uint64_t block, uint32_t max,
		     struct head_write *w, struct fail *why)
{
	struct block first;
	struct slot_run run;
	uint32_t n = 1;
	int err = may_write(h, why);

	if (err)
		return err;
	if (!max || !range_within(block, max, h->map.pages))
		return beyond(h, why);
	first = blockmap_get(&h->map, block);
	w->block = block;
	w->in_place = in_place(first);
	for (; n < max; n++) {
		struct block b = blockmap_get(&h->map, block + n);

		if (in_place(b) != w->in_place ||
		    (w->in_place && b.at != first.at + n))
			break;
	}
	if (w->in_place) {
		w->slot = first.at;
		w->count = n;
		h->writing++;
		return 0;
	}
	err = slots_take(h, n, &run);
	if (err)
		return file_failed(h->name, err, "write", why);
	w->slot = run.slot;
	w->count = run.count;
	h->writing++;
	return 0;
}

int head_write_end(struct head *h, const struct head_write *w, bool good,
		   struct fail *why)
{
	uint32_t i = 0;
	int err = 0;

	h->unsynced = true;
	h->writing--;
	if (w->in_place)
		return 0;
	for (; good && i < w->count && !err; i++) {
		struct block b = {
			.at = w->slot + i,
			.kind = BLOCK_PAGE,
			.state = BLOCK_FRESH,
		};

		err = replace(h, w->block + i, b);
	}
	i -= err != 0;
	if (i < w->count)
		slots_give(h, w->slot + i, w->count - i);
	return err ? file_failed(h->name, err, "write", why) : 0;
}

static int write_blocks(struct head *h, uint64_t block, uint64_t count,
			const uint8_t *data, struct fail *why)
{
	while (count) {
		struct head_write w;
		int err, end;

		err = head_write_begin(
		    h, block, (uint32_t)MIN(count, UINT32_MAX), &w, why);
		if (err)
			return err;
		err = file_write(h->fd, (uint64_t)w.slot << PAGE_SHIFT, data,
				 (size_t)w.count << PAGE_SHIFT);
		if (err)
			file_failed(h->name, err, "write", why);
		end = head_write_end(h, &w, !err, why);
		if (err || end)
			return err ? err : end;
		block += w.count;
		count -= w.count;
		data += (size_t)w.count << PAGE_SHIFT;
	}
	return 0;
}

/* A part of one block: the whole of it is written, so that a new slot is
 * complete; where the block has one, only the part. */
static int write_part(struct head *h, uint64_t offset, const void *data,
		      size_t len, struct fail *why)
{
	uint64_t block = offset >> PAGE_SHIFT, inside = offset % PAGE_BYTES;
	struct block b = blockmap_get(&h->map, block);
	uint8_t whole[PAGE_BYTES];
	int err = may_write(h, why);

	if (err)
		return err;
	if (in_place(b)) {
		h->unsynced = true;
		err = file_write(h->fd, ((uint64_t)b.at << PAGE_SHIFT) + inside,
				 data, len);
		return err ? file_failed(h->name, err, "write", why) : 0;
	}
	err = read_blocks(h, block, 1, whole, why);
	if (err)
		return err;
	memcpy(whole + inside, data, len);
	return write_blocks(h, block, 1, whole, why);
}

int head_write(struct head *h, uint64_t offset, const void *buf, size_t len,
	       struct fail *why)
{
	const uint8_t *p = buf;

	if (!range_within(offset, len, h->header.bytes))
		return beyond(h, why);
	while (len) {
		uint64_t block;
		size_t n = next_part(offset, len, &block);
		int err = n % PAGE_BYTES
			      ? write_part(h, offset, p, n, why)
			      : write_blocks(h, block, n >> PAGE_SHIFT, p, why);

		if (err)
			return err;
		p += n;
		offset += n;
		len -= n;
	}
	return 0;
}

/* ---- zero ---- */

static int zero_blocks(struct head *h, uint64_t block, uint64_t count,
		       struct fail *why)
{
	static const struct block zero = { .kind = BLOCK_ZERO,
					   .state = BLOCK_FRESH };
	int err = may_write(h, why);

	while (count && !err) {
		struct where w;

		err = head_locate(h, block, count, &w, why);
		for (uint64_t i = 0;
		     !err && w.kind != WHERE_ZERO && i < w.count; i++) {
			err = replace(h, block + i, zero);
			if (err)
				file_failed(h->name, err, "zero", why);
		}
		block += w.count;
		count -= w.count;
	}
	return err;
}

int head_zero(struct head *h, uint64_t offset, uint64_t len, struct fail *why)
{
	static const uint8_t zeroes[PAGE_BYTES];

	if (!range_within(offset, len, h->header.bytes))
		return beyond(h, why);
	while (len) {
		uint64_t block;
		size_t n = next_part(offset, len, &block);
		/* The last block of a disk may be short: all of it that is. */
		bool whole =
		    n % PAGE_BYTES == 0 ||
		    (offset % PAGE_BYTES == 0 && offset + n == h->header.bytes);
		int err =
		    whole ? zero_blocks(h, block,
					(n + PAGE_BYTES - 1) >> PAGE_SHIFT, why)
			  : write_part(h, offset, zeroes, n, why);

		if (err)
			return err;
		offset += n;
		len -= n;
	}
	return 0;
}
