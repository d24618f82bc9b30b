/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng: the host's random bytes, by the period. */
#include "rng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fdio.h"
#include "util.h"

#define VIRTIO_ID_RNG 4

static const struct state_field rng_fields[] = {
	VIRTIO_STATE_ROWS(struct rng_state, virtio),
};
static const struct state_desc rng_desc =
    STATE_DESC("rng", 1, struct rng_state, rng_fields);

static struct rng *rng_of(struct virtio *v)
{
	return container_of(v, struct rng, virtio);
}

/* One buffer, as far as the period allows: how many bytes. */
static uint32_t fill(struct rng *r, struct virtq_chain *c,
		     const struct virtq_desc *d)
{
	size_t want = MIN(d->len, r->bytes_left);
	ssize_t n = want ? fd_read(r->source_fd, d->data, want) : 0;

	if (n <= 0) {
		if (n < 0 && errno != EINTR)
			log_guest(&r->virtio.mistakes, r->virtio.dev.name,
				  "read random bytes: %s", strerror(errno));
		return 0;
	}
	virtq_wrote(c, d, (uint32_t)n);
	r->bytes_left -= (uint64_t)n;
	r->bytes += (uint64_t)n;
	return (uint32_t)n;
}

/* 0, or -EPROTO: the driver has broken the queue. */
static int serve(struct rng *r, struct virtq_chain *c)
{
	uint32_t written = 0, n;
	struct virtq_desc d;
	int got;

	while ((got = virtq_next(c, &d)) == 1) {
		if (!d.writable)
			return virtio_broken(&r->virtio,
					     "a buffer that cannot be filled");
		n = fill(r, c, &d);
		written += n;
		/* The used length counts from the chain's beginning: a buffer
		 * that is not full is the last. */
		if (n < d.len)
			break;
	}
	if (got < 0)
		return got;
	/* Requests for nothing have an end, too. */
	if (!written && r->bytes_left)
		r->bytes_left--;
	virtq_push(c, written);
	return 0;
}

static void wait_for_period(struct rng *r)
{
	if (r->waiting || r->bytes_left == RNG_PERIOD_BYTES)
		return;
	r->waiting = true;
	loop_timer_set(&r->refill, RNG_PERIOD_NS);
}

static void rng_kick(struct virtio *v, unsigned queue)
{
	struct rng *r = rng_of(v);
	struct virtq *q = &v->q[queue];
	struct virtq_chain c;

	do {
		while (r->bytes_left && virtq_pop(q, &c) == 1)
			if (serve(r, &c))
				return;
		/* The timer comes back to what is left. */
		wait_for_period(r);
	} while (r->bytes_left && virtq_enable_kicks(q));
	virtq_interrupt(q);
}

static void on_refill(struct loop_timer *t)
{
	struct rng *r = container_of(t, struct rng, refill);
	_locked_(&r->virtio.dev.lock);

	r->waiting = false;
	r->bytes_left = RNG_PERIOD_BYTES;
	virtio_kicked(&r->virtio);
}

static const struct virtio_class rng_class = {
	.id = VIRTIO_ID_RNG,
	.nqueues = 1,
	.queue_max = 64,
	.kick = rng_kick,
};

static void rng_destroy(struct device *d)
{
	struct rng *r = rng_of(virtio_of(d));

	loop_timer_fini(r->loop, &r->refill);
	device_fini(d);
	free(r);
}

static const struct device_counter rng_counters[] = {
	VIRTIO_COUNTERS(struct rng),
	DEVICE_COUNTER(struct rng, "bytes", bytes),
};

static const struct device_ops rng_ops = {
	VIRTIO_OPS,
	.type = "rng",
	.state = &rng_desc,
	.destroy = rng_destroy,
	.counter = rng_counters,
	.ncounters = ARRAY_SIZE(rng_counters),
};

struct rng *rng_create(const struct rng_config *c)
{
	struct rng *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->source_fd = c->source_fd;
	r->loop = c->loop;
	r->bytes_left = RNG_PERIOD_BYTES;
	virtio_init(&r->virtio, &rng_ops, &rng_class, &r->st, &c->virtio);
	loop_timer_init(c->loop, &r->refill, on_refill);
	return r;
}
