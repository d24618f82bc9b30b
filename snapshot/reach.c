/* SPDX-License-Identifier: Apache-2.0 */
/* Liveness: the steps of a walk, put down as bits. */
#include "reach.h"

#include <errno.h>
#include <string.h>

#include "bits.h"
#include "fileio.h"
#include "walk.h"

struct reached {
	bool reached;
	uint64_t *pages, *diffs;
};

struct reach {
	struct walk walk;
	struct reached *of; /* by the layer's number */
	size_t n;
	const struct layer *root_in; /* not yet put down */
};

struct reach *reach_create(void)
{
	struct reach *r = calloc(1, sizeof(*r));

	if (r)
		walk_init(&r->walk);
	return r;
}

void reach_destroy(struct reach *r)
{
	if (!r)
		return;
	reach_forget(r);
	walk_fini(&r->walk);
	free(r->of);
	free(r);
}

void reach_forget(struct reach *r)
{
	walk_forget(&r->walk);
	for (unsigned i = 0; i < r->n; i++) {
		free(r->of[i].pages);
		free(r->of[i].diffs);
	}
	if (r->n)
		memset(r->of, 0, r->n * sizeof(*r->of));
}

/* ---- what is live ---- */

/* What is known of that layer, which is reached; NULL: no memory. */
static struct reached *reached_of(struct reach *r, const struct layer *l)
{
	unsigned number = layer_number(l);

	if (array_reserve(&r->of, &r->n, number + 1u, sizeof(*r->of)))
		return NULL;
	r->of[number].reached = true;
	return &r->of[number];
}

static int mark_pages(struct reach *r, const struct layer *l, uint32_t page,
		      uint32_t count)
{
	struct reached *of = reached_of(r, l);

	if (of && !of->pages)
		of->pages = bits_create(layer_data_pages(l) + UINT64_C(1));
	if (!of || !of->pages)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		bit_set(of->pages, page + i);
	return 0;
}

static int mark_diff(struct reach *r, const struct walk_step *s)
{
	struct reached *of = reached_of(r, s->layer);
	int err;

	if (of && !of->diffs)
		of->diffs = bits_create(layer_items(s->layer, SECTION_DIFFS));
	if (!of || !of->diffs)
		return -ENOMEM;
	if (bit_test_and_set(of->diffs, s->at))
		return 0;
	err = mark_pages(r, s->base, s->diff.base_page, 1);
	return err ? err : mark_pages(r, s->layer, s->diff.patch_page, 1);
}

static int mark(struct reach *r, const struct walk_step *s)
{
	switch (s->kind) {
	case WALK_NODE:
		return reached_of(r, s->layer) ? 0 : -ENOMEM;
	case WALK_PAGES:
		return mark_pages(r, s->layer, s->at, s->count);
	case WALK_DIFF:
		return mark_diff(r, s);
	}
	return 0;
}

void reach_begin(struct reach *r, const struct image *root)
{
	walk_begin(&r->walk, root);
	r->root_in = root->layer;
}

int reach_next(struct reach *r, struct fail *why)
{
	struct walk_step s;
	int got;

	if (r->root_in && !reached_of(r, r->root_in))
		return file_failed(layer_name(r->root_in), -ENOMEM, "walk",
				   why);
	r->root_in = NULL;
	got = walk_next(&r->walk, &s, why);
	if (got == 1 && mark(r, &s))
		return file_failed(layer_name(s.layer), -ENOMEM, "walk", why);
	return got;
}

int reach_add(struct reach *r, const struct image *root, struct fail *why)
{
	int got;

	reach_begin(r, root);
	do {
		got = reach_next(r, why);
	} while (got == 1);
	return got;
}

/* ---- counts ---- */

const uint64_t *reach_pages(const struct reach *r, const struct layer *l)
{
	return layer_number(l) < r->n ? r->of[layer_number(l)].pages : NULL;
}

const uint64_t *reach_diffs(const struct reach *r, const struct layer *l)
{
	return layer_number(l) < r->n ? r->of[layer_number(l)].diffs : NULL;
}

/* What `pages` of its data pages take in the file. */
static uint64_t bytes_of_pages(const struct layer *l, uint64_t pages)
{
	if (!pages)
		return 0;
	return layer_flags(l)
		   ? layer_file_bytes(l) / layer_data_pages(l) * pages
		   : pages << PAGE_SHIFT;
}

void reach_count(const struct reach *r, const struct layer *l,
		 struct reach_count *c)
{
	uint64_t data = layer_data_pages(l), file = layer_file_bytes(l);
	const uint64_t *pages = reach_pages(r, l), *diffs = reach_diffs(r, l);

	memset(c, 0, sizeof(*c));
	c->reached = layer_number(l) < r->n && r->of[layer_number(l)].reached;
	c->entries = walk_entries(&r->walk, l);
	if (pages)
		c->pages = bits_count(pages, NULL, data + 1);
	if (diffs)
		c->diffs =
		    bits_count(diffs, NULL, layer_items(l, SECTION_DIFFS));
	c->bytes_garbage =
	    c->reached ? MIN(bytes_of_pages(l, data - c->pages), file) : file;
	c->bytes_live = file - c->bytes_garbage;
}

void reach_total(const struct reach *r, const struct layer_set *s,
		 struct reach_total *t)
{
	memset(t, 0, sizeof(*t));
	t->layers = layer_set_count(s);
	for (unsigned i = 0; i < t->layers; i++) {
		struct reach_count c;

		reach_count(r, layer_set_at(s, i), &c);
		t->garbage_layers += !c.reached;
		t->bytes_live += c.bytes_live;
		t->bytes_garbage += c.bytes_garbage;
	}
}
