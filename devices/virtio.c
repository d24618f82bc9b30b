/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio-mmio transport: registers, device status, kicks, interrupts. */
#include "virtio.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fdio.h"
#include "util.h"

#define REG32(at, access, what)                                                \
	{                                                                      \
		at, 4, REG_4, access, what                                     \
	}

const struct reg virtio_regs[VIRTIO_NREGS] = {
	REG32(VIRTIO_MAGIC, REG_R, "magic value"),
	REG32(VIRTIO_VERSION, REG_R, "version"),
	REG32(VIRTIO_DEVICE_ID, REG_R, "device id"),
	REG32(VIRTIO_VENDOR_ID, REG_R, "vendor id"),
	REG32(VIRTIO_DEVICE_FEATURES, REG_R, "device features"),
	REG32(VIRTIO_DEVICE_FEATURES_SEL, REG_W, "device features select"),
	REG32(VIRTIO_DRIVER_FEATURES, REG_W, "driver features"),
	REG32(VIRTIO_DRIVER_FEATURES_SEL, REG_W, "driver features select"),
	REG32(VIRTIO_QUEUE_SEL, REG_W, "queue select"),
	REG32(VIRTIO_QUEUE_NUM_MAX, REG_R, "queue size max"),
	REG32(VIRTIO_QUEUE_NUM, REG_W, "queue size"),
	REG32(VIRTIO_QUEUE_READY, REG_RW, "queue ready"),
	REG32(VIRTIO_QUEUE_NOTIFY, REG_W, "queue notify"),
	REG32(VIRTIO_INTERRUPT_STATUS, REG_R, "interrupt status"),
	REG32(VIRTIO_INTERRUPT_ACK, REG_W, "interrupt acknowledge"),
	REG32(VIRTIO_STATUS, REG_RW, "status"),
	REG32(VIRTIO_QUEUE_DESC_LOW, REG_W, "queue descriptors low"),
	REG32(VIRTIO_QUEUE_DESC_HIGH, REG_W, "queue descriptors high"),
	REG32(VIRTIO_QUEUE_DRIVER_LOW, REG_W, "queue driver area low"),
	REG32(VIRTIO_QUEUE_DRIVER_HIGH, REG_W, "queue driver area high"),
	REG32(VIRTIO_QUEUE_DEVICE_LOW, REG_W, "queue device area low"),
	REG32(VIRTIO_QUEUE_DEVICE_HIGH, REG_W, "queue device area high"),
	REG32(VIRTIO_SHM_SEL, REG_W, "shared memory select"),
	REG32(VIRTIO_SHM_LEN_LOW, REG_R, "shared memory length low"),
	REG32(VIRTIO_SHM_LEN_HIGH, REG_R, "shared memory length high"),
	REG32(VIRTIO_SHM_BASE_LOW, REG_R, "shared memory base low"),
	REG32(VIRTIO_SHM_BASE_HIGH, REG_R, "shared memory base high"),
	REG32(VIRTIO_CONFIG_GENERATION, REG_R, "config generation"),
	{ VIRTIO_CONFIG, 0xf00, REG_1 | REG_2 | REG_4, REG_RW, "config" },
};

#define STATUS_BITS                                                            \
	(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK |               \
	 VIRTIO_FEATURES_OK | VIRTIO_NEEDS_RESET | VIRTIO_FAILED)
#define OWN_FEATURES                                                           \
	(VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1)
#define VENDOR_ID 0x74746e74 /* "tntt" */

static_assert(offsetof(struct virtio, dev) == 0, "virtio_of");

/* ---- what all parts need ---- */

static uint64_t offered(const struct virtio *v)
{
	return v->features | OWN_FEATURES;
}

bool virtio_has(const struct virtio *v, uint64_t feature)
{
	return v->st->driver_features & feature;
}

void virtio_raise(struct virtio *v, uint32_t bit)
{
	v->st->interrupt_status |= bit;
	v->counters.interrupts++;
	/* Always an edge: a driver that has read the status but not looked at
	 * the ring yet must come again. */
	irq_pulse(&v->irq);
}

