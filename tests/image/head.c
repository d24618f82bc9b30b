/* SPDX-License-Identifier: Apache-2.0 */
/* The disk head: where blocks go, what a flush promises, what sealing makes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fileio.h"
#include "head.h"
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

TestSuite(head, .init = init, .fini = fini);

static int make_head(uint64_t bytes)
{
	struct head_info info = { .bytes = bytes };
	int fd = memory_file();

	cr_assert_eq(head_create(fd, "head", &info, 0, &why), 0, "%s",
		     why.message);
	return fd;
}

static struct head *open_head(int fd, const struct head_below *below)
{
	struct head *h = NULL;
	int err = head_open(&h, fd, "head", below ? below : &HEAD_BELOW_NOTHING,
			    true, &why);

	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	return h;
}

static void put_tag(struct head *h, uint64_t block, uint64_t tag)
{
	uint8_t data[PAGE_BYTES];

	fill_page(data, tag);
	cr_assert_eq(head_write(h, block << PAGE_SHIFT, data, PAGE_BYTES, &why),
		     0, "%s", why.message);
}

static void expect_tag(struct head *h, uint64_t block, uint64_t tag)
{
	uint8_t want[PAGE_BYTES] = { 0 }, got[PAGE_BYTES];

	if (tag)
		fill_page(want, tag);
	cr_assert_eq(head_read(h, block << PAGE_SHIFT, got, PAGE_BYTES, &why),
		     0, "%s", why.message);
	cr_assert_arr_eq(got, want, PAGE_BYTES, "block %lu", block);
}

static void flush(struct head *h)
{
	cr_assert_eq(head_flush(h, &why), 0, "%s", why.message);
}

static struct head *reopen(struct head *h, int fd)
{
	head_close(h);
	return open_head(fd, NULL);
}

Test(head, open_after_a_flush_finds_what_was_written)
{
	int fd = make_head(MIB(64));
	struct head *h = open_head(fd, NULL);

	put_tag(h, 7, 1);
	put_tag(h, 100, 2);
	flush(h);
	put_tag(h, 8, 3);
	h = reopen(h, fd);
	expect_tag(h, 7, 1);
	expect_tag(h, 100, 2);
	expect_tag(h, 8, 0);
	head_close(h);
}

Test(head, write_when_rewritten_after_many_flushes_stays_in_place)
{
	int fd = make_head(MIB(64));
	struct head *h = open_head(fd, NULL);
	struct head_counts c;

	for (uint64_t i = 1; i <= 1000; i++) {
		put_tag(h, 5, i);
		flush(h);
	}
	head_count(h, &c);
	cr_assert_leq(c.log_records, 8);
	cr_assert_leq(c.file_pages, 5);
	h = reopen(h, fd);
	expect_tag(h, 5, 1000);
	head_close(h);
}

Test(head, write_after_a_later_commit_goes_in_place)
{
	int fd = make_head(MIB(8));
	struct head *h = open_head(fd, NULL);
	struct head_counts c;

	for (uint64_t i = 1; i <= 3; i++) {
		put_tag(h, i, i);
		flush(h);
	}
	put_tag(h, 1, 11);
	put_tag(h, 2, 22);
	head_count(h, &c);
	cr_assert_eq(c.moved, 0);
	put_tag(h, 3, 33);
	head_count(h, &c);
	cr_assert_eq(c.moved, 1);
	head_close(h);
}

/* Syncs that its owner is asked for by a flush. */
static unsigned syncs_of_flush(struct head *h)
{
	int next = head_flush_step(h, 0, &why);
	unsigned n = 0;

	for (; next == 1; n++)
		next = head_flush_step(h, file_sync(head_fd(h)), &why);
	cr_assert_eq(next, 0, "%s", why.message);
	return n;
}

Test(head, flush_of_many_blocks_syncs_them_before_the_log)
{
	int fd = make_head(MIB(64));
	struct head *h = open_head(fd, NULL);

	for (uint64_t i = 0; i < 1024; i++)
		put_tag(h, i, i + 1);
	cr_assert_eq(syncs_of_flush(h), 1);
	for (uint64_t i = 0; i < 1025; i++)
		put_tag(h, 2000 + i, i + 1);
	cr_assert_eq(syncs_of_flush(h), 2);
	h = reopen(h, fd);
	for (uint64_t i = 0; i < 1024; i++)
		expect_tag(h, i, i + 1);
	for (uint64_t i = 0; i < 1025; i++)
		expect_tag(h, 2000 + i, i + 1);
	head_close(h);
}

