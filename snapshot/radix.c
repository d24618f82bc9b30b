/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One descent from the top, children before their parents, so that nodes can be
 * written as they are finished. A subtree without a replaced page is not looked
 * into: its entry is copied, with the layer it lies in as an import.
 *
 * Writing a tree anew is another descent, which goes into what cannot stay as
 * it is. A table knows the nodes that were written, by those they stand for.
 */
#include "radix.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "fileio.h"

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
	else
		assert(b->run.page >= end &&
		       range_within(b->run.page, b->run.count, b->pages));
	return got < 0 ? got : 0;
}

/* ---- nodes ---- */

/* Writes a node; no node crosses a page. */
static int emit(struct layer_writer *w, const struct node_entry *entries,
		unsigned n, struct node_entry *out, struct fail *why)
{
	static const struct node_entry none[NODE_ENTRIES];
	uint64_t at = layer_writer_items(w);
	unsigned left = NODE_ENTRIES_PER_PAGE - at % NODE_ENTRIES_PER_PAGE;
	int err = 0;

	if (n > left) {
		err = layer_writer_put(w, none, left, why);
		at += left;
	}
	if (at + n > UINT32_MAX)
		return fail_set(why, EXIT_NO_SPACE, -EFBIG, "new layer", NULL,
				"more entries of nodes than 2^32");
	if (!err)
		err = layer_writer_put(w, entries, n, why);
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
static int encode_leaf(struct layer_writer *w, const struct slot *leaf,
		       struct node_entry entries[NODE_ENTRIES],
		       struct fail *why)
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
		err =
		    layer_writer_import(w, leaf[first].layer, &e->import, why);
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
		n = encode_leaf(b->w, leaf, entries, b->why);
	*there = n > 0;
	return n > 0 ? emit(b->w, entries, (unsigned)n, out, b->why) : n;
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
	return n ? emit(b->w, entries, n, out, b->why) : 0;
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
	int err;

	if (bytes < base->bytes || bytes % 512 || bytes > IMAGE_MAX_BYTES)
		return fail_set(why, EXIT_USAGE, -EINVAL, "image", NULL,
				"%llu bytes over a base of %llu are no image",
				(unsigned long long)bytes,
				(unsigned long long)base->bytes);
	err = fetch(&b);
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

/* ---- trees written anew ---- */

/* The node that stands for another, which has that many entries at that place
 * and level. */
struct rewritten {
	uint32_t layer; /* its number and 1; 0: a free place */
	uint32_t at, new_at;
	uint8_t level, more, new_more;
};

struct radix_rewriter {
	struct radix_rewrite o;
	/* Open addressing: `room`, a power of two, at most half full. */
	struct rewritten *nodes;
	uint64_t room, used;
};

struct radix_rewriter *radix_rewriter_create(const struct radix_rewrite *o)
{
	struct radix_rewriter *r = calloc(1, sizeof(*r));

	if (r)
		r->o = *o;
	return r;
}

void radix_rewriter_destroy(struct radix_rewriter *r)
{
	if (!r)
		return;
	free(r->nodes);
	free(r);
}

/* The place of that node, or the free one where it belongs; room is not 0. */
static struct rewritten *place_of(const struct radix_rewriter *r,
				  const struct rewritten *key)
{
	uint32_t words[3] = { key->layer, key->at,
			      (uint32_t)key->level << 8 | key->more };
	uint64_t i = sum64(words, sizeof(words), 0);

	for (;; i++) {
		struct rewritten *x = &r->nodes[i & (r->room - 1)];

		if (!x->layer ||
		    (x->layer == key->layer && x->at == key->at &&
		     x->level == key->level && x->more == key->more))
			return x;
	}
}

/* Fills in what is known of the node. */
static bool look_up(const struct radix_rewriter *r, struct rewritten *node)
{
	const struct rewritten *x = r->room ? place_of(r, node) : NULL;

	if (!x || !x->layer)
		return false;
	*node = *x;
	return true;
}

/* One that is not there. 0 or -ENOMEM. */
static int add_to_table(struct radix_rewriter *r, const struct rewritten *node)
{
	struct radix_rewriter more = { .room = r->room ? 2 * r->room : 1024 };

	if (2 * (r->used + 1) > r->room) {
		more.nodes = calloc(more.room, sizeof(*more.nodes));
		if (!more.nodes)
			return -ENOMEM;
		for (uint64_t i = 0; i < r->room; i++)
			if (r->nodes[i].layer)
				*place_of(&more, &r->nodes[i]) = r->nodes[i];
		free(r->nodes);
		r->nodes = more.nodes;
		r->room = more.room;
	}
	*place_of(r, node) = *node;
	r->used++;
	return 0;
}

/* Where the pages of a run are now. */
static int place_run(struct radix_rewriter *r, struct slot *leaf,
		     struct extent e, struct fail *why)
{
	while (e.count) {
		struct extent part = e;
		int err = e.kind == EXTENT_ZERO
			      ? 0
			      : r->o.place(r->o.ctx, &part, why);

		if (err)
			return err;
		fill(leaf, 0, &part, part.page, part.page + part.count);
		e.page += part.count;
		e.at += (uint32_t)part.count;
		e.count -= part.count;
	}
	return 0;
}

static int rewrite_leaf(struct radix_rewriter *r, struct layer *l, uint32_t at,
			const struct node_entry *node, unsigned n,
			struct node_entry out[NODE_ENTRIES], struct fail *why)
{
	struct slot leaf[NODE_ENTRIES] = { 0 };

	for (unsigned i = 0; i < n; i++) {
		struct extent e = { .page = node[i].first };
		int err = image_run(&e, l, at, i, &node[i], 0, why);

		if (!err)
			err = place_run(r, leaf, e, why);
		if (err)
			return err;
	}
	return encode_leaf(r->o.writer, leaf, out, why);
}

/* An entry that stays: it points to where it did. */
static int keep_entry(struct radix_rewriter *r, struct layer *holder,
		      const struct node_entry *from, struct node_entry *out,
		      struct fail *why)
{
	struct layer *l;
	int err = layer_import(holder, from->import, &l, why);

	*out = *from;
	return err ? err
		   : layer_writer_import(r->o.writer, l, &out->import, why);
}

static int rewrite(struct radix_rewriter *r, struct layer *holder,
		   const struct node_entry *from, unsigned level,
		   struct node_entry *out, struct fail *why);

static int rewrite_inner(struct radix_rewriter *r, struct layer *l, uint32_t at,
			 unsigned level, const struct node_entry *node,
			 unsigned n, struct node_entry out[NODE_ENTRIES],
			 struct fail *why)
{
	for (unsigned i = 0; i < n; i++) {
		int err =
		    r->o.stays(r->o.ctx, l, level, at + i)
			? keep_entry(r, l, &node[i], &out[i], why)
			: rewrite(r, l, &node[i], level - 1, &out[i], why);

		if (err)
			return err;
		out[i].first = node[i].first;
	}
	return (int)n;
}

/* The node that `from`, an entry in `holder`, points to; `*out` points to the
 * new one. One call a level, at most 5 deep. */
static int rewrite(struct radix_rewriter *r, struct layer *holder,
		   const struct node_entry *from, unsigned level,
		   struct node_entry *out, struct fail *why)
{
	struct rewritten known = { .at = from->at,
				   .level = (uint8_t)level,
				   .more = from->more };
	struct node_entry entries[NODE_ENTRIES];
	const struct node_entry *node;
	unsigned n = from->more + 1u;
	struct layer *l;
	int err = layer_import(holder, from->import, &l, why), made;

	if (err)
		return err;
	known.layer = layer_number(l) + 1;
	if (look_up(r, &known)) {
		*out = (struct node_entry){ .more = known.new_more,
					    .at = known.new_at };
		return 0;
	}
	err = layer_node(l, from->at, n, &node, why);
	if (err)
		return err;
	made = level
		   ? rewrite_inner(r, l, from->at, level, node, n, entries, why)
		   : rewrite_leaf(r, l, from->at, node, n, entries, why);
	if (made < 0)
		return made;
	err = emit(r->o.writer, entries, (unsigned)made, out, why);
	known.new_at = out->at;
	known.new_more = out->more;
	if (!err && add_to_table(r, &known))
		err = file_failed(layer_name(l), -ENOMEM, "rewrite", why);
	return err;
}

int radix_rewrite(struct radix_rewriter *r, const struct image *img, bool stays,
		  struct layer_root *root, struct fail *why)
{
	memset(root, 0, sizeof(*root));
	root->bytes = img->bytes;
	root->level = img->level;
	if (img->empty) {
		memset(&root->top, 0xff, sizeof(root->top));
		return 0;
	}
	return stays ? keep_entry(r, img->layer, &img->top, &root->top, why)
		     : rewrite(r, img->layer, &img->top, img->level, &root->top,
			       why);
}
