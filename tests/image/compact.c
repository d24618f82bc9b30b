/* SPDX-License-Identifier: Apache-2.0 */
/* Consolidation: the same content without the victims, in as few runs. */
#include "compact.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "image_check.h"
#include "imgtest.h"
#include "reach.h"

static struct layer_set *s;
static struct tree t;

static void init(void)
{
	s = test_set();
}

static void fini(void)
{
	layer_set_destroy(s);
}

TestSuite(compact, .init = init, .fini = fini);

/* ---- what all tests do ---- */

static int run(const struct compact_options *o, unsigned budget,
	       struct object_id *id, struct compact_counts *n)
{
	struct compact *c;
	int got = compact_begin(&c, o, &why);

	if (got)
		return got;
	do {
		got = compact_step(c, budget, &why);
	} while (got == 1);
	compact_count(c, n);
	if (got == 0)
		return compact_finish(c, id, &why);
	compact_abort(c);
	return got;
}

static struct compact_options options(const struct image *roots,
				      unsigned nroots, const uint64_t *victims)
{
	return (struct compact_options){
		.fd = memory_file(),
		.name = "new",
		.set = s,
		.roots = roots,
		.nroots = nroots,
		.victims = victims,
		.key = test_key,
	};
}

static int not_there(void *ctx, const struct object_id *id)
{
	return -ENOENT;
}

/* A fresh set with the new layer and all that are no victims; *out is the new
 * layer. Takes the file. */
static struct layer_set *reopen(int fd, const uint64_t *victims,
				struct layer **out)
{
	struct layer_set *fresh = test_set();
	struct layer *l;

	for (unsigned i = 0; victims && i < layer_set_count(s); i++)
		if (!bit_get(victims, i))
			cr_assert_eq(
			    layer_open(fresh, dup(layer_fd(layer_set_at(s, i))),
				       "kept", NULL, &l, &why),
			    0);
	cr_assert_eq(layer_open(fresh, fd, "new", NULL, out, &why), 0, "%s",
		     why.message);
	cr_assert_eq(layer_link(fresh, not_there, NULL, &why), 0);
	return fresh;
}

static struct layer *full_copy(const struct image *roots, unsigned nroots)
{
	struct compact_options o = options(roots, nroots, NULL);
	struct compact_counts n;
	struct object_id id;
	struct layer *l;

	cr_assert_eq(run(&o, 1000, &id, &n), 0, "%s", why.message);
	l = open_layer(s, o.fd);
	cr_assert(object_id_equal(layer_id(l), &id));
	close(o.fd);
	return l;
}

/* ---- content ---- */

static void expect_whole(struct layer_set *set, const struct image *img)
{
	struct image_check_options o = { .data = true };
	struct image_check *c = image_check_create(set, &o);

	cr_assert_eq(image_check(c, img, &why), 0, "%s: %s", why.object,
		     why.message);
	image_check_destroy(c);
}

/* The pages of victims that the roots have, before. */
static uint64_t live_in(const struct image *roots, unsigned n,
			const uint64_t *victims)
{
	struct reach *r = reach_create();
	uint64_t pages = 0;

	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(reach_add(r, &roots[i], &why), 0);
	for (unsigned i = 0; i < layer_set_count(s); i++) {
		struct reach_count c;

		reach_count(r, layer_set_at(s, i), &c);
		if (!victims || bit_get(victims, i))
			pages += c.pages;
	}
	reach_destroy(r);
	return pages;
}

