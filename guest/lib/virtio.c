/* SPDX-License-Identifier: Apache-2.0 */
/* Drivers' side of virtio-mmio and of split queues. */
#include "virtio.h"

#include "platform.h"

#define MAX_QUEUE 256

enum {
	MAGIC = 0x00,
	VERSION = 0x04,
	DEVICE_ID = 0x08,
	DEVICE_FEATURES = 0x10,
	DEVICE_FEATURES_SEL = 0x14,
	DRIVER_FEATURES = 0x20,
	DRIVER_FEATURES_SEL = 0x24,
	QUEUE_SEL = 0x30,
	QUEUE_NUM_MAX = 0x34,
	QUEUE_NUM = 0x38,
	QUEUE_READY = 0x44,
	QUEUE_NOTIFY = 0x50,
	INTERRUPT_STATUS = 0x60,
	INTERRUPT_ACK = 0x64,
	STATUS = 0x70,
	QUEUE_DESC = 0x80,
	QUEUE_DRIVER = 0x90,
	QUEUE_DEVICE = 0xa0,
};
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { DESC_NEXT = 1, DESC_WRITE = 2 };

/* One page a ring part, whatever the queue's size: simple, and aligned. */
struct virtio_ring {
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} desc[MAX_QUEUE];
	struct {
		uint16_t flags, idx, ring[MAX_QUEUE + 1]; /* used_event */
	} avail __attribute__((aligned(4096)));
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[MAX_QUEUE];
		uint16_t avail_event;
	} used __attribute__((aligned(4096)));
};

