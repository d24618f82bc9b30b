/* SPDX-License-Identifier: Apache-2.0 */
/* Checking images: each thing that must be refused, by a layer that has it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "image_check.h"
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

TestSuite(check, .init = init, .fini = fini);

#define PAGES(at) (at)
#define ZERO	  ((uint32_t)RUN_ZERO << RUN_KIND_SHIFT)
#define DIFFS(at) ((uint32_t)RUN_DIFFS << RUN_KIND_SHIFT | (at))

/*
 * A small image that is whole, for tests to break: 300 pages; pages 0 and 1 are
 * data pages 1 and 2, page 10 a difference to data page 3 with its patch in
 * page 4, pages 256 to 299 zero. One node a level and leaf:
 *   entries 0, 1: the top; 2, 3: the first leaf; 4: the second.
 */
struct whole {
	struct node_entry nodes[520];
	struct layer_diff diffs[2];
	struct layer_root root;
	uint8_t patches[PAGE_BYTES];
	struct layer *import;
	struct craft craft;
};

static void make_whole(struct whole *w)
{
	static const uint8_t patch[] = { 8, 0, 2, 0, 0xaa, 0xbb };

	memset(w, 0, sizeof(*w));
	w->nodes[0] = (struct node_entry){ 0, 1, 0, 2 };
	w->nodes[1] = (struct node_entry){ 1, 0, 0, 4 };
	w->nodes[2] = (struct node_entry){ 0, 1, 0, PAGES(1) };
	w->nodes[3] = (struct node_entry){ 10, 0, 0, DIFFS(0) };
	w->nodes[4] = (struct node_entry){ 0, 43, 0, ZERO };
	w->diffs[0] = (struct layer_diff){ .base_page = 3,
					   .patch_page = 4,
					   .patch_bytes = sizeof(patch) };
	w->diffs[1] = w->diffs[0];
	memcpy(w->patches, patch, sizeof(patch));
	w->root = (struct layer_root){ .bytes = 300 * PAGE_BYTES,
				       .top = { 0, 1, 0, 0 },
				       .level = 1 };
	w->craft = (struct craft){
		.data_pages = 4,
		.patches = w->patches,
		.nodes = w->nodes,
		.nnodes = 5,
		.diffs = w->diffs,
		.ndiffs = 1,
		.roots = &w->root,
		.nroots = 1,
	};
}

static int check_one(const struct image *img, bool data)
{
	struct image_check_options o = { .data = data };
	struct image_check *c = image_check_create(s, &o);
	int err;

	cr_assert_not_null(c);
	err = image_check(c, img, &why);
	image_check_destroy(c);
	return err;
}

static int check_whole(const struct whole *w, bool data)
{
	struct layer *l = craft_layer(s, &w->craft);
	struct image img;
	int err = image_open(&img, l, 0, &why);

	return err ? err : check_one(&img, data);
}

Test(check, image_when_whole_passes)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++) {
		struct whole w;

		make_whole(&w);
		w.craft.flags = flags;
		cr_assert_eq(check_whole(&w, false), 0, "%s", why.message);
		cr_assert_eq(check_whole(&w, true), 0, "%s", why.message);
	}
}

/* ---- one damage each ---- */

static void unordered(struct whole *w)
{
	w->nodes[3].first = 0;
}

static void overlapping(struct whole *w)
{
	w->nodes[2].more = 10;
	w->craft.data_pages = 20;
}

static void unordered_inner(struct whole *w)
{
	w->nodes[1].first = 0;
}

static void page_beyond_the_end(struct whole *w)
{
	w->nodes[4].more = 44;
}

static void child_beyond_the_end(struct whole *w)
{
	w->nodes[1].first = 2;
}

static void run_beyond_the_leaf(struct whole *w)
{
	w->nodes[3] = (struct node_entry){ 250, 6, 0, ZERO };
}

static void run_beyond_the_data(struct whole *w)
{
	w->nodes[2].at = PAGES(4);
}

static void run_of_page_zero(struct whole *w)
{
	w->nodes[2].at = PAGES(0);
}

static void run_of_no_kind(struct whole *w)
{
	w->nodes[2].at = UINT32_C(3) << RUN_KIND_SHIFT;
}

