/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio transport, its queues and one device (ring.h) under a hostile
 * driver: any register writes, any bytes in RAM, kicks at any time. Each input
 * is a list of steps of eight bytes. Asserted after each that is not marked
 * IN_FLIGHT: the state, once nothing is on its way, is one that a snapshot may
 * hold.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "log.h"
#include "ring.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_BYTES KIB(64)
#define BASE	  0xd0000000
/* Where steps of kind SET_UP put the rings of queue `q`. */
#define DESC(q)	 (0x1000 + (q)*0x1000)
#define AVAIL(q) (DESC(q) + 0x800)
#define USED(q)	 (DESC(q) + 0xc00)
#define ENTRIES	 128 /* at most, in these */

enum step_kind {
	REGISTER,
	MEMORY,
	DESCRIPTOR,
	OFFER,
	KICK,
	SET_UP,
	PAUSE,
	HOST
};

#define IN_FLIGHT 0x80 /* of a step's kind: leave on its way what is */

struct step {
	uint8_t kind, a;
	uint16_t b;
	uint32_t c;
};

static struct loop loop;
static struct gmem ram;
static struct bus bus;
static struct virtio *fuzzed, *judge;

static struct virtio *make(const char *name)
{
	struct virtio_config c = { .name = name, .ram = &ram, .kick_fd = -1 };
	struct virtio *v;

	irq_init(&c.irq, -1, 0);
	v = ring_make(&c, &loop);
	if (!v)
		abort();
	return v;
}

/* As the machine calls them. */
static void quiesce(void)
{
	_locked_(&fuzzed->dev.lock);
	int r = virtio_quiesce(&fuzzed->dev);

	assert(r == 0);
}

static void resume(void)
{
	_locked_(&fuzzed->dev.lock);

	virtio_resume(&fuzzed->dev);
}

static void reset(void)
{
	_locked_(&fuzzed->dev.lock);

	fuzzed->dev.ops->reset(&fuzzed->dev);
}

static void begin(void)
{
	struct gmem_region region = { 0, RAM_BYTES, 0 };

	if (!fuzzed) {
		log_setup(2, LOG_ERROR);
		if (loop_init(&loop) || gmem_init(&ram, &region, 1))
			abort();
		fuzzed = make("fuzzed");
		judge = make("judge");
		bus_init(&bus, "mmio");
		if (bus_add(&bus, BASE, 0x1000, &fuzzed->dev))
			abort();
	}
	quiesce();
	reset();
	resume();
	ring_fresh(fuzzed);
	if (gmem_fill(&ram, GPA(0), 0, RAM_BYTES))
		abort();
}

static void set(unsigned reg, uint32_t value)
{
	bus_write(&bus, BASE + reg, &value, 4);
}

static void set_up_queue(unsigned q, unsigned size)
{
	set(VIRTIO_QUEUE_SEL, q);
	set(VIRTIO_QUEUE_NUM, size);
	set(VIRTIO_QUEUE_DESC_LOW, DESC(q));
	set(VIRTIO_QUEUE_DRIVER_LOW, AVAIL(q));
	set(VIRTIO_QUEUE_DEVICE_LOW, USED(q));
	set(VIRTIO_QUEUE_READY, 1);
}

static void set_up(uint8_t size, uint16_t features, uint32_t more)
{
	const uint32_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;

	set(VIRTIO_STATUS, 0);
	set(VIRTIO_STATUS, status);
	set(VIRTIO_DRIVER_FEATURES_SEL, 0);
	set(VIRTIO_DRIVER_FEATURES, (more & (uint32_t)fuzzed->features) |
					(uint32_t)(features & 3) << 28);
	set(VIRTIO_DRIVER_FEATURES_SEL, 1);
	set(VIRTIO_DRIVER_FEATURES, 1);
	set(VIRTIO_STATUS, status | VIRTIO_FEATURES_OK);
	for (unsigned q = 0; q < fuzzed->class->nqueues; q++)
		set_up_queue(q, 1u << (size & 7));
	set(VIRTIO_STATUS, status | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

static void put(uint64_t at, const void *bytes, size_t len)
{
	int err = gmem_write(&ram, GPA(at), bytes, len);

	assert(err == 0 || err == -EFAULT);
}

static unsigned queue(uint8_t from)
{
	return from % fuzzed->class->nqueues;
}

static void put_descriptor(const struct step *s)
{
	struct vring_desc d = {
		.addr = s->c & 0xffffff,
		.len = s->b & 0xfff,
		.flags = s->b >> 12 & 7,
		.next = s->c >> 24,
	};

	put(DESC(queue(s->kind >> 4 & 7)) + (s->a & (ENTRIES - 1)) * sizeof(d),
	    &d, sizeof(d));
}

static void offer(const struct step *s)
{
	unsigned q = queue(s->kind >> 4 & 7);
	uint16_t idx = 0, size = fuzzed->st->size[q];

	if (gmem_read(&ram, GPA(AVAIL(q) + 2), &idx, 2) || !size)
		return;
	put(AVAIL(q) + 4 + 2 * (idx % size), &s->b, 2);
	idx = (uint16_t)(idx + 1 + s->a);
	put(AVAIL(q) + 2, &idx, 2);
}

static void *state_of(struct virtio *v)
{
	return v->dev.st;
}

static void pause_and_resume(void)
{
	size_t size = fuzzed->dev.ops->state->size;
	void *before = malloc(size);

	assert(before);
	quiesce();
	memcpy(before, state_of(fuzzed), size);
	for (unsigned q = 0; q < fuzzed->class->nqueues; q++)
		set(VIRTIO_QUEUE_NOTIFY, q);
	assert(!memcmp(before, state_of(fuzzed), size));
	resume();
	free(before);
}

static void take(const struct step *s)
{
	uint32_t value = s->c;

	switch ((enum step_kind)(s->kind & 7)) {
	case REGISTER:
		if (s->a & 1)
			bus_read(&bus, BASE + (s->b & 0xfff), &value, 4);
		else
			set(s->b & 0xfff, value);
		break;
	case MEMORY:
		put(s->b, &value, 4);
		break;
	case DESCRIPTOR:
		put_descriptor(s);
		break;
	case OFFER:
		offer(s);
		break;
	case KICK:
		set(VIRTIO_QUEUE_NOTIFY, queue(s->kind >> 4 & 7));
		break;
	case SET_UP:
		set_up(s->a, s->b, s->c);
		break;
	case PAUSE:
		pause_and_resume();
		break;
	case HOST: {
		_locked_(&fuzzed->dev.lock);

		ring_host(fuzzed, s->a, s->b, s->c);
		break;
	}
	}
}

/* What we are is what another one may be made from, once nothing is on its
 * way. */
static void check(void)
{
	size_t size = fuzzed->dev.ops->state->size;

	quiesce();
	memcpy(state_of(judge), state_of(fuzzed), size);
	assert(judge->dev.ops->restored(&judge->dev) == 0);
	assert(!memcmp(state_of(judge), state_of(fuzzed), size));
	resume();
	/* A broken device waits for its reset, and has told so once. */
	if (fuzzed->st->status & VIRTIO_NEEDS_RESET)
		assert(fuzzed->counters.broken);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	for (; size >= sizeof(struct step); size -= sizeof(struct step)) {
		struct step s;

		memcpy(&s, data, sizeof(s));
		data += sizeof(s);
		take(&s);
		if (!(s.kind & IN_FLIGHT))
			check();
	}
	return 0;
}
