/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a layer under construction holds: for each page of the image (a block of
 * the disk) where it is. Memory: 8 bytes for each page in the neighbourhood
 * (512) of one that was set, and 8 bytes a neighbourhood.
 *
 * Owner: the draft or head that has it. Many threads may read while none
 * writes.
 */
#ifndef TINTYPE_BLOCKMAP_H
#define TINTYPE_BLOCKMAP_H

#include "image.h"

enum block_kind {
	BLOCK_NONE, /* not in this layer */
	BLOCK_PAGE, /* at: slot */
	BLOCK_ZERO,
	BLOCK_DIFF, /* at: number of the difference */
	BLOCK_HOLE, /* nothing, whatever the base has */
};

struct block {
	uint32_t at;
	uint8_t kind;
	uint8_t state; /* the owner's */
	uint16_t spare;
};

struct blockmap {
	struct block **leaf;
	uint64_t pages, leaves;
	uint64_t used; /* blocks that are not none */
};

/* 0 or -ENOMEM. */
int blockmap_init(struct blockmap *m, uint64_t pages);
void blockmap_fini(struct blockmap *m);

/* The block of a page within the map; none where nothing was set. */
struct block blockmap_get(const struct blockmap *m, uint64_t page);
/* 0 or -ENOMEM, and nothing has changed. */
int blockmap_set(struct blockmap *m, uint64_t page, struct block b);

/* The whole run becomes zero, state 0; it is within the map. Costs memory only
 * at its ends: all-zero neighbourhoods are one. 0 or -ENOMEM: some of it may be
 * zero then. */
int blockmap_set_zero(struct blockmap *m, uint64_t page, uint64_t count);

/* The first page from `page` on that is not none, or m->pages. */
uint64_t blockmap_next(const struct blockmap *m, uint64_t page);

/* The run from `page` on: blocks alike that follow each other, at most `max`;
 * none is a run too. `state` is not looked at. */
uint64_t blockmap_run(const struct blockmap *m, uint64_t page, uint64_t max);

/* Runs as radix_build wants them; ctx is a struct blockmap_cursor. */
struct blockmap_cursor {
	const struct blockmap *map;
	uint64_t page;
};
int blockmap_next_extent(void *ctx, struct extent *e, struct fail *why);

/* A bit for each slot below `slots` that a block lies in: `used` has room and
 * is zeroed. */
void blockmap_mark_slots(const struct blockmap *m, uint64_t *used,
			 uint32_t slots);

#endif
