/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One descent from the top, children before their parents, so that nodes can be
 * written as they are finished. A subtree without a replaced page is not looked
 * into: its entry is copied, with the layer it lies in as an import.
 */
#include "radix.h"

#include <errno.h>
#include <string.h>

struct build {
	struct layer_writer *w;
	const struct image *base;
	uint64_t pages;
	radix_next_fn next;
	void *ctx;
	struct extent run;   /* what is to be put in next; count 0: no more */
	uint64_t hole_until; /* the base has nothing up to here */
	struct fail *why;
};

/* One page of a leaf while it is put together. */
struct slot {
	enum extent_kind kind;
	struct layer *layer;
	uint32_t at;
};

static int fetch(struct build *b)
{
	uint64_t end = b->run.page + b->run.count;
	int got;

	do {
		got = b->next(b->ctx, &b->run, b->why);
	} while (got == 1 && b->run.count == 0);
	if (got != 1)
		b->run.count = 0;
	else if (b->run.page < end ||
		 !range_within(b->run.page, b->run.count, b->pages))
		return -EINVAL;
	return got < 0 ? got : 0;
}

/* ---- nodes ---- */

/* Writes a node; no node crosses a page. */
static int emit(struct build *b, const struct node_entry *entries, unsigned n,
		struct node_entry *out)
{
	static const struct node_entry none[NODE_ENTRIES];
	uint64_t at = layer_writer_items(b->w);
	unsigned left = NODE_ENTRIES_PER_PAGE - at % NODE_ENTRIES_PER_PAGE;
	int err = 0;

	if (n > left) {
		err = layer_writer_put(b->w, none, left, b->why);
		at += left;
	}
	if (at + n > UINT32_MAX)
		return -EFBIG;
	if (!err)
		err = layer_writer_put(b->w, entries, n, b->why);
	*out =
	    (struct node_entry){ .more = (uint8_t)(n - 1), .at = (uint32_t)at };
	return err;
}

/* ---- leaves ---- */

static void fill(struct slot *leaf, uint64_t first, const struct extent *e,
		 uint64_t from, uint64_t to)
{
	bool numbered = e->kind == EXTENT_PAGES || e->kind == EXTENT_DIFFS;

	for (uint64_t p = from; p < to; p++)
		leaf[p - first] = (struct slot){
			.kind = e->kind,
			.layer = e->layer,
			.at = numbered ? e->at + (uint32_t)(p - e->page) : 0,
		};
}

static int load_leaf(struct build *b, struct slot *leaf, uint64_t first)
{
	uint64_t end = MIN(first + NODE_ENTRIES, b->base->pages);

	for (uint64_t p = first; p < end;) {
		struct extent e;
		int err = image_extent(b->base, p, &e, b->why);

		if (err)
			return err;
		fill(leaf, first, &e, p, MIN(p + e.count, end));
		p += e.count;
	}
	return 0;
}

static int put_runs(struct build *b, struct slot *leaf, uint64_t first)
{
	uint64_t end = first + NODE_ENTRIES;

	while (b->run.count && b->run.page < end) {
		uint64_t run_end = b->run.page + b->run.count;
		uint64_t from = MAX(first, b->run.page);
		int err;

		fill(leaf, first, &b->run, from, MIN(run_end, end));
		if (run_end > end)
			return 0; /* it goes on in the next leaf */
		err = fetch(b);
		if (err)
			return err;
	}
	return 0;
}

static bool goes_on(const struct slot *a, const struct slot *b)
{
	if (a->kind != b->kind || a->layer != b->layer)
		return false;
	return a->kind == EXTENT_ZERO || a->at + 1 == b->at;
}

static uint32_t kind_bits(enum extent_kind kind)
{
	enum run_kind r = kind == EXTENT_PAGES	 ? RUN_PAGES
			  : kind == EXTENT_DIFFS ? RUN_DIFFS
						 : RUN_ZERO;

	return (uint32_t)r << RUN_KIND_SHIFT;
}

