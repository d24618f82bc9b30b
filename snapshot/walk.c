/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack has a frame for each level, so that a walk can stop at every step
 * and a file cannot make it deeper.
 *
 * An entry is marked when it is followed, for its level: the file may offer the
 * same entries as nodes of several levels or lengths. One thing depends on the
 * way to a node and not on the node: whether it lies beyond the image's end.
 * So an inner entry whose child crosses that end is followed even when it is
 * marked. Entries ascend, so a node has at most one such child: five nodes an
 * image.
 */
#include "walk.h"

#include <errno.h>
#include <string.h>

#include "bits.h"
#include "fileio.h"

void walk_init(struct walk *w)
{
	memset(w, 0, sizeof(*w));
}

void walk_fini(struct walk *w)
{
	walk_forget(w);
	free(w->marks);
	w->marks = NULL;
	w->nmarks = 0;
}

void walk_forget(struct walk *w)
{
	for (size_t i = 0; i < w->nmarks; i++)
		for (unsigned v = 0; v < WALK_LEVELS; v++) {
			free(w->marks[i].of[v].seen);
			free(w->marks[i].of[v].flagged);
		}
	if (w->nmarks)
		memset(w->marks, 0, w->nmarks * sizeof(*w->marks));
}

void walk_begin(struct walk *w, const struct image *img)
{
	w->img = *img;
	w->fresh = !img->empty;
	w->flagged = false;
	w->level = img->level + 1;
	w->diffs.count = 0;
}

/* ---- marks ---- */

static int make_marks(struct walk *w, const struct layer *l, unsigned level,
		      struct fail *why)
{
	uint64_t n = layer_items(l, SECTION_NODES);
	struct walk_marks *m;

	if (array_reserve(&w->marks, &w->nmarks, layer_number(l) + 1u,
			  sizeof(*w->marks)))
		return file_failed(layer_name(l), -ENOMEM, "walk", why);
	m = &w->marks[layer_number(l)];
	if (!m->of[level].seen)
		m->of[level].seen = bits_create(n);
	if (!m->of[level].flagged)
		m->of[level].flagged = bits_create(n);
	if (!m->of[level].seen || !m->of[level].flagged)
		return file_failed(layer_name(l), -ENOMEM, "walk", why);
	return 0;
}

static struct walk_marks *marks_of(const struct walk *w, const struct layer *l)
{
	return &w->marks[layer_number(l)];
}

/* The entry of a frame that was taken last. */
static uint32_t last_entry(const struct walk_frame *f)
{
	return f->at + f->i - 1;
}

void walk_flag(struct walk *w)
{
	struct walk_frame *f = &w->frame[w->level];

	f->flagged = true;
	if (f->i)
		bit_set(marks_of(w, f->layer)->of[w->level].flagged,
			last_entry(f));
}

bool walk_image_flagged(const struct walk *w)
{
	return w->flagged;
}

bool walk_entry_flagged(const struct walk *w, const struct layer *l,
			unsigned level, uint32_t entry)
{
	return bit_get(marks_of(w, l)->of[level].flagged, entry);
}

uint64_t walk_entries(const struct walk *w, const struct layer *l)
{
	return layer_number(l) < w->nmarks ? marks_of(w, l)->entries : 0;
}

/* ---- nodes ---- */

/* Enters the node that `e`, an entry in `holder`, points to. */
static int enter(struct walk *w, struct layer *holder,
		 const struct node_entry *e, unsigned level, uint64_t page,
		 struct walk_step *step, struct fail *why)
{
	struct walk_frame f = { .at = e->at, .n = e->more + 1u, .page = page };
	int err = layer_import(holder, e->import, &f.layer, why);

	if (!err)
		err = layer_node(f.layer, f.at, f.n, &f.node, why);
	if (!err)
		err = make_marks(w, f.layer, level, why);
	if (err)
		return err;
	w->level = level;
	w->frame[level] = f;
	*step = (struct walk_step){ .kind = WALK_NODE,
				    .layer = f.layer,
				    .at = f.at,
				    .count = f.n,
				    .page = page };
	return 1;
}

static void leave(struct walk *w)
{
	bool flagged = w->frame[w->level++].flagged;

	if (!flagged)
		return;
	if (w->level > w->img.level)
		w->flagged = true;
	else
		walk_flag(w);
}

/* ---- runs ---- */

