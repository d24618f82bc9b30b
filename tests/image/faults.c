/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call and every allocation of a fixed workload fails once, in a
 * run of its own. Afterwards the failure has an object and a message, nothing
 * is lost or leaked (the sanitizer counts memory, the test fds), and without
 * faults all goes on.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "fileio.h"
#include "head.h"

#define DISK_BLOCKS 24
#define DISK_BYTES  (DISK_BLOCKS * PAGE_BYTES)

/* ---- a head ---- */

struct model {
	uint8_t old[DISK_BYTES], now[DISK_BYTES];
	bool torn[DISK_BLOCKS]; /* a write to it failed: old or new */
};

static struct model m;
static int head_file;
static struct head *h;

static void open_it(void)
{
	int err =
	    head_open(&h, head_file, "disk", &HEAD_BELOW_NOTHING, true, &why);

	if (failed(err, "open")) {
		fault.on = false;
		err = head_open(&h, head_file, "disk", &HEAD_BELOW_NOTHING,
				true, &why);
		cr_assert_eq(err, 0, say("open again"));
	}
}

/* Each block is its old or its new content; what did not fail is new. */
static void expect_model(const char *when)
{
	static uint8_t got[DISK_BYTES];
	bool on = fault.on;

	fault.on = false;
	cr_assert_eq(head_read(h, 0, got, DISK_BYTES, &why), 0, say(when));
	fault.on = on;
	for (unsigned b = 0; b < DISK_BLOCKS && memcmp(got, m.now, DISK_BYTES);
	     b++) {
		const uint8_t *p = got + b * PAGE_BYTES;
		const uint8_t *new = m.now + b *PAGE_BYTES;
		const uint8_t *old = m.old + b * PAGE_BYTES;

		for (size_t i = 0; i < PAGE_BYTES; i++)
			cr_assert(p[i] == new[i] ||
				      (m.torn[b] && p[i] == old[i]),
				  "%s, call %lu: %s: block %u, byte %lu",
				  now->name, fault.nth, when, b, i);
	}
}

static void write_it(uint64_t at, uint64_t len, uint64_t tag)
{
	static uint8_t data[DISK_BYTES];
	int err;

	for (uint64_t i = 0; i < len; i += PAGE_BYTES)
		fill_page(data + i, tag ? tag + i : 1);
	if (!tag)
		memset(data, 0, len);
	memcpy(m.old, m.now, DISK_BYTES);
	memcpy(m.now + at, data, len);
	err = tag ? head_write(h, at, data, len, &why)
		  : head_zero(h, at, len, &why);
	if (!failed(err, "write"))
		return;
	for (uint64_t b = at / PAGE_BYTES; b <= (at + len - 1) / PAGE_BYTES;
	     b++)
		m.torn[b] = true;
	expect_model("after a write that failed");
	memset(m.torn, 0, sizeof(m.torn));
	fault.on = false;
	err = tag ? head_write(h, at, data, len, &why)
		  : head_zero(h, at, len, &why);
	cr_assert_eq(err, 0, say("write again"));
}

static void flush_it(void)
{
	bool before = fault.hit;
	int err = head_flush(h, &why);

	if (!failed(err, "flush")) {
		cr_assert(before || !sync_failed(), say("a sync failed"));
		return;
	}
	expect_model("after a flush that failed");
	fault.on = false;
	err = head_flush(h, &why);
	if (sync_failed())
		cr_assert_lt(err, 0, say("flush again after a failed sync"));
	else
		cr_assert_eq(err, 0, say("flush again"));
}

static void make_head(void)
{
	struct head_info info = { .bytes = DISK_BYTES };

	memset(&m, 0, sizeof(m));
	head_file = memory_file();
	arm(false);
	cr_assert_eq(head_create(head_file, "disk", &info, 0, &why), 0);
	arm(true);
}

/* New blocks, blocks in place, blocks that move, parts, zeroes; so many
 * commits that the log needs another extent. */
