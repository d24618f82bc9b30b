/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver's side of one virtio device, for unit tests: RAM, a window, and
 * rings at fixed places, written as a driver does, a well behaved or a hostile
 * one. Where a step must succeed, it is asserted.
 */
#ifndef TINTYPE_TEST_DRIVER_H
#define TINTYPE_TEST_DRIVER_H

#include "bus.h"
#include "util.h"
#include "virtio.h"

#define DRIVER_RAM  MIB(8)
#define DRIVER_SIZE 16 /* entries of each queue */
/* Free for buffers, up to DRIVER_RAM. */
#define DRIVER_DATA MIB(1)

struct driver {
	struct gmem ram;
	struct bus mmio;
	struct virtio *v;
	uint16_t offered[VIRTIO_MAX_QUEUES];
};

/* RAM, and what a device is made with. */
void driver_init(struct driver *d, struct virtio_config *c);
/* The device that was made. */
void driver_plug(struct driver *d, struct virtio *v);
/* Ends the device, too. */
void driver_fini(struct driver *d);

uint32_t driver_get(struct driver *d, unsigned reg);
void driver_set(struct driver *d, unsigned reg, uint32_t value);
/* From reset to DRIVER_OK, with `features` and VERSION_1, all queues ready. */
void driver_start(struct driver *d, uint64_t features);
void driver_write(struct driver *d, uint64_t at, const void *data, size_t len);
void driver_read(struct driver *d, uint64_t at, void *data, size_t len);

/* Descriptor `i` of queue `q`. */
void driver_desc(struct driver *d, unsigned q, unsigned i, uint64_t addr,
		 uint32_t len, uint16_t flags, uint16_t next);
/* Offers the chain that begins there, without a kick. */
void driver_offer(struct driver *d, unsigned q, uint16_t head);
void driver_kick(struct driver *d, unsigned q);
/* One buffer as descriptor 0, offered and kicked. */
void driver_send(struct driver *d, unsigned q, uint64_t addr, uint32_t len,
		 bool writable);
/* How many chains came back; the length in the i-th of these. */
uint16_t driver_used(struct driver *d, unsigned q);
uint32_t driver_used_len(struct driver *d, unsigned q, unsigned i);
bool driver_broken(struct driver *d);

#endif
