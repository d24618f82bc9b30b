/* SPDX-License-Identifier: Apache-2.0 */
/* The images that are measured. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "imgbench.h"
#include "layer_writer.h"
#include "radix.h"

static void put_tag(struct draft *d, uint64_t page, uint64_t tag)
{
	uint8_t data[PAGE_BYTES];

	fill_page(data, tag);
	try(draft_put(d, page, data, &why));
}

/* ---- a chain of increments ---- */

static uint64_t add_layer(const char *dir, const struct image *base,
			  uint64_t bytes, uint64_t n, uint64_t pages)
{
	char name[32];
	struct draft *d;
	uint64_t state = n;
	int fd;

	snprintf(name, sizeof(name), "depth-%" PRIu64, n);
	d = begin_layer(dir, base, bytes, 0, &fd);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t page =
		    n == 1 ? i : rng_below(&state, bytes >> PAGE_SHIFT);

		put_tag(d, page, n << 32 | page);
	}
	return end_layer(dir, name, d, fd);
}

/* Layers depth-1 (all pages in order) to depth-N, each of which rewrites PAGES
 * random ones. */
static void make_chain(char **word)
{
	uint64_t bytes = MIB(number(word[1])), depth = number(word[2]);
	uint64_t pages = number(word[3]), total = 0;
	char path[PATH_MAX];
	struct opened o;

	total = add_layer(word[0], NULL, bytes, 1, bytes >> PAGE_SHIFT);
	for (uint64_t n = 2; n <= depth; n++) {
		snprintf(path, sizeof(path), "%s/depth-%" PRIu64, word[0],
			 n - 1);
		open_image(&o, path);
		total += add_layer(word[0], &o.img, bytes, n, pages);
		close_image(&o);
	}
	say("bytes", (double)total);
}

/* One layer with all pages in order: FLAGS 1 compressed, 2 encrypted. */
static void make_full(char **word)
{
	uint64_t bytes = MIB(number(word[2]));
	uint32_t flags = (uint32_t)number(word[3]);
	struct draft *d;
	int fd;

	d = begin_layer(word[0], NULL, bytes, flags, &fd);
	for (uint64_t i = 0; i < bytes >> PAGE_SHIFT; i++)
		put_tag(d, i, i + 1);
	say("bytes", (double)end_layer(word[0], word[1], d, fd));
}

/* One layer whose pages were put in random order: no two lie together. */
static void make_scattered(char **word)
{
	uint64_t bytes = MIB(number(word[2]));
	uint32_t n = (uint32_t)(bytes >> PAGE_SHIFT);
	uint32_t *order = rng_order(9, n);
	struct draft *d;
	int fd;

	d = begin_layer(word[0], NULL, bytes, 0, &fd);
	for (uint32_t i = 0; i < n; i++)
		put_tag(d, order[i], order[i] + 1);
	say("bytes", (double)end_layer(word[0], word[1], d, fd));
	free(order);
}

/* A raw file with the same content as depth-1. */
static void make_raw(char **word)
{
	uint64_t pages = MIB(number(word[1])) >> PAGE_SHIFT;
	FILE *f = fopen(word[0], "w");
	uint8_t data[PAGE_BYTES];

	must(f ? 0 : -1, word[0]);
	for (uint64_t i = 0; i < pages; i++) {
		fill_page(data, UINT64_C(1) << 32 | i);
		must(fwrite(data, PAGE_BYTES, 1, f) == 1 ? 0 : -1, word[0]);
	}
	must(fclose(f), word[0]);
}

/* ---- a large image with little in it ---- */

/* STRIDE 0: in order from the beginning; else scattered over all of it. */
static void make_sparse(char **word)
{
	uint64_t bytes = GIB(number(word[2]));
	uint64_t pages = MIB(number(word[3])) >> PAGE_SHIFT;
	bool scattered = number(word[4]);
	uint64_t all = bytes >> PAGE_SHIFT, state = 7;
	struct draft *d;
	int fd;

	d = begin_layer(word[0], NULL, bytes, 0, &fd);
	for (uint64_t i = 0; i < pages; i++)
		put_tag(d, scattered ? rng_below(&state, all) : i, i + 1);
	say("bytes", (double)end_layer(word[0], word[1], d, fd));
}

/* ---- the largest tree there can be ---- */

#define TREE_DATA_PAGES 4096

struct scattered {
	uint64_t page, pages;
};

/* No page follows the one before it: each is a run of its own. */
static int next_scattered(void *ctx, struct extent *e, struct fail *f)
{
	struct scattered *s = ctx;

	if (s->page == s->pages)
		return 0;
	*e = (struct extent){
		.page = s->page,
		.count = 1,
		.kind = EXTENT_PAGES,
		.at = 1 + (uint32_t)(s->page * 1021 % TREE_DATA_PAGES),
	};
	s->page++;
	return 1;
}

static int put_sums(void *ctx, struct layer_writer *w, struct fail *f)
{
	const uint64_t *sums = ctx;

	return layer_writer_put(w, sums, TREE_DATA_PAGES, f);
}

/* An image of GIB without two pages that lie together; it is the tree that
 * counts, so that the same 16 MiB of data are referred to again and again. */
static void make_tree(char **word)
{
	static uint64_t sums[TREE_DATA_PAGES];
	struct scattered from = { .pages = GIB(number(word[2])) >> PAGE_SHIFT };
	struct layer_header h;
	struct layer_writer *w;
	struct layer_root root;
	struct object_id id;
	struct image none;
	uint8_t data[PAGE_BYTES];
	char path[PATH_MAX];
	uint32_t at;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", word[0], word[1]);
	fd = new_file(path);
	try(layer_header_make(&h, 0, 0));
	try(layer_writer_create(&w, fd, path, &h, NULL, &why));
	try(layer_writer_begin(w, &why));
	for (uint32_t i = 0; i < TREE_DATA_PAGES; i++) {
		fill_page(data, i + 1);
		sums[i] = sum64(data, PAGE_BYTES, 0);
		try(layer_writer_page(w, data, &at, &why));
	}
	layer_writer_meta(w, TREE_DATA_PAGES);
	layer_writer_section(w, SECTION_NODES);
	image_init_empty(&none, from.pages << PAGE_SHIFT);
	try(radix_build(w, &none, none.bytes, next_scattered, &from, &root,
			&why));
	layer_writer_section(w, SECTION_SUMS);
	try(put_sums(sums, w, &why));
	layer_writer_section(w, SECTION_DIFFS);
	try(layer_writer_imports(w, &why));
	layer_writer_section(w, SECTION_ROOTS);
	try(layer_writer_put(w, &root, 1, &why));
	try(layer_writer_end(w, &id, &why));
	layer_writer_destroy(w);
	say("bytes", (double)file_size(fd));
	close(fd);
}

const struct measurement make_measurements[] = {
	{ "make-chain", 4, "DIR MIB DEPTH PAGES", make_chain },
	{ "make-full", 4, "DIR NAME MIB FLAGS", make_full },
	{ "make-scattered", 3, "DIR NAME MIB", make_scattered },
	{ "make-raw", 2, "FILE MIB", make_raw },
	{ "make-sparse", 5, "DIR NAME GIB MIB SCATTERED", make_sparse },
	{ "make-tree", 3, "DIR NAME GIB", make_tree },
	{ 0 },
};
