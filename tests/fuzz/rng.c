/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng under a hostile driver (ring.c). */
#include "rng.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring.h"

static int source = -1;

struct virtio *ring_make(const struct virtio_config *c, struct loop *loop)
{
	struct rng_config rng = { .virtio = *c, .loop = loop };
	struct rng *r;

	if (source < 0)
		source = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	if (source < 0)
		abort();
	rng.source_fd = source;
	r = rng_create(&rng);
	return r ? &r->virtio : NULL;
}

void ring_fresh(struct virtio *v)
{
	((struct rng *)(void *)v)->bytes_left = RNG_PERIOD_BYTES;
}

void ring_host(struct virtio *v, uint8_t kind, uint16_t a, uint32_t b)
{
	ring_fresh(v);
	virtio_kicked(v);
}
