/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port 0x64 of a PC without keyboard controller: only the command that pulses
 * the CPU's reset line works, since kernels reboot by it. It has no state.
 *
 * Owner: any vCPU thread, through the bus.
 */
#ifndef TINTYPE_I8042_H
#define TINTYPE_I8042_H

#include "device.h"
#include "guest_event.h"

struct i8042 {
	struct device dev;
	struct guest_events *events;
};

void i8042_init(struct i8042 *k, const char *name, struct guest_events *events);

#endif
