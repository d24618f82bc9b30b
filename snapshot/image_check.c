/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three passes. The trees are walked, which tells what is live; then the live
 * patches are parsed, then the live data pages compared, layer by layer in the
 * order of the file: each is read once and in order, however scattered it is in
 * the images.
 *
 * Two kinds of marks. What the walk has seen is kept from one image to the next
 * only as long as all was good: after damage it is forgotten, so that the next
 * image meets the damage by itself. What was read and found good stays so.
 */
#include "image_check.h"

#include <errno.h>
#include <string.h>

#include "bits.h"
#include "fileio.h"
#include "patch.h"
#include "reach.h"

#define BATCH_PAGES 64
#define TOLD	    1024

/* What of a layer was found good. */
struct good {
	uint64_t *pages, *diffs;
};

struct image_check {
	const struct layer_set *set;
	struct image_check_options o;
	struct reach *reach;
	struct good *good; /* by the layer's number */
	unsigned ngood;

	/* Of the image that is checked now. */
	uint64_t done, of, steps;
	int first;
	struct fail first_why;
	/* Damages that were told, by their hash: one may come up for each
	 * thing that needs the same bad page. */
	uint64_t told[TOLD];

	uint8_t buf[BATCH_PAGES * PAGE_BYTES];
};

struct image_check *image_check_create(const struct layer_set *s,
				       const struct image_check_options *o)
{
	struct image_check *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->set = s;
	c->o = *o;
	c->reach = reach_create();
	if (!c->reach) {
		free(c);
		return NULL;
	}
	return c;
}

void image_check_destroy(struct image_check *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->ngood; i++) {
		free(c->good[i].pages);
		free(c->good[i].diffs);
	}
	free(c->good);
	reach_destroy(c->reach);
	free(c);
}

/* ---- what the caller hears ---- */

static bool is_damage(int err)
{
	return err == -EBADMSG || err == -ENOENT || err == -EIO;
}

/* 0: go on behind it. */
static int tell(struct image_check *c, int err, const struct fail *why)
{
	uint64_t hash = sum64(why->message, strlen(why->message),
			      sum64(why->object, strlen(why->object), 1));

	if (!c->first) {
		c->first = err;
		c->first_why = *why;
	}
	if (!is_damage(err) || !c->o.damage)
		return err;
	if (c->told[hash % TOLD] == hash)
		return 0;
	c->told[hash % TOLD] = hash;
	return c->o.damage(c->o.ctx, why);
}

static int tell_progress(struct image_check *c)
{
	bool stop = c->o.progress && c->o.progress(c->o.ctx, c->done, c->of);

	return stop ? -ECANCELED : 0;
}

/* ---- nodes ---- */

static int check_nodes(struct image_check *c, const struct image *img,
		       struct fail *why)
{
	int got, err = 0;

	reach_begin(c->reach, img);
	while (!err && (got = reach_next(c->reach, why))) {
		if (got < 0)
			err = tell(c, got, why);
		else if (++c->steps % 1024 == 0)
			err = tell_progress(c);
	}
	return err;
}

/* ---- patches ---- */

/* Reads a page of patches into the buffer, unless it is there: `*held`. */
static int hold_page(struct image_check *c, struct layer *l, uint32_t page,
		     uint32_t *held, struct fail *why)
{
	int err;

	if (*held == page)
		return 0;
	*held = 0;
	err = layer_read(l, page, 1, c->buf, why);
	if (err)
		return err;
	*held = page;
	bit_set(c->good[layer_number(l)].pages, page);
	return 0;
}

static int check_patch(struct image_check *c, struct layer *l, uint32_t at,
		       uint32_t *held, struct fail *why)
{
	uint8_t *scratch = c->buf + PAGE_BYTES;
	struct layer_diff d;
	int err = layer_diff(l, at, &d, why);

	if (!err)
		err = hold_page(c, l, d.patch_page, held, why);
	if (err)
		return err;
	if (patch_apply(scratch, c->buf + d.patch_offset, d.patch_bytes))
		return layer_damaged(l, layer_item_offset(l, SECTION_DIFFS, at),
				     why, "difference %u: misshapen patch", at);
	bit_set(c->good[layer_number(l)].diffs, at);
	return 0;
}

static int check_patches(struct image_check *c, struct layer *l,
			 struct fail *why)
{
	const struct good *good = &c->good[layer_number(l)];
	const uint64_t *live = reach_diffs(c->reach, l);
	uint64_t n = layer_items(l, SECTION_DIFFS);
	uint32_t held = 0;
	int err = 0;

