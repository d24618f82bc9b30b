/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call and every allocation of a fixed workload fails once, in a
 * run of its own. Afterwards the failure has an object and a message, nothing
 * is lost or leaked (the sanitizer counts memory, the test fds), and without
 * faults all goes on.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fileio.h"
#include "head.h"
#include "imgtest.h"
#include "wrap.h"

#define DISK_BLOCKS 24
#define DISK_BYTES  (DISK_BLOCKS * PAGE_BYTES)

/* ---- one fault ---- */

static struct {
	enum io_kind kind;
	struct io_fate fate;
	bool memory, on; /* memory: it is an allocation that fails */
	uint64_t nth, seen;
	bool for_good; /* that one and all after it */
	bool hit;
} fault;

static uint64_t injected;

static bool is_due(void)
{
	uint64_t n = fault.seen++;

	if (!fault.on || (fault.for_good ? n < fault.nth : n != fault.nth))
		return false;
	injected += !fault.hit;
	fault.hit = true;
	return true;
}

static struct io_fate on_call(const struct io_call *c)
{
	struct io_fate none = { 0 };

	if (fault.memory || c->kind != fault.kind || !is_due())
		return none;
	return fault.fate;
}

static bool on_alloc(void)
{
	return fault.memory && is_due();
}

static void arm(bool on)
{
	io_hook = on ? on_call : NULL;
	alloc_hook = on ? on_alloc : NULL;
}

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	cr_assert_not_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* ---- what fails ---- */

struct kind_of_fault {
	const char *name;
	enum io_kind kind;
	struct io_fate fate;
	bool memory, for_good;
	bool harmless; /* the library goes on by itself */
};

#define FAULT(name, kind, ...)                                                 \
	{                                                                      \
		name, kind, { __VA_ARGS__ }, false, false, false               \
	}
#define HARMLESS(name, kind, ...)                                              \
	{                                                                      \
		name, kind, { __VA_ARGS__ }, false, false, true                \
	}

static const struct kind_of_fault faults[] = {
	FAULT("read EIO", IO_READ, .err = EIO),
	HARMLESS("read EINTR", IO_READ, .err = EINTR),
	HARMLESS("read short", IO_READ, .at_most = 100),
	FAULT("write EIO", IO_WRITE, .err = EIO),
	FAULT("write ENOSPC", IO_WRITE, .err = ENOSPC),
	FAULT("write ENOSPC in it", IO_WRITE, ENOSPC, 1000, true),
	FAULT("write EIO, and made", IO_WRITE, .err = EIO, .effect = true),
	HARMLESS("write EINTR", IO_WRITE, .err = EINTR),
	HARMLESS("write short", IO_WRITE, .at_most = 100),
	FAULT("sync EIO", IO_SYNC, .err = EIO),
	FAULT("truncate ENOSPC", IO_TRUNCATE, .err = ENOSPC),
	HARMLESS("punch EOPNOTSUPP", IO_PUNCH, .err = EOPNOTSUPP),
	{ .name = "no memory once", .memory = true },
	{ .name = "no memory from then on", .memory = true, .for_good = true },
};

static const struct kind_of_fault *now; /* the fault of this run */

#define say(what)                                                              \
	"%s, call %lu: %s: %s: %s", now->name, fault.nth, what, why.object,    \
	    why.message

/* Runs `fn` with each fault at each call that it comes to. */
static void each_fault(void (*fn)(void))
{
	unsigned fds = open_fds();

	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
		now = &faults[i];
		memset(&fault, 0, sizeof(fault));
		do {
			fault.kind = now->kind;
			fault.fate = now->fate;
			fault.memory = now->memory;
			fault.for_good = now->for_good;
			fault.seen = 0;
			fault.hit = false;
			fault.on = true;
			memset(&why, 0, sizeof(why));
			fn();
			arm(false);
			cr_assert_eq(open_fds(), fds, say("fds"));
			fault.nth++;
		} while (fault.hit);
	}
	test_say("faults: %lu injected", injected);
}

/* What a call gave under a fault: a failure is told, and only one that we have
 * made; true when it failed. */
static bool failed(int err, const char *what)
{
	if (!err)
		return false;
	cr_assert(fault.hit, say(what));
	cr_assert(!now->harmless, say(what));
	cr_assert_lt(err, 0, say(what));
	cr_assert(why.object[0] && why.message[0] && why.code, say(what));
	return true;
}

static bool sync_failed(void)
{
	return fault.hit && !now->memory && now->kind == IO_SYNC;
}

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

/* ---- layers ---- */

#define PAGES UINT64_C(280)

static uint32_t flags;
static uint8_t *want; /* PAGES pages */
static int base_file;

static void fill_base(struct draft *d, void *ctx)
{
	for (uint64_t p = 0; p < PAGES; p += 3)
		cr_assert_eq(draft_put(d, p, want + p * PAGE_BYTES, &why), 0);
}