/* The leaf's runs, joined; how many, or -errno. */
static int encode_leaf(struct build *b, const struct slot *leaf,
		       struct node_entry entries[NODE_ENTRIES])
{
	int n = 0;

	for (unsigned i = 0; i < NODE_ENTRIES;) {
		struct node_entry *e = &entries[n];
		unsigned first = i++;
		int err;

		if (leaf[first].kind == EXTENT_NOTHING)
			continue;
		while (i < NODE_ENTRIES && goes_on(&leaf[i - 1], &leaf[i]))
			i++;
		e->first = (uint8_t)first;
		e->more = (uint8_t)(i - first - 1);
		e->at = kind_bits(leaf[first].kind) | leaf[first].at;
		err = layer_writer_import(b->w, leaf[first].layer, &e->import,
					  b->why);
		if (err)
			return err;
		n++;
	}
	return n;
}

/* ---- the descent ---- */

/* A subtree of the base as it is. */
static int share(struct build *b, unsigned level, uint64_t page,
		 struct node_entry *out, bool *there)
{
	struct subtree sub;
	int err;

	if (page < b->hole_until)
		return 0;
	err = image_subtree(b->base, page, level, &sub, b->why);
	if (err)
		return err;
	if (!sub.layer) {
		b->hole_until = page + sub.count;
		return 0;
	}
	*there = true;
	*out = sub.node;
	return layer_writer_import(b->w, sub.layer, &out->import, b->why);
}

static int build_leaf(struct build *b, uint64_t page, struct node_entry *out,
		      bool *there)
{
	struct node_entry entries[NODE_ENTRIES];
	struct slot leaf[NODE_ENTRIES] = { 0 };
	int n = load_leaf(b, leaf, page);

	if (!n)
		n = put_runs(b, leaf, page);
	if (!n)
		n = encode_leaf(b, leaf, entries);
	*there = n > 0;
	return n > 0 ? emit(b, entries, (unsigned)n, out) : n;
}

static int build(struct build *b, unsigned level, uint64_t page,
		 struct node_entry *out, bool *there)
{
	unsigned shift = NODE_SHIFT * level, n = 0;
	uint64_t end = page + ((uint64_t)NODE_ENTRIES << shift);
	bool changes = b->run.count && b->run.page < end;
	struct node_entry entries[NODE_ENTRIES];

	*there = false;
	if (!changes && page >= b->base->pages)
		return 0;
	if (!changes && level <= b->base->level)
		return share(b, level, page, out, there);
	if (level == 0)
		return build_leaf(b, page, out, there);
	for (unsigned i = 0; i < NODE_ENTRIES; i++) {
		uint64_t child = page + ((uint64_t)i << shift);
		bool has = false;
		int err;

		if (child >= b->pages)
			break;
		err = build(b, level - 1, child, &entries[n], &has);
		if (err)
			return err;
		entries[n].first = (uint8_t)i;
		n += has;
	}
	*there = n > 0;
	return n ? emit(b, entries, n, out) : 0;
}

int radix_build(struct layer_writer *w, const struct image *base,
		uint64_t bytes, radix_next_fn next, void *ctx,
		struct layer_root *root, struct fail *why)
{
	struct build b = {
		.w = w,
		.base = base,
		.pages = (bytes + PAGE_BYTES - 1) >> PAGE_SHIFT,
		.next = next,
		.ctx = ctx,
		.why = why,
	};
	bool there = false;
	int err = bytes < base->bytes || bytes % 512 || bytes > IMAGE_MAX_BYTES
		      ? -EINVAL
		      : fetch(&b);

	memset(root, 0, sizeof(*root));
	root->bytes = bytes;
	if (err)
		return err;
	root->level = level_of(bytes);
	err = build(&b, root->level, 0, &root->top, &there);
	if (!err && !there)
		memset(&root->top, 0xff, sizeof(root->top));
	return err;
}
