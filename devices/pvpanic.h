/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvpanic (QEMU docs/specs/pvpanic): one port that says which events it knows,
 * and takes the guest's word that its kernel panicked. It has no state.
 *
 * Owner: any vCPU thread, through the bus.
 */
#ifndef TINTYPE_PVPANIC_H
#define TINTYPE_PVPANIC_H

#include "device.h"
#include "guest_event.h"

#define PVPANIC_PANICKED 0x01

struct pvpanic {
	struct device dev;
	struct guest_events *events;
};

void pvpanic_init(struct pvpanic *p, const char *name,
		  struct guest_events *events);

#endif
