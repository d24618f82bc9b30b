/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio transport (virtio 1.2, 4.2) under all virtio devices. A
 * device has one of these, a class, and a state struct whose first part is
 * struct virtio_state.
 *
 * It refuses, and counts, what the specification forbids a driver: registers of
 * a queue that is ready or before FEATURES_OK or after DRIVER_OK, features
 * after FEATURES_OK, sizes that are no power of two or too large, status bits
 * taken back. Rings and addresses are judged when a queue is made ready.
 *
 * A kick comes through `kick_fd`, an eventfd that KVM signals (or the register,
 * from a vCPU's thread), to the I/O thread. Interrupts are edges.
 *
 * Owner: dev.lock, as for all devices.
 */
#ifndef TINTYPE_VIRTIO_H
#define TINTYPE_VIRTIO_H

#include "device.h"
#include "irq.h"
#include "log.h"
#include "loop.h"
#include "virtq.h"

#define VIRTIO_MAX_QUEUES 8

enum virtio_status {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

/* Features of every device (virtio 1.2, 6). */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX     (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1     (UINT64_C(1) << 32)

/* Registers (virtio 1.2, 4.2.2). */
enum virtio_reg {
	VIRTIO_MAGIC = 0x000,
	VIRTIO_VERSION = 0x004,
	VIRTIO_DEVICE_ID = 0x008,
	VIRTIO_VENDOR_ID = 0x00c,
	VIRTIO_DEVICE_FEATURES = 0x010,
	VIRTIO_DEVICE_FEATURES_SEL = 0x014,
	VIRTIO_DRIVER_FEATURES = 0x020,
	VIRTIO_DRIVER_FEATURES_SEL = 0x024,
	VIRTIO_QUEUE_SEL = 0x030,
	VIRTIO_QUEUE_NUM_MAX = 0x034,
	VIRTIO_QUEUE_NUM = 0x038,
	VIRTIO_QUEUE_READY = 0x044,
	VIRTIO_QUEUE_NOTIFY = 0x050,
	VIRTIO_INTERRUPT_STATUS = 0x060,
	VIRTIO_INTERRUPT_ACK = 0x064,
	VIRTIO_STATUS = 0x070,
	VIRTIO_QUEUE_DESC_LOW = 0x080,
	VIRTIO_QUEUE_DESC_HIGH = 0x084,
	VIRTIO_QUEUE_DRIVER_LOW = 0x090,
	VIRTIO_QUEUE_DRIVER_HIGH = 0x094,
	VIRTIO_QUEUE_DEVICE_LOW = 0x0a0,
	VIRTIO_QUEUE_DEVICE_HIGH = 0x0a4,
	VIRTIO_SHM_SEL = 0x0ac,
	VIRTIO_SHM_LEN_LOW = 0x0b0,
	VIRTIO_SHM_LEN_HIGH = 0x0b4,
	VIRTIO_SHM_BASE_LOW = 0x0b8,
	VIRTIO_SHM_BASE_HIGH = 0x0bc,
	VIRTIO_CONFIG_GENERATION = 0x0fc,
	VIRTIO_CONFIG = 0x100,
};
#define VIRTIO_MAGIC_VALUE 0x74726976 /* "virt" */
/* Bits of the interrupt status. */
enum { VIRTIO_INT_USED = 1, VIRTIO_INT_CONFIG = 2 };

/* What a driver can see of the transport; element i of an array is queue i's.
 */
struct virtio_state {
	uint64_t driver_features;
	uint64_t desc[VIRTIO_MAX_QUEUES];
	uint64_t avail[VIRTIO_MAX_QUEUES];
	uint64_t used[VIRTIO_MAX_QUEUES];
	uint32_t status;
	uint32_t interrupt_status;
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint32_t config_generation;
	uint16_t size[VIRTIO_MAX_QUEUES];
	uint16_t ready[VIRTIO_MAX_QUEUES];
	uint16_t last_avail[VIRTIO_MAX_QUEUES]; /* chains popped */
	uint16_t next_used[VIRTIO_MAX_QUEUES];	/* chains pushed */
	uint16_t signalled[VIRTIO_MAX_QUEUES];	/* next_used when we last
						 * thought of interrupting */
};

/* The rows of that struct, the first member `m` of the device's struct T. */
#define VIRTIO_STATE_ROWS(T, m)                                                \
	STATE(T, m.driver_features, 1), STATE_ARRAY(T, m.desc, 1),             \
	    STATE_ARRAY(T, m.avail, 1), STATE_ARRAY(T, m.used, 1),             \
	    STATE(T, m.status, 1), STATE(T, m.interrupt_status, 1),            \
	    STATE(T, m.device_features_sel, 1),                                \
	    STATE(T, m.driver_features_sel, 1), STATE(T, m.queue_sel, 1),      \
	    STATE(T, m.config_generation, 1), STATE_ARRAY(T, m.size, 1),       \
	    STATE_ARRAY(T, m.ready, 1), STATE_ARRAY(T, m.last_avail, 1),       \
	    STATE_ARRAY(T, m.next_used, 1), STATE_ARRAY(T, m.signalled, 1)

/* What makes a device of the transport. The lock is held in all of them. */
struct virtio_class {
	uint32_t id; /* virtio 1.2, 5 */
	unsigned nqueues;
	uint16_t queue_max;
	/* Beyond those that virtio.c offers itself; v->features, from here, is
	 * the device's own to shape while it is made. */
	uint64_t features;
	/* The driver has kicked the queue, or may have: pop until it is empty.
	 * The queue is ready, DRIVER_OK. I/O thread. */
	void (*kick)(struct virtio *v, unsigned queue);
	/* The driver, or the machine, resets it. The rings are still there;
	 * once this returns, nothing is on its way, because the buffers are
	 * the driver's again. It may wait, without the lock: nothing is popped
	 * then. A vCPU's thread, or the I/O thread. NULL: nothing ever is on
	 * its way. */
	void (*reset)(struct virtio *v);
	/* After a reset, the state all zero: what of it is the host's (a size,
	 * an address) is written again. NULL: nothing is. */
	void (*fresh)(struct virtio *v);
	/* Is the device's own part of a state just loaded one that writes could
	 * have made? Then the host's side follows it. NULL: any is. */
	bool (*fits)(struct virtio *v);
	/* Finishes what is on its way. NULL: never anything is. */
	int (*drain)(struct virtio *v);
	/* The machine runs again, whether the driver is there or not; kicks
	 * follow. NULL: nothing to do. */
	void (*resume)(struct virtio *v);
	/* Device configuration, `off` and `off + len` within config_bytes. */
	uint32_t config_bytes;
	uint64_t (*config_read)(struct virtio *v, uint64_t off, unsigned len);
	void (*config_write)(struct virtio *v, uint64_t off, unsigned len,
			     uint64_t value);
};

struct virtio_counters {
	uint64_t kicks, interrupts, chains;
	uint64_t broken;  /* times that the driver broke a queue */
	uint64_t refused; /* writes in the wrong state or of a wrong value */
};

/* The rows of these, of a device T whose first member is its virtio. */
#define VIRTIO_COUNTERS(T)                                                     \
	DEVICE_COUNTER(T, "kicks", virtio.counters.kicks),                     \
	    DEVICE_COUNTER(T, "interrupts", virtio.counters.interrupts),       \
	    DEVICE_COUNTER(T, "chains", virtio.counters.chains),               \
	    DEVICE_COUNTER(T, "broken", virtio.counters.broken),               \
	    DEVICE_COUNTER(T, "refused", virtio.counters.refused)

struct virtio {
	struct device dev;
	const struct virtio_class *class;
	struct virtio_state *st; /* the beginning of *dev.st */
	struct gmem *ram;
	struct irq irq;
	int kick_fd; /* -1: kicks are handled by who writes the register */
	struct virtq q[VIRTIO_MAX_QUEUES];
	uint64_t features; /* offered, see class */
	bool quiet;	   /* quiesced: nothing is popped; resume looks again */
	unsigned resetting; /* threads that wait in class->reset */
	struct virtio_counters counters;
	struct log_limit mistakes;
};

struct virtio_config {
	const char *name;
	struct gmem *ram; /* outlives the device */
	struct irq irq;
	int kick_fd; /* not owned */
};

/* `ops` is the device's own, made with VIRTIO_OPS; `st` begins with a
 * virtio_state. */
void virtio_init(struct virtio *v, const struct device_ops *ops,
		 const struct virtio_class *class, void *st,
		 const struct virtio_config *c);

/* A kick has come: pops the queues that are ready. I/O thread, lock held. */
void virtio_kicked(struct virtio *v);

/* The driver has broken a queue. Returns -EPROTO. */
int virtio_broken(struct virtio *v, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

void virtio_raise(struct virtio *v, uint32_t bit);
/* The host has changed the device's configuration: tells the driver. */
void virtio_config_changed(struct virtio *v);
/* The driver uses it, and has not broken it. */
bool virtio_is_live(const struct virtio *v);
/* And no reset or pause is going on: queues may be popped. */
bool virtio_may_pop(const struct virtio *v);
bool virtio_has(const struct virtio *v, uint64_t feature);

/* ---- the device contract, for VIRTIO_OPS ---- */

#define VIRTIO_NREGS 29
extern const struct reg virtio_regs[VIRTIO_NREGS];
uint64_t virtio_read(struct device *d, uint64_t off, unsigned len);
void virtio_write(struct device *d, uint64_t off, unsigned len, uint64_t value);
void virtio_reset(struct device *d);
int virtio_quiesce(struct device *d);
void virtio_resume(struct device *d);
int virtio_restored(struct device *d);

#define VIRTIO_OPS                                                             \
	.regs = virtio_regs, .nregs = VIRTIO_NREGS, .reset = virtio_reset,     \
	.read = virtio_read, .write = virtio_write, .quiesce = virtio_quiesce, \
	.resume = virtio_resume, .restored = virtio_restored

static inline struct virtio *virtio_of(struct device *d)
{
	return (struct virtio *)(void *)d; /* dev is its first member */
}

#endif
