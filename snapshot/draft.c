/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling a layer. In a plain one a page's slot is reused when the page is put
 * again; in an encoded one, which can only grow, the old slot becomes garbage.
 */
#include "draft.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "patch.h"
#include "seal.h"

struct difference {
	struct layer *base;
	uint32_t base_page;
	uint32_t patch_page; /* which of `patch_slot` */
	uint16_t offset, bytes;
};

struct draft {
	struct draft_options o;
	char name[FILE_NAME_TEXT];
	struct image base;
	struct layer_writer *writer;
	struct blockmap map;
	struct blockmap second; /* root 1, when it has bytes */
	uint64_t second_bytes;

	uint32_t slots; /* data pages so far */
	uint64_t *sums; /* of slot 1 and up */
	size_t sums_room;

	struct difference *diff;
	uint32_t ndiffs;
	size_t diffs_room;

	uint8_t patch[PAGE_BYTES]; /* the page of patches that is filled now */
	size_t patch_fill;
	uint32_t *patch_slot; /* the slots of those that are full */
	uint32_t npatches;
	size_t patches_room;
};

static int no_memory(const struct draft *d, struct fail *why)
{
	return file_failed(d->name, -ENOMEM, "fill", why);
}

int draft_create(struct draft **out, const struct draft_options *o,
		 struct fail *why)
{
	struct draft *d = calloc(1, sizeof(*d));
	struct layer_header h;
	int err;

	if (!d)
		return file_failed(o->name, -ENOMEM, "create", why);
	d->o = *o;
	snprintf(d->name, sizeof(d->name), "%s", o->name);
	if (o->base)
		d->base = *o->base;
	else
		image_init_empty(&d->base, o->bytes);
	err = blockmap_init(&d->map, (o->bytes + PAGE_BYTES - 1) >> PAGE_SHIFT);
	if (err)
		err = no_memory(d, why);
	if (!err)
		err = layer_header_make(&h, o->flags, 0);
	if (!err && o->uid) {
		memcpy(h.uid, o->uid, UID_BYTES);
		layer_header_seal(&h);
	}
	if (!err)
		err = layer_writer_create(&d->writer, o->fd, d->name, &h,
					  o->key, why);
	if (!err)
		err = layer_writer_begin(d->writer, why);
	if (err)
		draft_destroy(d);
	else
		*out = d;
	return err;
}

void draft_destroy(struct draft *d)
{
	if (!d)
		return;
	layer_writer_destroy(d->writer);
	blockmap_fini(&d->map);
	blockmap_fini(&d->second);
	free(d->sums);
	free(d->diff);
	free(d->patch_slot);
	free(d);
}

static int beyond(const struct draft *d, struct fail *why)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, d->name, NULL,
			"beyond the image's %llu pages",
			(unsigned long long)d->map.pages);
}

/* ---- where pages go ---- */

/* Stores a page: over `*slot` where that is possible, else in a new one. */
static int store(struct draft *d, const void *data, uint32_t *slot,
		 struct fail *why)
{
	bool again = *slot && !d->o.flags;
	int err;

	if (array_reserve(&d->sums, &d->sums_room, d->slots + 1u,
			  sizeof(*d->sums)))
		return no_memory(d, why);
	err = again ? layer_writer_replace(d->writer, *slot, data, why)
		    : layer_writer_page(d->writer, data, slot, why);
	if (err)
		return err;
	d->slots += !again;
	d->sums[*slot - 1] = sum64(data, PAGE_BYTES, 0);
	return 0;
}

static int set_block(struct draft *d, uint64_t page, uint8_t kind, uint32_t at,
		     struct fail *why)
{
	struct block b = { .kind = kind, .at = at };

	return blockmap_set(&d->map, page, b) ? no_memory(d, why) : 0;
}

/* ---- what a page is ---- */

/* The base's page, and the full page that a difference may refer to. */
struct base_page {
	bool zero;	    /* reads as zero */
	bool equal;	    /* what is put equals it */
	struct layer *full; /* NULL: there is none to refer to */
	uint32_t at;
	uint8_t data[PAGE_BYTES]; /* of `full` */
};

static int look_at_base(struct draft *d, uint64_t page, const void *data,
			struct base_page *b, struct fail *why)
{
	uint8_t now[PAGE_BYTES];
	struct layer_diff diff;
	struct extent e;
	int err;