/* Something of each kind: new, equal, zero, differing in little. */
static void change_page(uint8_t *page, uint64_t p)
{
	if (p % 7 == 0)
		memset(page, 0, PAGE_BYTES);
	else if (p % 3 == 0)
		page[p] ^= 0xff;
	else if (p % 5 == 0)
		fill_page(page, 1000 + p);
}

static int put_pages(struct draft *d, bool again)
{
	int err = 0;

	for (uint64_t p = 0; p < PAGES && !err; p++) {
		const uint8_t *page = want + p * PAGE_BYTES;
		bool zero = p % 14 == 0;

		err = zero ? draft_put_zero(d, p, 1, &why)
			   : draft_put(d, p, page, &why);
		if (!failed(err, "put") || !again)
			continue;
		fault.on = false;
		err = zero ? draft_put_zero(d, p, 1, &why)
			   : draft_put(d, p, page, &why);
		cr_assert_eq(err, 0, say("put again"));
	}
	return err;
}

/* A draft filled and sealed; after a put that failed it goes on, after a
 * sealing it does not. */
static int make_draft(const struct image *base, struct object_id *id)
{
	struct draft_options o = {
		.fd = memory_file(),
		.name = "draft",
		.bytes = PAGES * PAGE_BYTES,
		.base = base,
		.flags = flags,
		.key = test_key,
	};
	struct draft *d = NULL;
	int err = draft_create(&d, &o, &why);

	if (failed(err, "create")) {
		fault.on = false;
		err = draft_create(&d, &o, &why);
	}
	cr_assert_eq(err, 0, say("create"));
	put_pages(d, true);
	err = draft_seal(d, id, &why);
	draft_destroy(d);
	if (!failed(err, "seal"))
		return o.fd;
	fault.on = false;
	close(o.fd);
	return make_draft(base, id);
}

static int find_base(void *ctx, const struct object_id *id)
{
	return dup(base_file);
}

static struct layer *open_one(struct layer_set *s, int fd)
{
	struct layer *l = NULL;
	int err = layer_open(s, dup(fd), "layer", NULL, &l, &why);

	if (failed(err, "open")) {
		fault.on = false;
		err = layer_open(s, dup(fd), "layer", NULL, &l, &why);
	}
	cr_assert_eq(err, 0, say("open"));
	err = layer_link(s, find_base, NULL, &why);
	if (failed(err, "link")) {
		fault.on = false;
		err = layer_link(s, find_base, NULL, &why);
	}
	cr_assert_eq(err, 0, say("link"));
	return l;
}

static void read_image(struct layer *l)
{
	uint8_t page[PAGE_BYTES];
	struct image img;
	int err = image_open(&img, l, 0, &why);

	if (failed(err, "image")) {
		fault.on = false;
		err = image_open(&img, l, 0, &why);
	}
	cr_assert_eq(err, 0, say("image"));
	for (uint64_t p = 0; p < PAGES; p++) {
		err = image_read(&img, p, 1, page, &why);
		if (failed(err, "read")) {
			fault.on = false;
			err = image_read(&img, p, 1, page, &why);
		}
		cr_assert_eq(err, 0, say("read"));
		cr_assert(!memcmp(page, want + p * PAGE_BYTES, PAGE_BYTES),
			  "%s, call %lu: page %lu", now->name, fault.nth, p);
	}
}

static void use_layers(void)
{
	struct layer_set *s = test_set(), *again = test_set();
	struct object_id id;
	struct image base;
	int fd;

	cr_assert_eq(image_open(&base, open_one(s, base_file), 0, &why), 0);
	arm(true);
	fd = make_draft(&base, &id);
	read_image(open_one(again, fd));
	arm(false);
	close(fd);
	layer_set_destroy(again);
	layer_set_destroy(s);
}

static void each_fault_of_layers(uint32_t kind)
{
	struct draft_options o = { .bytes = PAGES * PAGE_BYTES, .flags = kind };
	struct layer_set *s = test_set();
	struct image base;

	flags = kind;
	want = calloc(PAGES, PAGE_BYTES);
	cr_assert_not_null(want);
	for (uint64_t p = 0; p < PAGES; p += 3)
		fill_page(want + p * PAGE_BYTES, p + 1);
	base_file = dup(layer_fd(make_layer(s, &o, fill_base, NULL, &base)));
	for (uint64_t p = 0; p < PAGES; p++)
		change_page(want + p * PAGE_BYTES, p);
	each_fault(use_layers);
	close(base_file);
	layer_set_destroy(s);
	free(want);
}

Test(faults, plain_layer_when_a_call_fails_tells_it_and_loses_nothing)
{
	each_fault_of_layers(0);
}

Test(faults, compressed_layer_when_a_call_fails_tells_it_and_loses_nothing)
{
	each_fault_of_layers(LAYER_COMPRESSED);
}

Test(faults, encrypted_layer_when_a_call_fails_tells_it_and_loses_nothing)
{
	each_fault_of_layers(LAYER_ENCRYPTED);
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

Test(faults, flush_when_there_is_no_room_for_another_log_goes_on_in_the_old_one)
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
