/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk. A burst pops what the queue offers (so much at most), submits it,
 * commits once and interrupts once. What then?
 *
 *   the limits are reached    the timer begins the next burst
 *   the burst was cut         the next one, after others had their turn
 *   requests come quickly     look at the queue for poll_ns, without the lock,
 *                             before asking for kicks
 *   else                      ask for kicks
 *
 * A kick costs more than many requests, so a driver that has just been served
 * is waited for as long as a kick would take. poll_ns adapts: it is at its most
 * when polling found something, or a kick came that polling would have found;
 * each vain look halves it.
 */
#include "blk_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define VIRTIO_ID_BLK 2

/* A burst ends after so much. */
#define BURST_REQUESTS 64
#define BURST_BYTES    MIB(4)
#define POLL_LEAST_NS  UINT64_C(4000)
/* From the driver's kick to us, at most, where that is slow. */
#define KICK_NS UINT64_C(100000)

#define FEATURES                                                               \
	(BLK_F_SIZE_MAX | BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH |       \
	 BLK_F_TOPOLOGY)
#define WRITER_FEATURES (BLK_F_CONFIG_WCE | BLK_F_DISCARD | BLK_F_WRITE_ZEROES)

static_assert(offsetof(struct blk_space, writeback) == 32 &&
		  sizeof(struct blk_space) == 64,
	      "virtio 1.2, 5.2.4");
#define SPACE_BYTES 60 /* the rest is padding */

static const struct state_field blk_fields[] = {
	VIRTIO_STATE_ROWS(struct blk_state, virtio),
	STATE(struct blk_state, writethrough, 1),
};
static const struct state_desc blk_desc =
    STATE_DESC("blk", 1, struct blk_state, blk_fields);

static struct blk *blk_of(struct virtio *v)
{
	return container_of(v, struct blk, virtio);
}

/* ---- bursts ---- */

static bool is_limited(const struct blk *b)
{
	return b->bytes_limit.rate || b->ops_limit.rate;
}

/* False: the limits are reached, and the timer is set. */
static bool may_pass(struct blk *b)
{
	uint64_t now, wait;

	if (!is_limited(b))
		return true;
	now = now_ns();
	wait = MAX(limit_wait_ns(&b->bytes_limit, now),
		   limit_wait_ns(&b->ops_limit, now));
	if (wait && !b->waiting) {
		b->waiting = true;
		b->counters.throttled++;
		loop_timer_set(&b->ready, wait);
	}
	return !wait;
}

/* One request: 0, or -EPROTO. */
static int pop(struct blk *b, struct virtq *q)
{
	struct blk_request *r = b->free;
	struct virtq_chain c;

	if (virtq_pop(q, &c) != 1)
		return -EPROTO;
	/* Each one of them has a descriptor of its own, or should. */
	if (!r)
		return virtio_broken(&b->virtio,
				     "more requests than the queue has room");
	b->free = r->next;
	b->counters.in_flight++;
	r->chain = c;
	limit_charge(&b->ops_limit, 1, b->burst_ns);
	if (blk_request_start(b, r) == 0)
		return 0;
	blk_request_put(b, r);
	return -EPROTO;
}

static void burst(struct blk *b)
{
	struct virtq *q = &b->virtio.q[0];
	unsigned n = 0;

	b->bursting = true;
	b->burst_ns = now_ns();
	b->burst_bytes = 0;
	while (n < BURST_REQUESTS && b->burst_bytes < BURST_BYTES &&
	       virtq_offers(q) && may_pass(b) && pop(b, q) == 0)
		n++;
	b->disk->ops->commit(b->disk);
	b->bursting = false;
	virtq_interrupt(q);
}

static void look_again(struct blk *b, bool poll)
{
	b->watching = poll;
	b->watch = virtq_watch(&b->virtio.q[0]);
	loop_post(b->loop, &b->again);
}

static void ask_for_kicks(struct blk *b)
{
	if (virtq_enable_kicks(&b->virtio.q[0]))
		look_again(b, false);
	else if (b->poll_max_ns)
		b->kicks_on_ns = now_ns();
}

static void serve(struct blk *b)
{
	burst(b);
	if (b->waiting || !virtio_may_pop(&b->virtio))
		return;
	if (virtq_offers(&b->virtio.q[0]))
		look_again(b, false);
	else if (b->poll_ns)
		look_again(b, true);
	else
		ask_for_kicks(b);
}