	memset(b, 0, offsetof(struct base_page, data));
	if (page >= d->base.pages) {
		b->zero = !d->o.over_raw;
		return 0;
	}
	err = image_extent(&d->base, page, &e, why);
	if (err)
		return err;
	e.count = 1;
	b->zero = e.kind == EXTENT_ZERO ||
		  (e.kind == EXTENT_NOTHING && !d->o.over_raw);
	if (!e.layer || d->o.plain_pages)
		return 0;
	b->full = e.layer;
	b->at = e.at;
	if (e.kind == EXTENT_DIFFS) {
		err = image_read_extent(&e, now, why);
		b->equal = !err && !memcmp(now, data, PAGE_BYTES);
		if (!err)
			err = layer_diff(e.layer, e.at, &diff, why);
		if (!err)
			err = layer_import(e.layer, diff.import, &b->full, why);
		b->at = diff.base_page;
	}
	if (!err)
		err = layer_read(b->full, b->at, 1, b->data, why);
	if (e.kind == EXTENT_PAGES)
		b->equal = !err && !memcmp(b->data, data, PAGE_BYTES);
	return err;
}

/* Writes the page of patches that is full, and begins another. */
static int end_patches(struct draft *d, struct fail *why)
{
	uint32_t slot = 0;
	int err;

	if (!d->patch_fill)
		return 0;
	if (array_reserve(&d->patch_slot, &d->patches_room, d->npatches + 1u,
			  sizeof(*d->patch_slot)))
		return no_memory(d, why);
	memset(d->patch + d->patch_fill, 0, PAGE_BYTES - d->patch_fill);
	err = store(d, d->patch, &slot, why);
	if (err)
		return err;
	d->patch_slot[d->npatches++] = slot;
	d->patch_fill = 0;
	return 0;
}

static int put_difference(struct draft *d, uint64_t page,
			  const struct base_page *b, const uint8_t *patch,
			  unsigned len, struct fail *why)
{
	struct block old = blockmap_get(&d->map, page);
	uint32_t at = old.kind == BLOCK_DIFF ? old.at : d->ndiffs;
	int err = 0;

	if (d->patch_fill + len > PAGE_BYTES)
		err = end_patches(d, why);
	if (err)
		return err;
	if (array_reserve(&d->diff, &d->diffs_room, at + 1u, sizeof(*d->diff)))
		return no_memory(d, why);
	err = set_block(d, page, BLOCK_DIFF, at, why);
	if (err)
		return err;
	d->diff[at] = (struct difference){
		.base = b->full,
		.base_page = b->at,
		.patch_page = d->npatches,
		.offset = (uint16_t)d->patch_fill,
		.bytes = (uint16_t)len,
	};
	d->ndiffs = MAX(d->ndiffs, at + 1);
	memcpy(d->patch + d->patch_fill, patch, len);
	d->patch_fill += len;
	return 0;
}

static int put_full(struct draft *d, uint64_t page, const void *data,
		    struct fail *why)
{
	struct block old = blockmap_get(&d->map, page);
	uint32_t slot = old.kind == BLOCK_PAGE ? old.at : 0;
	int err = store(d, data, &slot, why);

	return err ? err : set_block(d, page, BLOCK_PAGE, slot, why);
}

int draft_put(struct draft *d, uint64_t page, const void *data,
	      struct fail *why)
{
	uint8_t patch[PATCH_MAX_BYTES];
	struct base_page b;
	int err, len = -E2BIG;

	if (page >= d->map.pages)
		return beyond(d, why);
	err = look_at_base(d, page, data, &b, why);
	if (err)
		return err;
	if (mem_is_zero(data, PAGE_BYTES))
		return set_block(d, page, b.zero ? BLOCK_NONE : BLOCK_ZERO, 0,
				 why);
	if (b.equal)
		return set_block(d, page, BLOCK_NONE, 0, why);
	/* A slot of its own is rewritten: nothing to save. */
	if (b.full && blockmap_get(&d->map, page).kind != BLOCK_PAGE)
		len = patch_make(b.data, data, patch);
	return len > 0 ? put_difference(d, page, &b, patch, (unsigned)len, why)
		       : put_full(d, page, data, why);
}

/* The base reads as zero there: what was put meanwhile is taken back. */
static int forget(struct draft *d, uint64_t page, uint64_t end,
		  struct fail *why)
{
	int err = 0;

	while (!err && (page = blockmap_next(&d->map, page)) < end)
		err = set_block(d, page, BLOCK_NONE, 0, why);
	return err;
}

