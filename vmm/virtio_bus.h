/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where virtio devices are plugged in: each gets a window on the MMIO bus, an
 * interrupt line, and an eventfd that KVM signals when the driver kicks it.
 *
 * Owner: the I/O thread, before the guest runs and at the end.
 */
#ifndef TINTYPE_VIRTIO_BUS_H
#define TINTYPE_VIRTIO_BUS_H

#include "acpi.h"
#include "bus.h"
#include "loop.h"
#include "virtio.h"

struct virtio_slot {
	struct virtio *v; /* NULL: only its config was given out */
	int kick_fd;
	struct loop_source kick;
};

struct virtio_bus {
	int vm_fd;
	struct loop *loop;
	struct bus *mmio;
	struct virtio_slot slot[ACPI_MAX_VIRTIO];
	unsigned nslots;
};

void virtio_bus_init(struct virtio_bus *b, int vm_fd, struct loop *loop,
		     struct bus *mmio);
/* The devices are gone, or not used any more. */
void virtio_bus_fini(struct virtio_bus *b);

/* Irq and eventfd of the next window, for the device that is to be added there.
 * 0 or -errno. */
int virtio_bus_next(struct virtio_bus *b, struct virtio_config *c);
/* Plugs the device in that was made with that config. */
int virtio_bus_add(struct virtio_bus *b, struct virtio *v);

/* For the ACPI tables. */
unsigned virtio_bus_windows(const struct virtio_bus *b,
			    struct acpi_virtio window[ACPI_MAX_VIRTIO]);

#endif
