/* SPDX-License-Identifier: Apache-2.0 */
/* Layers of two images: RAM, and the state beside it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "compact.h"
#include "image_check.h"
#include "imgtest.h"
#include "reach.h"

static struct layer_set *s;

static void init(void)
{
	s = test_set();
}

static void fini(void)
{
	layer_set_destroy(s);
}

TestSuite(second, .init = init, .fini = fini);

/* Bytes with holes of whole pages in them. */
static uint8_t *make_state(size_t len, uint64_t seed)
{
	uint8_t *data = calloc(1, len + 1);

	for (size_t i = 0; i < len; i++)
		if (i / PAGE_BYTES % 3 != 1)
			data[i] = (uint8_t)(rng(&seed) | 1);
	return data;
}

struct content {
	uint64_t page, tag; /* of RAM */
	const uint8_t *state;
	size_t len;
};

static void fill(struct draft *d, void *ctx)
{
	const struct content *c = ctx;
	uint8_t data[PAGE_BYTES];

	/* In between: neither takes the other's pages. */
	fill_page(data, c->tag);
	cr_assert_eq(draft_put(d, c->page, data, &why), 0);
	cr_assert_eq(draft_put_second(d, c->state, c->len, &why), 0, "%s",
		     why.message);
	data[0] ^= 1;
	cr_assert_eq(draft_put(d, c->page, data, &why), 0);
	cr_assert_eq(draft_put(d, c->page + 1, data, &why), 0);
}

static void expect_state(struct layer *l, uint32_t root,
			 const struct content *c)
{
	uint8_t page[PAGE_BYTES];
	struct image img;

	cr_assert_eq(image_open(&img, l, root, &why), 0, "%s", why.message);
	cr_assert_eq(img.bytes, align_up(c->len, 512));
	for (uint64_t p = 0; p < img.pages; p++) {
		size_t n = MIN(PAGE_BYTES, c->len - (p << PAGE_SHIFT));

		cr_assert_eq(image_read(&img, p, 1, page, &why), 0);
		cr_assert_arr_eq(page, c->state + (p << PAGE_SHIFT), n);
		cr_assert(mem_is_zero(page + n, PAGE_BYTES - n));
	}
}

static void expect_ram(struct layer *l, uint32_t root, const struct content *c)
{
	uint8_t want[PAGE_BYTES], got[PAGE_BYTES];
	struct image img;

	cr_assert_eq(image_open(&img, l, root, &why), 0);
	fill_page(want, c->tag);
	want[0] ^= 1;
	for (uint64_t p = c->page; p < c->page + 2; p++) {
		cr_assert_eq(image_read(&img, p, 1, got, &why), 0);
		cr_assert_arr_eq(got, want, PAGE_BYTES);
	}
}

static const size_t lengths[] = { 1,
				  511,
				  512,
				  513,
				  4095,
				  4096,
				  4097,
				  12288,
				  50001,
				  5000000,
				  DRAFT_SECOND_MAX };

Test(second, state_of_any_length_comes_back_beside_ram)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++)
		for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
			struct draft_options o = { .bytes = MIB(64),
						   .flags = flags };
			struct content c = { .page = 300,
					     .tag = 9,
					     .len = lengths[i] };
			uint8_t *data = make_state(c.len, i);
			struct image img;
			struct layer *l;

			c.state = data;
			l = make_layer(s, &o, fill, &c, &img);
			cr_assert_eq(layer_items(l, SECTION_ROOTS), 2);
			expect_state(l, 1, &c);
			expect_ram(l, 0, &c);
			free(data);
		}
}

Test(second, state_of_no_or_too_many_bytes_is_refused)
{
	struct draft_options o = { .bytes = MIB(1), .name = "draft" };
	uint8_t *data = calloc(1, DRAFT_SECOND_MAX + 1);
	struct draft *d;

	o.fd = memory_file();
	cr_assert_eq(draft_create(&d, &o, &why), 0);
	cr_assert_eq(draft_put_second(d, data, 0, &why), -EINVAL);
	cr_assert_eq(draft_put_second(d, data, DRAFT_SECOND_MAX + 1, &why),
		     -EINVAL);
	draft_destroy(d);
	close(o.fd);
	free(data);
}

