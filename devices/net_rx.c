/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net, receive. How long the next frame is nobody knows before it is
 * read, so buffers are popped until the longest one expected fits, and a buffer
 * of our own (`spill`) follows them: no frame is cut off. Those that were not
 * needed are kept for the next frame, and offered again when the machine
 * pauses.
 *
 * A frame that did need the spill is put together there and copied to as many
 * buffers as it takes. Should there be too few, it is held until the driver
 * brings more; nothing is read meanwhile.
 */
#include <errno.h>

#include "net_impl.h"
#include "util.h"

#define HEADER sizeof(struct net_header)
/* After so many small frames in a row, room for one is popped, not more. */
#define SMALL_FRAMES 64

static struct virtq *queue(struct net *n)
{
	return &n->virtio.q[NET_RX];
}

static bool merges(const struct net *n)
{
	return virtio_has(&n->virtio, NET_F_MRG_RXBUF);
}

/* ---- buffers ---- */

void net_rx_forget(struct net *n)
{
	n->rx.nbuffers = n->rx.npieces = 0;
	n->rx.room = 0;
}

void net_rx_give_back(struct net *n)
{
	virtq_unpop(queue(n), n->rx.nbuffers);
	net_rx_forget(n);
}

/* Appends the chain just popped: 1, 0 when it has too many pieces to be here
 * (it is offered again), or -EPROTO. */
static int add_buffer(struct net *n, struct virtq_chain *c)
{
	struct net_rx *rx = &n->rx;
	struct net_buffer *b = &rx->buffer[rx->nbuffers];
	unsigned at = rx->npieces;
	struct virtq_desc d;
	uint64_t bytes = 0;
	int got;

	b->chain = *c;
	while ((got = virtq_next(c, &d)) == 1) {
		if (!d.writable)
			return virtio_broken(&n->virtio,
					     "a buffer that cannot be filled");
		if (!d.len)
			continue;
		if (at == NET_PIECES) {
			virtq_unpop(queue(n), 1);
			return 0;
		}
		rx->piece[at++] = d;
		bytes += d.len;
	}
	if (got < 0)
		return got;
	if (bytes < HEADER)
		return virtio_broken(&n->virtio,
				     "a buffer without room for the header");
	b->pieces = at - rx->npieces;
	b->bytes = (uint32_t)MIN(bytes, UINT32_MAX);
	rx->npieces = at;
	rx->nbuffers++;
	rx->room += b->bytes;
	return 1;
}

/* Is there a buffer? Pops as many as are wanted, one at least; the first of
 * more pieces than are kept stays in the queue, and counts as there. */
static bool have_buffers(struct net *n)
{
	struct net_rx *rx = &n->rx;
	size_t wanted = merges(n) ? rx->wanted : HEADER;
	unsigned most = MIN(NET_PIECES, n->st.virtio.size[NET_RX]);
	struct virtq_chain c;

	while (rx->room < wanted && rx->nbuffers < most &&
	       virtq_pop(queue(n), &c) == 1) {
		int r = add_buffer(n, &c);

		if (r < 0) {
			net_rx_give_back(n);
			return false;
		}
		if (r == 0)
			return true;
	}
	return rx->nbuffers > 0;
}

/* The first `k` were filled. */
static void drop_buffers(struct net_rx *rx, unsigned k)
{
	unsigned pieces = 0;

	for (unsigned i = 0; i < k; i++) {
		pieces += rx->buffer[i].pieces;
		rx->room -= rx->buffer[i].bytes;
	}
	rx->nbuffers -= k;
	rx->npieces -= pieces;
	memmove(rx->buffer, rx->buffer + k, rx->nbuffers * sizeof(*rx->buffer));
	memmove(rx->piece, rx->piece + pieces,
		rx->npieces * sizeof(*rx->piece));
}

/* iov[1..]: all room behind the header's, then the spill. Without merging a
 * frame has one buffer. */
static unsigned lay_out(struct net *n)
{
	struct net_rx *rx = &n->rx;
	unsigned pieces = rx->npieces, at = 1;
	size_t skip = HEADER;

	if (!merges(n) && rx->nbuffers)
		pieces = rx->buffer[0].pieces;
	for (unsigned i = 0; i < pieces; i++) {
		const struct virtq_desc *d = &rx->piece[i];
		size_t cut = MIN(skip, d->len);

		skip -= cut;
		if (cut < d->len)
			rx->iov[at++] =
			    (struct iovec){ d->data + cut, d->len - cut };
	}
	rx->iov[at++] = (struct iovec){ rx->spill, sizeof(rx->spill) };
	return at;
}

