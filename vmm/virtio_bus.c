/* SPDX-License-Identifier: Apache-2.0 */
/* Windows, lines and eventfds of virtio devices. */
#include "virtio_bus.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kvm.h"
#include "platform.h"
#include "util.h"

_Static_assert(PLATFORM_VIRTIO_GSI + ACPI_MAX_VIRTIO <= PLATFORM_GSI_END,
	       "a line for each");

void virtio_bus_init(struct virtio_bus *b, int vm_fd, struct loop *loop,
		     struct bus *mmio)
{
	*b = (struct virtio_bus){ .vm_fd = vm_fd, .loop = loop, .mmio = mmio };
}

void virtio_bus_fini(struct virtio_bus *b)
{
	for (unsigned i = 0; i < b->nslots; i++) {
		loop_del(b->loop, &b->slot[i].kick);
		close(b->slot[i].kick_fd);
	}
	b->nslots = 0;
}

static uint64_t window(unsigned slot)
{
	return PLATFORM_VIRTIO_MMIO + (uint64_t)slot * PLATFORM_VIRTIO_BYTES;
}

static void on_kick(struct loop_source *source, uint32_t events)
{
	struct virtio_slot *s = container_of(source, struct virtio_slot, kick);

	pthread_mutex_lock(&s->v->dev.lock);
	virtio_kicked(s->v);
	pthread_mutex_unlock(&s->v->dev.lock);
}

int virtio_bus_next(struct virtio_bus *b, struct virtio_config *c)
{
	struct virtio_slot *s;

	if (b->nslots == ACPI_MAX_VIRTIO)
		return -ENOSPC;
	s = &b->slot[b->nslots];
	s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->kick_fd < 0)
		return -errno;
	c->kick_fd = s->kick_fd;
	irq_init(&c->irq, b->vm_fd, PLATFORM_VIRTIO_GSI + b->nslots);
	b->nslots++;
	return 0;
}

int virtio_bus_add(struct virtio_bus *b, struct virtio *v)
{
	unsigned i = b->nslots - 1;
	struct virtio_slot *s = &b->slot[i];
	int r;

	s->v = v;
	s->kick = (struct loop_source){
		.fd = s->kick_fd,
		.ready = on_kick,
		/* By edge: each kick is an event, and nobody reads it. */
		.events = EPOLLIN | EPOLLET,
	};
	r = bus_add(b->mmio, window(i), PLATFORM_VIRTIO_BYTES, &v->dev);
	if (r == 0)
		r = kvm_ioeventfd(b->vm_fd, window(i) + VIRTIO_QUEUE_NOTIFY,
				  s->kick_fd);
	return r < 0 ? r : loop_add(b->loop, &s->kick);
}

unsigned virtio_bus_windows(const struct virtio_bus *b,
			    struct acpi_virtio out[ACPI_MAX_VIRTIO])
{
	for (unsigned i = 0; i < b->nslots; i++)
		out[i] = (struct acpi_virtio){
			.base = window(i),
			.gsi = PLATFORM_VIRTIO_GSI + i,
		};
	return b->nslots;
}
