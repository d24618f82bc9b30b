/* SPDX-License-Identifier: Apache-2.0 */
/* Heads swapped, sealed, given up, killed, under a disk that is used. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "swaptest.h"
#include "util.h"

static struct swaptest s;
static uint8_t buf[DISK_BYTES], want[DISK_BYTES];

static void init(void)
{
	dirtest_init(&s.dir, 1);
	swaptest_open(&s, DISK_IO_BEST);
}

static void fini(void)
{
	if (s.set)
		swaptest_close(&s);
	dirtest_fini(&s.dir);
}

TestSuite(swap, .init = init, .fini = fini, .timeout = 120);

static void put(uint64_t block, uint8_t tag)
{
	memset(buf, tag, 4096);
	memset(want + block * 4096, tag, 4096);
	cr_assert_eq(ask(&s.rig, DISK_WRITE, block * 4096, 4096, buf), 0);
}

static void flush(void)
{
	cr_assert_eq(ask(&s.rig, DISK_FLUSH, 0, 0, NULL), 0);
}

static void check(void)
{
	cr_assert_eq(ask(&s.rig, DISK_READ, 0, DISK_BYTES, buf), 0);
	for (unsigned i = 0; i < DISK_BLOCKS; i++)
		cr_assert_eq(memcmp(buf + i * 4096, want + i * 4096, 4096), 0,
			     "block %u is %u, not %u", i, buf[i * 4096],
			     want[i * 4096]);
}

static void reopen(void)
{
	swaptest_close(&s);
	swaptest_open(&s, DISK_IO_BEST);
}

static unsigned frozen(void)
{
	json_t *plan = disk_set_plan(s.set), *x;
	unsigned n = 0;
	size_t i;

	json_array_foreach(json_object_get(json_array_get(plan, 0), "chain"), i,
			   x) n +=
	    !strcmp(json_string_value(json_object_get(x, "state")), "frozen");
	json_decref(plan);
	return n;
}

/* ---- captures that come to their end ---- */

Test(swap, capture_keeps_the_disk_as_it_is)
{
	put(1, 1);
	put(2, 2);
	cr_assert_eq(capture(&s), 0, "%s", s.dir.why.message);
	cr_assert_eq(s.nsealed, 1);
	cr_assert(s.sealed[0].newest);
	cr_assert(s.sealed[0].over_raw);
	check();
	put(2, 3);
	taker_keep(&s);
	check();
	flush();
	reopen();
	check();
}

Test(swap, layer_has_the_disk_as_it_was_at_the_swap)
{
	struct image img;

	for (unsigned i = 0; i < 20; i++)
		put(i, (uint8_t)(i + 1));
	taker_make(&s);
	cr_assert_eq(engine_prepare(&s), 0, "%s", s.dir.why.message);
	rig_drain(&s.rig);
	disk_set_swap(s.set);
	put(3, 99);
	cr_assert_eq(engine_seal(&s), 0, "%s", s.dir.why.message);
	put(4, 99);
	check();
	disk_set_adopt(s.set);
	check();
	cr_assert_eq(image_open(&img, layer_set_find(s.layers, &s.sealed[0].id),
				0, NULL),
		     0);
	cr_assert_eq(image_read(&img, 0, 20, buf, NULL), 0);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(buf[i * 4096], i + 1);
}

Test(swap, captures_in_a_row_stack_their_layers)
{
	for (unsigned i = 0; i < 30; i++) {
		put(i % DISK_BLOCKS, (uint8_t)(100 + i));
		put(40, (uint8_t)i);
		cr_assert_eq(capture(&s), 0, "%s", s.dir.why.message);
		if (i % 3)
			taker_keep(&s);
		check();
	}
	reopen();
	check();
}

Test(swap, capture_of_an_idle_disk_is_the_same_disk)
{
	cr_assert_eq(capture(&s), 0, "%s", s.dir.why.message);
	check();
	put(1, 1);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(capture(&s), 0, "%s", s.dir.why.message);
		check();
	}
	taker_keep(&s);
	reopen();
	check();
}

