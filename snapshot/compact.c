/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States, advanced by compact_step:
 *
 *   ROOTS: the roots are walked, one after the other. What needs a victim is
 *     flagged; pages are copied as they come, differences noted and numbered.
 *   PATCHES: the patches of the differences that were noted.
 *   COPIED: nothing is left but to write the metadata.
 *
 * What is copied is remembered by where it came from, in an array for each
 * layer.
 */
#include "compact.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bits.h"
#include "fileio.h"
#include "radix.h"
#include "walk.h"

#define COPY_PAGES     64
#define NODES_PER_PAGE 64

/* Where the things of a layer are in the new one; 0: not there. */
struct moved {
	uint32_t *page; /* by body page */
	uint32_t *diff; /* by number, of number + 1 */
};

struct new_diff {
	struct layer *from; /* whose patch it still is */
	struct layer *base; /* NULL: the new layer */
	struct layer_diff d;
};

enum compact_state { ROOTS, PATCHES, COPIED };

struct compact {
	struct compact_options o;
	char name[FILE_NAME_TEXT];
	struct layer_writer *writer;
	enum compact_state state;

	struct walk walk;
	unsigned root;	    /* ROOTS: the one that is walked */
	bool *root_flagged; /* of those that were */
	unsigned nodes;
	struct walk_step run; /* pages of it that are still to be copied */

	struct moved *moved; /* by the layer's number */
	unsigned nlayers;
	uint64_t copied;
	uint64_t *sums; /* of the new layer's data pages */
	size_t sums_room;
	struct new_diff *diff;
	uint32_t ndiffs;
	size_t diffs_room;

	struct new_diff **by_patch; /* PATCHES: in the order of patches */
	uint32_t patch_at;	    /* the next one */
	struct layer *held_layer;   /* the page that is in buf */
	uint32_t held;
	uint8_t patches[PAGE_BYTES];
	unsigned patch_fill;

	uint8_t buf[COPY_PAGES * PAGE_BYTES];
};

static int no_memory(const struct compact *c, struct fail *why)
{
	return file_failed(c->name, -ENOMEM, "consolidate", why);
}

static void destroy(struct compact *c)
{
	for (unsigned i = 0; c->moved && i < c->nlayers; i++) {
		free(c->moved[i].page);
		free(c->moved[i].diff);
	}
	free(c->moved);
	free(c->sums);
	free(c->diff);
	free(c->by_patch);
	free(c->root_flagged);
	walk_fini(&c->walk);
	layer_writer_destroy(c->writer);
	free(c);
}

void compact_abort(struct compact *c)
{
	int failed;

	if (!c)
		return;
	/* Gives its space back, and takes a trailer whose sync failed. */
	failed = ftruncate(c->o.fd, 0);
	(void)failed; /* without a trailer it is no layer either */
	destroy(c);
}

int compact_begin(struct compact **out, const struct compact_options *o,
		  struct fail *why)
{
	struct compact *c = calloc(1, sizeof(*c));
	struct layer_header h;
	int err;

	if (!c)
		return file_failed(o->name, -ENOMEM, "consolidate", why);
	c->o = *o;
	snprintf(c->name, sizeof(c->name), "%s", o->name);
	walk_init(&c->walk);
	c->nlayers = layer_set_count(o->set);
	c->moved = calloc(MAX(c->nlayers, 1), sizeof(*c->moved));
	c->root_flagged = calloc(o->nroots, sizeof(*c->root_flagged));
	err = c->moved && c->root_flagged ? 0 : no_memory(c, why);
	if (!err) {
		err = layer_header_make(&h, o->flags, 0);
		if (err)
			file_failed(c->name, err, "create", why);
	}
	if (!err)
		err = layer_writer_create(&c->writer, o->fd, c->name, &h,
					  o->key, why);
	if (!err)
		err = layer_writer_begin(c->writer, why);
	if (err) {
		compact_abort(c);
		return err;
	}
	walk_begin(&c->walk, &o->roots[0]);
	*out = c;
	return 0;
}

