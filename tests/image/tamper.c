/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer whose file was damaged: every truncation, every bit of all that is
 * no data, and random bits of data. Found when it is opened, or when what the
 * bit belongs to is read; named with its place, as EXIT_INTEGRITY. A bit of a
 * version number is damage too, since the header's and the trailer's hashes are
 * looked at first.
 *
 * The one exception: bytes 512 to 4095 mean nothing in a layer
 * (docs/image-format.md) and nobody reads them.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fileio.h"
#include "sample.h"

TestSuite(tamper, .timeout = 300);

/* TAMPER_FLIPS=1000000: that many bits of data for each kind. */
static unsigned long data_flips(void)
{
	const char *n = getenv("TAMPER_FLIPS");

	return n ? strtoul(n, NULL, 0) : 20000;
}

static void flip(int fd, uint64_t bit)
{
	uint8_t b;

	cr_assert_eq(file_read(fd, bit / 8, &b, 1), 0);
	b ^= (uint8_t)(1 << bit % 8);
	cr_assert_eq(file_write(fd, bit / 8, &b, 1), 0);
}

static void flip_all(const struct sample *s, uint64_t from, uint64_t to)
{
	for (uint64_t bit = from * 8; bit < to * 8; bit++) {
		char what[64];
		int err;

		flip(s->fd, bit);
		err = sample_try(s, s->fd, NULL, NULL);
		flip(s->fd, bit);
		snprintf(what, sizeof(what), "kind %u, byte 0x%lx, bit %lu",
			 s->flags, bit / 8, bit % 8);
		expect_damaged(err, what);
	}
}

static void flip_metadata(uint32_t flags)
{
	struct sample s;

	sample_make(&s, flags, 1);
	cr_assert_eq(sample_try(&s, s.fd, &s.id, NULL), 0, "%s", why.message);
	flip_all(&s, 0, HEADER_BYTES);
	flip_all(&s, s.meta, s.bytes);
	cr_assert_eq(sample_try(&s, s.fd, &s.id, NULL), 0, "%s", why.message);
	sample_fini(&s);
}

Test(tamper, metadata_bit_of_plain_flipped_is_found)
{
	flip_metadata(0);
}

Test(tamper, metadata_bit_of_compressed_flipped_is_found)
{
	flip_metadata(LAYER_COMPRESSED);
}

Test(tamper, metadata_bit_of_encrypted_flipped_is_found)
{
	flip_metadata(LAYER_ENCRYPTED);
}

Test(tamper, metadata_bit_of_both_flipped_is_found)
{
	flip_metadata(LAYER_FLAGS);
}

Test(tamper, bytes_512_to_4095_changed_mean_nothing)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++) {
		struct sample s;
		int fd;

		sample_make(&s, flags, 1);
		fd = copy_file(s.fd);
		for (uint64_t at = HEADER_BYTES; at < PAGE_BYTES; at++)
			flip(fd, at * 8 + at % 8);
		cr_assert_eq(sample_try(&s, fd, &s.id, NULL), 0, "%s",
			     why.message);
		close(fd);
		sample_fini(&s);
	}
}

/* ---- data ---- */

/* The chunk of an encoded layer that byte `at` of the file lies in. */
static uint64_t chunk_at(const struct sample *s, uint64_t at, uint64_t *number)
{
	struct chunk_entry e;

	for (*number = 0;; ++*number) {
		memcpy(&e,
		       s->file + s->trailer.table_offset + *number * sizeof(e),
		       sizeof(e));
		if (at < e.offset + e.stored)
			return e.offset;
	}
}

static void flip_data(uint32_t flags)
{
	uint64_t state = flags;
	struct sample s;

	sample_make(&s, flags, 1);
	for (unsigned long i = data_flips(); i; i--) {
		uint64_t bit = PAGE_BYTES * 8 +
			       rng_below(&state, (s.meta - PAGE_BYTES) * 8);
		uint64_t at = align_down(bit / 8, PAGE_BYTES);
		uint64_t body_page = at / PAGE_BYTES;
		char where[32];
		int err;

		if (flags) {
			at = chunk_at(&s, bit / 8, &body_page);
			body_page = 1 + body_page * CHUNK_PAGES +
				    rng_below(&state, CHUNK_PAGES);
		}
		flip(s.fd, bit);
		err = sample_try(&s, s.fd, &s.id, &s.page_of[body_page]);
		flip(s.fd, bit);
		snprintf(where, sizeof(where), "0x%lx:", at);
		expect_damaged(err, where);
		cr_assert_not_null(strstr(why.message, where), "%s: %s", where,
				   why.message);
	}
	cr_assert_eq(sample_try(&s, s.fd, &s.id, NULL), 0, "%s", why.message);
	sample_fini(&s);
}

