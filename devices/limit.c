/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits: a leaky bucket, kept as the time when it is empty again. */
#include "limit.h"

#include "util.h"

uint64_t limit_wait_ns(const struct limit *l, uint64_t now_ns)
{
	return l->rate && l->ready_ns > now_ns ? l->ready_ns - now_ns : 0;
}

void limit_charge(struct limit *l, uint64_t units, uint64_t now_ns)
{
	uint64_t earliest = now_ns - MIN(now_ns, LIMIT_BURST_NS);
	unsigned __int128 ready;

	if (!l->rate)
		return;
	ready = (unsigned __int128)units * UINT64_C(1000000000) / l->rate +
		MAX(l->ready_ns, earliest);
	l->ready_ns = (uint64_t)MIN(ready, now_ns + LIMIT_MAX_NS);
}
