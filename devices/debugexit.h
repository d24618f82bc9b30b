/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The debug-exit port, PLATFORM_EXIT_PORT: what a guest writes there ends the
 * VM, and its low byte is the exit code. It has no state and is never read.
 *
 * Owner: any vCPU thread, through the bus.
 */
#ifndef TINTYPE_DEBUGEXIT_H
#define TINTYPE_DEBUGEXIT_H

#include "device.h"
#include "guest_event.h"

struct debugexit {
	struct device dev;
	struct guest_events *events;
};

void debugexit_init(struct debugexit *x, const char *name,
		    struct guest_events *events);

#endif
