/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMClock (Linux, include/uapi/linux/vmclock-abi.h): a page of guest RAM, at
 * PLATFORM_VMCLOCK, that programs in the guest may map. It tells them by two
 * numbers that change that the counter they measure time by has jumped, and
 * that they live on from a snapshot. It offers no clock of its own (counter
 * "invalid"), as we calibrate none.
 *
 * It has no registers. Reading costs no exit; nobody is interrupted: vmgenid
 * does that.
 *
 * Owner: the machine's thread, while no vCPU runs.
 */
#ifndef TINTYPE_VMCLOCK_H
#define TINTYPE_VMCLOCK_H

#include "device.h"
#include "gmem.h"

struct vmclock_state {
	uint64_t sequence; /* even; by two more with each change */
	uint64_t disruptions, generation;
};

struct vmclock {
	struct device dev;
	struct vmclock_state st;
	struct gmem *ram;
};

/* Writes the page. `ram` outlives it. */
void vmclock_init(struct vmclock *c, const char *name, struct gmem *ram);

/* The VM goes on from a snapshot: before its first instruction. */
void vmclock_disrupt(struct vmclock *c);

#endif
