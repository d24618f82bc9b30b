/* SPDX-License-Identifier: Apache-2.0 */
/* See imgtest.h. */
#include "imgtest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fileio.h"
#include "layer_writer.h"

struct fail why;

const uint8_t test_key[LAYER_KEY_BYTES] = "thirty-two bytes of a test's key";

uint64_t rng(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t rng_below(uint64_t *state, uint64_t n)
{
	return rng(state) % n;
}

int memory_file(void)
{
	int fd = memfd_create("layer", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

int copy_file(int fd)
{
	int copy = memory_file();
	uint8_t buf[65536];
	uint64_t at = 0;
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), (off_t)at)) > 0) {
		cr_assert_eq(file_write(copy, at, buf, (size_t)n), 0);
		at += (uint64_t)n;
	}
	return copy;
}

void fill_page(uint8_t page[PAGE_BYTES], uint64_t tag)
{
	for (unsigned i = 0; i < PAGE_BYTES; i += 8) {
		uint64_t state = tag * PAGE_BYTES + i, v = rng(&state);

		memcpy(page + i, &v, 8);
	}
}

struct layer *open_layer(struct layer_set *s, int fd)
{
	struct layer *l = NULL;
	int err = layer_open(s, dup(fd), "layer", NULL, &l, &why);

	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	cr_assert_eq(layer_link(s, NULL, NULL, &why), 0);
	return l;
}

struct layer *make_layer(struct layer_set *s, const struct draft_options *o,
			 void (*fill)(struct draft *d, void *ctx), void *ctx,
			 struct image *img)
{
	struct draft_options mine = *o;
	struct object_id id;
	struct draft *d;
	struct layer *l;
	int err;

	mine.fd = memory_file();
	mine.name = "draft";
	mine.key = test_key;
	err = draft_create(&d, &mine, &why);
	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	fill(d, ctx);
	err = draft_seal(d, &id, &why);
	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	draft_destroy(d);
	l = open_layer(s, mine.fd);
	cr_assert(object_id_equal(layer_id(l), &id));
	close(mine.fd);
	err = image_open(img, l, 0, &why);
	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	return l;
}

static int key_of(void *ctx, const uint8_t uid[UID_BYTES],
		  uint8_t key[LAYER_KEY_BYTES])
{
	memcpy(key, test_key, LAYER_KEY_BYTES);
	return 0;
}

struct layer_set *test_set(void)
{
	struct layer_set *s;

	cr_assert_eq(hash_init(), 0);
	s = layer_set_create(key_of, NULL);
	cr_assert_not_null(s);
	return s;
}

/* ---- layers by hand ---- */

static void craft_data(struct layer_writer *w, const struct craft *c,
		       uint64_t *sums)
{
	uint8_t page[PAGE_BYTES];
	uint32_t at;

	for (uint32_t i = 1; i <= c->data_pages; i++) {
		fill_page(page, i);
		if (c->patches && i == c->data_pages)
			memcpy(page, c->patches, PAGE_BYTES);
		cr_assert_eq(layer_writer_page(w, page, &at, &why), 0);
		sums[i - 1] = sum64(page, PAGE_BYTES, 0) + (i == c->bad_page);
	}
}

static void craft_section(struct layer_writer *w, enum section s,
			  const void *items, unsigned n)
{
	layer_writer_section(w, s);
	cr_assert_eq(layer_writer_put(w, items, n, &why), 0);
}

int craft_file(const struct craft *c)
{
	uint64_t *sums = calloc(c->data_pages + 1, sizeof(*sums));
	int fd = memory_file();
	struct layer_header h;
	struct layer_writer *w;
	struct object_id id;
	uint16_t import;

	cr_assert_eq(layer_header_make(&h, c->flags, 0), 0);
	cr_assert_eq(layer_writer_create(&w, fd, "craft", &h, test_key, &why),
		     0);
	cr_assert_eq(layer_writer_begin(w, &why), 0);
	craft_data(w, c, sums);
	layer_writer_meta(w, c->data_pages);
	craft_section(w, SECTION_NODES, c->nodes, c->nnodes);
	craft_section(w, SECTION_SUMS, sums, c->data_pages);
	craft_section(w, SECTION_DIFFS, c->diffs, c->ndiffs);
	for (unsigned i = 0; i < c->nimports; i++)
		cr_assert_eq(
		    layer_writer_import(w, c->imports[i], &import, &why), 0);
	cr_assert_eq(layer_writer_imports(w, &why), 0);
	craft_section(w, SECTION_ROOTS, c->roots, c->nroots);
	cr_assert_eq(layer_writer_end(w, &id, &why), 0);
	layer_writer_destroy(w);
	free(sums);
	return fd;
}

