/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers that vouch for themselves and lie: parts of two good ones put
 * together, and fields that docs/image-format.md wants refused ("What a reader
 * must refuse, and when"), behind hashes that are right.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "fileio.h"
#include "sample.h"

TestSuite(hostile, .timeout = 60);

static struct chunk_entry *chunks_in(uint8_t *file, uint64_t bytes)
{
	return (void *)(file + trailer_in(file, bytes)->table_offset);
}

static void swap(void *a, void *b, size_t len)
{
	uint8_t *x = a, *y = b;

	for (size_t i = 0; i < len; i++) {
		uint8_t t = x[i];

		x[i] = y[i];
		y[i] = t;
	}
}

/* ---- parts of two layers ---- */

/* Two layers of the same shape and key, with other contents. */
static void make_two(struct sample s[2], uint32_t flags)
{
	sample_make(&s[0], flags, 1);
	sample_make(&s[1], flags, 5000);
}

static void fini_two(struct sample s[2])
{
	sample_fini(&s[0]);
	sample_fini(&s[1]);
}

Test(hostile, page_of_another_layer_is_found)
{
	struct sample s[2];

	make_two(s, 0);
	for (unsigned page = 1; page <= 32; page++) {
		uint8_t *mix = sample_copy(&s[0]);

		memcpy(mix + page * PAGE_BYTES, s[1].file + page * PAGE_BYTES,
		       PAGE_BYTES);
		if (memcmp(mix, s[0].file, s[0].bytes))
			expect_damaged(sample_try_bytes(&s[0], mix, s[0].bytes),
				       "page");
		free(mix);
	}
	fini_two(s);
}

/* With its entry in the table, and the table vouched for: what is encrypted
 * knows its layer, for the rest the sums speak. */
static void splice_chunk(struct sample s[2], unsigned n)
{
	uint8_t *mix = sample_copy(&s[0]);
	struct chunk_entry *to = chunks_in(mix, s[0].bytes);
	struct chunk_entry *from = chunks_in(s[1].file, s[1].bytes);
	int fd = memory_file();

	/* Random bytes do not shrink. */
	cr_assert_eq(to[n].offset, from[n].offset);
	cr_assert_eq(to[n].stored, from[n].stored);
	memcpy(mix + to[n].offset, s[1].file + from[n].offset, to[n].stored);
	expect_damaged(sample_try_bytes(&s[0], mix, s[0].bytes), "chunk");
	to[n] = from[n];
	expect_damaged(sample_try_bytes(&s[0], mix, s[0].bytes), "and entry");
	sample_vouch(mix, s[0].bytes);
	expect_damaged(sample_try_bytes(&s[0], mix, s[0].bytes), "and hash");
	cr_assert_eq(file_write(fd, 0, mix, s[0].bytes), 0);
	expect_damaged(sample_try(&s[0], fd, &s[0].id, NULL), "and id");
	cr_assert_not_null(strstr(why.message, "another layer"), "%s",
			   why.message);
	close(fd);
	free(mix);
}

Test(hostile, chunk_of_another_layer_with_its_key_is_found)
{
	for (uint32_t flags = 1; flags < LAYER_KINDS; flags++) {
		struct sample s[2];

		make_two(s, flags);
		splice_chunk(s, 0);
		if (flags == LAYER_ENCRYPTED)
			splice_chunk(s, 1);
		fini_two(s);
	}
}

Test(hostile, chunks_of_one_layer_swapped_are_found)
{
	for (uint32_t flags = 1; flags < LAYER_KINDS; flags++) {
		struct chunk_entry *e;
		struct sample s;
		uint8_t *mix;

		sample_make(&s, flags, 1);
		mix = sample_copy(&s);
		e = chunks_in(mix, s.bytes);
		swap(&e[0], &e[1], sizeof(*e));
		expect_damaged(sample_try_bytes(&s, mix, s.bytes), "table");
		sample_vouch(mix, s.bytes);
		expect_damaged(sample_try_bytes(&s, mix, s.bytes), "offsets");
		swap(&e[0].offset, &e[1].offset, sizeof(e->offset));
		if (e[0].stored == e[1].stored)
			swap(mix + e[0].offset, mix + e[1].offset, e->stored);
		sample_vouch(mix, s.bytes);
		expect_damaged(sample_try_bytes(&s, mix, s.bytes), "chunks");
		free(mix);
		sample_fini(&s);
	}
}

Test(hostile, checks_swapped_in_a_plain_table_are_found)
{
	struct layer_trailer *t;
	struct sample s;
	uint8_t *mix, *table;

	sample_make(&s, 0, 1);
	mix = sample_copy(&s);
	t = trailer_in(mix, s.bytes);
	table = mix + t->table_offset;
	swap(table, table + CHECK_BYTES, CHECK_BYTES);
	expect_damaged(sample_try_bytes(&s, mix, s.bytes), "table");
	hash_id(&t->table_hash, table, t->table_bytes);
	hash_id(&t->id, t, offsetof(struct layer_trailer, id));
	expect_damaged(sample_try_bytes(&s, mix, s.bytes), "page of metadata");
	free(mix);
	sample_fini(&s);
}

/* Bytes of the other layer over those of the first, `len` from `to` on. */
static void graft(struct sample s[2], uint8_t *mix, uint64_t to, uint64_t from,
		  uint64_t len)
{
	memcpy(mix + to, s[1].file + from, len);
	expect_damaged(sample_try_bytes(&s[0], mix, s[0].bytes), "part");
}

Test(hostile, header_table_or_trailer_of_another_layer_is_found)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++) {
		struct sample s[2];
		uint64_t end, table, their_end, their_table;
		uint8_t *mix;

		make_two(s, flags);
		end = s[0].bytes - TRAILER_BYTES;
		table = s[0].trailer.table_offset;
		their_end = s[1].bytes - TRAILER_BYTES;
		their_table = s[1].trailer.table_offset;
		mix = sample_copy(&s[0]);
		graft(s, mix, 0, 0, HEADER_BYTES);
		graft(s, mix, end, their_end, TRAILER_BYTES);
		memcpy(mix, s[0].file, HEADER_BYTES);
		graft(s, mix, end, their_end, TRAILER_BYTES);
		graft(s, mix, table, their_table, s[1].trailer.table_bytes);
		memcpy(mix + end, s[0].file + end, TRAILER_BYTES);
		graft(s, mix, table, their_table, s[1].trailer.table_bytes);
		free(mix);
		fini_two(s);
	}
}