/* Each lies on the one before; its state lies on nothing. */
static void make_chain(struct layer *l[3], struct content c[3])
{
	struct draft_options o = { .bytes = MIB(64) };
	struct image img[3];

	for (unsigned i = 0; i < 3; i++) {
		o.base = i ? &img[i - 1] : NULL;
		l[i] = make_layer(s, &o, fill, &c[i], &img[i]);
	}
}

static void make_contents(struct content c[3])
{
	for (unsigned i = 0; i < 3; i++) {
		c[i] = (struct content){ .page = 100 * i,
					 .tag = 7 + i,
					 .len = 9000 + i };
		c[i].state = make_state(c[i].len, i);
	}
}

static void free_contents(struct content c[3])
{
	for (unsigned i = 0; i < 3; i++)
		free((void *)c[i].state);
}

static int check_root(struct layer *l, uint32_t root)
{
	struct image_check_options o = { .data = true };
	struct image_check *check = image_check_create(s, &o);
	struct image img;
	int err;

	cr_assert_eq(image_open(&img, l, root, &why), 0);
	err = image_check(check, &img, &why);
	image_check_destroy(check);
	return err;
}

Test(second, check_judges_each_root_by_itself)
{
	struct content c[3];
	struct layer *l[3];

	make_contents(c);
	make_chain(l, c);
	for (unsigned i = 0; i < 3; i++)
		for (uint32_t root = 0; root < 2; root++)
			cr_assert_eq(check_root(l[i], root), 0, "%s",
				     why.message);
	free_contents(c);
}

Test(second, reach_of_a_state_is_its_own_pages_only)
{
	struct reach *r = reach_create();
	struct reach_count count;
	struct content c[3];
	struct layer *l[3];
	struct image img;

	make_contents(c);
	make_chain(l, c);
	cr_assert_eq(image_open(&img, l[2], 1, &why), 0);
	cr_assert_eq(reach_add(r, &img, &why), 0);
	reach_count(r, l[0], &count);
	cr_assert(!count.reached);
	reach_count(r, l[2], &count);
	cr_assert_eq(count.pages, 2); /* of three, one is zero */
	/* RAM of the last one has pages of all. */
	cr_assert_eq(image_open(&img, l[2], 0, &why), 0);
	cr_assert_eq(reach_add(r, &img, &why), 0);
	for (unsigned i = 0; i < 3; i++) {
		reach_count(r, l[i], &count);
		cr_assert(count.reached);
		cr_assert_eq(count.pages, i == 2 ? 4 : 2);
	}
	reach_destroy(r);
	free_contents(c);
}

Test(second, compact_takes_ram_and_state_along)
{
	struct compact_options o = { .fd = memory_file(),
				     .name = "new",
				     .set = s,
				     .nroots = 2,
				     .key = test_key };
	struct content c[3];
	struct layer *l[3], *new;
	struct image roots[2];
	struct object_id id;
	struct compact *compact;
	int got;

	make_contents(c);
	make_chain(l, c);
	for (uint32_t root = 0; root < 2; root++)
		cr_assert_eq(image_open(&roots[root], l[2], root, &why), 0);
	o.roots = roots;
	cr_assert_eq(compact_begin(&compact, &o, &why), 0);
	do {
		got = compact_step(compact, 1000, &why);
	} while (got == 1);
	cr_assert_eq(got, 0);
	cr_assert_eq(compact_finish(compact, &id, &why), 0);
	new = open_layer(s, o.fd);
	close(o.fd);
	cr_assert_eq(layer_items(new, SECTION_IMPORTS), 0);
	for (unsigned i = 0; i < 3; i++)
		expect_ram(new, 0, &c[i]);
	expect_state(new, 1, &c[2]);
	for (uint32_t root = 0; root < 2; root++)
		cr_assert_eq(check_root(new, root), 0, "%s", why.message);
	free_contents(c);
}
