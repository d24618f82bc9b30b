/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an image: from a page's number to its run, from a run to bytes. */
#include "image.h"

#include <errno.h>
#include <string.h>

#include "patch.h"

void image_init_empty(struct image *img, uint64_t bytes)
{
	*img = (struct image){
		.bytes = bytes,
		.pages = (bytes + PAGE_BYTES - 1) >> PAGE_SHIFT,
		.level = level_of(bytes),
		.empty = true,
	};
}

int image_open(struct image *img, struct layer *l, uint32_t root,
	       struct fail *why)
{
	static const uint8_t nothing[sizeof(struct node_entry)] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
	};
	uint64_t at = layer_item_offset(l, SECTION_ROOTS, root);
	uint64_t roots = layer_items(l, SECTION_ROOTS);
	struct layer_root r;
	int err;

	if (root >= roots)
		return fail_set(why, EXIT_NOT_FOUND, -ENOENT, layer_name(l),
				NULL, "has no root %u, only %s%llu", root,
				roots > 1 ? "0 to " : "root ",
				(unsigned long long)roots - 1);
	err = layer_root(l, root, &r, why);
	if (err)
		return err;
	if (r.bytes == 0 || r.bytes > IMAGE_MAX_BYTES || r.bytes % 512)
		return layer_damaged(l, at, why, "root %u: size", root);
	image_init_empty(img, r.bytes);
	if (r.level != img->level || r.zero[0] || r.zero[1] || r.zero[2])
		return layer_damaged(l, at + 8, why, "root %u: level", root);
	img->layer = l;
	img->root = root;
	img->top = r.top;
	img->empty = !memcmp(&r.top, nothing, sizeof(nothing));
	if (!img->empty && r.top.first)
		return layer_damaged(l, at + 8, why, "root %u: index", root);
	return 0;
}

static int beyond(const struct image *img, struct fail *why)
{
	return fail_set(why, EXIT_USAGE, -EINVAL,
			img->layer ? layer_name(img->layer) : "image", NULL,
			"beyond the image's %llu pages",
			(unsigned long long)img->pages);
}

/* ---- from a page to its run ---- */

/* Of `n` entries, whether just the first `count` begin at `index` or before. */
static bool parts_at(const struct node_entry *node, unsigned n, unsigned index,
		     unsigned count)
{
	return (count == 0 || node[count - 1].first <= index) &&
	       (count == n || node[count].first > index);
}

#define NEAR_ENTRIES 8 /* a cache line of them */

/* The last of `n` entries whose `first` is at most `index`; n when none. An
 * order that is not ascending makes the answer useless, not unsafe. */
static unsigned find_entry(const struct node_entry *node, unsigned n,
			   unsigned index)
{
	/* Many entries are spread evenly: then it is close to here, and three
	 * cache lines that follow each other have it. */
	unsigned guess = n * index / NODE_ENTRIES, high = n;
	unsigned low = guess > NEAR_ENTRIES ? guess - NEAR_ENTRIES : 0;
	unsigned end = MIN(guess + NEAR_ENTRIES, n);

	for (unsigned i = low; i < end; i++)
		low += node[i].first <= index;
	if (parts_at(node, n, index, low))
		return low ? low - 1 : n;
	low = 0;
	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (node[mid].first <= index)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? low - 1 : n;
}

/* Nothing, up to the entry after `i` or the end of the node. */
static void set_hole(struct extent *e, const struct node_entry *node,
		     unsigned n, unsigned i, unsigned level)
{
	unsigned next = i == n ? 0 : i + 1, shift = NODE_SHIFT * level;
	uint64_t end = next < n ? node[next].first : NODE_ENTRIES;
	uint64_t node_start = e->page >> (shift + NODE_SHIFT)
					     << (shift + NODE_SHIFT);

	e->kind = EXTENT_NOTHING;
	e->layer = NULL;
	e->at = 0;
	e->count = node_start + (end << shift) - e->page;
}

static int bad_run(struct layer *l, uint32_t node_at, unsigned i,
		   struct fail *why)
{
	return layer_damaged(l,
			     layer_item_offset(l, SECTION_NODES, node_at + i),
			     why, "run out of bounds");
}

int image_run(struct extent *e, struct layer *l, uint32_t node_at, unsigned i,
	      const struct node_entry *run, unsigned skip, struct fail *why)
{
	uint32_t place = run->at & RUN_PLACE_MASK;
	unsigned pages = run->more + 1u;
	int err = layer_import(l, run->import, &e->layer, why);

	if (err)
		return err;
	e->count = pages - skip;
	e->at = place + skip;
	if (run->first + pages > NODE_ENTRIES)
		return bad_run(l, node_at, i, why);
	switch (run->at >> RUN_KIND_SHIFT) {
	case RUN_PAGES:
		e->kind = EXTENT_PAGES;
		if (place == 0 ||
		    !range_within(place - 1, pages, layer_data_pages(e->layer)))
			return bad_run(l, node_at, i, why);
		return 0;
	case RUN_ZERO:
		e->kind = EXTENT_ZERO;
		e->layer = NULL;
		e->at = 0;
		return place || run->import ? bad_run(l, node_at, i, why) : 0;
	case RUN_DIFFS:
		e->kind = EXTENT_DIFFS;
		if (!range_within(place, pages,
				  layer_items(e->layer, SECTION_DIFFS)))
			return bad_run(l, node_at, i, why);
		return 0;
	}
	return bad_run(l, node_at, i, why);
}

