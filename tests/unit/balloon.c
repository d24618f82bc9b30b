/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon: what is given is gone, and a hostile driver gains nothing. */
#include "balloon.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "driver.h"

enum { INFLATE, DEFLATE, STATS, REPORT };
#define F_STATS	 (UINT64_C(1) << 1)
#define F_REPORT (UINT64_C(1) << 5)
#define PAGES	 (DRIVER_RAM / PAGE_BYTES)
#define VICTIM	 MIB(4) /* pages there are filled, and given */

static struct loop loop;
static struct driver d;
static struct balloon *b;

static void init(void)
{
	struct balloon_config c = { .loop = &loop };

	cr_assert_eq(loop_init(&loop), 0);
	driver_init(&d, &c.virtio);
	b = balloon_create(&c);
	cr_assert_not_null(b);
	driver_plug(&d, &b->virtio);
	cr_assert_eq(gmem_fill(&d.ram, GPA(VICTIM), 7, MIB(4)), 0);
	driver_start(&d, F_STATS | F_REPORT);
}

static void fini(void)
{
	driver_fini(&d);
	loop_fini(&loop);
}

TestSuite(balloon, .init = init, .fini = fini);

static unsigned resident(uint64_t gpa, uint64_t pages)
{
	void *at = gmem_borrow(&d.ram, GPA(gpa), pages * PAGE_BYTES);
	unsigned char in[PAGES];
	unsigned n = 0;

	cr_assert_eq(mincore(at, pages * PAGE_BYTES, in), 0);
	for (uint64_t i = 0; i < pages; i++)
		n += in[i] & 1;
	return n;
}

static void send_numbers(unsigned queue, const uint32_t *pfn, unsigned n)
{
	driver_write(&d, DRIVER_DATA, pfn, n * sizeof(*pfn));
	driver_send(&d, queue, DRIVER_DATA, n * (uint32_t)sizeof(*pfn), false);
}

static uint8_t byte_at(uint64_t gpa)
{
	uint8_t byte;

	driver_read(&d, gpa, &byte, 1);
	return byte;
}

/* ---- inflate, deflate ---- */

Test(balloon, inflated_pages_hold_no_memory_and_come_back_zeroed)
{
	const uint32_t first = VICTIM / PAGE_BYTES;
	/* up, down, alone */
	const uint32_t pfn[] = { first,	     first + 1,	 first + 2, first + 20,
				 first + 19, first + 18, first + 9 };

	cr_assert_eq(resident(VICTIM, 32), 32);
	send_numbers(INFLATE, pfn, ARRAY_SIZE(pfn));
	cr_assert_eq(driver_used(&d, INFLATE), 1);
	cr_assert_eq(b->count.inflated, ARRAY_SIZE(pfn));
	cr_assert_eq(resident(VICTIM, 32), 32 - ARRAY_SIZE(pfn));
	for (unsigned i = 0; i < ARRAY_SIZE(pfn); i++)
		cr_assert_eq(byte_at((uint64_t)pfn[i] * PAGE_BYTES), 0);
	cr_assert_eq(byte_at(VICTIM + 3 * PAGE_BYTES), 7);
	send_numbers(DEFLATE, pfn, ARRAY_SIZE(pfn));
	cr_assert_eq(b->count.deflated, ARRAY_SIZE(pfn));
}

/* The capture engine must see that they changed: KVM's log does not. */
Test(balloon, inflated_pages_are_marked_dirty)
{
	const uint32_t pfn = VICTIM / PAGE_BYTES + 3;

	gmem_take_marks(&d.ram, pfn / 64);
	send_numbers(INFLATE, &pfn, 1);
	cr_assert_eq(gmem_take_marks(&d.ram, pfn / 64), 1u << 3);
}

Test(balloon, numbers_outside_ram_are_refused_and_counted)
{
	const uint32_t bad[] = { PAGES,	   PAGES + 5,  0xc0000,	  0xfffff,
				 0x100000, UINT32_MAX, 0x80000000 };

	send_numbers(INFLATE, bad, ARRAY_SIZE(bad));
	cr_assert_eq(b->count.refused_pages, ARRAY_SIZE(bad));
	cr_assert_eq(b->count.inflated, 0);
	cr_assert_not(driver_broken(&d));
	cr_assert_eq(driver_used(&d, INFLATE), 1);
}