Test(tamper, data_bit_of_plain_flipped_is_found_when_its_page_is_read)
{
	flip_data(0);
}

Test(tamper, data_bit_of_compressed_flipped_is_found_when_its_page_is_read)
{
	flip_data(LAYER_COMPRESSED);
}

Test(tamper, data_bit_of_encrypted_flipped_is_found_when_its_page_is_read)
{
	flip_data(LAYER_ENCRYPTED);
}

Test(tamper, data_bit_of_both_flipped_is_found_when_its_page_is_read)
{
	flip_data(LAYER_FLAGS);
}

Test(tamper, data_bit_flipped_leaves_other_pages_readable)
{
	struct sample s;

	sample_make(&s, 0, 1);
	flip(s.fd, PAGE_BYTES * 8 * 3);
	for (unsigned at = 1; at <= 32; at++) {
		int err = sample_try(&s, s.fd, NULL, &s.page_of[at]);

		cr_assert_eq(err != 0, at == 3, "page %u", at);
	}
	sample_fini(&s);
}

/* ---- truncation ---- */

static void cut_at(const struct sample *s, int fd, uint64_t length)
{
	char what[64];

	if (length >= s->bytes)
		return;
	snprintf(what, sizeof(what), "kind %u, cut at 0x%lx", s->flags, length);
	cr_assert_eq(ftruncate(fd, (off_t)length), 0);
	expect_damaged(sample_try(s, fd, NULL, NULL), what);
	cr_assert_eq(
	    file_write(fd, length, s->file + length, s->bytes - length), 0);
}

static void cut_around(const struct sample *s, int fd, uint64_t border)
{
	for (uint64_t at = border ? border - 1 : 0; at <= border + 1; at++)
		cut_at(s, fd, at);
}

static void cut_around_chunks(const struct sample *s, int fd)
{
	uint64_t n = s->trailer.table_bytes / sizeof(struct chunk_entry);
	struct chunk_entry e;

	for (uint64_t i = 0; s->flags && i < n; i++) {
		uint64_t at = s->trailer.table_offset + i * sizeof(e);

		memcpy(&e, s->file + at, sizeof(e));
		cut_around(s, fd, e.offset);
		cut_around(s, fd, at);
	}
}

Test(tamper, cut_anywhere_is_found)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++) {
		struct sample s;
		int fd;

		sample_make(&s, flags, 1);
		fd = copy_file(s.fd);
		for (uint64_t at = 0; at < s.bytes; at += 512)
			cut_at(&s, fd, at);
		cut_around(&s, fd, HEADER_BYTES);
		for (uint64_t p = 1; p <= s.trailer.data_pages; p++)
			cut_around(&s, fd, p * PAGE_BYTES);
		for (unsigned x = 0; !flags && x < SECTIONS; x++)
			cut_around(&s, fd,
				   s.meta + s.trailer.section[x].offset);
		cut_around_chunks(&s, fd);
		cut_around(&s, fd, s.meta);
		cut_around(&s, fd, s.trailer.table_offset);
		cut_around(&s, fd, s.bytes - TRAILER_BYTES);
		cut_around(&s, fd, s.bytes - ID_BYTES);
		cut_around(&s, fd, s.bytes);
		cr_assert_eq(sample_try(&s, fd, &s.id, NULL), 0);
		close(fd);
		sample_fini(&s);
	}
}

Test(tamper, bytes_after_the_end_or_out_of_the_middle_are_found)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++) {
		uint64_t page = 5 * PAGE_BYTES;
		struct sample s;
		uint8_t *more;

		sample_make(&s, flags, 1);
		more = calloc(1, s.bytes + PAGE_BYTES);
		cr_assert_not_null(more);
		memcpy(more, s.file, s.bytes);
		expect_damaged(sample_try_bytes(&s, more, s.bytes + 1),
			       "a byte more");
		expect_damaged(sample_try_bytes(&s, more, s.bytes + PAGE_BYTES),
			       "a page more");
		memmove(more + page, more + page + PAGE_BYTES,
			s.bytes - page - PAGE_BYTES);
		expect_damaged(sample_try_bytes(&s, more, s.bytes - PAGE_BYTES),
			       "a page less");
		free(more);
		sample_fini(&s);
	}
}
