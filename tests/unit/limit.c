/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits. */
#include <criterion/criterion.h>

#include "limit.h"

#define SECOND UINT64_C(1000000000)

/* How many of `units` pass in `ns`, by who comes as soon as he may. */
static unsigned passed(struct limit *l, uint64_t units, uint64_t ns)
{
	uint64_t now = 1000 * SECOND, end = now + ns, wait;
	unsigned n = 0;

	while (now < end) {
		wait = limit_wait_ns(l, now);
		if (!wait) {
			limit_charge(l, units, now);
			n++;
		}
		now += wait;
	}
	return n;
}

Test(limit, none_lets_all_pass)
{
	struct limit l = { 0 };

	limit_charge(&l, UINT64_MAX, 5);
	cr_assert_eq(limit_wait_ns(&l, 5), 0);
}

Test(limit, rate_holds_after_the_burst)
{
	struct limit l = { .rate = 1000 };

	/* A tenth of a second's worth at once, then one a millisecond. */
	cr_assert_eq(passed(&l, 1, 10 * SECOND), 10000 + 100);
}

Test(limit, what_was_saved_is_a_burst_and_no_more)
{
	struct limit l = { .rate = 1000 };
	unsigned n = 0;

	limit_charge(&l, 1, SECOND);
	while (!limit_wait_ns(&l, 3600 * SECOND) && ++n < 1000)
		limit_charge(&l, 1, 3600 * SECOND);
	cr_assert_eq(n, 101);
}

Test(limit, what_is_larger_than_the_burst_passes_and_is_paid_for)
{
	struct limit l = { .rate = 1000 };

	limit_charge(&l, 5000, 10 * SECOND);
	cr_assert_eq(limit_wait_ns(&l, 10 * SECOND),
		     5 * SECOND - LIMIT_BURST_NS);
	cr_assert_eq(limit_wait_ns(&l, 15 * SECOND), 0);
}

Test(limit, nobody_waits_longer_than_a_minute)
{
	struct limit l = { .rate = 1 };

	for (int i = 0; i < 3; i++)
		limit_charge(&l, UINT64_MAX, 7);
	cr_assert_eq(limit_wait_ns(&l, 7), LIMIT_MAX_NS);
	limit_charge(&l, 1, UINT64_C(0x7fffffffffffffff));
}
