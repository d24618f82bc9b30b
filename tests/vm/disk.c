/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks as guests see them, over disks in memory whose requests end at once, or
 * by a timer in any order, or when the test says.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "blk.h"
#include "fake_disk.h"
#include "util.h"
#include "vmtest.h"

#define SCRIPT(s)  "run=\"" s "\""
#define DISK_BYTES MIB(2)

static struct vmtest t;
static struct fake_disk fake[2];
static const struct machine_disk disks[] = {
	{ .id = "root", .disk = &fake[0].disk, .serial = "one" },
	{ .id = "data", .disk = &fake[1].disk },
};

static void boot(const char *guest, const char *cmdline)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fake); i++)
		if (!fake[i].bytes)
			fake_disk_init(&fake[i], DISK_BYTES, false);
	vmtest_init(&t, &(struct vmtest_config){ .guest = guest,
						 .cmdline = cmdline,
						 .disk = disks,
						 .ndisks = ARRAY_SIZE(disks) });
	machine_run(t.machine);
}

static void expect(enum guest_event event, uint32_t value)
{
	enum guest_event got = t.told ? t.event : vmtest_wait(&t);

	vmtest_let_run(&t, 3);
	cr_assert(got == event && t.value == value, "event %d, %u; printed: %s",
		  (int)got, t.value, vmtest_output(&t));
}

static void expect_printed(const char *text)
{
	cr_assert_not_null(strstr(vmtest_output(&t), text), "printed: %s",
			   vmtest_output(&t));
}

static void finish(void)
{
	vmtest_fini(&t);
	for (unsigned i = 0; i < ARRAY_SIZE(fake); i++)
		fake_disk_fini(&fake[i]);
}

Test(disk, pattern_when_written_is_read_back)
{
	boot(NULL, SCRIPT("disk 0 info; disk 0 write 0 1001 7; disk 0 flush; "
			  "disk 0 check 0 1001 7; disk 0 zero 10 20; "
			  "disk 0 check 10 20 0; disk 0 check 30 971 7; "
			  "disk 0 discard 100 50; disk 0 check 100 50 0; "
			  "exit 9"));
	expect(GUEST_EXIT, 9);
	expect_printed("'one', 4096 sectors, flush");
	cr_assert_eq(fake[0].ops[DISK_FLUSH], 1);
	cr_assert_eq(fake[0].ops[DISK_ZEROES], 1);
	cr_assert_eq(fake[0].ops[DISK_DISCARD], 1);
	finish();
}

Test(disk, disks_when_there_are_two_are_apart)
{
	boot(NULL, SCRIPT("disk 0 write 0 64 1; disk 1 write 0 64 2; "
			  "disk 0 check 0 64 1; disk 1 check 0 64 2; "
			  "disk 1 info; exit 9"));
	expect(GUEST_EXIT, 9);
	expect_printed("'data', 4096 sectors");
	cr_assert(memcmp(fake[0].bytes, fake[1].bytes, 4096));
	finish();
}

Test(disk, check_when_a_sector_is_wrong_finds_it)
{
	boot(NULL, SCRIPT("disk 0 write 0 64 1; ready; disk 0 check 0 64 1; "
			  "disk 0 check 0 64 2; exit 9"));
	cr_assert_eq(vmtest_wait(&t), GUEST_READY);
	t.told = false;
	expect(GUEST_EXIT, 1);
	expect_printed("64 are wrong");
	finish();
}

Test(disk, read_only_disk_when_written_gives_an_error)
{
	fake_disk_init(&fake[0], DISK_BYTES, true);
	boot(NULL, SCRIPT("disk 0 info; disk 0 check 0 8 0; disk 0 write 0 1"));
	expect(GUEST_EXIT, 1);
	expect_printed("read-only");
	expect_printed("write: I/O error");
	cr_assert(mem_is_zero(fake[0].bytes, DISK_BYTES));
	finish();
}