int draft_put_zero(struct draft *d, uint64_t page, uint64_t count,
		   struct fail *why)
{
	int err = 0;

	if (!range_within(page, count, d->map.pages))
		return beyond(d, why);
	while (count && !err) {
		struct extent e = { .count = count, .kind = EXTENT_NOTHING };
		bool zero = !d->o.over_raw;

		if (page < d->base.pages) {
			err = image_extent(&d->base, page, &e, why);
			zero = e.kind == EXTENT_ZERO ||
			       (e.kind == EXTENT_NOTHING && zero);
		}
		e.count = MIN(e.count, count);
		if (!err && zero)
			err = forget(d, page, page + e.count, why);
		for (uint64_t i = 0; i < e.count && !err && !zero; i++)
			err = set_block(d, page + i, BLOCK_ZERO, 0, why);
		page += e.count;
		count -= e.count;
	}
	return err;
}

void draft_count(const struct draft *d, struct draft_counts *c)
{
	memset(c, 0, sizeof(*c));
	for (uint64_t p = blockmap_next(&d->map, 0); p < d->map.pages;
	     p = blockmap_next(&d->map, p + 1)) {
		uint8_t kind = blockmap_get(&d->map, p).kind;

		c->full += kind == BLOCK_PAGE;
		c->zero += kind == BLOCK_ZERO;
		c->diffs += kind == BLOCK_DIFF;
	}
	c->stored_pages = d->slots;
}

/* ---- the second image ---- */

static int put_second_page(struct draft *d, uint64_t page, const void *data,
			   struct fail *why)
{
	struct block b = { .kind = BLOCK_PAGE };
	int err;

	/* It lies on nothing, which reads as zero. */
	if (mem_is_zero(data, PAGE_BYTES))
		return 0;
	err = store(d, data, &b.at, why);
	if (!err && blockmap_set(&d->second, page, b))
		err = no_memory(d, why);
	return err;
}

int draft_put_second(struct draft *d, const void *data, size_t len,
		     struct fail *why)
{
	uint8_t last[PAGE_BYTES] = { 0 };
	const uint8_t *from = data;
	uint64_t full = len >> PAGE_SHIFT, rest = len % PAGE_BYTES;
	int err = 0;

	assert(!d->second_bytes);
	if (!len || len > DRAFT_SECOND_MAX)
		return fail_set(why, EXIT_USAGE, -EINVAL, d->name, NULL,
				"a second image of %zu bytes: 1 to %llu are "
				"possible",
				len, (unsigned long long)DRAFT_SECOND_MAX);
	if (blockmap_init(&d->second, full + (rest != 0)))
		return no_memory(d, why);
	d->second_bytes = align_up(len, 512);
	for (uint64_t i = 0; i < full && !err; i++)
		err = put_second_page(d, i, from + (i << PAGE_SHIFT), why);
	if (err || !rest)
		return err;
	memcpy(last, from + (full << PAGE_SHIFT), rest);
	return put_second_page(d, full, last, why);
}

/* ---- the end ---- */

static int put_sums(void *ctx, struct layer_writer *w, struct fail *why)
{
	const struct draft *d = ctx;

	return layer_writer_put(w, d->sums, d->slots, why);
}

static int put_diffs(void *ctx, struct layer_writer *w, struct fail *why)
{
	const struct draft *d = ctx;
	int err = 0;

	for (uint32_t i = 0; i < d->ndiffs && !err; i++) {
		const struct difference *x = &d->diff[i];
		struct layer_diff out = {
			.patch_offset = x->offset,
			.base_page = x->base_page,
			.patch_page = d->patch_slot[x->patch_page],
			.patch_bytes = x->bytes,
		};

		err = layer_writer_import(w, x->base, &out.import, why);
		if (!err)
			err = layer_writer_put(w, &out, 1, why);
	}
	return err;
}

int draft_seal(struct draft *d, struct object_id *id, struct fail *why)
{
	struct seal s = {
		.writer = d->writer,
		.base = &d->base,
		.bytes = d->o.bytes,
		.map = &d->map,
		.second = d->second_bytes ? &d->second : NULL,
		.second_bytes = d->second_bytes,
		.sums = put_sums,
		.diffs = put_diffs,
		.ctx = d,
	};
	int err = end_patches(d, why);

	if (err)
		return err;
	layer_writer_meta(d->writer, d->slots);
	return seal_layer(&s, id, why);
}