static void zero_with_a_place(struct whole *w)
{
	w->nodes[4].at |= 1;
}

static void run_beyond_the_diffs(struct whole *w)
{
	w->nodes[3].more = 1;
}

static void node_beyond_the_nodes(struct whole *w)
{
	w->nodes[1].at = 5;
}

static void node_across_a_page(struct whole *w)
{
	w->craft.nnodes = 520;
	w->nodes[1] = (struct node_entry){ 1, 1, 0, 511 };
}

static void import_beyond_the_imports(struct whole *w)
{
	w->nodes[2].import = 1;
}

static void child_of_no_import(struct whole *w)
{
	w->nodes[1].import = 1;
}

static void diff_not_zero(struct whole *w)
{
	w->diffs[0].zero = 1;
}

static void diff_without_base(struct whole *w)
{
	w->diffs[0].base_page = 0;
}

static void diff_base_beyond_the_data(struct whole *w)
{
	w->diffs[0].base_page = 5;
}

static void diff_of_no_import(struct whole *w)
{
	w->diffs[0].import = 1;
}

static void diff_without_patch(struct whole *w)
{
	w->diffs[0].patch_page = 0;
}

static void patch_beyond_the_data(struct whole *w)
{
	w->diffs[0].patch_page = 5;
}

static void patch_of_nothing(struct whole *w)
{
	w->diffs[0].patch_bytes = 0;
}

static void patch_too_long(struct whole *w)
{
	w->diffs[0].patch_bytes = PATCH_MAX_BYTES + 1;
}

static void patch_beyond_its_page(struct whole *w)
{
	w->diffs[0].patch_offset = PAGE_BYTES - 5;
}

static void piece_of_nothing(struct whole *w)
{
	w->patches[2] = 0;
}

static void piece_beyond_the_page(struct whole *w)
{
	w->patches[0] = 0xff;
	w->patches[1] = 0x0f;
}

static void piece_beyond_the_patch(struct whole *w)
{
	w->patches[2] = 3;
}

static void patch_page_with_wrong_sum(struct whole *w)
{
	w->craft.bad_page = 4;
}

static void root_of_another_level(struct whole *w)
{
	w->root.level = 0;
}

static void root_with_index(struct whole *w)
{
	w->root.top.first = 1;
}

static void root_of_no_size(struct whole *w)
{
	w->root.bytes = 511;
}

static void top_beyond_the_nodes(struct whole *w)
{
	w->root.top.at = 4;
}

static const struct {
	void (*harm)(struct whole *w);
	const char *message;
} harms[] = {
	{ unordered, "do not ascend" },
	{ overlapping, "do not ascend" },
	{ unordered_inner, "do not ascend" },
	{ page_beyond_the_end, "beyond the image's end" },
	{ child_beyond_the_end, "beyond the image's end" },
	{ run_beyond_the_leaf, "run out of bounds" },
	{ run_beyond_the_data, "run out of bounds" },
	{ run_of_page_zero, "run out of bounds" },
	{ run_of_no_kind, "run out of bounds" },
	{ zero_with_a_place, "run out of bounds" },
	{ run_beyond_the_diffs, "run out of bounds" },
	{ node_beyond_the_nodes, "no node there" },
	{ node_across_a_page, "no node there" },
	{ import_beyond_the_imports, "no import 1" },
	{ child_of_no_import, "no import 1" },
	{ diff_not_zero, "difference 0: not zero" },
	{ diff_without_base, "base is no data page" },
	{ diff_base_beyond_the_data, "base is no data page" },
	{ diff_of_no_import, "no import 1" },
	{ diff_without_patch, "patch is in no data page" },
	{ patch_beyond_the_data, "patch is in no data page" },
	{ patch_of_nothing, "no place of a patch" },
	{ patch_too_long, "no place of a patch" },
	{ patch_beyond_its_page, "no place of a patch" },
	{ piece_of_nothing, "misshapen patch" },
	{ piece_beyond_the_page, "misshapen patch" },
	{ piece_beyond_the_patch, "misshapen patch" },
	{ patch_page_with_wrong_sum, "page 4: wrong sum" },
	{ root_of_another_level, "root 0: level" },
	{ root_with_index, "root 0: index" },
	{ root_of_no_size, "root 0: size" },
	{ top_beyond_the_nodes, "no node there" },
};