/* A run that begins in RAM and leaves it, and one that wraps. */
Test(balloon, run_over_the_end_of_ram_or_of_numbers_is_refused_whole)
{
	const uint32_t end[] = { PAGES - 1, PAGES, PAGES + 1 };
	const uint32_t wrap[] = { UINT32_MAX, 0, 1 };

	send_numbers(INFLATE, end, ARRAY_SIZE(end));
	send_numbers(INFLATE, wrap, ARRAY_SIZE(wrap));
	cr_assert_eq(b->count.refused_pages, 6);
	cr_assert_eq(byte_at(DRIVER_RAM - 1), 7);
}

Test(balloon, same_number_again_and_again_is_harmless)
{
	uint32_t pfn[BALLOON_CHAIN_NUMBERS];

	for (unsigned i = 0; i < ARRAY_SIZE(pfn); i++)
		pfn[i] = VICTIM / PAGE_BYTES;
	send_numbers(INFLATE, pfn, ARRAY_SIZE(pfn));
	cr_assert_eq(resident(VICTIM, 2), 1);
	cr_assert_eq(b->count.refused_pages, 0);
}

Test(balloon, more_numbers_than_a_chain_may_have_are_refused)
{
	uint32_t pfn[BALLOON_CHAIN_NUMBERS + 1];

	for (unsigned i = 0; i < ARRAY_SIZE(pfn); i++)
		pfn[i] = VICTIM / PAGE_BYTES + i % 512;
	pfn[BALLOON_CHAIN_NUMBERS] = VICTIM / PAGE_BYTES + 600;
	send_numbers(INFLATE, pfn, ARRAY_SIZE(pfn));
	cr_assert_eq(b->count.refused_pages, 1);
	cr_assert_eq(byte_at(VICTIM + 600 * PAGE_BYTES), 7);
	cr_assert_eq(driver_used(&d, INFLATE), 1);
}

/* The rings themselves are in the pages given: the guest's own loss. */
Test(balloon, pages_of_the_rings_when_given_harm_nobody)
{
	uint32_t pfn[64];

	for (unsigned i = 0; i < ARRAY_SIZE(pfn); i++)
		pfn[i] = 0x10000 / PAGE_BYTES + i;
	send_numbers(INFLATE, pfn, ARRAY_SIZE(pfn));
	cr_assert_eq(b->count.inflated, ARRAY_SIZE(pfn));
	driver_kick(&d, INFLATE);
	driver_start(&d, F_STATS | F_REPORT);
	send_numbers(INFLATE, pfn, 0);
	cr_assert_not(driver_broken(&d));
}

/* A round does a part; the loop comes back for the rest. */
Test(balloon, many_chains_are_taken_in_several_rounds)
{
	uint32_t pfn = VICTIM / PAGE_BYTES;
	unsigned rounds = 0;

	driver_write(&d, DRIVER_DATA, &pfn, sizeof(pfn));
	driver_desc(&d, INFLATE, 0, DRIVER_DATA, sizeof(pfn), 0, 0);
	for (unsigned i = 0; i < DRIVER_SIZE; i++)
		driver_offer(&d, INFLATE, 0);
	driver_kick(&d, INFLATE);
	cr_assert_lt(driver_used(&d, INFLATE), DRIVER_SIZE);
	for (; driver_used(&d, INFLATE) < DRIVER_SIZE; rounds++)
		cr_assert_eq(loop_step(&loop, 0), 0);
	cr_assert_gt(rounds, 0);
}

Test(balloon, quiesced_takes_nothing_until_it_resumes)
{
	uint32_t pfn = VICTIM / PAGE_BYTES;

	cr_assert_eq(virtio_quiesce(&b->virtio.dev), 0);
	send_numbers(INFLATE, &pfn, 1);
	cr_assert_eq(loop_step(&loop, 0), 0);
	cr_assert_eq(driver_used(&d, INFLATE), 0);
	virtio_resume(&b->virtio.dev);
	cr_assert_eq(driver_used(&d, INFLATE), 1);
}