static bool is_victim(const struct compact *c, const struct layer *l)
{
	return !c->o.victims || bit_get(c->o.victims, layer_number(l));
}

/* ---- pages ---- */

/* Appends a data page with its sum. */
static int append(struct compact *c, const void *page, uint64_t sum,
		  uint32_t *at, struct fail *why)
{
	int err;

	if (array_reserve(&c->sums, &c->sums_room,
			  layer_writer_data_pages(c->writer) + 1u,
			  sizeof(*c->sums)))
		return no_memory(c, why);
	err = layer_writer_page(c->writer, page, at, why);
	if (!err)
		c->sums[*at - 1] = sum;
	return err;
}

/* Where the layer's pages went. NULL: no memory. */
static uint32_t *moved_pages(struct compact *c, const struct layer *l)
{
	struct moved *m = &c->moved[layer_number(l)];

	if (!m->page)
		m->page =
		    calloc(layer_data_pages(l) + UINT64_C(1), sizeof(*m->page));
	return m->page;
}

/* Copies `count` pages, at most COPY_PAGES, that have not been. */
static int copy_pages(struct compact *c, struct layer *l, uint32_t page,
		      unsigned count, struct fail *why)
{
	uint32_t *moved = moved_pages(c, l);
	int err =
	    moved ? layer_read(l, page, count, c->buf, why) : no_memory(c, why);

	for (unsigned i = 0; i < count && !err; i++) {
		uint64_t sum;

		err = layer_sum(l, page + i, &sum, why);
		if (!err)
			err = append(c, c->buf + i * PAGE_BYTES, sum,
				     &moved[page + i], why);
	}
	c->copied += count;
	return err;
}

/* Goes on with c->run, by at most `budget` pages. */
static int copy_run(struct compact *c, unsigned *budget, struct fail *why)
{
	struct walk_step *r = &c->run;
	const uint32_t *moved = moved_pages(c, r->layer);
	unsigned most = MIN(MIN(r->count, *budget), COPY_PAGES), n = 0;
	int err;

	if (!moved)
		return no_memory(c, why);
	while (n < most && !moved[r->at + n])
		n++;
	err = n ? copy_pages(c, r->layer, r->at, n, why) : 0;
	*budget -= n;
	/* And the one after it, which was copied before. */
	n += n < most;
	r->at += n;
	r->count -= n;
	return err;
}

/* ---- differences ---- */

/* Notes a difference that needs a victim, and copies its base if that does. */
static int note_diff(struct compact *c, const struct walk_step *s,
		     unsigned *budget, struct fail *why)
{
	struct moved *m = &c->moved[layer_number(s->layer)];
	struct new_diff x = {
		.from = s->layer,
		.base = s->base,
		.d = s->diff,
	};

	if (!m->diff)
		m->diff = calloc(layer_items(s->layer, SECTION_DIFFS),
				 sizeof(*m->diff));
	if (!m->diff ||
	    array_reserve(&c->diff, &c->diffs_room, c->ndiffs + 1u, sizeof(x)))
		return no_memory(c, why);
	if (m->diff[s->at])
		return 0;
	if (is_victim(c, s->base)) {
		const uint32_t *moved = moved_pages(c, s->base);
		int err = 0;

		if (!moved)
			return no_memory(c, why);
		if (!moved[s->diff.base_page]) {
			err = copy_pages(c, s->base, s->diff.base_page, 1, why);
			--*budget;
		}
		if (err)
			return err;
		x.base = NULL;
		x.d.base_page = moved[s->diff.base_page];
	}
	c->diff[c->ndiffs] = x;
	m->diff[s->at] = ++c->ndiffs;
	return 0;
}

/* ---- patches ---- */

