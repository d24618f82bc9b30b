/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's side of a virtio device. */
#include "driver.h"

#include <criterion/criterion.h>

#define BASE	 0xd0000000
#define DESC(q)	 (0x10000 + (q)*0x4000u)
#define AVAIL(q) (DESC(q) + 0x1000)
#define USED(q)	 (DESC(q) + 0x2000)

void driver_init(struct driver *d, struct virtio_config *c)
{
	struct gmem_region region = { 0, DRIVER_RAM, 0 };

	log_setup(2, LOG_ERROR);
	*d = (struct driver){ 0 };
	cr_assert_eq(gmem_init(&d->ram, &region, 1), 0);
	*c = (struct virtio_config){ .name = "test0",
				     .ram = &d->ram,
				     .kick_fd = -1 };
	irq_init(&c->irq, -1, 0);
}

void driver_plug(struct driver *d, struct virtio *v)
{
	d->v = v;
	bus_init(&d->mmio, "mmio");
	cr_assert_eq(bus_add(&d->mmio, BASE, 0x1000, &v->dev), 0);
}

void driver_fini(struct driver *d)
{
	device_destroy(&d->v->dev);
	gmem_fini(&d->ram);
}

uint32_t driver_get(struct driver *d, unsigned reg)
{
	uint32_t value;

	bus_read(&d->mmio, BASE + reg, &value, 4);
	return value;
}

void driver_set(struct driver *d, unsigned reg, uint32_t value)
{
	bus_write(&d->mmio, BASE + reg, &value, 4);
}

static void set_up_queue(struct driver *d, unsigned q)
{
	const uint8_t zero[0x4000] = { 0 };

	driver_write(d, DESC(q), zero, sizeof(zero));
	d->offered[q] = 0;
	driver_set(d, VIRTIO_QUEUE_SEL, q);
	driver_set(d, VIRTIO_QUEUE_NUM, DRIVER_SIZE);
	driver_set(d, VIRTIO_QUEUE_DESC_LOW, DESC(q));
	driver_set(d, VIRTIO_QUEUE_DRIVER_LOW, AVAIL(q));
	driver_set(d, VIRTIO_QUEUE_DEVICE_LOW, USED(q));
	driver_set(d, VIRTIO_QUEUE_READY, 1);
}

void driver_start(struct driver *d, uint64_t features)
{
	const uint32_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;

	features |= VIRTIO_F_VERSION_1;
	driver_set(d, VIRTIO_STATUS, 0);
	driver_set(d, VIRTIO_STATUS, status);
	for (unsigned i = 0; i < 2; i++) {
		driver_set(d, VIRTIO_DRIVER_FEATURES_SEL, i);
		driver_set(d, VIRTIO_DRIVER_FEATURES,
			   (uint32_t)(features >> (32 * i)));
	}
	driver_set(d, VIRTIO_STATUS, status | VIRTIO_FEATURES_OK);
	for (unsigned q = 0; q < d->v->class->nqueues; q++)
		set_up_queue(d, q);
	driver_set(d, VIRTIO_STATUS,
		   status | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
	cr_assert(driver_get(d, VIRTIO_STATUS) & VIRTIO_DRIVER_OK);
}

void driver_write(struct driver *d, uint64_t at, const void *data, size_t len)
{
	cr_assert_eq(gmem_write(&d->ram, GPA(at), data, len), 0);
}

void driver_read(struct driver *d, uint64_t at, void *data, size_t len)
{
	cr_assert_eq(gmem_read(&d->ram, GPA(at), data, len), 0);
}

void driver_desc(struct driver *d, unsigned q, unsigned i, uint64_t addr,
		 uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc x = { addr, len, flags, next };

	driver_write(d, DESC(q) + i * sizeof(x), &x, sizeof(x));
}

void driver_offer(struct driver *d, unsigned q, uint16_t head)
{
	uint16_t idx = (uint16_t)(d->offered[q] + 1);

	driver_write(d, AVAIL(q) + 4 + 2 * (d->offered[q] % DRIVER_SIZE), &head,
		     2);
	driver_write(d, AVAIL(q) + 2, &idx, 2);
	d->offered[q] = idx;
}

void driver_kick(struct driver *d, unsigned q)
{
	driver_set(d, VIRTIO_QUEUE_NOTIFY, q);
}

void driver_send(struct driver *d, unsigned q, uint64_t addr, uint32_t len,
		 bool writable)
{
	driver_desc(d, q, 0, addr, len, writable ? VRING_DESC_WRITE : 0, 0);
	driver_offer(d, q, 0);
	driver_kick(d, q);
}

uint16_t driver_used(struct driver *d, unsigned q)
{
	uint16_t n;

	driver_read(d, USED(q) + 2, &n, 2);
	return n;
}

uint32_t driver_used_len(struct driver *d, unsigned q, unsigned i)
{
	uint32_t len;

	driver_read(d, USED(q) + 8 + 8 * (i % DRIVER_SIZE), &len, 4);
	return len;
}

bool driver_broken(struct driver *d)
{
	return driver_get(d, VIRTIO_STATUS) & VIRTIO_NEEDS_RESET;
}