Test(check, image_when_damaged_is_refused_by_name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(harms); i++) {
		struct whole w;

		make_whole(&w);
		harms[i].harm(&w);
		cr_assert_eq(check_whole(&w, false), -EBADMSG, "harm %u", i);
		cr_assert_str_eq(why.object, "layer");
		cr_assert_not_null(strstr(why.message, "damaged at 0x"),
				   "harm %u: %s", i, why.message);
		cr_assert_not_null(strstr(why.message, harms[i].message),
				   "harm %u: %s", i, why.message);
	}
}

Test(check, image_when_a_page_has_a_wrong_sum_fails_with_data_only)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++) {
		for (uint32_t page = 1; page <= 3; page++) {
			struct whole w;
			char want[32];

			make_whole(&w);
			w.craft.flags = flags;
			w.craft.bad_page = page;
			cr_assert_eq(check_whole(&w, false), 0);
			cr_assert_eq(check_whole(&w, true), -EBADMSG);
			snprintf(want, sizeof(want), "page %u: wrong sum",
				 page);
			cr_assert_not_null(strstr(why.message, want));
		}
	}
}

/* A layer whose import is not in the set. */
Test(check, image_when_a_layer_is_not_there_says_so)
{
	struct layer_set *other = test_set();
	struct whole w;
	struct layer *l;
	struct image img;
	int fd;

	make_whole(&w);
	l = craft_layer(other, &w.craft);
	w.craft.imports = &l;
	w.craft.nimports = 1;
	w.nodes[1].import = 1;
	fd = craft_file(&w.craft);
	layer_set_destroy(other);
	cr_assert_eq(layer_open(s, fd, "layer", NULL, &l, &why), 0);
	cr_assert_eq(image_open(&img, l, 0, &why), 0);
	cr_assert_eq(check_one(&img, false), -ENOENT);
	cr_assert_not_null(strstr(why.message, "needs layer"));
}

/* ---- many damages, many images ---- */

struct seen {
	unsigned damages, stop_at;
	uint64_t done, of;
	unsigned calls, cancel_at; /* 0: never */
};

static int count_damage(void *ctx, const struct fail *damage)
{
	struct seen *x = ctx;

	x->damages++;
	return x->damages == x->stop_at ? -EINTR : 0;
}

static int note_progress(void *ctx, uint64_t done, uint64_t of)
{
	struct seen *x = ctx;

	cr_assert_leq(done, of);
	x->done = done;
	x->of = of;
	return ++x->calls == x->cancel_at;
}

static struct image_check *check_all(struct seen *x)
{
	struct image_check_options o = {
		.data = true,
		.damage = count_damage,
		.progress = note_progress,
		.ctx = x,
	};
	struct image_check *c = image_check_create(s, &o);

	cr_assert_not_null(c);
	return c;
}

static void make_ruin(struct whole *w)
{
	make_whole(w);
	w->craft.bad_page = 4; /* 1: the patches of both differences */
	w->craft.ndiffs = 2;
	w->nodes[3].more = 1;
	w->nodes[4].more = 99; /* 2: beyond the end */
	w->nodes[2].more = 3;  /* so that page 4 is data as well */
	w->craft.nnodes = 5;
	w->craft.data_pages = 4;
}

Test(check, image_when_there_is_much_damage_tells_each_once)
{
	struct seen x = { 0 };
	struct image_check *c = check_all(&x);
	struct whole w;
	struct image img;

	make_ruin(&w);
	cr_assert_eq(image_open(&img, craft_layer(s, &w.craft), 0, &why), 0);
	cr_assert_eq(image_check(c, &img, &why), -EBADMSG);
	cr_assert_eq(x.damages, 2);
	/* The first one, in the order of the walk. */
	cr_assert_not_null(strstr(why.message, "beyond"), "%s", why.message);
	/* And again for whoever asks again. */
	cr_assert_eq(image_check(c, &img, &why), -EBADMSG);
	cr_assert_eq(x.damages, 4);
	x.stop_at = 5;
	cr_assert_eq(image_check(c, &img, &why), -EINTR);
	cr_assert_eq(x.damages, 5);
	image_check_destroy(c);
}

