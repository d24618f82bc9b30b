/* SPDX-License-Identifier: Apache-2.0 */
/* Disks over real files, by the ring and without it. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "rig.h"
#include "util.h"

#define DISK_BYTES (MIB(1) + 3 * 512)

static uint8_t buf[MIB(1) + 4096], other[MIB(1) + 4096];

static void expect_pattern(const uint8_t *p, uint64_t offset, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		cr_assert_eq(p[i], rig_pattern(offset + i), "byte %llu",
			     (unsigned long long)(offset + i));
}

/* ---- reading and writing ---- */

static void read_all(struct rig *r)
{
	memset(buf, 0, sizeof(buf));
	cr_assert_eq(ask(r, DISK_READ, 0, DISK_BYTES, buf), 0);
	expect_pattern(buf, 0, DISK_BYTES);
	cr_assert_eq(ask(r, DISK_READ, DISK_BYTES - 512, 512, buf), 0);
	expect_pattern(buf, DISK_BYTES - 512, 512);
}

Test(disk_store, read_finds_base_when_never_written)
{
	rig_each(read_all, DISK_BYTES);
}

static void read_cold(struct rig *r)
{
	struct ask a[20];

	rig_make_cold(r);
	for (unsigned i = 0; i < ARRAY_SIZE(a); i++)
		ask_begin(r, &a[i], DISK_READ, i * 40960, 8192, buf + i * 8192,
			  7);
	for (unsigned i = 0; i < ARRAY_SIZE(a); i++) {
		cr_assert_eq(ask_end(r, &a[i]), 0);
		expect_pattern(buf + i * 8192, i * 40960, 8192);
	}
}

Test(disk_store, read_waits_in_the_ring_when_not_cached)
{
	rig_each(read_cold, DISK_BYTES);
}

static void write_parts(struct rig *r)
{
	struct ask a;

	memset(buf, 'n', sizeof(buf));
	/* One sector, a run that begins and ends within blocks, whole blocks,
	 * the short last block. */
	cr_assert_eq(ask(r, DISK_WRITE, 1024, 512, buf), 0);
	ask_begin(r, &a, DISK_WRITE, 8192 + 512, 4096 * 5, buf, 9);
	cr_assert_eq(ask_end(r, &a), 0);
	cr_assert_eq(ask(r, DISK_WRITE, 65536, 65536, buf), 0);
	cr_assert_eq(ask(r, DISK_WRITE, DISK_BYTES - 1024, 1024, buf), 0);
	for (unsigned again = 0; again < 2; again++) {
		cr_assert_eq(ask(r, DISK_READ, 0, DISK_BYTES, other), 0);
		expect_pattern(other, 0, 1024);
		cr_assert_eq(memcmp(other + 1024, buf, 512), 0);
		expect_pattern(other + 1536, 1536, 8192 + 512 - 1536);
		cr_assert_eq(memcmp(other + 8704, buf, 4096 * 5), 0);
		expect_pattern(other + 29184, 29184, 65536 - 29184);
		cr_assert_eq(memcmp(other + 65536, buf, 65536), 0);
		expect_pattern(other + 131072, 131072,
			       DISK_BYTES - 1024 - 131072);
		cr_assert_eq(memcmp(other + DISK_BYTES - 1024, buf, 1024), 0);
		cr_assert_eq(ask(r, DISK_FLUSH, 0, 0, NULL), 0);
		rig_reopen(r);
	}
}

Test(disk_store, write_is_found_again_when_reopened_after_flush)
{
	rig_each(write_parts, DISK_BYTES);
}

static void base_stays(struct rig *r)
{
	memset(buf, 'n', sizeof(buf));
	cr_assert_eq(ask(r, DISK_WRITE, 0, 40960, buf), 0);
	cr_assert_eq(ask(r, DISK_DISCARD, 81920, 40960, NULL), 0);
	cr_assert_eq(ask(r, DISK_FLUSH, 0, 0, NULL), 0);
	cr_assert_eq(pread(r->base, buf, DISK_BYTES, 0), (ssize_t)DISK_BYTES);
	if (r->kind == RIG_HEAD)
		expect_pattern(buf, 0, DISK_BYTES);
	else
		cr_assert_eq(buf[0], 'n');
}

