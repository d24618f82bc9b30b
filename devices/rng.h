/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng (virtio 1.2, 5.4): fills the driver's buffers with random bytes of
 * the host, at most so many a second.
 *
 * It keeps no chain: what it has no bytes for stays in the queue. So there is
 * nothing to drain, and its state is the transport's.
 *
 * Owner: dev.lock; the timer and kicks come on the I/O thread.
 */
#ifndef TINTYPE_RNG_H
#define TINTYPE_RNG_H

#include "virtio.h"

struct rng_state {
	struct virtio_state virtio;
};

struct rng {
	struct virtio virtio;
	struct rng_state st;
	int source_fd;
	struct loop *loop;
	struct loop_timer refill;
	uint64_t bytes_left; /* of this period */
	bool waiting;	     /* for the next one */
	uint64_t bytes;	     /* given so far */
};

struct rng_config {
	struct virtio_config virtio;
	int source_fd; /* /dev/urandom; not owned */
	struct loop *loop;
};

/* What a guest may take in a period: 64 KiB a second is plenty for any pool,
 * and nothing for us. */
#define RNG_PERIOD_NS	 UINT64_C(100000000)
#define RNG_PERIOD_BYTES UINT64_C(6554)

/* NULL: no memory. device_destroy ends it. */
struct rng *rng_create(const struct rng_config *c);

#endif
