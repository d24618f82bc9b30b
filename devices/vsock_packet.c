/* SPDX-License-Identifier: Apache-2.0 */
/* Packets in chains: each descriptor is looked at once. */
#include "vsock_packet.h"

#include <errno.h>
#include <string.h>

#include "util.h"

#define HEADER sizeof(struct vsock_packet)

_Static_assert(HEADER == 44, "virtio 1.2, 5.10.6");

int vsock_room_of(struct virtq_chain *c, struct vsock_room *r)
{
	struct virtio *v = c->q->v;
	int got = 1;

	r->n = 0;
	r->bytes = 0;
	while (r->bytes < HEADER + VSOCK_MAX_DATA &&
	       (got = virtq_next(c, &r->part[r->n])) == 1) {
		if (!r->part[r->n].writable)
			return virtio_broken(v,
					     "a buffer that cannot be filled");
		if (!r->part[r->n].len)
			continue;
		r->bytes += r->part[r->n++].len;
	}
	if (got < 0)
		return got;
	return r->bytes > HEADER ? 0 : virtio_broken(v, "no room for a packet");
}

unsigned vsock_room_iov(const struct vsock_room *r, size_t most,
			struct iovec iov[VSOCK_QUEUE_MAX])
{
	size_t skip = HEADER;
	unsigned n = 0;

	for (unsigned i = 0; i < r->n && most; i++) {
		size_t from = MIN(skip, r->part[i].len);
		size_t len = MIN(most, r->part[i].len - from);

		skip -= from;
		most -= len;
		if (len)
			iov[n++] =
			    (struct iovec){ r->part[i].data + from, len };
	}
	return n;
}

void vsock_give(struct virtq_chain *c, const struct vsock_room *r,
		const struct vsock_packet *h)
{
	size_t left = HEADER + h->len, done = 0;

	for (unsigned i = 0; i < r->n && left; i++) {
		uint32_t n = (uint32_t)MIN(left, r->part[i].len);
		size_t head = MIN(HEADER - done, n);

		memcpy(r->part[i].data, (const uint8_t *)h + done, head);
		virtq_wrote(c, &r->part[i], n);
		done += head;
		left -= n;
	}
	virtq_push(c, (uint32_t)(HEADER + h->len));
}

bool vsock_data_of(struct virtq_chain *c, uint32_t len,
		   struct iovec iov[VSOCK_QUEUE_MAX], unsigned *n)
{
	struct virtq_desc d;

	for (*n = 0; len; len -= (uint32_t)iov[(*n)++].iov_len) {
		do
			if (virtq_rest(c, &d) != 1 || d.writable)
				return false;
		while (!d.len);
		iov[*n] = (struct iovec){ d.data, MIN(d.len, len) };
	}
	return true;
}
