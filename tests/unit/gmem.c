/* SPDX-License-Identifier: Apache-2.0 */
/* Guest RAM: layout around the gap, bounds by subtraction, dirty marks. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/mman.h>

#include "gmem.h"
#include "platform.h"
#include "util.h"

static struct gmem make(uint64_t bytes, uint64_t region_max)
{
	struct gmem_region r[GMEM_MAX_REGIONS];
	struct gmem m;
	int n = gmem_layout(bytes, region_max, r);

	cr_assert(n > 0);
	cr_assert_eq(gmem_init(&m, r, (unsigned)n), 0);
	return m;
}

Test(gmem, layout_over_4g_leaves_the_gap)
{
	struct gmem_region r[GMEM_MAX_REGIONS];

	cr_assert_eq(gmem_layout(GIB(5), 0, r), 2);
	cr_assert_eq(r[0].bytes, PLATFORM_GAP_START);
	cr_assert_eq(r[1].gpa, PLATFORM_GAP_END);
	cr_assert_eq(r[1].offset, PLATFORM_GAP_START);
	cr_assert_eq(r[1].bytes, GIB(5) - PLATFORM_GAP_START);
}

Test(gmem, layout_with_region_limit_makes_many)
{
	struct gmem_region r[GMEM_MAX_REGIONS];

	cr_assert_eq(gmem_layout(GIB(5), GIB(1), r), 5);
	cr_assert_eq(r[3].gpa, PLATFORM_GAP_END);
	cr_assert_eq(r[4].gpa, PLATFORM_GAP_END + GIB(1));
	cr_assert_eq(gmem_layout(GIB(40), GIB(1), r), -E2BIG);
}

Test(gmem, layout_of_nothing_or_half_a_page_is_refused)
{
	struct gmem_region r[GMEM_MAX_REGIONS];

	cr_assert_eq(gmem_layout(0, 0, r), -EINVAL);
	cr_assert_eq(gmem_layout(PAGE_BYTES + 1, 0, r), -EINVAL);
}

Test(gmem, access_past_the_end_is_refused_and_changes_nothing)
{
	struct gmem m = make(MIB(2), 0);
	uint8_t b[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	uint8_t last = 9;

	cr_assert_eq(gmem_write(&m, GPA(MIB(2) - 4), b, 8), -EFAULT);
	cr_assert_eq(gmem_read(&m, GPA(MIB(2) - 1), &last, 1), 0);
	cr_assert_eq(last, 0);
	cr_assert_eq(gmem_write(&m, GPA(UINT64_MAX - 3), b, 8), -EFAULT);
	cr_assert_eq(gmem_write(&m, GPA(0), b, SIZE_MAX), -EFAULT);
	cr_assert_null(gmem_borrow(&m, GPA(MIB(2)), 1));
	cr_assert_null(gmem_borrow(&m, GPA(0), 0));
	for (uint64_t w = 0; w < 8; w++)
		cr_assert_eq(gmem_take_marks(&m, w), 0);
	gmem_fini(&m);
}

Test(gmem, access_into_the_gap_is_refused)
{
	struct gmem m = make(GIB(4), 0);
	uint64_t v = 1;

	cr_assert_eq(gmem_read(&m, GPA(PLATFORM_GAP_START - 4), &v, 8),
		     -EFAULT);
	cr_assert_eq(gmem_read(&m, GPA(PLATFORM_GAP_END - 4), &v, 8), -EFAULT);
	cr_assert_eq(gmem_read(&m, GPA(PLATFORM_GAP_END), &v, 8), 0);
	gmem_fini(&m);
}

Test(gmem, access_over_touching_regions_is_one_stretch)
{
	struct gmem m = make(MIB(4), MIB(1));
	uint64_t v = UINT64_C(0x1122334455667788), w = 0;

	cr_assert_eq(m.nregions, 4);
	cr_assert_eq(gmem_write(&m, GPA(MIB(1) - 4), &v, 8), 0);
	cr_assert_eq(gmem_read(&m, GPA(MIB(1) - 4), &w, 8), 0);
	cr_assert_eq(v, w);
	gmem_fini(&m);
}

Test(gmem, writes_mark_each_page_they_touch_once)
{
	struct gmem m = make(MIB(2), 0);
	uint16_t v = 0xffff;

	cr_assert_eq(gmem_write(&m, GPA(3 * PAGE_BYTES - 1), &v, 2), 0);
	cr_assert_eq(gmem_take_marks(&m, 0), 0xc);
	cr_assert_eq(gmem_take_marks(&m, 0), 0);
	gmem_return(&m, GPA(64 * PAGE_BYTES), 1);
	cr_assert_eq(gmem_take_marks(&m, 1), 1);
	gmem_return(&m, GPA(0), 0);
	cr_assert_eq(gmem_take_marks(&m, 0), 0);
	gmem_wrote(&m, (char *)gmem_borrow(&m, GPA(0), 8192) + 4095, 2);
	cr_assert_eq(gmem_take_marks(&m, 0), 3);
	gmem_fini(&m);
}

Test(gmem, clear_zeroes_and_marks_all)
{
	struct gmem m = make(MIB(2), 0);
	uint64_t v = 7;

	cr_assert_eq(gmem_write(&m, GPA(4096), &v, 8), 0);
	cr_assert_eq(gmem_clear(&m), 0);
	cr_assert_eq(gmem_read(&m, GPA(4096), &v, 8), 0);
	cr_assert_eq(v, 0);
	cr_assert_eq(gmem_take_marks(&m, 0), ~UINT64_C(0));
	cr_assert_eq(gmem_take_marks(&m, 7), ~UINT64_C(0));
	gmem_fini(&m);
}

/* ---- discarded pages ---- */