static void compact_some(uint64_t *state)
{
	unsigned nroots = 1 + (unsigned)rng_below(state, t.n);
	unsigned of = 1 + (unsigned)rng_below(state, 4);
	uint64_t *victims = of == 1 ? NULL : bits_create(t.n);
	struct image roots[TREE_MAX], img;
	unsigned which[TREE_MAX];
	struct compact_options o;
	struct compact_counts n;
	struct layer_set *fresh;
	struct object_id id;
	struct layer *l;

	for (unsigned i = 0; victims && i < t.n; i++)
		if (rng_below(state, of) == 0)
			bit_set(victims, i);
	for (unsigned i = 0; i < nroots; i++) {
		which[i] = (unsigned)rng_below(state, t.n);
		roots[i] = t.img[which[i]];
	}
	o = options(roots, nroots, victims);
	o.flags = (uint32_t)rng_below(state, LAYER_KINDS);
	cr_assert_eq(run(&o, 1 + (unsigned)rng_below(state, 90), &id, &n), 0,
		     "%s: %s", why.object, why.message);
	if (!victims)
		cr_assert_leq(n.out_pages, live_in(roots, nroots, NULL));
	fresh = reopen(o.fd, victims, &l);
	cr_assert(object_id_equal(layer_id(l), &id));
	if (!victims)
		cr_assert_eq(layer_items(l, SECTION_IMPORTS), 0);
	for (unsigned i = 0; i < nroots; i++) {
		cr_assert_eq(image_open(&img, l, i, &why), 0);
		expect_snapshot(&img, &t, which[i]);
		expect_whole(fresh, &img);
	}
	layer_set_destroy(fresh);
	free(victims);
}

Test(compact, trees_at_random_read_the_same_without_the_victims)
{
	for (uint64_t seed = 1; seed <= 12; seed++) {
		uint64_t state = seed * 1000;

		layer_set_destroy(s);
		s = test_set();
		make_tree(s, seed, 5 + (unsigned)rng_below(&state, 56), &t);
		for (unsigned k = 0; k < 6; k++)
			compact_some(&state);
	}
}

/* What was consolidated is consolidated again, with what came after it. */
Test(compact, layer_that_was_consolidated_can_be_again)
{
	struct image again[TREE_MAX];
	struct layer *l;

	make_tree(s, 3, 30, &t);
	memcpy(again, t.img, sizeof(again));
	for (unsigned k = 0; k < 4; k++) {
		l = full_copy(again, t.n);
		for (unsigned i = 0; i < t.n; i++) {
			cr_assert_eq(image_open(&again[i], l, i, &why), 0);
			expect_snapshot(&again[i], &t, i);
		}
	}
	/* No patch is lost or doubled on the way. */
	cr_assert_eq(layer_data_pages(l), live_in(again, t.n, NULL));
}

/* ---- what is shared stays so ---- */

static void put(struct draft *d, uint64_t page, uint64_t tag)
{
	uint8_t data[PAGE_BYTES];

	fill_page(data, tag);
	cr_assert_eq(draft_put(d, page, data, &why), 0);
}

static void fill_all(struct draft *d, void *ctx)
{
	for (uint64_t p = 0; p < 4096; p++)
		put(d, p, p + 1);
}

static void fill_two(struct draft *d, void *ctx)
{
	const uint64_t *tag = ctx;

	put(d, 3 * 256, *tag);
	put(d, 7 * 256 + 1, *tag + 1);
}

Test(compact, subtrees_that_need_no_victim_are_shared)
{
	struct draft_options o = { .bytes = MIB(16), .plain_pages = true };
	uint64_t victims = 1 << 1, tag = 10000;
	struct compact_options co;
	struct compact_counts n;
	struct image base, child, img;
	struct layer_set *fresh;
	struct object_id id;
	struct layer *l;
	uint8_t page[PAGE_BYTES], want[PAGE_BYTES];

	make_layer(s, &o, fill_all, NULL, &base);
	o.base = &base;
	make_layer(s, &o, fill_two, &tag, &child);
	co = options(&child, 1, &victims);
	cr_assert_eq(run(&co, 1, &id, &n), 0);
	cr_assert_eq(n.pages, 2);
	fresh = reopen(co.fd, &victims, &l);
	cr_assert_eq(layer_data_pages(l), 2);
	/* The top with 16 entries and two leaves of 2 and 3 runs. */
	cr_assert_eq(layer_items(l, SECTION_NODES), 16 + 2 + 3);
	cr_assert_eq(image_open(&img, l, 0, &why), 0);
	cr_assert_eq(image_read(&img, 7 * 256 + 1, 1, page, &why), 0);
	fill_page(want, tag + 1);
	cr_assert_arr_eq(page, want, PAGE_BYTES);
	expect_whole(fresh, &img);
	layer_set_destroy(fresh);
}