static void use_head(void)
{
	make_head();
	open_it();
	write_it(0, 5 * PAGE_BYTES, 100);
	flush_it();
	write_it(PAGE_BYTES, 2 * PAGE_BYTES, 200);
	write_it(5000, 9000, 300);
	write_it(10 * PAGE_BYTES, 4 * PAGE_BYTES, 400);
	flush_it();
	write_it(2 * PAGE_BYTES, 9 * PAGE_BYTES, 0);
	write_it(100, 300, 0);
	flush_it();
	for (uint64_t i = 0; i < 70 && fault.on; i++) {
		write_it((12 + i % 5) * PAGE_BYTES, PAGE_BYTES,
			 i % 2 ? 0 : 500 + i);
		flush_it();
	}
	expect_model("at the end");
	head_close(h);
	if (!sync_failed()) {
		open_it();
		expect_model("opened again");
		head_close(h);
	}
	arm(false);
	close(head_file);
}

Test(faults, head_when_a_call_fails_tells_it_and_loses_nothing)
{
	each_fault(use_head);
}

/* ---- sealing ---- */

static void expect_layer(const struct object_id *id)
{
	static uint8_t got[DISK_BYTES];
	struct layer_set *s = test_set();
	struct layer *l = open_layer(s, head_file);
	struct image img;

	cr_assert(object_id_equal(layer_id(l), id));
	cr_assert_eq(image_open(&img, l, 0, &why), 0);
	cr_assert_eq(image_read(&img, 0, DISK_BLOCKS, got, &why), 0,
		     say("read the layer"));
	cr_assert_arr_eq(got, m.now, DISK_BYTES, "%s, call %lu", now->name,
			 fault.nth);
	layer_set_destroy(s);
}

static void seal_head(void)
{
	struct object_id id;
	int err;

	make_head();
	arm(false);
	open_it();
	write_it(0, 5 * PAGE_BYTES, 100);
	write_it(7 * PAGE_BYTES, 9 * PAGE_BYTES, 200);
	flush_it();
	write_it(2 * PAGE_BYTES, 2 * PAGE_BYTES, 0);
	flush_it();
	head_freeze(h);
	arm(true);
	err = head_seal(h, NULL, &id, &why);
	if (failed(err, "seal")) {
		expect_model("after a sealing that failed");
		arm(false);
		if (sync_failed()) {
			cr_assert_lt(head_flush(h, &why), 0, say("flush"));
			head_close(h);
			open_it(); /* it still is a head */
			expect_model("opened after a sealing that failed");
			head_freeze(h);
		}
		cr_assert_eq(head_flush(h, &why), 0, say("flush"));
		cr_assert_eq(head_seal(h, NULL, &id, &why), 0, say("again"));
	}
	arm(false);
	expect_model("sealed");
	head_close(h);
	expect_layer(&id);
	close(head_file);
}

Test(faults, seal_when_a_call_fails_leaves_a_head)
{
	each_fault(seal_head);
}

/* ---- single cases ---- */

static uint64_t file_end;

static struct io_fate fail_growth(const struct io_call *c)
{
	bool grows = c->kind == IO_WRITE && c->offset + c->length > file_end;

	return (struct io_fate){ .err = grows ? ENOSPC : 0 };
}

static void put_tag(uint64_t block, uint64_t tag)
{
	uint8_t data[PAGE_BYTES];

	fill_page(data, tag);
	cr_assert_eq(head_write(h, block << PAGE_SHIFT, data, PAGE_BYTES, &why),
		     0, "%s", why.message);
}

/* A head whose next flush begins the log anew, if it has something to log. */
static void make_aged_head(void)
{
	struct head_counts c = { 0 };

	make_head();
	arm(false);
	cr_assert_eq(
	    head_open(&h, head_file, "disk", &HEAD_BELOW_NOTHING, true, &why),
	    0);
	put_tag(0, 1);
	for (uint64_t i = 0; c.log_records <= 4096 + 4 * 2; i++) {
		if (i % 2)
			head_zero(h, PAGE_BYTES, PAGE_BYTES, &why);
		else
			put_tag(1, i);
		cr_assert_eq(head_flush(h, &why), 0);
		head_count(h, &c);
	}
	cr_assert_eq(c.rewritten_logs, 0);
}

