/* SPDX-License-Identifier: Apache-2.0 */
/* A sparse array of blocks in two levels. */
#include "blockmap.h"

#include <errno.h>
#include <string.h>

#include "bits.h"

#define LEAF_SHIFT  9
#define LEAF_BLOCKS (UINT64_C(1) << LEAF_SHIFT)

/* What every neighbourhood that is all zero points to. */
static const struct block zero_leaf[LEAF_BLOCKS] = {
	[0 ... LEAF_BLOCKS - 1] = { .kind = BLOCK_ZERO },
};

static bool is_zero_leaf(const struct block *leaf)
{
	return leaf == zero_leaf;
}

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
		if (!is_zero_leaf(m->leaf[i]))
			free(m->leaf[i]);
	free(m->leaf);
	memset(m, 0, sizeof(*m));
}

struct block blockmap_get(const struct blockmap *m, uint64_t page)
{
	const struct block *leaf = m->leaf[page >> LEAF_SHIFT];

	return leaf ? leaf[page % LEAF_BLOCKS] : (struct block){ 0 };
}

/* A leaf of the map's own in place of none, or of the shared one. */
static int own_leaf(struct block **leaf)
{
	struct block *own = calloc(LEAF_BLOCKS, sizeof(*own));

	if (!own)
		return -ENOMEM;
	if (*leaf)
		memcpy(own, *leaf, sizeof(zero_leaf));
	*leaf = own;
	return 0;
}

int blockmap_set(struct blockmap *m, uint64_t page, struct block b)
{
	struct block **leaf = &m->leaf[page >> LEAF_SHIFT], *old;

	if (!*leaf && b.kind == BLOCK_NONE)
		return 0;
	if ((!*leaf || is_zero_leaf(*leaf)) && own_leaf(leaf))
		return -ENOMEM;
	old = &(*leaf)[page % LEAF_BLOCKS];
	m->used += (b.kind != BLOCK_NONE) - (old->kind != BLOCK_NONE);
	*old = b;
	return 0;
}

static void set_zero_leaf(struct blockmap *m, struct block **leaf)
{
	if (is_zero_leaf(*leaf))
		return;
	m->used += LEAF_BLOCKS;
	for (uint64_t i = 0; *leaf && i < LEAF_BLOCKS; i++)
		m->used -= (*leaf)[i].kind != BLOCK_NONE;
	free(*leaf);
	/* Only read, as long as it is the shared one. */
	*leaf = (struct block *)(uintptr_t)zero_leaf;
}

int blockmap_set_zero(struct blockmap *m, uint64_t page, uint64_t count)
{
	struct block zero = { .kind = BLOCK_ZERO };

	while (count) {
		uint64_t n = 1;

		if (page % LEAF_BLOCKS == 0 && count >= LEAF_BLOCKS) {
			set_zero_leaf(m, &m->leaf[page >> LEAF_SHIFT]);
			n = LEAF_BLOCKS;
		} else if (blockmap_set(m, page, zero)) {
			return -ENOMEM;
		}
		page += n;
		count -= n;
	}
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
	max = MIN(max, m->pages - page);
	while (n < max) {
		uint64_t at = page + n;
		struct block b = blockmap_get(m, at);

		if (!goes_on(last, b))
			break;
		last = b;
		n++;
		if (is_zero_leaf(m->leaf[at >> LEAF_SHIFT]))
			n = MIN(align_down(at, LEAF_BLOCKS) + LEAF_BLOCKS -
				    page,
				max);
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
	uint64_t n;

	for (uint64_t p = blockmap_next(m, 0); p < m->pages;
	     p = blockmap_next(m, p + n)) {
		struct block b = blockmap_get(m, p);

		n = blockmap_run(m, p, m->pages - p);
		for (uint64_t i = 0; b.kind == BLOCK_PAGE && i < n; i++)
			if (b.at + i < slots)
				bit_set(used, b.at + i);
	}
}
