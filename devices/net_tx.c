/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net, transmit: a header is copied, judged, and given to the port with
 * the frame where it lies in guest memory.
 *
 * A kick costs more than to send a small frame, so an empty queue is not the
 * time to ask for one. First we look at it a little longer (NET_POLL_NS), as a
 * driver on another processor soon offers more; where that helped seldom, only
 * now and then. A driver that shares our processor cannot while we look: if its
 * kicks come close upon our asking (NET_DENSE_NS), we sleep instead, without
 * asking (NET_REST_NS), and find all that it has offered meanwhile. Only a
 * queue that is empty after that, or whose kicks are rare, is asked for one.
 */
#include <errno.h>

#include "net_impl.h"
#include "util.h"

#define LUCK_MOST 8
#define TRY_AGAIN 8

static struct virtq *queue(struct net *n)
{
	return &n->virtio.q[NET_TX];
}

/* ---- the header ---- */

static bool gso_agreed(const struct virtio *v, uint8_t gso)
{
	static const uint64_t needs[] = {
		[NET_GSO_TCP4] = NET_F_HOST_TSO4,
		[NET_GSO_UDP] = NET_F_HOST_UFO,
		[NET_GSO_TCP6] = NET_F_HOST_TSO6,
		[NET_GSO_UDP_L4] = NET_F_HOST_USO,
	};
	uint8_t kind = gso & (uint8_t)~NET_GSO_ECN;

	if (kind >= ARRAY_SIZE(needs) || !virtio_has(v, needs[kind]))
		return false;
	if (!(gso & NET_GSO_ECN))
		return true;
	return (kind == NET_GSO_TCP4 || kind == NET_GSO_TCP6) &&
	       virtio_has(v, NET_F_HOST_ECN);
}

/* virtio 1.2, 5.1.6.2: what the driver must keep to. What it may write and
 * we must not look at is cleared. */
static bool header_fits(const struct net *n, struct net_header *h, size_t bytes)
{
	h->buffers = 0;
	h->flags &= virtio_has(&n->virtio, NET_F_CSUM) ? NET_NEEDS_CSUM : 0;
	if (!h->flags)
		h->csum_start = h->csum_offset = 0;
	else if ((size_t)h->csum_start + h->csum_offset + 2 > bytes)
		return false;
	if (h->gso == NET_GSO_NONE) {
		h->header_bytes = h->gso_bytes = 0;
		return true;
	}
	return h->flags && h->gso_bytes && h->header_bytes <= bytes &&
	       gso_agreed(&n->virtio, h->gso);
}

/* ---- the frame ---- */

/* Copies the pieces at hand, the next one (which fits), and all that is left
 * of the chain: how much there is in all, or -errno. */
static int64_t linearize(struct net_tx *t, struct virtq_chain *c,
			 const struct virtq_desc *next)
{
	size_t at = 0;
	int64_t rest;

	for (unsigned i = 1; i <= NET_PIECES; i++) {
		memcpy(t->copy + at, t->iov[i].iov_base, t->iov[i].iov_len);
		at += t->iov[i].iov_len;
	}
	memcpy(t->copy + at, next->data, next->len);
	at += next->len;
	rest = virtq_read(c, t->copy + at, sizeof(t->copy) - at);
	if (rest < 0)
		return rest;
	at += (size_t)rest;
	if (at > NET_FRAME_MAX)
		return -EMSGSIZE;
	t->iov[1] = (struct iovec){ t->copy, at };
	return (int64_t)at;
}

/* The frame's pieces from iov[1] on: its size, or -errno: -EPROTO is a broken
 * chain, -EMSGSIZE a frame too large. */
static int64_t gather(struct net *n, struct virtq_chain *c, unsigned *pieces)
{
	struct net_tx *t = &n->tx;
	struct virtq_desc d;
	size_t bytes = 0;
	int got;

	*pieces = 0;
	while ((got = virtq_rest(c, &d)) == 1) {
		if (d.writable)
			return virtio_broken(
			    &n->virtio, "a frame in a buffer to be filled");
		if (!d.len)
			continue;
		bytes += d.len;
		if (bytes > NET_FRAME_MAX)
			return -EMSGSIZE;
		if (*pieces == NET_PIECES) {
			*pieces = 1;
			return linearize(t, c, &d);
		}
		t->iov[++*pieces] = (struct iovec){ d.data, d.len };
	}
	return got < 0 ? got : (int64_t)bytes;
}