/* ---- a frame in the driver's buffers ---- */

/* The first `bytes` of the buffers were written, whatever becomes of them. */
static void mark(struct net_rx *rx, size_t bytes)
{
	for (unsigned i = 0; i < rx->npieces && bytes; i++) {
		uint32_t len = (uint32_t)MIN(bytes, rx->piece[i].len);

		virtq_wrote(&rx->buffer[0].chain, &rx->piece[i], len);
		bytes -= len;
	}
}

static void write_header(struct net_rx *rx)
{
	const uint8_t *from = (const uint8_t *)&rx->header;
	size_t left = HEADER;

	for (unsigned i = 0; left; i++) {
		size_t len = MIN(left, rx->piece[i].len);

		memcpy(rx->piece[i].data, from, len);
		from += len;
		left -= len;
	}
}

/* The frame of `bytes` lies in the first buffers, all of it. */
static void deliver(struct net *n, size_t bytes)
{
	struct net_rx *rx = &n->rx;
	size_t left = HEADER + bytes;
	unsigned k = 0;

	for (size_t sum = 0; sum < left; k++)
		sum += rx->buffer[k].bytes;
	rx->header.buffers = (uint16_t)k;
	write_header(rx);
	for (unsigned i = 0; i < k; i++) {
		size_t len = MIN(left, rx->buffer[i].bytes);

		virtq_push(&rx->buffer[i].chain, (uint32_t)len);
		left -= len;
	}
	drop_buffers(rx, k);
}

/* ---- a frame in the spill ---- */

/* The part that lies in the buffers goes before the part that does not. */
static void hold(struct net *n, size_t bytes, size_t room)
{
	struct net_rx *rx = &n->rx;
	size_t at = 0;

	memmove(rx->spill + room, rx->spill, bytes - room);
	for (unsigned i = 1; at < room; i++) {
		memcpy(rx->spill + at, rx->iov[i].iov_base, rx->iov[i].iov_len);
		at += rx->iov[i].iov_len;
	}
	rx->held = bytes;
	net_rx_give_back(n);
}

/* Fills one chain with what is left from `from` on; how much, or -EPROTO. */
static int64_t fill(struct net *n, struct virtq_chain *c, bool first,
		    const uint8_t *from, size_t left)
{
	int64_t head = 0, got;

	if (first)
		head = virtq_write(c, &n->rx.header, HEADER);
	if (head < 0 || (first && head < (int64_t)HEADER))
		return head < 0 ? head
				: virtio_broken(
				      &n->virtio,
				      "a buffer without room for the header");
	got = virtq_write(c, from, left);
	if (got + head == 0)
		return virtio_broken(&n->virtio,
				     "a buffer that cannot be filled");
	return got < 0 ? got : got + head;
}

struct filled {
	uint16_t head;
	uint32_t bytes;
};

static void push_filled(struct net *n, struct virtq_chain *first,
			const struct filled *f, unsigned k)
{
	n->rx.header.buffers = (uint16_t)k;
	virtq_write(first, &n->rx.header, HEADER);
	for (unsigned i = 0; i < k; i++) {
		struct virtq_chain c = { .q = queue(n), .head = f[i].head };

		virtq_push(&c, f[i].bytes);
	}
}

/* No buffers, or one without merging, will ever do for the frame held. */
static bool never_fits(const struct net *n, unsigned tried)
{
	return merges(n) ? tried == n->st.virtio.size[NET_RX] : tried == 1;
}

/* What is left of the frame held, header included, when the chains that the
 * driver has offered are filled, *k of them. -EPROTO: broken. */
static int64_t fill_chains(struct net *n, struct virtq_chain *first,
			   struct filled *f, unsigned *k)
{
	unsigned most = merges(n) ? NET_QUEUE_MAX : 1;
	const uint8_t *from = n->rx.spill;
	size_t left = HEADER + n->rx.held;
	struct virtq_chain c;

	for (*k = 0; left && *k < most && virtq_pop(queue(n), &c) == 1; ++*k) {
		size_t head = *k ? 0 : HEADER;
		int64_t got;

		if (*k == 0)
			*first = c;
		got = fill(n, &c, *k == 0, from, left - head);
		if (got < 0)
			return got;
		f[*k] = (struct filled){ c.head, (uint32_t)got };
		from += (size_t)got - head;
		left -= (size_t)got;
	}
	return (int64_t)left;
}