Test(faults, flush_when_there_is_no_room_for_another_log_goes_on_in_the_old_one)
{
	struct head_counts c;

	make_aged_head();
	cr_assert_eq(file_bytes(head_file, &file_end), 0);
	put_tag(1, 77);
	io_hook = fail_growth;
	cr_assert_eq(head_flush(h, &why), 0, "%s", why.message);
	io_hook = NULL;
	head_zero(h, PAGE_BYTES, PAGE_BYTES, &why);
	cr_assert_eq(head_flush(h, &why), 0);
	head_count(h, &c);
	cr_assert_eq(c.rewritten_logs, 1);
	head_close(h);
	close(head_file);
}

/* Data is written in pages, records are less. */
static struct io_fate fail_and_make(const struct io_call *c)
{
	bool log = c->kind == IO_WRITE && c->length < PAGE_BYTES;

	return (struct io_fate){ .err = log ? EIO : 0, .effect = log };
}

Test(faults, write_after_a_commit_that_failed_and_was_made_hits_no_other_block)
{
	uint8_t got[PAGE_BYTES], one[PAGE_BYTES], two[PAGE_BYTES];
	int copy;

	make_head();
	arm(false);
	open_it();
	put_tag(1, 1);
	cr_assert_eq(head_flush(h, &why), 0);
	put_tag(1, 2);
	io_hook = fail_and_make;
	cr_assert_eq(head_flush(h, &why), -EIO);
	io_hook = NULL;
	cr_assert_eq(head_zero(h, PAGE_BYTES, PAGE_BYTES, &why), 0);
	put_tag(5, 5);
	copy = copy_file(head_file);
	head_close(h);
	close(head_file);
	cr_assert_eq(
	    head_open(&h, copy, "disk", &HEAD_BELOW_NOTHING, true, &why), 0);
	cr_assert_eq(head_read(h, PAGE_BYTES, got, PAGE_BYTES, &why), 0);
	fill_page(one, 1);
	fill_page(two, 2);
	cr_assert(!memcmp(got, one, PAGE_BYTES) ||
		  !memcmp(got, two, PAGE_BYTES));
	head_close(h);
	close(copy);
}

static bool root_is_made;

static struct io_fate fail_root(const struct io_call *c)
{
	bool root = c->kind == IO_WRITE && c->offset < PAGE_BYTES;

	return (struct io_fate){ .err = root ? EIO : 0,
				 .effect = root && root_is_made };
}

static void expect_tag(uint64_t block, uint64_t tag)
{
	uint8_t got[PAGE_BYTES], page[PAGE_BYTES];

	fill_page(page, tag);
	cr_assert_eq(head_read(h, block << PAGE_SHIFT, got, PAGE_BYTES, &why),
		     0);
	cr_assert(!memcmp(got, page, PAGE_BYTES), "block %lu", block);
}

Test(faults, flush_after_a_log_root_could_not_be_written_succeeds)
{
	for (unsigned way = 0; way < 2; way++) {
		root_is_made = way;
		make_aged_head();
		put_tag(1, 77);
		io_hook = fail_root;
		cr_assert_eq(head_flush(h, &why), -EIO);
		io_hook = NULL;
		put_tag(2, 78);
		cr_assert_eq(head_flush(h, &why), 0, "%s", why.message);
		put_tag(3, 79);
		cr_assert_eq(head_flush(h, &why), 0);
		head_close(h);
		open_it();
		expect_tag(1, 77);
		expect_tag(2, 78);
		expect_tag(3, 79);
		head_close(h);
		close(head_file);
	}
}