static void account(struct net *n, int r, size_t bytes)
{
	struct net_way *w = &n->way[NET_TX];

	if (r >= 0) {
		w->frames++;
		w->bytes += bytes;
		net_passed(w, bytes);
	} else if (r == -EINVAL || r == -EMSGSIZE) {
		w->errors++;
		log_guest(&n->virtio.mistakes, n->virtio.dev.name,
			  "a frame of %zu bytes was not sent: %s", bytes,
			  r == -EINVAL ? "its header is wrong"
				       : "of no such size");
	} else {
		w->dropped++;
	}
}

/* What becomes of one chain: 0 sent, 1 sent and kept in part, -EAGAIN not yet,
 * -EPROTO broken, else it is lost. */
static int send(struct net *n, struct virtq_chain *c, int64_t *bytes)
{
	struct net_tx *t = &n->tx;
	int64_t got = virtq_read(c, &t->header, sizeof(t->header));
	unsigned pieces;

	*bytes = 0;
	if (got < 0)
		return (int)got;
	if (got < (int64_t)sizeof(t->header))
		return -EMSGSIZE;
	got = gather(n, c, &pieces);
	if (got < 0)
		return (int)got;
	*bytes = got;
	if (got < NET_FRAME_MIN)
		return -EMSGSIZE;
	if (!header_fits(n, &t->header, (size_t)got))
		return -EINVAL;
	if (n->gone)
		return -ENOLINK;
	return n->port->ops->send(n->port, &t->header, t->iov, pieces + 1,
				  (size_t)got);
}

/* The next chain, if there is one and it may go: its bytes (1 at least), or 0.
 */
static size_t send_next(struct net *n)
{
	struct virtq_chain c;
	int64_t bytes;
	int r;

	if (n->tx.stalled || !net_may_pass(n, &n->way[NET_TX]) ||
	    virtq_pop(queue(n), &c) != 1)
		return 0;
	r = send(n, &c, &bytes);
	if (r == -EPROTO)
		return 0;
	n->tx.stalled = r == -EAGAIN || r == 1;
	if (r == -EAGAIN) {
		virtq_unpop(queue(n), 1);
		return 0;
	}
	if (r == -ENOLINK)
		net_gone(n, r);
	account(n, r, (size_t)bytes);
	virtq_push(&c, 0);
	return MAX((size_t)bytes, 1);
}

/* ---- when the queue is empty ---- */

/* Has the driver, while we looked, offered more? */
static bool look(struct virtq *q)
{
	uint64_t until = now_ns() + NET_POLL_NS;

	do {
		for (unsigned i = 0; i < 64; i++) {
			if (virtq_offers(q))
				return true;
			__builtin_ia32_pause();
		}
	} while (now_ns() < until);
	return false;
}

static bool more_comes(struct net *n)
{
	struct net_tx *t = &n->tx;

	if (!t->luck && ++t->drains % TRY_AGAIN)
		return false;
	if (look(queue(n))) {
		t->luck = MIN(t->luck + 1, LUCK_MOST);
		return true;
	}
	if (t->luck)
		t->luck--;
	return false;
}

/* The queue is empty: true when it is not any more. `busy`: the driver has sent
 * since we last slept. */
static bool go_on(struct net *n, bool busy, bool dense)
{
	struct virtq *q = queue(n);

	if (n->tx.stalled || n->way[NET_TX].waiting)
		return false;
	if (busy && more_comes(n))
		return true;
	if (busy && dense) {
		n->way[NET_TX].rests++;
		loop_timer_set(&n->tx.rest, NET_REST_NS);
		return false;
	}
	n->tx.asked_ns = now_ns();
	return virtq_enable_kicks(q);
}

void net_transmit(struct net *n, bool rested)
{
	struct virtq *q = queue(n);
	size_t bytes = 0, sent;
	unsigned frames = 0, before;
	bool dense = rested || now_ns() - n->tx.asked_ns < NET_DENSE_NS;

	do {
		before = frames;
		while (frames < NET_ROUND_FRAMES && bytes < NET_ROUND_BYTES &&
		       (sent = send_next(n)) > 0) {
			bytes += sent;
			frames++;
		}
		virtq_interrupt(q);
		if (frames == NET_ROUND_FRAMES || bytes >= NET_ROUND_BYTES) {
			loop_post(n->loop, &n->way[NET_TX].more);
			return;
		}
	} while (go_on(n, frames > before, dense));
}
