/* SPDX-License-Identifier: Apache-2.0 */
/* What roots reach, compared with what reading every page would touch. */
#include "reach.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "bits.h"
#include "imgtest.h"

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

TestSuite(reach, .init = init, .fini = fini);

/* Page by page: slow, and another way. */
static uint64_t *touched[TREE_MAX];

static void touch(const struct layer *l, uint32_t page)
{
	bit_set(touched[layer_number(l)], page);
}

static void touch_image(const struct image *img)
{
	for (uint64_t p = 0; p < img->pages; p++) {
		struct layer_diff d;
		struct layer *base;
		struct extent e;

		cr_assert_eq(image_extent(img, p, &e, &why), 0);
		if (e.kind == EXTENT_PAGES)
			touch(e.layer, e.at);
		if (e.kind != EXTENT_DIFFS)
			continue;
		cr_assert_eq(layer_diff(e.layer, e.at, &d, &why), 0);
		cr_assert_eq(layer_import(e.layer, d.import, &base, &why), 0);
		touch(base, d.base_page);
		touch(e.layer, d.patch_page);
	}
}

static void expect_touched(const struct reach *r)
{
	for (unsigned i = 0; i < layer_set_count(s); i++) {
		const struct layer *l = layer_set_at(s, i);
		const uint64_t *live = reach_pages(r, l);
		uint64_t n = layer_data_pages(l) + UINT64_C(1);
		struct reach_count c;

		reach_count(r, l, &c);
		cr_assert_eq(c.pages, bits_count(touched[i], NULL, n));
		cr_assert_eq(c.bytes_live + c.bytes_garbage,
			     layer_file_bytes(l));
		if (c.pages)
			cr_assert(c.reached);
		for (uint64_t p = 0; live && p < n; p++)
			cr_assert_eq(bit_get(live, p), bit_get(touched[i], p));
	}
}

Test(reach, tree_at_random_is_exact)
{
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct reach *r = reach_create();
		uint64_t state = seed;

		layer_set_destroy(s);
		s = test_set();
		make_tree(s, seed, 40, &t);
		for (unsigned i = 0; i < t.n; i++)
			touched[i] = bits_create(
			    layer_data_pages(layer_set_at(s, i)) + UINT64_C(1));
		for (unsigned k = 0; k < 8; k++) {
			unsigned i = (unsigned)rng_below(&state, t.n);

			cr_assert_eq(reach_add(r, &t.img[i], &why), 0);
			touch_image(&t.img[i]);
			expect_touched(r);
		}
		for (unsigned i = 0; i < t.n; i++)
			free(touched[i]);
		reach_destroy(r);
	}
}

/* ---- garbage ---- */

static void fill_ten(struct draft *d, void *ctx)
{
	const uint64_t *first = ctx;
	uint8_t data[PAGE_BYTES];

	for (uint64_t p = *first; p < *first + 10; p++) {
		fill_page(data, rng(&(uint64_t){ p + *first * 1000 }));
		cr_assert_eq(draft_put(d, p, data, &why), 0);
	}
}

/* a <- b <- c, of which c replaces all that b has; and d on its own. */
Test(reach, layers_that_no_root_reaches_are_garbage)
{
	struct draft_options o = { .bytes = MIB(4) };
	uint64_t at[] = { 0, 5, 5, 300 };
	struct reach *r = reach_create();
	struct reach_total total;
	struct reach_count n;
	struct image img[4];
	struct layer *l[4];

	for (unsigned i = 0; i < 4; i++) {
		o.base = i == 0 || i == 3 ? NULL : &img[i - 1];
		o.plain_pages = true;
		l[i] = make_layer(s, &o, fill_ten, &at[i], &img[i]);
		at[2] = 4;
	}
	reach_total(r, s, &total);
	cr_assert_eq(total.garbage_layers, 4);
	cr_assert_eq(total.bytes_live, 0);
	cr_assert_eq(reach_add(r, &img[2], &why), 0);
	reach_count(r, l[0], &n);
	cr_assert_eq(n.pages, 4);
	cr_assert_eq(n.bytes_garbage, 6 * PAGE_BYTES);
	reach_count(r, l[1], &n);
	cr_assert(n.reached);
	cr_assert_eq(n.pages, 1); /* page 14 */
	reach_count(r, l[2], &n);
	cr_assert_eq(n.pages, 10);
	cr_assert_eq(n.bytes_garbage, 0);
	cr_assert_eq(n.entries, layer_items(l[2], SECTION_NODES));
	reach_count(r, l[3], &n);
	cr_assert(!n.reached);
	cr_assert_eq(n.bytes_garbage, layer_file_bytes(l[3]));
	reach_total(r, s, &total);
	cr_assert_eq(total.layers, 4);
	cr_assert_eq(total.garbage_layers, 1);
	cr_assert_eq(total.bytes_garbage,
		     15 * PAGE_BYTES + layer_file_bytes(l[3]));
	reach_forget(r);
	reach_total(r, s, &total);
	cr_assert_eq(total.garbage_layers, 4);
	reach_destroy(r);
}

/* A snapshot that changed nothing has a root and no node. */
Test(reach, layer_with_nothing_but_a_root_is_reached)
{
	struct layer_root root = { .bytes = MIB(1),
				   .top = { 255, 255, 65535, UINT32_MAX } };
	struct craft c = { .roots = &root, .nroots = 1 };
	struct layer *l = craft_layer(s, &c);
	struct reach *r = reach_create();
	struct reach_count n;
	struct image img;

	cr_assert_eq(image_open(&img, l, 0, &why), 0);
	cr_assert(img.empty);
	cr_assert_eq(reach_add(r, &img, &why), 0);
	reach_count(r, l, &n);
	cr_assert(n.reached);
	cr_assert_eq(n.pages, 0);
	reach_destroy(r);
}

Test(reach, root_that_is_damaged_gives_an_error)
{
	struct node_entry node = { 0, 0, 3, 1 };
	struct layer_root root = { .bytes = MIB(1) };
	struct craft c = { .data_pages = 1,
			   .nodes = &node,
			   .nnodes = 1,
			   .roots = &root,
			   .nroots = 1 };
	struct reach *r = reach_create();
	struct image img;

	cr_assert_eq(image_open(&img, craft_layer(s, &c), 0, &why), 0);
	cr_assert_eq(reach_add(r, &img, &why), -EBADMSG);
	cr_assert_not_null(strstr(why.message, "no import 3"));
	reach_destroy(r);
}