static void blk_kick(struct virtio *v, unsigned queue)
{
	struct blk *b = blk_of(v);

	if (b->kicks_on_ns &&
	    now_ns() - b->kicks_on_ns < b->poll_max_ns + KICK_NS)
		b->poll_ns = b->poll_max_ns;
	b->kicks_on_ns = 0;
	serve(b);
}

/* Without the lock, which a vCPU may want for its interrupt meanwhile. */
static bool poll(const struct blk *b)
{
	uint64_t end = now_ns() + b->poll_ns;

	do {
		for (unsigned i = 0; i < 32; i++) {
			if (virtq_watch_offers(&b->watch))
				return true;
			__builtin_ia32_pause();
		}
	} while (now_ns() < end);
	return false;
}

static void on_again(struct loop_task *t)
{
	struct blk *b = container_of(t, struct blk, again);
	bool vain = b->watching && !poll(b);
	_locked_(&b->virtio.dev.lock);

	if (vain)
		b->poll_ns =
		    b->poll_ns / 2 < POLL_LEAST_NS ? 0 : b->poll_ns / 2;
	else if (b->watching)
		b->poll_ns = b->poll_max_ns;
	if (!virtio_may_pop(&b->virtio))
		return;
	b->counters.polled += b->watching && !vain;
	if (vain)
		ask_for_kicks(b);
	else
		serve(b);
}

static void on_ready(struct loop_timer *t)
{
	struct blk *b = container_of(t, struct blk, ready);
	_locked_(&b->virtio.dev.lock);

	b->waiting = false;
	if (virtio_may_pop(&b->virtio))
		serve(b);
}

static void on_idle(struct disk *d)
{
	struct blk *b = d->owner;

	if (b->bursting)
		return;
	virtq_interrupt(&b->virtio.q[0]);
	/* Whoever is served sends more. */
	if (b->poll_ns && !b->waiting && virtio_may_pop(&b->virtio))
		look_again(b, true);
}

/* ---- the transport's side ---- */

static void blk_reset(struct virtio *v)
{
	struct blk *b = blk_of(v);

	if (!b->counters.in_flight)
		return;
	if (pthread_equal(pthread_self(), b->io_thread))
		b->disk->ops->drain(b->disk);
	else
		while (b->counters.in_flight)
			pthread_cond_wait(&b->ended, &v->dev.lock);
	assert(!b->counters.in_flight);
}

static int blk_drain(struct virtio *v)
{
	struct blk *b = blk_of(v);

	b->disk->ops->drain(b->disk);
	assert(!b->counters.in_flight);
	virtq_interrupt(&v->q[0]);
	return 0;
}

static bool blk_fits(struct virtio *v)
{
	const struct blk *b = blk_of(v);
	const struct virtio_state *s = &b->st.virtio;

	/* A state is saved when nothing is on its way. */
	if (!(s->status & VIRTIO_NEEDS_RESET) &&
	    s->last_avail[0] != s->next_used[0])
		return false;
	return b->st.writethrough <= !!virtio_has(v, BLK_F_CONFIG_WCE);
}

static uint64_t blk_config_read(struct virtio *v, uint64_t off, unsigned len)
{
	struct blk *b = blk_of(v);
	uint64_t value = 0;

	b->space.writeback = !blk_writes_through(b);
	memcpy(&value, (const uint8_t *)&b->space + off, len);
	return value;
}

static void blk_config_write(struct virtio *v, uint64_t off, unsigned len,
			     uint64_t value)
{
	if (off != offsetof(struct blk_space, writeback) || len != 1 ||
	    value > 1 || !virtio_has(v, BLK_F_CONFIG_WCE))
		v->counters.refused++;
	else
		blk_of(v)->st.writethrough = !value;
}

static const struct virtio_class blk_class = {
	.id = VIRTIO_ID_BLK,
	.nqueues = 1,
	.queue_max = BLK_QUEUE_MAX,
	.features = FEATURES,
	.kick = blk_kick,
	.reset = blk_reset,
	.drain = blk_drain,
	.fits = blk_fits,
	.config_bytes = SPACE_BYTES,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
};

static void blk_destroy(struct device *d)
{
	struct blk *b = blk_of(virtio_of(d));

	loop_unpost(b->loop, &b->again);
	loop_timer_fini(b->loop, &b->ready);
	pthread_cond_destroy(&b->ended);
	device_fini(d);
	free(b->request);
	free(b->iov);
	free(b);
}