static int bad_diff(const struct walk_step *d, struct fail *why,
		    const char *what)
{
	return layer_damaged(d->layer,
			     layer_item_offset(d->layer, SECTION_DIFFS, d->at),
			     why, "difference %u: %s", d->at, what);
}

static int judge_diff(const struct walk_step *d, struct fail *why)
{
	const struct layer_diff *x = &d->diff;
	uint32_t pages = layer_data_pages(d->layer);

	if (x->zero)
		return bad_diff(d, why, "not zero");
	if (x->base_page == 0 || x->base_page > layer_data_pages(d->base))
		return bad_diff(d, why, "its base is no data page");
	if (x->patch_page == 0 || x->patch_page > pages)
		return bad_diff(d, why, "its patch is in no data page");
	if (x->patch_bytes == 0 || x->patch_bytes > PATCH_MAX_BYTES ||
	    !range_within(x->patch_offset, x->patch_bytes, PAGE_BYTES))
		return bad_diff(d, why, "no place of a patch");
	return 0;
}

static int next_diff(struct walk *w, struct walk_step *step, struct fail *why)
{
	int err;

	*step = w->diffs;
	step->count = 1;
	w->diffs.count--;
	w->diffs.at++;
	w->diffs.page++;
	err = layer_diff(step->layer, step->at, &step->diff, why);
	if (!err)
		err = layer_import(step->layer, step->diff.import, &step->base,
				   why);
	if (!err)
		err = judge_diff(step, why);
	return err ? err : 1;
}

static int take_run(struct walk *w, const struct walk_frame *f, uint64_t page,
		    struct walk_step *step, struct fail *why)
{
	struct extent e = { .page = page };
	int err = image_run(&e, f->layer, f->at, f->i - 1, &f->node[f->i - 1],
			    0, why);

	if (err || e.kind == EXTENT_ZERO)
		return err;
	*step = (struct walk_step){ .kind = WALK_PAGES,
				    .layer = e.layer,
				    .at = e.at,
				    .count = (uint32_t)e.count,
				    .page = page };
	if (e.kind == EXTENT_PAGES)
		return 1;
	step->kind = WALK_DIFF;
	w->diffs = *step;
	return next_diff(w, step, why);
}

/* ---- entries ---- */

static int bad_entry(const struct walk_frame *f, struct fail *why,
		     const char *what)
{
	return layer_damaged(
	    f->layer, layer_item_offset(f->layer, SECTION_NODES, last_entry(f)),
	    why, "%s", what);
}

/* 1: a step, 0: nothing new there, or -errno. */
static int take_entry(struct walk *w, struct walk_step *step, struct fail *why)
{
	unsigned level = w->level, shift = NODE_SHIFT * level;
	struct walk_frame *f = &w->frame[level];
	const struct node_entry *e = &f->node[f->i++];
	uint64_t page = f->page + ((uint64_t)e->first << shift);
	uint64_t count = level ? UINT64_C(1) << shift : e->more + UINT64_C(1);
	struct walk_marks *m = marks_of(w, f->layer);
	bool crosses = !range_within(page, count, w->img.pages);

	if (e->first < f->next)
		return bad_entry(f, why, "entries do not ascend, or overlap");
	f->next = e->first + (level ? 1u : (unsigned)count);
	if (f->next > NODE_ENTRIES)
		return bad_entry(f, why, "run out of bounds");
	if (page >= w->img.pages || (crosses && !level))
		return bad_entry(f, why, "beyond the image's end");
	if (bit_test_and_set(m->of[level].seen, last_entry(f))) {
		if (bit_get(m->of[level].flagged, last_entry(f)))
			f->flagged = true;
		if (!crosses)
			return 0;
	} else {
		m->entries++;
	}
	return level ? enter(w, f->layer, e, level - 1, page, step, why)
		     : take_run(w, f, page, step, why);
}

int walk_next(struct walk *w, struct walk_step *step, struct fail *why)
{
	int got = 0;

	if (w->fresh) {
		w->fresh = false;
		return enter(w, w->img.layer, &w->img.top, w->img.level, 0,
			     step, why);
	}
	if (w->diffs.count)
		return next_diff(w, step, why);
	while (!got && w->level <= w->img.level) {
		if (w->frame[w->level].i == w->frame[w->level].n)
			leave(w);
		else
			got = take_entry(w, step, why);
	}
	return got;
}
