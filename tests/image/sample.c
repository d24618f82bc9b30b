/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The base: 40 pages. Over it: 31 pages, some together and some each in a leaf
 * of its own, 40 differences of the base's pages that fill a 32nd, and zeroes
 * in two hundred leaves, so that the tree has three levels and metadata two
 * pages. 32 pages are two whole chunks: in an encoded layer, metadata has its
 * own.
 */
#include "sample.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "fileio.h"

#define IMAGE_BYTES GIB(1)
#define BASE_PAGES  40
#define PAGES	    32

static void fill_base(struct draft *d, void *ctx)
{
	const uint64_t *tag = ctx;
	uint8_t data[PAGE_BYTES];

	for (uint64_t p = 0; p < BASE_PAGES; p++) {
		fill_page(data, *tag + p);
		cr_assert_eq(draft_put(d, p, data, &why), 0);
	}
}

static void fill_sample(struct draft *d, void *ctx)
{
	const uint64_t *tag = ctx;
	uint8_t data[PAGE_BYTES];

	for (uint64_t i = 0; i < PAGES - 1; i++) {
		uint64_t page = i < 16 ? 1000 + i : i * 3000;

		fill_page(data, *tag + 1000 + i);
		cr_assert_eq(draft_put(d, page, data, &why), 0);
	}
	for (uint64_t p = 0; p < BASE_PAGES; p++) {
		fill_page(data, *tag + p);
		data[p * 100] ^= 0xff;
		cr_assert_eq(draft_put(d, p, data, &why), 0);
	}
	for (uint64_t i = 0; i < 200; i++)
		cr_assert_eq(draft_put_zero(d, 120000 + i * 300, 2, &why), 0);
	for (uint64_t i = 0; i < 256; i += 2)
		cr_assert_eq(draft_put_zero(d, 2048 + i, 1, &why), 0);
}

/* Which image page reads which data page. */
static void map_pages(struct sample *s, const struct image *img)
{
	struct layer_diff diff;
	struct extent e;

	for (uint64_t p = 0; p < img->pages; p += e.count) {
		cr_assert_eq(image_extent(img, p, &e, &why), 0);
		if (e.layer != img->layer)
			continue;
		for (unsigned i = 0; i < e.count; i++) {
			uint32_t at = e.at + i;

			if (e.kind == EXTENT_DIFFS) {
				layer_diff(e.layer, at, &diff, &why);
				at = diff.patch_page;
			}
			s->page_of[at] = p + i;
		}
	}
	for (unsigned at = 1; at <= PAGES; at++)
		cr_assert(s->page_of[at] || at == PAGES);
}

static void read_file(struct sample *s)
{
	struct chunk_entry last;

	cr_assert_eq(file_bytes(s->fd, &s->bytes), 0);
	s->file = malloc(s->bytes);
	cr_assert_not_null(s->file);
	cr_assert_eq(file_read(s->fd, 0, s->file, s->bytes), 0);
	s->trailer = *trailer_in(s->file, s->bytes);
	s->meta = PAGE_BYTES * (1 + s->trailer.data_pages);
	if (!s->flags)
		return;
	memcpy(&last, s->file + s->bytes - TRAILER_BYTES - sizeof(last),
	       sizeof(last));
	s->meta = last.offset;
}

void sample_make(struct sample *s, uint32_t flags, uint64_t tag)
{
	struct draft_options o = { .bytes = IMAGE_BYTES,
				   .flags = flags,
				   .over_raw = true };
	struct layer_set *set = test_set();
	struct image base, img;
	struct layer *l;

	memset(s, 0, sizeof(*s));
	s->flags = flags;
	l = make_layer(set, &o, fill_base, &tag, &base);
	s->base_id = *layer_id(l);
	s->base_fd = copy_file(layer_fd(l));
	o.base = &base;
	l = make_layer(set, &o, fill_sample, &tag, &img);
	s->id = *layer_id(l);
	s->fd = copy_file(layer_fd(l));
	cr_assert_eq(layer_data_pages(l), PAGES);
	for (unsigned x = 0; x < SECTIONS; x++)
		cr_assert_gt(layer_items(l, x), 0);
	map_pages(s, &img);
	read_file(s);
	cr_assert_gt(s->trailer.meta_bytes, PAGE_BYTES);
	layer_set_destroy(set);
}

void sample_fini(struct sample *s)
{
	close(s->base_fd);
	close(s->fd);
	free(s->file);
}

/* ---- trying ---- */

struct reading {
	const struct image *img;
	uint64_t page;
};