static void fill_200(struct draft *d, void *ctx)
{
	uint8_t data[PAGE_BYTES];

	for (uint64_t p = 0; p < 200; p++) {
		fill_page(data, p + 1);
		cr_assert_eq(draft_put(d, p, data, &why), 0);
	}
}

static void fill_last(struct draft *d, void *ctx)
{
	uint8_t data[PAGE_BYTES];

	fill_page(data, 1000);
	cr_assert_eq(draft_put(d, 199, data, &why), 0);
}

Test(check, image_when_shared_is_read_once)
{
	struct draft_options o = { .bytes = MIB(2) };
	struct image base, img;
	struct seen x = { 0 };
	struct image_check *c = check_all(&x);

	make_layer(s, &o, fill_200, NULL, &base);
	o.base = &base;
	make_layer(s, &o, fill_last, NULL, &img);
	cr_assert_eq(image_check(c, &base, &why), 0);
	cr_assert_eq(x.of, 200);
	cr_assert_eq(x.done, 200);
	cr_assert_eq(image_check(c, &img, &why), 0);
	cr_assert_eq(x.of, 1);
	x.of = 77;
	cr_assert_eq(image_check(c, &base, &why), 0);
	cr_assert_eq(x.of, 77); /* nothing is left to tell of */
	image_check_destroy(c);
}

/* Data is damaged behind our back: the byte is in page 7 of the base, which
 * both have. */
Test(check, image_when_it_shares_damage_is_refused_too)
{
	struct draft_options o = { .bytes = MIB(2) };
	struct image base, img;
	struct seen x = { 0 };
	struct image_check *c = check_all(&x);
	struct layer *l = make_layer(s, &o, fill_200, NULL, &base);

	o.base = &base;
	make_layer(s, &o, fill_last, NULL, &img);
	cr_assert_eq(pwrite(layer_fd(l), "x", 1, 7 * PAGE_BYTES + 99), 1);
	cr_assert_eq(image_check(c, &base, &why), -EBADMSG);
	cr_assert_not_null(strstr(why.message, "page 7: wrong sum"));
	cr_assert_eq(x.damages, 1);
	cr_assert_eq(x.done, 200);
	cr_assert_eq(image_check(c, &img, &why), -EBADMSG);
	cr_assert_eq(x.damages, 2);
	cr_assert_eq(x.done, 2); /* page 7 again, and its own */
	image_check_destroy(c);
}

Test(check, image_when_cancelled_can_be_checked_later)
{
	struct draft_options o = { .bytes = MIB(2) };
	struct seen x = { .cancel_at = 2 };
	struct image_check *c = check_all(&x);
	struct image img;

	make_layer(s, &o, fill_200, NULL, &img);
	cr_assert_eq(image_check(c, &img, &why), -ECANCELED);
	cr_assert_eq(why.code, EXIT_CANCELLED);
	cr_assert_eq(x.done, 128);
	x.cancel_at = 0;
	cr_assert_eq(image_check(c, &img, &why), 0);
	cr_assert_eq(x.of, 72); /* what was read stays so */
	image_check_destroy(c);
}

/* Two images with one tree, the second of which ends within the last run: what
 * was seen of the first does not hide it. */
Test(check, image_that_ends_earlier_than_one_with_its_nodes_is_refused)
{
	struct seen x = { 0 };
	struct image_check *c = check_all(&x);
	struct layer_root roots[2];
	struct whole w;
	struct image img;
	struct layer *l;

	make_whole(&w);
	roots[0] = roots[1] = w.root;
	roots[1].bytes -= 10 * PAGE_BYTES;
	w.craft.roots = roots;
	w.craft.nroots = 2;
	l = craft_layer(s, &w.craft);
	cr_assert_eq(image_open(&img, l, 0, &why), 0);
	cr_assert_eq(image_check(c, &img, &why), 0);
	cr_assert_eq(image_open(&img, l, 1, &why), 0);
	cr_assert_eq(image_check(c, &img, &why), -EBADMSG);
	cr_assert_not_null(strstr(why.message, "beyond the image's end"));
	image_check_destroy(c);
}

