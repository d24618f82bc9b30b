/* SPDX-License-Identifier: Apache-2.0 */
/* A sparse array of blocks in two levels. */
#include "blockmap.h"

#include <errno.h>
#include <string.h>

#define LEAF_SHIFT  9
#define LEAF_BLOCKS (UINT64_C(1) << LEAF_SHIFT)

int blockmap_init(struct blockmap *m, uint64_t pages)
{
	m->pages = pages;
	m->used = 0;
	m->leaves = (pages + LEAF_BLOCKS - 1) >> LEAF_SHIFT;
	/* Of a large disk this is much, and the kernel gives no page of it
	 * before it is touched. */
	m->leaf = calloc(MAX(m->leaves, 1), sizeof(*m->leaf));
	return m->leaf ? 0 : -ENOMEM;
}

void blockmap_fini(struct blockmap *m)
{
	for (uint64_t i = 0; m->leaf && i < m->leaves; i++)
		free(m->leaf[i]);
	free(m->leaf);
	memset(m, 0, sizeof(*m));
}

struct block blockmap_get(const struct blockmap *m, uint64_t page)
{
	const struct block *leaf = m->leaf[page >> LEAF_SHIFT];

	return leaf ? leaf[page % LEAF_BLOCKS] : (struct block){ 0 };
}

int blockmap_set(struct blockmap *m, uint64_t page, struct block b)
{
	struct block **leaf = &m->leaf[page >> LEAF_SHIFT], *old;

	if (!*leaf) {
		if (b.kind == BLOCK_NONE)
			return 0;
		*leaf = calloc(LEAF_BLOCKS, sizeof(**leaf));
		if (!*leaf)
			return -ENOMEM;
	}
	old = &(*leaf)[page % LEAF_BLOCKS];
	m->used += (b.kind != BLOCK_NONE) - (old->kind != BLOCK_NONE);
	*old = b;
	return 0;
}

/* The first page from `page` on that is not none, or `stop`, which is within
 * the map. */
static uint64_t next_before(const struct blockmap *m, uint64_t page,
			    uint64_t stop)
{
	while (page < stop) {
		const struct block *leaf = m->leaf[page >> LEAF_SHIFT];
		uint64_t end =
		    MIN(align_down(page, LEAF_BLOCKS) + LEAF_BLOCKS, stop);

		for (; leaf && page < end; page++)
			if (leaf[page % LEAF_BLOCKS].kind != BLOCK_NONE)
				return page;
		page = end;
	}
	return stop;
}

uint64_t blockmap_next(const struct blockmap *m, uint64_t page)
{
	return page < m->pages ? next_before(m, page, m->pages) : m->pages;
}

static bool goes_on(struct block a, struct block b)
{
	if (a.kind != b.kind)
		return false;
	return (a.kind != BLOCK_PAGE && a.kind != BLOCK_DIFF) ||
	       a.at + 1 == b.at;
}

uint64_t blockmap_run(const struct blockmap *m, uint64_t page, uint64_t max)
{
	struct block last = blockmap_get(m, page);
	uint64_t n = 1;

	if (last.kind == BLOCK_NONE)
		return next_before(m, page, page + MIN(max, m->pages - page)) -
		       page;
	for (; n < max && page + n < m->pages; n++) {
		struct block b = blockmap_get(m, page + n);

		if (!goes_on(last, b))
			break;
		last = b;
	}
	return n;
}

static enum extent_kind extent_kind_of(uint8_t kind)
{
	switch ((enum block_kind)kind) {
	case BLOCK_PAGE:
		return EXTENT_PAGES;
	case BLOCK_ZERO:
		return EXTENT_ZERO;
	case BLOCK_DIFF:
		return EXTENT_DIFFS;
	case BLOCK_NONE:
	case BLOCK_HOLE:
		break;
	}
	return EXTENT_NOTHING;
}

int blockmap_next_extent(void *ctx, struct extent *e, struct fail *why)
{
	struct blockmap_cursor *c = ctx;
	uint64_t page = blockmap_next(c->map, c->page);
	struct block b;

	if (page >= c->map->pages)
		return 0;
	b = blockmap_get(c->map, page);
	*e = (struct extent){
		.page = page,
		.count = blockmap_run(c->map, page, NODE_ENTRIES),
		.kind = extent_kind_of(b.kind),
		.at = b.at,
	};
	c->page = page + e->count;
	return 1;
}

void blockmap_mark_slots(const struct blockmap *m, uint64_t *used,
			 uint32_t slots)
{
	for (uint64_t p = blockmap_next(m, 0); p < m->pages;
	     p = blockmap_next(m, p + 1)) {
		struct block b = blockmap_get(m, p);

		if (b.kind == BLOCK_PAGE && b.at < slots)
			used[b.at / 64] |= UINT64_C(1) << (b.at % 64);
	}
}
