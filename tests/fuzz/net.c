/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net under a hostile driver (ring.c), and a host that sends frames with
 * any header, takes them, stalls, refuses them, and goes away. The port is one
 * of our own, so that what reaches the host can be asserted.
 */
#include "net_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ring.h"
#include "util.h"

struct port {
	struct net_port port;
	uint8_t answer;		  /* of send: what the host makes of a frame */
	unsigned waiting;	  /* frames to receive */
	uint32_t bytes;		  /* of each */
	struct net_header header; /* of each */
};

/* So that the bytes are read. */
static volatile uint8_t touched;

static int port_send(struct net_port *p, const struct net_header *h,
		     struct iovec *iov, unsigned n, size_t bytes)
{
	struct port *f = container_of(p, struct port, port);
	static const int answers[] = { 0,	 0,    -EAGAIN, -EINVAL,
				       -ENOBUFS, -EIO, 0,	-ENOLINK };
	uint8_t sum = 0;
	size_t all = 0;

	for (unsigned i = 1; i < n; i++) {
		const uint8_t *at = iov[i].iov_base;

		all += iov[i].iov_len;
		sum ^= at[0] ^ at[iov[i].iov_len - 1];
	}
	assert(all == bytes && bytes >= NET_FRAME_MIN &&
	       bytes <= NET_FRAME_MAX);
	touched = sum;
	assert(!(h->flags & ~NET_NEEDS_CSUM) && !h->buffers);
	if (h->flags)
		assert(h->csum_start + h->csum_offset + 2u <= bytes);
	if (h->gso)
		assert(h->flags && h->gso_bytes && h->header_bytes <= bytes);
	return answers[f->answer % 8];
}

static int port_receive(struct net_port *p, struct net_header *h,
			struct iovec *iov, unsigned n)
{
	struct port *f = container_of(p, struct port, port);
	size_t left = f->bytes;

	if (!f->waiting)
		return -EAGAIN;
	f->waiting--;
	if (f->bytes < NET_FRAME_MIN)
		return f->bytes == 0 ? -ENOLINK : -EBADMSG;
	*h = f->header;
	for (unsigned i = 1; i < n && left; i++) {
		size_t len = MIN(left, iov[i].iov_len);

		memset(iov[i].iov_base, 0xa5, len);
		left -= len;
	}
	assert(!left);
	return (int)f->bytes;
}

static int port_flush(struct net_port *p)
{
	return container_of(p, struct port, port)->answer == 2 ? -EAGAIN : 0;
}

static int port_agree(struct net_port *p, uint64_t features)
{
	return 0;
}

static void port_destroy(struct net_port *p)
{
	close(p->fd);
	free(container_of(p, struct port, port));
}

static const struct net_port_ops ops = { port_send, port_receive, port_flush,
					 port_agree, port_destroy };

struct virtio *ring_make(const struct virtio_config *c, struct loop *loop)
{
	struct net_config net = { .virtio = *c, .loop = loop, .mtu = 1500 };
	struct port *p = calloc(1, sizeof(*p));
	struct net *n;

	if (!p)
		abort();
	p->port = (struct net_port){
		.ops = &ops,
		.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC),
		.features = NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 |
			    NET_F_HOST_TSO4 | NET_F_HOST_UFO | NET_F_HOST_ECN,
	};
	net.port = &p->port;
	n = net_create(&net);
	return n ? net_virtio(n) : NULL;
}

static struct port *port_of(struct net *n)
{
	return container_of(n->port, struct port, port);
}

void ring_fresh(struct virtio *v)
{
	struct net *n = container_of(v, struct net, virtio);
	struct port *p = port_of(n);

	p->answer = 0;
	p->waiting = 0;
	if (n->gone) {
		n->gone = false;
		n->st.status = NET_LINK_UP;
		if (loop_add(n->loop, &n->source))
			abort();
	}
	n->tx.stalled = false;
	n->rx.wanted = 1;
	n->rx.small = 0;
}

void ring_host(struct virtio *v, uint8_t kind, uint16_t a, uint32_t b)
{
	struct net *n = container_of(v, struct net, virtio);
	struct port *p = port_of(n);

	switch (kind & 3) {
	case 0:
		p->answer = (uint8_t)a;
		break;
	case 1:
		p->header = (struct net_header){ .flags = (uint8_t)b & 3,
						 .gso = (uint8_t)(b >> 8) & 7 };
		break;
	case 2:
		p->waiting = kind >> 2 & 7;
		p->bytes = MIN(b & 0x1ffff, NET_FRAME_MAX);
		break;
	case 3:
		break;
	}
	loop_set_events(n->loop, &n->source, 0); /* as if it were ready */
	virtio_kicked(v);
	if (n->tx.stalled && p->answer != 2) {
		n->tx.stalled = false;
		virtio_kicked(v);
	}
}