Test(hostile, layer_under_the_id_of_another_is_refused)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++) {
		struct sample s[2];

		make_two(s, flags);
		expect_damaged(sample_try(&s[0], s[1].fd, &s[0].id, NULL),
			       "a good layer");
		cr_assert_not_null(strstr(why.message, "another layer"));
		fini_two(s);
	}
}

/* ---- imports ---- */

Test(hostile, import_that_is_missing_is_named_when_it_is_needed)
{
	struct sample s;
	char id[ID_SHORT];
	int base;

	sample_make(&s, 0, 1);
	object_id_short(id, &s.base_id);
	base = s.base_fd;
	s.base_fd = -1;
	/* A page of its own, then one that is a difference from the base's. */
	cr_assert_eq(sample_try(&s, s.fd, &s.id, &s.page_of[1]), 0);
	cr_assert_eq(sample_try(&s, s.fd, &s.id, &s.page_of[32]), -ENOENT);
	cr_assert_eq(why.code, EXIT_INTEGRITY);
	cr_assert_str_eq(why.object, SAMPLE_NAME);
	cr_assert_not_null(strstr(why.message, id), "%s", why.message);
	s.base_fd = base;
	sample_fini(&s);
}

/* ---- versions ---- */

static void expect_version(int err, const char *version)
{
	cr_assert_eq(err, -ENOTSUP, "%d: %s", err, why.message);
	cr_assert_eq(why.code, EXIT_INCOMPATIBLE);
	cr_assert_str_eq(why.object, SAMPLE_NAME);
	cr_assert_not_null(strstr(why.message, version), "%s", why.message);
}

Test(hostile, newer_version_is_refused_by_its_number)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++) {
		struct sample s;
		uint8_t *file;

		sample_make(&s, flags, 1);
		file = sample_copy(&s);
		((struct layer_header *)file)->version = 2;
		sample_vouch(file, s.bytes);
		expect_version(sample_try_bytes(&s, file, s.bytes),
			       "version 2 ");
		((struct layer_header *)file)->version = 1;
		trailer_in(file, s.bytes)->version = 77;
		sample_vouch(file, s.bytes);
		expect_version(sample_try_bytes(&s, file, s.bytes),
			       "version 77 ");
		free(file);
		sample_fini(&s);
	}
}

/* ---- fields ---- */

/* A field of a plain sample, set behind right hashes. */
struct lie {
	const char *part;
	size_t offset, width;
	uint64_t value;
	const char *said;
};

#define HEADER(f, v, said)                                                     \
	{                                                                      \
		"header " #f, offsetof(struct layer_header, f),                \
		    sizeof(((struct layer_header *)0)->f), v, said             \
	}
#define TRAILER(f, v, said)                                                    \
	{                                                                      \
		"trailer " #f, offsetof(struct layer_trailer, f),              \
		    sizeof(((struct layer_trailer *)0)->f), v, said            \
	}