	if (!live)
		return 0;
	for (uint64_t i = bits_next(live, good->diffs, 0, n); i < n && !err;
	     i = bits_next(live, good->diffs, i + 1, n)) {
		err = check_patch(c, l, (uint32_t)i, &held, why);
		if (err)
			err = tell(c, err, why);
		if (!err && ++c->steps % 1024 == 0)
			err = tell_progress(c);
	}
	return err;
}

/* ---- data ---- */

static int read_batch(struct image_check *c, struct layer *l, uint32_t page,
		      unsigned count, struct fail *why)
{
	int err = layer_read(l, page, count, c->buf, why);

	if (err)
		return err;
	for (unsigned i = 0; i < count; i++)
		bit_set(c->good[layer_number(l)].pages, page + i);
	return 0;
}

/* A batch that is not good is read once more page by page, to tell which. */
static int check_batch(struct image_check *c, struct layer *l, uint32_t page,
		       unsigned count, struct fail *why)
{
	int err = read_batch(c, l, page, count, why);

	if (is_damage(err)) {
		err = 0;
		for (unsigned i = 0; i < count && !err; i++) {
			err = read_batch(c, l, page + i, 1, why);
			if (err)
				err = tell(c, err, why);
		}
	}
	c->done += count;
	return err ? err : tell_progress(c);
}

static int check_data(struct image_check *c, struct layer *l, struct fail *why)
{
	const uint64_t *live = reach_pages(c->reach, l);
	const uint64_t *good = c->good[layer_number(l)].pages;
	uint64_t n = layer_data_pages(l) + UINT64_C(1), page, end;
	int err = 0;

	if (!live)
		return 0;
	for (page = bits_next(live, good, 0, n); page < n && !err;
	     page = bits_next(live, good, end, n)) {
		end = page + 1;
		while (end < n && end - page < BATCH_PAGES &&
		       bit_get(live, end) && !bit_get(good, end))
			end++;
		err = check_batch(c, l, (uint32_t)page, (unsigned)(end - page),
				  why);
	}
	return err;
}

/* ---- all ---- */

/* Marks for all layers that are reached. 0 or -ENOMEM. */
static int make_good(struct image_check *c)
{
	unsigned n = layer_set_count(c->set);
	struct good *more = reallocarray(c->good, MAX(n, 1), sizeof(*more));

	if (!more)
		return -ENOMEM;
	c->good = more;
	while (c->ngood < n)
		c->good[c->ngood++] = (struct good){ 0 };
	for (unsigned i = 0; i < n; i++) {
		struct layer *l = layer_set_at(c->set, i);
		struct good *g = &c->good[i];

		if (!reach_pages(c->reach, l))
			continue;
		if (!g->pages)
			g->pages =
			    bits_create(layer_data_pages(l) + UINT64_C(1));
		if (!g->diffs)
			g->diffs = bits_create(layer_items(l, SECTION_DIFFS));
		if (!g->pages || !g->diffs)
			return -ENOMEM;
	}
	return 0;
}

/* Those that are still to be compared. */
static uint64_t count_data(const struct image_check *c)
{
	uint64_t of = 0;

	for (unsigned i = 0; i < c->ngood; i++) {
		struct layer *l = layer_set_at(c->set, i);
		const uint64_t *live = reach_pages(c->reach, l);

		if (live)
			of += bits_count(live, c->good[i].pages,
					 layer_data_pages(l) + UINT64_C(1));
	}
	return of;
}

static int check_all(struct image_check *c, const struct image *img,
		     struct fail *why)
{
	int err = check_nodes(c, img, why);

	if (!err && make_good(c))
		err = file_failed("check", -ENOMEM, "check", why);
	for (unsigned i = 0; i < c->ngood && !err; i++)
		err = check_patches(c, layer_set_at(c->set, i), why);
	if (err || !c->o.data)
		return err;
	c->of = count_data(c);
	for (unsigned i = 0; i < c->ngood && !err; i++)
		err = check_data(c, layer_set_at(c->set, i), why);
	return err;
}

int image_check(struct image_check *c, const struct image *img,
		struct fail *why)
{
	struct fail now = { 0 };
	int err;

	c->done = c->of = c->steps = 0;
	c->first = 0;
	memset(c->told, 0, sizeof(c->told));
	err = check_all(c, img, &now);
	/* Damage that was told and passed over is damage all the same. */
	if (!err && c->first) {
		err = c->first;
		now = c->first_why;
	}
	if (err == -ECANCELED)
		fail_set(&now, EXIT_CANCELLED, err, "check", NULL, "cancelled");
	if (err)
		reach_forget(c->reach);
	if (err && why)
		*why = now;
	return err;
}
