/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the machine share. Nobody else includes it.
 *
 * Owner: the I/O thread; vCPU threads raise events and use the buses.
 */
#ifndef TINTYPE_MACHINE_IMPL_H
#define TINTYPE_MACHINE_IMPL_H

#include "balloon.h"
#include "debugexit.h"
#include "gmem.h"
#include "i8042.h"
#include "machine.h"
#include "power.h"
#include "pvpanic.h"
#include "rtc.h"
#include "uart.h"
#include "vcpu.h"
#include "virtio_bus.h"
#include "vmclock.h"
#include "vmgenid.h"

#define MAX_DEVICES (8 + ACPI_MAX_VIRTIO)
#define NIRQCHIPS   3 /* two PICs and the IOAPIC */

struct machine {
	enum machine_state state;
	struct machine_config cfg;
	int vm_fd;
	struct gmem ram;
	struct bus pio, mmio;
	struct kvm_irqchip irqchip[NIRQCHIPS]; /* at power-on */
	struct vcpu_shared shared;
	struct vcpu *vcpu;
	unsigned nvcpus; /* made so far */
	const struct boot_source *src;
	uint64_t resets;

	struct guest_events events;
	_Atomic uint32_t pending; /* one bit an event */
	_Atomic uint32_t value[32];
	struct loop_task told;

	struct device *device[MAX_DEVICES];
	unsigned ndevices;
	struct uart uart;
	struct power power;
	struct pvpanic pvpanic;
	struct debugexit debugexit;
	struct i8042 i8042;
	struct rtc rtc;
	struct vmclock vmclock;
	struct vmgenid vmgenid;
	struct virtio_bus virtio;
	struct balloon *balloon; /* NULL: none */
};

/* Makes all devices and puts them on their buses. 0 or -errno; those that were
 * made so far are for machine_devices_destroy then, which also closes what the
 * configuration gave and no device took. */
int machine_devices_create(struct machine *m);
void machine_devices_destroy(struct machine *m);
/* The machine goes on elsewhere, or later: devices that tell the guest do so.
 * `vmgenid`: its new identity; NULL: the old one. */
void machine_devices_moved(struct machine *m, const uint8_t *vmgenid);
/* Something that the guest did, and that stops it, is still to be told. */
bool machine_event_waits(const struct machine *m);
/* NEW or QUIESCED becomes QUIESCED. */
void machine_quiesced(struct machine *m);
/* Only that. */
void machine_devices_close(const struct machine_config *c);

#endif
