/* SPDX-License-Identifier: Apache-2.0 */
/* The page that tells of snapshots: where vmclock-abi.h has each number. */
#include <criterion/criterion.h>
#include <errno.h>

#include "platform.h"
#include "util.h"
#include "vmclock.h"

enum { MARKER = 16, FLAGS = 24, GENERATION = 104 };

static struct gmem ram;
static struct vmclock vmclock;

static void setup(void)
{
	struct gmem_region region = { 0, MIB(2), 0 };

	cr_assert_eq(gmem_init(&ram, &region, 1), 0);
	vmclock_init(&vmclock, "vmclock0", &ram);
}

static void teardown(void)
{
	gmem_fini(&ram);
}

TestSuite(vmclock, .init = setup, .fini = teardown);

static uint64_t number(uint64_t at, size_t bytes)
{
	uint64_t v = 0;

	cr_assert_eq(gmem_read(&ram, GPA(PLATFORM_VMCLOCK + at), &v, bytes), 0);
	return v;
}

Test(vmclock, page_is_there_from_the_start)
{
	cr_assert_eq(number(0, 4), 0x4b4c4356);
	cr_assert_eq(number(4, 4), 4096); /* less, and Linux maps it not */
	cr_assert_eq(number(8, 2), 1);
	cr_assert_eq(number(10, 1), 0xff);
	cr_assert_eq(number(12, 4) & 1, 0);
	cr_assert_eq(number(FLAGS, 8), 1 << 8);
	cr_assert_eq(PLATFORM_VMCLOCK % PAGE_BYTES, 0);
}

Test(vmclock, disruption_changes_both_numbers_and_the_sequence)
{
	uint64_t sequence = number(12, 4), marker = number(MARKER, 8);
	uint64_t generation = number(GENERATION, 8);
	uint64_t page = PLATFORM_VMCLOCK / PAGE_BYTES;

	gmem_take_marks(&ram, page / 64);
	vmclock_disrupt(&vmclock);
	cr_assert_eq(number(12, 4), sequence + 2);
	cr_assert_neq(number(MARKER, 8), marker);
	cr_assert_neq(number(GENERATION, 8), generation);
	cr_assert_eq(gmem_take_marks(&ram, page / 64), UINT64_C(1)
							   << page % 64);
}

Test(vmclock, reset_writes_the_page_again)
{
	vmclock_disrupt(&vmclock);
	cr_assert_eq(gmem_clear(&ram), 0);
	vmclock.dev.ops->reset(&vmclock.dev);
	cr_assert_eq(number(0, 4), 0x4b4c4356);
	cr_assert_eq(number(MARKER, 8), vmclock.st.disruptions);
}

Test(vmclock, restored_odd_sequence_is_refused)
{
	vmclock.st.sequence = 3;
	cr_assert_eq(vmclock.dev.ops->restored(&vmclock.dev), -EINVAL);
	vmclock.st.sequence = 4;
	cr_assert_eq(vmclock.dev.ops->restored(&vmclock.dev), 0);
}