static const struct lie lies[] = {
	HEADER(flags, 4, "unknown flags"),
	HEADER(flags, 1, "header of another file"),
	HEADER(zero[0], 1, "not zero"),
	HEADER(zero[415], 1, "not zero"),
	HEADER(bytes, 511, "size"),
	HEADER(bytes, IMAGE_MAX_BYTES + 512, "size"),
	HEADER(below_kind, 3, "lies on"),
	HEADER(below_root, 1, "lies on"),
	HEADER(below[0], 1, "lies on"),
	TRAILER(flags, 4, "another file"),
	TRAILER(zero[0], 1, "not zero"),
	TRAILER(zero[303], 1, "not zero"),
	TRAILER(data_pages, UINT64_C(1) << 30, "too many pages"),
	TRAILER(data_pages, UINT64_MAX, "too many pages"),
	TRAILER(data_pages, 31, "sum"),
	TRAILER(meta_bytes, UINT64_MAX, "too many pages"),
	TRAILER(meta_bytes, UINT64_C(1) << 49, "too many pages"),
	TRAILER(meta_bytes, 512, "does not fit"),
	TRAILER(table_offset, 0, "table does not fit"),
	TRAILER(table_offset, UINT64_MAX, "table does not fit"),
	TRAILER(table_bytes, 0, "table does not fit"),
	TRAILER(table_bytes, UINT64_MAX, "table does not fit"),
	TRAILER(section[0].offset, 8, "sums"),
	TRAILER(section[0].count, UINT64_C(1) << 61, "nodes"),
	TRAILER(section[1].offset, 0, "sums"),
	TRAILER(section[1].offset, UINT64_MAX - 7, "sums"),
	TRAILER(section[1].count, 31, "sum for each"),
	TRAILER(section[2].count, UINT64_C(1) << 60, "diffs"),
	TRAILER(section[2].count, 41, "imports"),
	TRAILER(section[3].count, UINT64_C(1) << 59, "imports"),
	TRAILER(section[3].count, 2, "roots"),
	TRAILER(section[4].offset, 4, "roots"),
	TRAILER(section[4].count, 0, "roots"),
	TRAILER(section[4].count, 2, "roots"),
};

static void tell(const struct sample *s, const struct lie *x, size_t offset)
{
	uint8_t *file = sample_copy(s);

	memcpy(file + offset, &x->value, x->width);
	if (x->part[0] == 't') {
		struct layer_trailer *t = trailer_in(file, s->bytes);

		hash_id(&t->id, t, offsetof(struct layer_trailer, id));
	} else {
		sample_vouch(file, s->bytes);
	}
	expect_damaged(sample_try_bytes(s, file, s->bytes), x->part);
	cr_assert_not_null(strstr(why.message, x->said), "%s, %s: %s", x->part,
			   x->said, why.message);
	free(file);
}

Test(hostile, header_or_trailer_that_lies_is_refused_on_open)
{
	struct sample s;

	sample_make(&s, 0, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++)
		tell(&s, &lies[i],
		     lies[i].part[0] == 'h'
			 ? lies[i].offset
			 : s.bytes - TRAILER_BYTES + lies[i].offset);
	sample_fini(&s);
}

/* The same for an item of metadata: item 0, of which `offset` counts. */
struct item_lie {
	enum section section;
	struct lie lie;
};

#define ROOT(f, v, said)                                                       \
	{                                                                      \
		SECTION_ROOTS,                                                 \
		{                                                              \
			"root " #f, offsetof(struct layer_root, f),            \
			    sizeof(((struct layer_root *)0)->f), v, said       \
		}                                                              \
	}
#define DIFF(f, v, said)                                                       \
	{                                                                      \
		SECTION_DIFFS,                                                 \
		{                                                              \
			"diff " #f, offsetof(struct layer_diff, f),            \
			    sizeof(((struct layer_diff *)0)->f), v, said       \
		}                                                              \
	}
/* The first node that is written is the leaf of page 0: 40 differences. */
#define LEAF(f, v, said)                                                       \
	{                                                                      \
		SECTION_NODES,                                                 \
		{                                                              \
			"leaf " #f, offsetof(struct node_entry, f),            \
			    sizeof(((struct node_entry *)0)->f), v, said       \
		}                                                              \
	}
#define KIND(kind, place) ((uint64_t)(kind) << RUN_KIND_SHIFT | (place))

