/* SPDX-License-Identifier: Apache-2.0 */
/* Ticks by each mode of the LAPIC's timer; exits with how many failed. */
#include "guest.h"

#define TICKS 5

static int run(const char *name, enum timer_mode mode)
{
	uint64_t seen = timer_ticks, end = seen + TICKS;

	if (timer_start(mode, 100)) {
		print("timer: %s: refused\n", name);
		return 1;
	}
	for (; seen < end; seen = timer_ticks)
		irq_wait_change(&timer_ticks, seen);
	timer_stop();
	print("timer: %s: %d ticks\n", name, TICKS);
	return 0;
}

int guest_main(void)
{
	return run("periodic", TIMER_PERIODIC) + run("oneshot", TIMER_ONESHOT) +
	       run("deadline", TIMER_DEADLINE);
}
