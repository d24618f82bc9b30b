/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rate limit: so many units (bytes, operations) a second, with a burst of a
 * tenth of a second. What is too large for the burst passes whole, and the next
 * waits the longer.
 *
 * It is host time, so no part of a device's state. Owner: whoever owns the
 * device.
 */
#ifndef TINTYPE_LIMIT_H
#define TINTYPE_LIMIT_H

#include <stdint.h>

#define LIMIT_BURST_NS UINT64_C(100000000)
#define LIMIT_MAX_NS   UINT64_C(60000000000) /* nobody waits longer */

struct limit {
	uint64_t rate;	   /* units a second; 0: no limit */
	uint64_t ready_ns; /* when the next may pass (CLOCK_MONOTONIC) */
};

/* How long the next must wait; 0: it may pass. */
uint64_t limit_wait_ns(const struct limit *l, uint64_t now_ns);

/* One of `units` has passed. */
void limit_charge(struct limit *l, uint64_t units, uint64_t now_ns);

#endif