struct layer *craft_layer(struct layer_set *s, const struct craft *c)
{
	int fd = craft_file(c);
	struct layer *l = open_layer(s, fd);

	close(fd);
	return l;
}

/* ---- trees ---- */

struct grow {
	struct tree *t;
	unsigned i;
	const struct image *base;
	uint64_t state;
};

static void put_some_page(struct draft *d, struct grow *g, uint64_t page)
{
	uint64_t kind = rng_below(&g->state, 8), *sum = &g->t->sum[g->i][page];
	uint8_t data[PAGE_BYTES] = { 0 };

	if (kind >= 4)
		fill_page(data, rng(&g->state));
	else if (kind && g->base && page < g->base->pages)
		cr_assert_eq(image_read(g->base, page, 1, data, &why), 0);
	if (kind && kind < 4) {
		unsigned n = 1 + (unsigned)rng_below(&g->state, 400);

		for (unsigned k = 0; k < n; k++)
			data[k] ^= (uint8_t)(1 + rng_below(&g->state, 200));
	}
	cr_assert_eq(draft_put(d, page, data, &why), 0);
	*sum = sum64(data, PAGE_BYTES, 0);
}

static void grow_tree(struct draft *d, void *ctx)
{
	struct grow *g = ctx;
	uint64_t pages = g->t->img[g->i].pages;
	unsigned runs = (unsigned)rng_below(&g->state, 12);

	for (unsigned r = 0; r < runs; r++) {
		uint64_t page = rng_below(&g->state, pages);
		uint64_t n = 1 + rng_below(&g->state, 24);

		for (; n && page < pages; n--, page++)
			put_some_page(d, g, page);
	}
}

void make_tree(struct layer_set *s, uint64_t seed, unsigned n, struct tree *t)
{
	uint8_t zero[PAGE_BYTES] = { 0 };
	uint64_t none = sum64(zero, PAGE_BYTES, 0), state = seed;

	t->n = n;
	for (unsigned i = 0; i < n; i++) {
		struct draft_options o = { .flags = (uint32_t)rng_below(
					       &state, LAYER_KINDS) };
		struct grow g = { .t = t, .i = i };
		uint64_t pages = 150 + rng_below(&state, 250);
		unsigned base = (unsigned)rng_below(&state, i + 1);

		for (unsigned p = 0; p < TREE_PAGES; p++)
			t->sum[i][p] = none;
		if (base < i) {
			g.base = o.base = &t->img[base];
			pages = o.base->pages;
			if (rng_below(&state, 4) == 0)
				pages = MIN(pages + rng_below(&state, 100),
					    TREE_PAGES);
			memcpy(t->sum[i], t->sum[base], sizeof(t->sum[i]));
		}
		o.bytes = pages * PAGE_BYTES;
		t->img[i].pages = pages;
		g.state = rng(&state);
		make_layer(s, &o, grow_tree, &g, &t->img[i]);
	}
}

void expect_snapshot(const struct image *img, const struct tree *t, unsigned i)
{
	uint8_t page[PAGE_BYTES];

	cr_assert_eq(img->bytes, t->img[i].bytes);
	for (uint64_t p = 0; p < img->pages; p++) {
		int err = image_read(img, p, 1, page, &why);

		cr_assert_eq(err, 0, "snapshot %u page %lu: %s: %s", i, p,
			     why.object, why.message);
		cr_assert_eq(sum64(page, PAGE_BYTES, 0), t->sum[i][p],
			     "snapshot %u page %lu", i, p);
	}
}

uint64_t test_size(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

void test_say(const char *fmt, ...)
{
	const char *name = getenv("TINTYPE_FIGURES");
	FILE *file = name ? fopen(name, "ae") : NULL;
	va_list ap;

	if (!file)
		return;
	va_start(ap, fmt);
	vfprintf(file, fmt, ap);
	va_end(ap);
	fputc('\n', file);
	fclose(file);
}
