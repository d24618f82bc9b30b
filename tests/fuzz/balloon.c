/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon under a hostile driver (ring.c). */
#include "balloon.h"

#include "ring.h"

struct virtio *ring_make(const struct virtio_config *c, struct loop *loop)
{
	struct balloon_config balloon = { .virtio = *c, .loop = loop };
	struct balloon *b = balloon_create(&balloon);

	return b ? &b->virtio : NULL;
}

void ring_fresh(struct virtio *v)
{
	struct balloon *b = (struct balloon *)(void *)v;

	b->ask = 0;
	b->target = b->st.num_pages = 0;
}

void ring_host(struct virtio *v, uint8_t kind, uint16_t a, uint32_t b)
{
	struct balloon *balloon = (struct balloon *)(void *)v;

	if (kind & 1)
		balloon_set_target(balloon, b);
	else if (kind & 2)
		balloon_ask(balloon);
	else
		virtio_kicked(v); /* a further round */
}