static const struct item_lie item_lies[] = {
	ROOT(bytes, 0, "size"),
	ROOT(bytes, 513, "size"),
	ROOT(bytes, IMAGE_MAX_BYTES * 2, "size"),
	ROOT(bytes, 512, "level"),
	ROOT(level, 1, "level"),
	ROOT(level, UINT32_MAX, "level"),
	ROOT(zero[0], 1, "level"),
	ROOT(zero[2], 1, "level"),
	ROOT(top.first, 1, "index"),
	ROOT(top.import, 2, "no import 2"),
	ROOT(top.at, UINT32_MAX, "no node"),
	ROOT(top.at, 511, "no node"),
	DIFF(import, 9, "no import 9"),
	DIFF(base_page, 0, "no page 0"),
	DIFF(base_page, 41, "no page 41"),
	DIFF(base_page, UINT32_MAX, "no page 4294967295"),
	DIFF(patch_page, 0, "no data page 0"),
	DIFF(patch_page, UINT32_MAX, "no data page"),
	DIFF(patch_offset, 4095, "misshapen"),
	DIFF(patch_offset, UINT16_MAX, "misshapen"),
	DIFF(patch_bytes, 0, "misshapen"),
	DIFF(patch_bytes, 513, "misshapen"),
	DIFF(patch_bytes, 4, "misshapen"),
	DIFF(zero, 1, "not zero"),
	LEAF(import, 2, "no import 2"),
	LEAF(import, UINT16_MAX, "no import 65535"),
	LEAF(first, 255, "out of bounds"),
	LEAF(more, 40, "out of bounds"),
	LEAF(at, KIND(RUN_DIFFS, 1), "out of bounds"),
	LEAF(at, KIND(RUN_DIFFS, RUN_PLACE_MASK), "out of bounds"),
	LEAF(at, KIND(RUN_PAGES, 0), "out of bounds"),
	LEAF(at, KIND(RUN_PAGES, RUN_PLACE_MASK), "out of bounds"),
	LEAF(at, KIND(RUN_ZERO, 1), "out of bounds"),
	LEAF(at, KIND(3, 0), "out of bounds"),
};

Test(hostile, metadata_that_lies_is_refused_when_it_is_followed)
{
	struct sample s;

	sample_make(&s, 0, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(item_lies); i++) {
		const struct item_lie *x = &item_lies[i];
		uint8_t *item = item_in(s.file, s.bytes, x->section, 0);

		tell(&s, &x->lie, (size_t)(item - s.file) + x->lie.offset);
	}
	sample_fini(&s);
}

/* ---- chunks ---- */

/* A zstd frame of `n` equal bytes, and one of one byte as before zstd 1.0. */
#define FRAME(n)                                                               \
	0x28, 0xb5, 0x2f, 0xfd, 0x20, n, 3 | (n & 31) << 3, n >> 5, 0, 'x'
#define OLD_FRAME 0x27, 0xb5, 0x2f, 0xfd, 0x20, 1, 0x40, 0, 1, 'x', 0xc0, 0, 0
#define SKIPPED	  0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0

static int decode(const uint8_t *stored, size_t len, uint32_t plain_bytes)
{
	static uint8_t plain[CHUNK_BYTES];
	const uint8_t uid[UID_BYTES] = { 0 };
	struct chunk c = { .plain_bytes = plain_bytes,
			   .stored_bytes = (uint32_t)len };
	struct codec *codec;
	int err;

	cr_assert_eq(codec_create(&codec, LAYER_COMPRESSED, uid, NULL), 0);
	hash_check(c.check, stored, len);
	err = codec_decode(codec, &c, stored, plain);
	codec_destroy(codec);
	return err;
}

Test(hostile, chunk_that_is_not_one_frame_of_zstd_is_refused)
{
	static const uint8_t one[] = { FRAME(200) };
	static const uint8_t two[] = { FRAME(200), FRAME(200) };
	static const uint8_t old[] = { OLD_FRAME, FRAME(200) };
	static const uint8_t skipped[] = { SKIPPED, FRAME(200) };
	static const uint8_t more[] = { FRAME(200), 0 };

	cr_assert_eq(decode(one, sizeof(one), 200), 0);
	cr_assert_eq(decode(one, sizeof(one) - 1, 200), -EBADMSG);
	cr_assert_eq(decode(one, sizeof(one), 199), -EBADMSG);
	cr_assert_eq(decode(one, sizeof(one), 201), -EBADMSG);
	cr_assert_eq(decode(one, 0, 200), -EBADMSG);
	cr_assert_eq(decode(two, sizeof(two), 400), -EBADMSG);
	cr_assert_eq(decode(old, sizeof(old), 201), -EBADMSG);
	cr_assert_eq(decode(skipped, sizeof(skipped), 200), -EBADMSG);
	cr_assert_eq(decode(more, sizeof(more), 200), -EBADMSG);
}