/* The base goes: the child's leaves that are whole stay where they are, its top
 * and what it shared are written; once for both roots. */
Test(compact, nodes_of_kept_layers_that_need_a_victim_are_written_anew)
{
	struct draft_options o = { .bytes = MIB(16), .plain_pages = true };
	uint64_t victims = 1 << 0, tag = 10000;
	struct compact_options co;
	struct compact_counts n;
	struct image base, roots[2], img;
	struct layer_set *fresh;
	struct object_id id;
	struct layer *l;

	make_layer(s, &o, fill_all, NULL, &base);
	o.base = &base;
	make_layer(s, &o, fill_two, &tag, &roots[0]);
	tag = 20000;
	make_layer(s, &o, fill_two, &tag, &roots[1]);
	co = options(roots, 2, &victims);
	cr_assert_eq(run(&co, 50, &id, &n), 0);
	cr_assert_eq(n.pages, 4096 - 2);
	fresh = reopen(co.fd, &victims, &l);
	cr_assert_eq(layer_items(l, SECTION_IMPORTS), 2);
	/* Two tops, 14 leaves that both have, 2 leaves of each. */
	cr_assert_eq(layer_items(l, SECTION_NODES), 2 * 16 + 14 + 2 * (2 + 3));
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(image_open(&img, l, i, &why), 0);
		expect_whole(fresh, &img);
	}
	layer_set_destroy(fresh);
}

Test(compact, image_that_needs_no_victim_is_one_root)
{
	struct draft_options o = { .bytes = MIB(16), .plain_pages = true };
	uint64_t victims = 0;
	struct compact_options co;
	struct compact_counts n;
	struct layer_set *fresh;
	struct object_id id;
	struct image base;
	struct layer *l;

	make_layer(s, &o, fill_all, NULL, &base);
	co = options(&base, 1, &victims);
	cr_assert_eq(run(&co, 50, &id, &n), 0);
	fresh = reopen(co.fd, &victims, &l);
	cr_assert_eq(layer_data_pages(l), 0);
	cr_assert_eq(layer_items(l, SECTION_NODES), 0);
	cr_assert_eq(image_open(&base, l, 0, &why), 0);
	expect_whole(fresh, &base);
	layer_set_destroy(fresh);
}

Test(compact, image_of_nothing_stays_so)
{
	struct layer_root root = { .bytes = MIB(1),
				   .top = { 255, 255, 65535, UINT32_MAX } };
	struct craft c = { .roots = &root, .nroots = 1 };
	struct layer *l = craft_layer(s, &c);
	struct image img;

	cr_assert_eq(image_open(&img, l, 0, &why), 0);
	l = full_copy(&img, 1);
	cr_assert_eq(image_open(&img, l, 0, &why), 0);
	cr_assert(img.empty);
	cr_assert_eq(img.bytes, MIB(1));
}

/* ---- contiguity ---- */

static void fill_scattered(struct draft *d, void *ctx)
{
	uint64_t *state = ctx, order[1024];

	for (uint64_t i = 0; i < 1024; i++) {
		uint64_t k = rng_below(state, i + 1);

		order[i] = order[k];
		order[k] = i;
	}
	for (unsigned i = 0; i < 1024; i++)
		if (order[i] % 100 >= 10) /* ten pages of nothing in each 100 */
			put(d, order[i], 1 + order[i] + *state % 1000);
}