Test(disk_store, base_is_never_changed_when_there_is_a_head)
{
	rig_each(base_stays, DISK_BYTES);
}

static void zero_range(struct rig *r, enum disk_op op)
{
	const uint64_t from = 512 * 3, bytes = MIB(1) - 4096;

	cr_assert_eq(ask(r, op, from, bytes, NULL), 0);
	cr_assert_eq(ask(r, DISK_READ, 0, DISK_BYTES, buf), 0);
	expect_pattern(buf, 0, from);
	cr_assert(mem_is_zero(buf + from, bytes));
	expect_pattern(buf + from + bytes, from + bytes,
		       DISK_BYTES - from - bytes);
	/* To the very end, whose block is short. */
	cr_assert_eq(ask(r, op, MIB(1) - 512, 512 * 4, NULL), 0);
	cr_assert_eq(ask(r, DISK_FLUSH, 0, 0, NULL), 0);
	rig_reopen(r);
	cr_assert_eq(ask(r, DISK_READ, MIB(1) - 512, 512 * 4, buf), 0);
	cr_assert(mem_is_zero(buf, 512 * 4));
}

static void discard(struct rig *r)
{
	zero_range(r, DISK_DISCARD);
}

static void zeroes(struct rig *r)
{
	zero_range(r, DISK_ZEROES);
}

Test(disk_store, discard_reads_as_zero)
{
	rig_each(discard, DISK_BYTES);
}

Test(disk_store, zeroes_read_as_zero)
{
	rig_each(zeroes, DISK_BYTES);
}

static void give_back(struct rig *r)
{
	struct stat before, after;

	if (r->kind == RIG_HEAD)
		return;
	cr_assert_eq(fstat(r->base, &before), 0);
	cr_assert_eq(ask(r, DISK_DISCARD, 0, MIB(1), NULL), 0);
	cr_assert_eq(fstat(r->base, &after), 0);
	cr_assert_lt(after.st_blocks, before.st_blocks);
	cr_assert_eq(after.st_size, before.st_size);
}

Test(disk_store, discard_gives_space_back_when_direct)
{
	rig_each(give_back, DISK_BYTES);
}

static struct io_bend refuse_allocate(const struct disk_io_op *op)
{
	if (op->kind == DISK_IO_PUNCH || op->kind == DISK_IO_ZERO)
		return (struct io_bend){ .err = -EOPNOTSUPP };
	return (struct io_bend){ 0 };
}

Test(disk_store, discard_writes_zeroes_when_file_system_cannot_punch)
{
	struct rig r;

	rig_open(&r, RIG_RAW, DISK_IO_BEST, DISK_BYTES);
	io_bend = refuse_allocate;
	zero_range(&r, DISK_DISCARD);
	rig_close(&r);
	rig_open(&r, RIG_RAW, DISK_IO_BEST, DISK_BYTES);
	zero_range(&r, DISK_ZEROES);
	rig_close(&r);
}

/* ---- what the device should never ask, and is refused ---- */

static void unsound(struct rig *r)
{
	cr_assert_eq(ask(r, DISK_READ, DISK_BYTES, 512, buf), -EINVAL);
	cr_assert_eq(ask(r, DISK_READ, DISK_BYTES - 512, 1024, buf), -EINVAL);
	cr_assert_eq(ask(r, DISK_WRITE, UINT64_MAX - 511, 512, buf), -EINVAL);
	cr_assert_eq(ask(r, DISK_WRITE, 0, 100, buf), -EINVAL);
	cr_assert_eq(ask(r, DISK_ZEROES, 0, 0, NULL), -EINVAL);
	r->disk->read_only = true;
	cr_assert_eq(ask(r, DISK_WRITE, 0, 512, buf), -EROFS);
	cr_assert_eq(ask(r, DISK_DISCARD, 0, 512, NULL), -EROFS);
	cr_assert_eq(ask(r, DISK_FLUSH, 0, 0, NULL), 0);
	cr_assert_eq(ask(r, DISK_READ, 0, 512, buf), 0);
}

Test(disk_store, request_is_refused_when_beyond_the_disk_or_read_only)
{
	rig_each(unsound, DISK_BYTES);
}

/* ---- the host fails ---- */