/* The log's page holds 128 records: the last one leads on. */
Test(head, flush_that_makes_the_log_longer_syncs_the_data_first)
{
	int fd = make_head(MIB(64));
	struct head *h = open_head(fd, NULL);
	struct head_counts c = { 0 };
	unsigned twice = 0;

	for (uint64_t i = 0; c.log_records < 250; i++) {
		put_tag(h, 2 * i, i + 1);
		head_count(h, &c);
		twice += syncs_of_flush(h) == 2;
	}
	cr_assert_eq(twice, 1);
	head_close(h);
}

Test(head, log_when_a_guest_discards_for_ever_is_begun_anew)
{
	int fd = make_head(MIB(64));
	struct head *h = open_head(fd, NULL);
	struct head_counts c;
	uint64_t bytes;

	for (uint64_t i = 1; i <= 40000; i++) {
		put_tag(h, i % 16, i);
		if (i % 4 == 0)
			cr_assert_eq(head_zero(h, (i % 16) << PAGE_SHIFT,
					       PAGE_BYTES, &why),
				     0);
		flush(h);
	}
	head_count(h, &c);
	cr_assert_geq(c.rewritten_logs, 1);
	cr_assert_leq(c.log_records, 4096 + 4 * 16 + 64);
	cr_assert_eq(file_bytes(fd, &bytes), 0);
	cr_assert_leq(bytes, MIB(2));
	h = reopen(h, fd);
	expect_tag(h, 40000 % 16, 0);
	expect_tag(h, 39999 % 16, 39999);
	head_close(h);
}

Test(head, read_of_parts_over_a_raw_file_sees_both)
{
	int raw = memory_file(), fd = make_head(PAGE_BYTES * 3 + 512);
	struct head_below below = { .raw_fd = raw,
				    .raw_bytes = PAGE_BYTES * 3 + 512 };
	uint8_t page[PAGE_BYTES], got[3 * PAGE_BYTES + 512];
	struct head *h;

	for (uint64_t i = 0; i < 4; i++) {
		fill_page(page, i + 1);
		cr_assert_eq(file_write(raw, i * PAGE_BYTES, page,
					i == 3 ? 512 : PAGE_BYTES),
			     0);
	}
	h = open_head(fd, &below);
	memset(page, 0xee, sizeof(page));
	cr_assert_eq(head_write(h, 5000, page, 100, &why), 0);
	cr_assert_eq(head_zero(h, 3 * PAGE_BYTES, 512, &why), 0);
	cr_assert_eq(head_read(h, 0, got, sizeof(got), &why), 0);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(got[5000 + i], 0xee);
	fill_page(page, 2);
	cr_assert_arr_eq(got + 4096, page, 904);
	cr_assert_arr_eq(got + 5100, page + 1004, 3092);
	for (unsigned i = 0; i < 512; i++)
		cr_assert_eq(got[3 * PAGE_BYTES + i], 0);
	cr_assert_eq(head_read(h, 5000, got, sizeof(got), &why), -EINVAL);
	head_close(h);
}

Test(head, seal_makes_a_layer_with_the_same_content)
{
	int fd = make_head(MIB(64));
	struct head *h = open_head(fd, NULL);
	struct object_id id;
	struct image img;
	struct layer *l;

	for (uint64_t i = 0; i < 2000; i++)
		put_tag(h, i * 7, i + 1);
	flush(h);
	cr_assert_eq(head_zero(h, 7 << PAGE_SHIFT, PAGE_BYTES, &why), 0);
	flush(h);
	head_freeze(h);
	cr_assert_eq(head_write(h, 0, &id, 1, &why), -EROFS);
	cr_assert_eq(head_seal(h, NULL, &id, &why), 0, "%s", why.message);
	l = open_layer(s, fd);
	cr_assert(object_id_equal(layer_id(l), &id));
	cr_assert_eq(image_open(&img, l, 0, &why), 0);
	for (uint64_t i = 0; i < 2000; i++) {
		uint8_t want[PAGE_BYTES], got[PAGE_BYTES];

		fill_page(want, i + 1);
		if (i == 1)
			memset(want, 0, sizeof(want));
		cr_assert_eq(image_read(&img, i * 7, 1, got, &why), 0);
		cr_assert_arr_eq(got, want, PAGE_BYTES);
		expect_tag(h, i * 7, i == 1 ? 0 : i + 1);
	}
	head_close(h);
	cr_assert_eq(head_open(&h, fd, "head", &HEAD_BELOW_NOTHING, true, &why),
		     -EBUSY);
}

