/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The power block, PLATFORM_POWER_PORT: ACPI's hardware-reduced sleep and reset
 * registers (ACPI 6.4, 4.8.3.6 and 4.8.3.7), the event register that the GED's
 * _EVT method reads, and the port where a guest says that it is ready.
 *
 * Owner: registers by any vCPU thread through the bus; power_button and
 * power_notify_vmgenid from any thread that does not hold dev.lock.
 */
#ifndef TINTYPE_POWER_H
#define TINTYPE_POWER_H

#include "device.h"
#include "guest_event.h"
#include "irq.h"

struct power_state {
	uint32_t pending; /* PLATFORM_EVENT_*, until the guest reads them */
};

struct power {
	struct device dev;
	struct power_state st;
	struct irq irq;
	struct guest_events *events;
	uint64_t refused_sleeps; /* states other than S5 */
};

/* `irq` is the GED's, edge. */
void power_init(struct power *p, const char *name, struct irq irq,
		struct guest_events *events);

/* The event becomes pending and the GED's interrupt is pulsed, also when it is
 * pending already: an edge that came before the guest listened is lost. */
void power_button(struct power *p);

/* Pulses the interrupt again for a press that the guest has not read; false
 * when there is none. */
bool power_button_again(struct power *p);

void power_notify_vmgenid(struct power *p);

#endif
