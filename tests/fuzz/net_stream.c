/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net on a stream (net_stream.c) under a hostile driver (ring.c) and a
 * hostile peer: it sends any bytes, takes as few as it likes, and hangs up.
 */
#include "net_impl.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ring.h"
#include "util.h"

static int peer = -1;

static struct net_port *connect_peer(void)
{
	int fd[2], small = 4096;

	cleanup_close(&peer);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       fd))
		abort();
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	peer = fd[1];
	return net_stream_create(fd[0]);
}

struct virtio *ring_make(const struct virtio_config *c, struct loop *loop)
{
	struct net_config net = { .virtio = *c,
				  .loop = loop,
				  .port = connect_peer() };
	struct net *n = net_create(&net);

	signal(SIGPIPE, SIG_IGN); /* as main does */

	return n ? net_virtio(n) : NULL;
}

/* A new connection for each input. */
void ring_fresh(struct virtio *v)
{
	struct net *n = container_of(v, struct net, virtio);

	loop_del(n->loop, &n->source);
	n->port->ops->destroy(n->port);
	n->port = connect_peer();
	n->gone = false;
	n->st.status = NET_LINK_UP;
	n->tx.stalled = false;
	n->rx.wanted = 1;
	n->source.fd = n->port->fd;
	n->source.events = 0;
	if (loop_add(n->loop, &n->source))
		abort();
}

static void peer_sends(uint16_t a, uint32_t b)
{
	static uint8_t bytes[70000];

	memcpy(bytes, &b, sizeof(b));
	if (peer >= 0 && send(peer, bytes, a, MSG_NOSIGNAL) < 0)
		return;
}

void ring_host(struct virtio *v, uint8_t kind, uint16_t a, uint32_t b)
{
	struct net *n = container_of(v, struct net, virtio);
	uint8_t taken[65536];

	switch (kind & 3) {
	case 0:
	case 1:
		peer_sends(a, b);
		break;
	case 2:
		if (peer >= 0 && read(peer, taken, a) < 0)
			break;
		break;
	case 3:
		if (a != 0xdead)
			break;
		cleanup_close(&peer);
		peer = -1;
		break;
	}
	loop_set_events(n->loop, &n->source, 0);
	n->tx.stalled = false;
	virtio_kicked(v);
}
