/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM Generation ID (Microsoft, "Virtual Machine Generation ID", 2012): 16
 * random bytes in guest RAM at PLATFORM_VMGENID that change when the VM's past
 * is used a second time; ACPI tells the guest where, the GED tells it when.
 *
 * It has no registers. A reset of the machine writes the same id again, since
 * RAM was cleared; only vmgenid_set changes it.
 *
 * Owner: the machine's thread, while no vCPU runs; or any, for vmgenid_set.
 */
#ifndef TINTYPE_VMGENID_H
#define TINTYPE_VMGENID_H

#include "device.h"
#include "gmem.h"
#include "power.h"

#define VMGENID_BYTES 16

struct vmgenid_state {
	uint8_t id[VMGENID_BYTES]; /* what the guest has in RAM */
};

struct vmgenid {
	struct device dev;
	struct vmgenid_state st;
	uint8_t id[VMGENID_BYTES]; /* the one that a reset writes again */
	struct gmem *ram;
	struct power *power;
};

/* Writes `id` to guest RAM. `ram` and `power` outlive it. */
void vmgenid_init(struct vmgenid *g, const char *name, struct gmem *ram,
		  struct power *power, const uint8_t id[VMGENID_BYTES]);

/* A new id, in RAM before the guest is notified. */
void vmgenid_set(struct vmgenid *g, const uint8_t id[VMGENID_BYTES]);

#endif