int virtio_broken(struct virtio *v, const char *fmt, ...)
{
	char what[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	v->counters.broken++;
	log_guest(&v->mistakes, v->dev.name, "needs a reset: %s", what);
	/* virtio 1.2, 2.1.2: the driver is told, if it listens. */
	v->st->status |= VIRTIO_NEEDS_RESET;
	if (v->st->status & VIRTIO_DRIVER_OK)
		virtio_raise(v, VIRTIO_INT_CONFIG);
	return -EPROTO;
}

/* A write that the specification forbids: nothing happens, and it is counted.
 */
static void refuse(struct virtio *v, uint64_t off, uint64_t value,
		   const char *why)
{
	v->counters.refused++;
	log_guest(&v->mistakes, v->dev.name, "write 0x%llx at +0x%llx: %s",
		  (unsigned long long)value, (unsigned long long)off, why);
}

/* ---- kicks ---- */

bool virtio_is_live(const struct virtio *v)
{
	return (v->st->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) ==
	       VIRTIO_DRIVER_OK;
}

bool virtio_may_pop(const struct virtio *v)
{
	return !v->quiet && !v->resetting && virtio_is_live(v);
}

void virtio_kicked(struct virtio *v)
{
	if (v->quiet)
		return;
	v->counters.kicks++;
	for (unsigned i = 0; i < v->class->nqueues && virtio_may_pop(v); i++)
		if (v->q[i].desc)
			v->class->kick(v, i);
}

static void notify(struct virtio *v, uint64_t queue)
{
	uint64_t one = 1;

	if (queue >= v->class->nqueues) {
		refuse(v, VIRTIO_QUEUE_NOTIFY, queue, "no such queue");
		return;
	}
	/* Where KVM has the eventfd, this is never reached. */
	if (v->kick_fd < 0)
		virtio_kicked(v);
	else if (fd_write(v->kick_fd, &one, sizeof(one)) < 0)
		log_guest(&v->mistakes, v->dev.name, "wake: %s",
			  strerror(errno));
}

void virtio_config_changed(struct virtio *v)
{
	v->st->config_generation++;
	if (virtio_is_live(v))
		virtio_raise(v, VIRTIO_INT_CONFIG);
}

/* ---- reset ---- */

void virtio_reset(struct device *d)
{
	struct virtio *v = virtio_of(d);

	/* While it waits there, the status is what it was: no other vCPU can
	 * set up anything, and what one writes besides is lost here. */
	v->resetting++;
	if (v->class->reset)
		v->class->reset(v);
	v->resetting--;
	for (unsigned i = 0; i < v->class->nqueues; i++)
		virtq_unmap(&v->q[i]);
	memset(v->st, 0, d->ops->state->size);
	for (unsigned i = 0; i < v->class->nqueues; i++)
		v->st->size[i] = v->class->queue_max;
	if (v->class->fresh)
		v->class->fresh(v);
}

/* ---- writes ---- */

static bool good_features(const struct virtio *v)
{
	uint64_t f = v->st->driver_features;

	return !(f & ~offered(v)) && f & VIRTIO_F_VERSION_1;
}

static void write_status(struct virtio *v, uint64_t value)
{
	uint32_t old = v->st->status, new = (uint32_t)value &STATUS_BITS;

	if (value == 0) {
		virtio_reset(&v->dev);
		return;
	}
	/* Only a reset takes bits back; this one is the device's. */
	new &= ~(uint32_t)VIRTIO_NEEDS_RESET | old;
	if (old & ~new) {
		refuse(v, VIRTIO_STATUS, value, "takes status bits back");
		return;
	}
	if (new & ~old & VIRTIO_FEATURES_OK && !good_features(v)) {
		refuse(v, VIRTIO_STATUS, value, "features are not acceptable");
		new &= ~(uint32_t)VIRTIO_FEATURES_OK;
	}
	if (new & ~old & VIRTIO_DRIVER_OK && !(new &VIRTIO_FEATURES_OK)) {
		refuse(v, VIRTIO_STATUS, value, "DRIVER_OK before FEATURES_OK");
		new &= ~(uint32_t)VIRTIO_DRIVER_OK;
	}
	v->st->status = new;
}

static void write_features(struct virtio *v, uint64_t value)
{
	struct virtio_state *s = v->st;
	unsigned shift = 32 * s->driver_features_sel;

	if (s->status & VIRTIO_FEATURES_OK || !(s->status & VIRTIO_DRIVER)) {
		refuse(v, VIRTIO_DRIVER_FEATURES, value,
		       "features are not negotiated now");
		return;
	}
	if (s->driver_features_sel > 1) {
		if (value)
			refuse(v, VIRTIO_DRIVER_FEATURES, value,
			       "no features there");
		return;
	}
	s->driver_features &= ~(UINT64_C(0xffffffff) << shift);
	s->driver_features |= value << shift;
}

/* May the driver set up the queue that it has selected? (virtio 1.2, 3.1.1:
 * between FEATURES_OK and DRIVER_OK; 4.2.2.2: not while it is ready.) */
static bool may_set_up(const struct virtio *v)
{
	const struct virtio_state *s = v->st;
	uint32_t phase = VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK;

	return s->queue_sel < v->class->nqueues &&
	       (s->status & phase) == VIRTIO_FEATURES_OK;
}

static void write_ready(struct virtio *v, unsigned i, uint64_t value)
{
	struct virtio_state *s = v->st;

	if (value != 1 || s->ready[i]) {
		refuse(v, VIRTIO_QUEUE_READY, value,
		       "a ready queue stays so until the reset");
		return;
	}
	if (virtq_map(&v->q[i])) {
		virtio_broken(v, "queue %u: rings outside RAM or misaligned",
			      i);
		return;
	}
	s->ready[i] = 1;
}

static void set_half(uint64_t *address, bool high, uint64_t value)
{
	unsigned shift = high ? 32 : 0;

	*address &= ~(UINT64_C(0xffffffff) << shift);
	*address |= value << shift;
}

static void write_size(struct virtio *v, unsigned i, uint64_t value)
{
	if (value == 0 || value > v->class->queue_max || value & (value - 1))
		refuse(v, VIRTIO_QUEUE_NUM, value, "no size of a queue");
	else
		v->st->size[i] = (uint16_t)value;
}

static void write_queue(struct virtio *v, uint64_t off, uint64_t value)
{
	unsigned i = v->st->queue_sel;

	if (!may_set_up(v)) {
		refuse(v, off, value, "queues are not set up now");
		return;
	}
	if (off == VIRTIO_QUEUE_READY) {
		write_ready(v, i, value);
		return;
	}
	if (v->st->ready[i]) {
		refuse(v, off, value, "the queue is ready");
		return;
	}
	switch (off) {
	case VIRTIO_QUEUE_NUM:
		write_size(v, i, value);
		break;
	case VIRTIO_QUEUE_DESC_LOW:
	case VIRTIO_QUEUE_DESC_HIGH:
		set_half(&v->st->desc[i], off == VIRTIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_QUEUE_DRIVER_LOW:
	case VIRTIO_QUEUE_DRIVER_HIGH:
		set_half(&v->st->avail[i], off == VIRTIO_QUEUE_DRIVER_HIGH,
			 value);
		break;
	case VIRTIO_QUEUE_DEVICE_LOW:
	case VIRTIO_QUEUE_DEVICE_HIGH:
		set_half(&v->st->used[i], off == VIRTIO_QUEUE_DEVICE_HIGH,
			 value);
		break;
	}
}

static void write_config(struct virtio *v, uint64_t off, unsigned len,
			 uint64_t value)
{
	if (!v->class->config_write ||
	    !range_within(off, len, v->class->config_bytes))
		refuse(v, VIRTIO_CONFIG + off, value, "no such configuration");
	else
		v->class->config_write(v, off, len, value);
}

void virtio_write(struct device *d, uint64_t off, unsigned len, uint64_t value)
{
	struct virtio *v = virtio_of(d);

	switch (off) {
	case VIRTIO_DEVICE_FEATURES_SEL:
		v->st->device_features_sel = (uint32_t)value;
		break;
	case VIRTIO_DRIVER_FEATURES_SEL:
		v->st->driver_features_sel = (uint32_t)value;
		break;
	case VIRTIO_DRIVER_FEATURES:
		write_features(v, value);
		break;
	case VIRTIO_QUEUE_SEL:
		v->st->queue_sel = (uint32_t)value;
		break;
	case VIRTIO_QUEUE_NOTIFY:
		notify(v, value);
		break;
	case VIRTIO_INTERRUPT_ACK:
		v->st->interrupt_status &= ~(uint32_t)value;
		break;
	case VIRTIO_STATUS:
		write_status(v, value);
		break;
	case VIRTIO_SHM_SEL:
		break; /* there is none, whichever is selected */
	default:
		if (off >= VIRTIO_CONFIG)
			write_config(v, off - VIRTIO_CONFIG, len, value);
		else
			write_queue(v, off, value);
	}
}

/* ---- reads ---- */

static uint64_t read_queue(const struct virtio *v, uint64_t off)
{
	unsigned i = v->st->queue_sel;

	if (i >= v->class->nqueues)
		return 0; /* "not available" */
	return off == VIRTIO_QUEUE_READY ? v->st->ready[i]
					 : v->class->queue_max;
}

static uint64_t read_config(struct virtio *v, uint64_t off, unsigned len)
{
	if (!v->class->config_read ||
	    !range_within(off, len, v->class->config_bytes))
		return 0;
	return v->class->config_read(v, off, len);
}

uint64_t virtio_read(struct device *d, uint64_t off, unsigned len)
{
	struct virtio *v = virtio_of(d);
	uint32_t sel = v->st->device_features_sel;

	switch (off) {
	case VIRTIO_MAGIC:
		return VIRTIO_MAGIC_VALUE;
	case VIRTIO_VERSION:
		return 2;
	case VIRTIO_DEVICE_ID:
		return v->class->id;
	case VIRTIO_VENDOR_ID:
		return VENDOR_ID;
	case VIRTIO_DEVICE_FEATURES:
		return sel > 1 ? 0 : offered(v) >> (32 * sel) & 0xffffffff;
	case VIRTIO_QUEUE_NUM_MAX:
	case VIRTIO_QUEUE_READY:
		return read_queue(v, off);
	case VIRTIO_INTERRUPT_STATUS:
		return v->st->interrupt_status;
	case VIRTIO_STATUS:
		return v->st->status;
	case VIRTIO_SHM_LEN_LOW:
	case VIRTIO_SHM_LEN_HIGH:
	case VIRTIO_SHM_BASE_LOW:
	case VIRTIO_SHM_BASE_HIGH:
		return 0xffffffff; /* no shared memory */
	case VIRTIO_CONFIG_GENERATION:
		return v->st->config_generation;
	}
	return off >= VIRTIO_CONFIG ? read_config(v, off - VIRTIO_CONFIG, len)
				    : 0;
}

/* ---- the machine ---- */

int virtio_quiesce(struct device *d)
{
	struct virtio *v = virtio_of(d);

	v->quiet = true;
	return v->class->drain ? v->class->drain(v) : 0;
}

void virtio_resume(struct device *d)
{
	struct virtio *v = virtio_of(d);
	uint64_t one = 1;

	v->quiet = false;
	if (v->class->resume)
		v->class->resume(v);
	/* A kick may have come meanwhile, or been in the eventfd when the state
	 * was saved: that is in no state, so every queue is looked at. */
	if (!virtio_is_live(v))
		return;
	if (v->kick_fd < 0)
		virtio_kicked(v);
	else if (fd_write(v->kick_fd, &one, sizeof(one)) < 0)
		log_error(v->dev.name, "wake: %s", strerror(errno));
}

/* By the rules that writes obey. */
static bool queue_fits(struct virtio *v, unsigned i)
{
	const struct virtio_state *s = v->st;
	uint16_t size = s->size[i];

	if (size == 0 || size > v->class->queue_max || size & (size - 1) ||
	    s->ready[i] > 1)
		return false;
	if (!s->ready[i])
		return true;
	return s->status & VIRTIO_FEATURES_OK &&
	       (uint16_t)(s->last_avail[i] - s->next_used[i]) <= size &&
	       virtq_map(&v->q[i]) == 0;
}

static bool unused_queue(const struct virtio_state *s, unsigned i)
{
	return !(s->desc[i] | s->avail[i] | s->used[i] | s->size[i] |
		 s->ready[i] | s->last_avail[i] | s->next_used[i] |
		 s->signalled[i]);
}

static bool state_fits(struct virtio *v)
{
	const struct virtio_state *s = v->st;

	if (s->status & ~(uint32_t)STATUS_BITS ||
	    s->interrupt_status &
		~(uint32_t)(VIRTIO_INT_USED | VIRTIO_INT_CONFIG))
		return false;
	if (s->status & VIRTIO_FEATURES_OK && !good_features(v))
		return false;
	if (s->status & VIRTIO_DRIVER_OK && !(s->status & VIRTIO_FEATURES_OK))
		return false;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		if (i < v->class->nqueues ? !queue_fits(v, i)
					  : !unused_queue(s, i))
			return false;
	return true;
}

int virtio_restored(struct device *d)
{
	struct virtio *v = virtio_of(d);

	for (unsigned i = 0; i < v->class->nqueues; i++)
		virtq_unmap(&v->q[i]);
	if (state_fits(v) && (!v->class->fits || v->class->fits(v)))
		return 0;
	virtio_reset(d);
	return -EINVAL;
}

void virtio_init(struct virtio *v, const struct device_ops *ops,
		 const struct virtio_class *class, void *st,
		 const struct virtio_config *c)
{
	*v = (struct virtio){
		.class = class,
		.features = class->features,
		.st = st,
		.ram = c->ram,
		.irq = c->irq,
		.kick_fd = c->kick_fd,
	};
	assert(class->nqueues <= VIRTIO_MAX_QUEUES &&
	       class->queue_max <= VIRTQ_MAX_SIZE);
	for (unsigned i = 0; i < class->nqueues; i++)
		v->q[i] = (struct virtq){ .v = v, .index = i };
	device_init(&v->dev, ops, c->name, st);
	virtio_reset(&v->dev);
}