static const struct device_counter blk_counters[] = {
	VIRTIO_COUNTERS(struct blk),
	DEVICE_COUNTER(struct blk, "reads", counters.reads),
	DEVICE_COUNTER(struct blk, "writes", counters.writes),
	DEVICE_COUNTER(struct blk, "flushes", counters.flushes),
	DEVICE_COUNTER(struct blk, "discards", counters.discards),
	DEVICE_COUNTER(struct blk, "read_bytes", counters.read_bytes),
	DEVICE_COUNTER(struct blk, "written_bytes", counters.written_bytes),
	DEVICE_COUNTER(struct blk, "errors", counters.errors),
	DEVICE_COUNTER(struct blk, "invalid", counters.invalid),
	DEVICE_COUNTER(struct blk, "throttled", counters.throttled),
	DEVICE_COUNTER(struct blk, "polled", counters.polled),
	DEVICE_COUNTER(struct blk, "in_flight", counters.in_flight),
	DEVICE_COUNTER(struct blk, "latency_sum_ns", counters.latency_sum_ns),
	DEVICE_COUNTER(struct blk, "latency_max_ns", counters.latency_max_ns),
};

static const struct device_ops blk_ops = {
	VIRTIO_OPS,
	.type = "blk",
	.state = &blk_desc,
	.destroy = blk_destroy,
	.counter = blk_counters,
	.ncounters = ARRAY_SIZE(blk_counters),
};

/* ---- making one ---- */

static void fill_space(struct blk *b)
{
	b->space = (struct blk_space){
		.capacity = b->disk->bytes / DISK_SECTOR_BYTES,
		.size_max = BLK_SEGMENT_BYTES,
		.seg_max = BLK_SEGMENTS,
		.blk_size = DISK_SECTOR_BYTES,
		.physical_block_exp = 3, /* 4 KiB, in which images are kept */
		.min_io_size = BLK_PHYSICAL_BYTES / DISK_SECTOR_BYTES,
		.num_queues = 1,
	};
	if (b->disk->read_only) {
		b->virtio.features |= BLK_F_RO;
		return;
	}
	b->virtio.features |= WRITER_FEATURES;
	b->space.max_discard_sectors = BLK_RANGE_SECTORS;
	b->space.max_discard_seg = 1;
	b->space.discard_sector_alignment = b->space.min_io_size;
	b->space.max_write_zeroes_sectors = BLK_RANGE_SECTORS;
	b->space.max_write_zeroes_seg = 1;
	b->space.write_zeroes_may_unmap = 1;
}

static int make_pool(struct blk *b)
{
	b->request = calloc(BLK_QUEUE_MAX, sizeof(*b->request));
	b->iov = calloc((size_t)BLK_QUEUE_MAX * BLK_QUEUE_MAX, sizeof(*b->iov));
	if (!b->request || !b->iov)
		return -ENOMEM;
	for (unsigned i = BLK_QUEUE_MAX; i-- > 0;) {
		struct blk_request *r = &b->request[i];

		r->disk.done = blk_request_done;
		r->disk.owner = b;
		r->next = b->free;
		b->free = r;
	}
	return 0;
}

static void take_disk(struct blk *b, struct disk *d)
{
	b->disk = d;
	d->lock = &b->virtio.dev.lock;
	d->idle = on_idle;
	d->owner = b;
}

struct blk *blk_create(const struct blk_config *c)
{
	struct blk *b = calloc(1, sizeof(*b));
	const char *serial = c->serial ? c->serial : c->virtio.name;
	struct virtio_config vc = c->virtio;

	if (!b)
		return NULL;
	snprintf(b->name, sizeof(b->name), "%s", c->virtio.name);
	vc.name = b->name;
	memcpy(b->serial, serial, strnlen(serial, BLK_ID_BYTES));
	b->loop = c->loop;
	b->again.run = on_again;
	b->io_thread = pthread_self();
	b->bytes_limit.rate = c->bytes_a_second;
	b->ops_limit.rate = c->ops_a_second;
	b->poll_max_ns = c->poll_max_ns;
	pthread_cond_init(&b->ended, NULL);
	virtio_init(&b->virtio, &blk_ops, &blk_class, &b->st, &vc);
	take_disk(b, c->disk);
	fill_space(b);
	loop_timer_init(c->loop, &b->ready, on_ready);
	if (make_pool(b) < 0) {
		blk_destroy(&b->virtio.dev);
		return NULL;
	}
	return b;
}