/* ---- reporting ---- */

Test(balloon, reported_pages_hold_no_memory)
{
	driver_send(&d, REPORT, VICTIM, 16 * PAGE_BYTES, true);
	cr_assert_eq(driver_used(&d, REPORT), 1);
	cr_assert_eq(b->count.reported, 16);
	cr_assert_eq(resident(VICTIM, 32), 16);
}

/* As much as 8 MiB of RAM can say: the same pages many times over. */
Test(balloon, report_larger_than_a_round_goes_on_in_the_next)
{
	unsigned rounds = 0;

	for (unsigned i = 0; i < 12; i++)
		driver_desc(&d, REPORT, i, VICTIM, MIB(4),
			    VRING_DESC_WRITE | (i < 11 ? VRING_DESC_NEXT : 0),
			    (uint16_t)(i + 1));
	driver_offer(&d, REPORT, 0);
	driver_kick(&d, REPORT);
	cr_assert_eq(driver_used(&d, REPORT), 0);
	cr_assert_eq(b->progress, BALLOON_ROUND_BYTES);
	cr_assert_eq(b->st.virtio.last_avail[REPORT], 0);
	for (; !driver_used(&d, REPORT); rounds++)
		cr_assert_eq(loop_step(&loop, 0), 0);
	cr_assert_geq(rounds, 2);
	cr_assert_eq(b->progress, 0);
	cr_assert_eq(b->count.reported, 12 * 1024);
	cr_assert_eq(resident(VICTIM, 1024), 0);
}

/* The next driver's chain is not taken for the rest of this one's. */
Test(balloon, report_half_done_at_a_reset_is_forgotten)
{
	for (unsigned i = 0; i < 12; i++)
		driver_desc(&d, REPORT, i, VICTIM, MIB(4),
			    VRING_DESC_WRITE | (i < 11 ? VRING_DESC_NEXT : 0),
			    (uint16_t)(i + 1));
	driver_offer(&d, REPORT, 0);
	driver_kick(&d, REPORT);
	driver_start(&d, F_STATS | F_REPORT);
	cr_assert_eq(gmem_fill(&d.ram, GPA(VICTIM), 7, MIB(4)), 0);
	driver_send(&d, REPORT, VICTIM, MIB(4), true);
	cr_assert_eq(resident(VICTIM, 1024), 0);
}

Test(balloon, report_of_part_pages_is_refused)
{
	driver_send(&d, REPORT, VICTIM + 1, PAGE_BYTES, true);
	driver_send(&d, REPORT, VICTIM, PAGE_BYTES - 1, true);
	driver_send(&d, REPORT, VICTIM, PAGE_BYTES + 1, true);
	cr_assert_eq(b->count.refused_pages, 3);
	cr_assert_eq(resident(VICTIM, 32), 32);
	cr_assert_not(driver_broken(&d));
}

Test(balloon, report_outside_ram_breaks_the_queue)
{
	driver_send(&d, REPORT, DRIVER_RAM - PAGE_BYTES, 2 * PAGE_BYTES, true);
	cr_assert(driver_broken(&d));
	cr_assert_eq(byte_at(DRIVER_RAM - 1), 7);
}

Test(balloon, report_of_what_is_not_given_breaks_the_queue)
{
	driver_send(&d, REPORT, VICTIM, PAGE_BYTES, false);
	cr_assert(driver_broken(&d));
	cr_assert_eq(resident(VICTIM, 1), 1);
}

/* Linux numbers queues by those that it negotiated, and so do we. */
Test(balloon, reporting_without_statistics_is_the_third_queue)
{
	driver_start(&d, F_REPORT);
	driver_send(&d, STATS, VICTIM, 4 * PAGE_BYTES, true);
	cr_assert_eq(b->count.reported, 4);
	driver_send(&d, REPORT, VICTIM + MIB(1), 4 * PAGE_BYTES, true);
	cr_assert_eq(driver_used(&d, REPORT), 0);
}

