/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net: the device around its two directions (net_rx.c, net_tx.c): its
 * configuration, when it listens to its port, limits and the link.
 */
#include "net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "net_impl.h"
#include "util.h"

#define VIRTIO_ID_NET 1

static const struct state_field net_fields[] = {
	VIRTIO_STATE_ROWS(struct net_state, virtio),
	STATE(struct net_state, status, 1),
	STATE(struct net_state, mtu, 1),
	STATE_ARRAY(struct net_state, mac, 1),
	STATE_ARRAY(struct net_state, unused, 1),
};
static const struct state_desc net_desc =
    STATE_DESC("net", 1, struct net_state, net_fields);

static struct net *net_of(struct virtio *v)
{
	return container_of(v, struct net, virtio);
}

struct virtio *net_virtio(struct net *n)
{
	return &n->virtio;
}

/* ---- the link ---- */

/* The driver is told what has become of the link: when the machine runs, as it
 * is state that the guest sees. */
static void tell_link(struct net *n)
{
	uint16_t status = n->gone ? 0 : NET_LINK_UP;

	if (n->virtio.quiet || n->st.status == status)
		return;
	n->st.status = status;
	virtio_config_changed(&n->virtio);
}

void net_gone(struct net *n, int err)
{
	if (n->gone)
		return;
	n->gone = true;
	loop_del(n->loop, &n->source);
	log_warn(n->virtio.dev.name,
		 "its network is gone, the link is down: %s", strerror(-err));
	tell_link(n);
}

/* ---- when to listen ---- */

static bool runs(const struct net *n)
{
	return virtio_may_pop(&n->virtio) && !n->gone;
}

static void listen_to_port(struct net *n)
{
	uint32_t events = 0;

	if (runs(n) && !n->rx.starved && !n->way[NET_RX].waiting)
		events |= EPOLLIN;
	if (runs(n) && n->tx.stalled)
		events |= EPOLLOUT;
	loop_set_events(n->loop, &n->source, events);
}

/* Before frames move: the port knows what the driver takes. */
static void agree(struct net *n)
{
	uint64_t features = n->st.virtio.driver_features;
	int r;

	if (n->gone || n->agreed == features)
		return;
	n->agreed = features;
	r = n->port->ops->agree(n->port, features);
	if (r == -ENOLINK) {
		net_gone(n, r);
	} else if (r && !n->told_refusal) {
		n->told_refusal = true;
		log_warn(n->virtio.dev.name, "set the tap's offloads: %s",
			 strerror(-r));
	}
}

static void work(struct net *n, enum net_queue q, bool rested)
{
	if (virtio_may_pop(&n->virtio) && n->virtio.q[q].desc) {
		agree(n);
		if (q == NET_RX)
			net_receive(n);
		else
			net_transmit(n, rested);
	}
	listen_to_port(n);
}

static void on_ready(struct loop_source *s, uint32_t events)
{
	struct net *n = container_of(s, struct net, source);
	_locked_(&n->virtio.dev.lock);

	if (n->tx.stalled && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
		int r = n->port->ops->flush(n->port);

		n->tx.stalled = r == -EAGAIN;
		if (r == -ENOLINK)
			net_gone(n, r);
		work(n, NET_TX, false);
	}
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		work(n, NET_RX, false);
}

static void net_kick(struct virtio *v, unsigned queue)
{
	struct net *n = net_of(v);

	/* A driver that brings buffers where there are some kicks for nothing:
	 * the port tells when there is a frame. */
	if (queue == NET_RX && n->source.events & EPOLLIN && !n->rx.starved)
		return;
	work(n, queue, false);
}

static void on_rest(struct loop_timer *t)
{
	struct net *n = container_of(t, struct net, tx.rest);
	_locked_(&n->virtio.dev.lock);

	work(n, NET_TX, true);
}

static void on_more(struct net_way *w, struct net *n)
{
	_locked_(&n->virtio.dev.lock);

	work(n, w == &n->way[NET_RX] ? NET_RX : NET_TX, true);
}

static void more_rx(struct loop_task *t)
{
	struct net *n = container_of(t, struct net, way[NET_RX].more);

	on_more(&n->way[NET_RX], n);
}

static void more_tx(struct loop_task *t)
{
	struct net *n = container_of(t, struct net, way[NET_TX].more);

	on_more(&n->way[NET_TX], n);
}

/* ---- limits ---- */

bool net_may_pass(struct net *n, struct net_way *w)
{
	uint64_t now, wait;

	if (!w->limited)
		return true;
	if (w->waiting)
		return false;
	now = now_ns();
	wait = MAX(limit_wait_ns(&w->byte_limit, now),
		   limit_wait_ns(&w->frame_limit, now));
	if (!wait)
		return true;
	w->waiting = true;
	w->throttled++;
	loop_timer_set(&w->timer, wait);
	return false;
}

void net_passed(struct net_way *w, size_t bytes)
{
	if (!w->limited)
		return;
	limit_charge(&w->byte_limit, bytes, now_ns());
	limit_charge(&w->frame_limit, 1, now_ns());
}

static void limit_over(struct net_way *w, struct net *n)
{
	_locked_(&n->virtio.dev.lock);

	w->waiting = false;
	work(n, w == &n->way[NET_RX] ? NET_RX : NET_TX, true);
}

static void rx_over(struct loop_timer *t)
{
	struct net *n = container_of(t, struct net, way[NET_RX].timer);

	limit_over(&n->way[NET_RX], n);
}