static void fill_four(struct draft *d, void *ctx)
{
	put(d, 50, 5000);
	put(d, 555, 5001);
	put(d, 556, 5002);
	put(d, 1023, 5003);
}

static int count_extent(void *ctx, const struct extent *e)
{
	++*(unsigned *)ctx;
	return 0;
}

static unsigned extents(const struct image *img)
{
	unsigned n = 0;

	cr_assert_eq(
	    image_each_extent(img, 0, img->pages, count_extent, &n, &why), 0);
	return n;
}

Test(compact, scattered_image_becomes_as_few_runs_as_can_be)
{
	struct draft_options o = { .bytes = MIB(4), .plain_pages = true };
	struct image img[2], now;
	uint64_t state = 5;
	struct layer *l;

	make_layer(s, &o, fill_scattered, &state, &img[1]);
	o.base = &img[1];
	make_layer(s, &o, fill_four, NULL, &img[0]);
	cr_assert_geq(extents(&img[0]), 900);
	l = full_copy(img, 2);
	cr_assert_eq(image_open(&now, l, 0, &why), 0);
	/* 11 holes, each with a run behind it. */
	cr_assert_eq(extents(&now), 22);
	cr_assert_eq(image_open(&now, l, 1, &why), 0);
	/* The older one: around the four pages that were changed. */
	cr_assert_leq(extents(&now), 22 + 6);
}

/* ---- stopped and failed ---- */

static void expect_no_layer(int fd)
{
	struct layer *l;
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(st.st_size, 0);
	cr_assert_eq(layer_open(s, dup(fd), "new", NULL, &l, &why), -EBADMSG);
}

Test(compact, abort_at_every_step_leaves_no_layer)
{
	struct compact_options o;
	struct object_id id;
	struct compact *c;
	int got = 1;

	make_tree(s, 11, 6, &t);
	for (unsigned steps = 0; got == 1; steps++) {
		o = options(t.img, t.n, NULL);
		o.flags = steps % LAYER_KINDS;
		cr_assert_eq(compact_begin(&c, &o, &why), 0);
		got = 1;
		for (unsigned i = 0; i < steps && got == 1; i++)
			got = compact_step(c, 1, &why);
		compact_abort(c);
		cr_assert_geq(got, 0);
		expect_no_layer(o.fd);
		close(o.fd);
	}
	/* What was there is as it was. */
	o = options(t.img, t.n, NULL);
	cr_assert_eq(run(&o, 1, &id, &(struct compact_counts){ 0 }), 0);
	close(o.fd);
	for (unsigned i = 0; i < t.n; i++)
		expect_snapshot(&t.img[i], &t, i);
}

Test(compact, page_that_is_damaged_is_not_carried_over)
{
	struct draft_options o = { .bytes = MIB(16) };
	struct compact_options co;
	struct compact_counts n;
	struct object_id id;
	struct image base;
	struct layer *l = make_layer(s, &o, fill_all, NULL, &base);

	cr_assert_eq(pwrite(layer_fd(l), "x", 1, 77 * PAGE_BYTES + 5), 1);
	co = options(&base, 1, NULL);
	cr_assert_eq(run(&co, 50, &id, &n), -EBADMSG);
	cr_assert_not_null(strstr(why.message, "page 77: wrong sum"));
	expect_no_layer(co.fd);
	close(co.fd);
}

Test(compact, file_that_cannot_be_written_is_an_error_that_names_it)
{
	struct draft_options o = { .bytes = MIB(16) };
	struct compact_options co;
	struct compact *c;
	struct image base;

	make_layer(s, &o, fill_all, NULL, &base);
	co = options(&base, 1, NULL);
	close(co.fd);
	co.fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	cr_assert_eq(compact_begin(&c, &co, &why), -ENOSPC);
	cr_assert_eq(why.code, EXIT_NO_SPACE);
	cr_assert_str_eq(why.object, "new");
	close(co.fd);
}