/* Its log is punched out: it must not be taken for an empty disk. */
Test(head, open_when_a_sealed_one_lost_its_end_is_refused)
{
	int fd = make_head(MIB(64));
	struct head *h = open_head(fd, NULL);
	struct object_id id;
	uint64_t bytes;

	put_tag(h, 3, 4);
	flush(h);
	head_freeze(h);
	cr_assert_eq(head_seal(h, NULL, &id, &why), 0, "%s", why.message);
	head_close(h);
	cr_assert_eq(file_bytes(fd, &bytes), 0);
	cr_assert_eq(ftruncate(fd, (off_t)bytes - 1), 0);
	cr_assert_eq(head_open(&h, fd, "head", &HEAD_BELOW_NOTHING, true, &why),
		     -EBADMSG);
	cr_assert_not_null(strstr(why.message, "no log root"), "%s",
			   why.message);
}

/* A head that was made and never opened has no commit either. */
Test(head, open_when_it_was_just_made_is_empty)
{
	int fd = make_head(MIB(64));
	struct head *h;

	cr_assert_eq(
	    head_open(&h, fd, "head", &HEAD_BELOW_NOTHING, false, &why), 0,
	    "%s", why.message);
	expect_tag(h, 3, 0);
	head_close(h);
}

Test(head, swap_of_heads_keeps_reading_through_the_frozen_one)
{
	int fd[2] = { make_head(MIB(8)), make_head(MIB(8)) };
	struct head *old = open_head(fd[0], NULL), *new;
	struct head_below below = { .head = old, .raw_fd = -1 };
	struct object_id id;
	struct image img;

	put_tag(old, 1, 1);
	put_tag(old, 2, 2);
	new = open_head(fd[1], &below);
	head_freeze(old);
	put_tag(new, 2, 22);
	put_tag(new, 3, 33);
	expect_tag(new, 1, 1);
	expect_tag(new, 2, 22);
	flush(old);
	flush(new);
	cr_assert_eq(head_seal(old, NULL, &id, &why), 0);
	cr_assert_eq(image_open(&img, open_layer(s, fd[0]), 0, &why), 0);
	below = (struct head_below){ .image = &img, .raw_fd = -1 };
	head_set_below(new, &below);
	head_close(old);
	expect_tag(new, 1, 1);
	expect_tag(new, 2, 22);
	expect_tag(new, 3, 33);
	expect_tag(new, 4, 0);
	head_close(new);
}

Test(head, seal_when_the_last_slots_were_never_written_succeeds)
{
	int fd = make_head(MIB(8));
	struct head *h = open_head(fd, NULL);
	struct head_write a, b;
	struct object_id id;

	put_tag(h, 1, 1);
	cr_assert_eq(head_write_begin(h, 2, 1, &a, &why), 0);
	cr_assert_eq(head_write_begin(h, 3, 1, &b, &why), 0);
	cr_assert_eq(head_write_end(h, &a, false, &why), 0);
	cr_assert_eq(head_write_end(h, &b, false, &why), 0);
	flush(h);
	head_freeze(h);
	cr_assert_eq(head_seal(h, NULL, &id, &why), 0, "%s", why.message);
	head_close(h);
}