static struct io_bend short_io(const struct disk_io_op *op)
{
	return (struct io_bend){ .at_most = 700 };
}

Test(disk_store, transfer_goes_on_when_it_was_short)
{
	io_bend = short_io;
	rig_each(write_parts, DISK_BYTES);
}

static void shorten_file(struct rig *r)
{
	cr_assert_eq(ftruncate(r->base, 4096), 0);
	cr_assert_eq(ask(r, DISK_READ, 0, 8192, buf), -EIO);
	cr_assert_eq(ask(r, DISK_READ, 40960, 4096, buf), -EIO);
	cr_assert_eq(ask(r, DISK_READ, 0, 4096, buf), 0);
}

Test(disk_store, read_fails_when_the_file_was_cut_off)
{
	rig_each(shorten_file, DISK_BYTES);
}

static int fail_with;
static enum disk_io_kind fail_kind;
static unsigned fail_after;

static struct io_bend fail_some(const struct disk_io_op *op)
{
	if (op->kind != fail_kind || fail_after-- > 0)
		return (struct io_bend){ 0 };
	fail_after = 0;
	return (struct io_bend){ .err = fail_with };
}

static void fail_next(enum disk_io_kind kind, int err)
{
	io_bend = fail_some;
	fail_kind = kind;
	fail_with = err;
	fail_after = 0;
}

static void failing(struct rig *r)
{
	memset(buf, 'x', 8192);
	fail_next(DISK_IO_READ, -EIO);
	cr_assert_eq(ask(r, DISK_READ, 0, 512, buf), -EIO);
	fail_next(DISK_IO_WRITE, -ENOSPC);
	cr_assert_eq(ask(r, DISK_WRITE, 0, 8192, buf), -ENOSPC);
	cr_assert_eq(ask(r, DISK_WRITE, 512, 512, buf), -ENOSPC);
	/* And works again when the host does. */
	io_bend = NULL;
	cr_assert_eq(ask(r, DISK_WRITE, 512, 512, buf), 0);
	cr_assert_eq(ask(r, DISK_FLUSH, 0, 0, NULL), 0);
	cr_assert_eq(ask(r, DISK_READ, 512, 512, other), 0);
	cr_assert_eq(memcmp(buf, other, 512), 0);
	cr_assert_eq(ask(r, DISK_READ, 8192, 512, other), 0);
	expect_pattern(other, 8192, 512);
}

Test(disk_store, request_fails_alone_when_the_host_fails_once)
{
	rig_each(failing, DISK_BYTES);
}

static void merge_fails(struct rig *r)
{
	if (r->kind == RIG_RAW)
		return;
	/* The old block cannot be read: the new one is not begun. */
	fail_next(DISK_IO_READ, -EIO);
	cr_assert_eq(ask(r, DISK_WRITE, 512, 512, buf), -EIO);
	io_bend = NULL;
	cr_assert_eq(ask(r, DISK_READ, 0, 4096, other), 0);
	expect_pattern(other, 0, 4096);
	cr_assert_eq(ask(r, DISK_FLUSH, 0, 0, NULL), 0);
}

Test(disk_store, partial_write_leaves_the_block_when_its_old_part_is_unreadable)
{
	rig_each(merge_fails, DISK_BYTES);
}

static void sync_fails(struct rig *r)
{
	cr_assert_eq(ask(r, DISK_WRITE, 0, 4096, buf), 0);
	fail_next(DISK_IO_SYNC, -EIO);
	cr_assert_eq(ask(r, DISK_FLUSH, 0, 0, NULL), -EIO);
	io_bend = NULL;
	/* The kernel tells of it once; what was lost is not known. */
	cr_assert_eq(ask(r, DISK_FLUSH, 0, 0, NULL), -EIO);
	cr_assert_eq(ask(r, DISK_READ, 0, 4096, buf), 0);
}

Test(disk_store, every_flush_fails_after_a_sync_that_failed)
{
	rig_each(sync_fails, DISK_BYTES);
}

/* ---- order ---- */

static enum disk_io_kind hold_kind;

static struct io_bend hold_some(const struct disk_io_op *op)
{
	return (struct io_bend){ .hold = op->kind == hold_kind };
}