static int read_extent(void *ctx, const struct extent *e)
{
	uint8_t buf[64 * PAGE_BYTES];
	struct reading *r = ctx;

	cr_assert_eq(e->page, r->page);
	r->page += e->count;
	if (!e->layer)
		return 0;
	cr_assert_leq(e->count, 64);
	return image_read(r->img, e->page, e->count, buf, &why);
}

static int find_none(void *ctx, const struct object_id *id)
{
	return -ENOENT;
}

static int open_and_read(const struct sample *s, struct layer_set *set, int fd,
			 const struct object_id *want, const uint64_t *only)
{
	uint8_t page[PAGE_BYTES];
	struct layer *l, *base;
	struct reading r;
	struct image img;
	int err;

	if (s->base_fd >= 0)
		cr_assert_eq(layer_open(set, dup(s->base_fd), "base",
					&s->base_id, &base, &why),
			     0);
	err = layer_open(set, dup(fd), SAMPLE_NAME, want, &l, &why);
	if (err)
		return err;
	err = layer_link(set, find_none, NULL, &why);
	if (err) {
		cr_assert_eq(layer_link(set, find_none, NULL, NULL), err);
		return err;
	}
	err = image_open(&img, l, 0, &why);
	if (err) {
		cr_assert_eq(image_open(&img, l, 0, NULL), err);
		return err;
	}
	if (only) {
		err = image_read(&img, *only, 1, page, &why);
		/* What did not pass is not kept for the next one. */
		cr_assert_eq(image_read(&img, *only, 1, page, NULL), err);
		return err;
	}
	r = (struct reading){ .img = &img };
	err = image_each_extent(&img, 0, img.pages, read_extent, &r, &why);
	if (!err)
		cr_assert_eq(r.page, img.pages);
	return err;
}

int sample_try(const struct sample *s, int fd, const struct object_id *want,
	       const uint64_t *only)
{
	struct layer_set *set = test_set();
	int err;

	memset(&why, 0, sizeof(why));
	err = open_and_read(s, set, fd, want, only);
	layer_set_destroy(set);
	return err;
}

int sample_try_bytes(const struct sample *s, const void *bytes, uint64_t n)
{
	int fd = memory_file(), err;

	cr_assert_eq(file_write(fd, 0, bytes, n), 0);
	err = sample_try(s, fd, NULL, NULL);
	close(fd);
	return err;
}

void expect_damaged(int err, const char *what)
{
	cr_assert_eq(err, -EBADMSG, "%s: %d %s", what, err, why.message);
	/* Where the key has not opened anything yet, it may be the key. */
	cr_assert_eq(why.code,
		     strncmp(why.message, "wrong key, or", 13) ? EXIT_INTEGRITY
							       : EXIT_DENIED,
		     "%s: %s", what, why.message);
	cr_assert_str_eq(why.object, SAMPLE_NAME, "%s", what);
	cr_assert_not_null(strstr(why.message, "0x"), "%s: %s", what,
			   why.message);
}

/* ---- files in memory ---- */

uint8_t *sample_copy(const struct sample *s)
{
	uint8_t *copy = malloc(s->bytes);

	cr_assert_not_null(copy);
	memcpy(copy, s->file, s->bytes);
	return copy;
}

struct layer_trailer *trailer_in(uint8_t *file, uint64_t bytes)
{
	return (void *)(file + bytes - TRAILER_BYTES);
}

void *item_in(uint8_t *file, uint64_t bytes, enum section s, uint64_t at)
{
	const struct layer_trailer *t = trailer_in(file, bytes);

	return file + PAGE_BYTES * (1 + t->data_pages) + t->section[s].offset +
	       at * section_item_bytes[s];
}

void sample_vouch(uint8_t *file, uint64_t bytes)
{
	struct layer_trailer *t = trailer_in(file, bytes);
	struct layer_header *h = (void *)file;
	uint8_t *table = file + bytes - TRAILER_BYTES;
	uint64_t len;

	hash_check(h->check, h, offsetof(struct layer_header, check));
	memcpy(t->header_check, h->check, CHECK_BYTES);
	if (h->flags & LAYER_FLAGS) {
		table = file + t->table_offset;
		len = t->table_bytes;
	} else {
		len =
		    (t->meta_bytes + PAGE_BYTES - 1) / PAGE_BYTES * CHECK_BYTES;
		table -= len;
	}
	for (uint64_t at = 0; !(h->flags & LAYER_FLAGS) && at < t->meta_bytes;
	     at += PAGE_BYTES)
		hash_check(table + at / PAGE_BYTES * CHECK_BYTES,
			   file + PAGE_BYTES * (1 + t->data_pages) + at,
			   MIN(PAGE_BYTES, t->meta_bytes - at));
	hash_id(&t->table_hash, table, len);
	hash_id(&t->id, t, offsetof(struct layer_trailer, id));
}