Test(head, write_begin_when_a_write_to_a_left_slot_is_in_flight_takes_another)
{
	int fd = make_head(MIB(8));
	struct head *h = open_head(fd, NULL);
	struct head_write a, b, c, other;

	cr_assert_eq(head_write_begin(h, 7, 1, &a, &why), 0);
	cr_assert_eq(head_write_begin(h, 7, 1, &b, &why), 0);
	cr_assert_eq(head_write_end(h, &a, true, &why), 0);
	cr_assert_eq(head_write_begin(h, 7, 1, &c, &why), 0);
	cr_assert(c.in_place);
	cr_assert_eq(c.slot, a.slot);
	cr_assert_eq(head_write_end(h, &b, true, &why), 0);
	cr_assert_eq(head_write_begin(h, 8, 1, &other, &why), 0);
	cr_assert_neq(other.slot, c.slot, "two blocks share a slot");
	cr_assert_eq(head_write_end(h, &c, true, &why), 0);
	cr_assert_eq(head_write_end(h, &other, true, &why), 0);
	head_close(h);
}

/* A guest that never flushes, while some write is always on its way. */
Test(head, file_when_blocks_are_written_and_zeroed_for_ever_stays_small)
{
	int fd = make_head(MIB(8));
	struct head *h = open_head(fd, NULL);
	struct head_counts c;
	struct head_write w;

	cr_assert_eq(head_write_begin(h, 9, 1, &w, &why), 0);
	for (unsigned i = 0; i < 1000; i++) {
		put_tag(h, i % 4, i);
		cr_assert_eq(head_zero(h, i % 4 * PAGE_BYTES, PAGE_BYTES, &why),
			     0);
	}
	cr_assert_eq(head_write_end(h, &w, true, &why), 0);
	head_count(h, &c);
	cr_assert_leq(c.file_pages, 16);
	head_close(h);
}

/* ---- marks and fds of a head in a chain ---- */

static struct head_counts counts_of(int fd)
{
	const struct head_below none = HEAD_BELOW_NOTHING;
	struct head_counts n;
	struct head *h;

	cr_assert_eq(head_open(&h, fd, "head", &none, false, &why), 0);
	head_count(h, &n);
	head_close(h);
	return n;
}

Test(head, empty_commit_is_found_again_and_what_follows_too)
{
	int fd = memory_file();
	struct head_info info = { .bytes = MIB(1) };
	const struct head_below none = HEAD_BELOW_NOTHING;
	uint8_t page[PAGE_BYTES], got[PAGE_BYTES];
	struct head *h;

	cr_assert_eq(head_create(fd, "head", &info, 1, &why), 0);
	cr_assert_eq(head_open(&h, fd, "head", &none, true, &why), 0);
	fill_page(page, 5);
	/* A write that came before the commit is no part of it. */
	cr_assert_eq(head_write(h, 0, page, PAGE_BYTES, &why), 0);
	cr_assert_eq(head_commit_empty(h, &why), 0);
	cr_assert_eq(counts_of(fd).commits, 1);
	cr_assert_eq(counts_of(fd).blocks, 0);
	cr_assert_eq(head_flush(h, &why), 0);
	head_close(h);
	cr_assert_eq(counts_of(fd).commits, 2);
	cr_assert_eq(head_open(&h, fd, "head", &none, true, &why), 0);
	cr_assert_eq(head_read(h, 0, got, PAGE_BYTES, &why), 0);
	cr_assert_eq(memcmp(page, got, PAGE_BYTES), 0);
	head_close(h);
	close(fd);
}

Test(head, blocks_are_read_by_the_other_fd_once_sealed)
{
	int fd = memory_file(), ro;
	struct head_info info = { .bytes = MIB(1) };
	const struct head_below none = HEAD_BELOW_NOTHING;
	uint8_t page[PAGE_BYTES], got[PAGE_BYTES];
	struct object_id id;
	char path[64];
	struct head *h;

	cr_assert_eq(head_create(fd, "head", &info, 1, &why), 0);
	cr_assert_eq(head_open(&h, fd, "head", &none, true, &why), 0);
	fill_page(page, 7);
	cr_assert_eq(head_write(h, 8 * PAGE_BYTES, page, PAGE_BYTES, &why), 0);
	head_freeze(h);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(ro, 0);
	head_read_by(h, ro);
	cr_assert_eq(head_seal(h, NULL, &id, &why), 0);
	close(fd);
	cr_assert_eq(head_read(h, 8 * PAGE_BYTES, got, PAGE_BYTES, &why), 0);
	cr_assert_eq(memcmp(page, got, PAGE_BYTES), 0);
	head_close(h);
	close(ro);
}