static unsigned resident(struct gmem *m, uint64_t gpa, uint64_t pages)
{
	void *at = gmem_borrow(m, GPA(gpa), pages * PAGE_BYTES);
	unsigned char in[2048];
	unsigned n = 0;

	cr_assert_leq(pages, sizeof(in));
	cr_assert_eq(mincore(at, pages * PAGE_BYTES, in), 0);
	for (uint64_t i = 0; i < pages; i++)
		n += in[i] & 1;
	return n;
}

static bool all_are(struct gmem *m, uint64_t gpa, uint64_t len, uint8_t byte)
{
	const uint8_t *p = gmem_borrow(m, GPA(gpa), len);

	for (uint64_t i = 0; i < len; i++)
		if (p[i] != byte)
			return false;
	return true;
}

static void take_all_marks(struct gmem *m)
{
	for (uint64_t w = 0; w < m->bytes / PAGE_BYTES / 64; w++)
		gmem_take_marks(m, w);
}

Test(gmem, discarded_pages_hold_no_memory_read_zero_and_are_marked)
{
	struct gmem m = make(MIB(2), 0);

	cr_assert_eq(gmem_fill(&m, GPA(0), 7, MIB(2)), 0);
	take_all_marks(&m);
	cr_assert_eq(resident(&m, 0, 512), 512);
	cr_assert_eq(gmem_discard(&m, GPA(PAGE_BYTES), 3 * PAGE_BYTES), 0);
	cr_assert_eq(resident(&m, PAGE_BYTES, 3), 0);
	cr_assert_eq(resident(&m, 0, 512), 509);
	cr_assert_eq(gmem_take_marks(&m, 0), 0xe);
	cr_assert(all_are(&m, 0, PAGE_BYTES, 7));
	cr_assert(all_are(&m, PAGE_BYTES, 3 * PAGE_BYTES, 0));
	cr_assert(all_are(&m, 4 * PAGE_BYTES, PAGE_BYTES, 7));
	gmem_fini(&m);
}

/* A page in the middle of a huge one: its neighbours stay as they were. */
Test(gmem, discard_in_a_huge_page_leaves_the_rest)
{
	struct gmem m = make(MIB(6), 0);
	uint8_t *base = gmem_borrow(&m, GPA(0), MIB(6));
	uint64_t first = -(uintptr_t)base & (MIB(2) - 1);

	if (madvise(base, MIB(6), MADV_HUGEPAGE))
		cr_skip_test("no transparent huge pages here");
	cr_assert_eq(gmem_fill(&m, GPA(0), 7, MIB(6)), 0);
	cr_assert_eq(gmem_discard(&m, GPA(first + 5 * PAGE_BYTES), PAGE_BYTES),
		     0);
	cr_assert_eq(resident(&m, first, 512), 511);
	cr_assert(all_are(&m, 0, first + 5 * PAGE_BYTES, 7));
	cr_assert(all_are(&m, first + 5 * PAGE_BYTES, PAGE_BYTES, 0));
	cr_assert(all_are(&m, first + 6 * PAGE_BYTES, MIB(2), 7));
	gmem_fini(&m);
}

Test(gmem, discard_of_part_pages_or_outside_ram_does_nothing)
{
	struct gmem m = make(GIB(4), 0);

	cr_assert_eq(gmem_fill(&m, GPA(0), 7, 2 * PAGE_BYTES), 0);
	take_all_marks(&m);
	cr_assert_eq(gmem_discard(&m, GPA(1), PAGE_BYTES), -EINVAL);
	cr_assert_eq(gmem_discard(&m, GPA(0), PAGE_BYTES + 1), -EINVAL);
	cr_assert_eq(gmem_discard(&m, GPA(PLATFORM_GAP_START), PAGE_BYTES),
		     -EFAULT);
	cr_assert_eq(gmem_discard(&m, GPA(PLATFORM_GAP_START - PAGE_BYTES),
				  2 * PAGE_BYTES),
		     -EFAULT);
	cr_assert_eq(gmem_discard(&m, GPA(0), -(uint64_t)PAGE_BYTES), -EFAULT);
	cr_assert_eq(gmem_discard(&m, GPA(0), 0), 0);
	cr_assert(all_are(&m, 0, 2 * PAGE_BYTES, 7));
	cr_assert_eq(gmem_take_marks(&m, 0), 0);
	gmem_fini(&m);
}