Test(check, image_of_nothing_passes)
{
	struct image img;

	image_init_empty(&img, GIB(1));
	cr_assert_eq(check_one(&img, true), 0);
}

/* ---- files that want to keep us busy ---- */

/* Each node has 256 times the same child: 256^4 ways to the leaf. */
Test(check, image_when_every_way_leads_to_one_leaf_ends_soon, .timeout = 20)
{
	static struct node_entry nodes[5 * NODE_ENTRIES];
	struct layer_root root = { .bytes = IMAGE_MAX_BYTES,
				   .top = { 0, 255, 0, 0 },
				   .level = 4 };
	struct craft c = { .data_pages = 1,
			   .nodes = nodes,
			   .nnodes = ARRAY_SIZE(nodes),
			   .roots = &root,
			   .nroots = 1 };
	struct image img;

	for (uint32_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		uint32_t next = (i / NODE_ENTRIES + 1) * NODE_ENTRIES;

		nodes[i] = (struct node_entry){ (uint8_t)i, 255, 0, next };
		if (i >= 4 * NODE_ENTRIES)
			nodes[i] = (struct node_entry){ (uint8_t)i, 0, 0, 1 };
	}
	cr_assert_eq(image_open(&img, craft_layer(s, &c), 0, &why), 0);
	cr_assert_eq(check_one(&img, true), 0, "%s", why.message);
	/* And in an image that ends in its middle, at each level. */
	root.bytes = IMAGE_MAX_BYTES - 64 * PAGE_BYTES;
	cr_assert_eq(image_open(&img, craft_layer(s, &c), 0, &why), 0);
	cr_assert_eq(check_one(&img, true), -EBADMSG);
}

/* The same, and all children claim the place where the image ends. */
Test(check, image_when_all_children_lie_at_its_end_ends_soon, .timeout = 20)
{
	static struct node_entry nodes[5 * NODE_ENTRIES];
	struct layer_root root = { .bytes = IMAGE_MAX_BYTES - 4096,
				   .top = { 0, 255, 0, 0 },
				   .level = 4 };
	struct craft c = { .data_pages = 1,
			   .nodes = nodes,
			   .nnodes = ARRAY_SIZE(nodes),
			   .roots = &root,
			   .nroots = 1 };
	struct seen x = { 0 };
	struct image_check *check = check_all(&x);
	struct image img;

	for (uint32_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		uint32_t next = (i / NODE_ENTRIES + 1) * NODE_ENTRIES;

		nodes[i] = (struct node_entry){ 255, 255, 0, next };
	}
	cr_assert_eq(image_open(&img, craft_layer(s, &c), 0, &why), 0);
	cr_assert_eq(image_check(check, &img, &why), -EBADMSG);
	cr_assert_leq(x.damages, ARRAY_SIZE(nodes));
	image_check_destroy(check);
}

/* The same entries as nodes of each level. */
Test(check, image_when_a_node_is_its_own_child_ends)
{
	struct node_entry nodes[2] = { { 0, 1, 0, 0 }, { 1, 1, 0, 0 } };
	struct layer_root root = { .bytes = IMAGE_MAX_BYTES,
				   .top = { 0, 1, 0, 0 },
				   .level = 4 };
	struct craft c = {
		.nodes = nodes, .nnodes = 2, .roots = &root, .nroots = 1
	};
	struct image img;

	cr_assert_eq(image_open(&img, craft_layer(s, &c), 0, &why), 0);
	cr_assert_eq(check_one(&img, true), -EBADMSG);
}

Test(check, tree_of_snapshots_passes)
{
	static struct tree t;
	struct seen x = { 0 };
	struct image_check *c = check_all(&x);

	make_tree(s, 7, TREE_MAX, &t);
	for (unsigned i = t.n; i--;)
		cr_assert_eq(image_check(c, &t.img[i], &why), 0, "%s",
			     why.message);
	image_check_destroy(c);
}
