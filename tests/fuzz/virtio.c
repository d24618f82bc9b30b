/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio transport, its queues and virtio-rng under a hostile driver: any
 * register writes, any bytes in RAM, kicks at any time. Each input is a list of
 * steps of eight bytes. Asserted after each: the state is one that a snapshot
 * may hold.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bus.h"
#include "log.h"
#include "rng.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_BYTES KIB(64)
#define BASE	  0xd0000000
/* Where steps of kind SET_UP put the rings. */
#define DESC  0x1000
#define AVAIL 0x2000
#define USED  0x3000

enum step_kind { REGISTER, MEMORY, DESCRIPTOR, OFFER, KICK, SET_UP, PAUSE };

struct step {
	uint8_t kind, a;
	uint16_t b;
	uint32_t c;
};

static struct loop loop;
static struct gmem ram;
static struct bus bus;
static struct rng rng, judge;
static int source = -1;

static void make(struct rng *r, const char *name)
{
	struct rng_config c = {
		.virtio = { .name = name, .ram = &ram, .kick_fd = -1 },
		.source_fd = source,
		.loop = &loop,
	};

	irq_init(&c.virtio.irq, -1, 0);
	if (rng_init(r, &c))
		abort();
}

static void begin(void)
{
	struct gmem_region region = { 0, RAM_BYTES, 0 };

	if (source >= 0) {
		virtio_reset(&rng.virtio.dev);
		rng.bytes_left = RNG_PERIOD_BYTES;
		rng.virtio.quiet = false;
		if (gmem_fill(&ram, GPA(0), 0, RAM_BYTES))
			abort();
		return;
	}
	log_setup(2, LOG_ERROR);
	source = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	if (source < 0 || loop_init(&loop) || gmem_init(&ram, &region, 1))
		abort();
	make(&rng, "rng0");
	make(&judge, "judge");
	bus_init(&bus, "mmio");
	if (bus_add(&bus, BASE, 0x1000, &rng.virtio.dev))
		abort();
}

static void set(unsigned reg, uint32_t value)
{
	bus_write(&bus, BASE + reg, &value, 4);
}

static void set_up(uint8_t features)
{
	set(VIRTIO_STATUS, 0);
	set(VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	set(VIRTIO_DRIVER_FEATURES_SEL, 0);
	set(VIRTIO_DRIVER_FEATURES, (uint32_t)(features & 3) << 28);
	set(VIRTIO_DRIVER_FEATURES_SEL, 1);
	set(VIRTIO_DRIVER_FEATURES, 1);
	set(VIRTIO_STATUS,
	    VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	set(VIRTIO_QUEUE_SEL, 0);
	set(VIRTIO_QUEUE_NUM, 1u << (features >> 2 & 7));
	set(VIRTIO_QUEUE_DESC_LOW, DESC);
	set(VIRTIO_QUEUE_DRIVER_LOW, AVAIL);
	set(VIRTIO_QUEUE_DEVICE_LOW, USED);
	set(VIRTIO_QUEUE_READY, 1);
	set(VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER |
			       VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

static void put(uint64_t at, const void *bytes, size_t len)
{
	int err = gmem_write(&ram, GPA(at), bytes, len);

	assert(err == 0 || err == -EFAULT);
}

static void put_descriptor(const struct step *s)
{
	struct vring_desc d = {
		.addr = s->c & 0xffffff,
		.len = s->b & 0xfff,
		.flags = s->b >> 12 & 7,
		.next = s->c >> 24,
	};

	put(DESC + (s->a & 63) * sizeof(d), &d, sizeof(d));
}

static void offer(const struct step *s)
{
	uint16_t idx = 0, size = rng.st.virtio.size[0];

	if (gmem_read(&ram, GPA(AVAIL + 2), &idx, 2) || !size)
		return;
	put(AVAIL + 4 + 2 * (idx % size), &s->b, 2);
	idx = (uint16_t)(idx + 1 + s->a);
	put(AVAIL + 2, &idx, 2);
}

static void pause_and_resume(void)
{
	struct rng_state before;

	assert(virtio_quiesce(&rng.virtio.dev) == 0);
	before = rng.st;
	set(VIRTIO_QUEUE_NOTIFY, 0);
	assert(!memcmp(&before, &rng.st, sizeof(before)));
	virtio_resume(&rng.virtio.dev);
}

static void take(const struct step *s)
{
	uint32_t value = s->c;

	switch ((enum step_kind)(s->kind % (PAUSE + 1))) {
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
		set(VIRTIO_QUEUE_NOTIFY, 0);
		break;
	case SET_UP:
		set_up(s->a);
		break;
	case PAUSE:
		pause_and_resume();
		break;
	}
}

/* What we are is what another one may be made from. */
static void check(void)
{
	judge.st = rng.st;
	assert(virtio_restored(&judge.virtio.dev) == 0);
	assert(!memcmp(&judge.st, &rng.st, sizeof(judge.st)));
	/* A broken device waits for its reset, and has told so once. */
	if (rng.st.virtio.status & VIRTIO_NEEDS_RESET)
		assert(rng.virtio.counters.broken);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	for (; size >= sizeof(struct step); size -= sizeof(struct step)) {
		struct step s;

		memcpy(&s, data, sizeof(s));
		data += sizeof(s);
		take(&s);
		check();
	}
	return 0;
}