/* The taker proves by a lease that nobody can write to what it links. */
Test(swap, sealed_file_is_open_for_reading_alone)
{
	char path[160];
	int fd;

	put(1, 1);
	cr_assert_eq(capture(&s), 0, "%s", s.dir.why.message);
	snprintf(path, sizeof(path), "%s/vms/vm/heads/disk0.%s", s.dir.path,
		 s.sealed[0].uid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_eq(fcntl(fd, F_SETLEASE, F_RDLCK), 0, "%s", strerror(errno));
	close(fd);
}

Test(swap, contiguous_blocks_of_an_image_are_read_where_they_go)
{
	struct ask a;

	for (unsigned i = 0; i < DISK_BLOCKS; i++)
		put(i, (uint8_t)(i + 1));
	cr_assert_eq(capture(&s), 0);
	check();
	/* In pieces that end within blocks, from within a block. */
	ask_begin(&s.rig, &a, DISK_READ, 512, 40 * 512, buf, 13);
	cr_assert_eq(ask_end(&s.rig, &a), 0);
	cr_assert_eq(memcmp(buf, want + 512, 40 * 512), 0);
	memset(buf, 0xaa, 1024);
	memset(want + 5 * 4096 + 512, 0xaa, 1024);
	cr_assert_eq(ask(&s.rig, DISK_WRITE, 5 * 4096 + 512, 1024, buf), 0);
	check();
}

/* ---- FLUSH ---- */

static unsigned syncs;

static struct io_bend count_syncs(const struct disk_io_op *op)
{
	syncs += op->kind == DISK_IO_SYNC;
	return (struct io_bend){ 0 };
}

Test(swap, flush_after_the_swap_waits_for_the_old_head)
{
	struct ask f;

	put(1, 1);
	taker_make(&s);
	cr_assert_eq(engine_prepare(&s), 0);
	rig_drain(&s.rig);
	disk_set_swap(s.set);
	put(2, 2);
	io_bend = count_syncs;
	ask_begin(&s.rig, &f, DISK_FLUSH, 0, 0, NULL, 0);
	rig_commit(&s.rig);
	swaptest_step(&s);
	cr_assert_not(f.over, "no sync of the old head came before");
	cr_assert_eq(syncs, 0);
	/* Writes go on meanwhile. */
	put(3, 3);
	cr_assert_eq(engine_seal(&s), 0);
	cr_assert_eq(ask_end(&s.rig, &f), 0);
	cr_assert_gt(syncs, 0);
	io_bend = NULL;
	disk_set_adopt(s.set);
	check();
}

Test(swap, drain_with_a_flush_makes_the_old_head_durable_itself)
{
	struct ask f;

	put(1, 1);
	taker_make(&s);
	cr_assert_eq(engine_prepare(&s), 0);
	disk_set_swap(s.set);
	ask_begin(&s.rig, &f, DISK_FLUSH, 0, 0, NULL, 0);
	rig_drain(&s.rig);
	cr_assert(f.over);
	cr_assert_eq(f.result, 0);
	disk_set_abandon(s.set);
	cr_assert_eq(frozen(), 1);
	reopen();
	check();
}

/* From here on no file grows beyond, or is written there: EFBIG. */
static void limit_files(rlim_t bytes)
{
	const struct rlimit limit = { bytes, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void swap_with_a_write(void)
{
	put(1, 1);
	taker_make(&s);
	cr_assert_eq(engine_prepare(&s), 0);
	disk_set_swap(s.set);
}

Test(swap, flush_fails_as_long_as_the_old_head_cannot_be_made_durable)
{
	swap_with_a_write();
	limit_files(4096);
	cr_assert_eq(engine_seal(&s), -EFBIG);
	cr_assert_eq(s.dir.why.code, EXIT_NO_SPACE);
	cr_assert_neq(ask(&s.rig, DISK_FLUSH, 0, 0, NULL), 0);
	disk_set_abandon(s.set);
	cr_assert_neq(ask(&s.rig, DISK_FLUSH, 0, 0, NULL), 0);
	limit_files(RLIM_INFINITY);
	flush();
	check();
	cr_assert_eq(capture(&s), 0, "%s", s.dir.why.message);
	cr_assert_eq(s.nsealed, 2);
	check();
}

/* The log is in reach, the end of the file is not. */
Test(swap, seal_without_room_leaves_a_head)
{
	swap_with_a_write();
	limit_files(8192);
	cr_assert_eq(engine_seal(&s), -EFBIG);
	cr_assert_eq(s.dir.why.code, EXIT_NO_SPACE);
	disk_set_abandon(s.set);
	flush();
	limit_files(RLIM_INFINITY);
	check();
	put(2, 2);
	flush();
	reopen();
	check();
	cr_assert_eq(capture(&s), 0, "%s", s.dir.why.message);
	cr_assert_eq(s.nsealed, 2);
	check();
}

/* ---- given up ---- */

Test(swap, abandon_before_the_swap_changes_nothing)
{
	put(1, 1);
	for (unsigned i = 0; i < 20; i++) {
		taker_make(&s);
		cr_assert_eq(engine_prepare(&s), 0, "%s", s.dir.why.message);
		disk_set_abandon(s.set);
		cr_assert_eq(frozen(), 0);
	}
	put(2, 2);
	check();
	reopen();
	check();
}

Test(swap, captures_given_up_after_the_swap_leave_at_most_eight_frozen)
{
	for (unsigned i = 0; i < 2 * DISK_MAX_FROZEN + 3; i++) {
		put(i, (uint8_t)(i + 1));
		taker_make(&s);
		cr_assert_eq(engine_prepare(&s), 0, "%s", s.dir.why.message);
		rig_drain(&s.rig);
		disk_set_swap(s.set);
		disk_set_abandon(s.set);
		cr_assert_leq(frozen(), DISK_MAX_FROZEN);
		flush();
		check();
	}
	reopen();
	check();
	cr_assert_eq(capture(&s), 0, "%s", s.dir.why.message);
	cr_assert_eq(frozen(), 0);
	taker_keep(&s);
	reopen();
	check();
}

Test(swap, seal_that_is_cancelled_leaves_heads_that_are_durable)
{
	put(1, 1);
	atomic_store(&s.cancel, true);
	taker_make(&s);
	cr_assert_eq(engine_prepare(&s), -ECANCELED);
	atomic_store(&s.cancel, false);
	taker_make(&s);
	cr_assert_eq(engine_prepare(&s), 0);
	disk_set_swap(s.set);
	atomic_store(&s.cancel, true);
	cr_assert_eq(engine_seal(&s), -ECANCELED);
	disk_set_abandon(s.set);
	cr_assert_eq(frozen(), 1);
	flush();
	atomic_store(&s.cancel, false);
	cr_assert_eq(capture(&s), 0, "%s", s.dir.why.message);
	cr_assert_eq(s.nsealed, 2);
	check();
}

/* ---- what the taker may hand over wrongly ---- */

static int broken(void (*breaks)(void))
{
	int err;

	taker_make(&s);
	breaks();
	err = engine_prepare(&s);
	check();
	return err;
}

static void too_few(void)
{
	close(s.fds[--s.nfds]);
}

static void not_that_head(void)
{
	close(s.fds[1]);
	s.fds[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void another_uid(void)
{
	s.uid[0] = s.uid[0] == '0' ? '1' : '0';
}

static void not_empty(void)
{
	const struct head_below none = HEAD_BELOW_NOTHING;
	struct head *h;

	cr_assert_eq(head_open(&h, s.fds[0], "head", &none, true, NULL), 0);
	cr_assert_eq(head_write(h, 0, buf, 4096, NULL), 0);
	cr_assert_eq(head_flush(h, NULL), 0);
	head_close(h);
}

static void on_another(void)
{
	struct head_info info = { .bytes = DISK_BYTES,
				  .below_kind = BELOW_HEAD,
				  .below_uid = { 1 } };

	close(s.fds[0]);
	cr_assert_eq(disk_dir_make_head(dirtest_roots(&s.dir), "disk0", &info,
					0, s.uid, &s.fds[0], &s.dir.why),
		     0);
	dirtest_roots_done(&s.dir);
}

Test(swap, prepare_refuses_what_was_not_planned)
{
	put(1, 1);
	cr_assert_eq(broken(too_few), -EINVAL);
	cr_assert_eq(broken(not_that_head), -EINVAL);
	cr_assert_eq(broken(another_uid), -EINVAL);
	cr_assert_eq(broken(not_empty), -EINVAL);
	cr_assert_eq(broken(on_another), -EINVAL);
	cr_assert_eq(capture(&s), 0, "%s", s.dir.why.message);
	check();
}

/* ---- restore in place ---- */

static int new_head_on(const struct object_id *layer)
{
	struct head_info info = { .bytes = DISK_BYTES,
				  .below_kind = BELOW_LAYER,
				  .below_layer = *layer };
	int fd;

	cr_assert_eq(disk_dir_make_head(dirtest_roots(&s.dir), "disk0", &info,
					0, s.uid, &fd, &s.dir.why),
		     0);
	dirtest_roots_done(&s.dir);
	return fd;
}

Test(swap, disk_taken_from_a_snapshot_reads_as_that)
{
	static uint8_t then[DISK_BYTES];
	struct object_id none = { { 1 } };
	int fd;

	put(1, 1);
	cr_assert_eq(capture(&s), 0);
	taker_keep(&s);
	memcpy(then, want, sizeof(want));
	put(1, 2);
	put(5, 5);
	fd = new_head_on(&none);
	cr_assert_eq(disk_set_replace(s.set, &fd, 1, s.layers, &s.dir.why),
		     -EINVAL);
	fd = new_head_on(&s.sealed[0].id);
	cr_assert_eq(disk_set_replace(s.set, &fd, 1, s.layers, &s.dir.why), 0,
		     "%s", s.dir.why.message);
	check();
	rig_drain(&s.rig);
	disk_set_take(s.set);
	memcpy(want, then, sizeof(want));
	check();
	put(6, 6);
	cr_assert_eq(disk_set_settle(s.set, &s.dir.why), 0);
	flush();
	check();
	cr_assert_eq(capture(&s), 0, "%s", s.dir.why.message);
	check();
}

/* ---- killed ---- */

/* What the child wrote, and was told to be durable: tag t is in block t, and in
 * block 0 until a later one is. */
struct shared {
	uint8_t written, flushed;
};
static struct shared *shared;

static void tagged(uint8_t tag, bool flushes)
{
	shared->written = tag;
	put(0, tag);
	put(tag, tag);
	if (!flushes)
		return;
	flush();
	shared->flushed = tag;
}

static void swap_and_abandon(void)
{
	taker_make(&s);
	cr_assert_eq(engine_prepare(&s), 0);
	rig_drain(&s.rig);
	disk_set_swap(s.set);
	disk_set_abandon(s.set);
}

/* Captures: one that is kept, two given up, one that is sealed and not kept,
 * then one more. Each finds something that is not flushed. */
static void life(void *ctx)
{
	swaptest_open(&s, *(enum disk_io_way *)ctx);
	tagged(1, true);
	tagged(2, false);
	cr_assert_eq(capture(&s), 0);
	tagged(3, true);
	taker_keep(&s);
	tagged(4, false);
	swap_and_abandon();
	tagged(5, true);
	tagged(6, false);
	swap_and_abandon();
	tagged(7, false);
	cr_assert_eq(capture(&s), 0);
	tagged(8, true);
	cr_assert_eq(capture(&s), 0);
	tagged(9, true);
	taker_keep(&s);
	tagged(10, true);
}

/* What was flushed is there, or in block 0 what came later. */
static void judge(unsigned at)
{
	dirtest_read(&s.dir, 0, buf);
	cr_assert_geq(buf[0], shared->flushed, "killed at %u", at);
	cr_assert_leq(buf[0], shared->written, "killed at %u", at);
	for (unsigned t = 1; t <= shared->flushed; t++)
		cr_assert_eq(buf[t * 4096], t, "killed at %u: %u is lost", at,
			     t);
}

static void die_everywhere(enum disk_io_way way)
{
	bool killed = true;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	swaptest_close(&s);
	s.set = NULL;
	for (unsigned at = 1; killed; at++) {
		_cleanup_free_ char *once = NULL, *twice = NULL;

		dirtest_fini(&s.dir);
		dirtest_init(&s.dir, 1);
		*shared = (struct shared){ 0 };
		killed = killed_at(at, life, &way);
		cr_assert_eq(dirtest_open(&s.dir), 0, "killed at %u: %s", at,
			     s.dir.why.message);
		once = dirtest_listing(&s.dir);
		judge(at);
		dirtest_close(&s.dir);
		cr_assert_eq(dirtest_open(&s.dir), 0);
		twice = dirtest_listing(&s.dir);
		cr_assert_str_eq(once, twice, "killed at %u", at);
		judge(at);
		dirtest_close(&s.dir);
	}
	cr_assert_eq(shared->flushed, 10);
}

Test(swap, killed_at_any_call_keeps_what_was_flushed, .timeout = 600)
{
	die_everywhere(DISK_IO_NO_RING);
}

Test(swap, killed_at_any_call_keeps_what_was_flushed_by_the_ring,
     .timeout = 600)
{
	die_everywhere(DISK_IO_BEST);
}
