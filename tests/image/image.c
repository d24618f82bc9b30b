/* SPDX-License-Identifier: Apache-2.0 */
/* Images: what is put in a layer comes out again, at any depth. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "imgtest.h"

static struct layer_set *s;

static void init(void)
{
	s = test_set();
}

static void fini(void)
{
	layer_set_destroy(s);
}

TestSuite(image, .init = init, .fini = fini);

static void put_tag(struct draft *d, uint64_t page, uint64_t tag)
{
	uint8_t data[PAGE_BYTES];

	fill_page(data, tag);
	cr_assert_eq(draft_put(d, page, data, &why), 0, "%s", why.message);
}

static void expect_tag(const struct image *img, uint64_t page, uint64_t tag)
{
	uint8_t want[PAGE_BYTES] = { 0 }, got[PAGE_BYTES];
	int err = image_read(img, page, 1, got, &why);

	if (tag)
		fill_page(want, tag);
	cr_assert_eq(err, 0, "page %lu: %s: %s", page, why.object, why.message);
	cr_assert_arr_eq(got, want, PAGE_BYTES, "page %lu", page);
}

static void fill_three(struct draft *d, void *ctx)
{
	put_tag(d, 0, 1);
	put_tag(d, 300, 2);
	put_tag(d, 70000, 3);
}

Test(image, read_when_pages_were_put_gives_them_back)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++) {
		struct draft_options o = { .bytes = GIB(1), .flags = flags };
		struct image img;

		make_layer(s, &o, fill_three, NULL, &img);
		cr_assert_eq(img.pages, 262144);
		expect_tag(&img, 0, 1);
		expect_tag(&img, 1, 0);
		expect_tag(&img, 300, 2);
		expect_tag(&img, 70000, 3);
		expect_tag(&img, 262143, 0);
	}
}

static void fill_one(struct draft *d, void *ctx)
{
	const uint64_t *tag = ctx;

	put_tag(d, *tag, *tag);
}

Test(image, read_at_depth_1000_finds_every_layer)
{
	struct draft_options o = { .bytes = MIB(64) };
	struct image img[2];

	for (uint64_t i = 1; i <= 1000; i++) {
		make_layer(s, &o, fill_one, &i, &img[i % 2]);
		o.base = &img[i % 2];
	}
	for (uint64_t i = 1; i <= 1000; i++)
		expect_tag(&img[0], i, i);
	expect_tag(&img[0], 1001, 0);
	cr_assert_eq(layer_set_count(s), 1000);
}

static void fill_patched(struct draft *d, void *ctx)
{
	uint8_t data[PAGE_BYTES];

	for (uint64_t p = 0; p < 512; p++) {
		fill_page(data, p + 1);
		data[p % PAGE_BYTES] ^= 0xff;
		cr_assert_eq(draft_put(d, p, data, &why), 0);
	}
}

static void fill_base(struct draft *d, void *ctx)
{
	for (uint64_t p = 0; p < 512; p++)
		put_tag(d, p, p + 1);
}

Test(image, put_when_a_byte_changed_stores_a_difference)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++) {
		struct draft_options o = { .bytes = MIB(8), .flags = flags };
		struct image base, img;
		struct layer *l;
		struct extent e;

		make_layer(s, &o, fill_base, NULL, &base);
		o.base = &base;
		l = make_layer(s, &o, fill_patched, NULL, &img);
		cr_assert_eq(layer_items(l, SECTION_DIFFS), 512);
		cr_assert_leq(layer_data_pages(l), 1);
		cr_assert_eq(image_extent(&img, 0, &e, &why), 0);
		cr_assert_eq(e.kind, EXTENT_DIFFS);
		cr_assert_eq(e.count, 256);
		for (uint64_t p = 0; p < 512; p++) {
			uint8_t want[PAGE_BYTES], got[PAGE_BYTES];

			fill_page(want, p + 1);
			want[p % PAGE_BYTES] ^= 0xff;
			cr_assert_eq(image_read(&img, p, 1, got, &why), 0);
			cr_assert_arr_eq(got, want, PAGE_BYTES);
		}
	}
}

Test(image, subtree_when_nothing_is_left_ends_with_the_image)
{
	struct draft_options o = { .bytes = MIB(300) };
	struct subtree sub;
	struct image img;
	uint64_t page = 1;

	make_layer(s, &o, fill_one, &page, &img);
	cr_assert_eq(img.pages, 76800);
	cr_assert_eq(image_subtree(&img, 66000, 0, &sub, &why), 0);
	cr_assert_null(sub.layer);
	cr_assert_eq(sub.count, 76800 - 66000);
}
