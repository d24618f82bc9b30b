/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LAPIC's timer: mode=0 periodic, 1 one-shot, 2 TSC deadline; rounds=N
 * ticks, with exits between them. No tick is lost, none comes early.
 */
#include "exact.h"

#define HZ    2000
#define EXITS 8 /* a tick */

int guest_main(void)
{
	uint64_t rounds = exact_number("rounds", 60), period, start, seen;
	enum timer_mode mode = (enum timer_mode)exact_number("mode", 0);
	uint64_t hash = 0;

	period = clock_tsc_khz() * 1000 / HZ;
	expect("timer", (uint64_t)timer_start(mode, HZ), 0);
	start = clock_tsc();
	for (uint64_t i = 0; i < rounds; i++) {
		seen = timer_ticks;
		for (unsigned j = 0; j < EXITS; j++)
			mark(i << 8 | j);
		irq_wait_change(&timer_ticks, seen);
		hash = fold(hash, i);
	}
	timer_stop();
	/* one less: the first may have begun before `start` */
	expect("ticks came early",
	       clock_tsc() - start < (rounds - 1) * period / 2, 0);
	return exact_end("timers", hash);
}