Test(disk_store, partial_writes_of_one_block_do_not_lose_each_other)
{
	struct rig r;
	struct ask a, b;

	rig_open(&r, RIG_HEAD, DISK_IO_BEST, DISK_BYTES);
	memset(buf, 'a', 512);
	memset(buf + 512, 'b', 512);
	io_bend = hold_some;
	hold_kind = DISK_IO_READ;
	ask_begin(&r, &a, DISK_WRITE, 0, 512, buf, 1);
	ask_begin(&r, &b, DISK_WRITE, 512, 512, buf + 512, 1);
	cr_assert_eq(io_held(), 1, "both have read the old block");
	io_release(IO_CARRY_OUT);
	io_bend = NULL;
	cr_assert_eq(ask_end(&r, &a), 0);
	cr_assert_eq(ask_end(&r, &b), 0);
	cr_assert_eq(ask(&r, DISK_READ, 0, 4096, other), 0);
	cr_assert_eq(memcmp(other, buf, 1024), 0);
	expect_pattern(other + 1024, 1024, 3072);
	rig_close(&r);
}

/* A slot may be another block's as soon as its own has left it. */
Test(disk_store, read_on_its_way_never_sees_another_block)
{
	struct rig r;
	struct ask rd, wr;

	rig_open(&r, RIG_HEAD, DISK_IO_BEST, DISK_BYTES);
	memset(buf, 'a', 4096);
	cr_assert_eq(ask(&r, DISK_WRITE, 0, 4096, buf), 0);
	cr_assert_eq(ask(&r, DISK_FLUSH, 0, 0, NULL), 0);
	io_bend = hold_some;
	hold_kind = DISK_IO_READ;
	ask_begin(&r, &rd, DISK_READ, 0, 4096, other, 1);
	cr_assert_eq(io_held(), 1);
	/* Moves the block, for it is of the last commit; frees its slot. */
	memset(buf, 'b', 4096);
	ask_begin(&r, &wr, DISK_WRITE, 0, 4096, buf, 1);
	cr_assert_not(wr.over, "it has overtaken the read");
	io_release(IO_CARRY_OUT);
	io_bend = NULL;
	cr_assert_eq(ask_end(&r, &wr), 0);
	cr_assert_eq(other[0], 'a');
	cr_assert_eq(other[4095], 'a');
	rig_close(&r);
}

Test(disk_store, flush_waits_for_writes_on_their_way_and_holds_back_new_ones)
{
	struct rig r;
	struct ask w1, w2, f;

	rig_open(&r, RIG_HEAD, DISK_IO_BEST, DISK_BYTES);
	io_bend = hold_some;
	hold_kind = DISK_IO_WRITE;
	ask_begin(&r, &w1, DISK_WRITE, 0, 4096, buf, 1);
	ask_begin(&r, &f, DISK_FLUSH, 0, 0, NULL, 0);
	ask_begin(&r, &w2, DISK_WRITE, 40960, 4096, buf, 1);
	cr_assert_eq(io_held(), 1, "the second write did not wait");
	cr_assert_not(f.over);
	io_release(IO_CARRY_OUT);
	cr_assert_eq(io_held(), 1, "the second write waits for all the flush");
	io_release(IO_CARRY_OUT);
	io_bend = NULL;
	cr_assert_eq(ask_end(&r, &f), 0);
	cr_assert_eq(ask_end(&r, &w2), 0);
	rig_close(&r);
}

static unsigned syncs;

static struct io_bend count_syncs(const struct disk_io_op *op)
{
	syncs += op->kind == DISK_IO_SYNC;
	return (struct io_bend){ .hold = op->kind == DISK_IO_SYNC };
}

Test(disk_store, flushes_share_one_sync_when_they_come_together)
{
	struct rig r;
	struct ask f[8];

	rig_open(&r, RIG_RAW, DISK_IO_BEST, DISK_BYTES);
	io_bend = count_syncs;
	for (unsigned i = 0; i < ARRAY_SIZE(f); i++)
		ask_begin(&r, &f[i], DISK_FLUSH, 0, 0, NULL, 0);
	cr_assert_eq(io_held(), 1);
	io_release(0);
	cr_assert(f[0].over);
	/* Those that came when the first was on its way need a later one. */
	cr_assert_not(f[1].over);
	io_release(0);
	for (unsigned i = 0; i < ARRAY_SIZE(f); i++)
		cr_assert(f[i].over);
	cr_assert_eq(syncs, 2);
	rig_close(&r);
}