static void tx_over(struct loop_timer *t)
{
	struct net *n = container_of(t, struct net, way[NET_TX].timer);

	limit_over(&n->way[NET_TX], n);
}

/* ---- the device ---- */

static uint64_t net_config_read(struct virtio *v, uint64_t off, unsigned len)
{
	struct net *n = net_of(v);
	uint8_t config[12] = { 0 }; /* virtio 1.2, 5.1.4, to the MTU */
	uint64_t value = 0;

	memcpy(config, n->st.mac, NET_MAC_BYTES);
	memcpy(config + 6, &n->st.status, 2);
	memcpy(config + 10, &n->st.mtu, 2);
	memcpy(&value, config + off, len);
	return value;
}

/* On a vCPU's thread: the port is not touched. */
static void net_reset(struct virtio *v)
{
	struct net *n = net_of(v);

	net_rx_forget(n);
	n->rx.held = 0;
	n->rx.starved = false;
}

static void net_fresh(struct virtio *v)
{
	struct net *n = net_of(v);

	memcpy(n->st.mac, n->mac, NET_MAC_BYTES);
	n->st.mtu = n->mtu;
	n->st.status = n->gone ? 0 : NET_LINK_UP;
}

static int net_drain(struct virtio *v)
{
	struct net *n = net_of(v);

	net_rx_give_back(n);
	listen_to_port(n);
	return 0;
}

static void net_resume(struct virtio *v)
{
	tell_link(net_of(v));
}

static bool net_fits(struct virtio *v)
{
	const struct net_state *s = &net_of(v)->st;

	net_reset(v); /* what is popped is of another queue */
	return s->status <= NET_LINK_UP &&
	       (s->mtu == 0 || s->mtu >= NET_MTU_MIN) && !(s->mac[0] & 1) &&
	       mem_is_zero(s->unused, sizeof(s->unused));
}

static const struct virtio_class net_class = {
	.id = VIRTIO_ID_NET,
	.nqueues = NET_QUEUES,
	.queue_max = NET_QUEUE_MAX,
	.features = NET_F_MAC | NET_F_STATUS | NET_F_MRG_RXBUF,
	.kick = net_kick,
	.reset = net_reset,
	.fresh = net_fresh,
	.fits = net_fits,
	.drain = net_drain,
	.resume = net_resume,
	.config_bytes = 12,
	.config_read = net_config_read,
};

static void net_destroy(struct device *d)
{
	struct net *n = net_of(virtio_of(d));

	loop_del(n->loop, &n->source);
	for (unsigned i = 0; i < NET_QUEUES; i++) {
		loop_unpost(n->loop, &n->way[i].more);
		loop_timer_fini(n->loop, &n->way[i].timer);
	}
	loop_timer_fini(n->loop, &n->tx.rest);
	if (n->port)
		n->port->ops->destroy(n->port);
	device_fini(d);
	free(n);
}

#define WAY_COUNTERS(name, i)                                                  \
	DEVICE_COUNTER(struct net, name "_frames", way[i].frames),             \
	    DEVICE_COUNTER(struct net, name "_bytes", way[i].bytes),           \
	    DEVICE_COUNTER(struct net, name "_dropped", way[i].dropped),       \
	    DEVICE_COUNTER(struct net, name "_errors", way[i].errors),         \
	    DEVICE_COUNTER(struct net, name "_throttled", way[i].throttled)

static const struct device_counter net_counters[] = {
	VIRTIO_COUNTERS(struct net),
	WAY_COUNTERS("rx", NET_RX),
	WAY_COUNTERS("tx", NET_TX),
	DEVICE_COUNTER(struct net, "tx_rests", way[NET_TX].rests),
};

static const struct device_ops net_ops = {
	VIRTIO_OPS,
	.type = "net",
	.state = &net_desc,
	.destroy = net_destroy,
	.counter = net_counters,
	.ncounters = ARRAY_SIZE(net_counters),
};

static void init_way(struct net *n, enum net_queue q,
		     const struct net_config *c)
{
	struct net_way *w = &n->way[q];

	w->byte_limit.rate = c->bytes_max;
	w->frame_limit.rate = c->frames_max;
	w->limited = c->bytes_max || c->frames_max;
	w->more.run = q == NET_RX ? more_rx : more_tx;
	loop_timer_init(n->loop, &w->timer, q == NET_RX ? rx_over : tx_over);
}

struct net *net_create(const struct net_config *c)
{
	struct net *n = calloc(1, sizeof(*n));

	if (!n) {
		if (c->port)
			c->port->ops->destroy(c->port);
		return NULL;
	}
	n->loop = c->loop;
	n->port = c->port;
	n->gone = !c->port;
	n->mtu = c->mtu;
	n->rx.wanted = 1;
	memcpy(n->mac, c->mac, NET_MAC_BYTES);
	virtio_init(&n->virtio, &net_ops, &net_class, &n->st, &c->virtio);
	/* Without a port it takes any guest, whatever that was on before. */
	n->virtio.features |=
	    (c->port ? c->port->features
		     : NET_PLAIN_OFFLOADS | NET_USO_OFFLOADS) |
	    (c->mtu ? NET_F_MTU : 0);
	n->source = (struct loop_source){ .fd = c->port ? c->port->fd : -1,
					  .ready = on_ready };
	init_way(n, NET_RX, c);
	init_way(n, NET_TX, c);
	loop_timer_init(n->loop, &n->tx.rest, on_rest);
	if (c->port && loop_add(n->loop, &n->source) < 0) {
		net_destroy(&n->virtio.dev);
		return NULL;
	}
	return n;
}