Test(balloon, reporting_when_not_negotiated_does_nothing)
{
	driver_start(&d, F_STATS);
	driver_send(&d, REPORT, VICTIM, 4 * PAGE_BYTES, true);
	cr_assert_eq(b->count.reported, 0);
	cr_assert_eq(resident(VICTIM, 4), 4);
}

/* ---- statistics ---- */

static void send_stat(uint16_t tag, uint64_t value)
{
	uint8_t stat[10];

	memcpy(stat, &tag, 2);
	memcpy(stat + 2, &value, 8);
	driver_write(&d, DRIVER_DATA, stat, sizeof(stat));
	driver_send(&d, STATS, DRIVER_DATA, sizeof(stat), false);
}

Test(balloon, statistics_lie_in_the_queue_until_somebody_asks)
{
	send_stat(4, 1000);
	cr_assert_eq(driver_used(&d, STATS), 0);
	balloon_ask(b);
	cr_assert_eq(driver_used(&d, STATS), 1);
	cr_assert_eq(b->stats.updates, 0);
	send_stat(4, 2000);
	cr_assert_eq(b->stats.updates, 1);
	cr_assert_eq(b->stats.value[4], 2000);
	cr_assert_eq(b->stats.known, 1u << 4);
	send_stat(4, 3000);
	cr_assert_eq(driver_used(&d, STATS), 2);
	cr_assert_eq(b->st.virtio.last_avail[STATS],
		     b->st.virtio.next_used[STATS]);
}

Test(balloon, statistics_of_unknown_tags_and_cut_off_are_ignored)
{
	uint8_t all[2 * 10 * BALLOON_STATS + 7];

	memset(all, 0xff, sizeof(all));
	driver_write(&d, DRIVER_DATA, all, sizeof(all));
	balloon_ask(b);
	driver_send(&d, STATS, DRIVER_DATA, sizeof(all), false);
	driver_send(&d, STATS, DRIVER_DATA, 9, false);
	cr_assert_eq(b->stats.known, 0);
	cr_assert_eq(b->stats.updates, 1);
	cr_assert_not(driver_broken(&d));
}

/* ---- configuration ---- */

Test(balloon, target_is_told_and_survives_the_drivers_reset)
{
	uint32_t generation = driver_get(&d, VIRTIO_CONFIG_GENERATION);

	balloon_set_target(b, 99);
	cr_assert_eq(driver_get(&d, VIRTIO_CONFIG), 99);
	cr_assert_neq(driver_get(&d, VIRTIO_CONFIG_GENERATION), generation);
	cr_assert(driver_get(&d, VIRTIO_INTERRUPT_STATUS) & VIRTIO_INT_CONFIG);
	driver_set(&d, VIRTIO_STATUS, 0);
	cr_assert_eq(driver_get(&d, VIRTIO_CONFIG), 99);
	balloon_set_target(b, UINT32_MAX);
	cr_assert_eq(driver_get(&d, VIRTIO_CONFIG), PAGES);
}

Test(balloon, driver_writes_actual_and_nothing_else)
{
	driver_set(&d, VIRTIO_CONFIG, 5);
	driver_set(&d, VIRTIO_CONFIG + 2, 0x1234);
	driver_set(&d, VIRTIO_CONFIG + 8, 5);
	cr_assert_eq(b->virtio.counters.refused, 3);
	driver_set(&d, VIRTIO_CONFIG + 4, 0x12345678);
	cr_assert_eq(b->st.actual, 0x12345678);
	cr_assert_eq(b->st.num_pages, 0);
	cr_assert_eq(driver_get(&d, VIRTIO_CONFIG + 4), 0x12345678);
}

Test(balloon, restored_target_beyond_ram_is_refused)
{
	b->st.num_pages = PAGES;
	cr_assert_eq(virtio_restored(&b->virtio.dev), 0);
	cr_assert_eq(b->target, PAGES);
	b->target = 3;
	b->st.num_pages = PAGES + 1;
	cr_assert_eq(virtio_restored(&b->virtio.dev), -EINVAL);
	cr_assert_eq(b->st.num_pages, 3);
}