/* A host's error is one request's, never the VM's. */
Test(disk, host_error_reaches_the_guest_and_no_further)
{
	fake_disk_init(&fake[1], DISK_BYTES, false);
	fake[1].fail = -EIO;
	boot(NULL, SCRIPT("disk 0 write 0 8; disk 1 write 0 8; exit 9"));
	expect(GUEST_EXIT, 1);
	expect_printed("write: I/O error");
	finish();
}

Test(disk, polled_reads_at_depth_end_well)
{
	boot("diskread", "count=3000 depth=32 warm=10");
	expect(GUEST_EXIT, 0);
	expect_printed("3000 requests");
	cr_assert_eq(fake[0].ops[DISK_READ], 3000 + 10 + 32 - fake[0].npending);
	finish();
}

/* ---- requests that take their time ---- */

static struct loop_timer timer;
static uint32_t random_state = 1;

/* One of those that wait, whichever. */
static void end_one(struct loop_timer *timer_)
{
	struct fake_disk *f = &fake[0];
	struct blk *b = f->disk.owner;
	_locked_(&b->virtio.dev.lock);

	random_state = random_state * 1664525 + 1013904223;
	if (f->npending)
		fake_disk_end(f, (random_state >> 8) % f->npending, 0);
	loop_timer_set(timer_, 200000);
}

static void boot_slow(const char *guest, const char *cmdline)
{
	fake_disk_init(&fake[0], DISK_BYTES, false);
	fake[0].later = true;
	boot(guest, cmdline);
	loop_timer_init(&t.loop, &timer, end_one);
	loop_timer_set(&timer, 200000);
}

static void finish_slow(void)
{
	loop_timer_fini(&t.loop, &timer);
	finish();
}

Test(disk, requests_when_they_end_late_and_in_any_order_are_right)
{
	boot_slow(NULL, SCRIPT("disk 0 write 0 600 5; disk 0 check 0 600 5; "
			       "exit 9"));
	expect(GUEST_EXIT, 9);
	finish_slow();
}

Test(disk, paused_again_and_again_loses_no_request)
{
	boot_slow(NULL, SCRIPT("disk 0 write 0 2000 5; "
			       "disk 0 check 0 2000 5; exit 9"));
	for (unsigned i = 0; i < 300 && !t.told; i++) {
		machine_pause(t.machine);
		cr_assert_eq(fake[0].npending, 0);
		machine_run(t.machine);
		vmtest_let_run(&t, 1);
	}
	expect(GUEST_EXIT, 9);
	finish_slow();
}

Test(disk, reset_of_the_machine_with_requests_on_their_way_works)
{
	boot_slow("diskread", "count=1000000");
	for (unsigned i = 0; i < 5; i++) {
		while (!fake[0].npending)
			vmtest_let_run(&t, 1);
		cr_assert_eq(machine_reset(t.machine, &t.why), 0);
		cr_assert_eq(fake[0].npending, 0);
	}
	finish_slow();
}

Test(disk, reset_by_the_guest_waits_for_what_is_on_its_way)
{
	boot_slow("diskreset", "");
	expect(GUEST_EXIT, 9);
	cr_assert_eq(fake[0].npending, 0);
	cr_assert_eq(fake[0].ops[DISK_READ], 16);
	finish_slow();
}

static unsigned resetting(void)
{
	struct blk *b = fake[0].disk.owner;
	_locked_(&b->virtio.dev.lock);

	return b->virtio.resetting;
}

static void boot_into_reset(void)
{
	fake_disk_init(&fake[0], DISK_BYTES, false);
	fake[0].later = true;
	boot("diskreset", "");
	while (!resetting())
		vmtest_let_run(&t, 1);
	cr_assert_neq(fake[0].npending, 0);
}

/* The vCPU waits for the I/O thread to end the requests: the I/O thread must
 * not wait for the vCPU then. */
Test(disk, pause_while_a_vcpu_waits_in_a_reset_does_not_deadlock)
{
	boot_into_reset();
	machine_pause(t.machine);
	cr_assert_eq(fake[0].npending, 0);
	machine_run(t.machine);
	expect(GUEST_EXIT, 9);
	finish();
}

Test(disk, end_while_a_vcpu_waits_in_a_reset_does_not_deadlock)
{
	boot_into_reset();
	finish();
}