static int compare_patches(const void *a, const void *b)
{
	const struct new_diff *x = *(struct new_diff *const *)a;
	const struct new_diff *y = *(struct new_diff *const *)b;
	unsigned lx = layer_number(x->from), ly = layer_number(y->from);

	if (lx != ly)
		return lx < ly ? -1 : 1;
	if (x->d.patch_page != y->d.patch_page)
		return x->d.patch_page < y->d.patch_page ? -1 : 1;
	return (int)x->d.patch_offset - (int)y->d.patch_offset;
}

static int sort_patches(struct compact *c, struct fail *why)
{
	c->state = PATCHES;
	c->by_patch = calloc(MAX(c->ndiffs, 1), sizeof(*c->by_patch));
	if (!c->by_patch)
		return no_memory(c, why);
	for (uint32_t i = 0; i < c->ndiffs; i++)
		c->by_patch[i] = &c->diff[i];
	if (c->ndiffs)
		qsort(c->by_patch, c->ndiffs, sizeof(*c->by_patch),
		      compare_patches);
	return 0;
}

/* Writes the page of patches, if there is anything in it. */
static int end_patches(struct compact *c, struct fail *why)
{
	uint32_t at;
	int err = 0;

	if (c->patch_fill) {
		memset(c->patches + c->patch_fill, 0,
		       PAGE_BYTES - c->patch_fill);
		err = append(c, c->patches, sum64(c->patches, PAGE_BYTES, 0),
			     &at, why);
	}
	c->patch_fill = 0;
	return err;
}

static int hold_page(struct compact *c, struct layer *l, uint32_t page,
		     unsigned *budget, struct fail *why)
{
	if (c->held_layer == l && c->held == page)
		return 0;
	c->held_layer = l;
	c->held = page;
	--*budget;
	return layer_read(l, page, 1, c->buf, why);
}

static int step_patch(struct compact *c, unsigned *budget, struct fail *why)
{
	struct new_diff *x;
	int err;

	if (c->patch_at == c->ndiffs) {
		c->state = COPIED;
		return end_patches(c, why);
	}
	x = c->by_patch[c->patch_at++];
	err = hold_page(c, x->from, x->d.patch_page, budget, why);
	if (!err && c->patch_fill + x->d.patch_bytes > PAGE_BYTES)
		err = end_patches(c, why);
	if (err)
		return err;
	memcpy(c->patches + c->patch_fill, c->buf + x->d.patch_offset,
	       x->d.patch_bytes);
	/* Nothing but patches is written any more: it is the next page. */
	x->d.patch_page = layer_writer_data_pages(c->writer) + 1;
	x->d.patch_offset = (uint16_t)c->patch_fill;
	c->patch_fill += x->d.patch_bytes;
	return 0;
}

/* ---- the roots ---- */

static int end_root(struct compact *c, struct fail *why)
{
	c->root_flagged[c->root] = walk_image_flagged(&c->walk);
	if (++c->root == c->o.nroots)
		return sort_patches(c, why);
	walk_begin(&c->walk, &c->o.roots[c->root]);
	return 0;
}

static int step_root(struct compact *c, unsigned *budget, struct fail *why)
{
	struct walk_step s;
	int got = walk_next(&c->walk, &s, why);

	if (got < 0)
		return got;
	if (!got)
		return end_root(c, why);
	*budget -= s.kind == WALK_NODE && ++c->nodes % NODES_PER_PAGE == 0;
	if (!is_victim(c, s.layer) &&
	    (s.kind != WALK_DIFF || !is_victim(c, s.base)))
		return 0;
	walk_flag(&c->walk);
	if (s.kind == WALK_DIFF)
		return note_diff(c, &s, budget, why);
	if (s.kind == WALK_PAGES)
		c->run = s;
	return 0;
}

/* ---- a step ---- */