static uint16_t get16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void set16(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

uint32_t virtio_get(const struct virtio_dev *d, unsigned reg)
{
	return (uint32_t)mmio_read(d->base + reg, 4);
}

void virtio_set(const struct virtio_dev *d, unsigned reg, uint32_t v)
{
	mmio_write(d->base + reg, 4, v);
}

static const struct windows {
	uint64_t base;
	unsigned bytes, count, gsi;
} places[] = {
	{ PLATFORM_VIRTIO_MMIO, PLATFORM_VIRTIO_BYTES, 16,
	  PLATFORM_VIRTIO_GSI },
	{ 0xfeb00000, 512, 24, 24 }, /* QEMU's microvm, with two IOAPICs */
};

static bool find_in(const struct windows *w, uint32_t id, unsigned n,
		    struct virtio_dev *d)
{
	mem_map(w->base, (uint64_t)w->count * w->bytes);
	for (unsigned i = 0; i < w->count; i++) {
		*d = (struct virtio_dev){
			.base = w->base + (uint64_t)i * w->bytes,
			.gsi = w->gsi + i,
			.id = id,
		};
		if (virtio_get(d, MAGIC) != 0x74726976)
			return false;
		if (virtio_get(d, DEVICE_ID) == id && n-- == 0)
			return true;
	}
	return false;
}

bool virtio_find(uint32_t id, unsigned n, struct virtio_dev *d)
{
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (find_in(&places[i], id, n, d))
			return true;
	return false;
}

static uint64_t offered(struct virtio_dev *d)
{
	uint64_t low;

	virtio_set(d, DEVICE_FEATURES_SEL, 0);
	low = virtio_get(d, DEVICE_FEATURES);
	virtio_set(d, DEVICE_FEATURES_SEL, 1);
	return (uint64_t)virtio_get(d, DEVICE_FEATURES) << 32 | low;
}

const char *virtio_begin(struct virtio_dev *d, uint64_t wanted)
{
	if (virtio_get(d, VERSION) != 2)
		return "is not of version 2";
	virtio_set(d, STATUS, 0);
	virtio_set(d, STATUS, ACKNOWLEDGE | DRIVER);
	d->features = offered(d) & (wanted | VIRTIO_VERSION_1);
	for (unsigned i = 0; i < 2; i++) {
		virtio_set(d, DRIVER_FEATURES_SEL, i);
		virtio_set(d, DRIVER_FEATURES,
			   (uint32_t)(d->features >> (32 * i)));
	}
	virtio_set(d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	return virtio_get(d, STATUS) & FEATURES_OK ? NULL
						   : "refuses our features";
}

void virtio_go(struct virtio_dev *d)
{
	virtio_set(d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

static void set64(struct virtio_dev *d, unsigned reg, const void *p)
{
	virtio_set(d, reg, (uint32_t)(uintptr_t)p);
	virtio_set(d, reg + 4, (uint32_t)((uintptr_t)p >> 32));
}

const char *virtio_queue(struct virtio_dev *d, unsigned index, uint16_t size,
			 struct virtio_queue *q)
{
	unsigned pages = 4; /* a power of two that holds three */
	uint32_t most;

	virtio_set(d, QUEUE_SEL, index);
	most = virtio_get(d, QUEUE_NUM_MAX);
	if (!most || virtio_get(d, QUEUE_READY))
		return "has no such queue";
	*q = (struct virtio_queue){ .dev = d, .index = index };
	q->size = size < most ? size : (uint16_t)most;
	q->nfree = q->size;
	_Static_assert(sizeof(struct virtio_ring) <= 4 * 4096, "pages");
	q->ring = mem_alloc_pages(pages);
	if (!q->ring)
		return "wants more memory than there is";
	memset(q->ring, 0, sizeof(*q->ring));
	for (unsigned i = 0; i < q->size; i++)
		q->ring->desc[i].next = (uint16_t)(i + 1);
	virtio_set(d, QUEUE_NUM, q->size);
	set64(d, QUEUE_DESC, q->ring->desc);
	set64(d, QUEUE_DRIVER, &q->ring->avail);
	set64(d, QUEUE_DEVICE, &q->ring->used);
	virtio_set(d, QUEUE_READY, 1);
	return virtio_get(d, QUEUE_READY) ? NULL : "refuses the queue";
}

/* The event word stands behind the ring of the queue's own size. */
static uint16_t avail_event(const struct virtio_queue *q)
{
	return get16((const uint16_t *)&q->ring->used.ring[q->size]);
}

bool virtio_all_taken(const struct virtio_queue *q)
{
	return avail_event(q) == q->next_avail;
}

static bool wants_kick(struct virtio_queue *q, uint16_t old)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (q->dev->features & VIRTIO_EVENT_IDX)
		return (uint16_t)(q->next_avail - avail_event(q) - 1) <
		       (uint16_t)(q->next_avail - old);
	return !(get16(&q->ring->used.flags) & 1);
}

int virtio_offer(struct virtio_queue *q, const struct virtio_buf *bufs,
		 unsigned n)
{
	uint16_t head = q->free, at = head, old = q->next_avail;

	if (n == 0 || n > q->nfree)
		return -1;
	for (unsigned i = 0; i < n; i++) {
		at = q->free;
		q->free = q->ring->desc[at].next;
		q->ring->desc[at].addr = (uintptr_t)bufs[i].data;
		q->ring->desc[at].len = bufs[i].len;
		q->ring->desc[at].flags =
		    (uint16_t)((bufs[i].in ? DESC_WRITE : 0) |
			       (i + 1 < n ? DESC_NEXT : 0));
	}
	q->nfree = (uint16_t)(q->nfree - n);
	q->ring->avail.ring[old % q->size] = head;
	set16(&q->ring->avail.idx, ++q->next_avail);
	if (wants_kick(q, old)) {
		q->kicks++;
		virtio_set(q->dev, QUEUE_NOTIFY, q->index);
	}
	return head;
}

bool virtio_take(struct virtio_queue *q, unsigned *id, uint32_t *written)
{
	uint16_t at, last;

	if (get16(&q->ring->used.idx) == q->seen_used)
		return false;
	*id = q->ring->used.ring[q->seen_used % q->size].id;
	*written = q->ring->used.ring[q->seen_used % q->size].len;
	q->seen_used++;
	/* used_event: tell us of the next one. Who polls leaves it behind. */
	if (q->listens) {
		set16(&q->ring->avail.ring[q->size], q->seen_used);
		/* before used.idx is looked at again */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	for (at = last = (uint16_t)*id;; at = q->ring->desc[at].next) {
		last = at;
		q->nfree++;
		if (!(q->ring->desc[at].flags & DESC_NEXT))
			break;
	}
	q->ring->desc[last].next = q->free;
	q->free = (uint16_t)*id;
	return true;
}

bool virtio_ready(const struct virtio_queue *q)
{
	return get16(&q->ring->used.idx) != q->seen_used;
}

/* ---- interrupts ---- */

#define LISTENERS 16

static struct virtio_queue *listening[LISTENERS];
static unsigned listeners;

/* All devices share the vector: each is asked. */
static void on_interrupt(void)
{
	for (unsigned i = 0; i < listeners; i++) {
		struct virtio_queue *q = listening[i];
		uint32_t status = virtio_get(q->dev, INTERRUPT_STATUS);

		if (!status)
			continue;
		virtio_set(q->dev, INTERRUPT_ACK, status);
		q->interrupts++;
	}
}

void virtio_listen(struct virtio_queue *q, unsigned vector)
{
	if (listeners == LISTENERS)
		guest_panic("virtio: too many devices");
	listening[listeners++] = q;
	q->listens = true;
	irq_set_handler(vector, on_interrupt);
	ioapic_route(q->dev->gsi, vector, false);
}

void virtio_wait(struct virtio_queue *q, unsigned *id, uint32_t *written)
{
	for (;;) {
		uint64_t seen = q->interrupts;

		if (virtio_take(q, id, written))
			return;
		irq_wait_change(&q->interrupts, seen);
	}
}