/* Copies the frame held to buffers: true when it is held no more. */
static bool deliver_held(struct net *n)
{
	struct filled f[NET_QUEUE_MAX];
	struct virtq_chain first = { 0 };
	int64_t left;
	bool more;
	unsigned k;

	do {
		left = fill_chains(n, &first, f, &k);
		if (left <= 0)
			break;
		/* The kick is to come beyond what there is already. */
		more = !never_fits(n, k) && virtq_enable_kicks(queue(n));
		virtq_unpop(queue(n), k);
	} while (more);
	if (left == 0)
		push_filled(n, &first, f, k);
	else if (left > 0 && never_fits(n, k))
		n->way[NET_RX].dropped++;
	else
		return false;
	n->rx.held = 0;
	return true;
}

/* ---- the round ---- */

/* Frames of the kind that was not agreed on: they come from the host's queue,
 * made for the driver before this one. */
static bool header_fits(const struct net *n)
{
	const struct net_header *h = &n->rx.header;
	const struct virtio *v = &n->virtio;

	if (h->gso == NET_GSO_NONE)
		return !(h->flags & NET_NEEDS_CSUM) ||
		       virtio_has(v, NET_F_GUEST_CSUM);
	switch (h->gso & ~NET_GSO_ECN) {
	case NET_GSO_TCP4:
		return virtio_has(v, NET_F_GUEST_TSO4);
	case NET_GSO_TCP6:
		return virtio_has(v, NET_F_GUEST_TSO6);
	case NET_GSO_UDP:
		return virtio_has(v, NET_F_GUEST_UFO);
	case NET_GSO_UDP_L4:
		return virtio_has(v, NET_F_GUEST_USO4);
	}
	return false;
}

/* How much room to have: of the largest frame, as soon as one was large. */
static void learn(struct net_rx *rx, size_t bytes, size_t room)
{
	if (bytes > room) {
		rx->wanted = HEADER + NET_FRAME_MAX;
		rx->small = 0;
	} else if (bytes > 2048) {
		rx->small = 0;
	} else if (++rx->small >= SMALL_FRAMES) {
		rx->wanted = HEADER + 1;
	}
}

/* One frame came, `bytes` long. */
static void take(struct net *n, unsigned pieces, size_t bytes)
{
	struct net_way *w = &n->way[NET_RX];
	size_t room = 0;

	for (unsigned i = 1; i + 1 < pieces; i++)
		room += n->rx.iov[i].iov_len;
	learn(&n->rx, bytes, room);
	if (!header_fits(n)) {
		w->errors++;
	} else if (bytes <= room) {
		w->frames++;
		w->bytes += bytes;
		deliver(n, bytes);
	} else if (merges(n) || !n->rx.nbuffers) {
		w->frames++;
		w->bytes += bytes;
		hold(n, bytes, room);
	} else {
		w->dropped++;
	}
	net_passed(w, bytes);
}

/* Reads a frame: true when one came, even one that was none. */
static bool receive_next(struct net *n, size_t *bytes)
{
	unsigned pieces = lay_out(n);
	int got =
	    n->port->ops->receive(n->port, &n->rx.header, n->rx.iov, pieces);

	*bytes = 0;
	if (got == -EAGAIN)
		return false;
	if (got == -ENOLINK) {
		net_gone(n, got);
		return false;
	}
	mark(&n->rx, got < 0 ? SIZE_MAX : HEADER + (size_t)got);
	if (got < 0) {
		n->way[NET_RX].errors++;
		return true;
	}
	*bytes = (size_t)got;
	take(n, pieces, *bytes);
	return true;
}

/* Room for the next frame, after the one held. Without it the driver is asked
 * for a kick. */
static bool have_room(struct net *n)
{
	n->rx.starved = false;
	do {
		if (n->rx.held && !deliver_held(n))
			break;
		if (have_buffers(n))
			return true;
	} while (virtq_enable_kicks(queue(n)));
	n->rx.starved = true;
	return false;
}

void net_receive(struct net *n)
{
	size_t bytes = 0, got = 0;
	unsigned frames = 0;
	bool more = true;

	while (!n->gone && net_may_pass(n, &n->way[NET_RX]) && have_room(n)) {
		more = frames < NET_ROUND_FRAMES && bytes < NET_ROUND_BYTES;
		if (!more || !receive_next(n, &got))
			break;
		bytes += got;
		frames++;
	}
	virtq_interrupt(queue(n));
	if (!more)
		loop_post(n->loop, &n->way[NET_RX].more);
}