int compact_step(struct compact *c, unsigned budget, struct fail *why)
{
	int err = 0;

	assert(budget);
	while (budget && !err && c->state != COPIED) {
		if (c->run.count)
			err = copy_run(c, &budget, why);
		else if (c->state == ROOTS)
			err = step_root(c, &budget, why);
		else
			err = step_patch(c, &budget, why);
	}
	return err ? err : c->state != COPIED;
}

void compact_count(const struct compact *c, struct compact_counts *n)
{
	*n = (struct compact_counts){
		.pages = c->copied,
		.diffs = c->ndiffs,
		.roots = c->root,
		.out_pages = layer_writer_data_pages(c->writer),
	};
}

/* ---- the end ---- */

static bool stays(void *ctx, const struct layer *l, unsigned level,
		  uint32_t entry)
{
	const struct compact *c = ctx;

	return !walk_entry_flagged(&c->walk, l, level, entry);
}

static int place(void *ctx, struct extent *e, struct fail *why)
{
	const struct compact *c = ctx;
	const struct moved *m = &c->moved[layer_number(e->layer)];
	bool diffs = e->kind == EXTENT_DIFFS;
	const uint32_t *to = diffs ? m->diff : m->page;
	uint32_t first, n = 1;

	if (!diffs && !is_victim(c, e->layer))
		return 0;
	/* All that the tree has was seen by the walk. */
	assert(to || !is_victim(c, e->layer));
	if (!to)
		return 0;
	first = to[e->at];
	while (n < e->count && to[e->at + n] == (first ? first + n : 0))
		n++;
	e->count = n;
	assert(first || !is_victim(c, e->layer));
	if (first) {
		e->layer = NULL;
		e->at = diffs ? first - 1 : first;
	}
	return 0;
}

static int write_nodes(struct compact *c, struct layer_root *roots,
		       struct fail *why)
{
	struct radix_rewrite o = {
		.writer = c->writer,
		.stays = stays,
		.place = place,
		.ctx = c,
	};
	struct radix_rewriter *r = radix_rewriter_create(&o);
	int err = r ? 0 : no_memory(c, why);

	for (unsigned i = 0; i < c->o.nroots && !err; i++)
		err = radix_rewrite(r, &c->o.roots[i], !c->root_flagged[i],
				    &roots[i], why);
	radix_rewriter_destroy(r);
	return err;
}

static int write_diffs(struct compact *c, struct fail *why)
{
	int err = 0;

	for (uint32_t i = 0; i < c->ndiffs && !err; i++) {
		struct new_diff *x = &c->diff[i];

		err =
		    layer_writer_import(c->writer, x->base, &x->d.import, why);
		if (!err)
			err = layer_writer_put(c->writer, &x->d, 1, why);
	}
	return err;
}

static int write_metadata(struct compact *c, struct layer_root *roots,
			  struct object_id *id, struct fail *why)
{
	struct layer_writer *w = c->writer;
	uint32_t pages = layer_writer_data_pages(w);
	int err;

	layer_writer_meta(w, pages);
	layer_writer_section(w, SECTION_NODES);
	err = write_nodes(c, roots, why);
	if (err)
		return err;
	layer_writer_section(w, SECTION_SUMS);
	err = layer_writer_put(w, c->sums, pages, why);
	if (err)
		return err;
	layer_writer_section(w, SECTION_DIFFS);
	err = write_diffs(c, why);
	if (!err)
		err = layer_writer_imports(w, why);
	if (err)
		return err;
	layer_writer_section(w, SECTION_ROOTS);
	err = layer_writer_put(w, roots, c->o.nroots, why);
	return err ? err : layer_writer_end(w, id, why);
}

int compact_finish(struct compact *c, struct object_id *id, struct fail *why)
{
	_cleanup_free_ struct layer_root *roots =
	    calloc(c->o.nroots, sizeof(*roots));
	int err;

	assert(c->state == COPIED);
	err = roots ? write_metadata(c, roots, id, why) : no_memory(c, why);
	if (err)
		compact_abort(c);
	else
		destroy(c);
	return err;
}