/* CVE-2026-45782: completion after what it is for has gone. */
static void drain_all(struct rig *r)
{
	struct ask a[300];

	rig_make_cold(r);
	for (unsigned i = 0; i < ARRAY_SIZE(a); i++)
		ask_begin(r, &a[i],
			  i % 7 == 6   ? DISK_FLUSH
			  : i % 7 == 5 ? DISK_DISCARD
			  : i % 2      ? DISK_WRITE
				       : DISK_READ,
			  i * 3072, 3072, buf + i * 3072, 3);
	rig_drain(r);
	for (unsigned i = 0; i < ARRAY_SIZE(a); i++) {
		cr_assert(a[i].over, "request %u is on its way", i);
		cr_assert_eq(a[i].result, 0);
	}
	rig_drain(r);
}

Test(disk_store, nothing_is_on_its_way_after_drain)
{
	rig_each(drain_all, DISK_BYTES);
}

Test(disk_store, device_is_told_when_a_burst_has_ended)
{
	struct rig r;
	struct ask a;

	rig_open(&r, RIG_RAW, DISK_IO_BEST, DISK_BYTES);
	cr_assert_eq(ask(&r, DISK_WRITE, 512, 512, buf), 0);
	cr_assert_geq(r.idles, 1);
	r.idles = 0;
	/* What was over within submit is the device's to tell. */
	ask_begin(&r, &a, DISK_READ, 0, 4096, buf, 1);
	cr_assert(a.over);
	cr_assert_eq(r.idles, 0);
	rig_close(&r);
}

/* CVE-2016-5403: memory without bound by never waiting. Requests beyond the
 * pool wait, in order. */
Test(disk_store, requests_wait_in_order_when_all_jobs_are_taken)
{
	static struct ask a[DISK_IO_DEPTH + 20];
	struct rig r;

	rig_open(&r, RIG_RAW, DISK_IO_BEST, DISK_BYTES);
	io_bend = hold_some;
	hold_kind = DISK_IO_READ;
	for (unsigned i = 0; i < ARRAY_SIZE(a); i++)
		ask_begin(&r, &a[i], DISK_READ, i * 4096, 4096, buf + i * 4096,
			  1);
	cr_assert_eq(io_held(), DISK_IO_DEPTH - 1);
	for (unsigned i = 0; i < ARRAY_SIZE(a); i++) {
		cr_assert_not(a[i].over);
		io_release(IO_CARRY_OUT);
		cr_assert(a[i].over, "another one has overtaken it");
		expect_pattern(buf + i * 4096, i * 4096, 4096);
	}
	rig_close(&r);
}

/* ---- the kernel refuses ---- */

Test(disk_store, a_host_without_a_ring_is_served_all_the_same)
{
	static const int errors[] = { -ENOSYS, -EPERM, -ENOMEM };

	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		ring_refused = errors[i];
		rig_each(write_parts, DISK_BYTES);
	}
}

static void short_of_memory(struct rig *r)
{
	submit_refused = -EAGAIN;
	submits_refused = 5;
	read_cold(r);
	submit_refused = -EBUSY;
	submits_refused = 5;
	drain_all(r);
	cr_assert_eq(submits_refused, r->way == DISK_IO_BEST ? 0 : 5);
	submits_refused = 0;
}

Test(disk_store, requests_end_when_the_kernel_was_short_of_memory)
{
	rig_each(short_of_memory, DISK_BYTES);
}

Test(disk_store, flush_at_the_end_keeps_what_was_never_flushed)
{
	struct rig r;

	rig_open(&r, RIG_HEAD, DISK_IO_BEST, DISK_BYTES);
	memset(buf, 'z', 4096);
	cr_assert_eq(ask(&r, DISK_WRITE, 512, 4096, buf), 0);
	cr_assert_eq(disk_flush_last(r.disk), 0);
	rig_reopen(&r);
	cr_assert_eq(ask(&r, DISK_READ, 512, 4096, other), 0);
	cr_assert_eq(memcmp(other, buf, 4096), 0);
	rig_close(&r);
}