/* One level down: the run of `page` in this node, or the child in `at`. */
static int descend(struct extent *e, struct layer **l, struct node_entry *at,
		   unsigned level, bool *done, struct fail *why)
{
	unsigned index = e->page >> (NODE_SHIFT * level) & (NODE_ENTRIES - 1);
	unsigned n = at->more + 1u, i, skip;
	const struct node_entry *node;
	int err = layer_import(*l, at->import, l, why);

	if (!err)
		err = layer_node(*l, at->at, n, &node, why);
	if (err)
		return err;
	i = find_entry(node, n, index);
	skip = i < n ? index - node[i].first : 0;
	*done = level == 0;
	if (i == n || skip > (level ? 0u : node[i].more)) {
		set_hole(e, node, n, i, level);
		*done = true;
	} else if (level == 0) {
		err = image_run(e, *l, at->at, i, &node[i], skip, why);
	} else {
		*at = node[i];
	}
	return err;
}

int image_extent(const struct image *img, uint64_t page, struct extent *e,
		 struct fail *why)
{
	struct layer *l = img->layer;
	struct node_entry at = img->top;
	bool done = img->empty;
	int err = 0;

	*e = (struct extent){ .page = page, .count = img->pages - page };
	for (unsigned level = img->level; !done && !err; level--)
		err = descend(e, &l, &at, level, &done, why);
	e->count = MIN(e->count, img->pages - page);
	return err;
}

int image_subtree(const struct image *img, uint64_t page, unsigned level,
		  struct subtree *sub, struct fail *why)
{
	struct extent e = { .page = page, .count = img->pages - page };
	struct layer *l = img->layer;
	bool done = img->empty;
	int err = 0;

	*sub = (struct subtree){ .node = img->top };
	for (unsigned v = img->level; v > level && !done && !err; v--)
		err = descend(&e, &l, &sub->node, v, &done, why);
	if (!done && !err)
		err = layer_import(l, sub->node.import, &sub->layer, why);
	sub->count = MIN(e.count, img->pages - page);
	return err;
}

bool extent_follows(const struct extent *a, const struct extent *b)
{
	if (a->kind != b->kind || a->page + a->count != b->page ||
	    a->layer != b->layer)
		return false;
	return !a->layer || a->at + a->count == b->at;
}

int image_each_extent(const struct image *img, uint64_t page, uint64_t count,
		      extent_fn fn, void *ctx, struct fail *why)
{
	struct extent run = { 0 }, e;
	uint64_t end = page + count;
	int err = 0;

	if (!range_within(page, count, img->pages))
		return beyond(img, why);
	while (page < end && !err) {
		err = image_extent(img, page, &e, why);
		if (err)
			return err;
		e.count = MIN(e.count, end - page);
		page += e.count;
		if (run.count && extent_follows(&run, &e)) {
			run.count += e.count;
			continue;
		}
		if (run.count)
			err = fn(ctx, &run);
		run = e;
	}
	return err || !run.count ? err : fn(ctx, &run);
}

/* ---- from a run to bytes ---- */

static int read_diff(struct layer *l, uint32_t at, uint8_t *page,
		     struct fail *why)
{
	uint64_t where = layer_item_offset(l, SECTION_DIFFS, at);
	uint8_t patch[PAGE_BYTES];
	struct layer_diff d;
	struct layer *base;
	int err = layer_diff(l, at, &d, why);

	if (!err)
		err = layer_import(l, d.import, &base, why);
	/* It is this layer that is wrong then, not the base. */
	if (!err && (d.base_page == 0 || d.base_page > layer_data_pages(base)))
		err = layer_damaged(l, where, why,
				    "difference %u: no page %u in import %u",
				    at, d.base_page, d.import);
	if (!err)
		err = layer_read(base, d.base_page, 1, page, why);
	if (!err)
		err = layer_read(l, d.patch_page, 1, patch, why);
	if (err)
		return err;
	if (!range_within(d.patch_offset, d.patch_bytes, PAGE_BYTES) ||
	    patch_apply(page, patch + d.patch_offset, d.patch_bytes))
		return layer_damaged(l, where, why,
				     "difference %u: misshapen patch", at);
	return 0;
}

/* More than this at once is read in pieces. */
#define READ_MAX_PAGES 4096

int image_read_extent(const struct extent *e, void *buf, struct fail *why)
{
	uint8_t *p = buf;
	int err = 0;

	switch (e->kind) {
	case EXTENT_NOTHING:
	case EXTENT_ZERO:
		memset(p, 0, e->count << PAGE_SHIFT);
		break;
	case EXTENT_PAGES:
		for (uint64_t i = 0; i < e->count && !err; i += READ_MAX_PAGES)
			err = layer_read(
			    e->layer, e->at + (uint32_t)i,
			    (unsigned)MIN(e->count - i, READ_MAX_PAGES),
			    p + (i << PAGE_SHIFT), why);
		break;
	case EXTENT_DIFFS:
		for (uint64_t i = 0; i < e->count && !err; i++)
			err = read_diff(e->layer, e->at + (uint32_t)i,
					p + (i << PAGE_SHIFT), why);
		break;
	}
	return err;
}

int image_read(const struct image *img, uint64_t page, uint64_t count,
	       void *buf, struct fail *why)
{
	uint8_t *p = buf;

	if (!range_within(page, count, img->pages))
		return beyond(img, why);
	while (count) {
		struct extent e;
		int err = image_extent(img, page, &e, why);

		if (err)
			return err;
		e.count = MIN(e.count, count);
		err = image_read_extent(&e, p, why);
		if (err)
			return err;
		p += e.count << PAGE_SHIFT;
		page += e.count;
		count -= e.count;
	}
	return 0;
}
