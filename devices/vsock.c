/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock: the queues and the protocol.
 *
 * A round (run) takes so many packets from the guest, gives it so many, and
 * comes back by a task when there may be more. Connections that have something
 * for the guest stand in a list and get one packet a turn, so that none starves
 * another; one whose host does not read is kept (vsock_conn.h) and stops by its
 * credit, so that the transmit queue always goes on.
 *
 * A receive buffer is popped first and given back unused when the socket turns
 * out to have nothing: to look first would be a call more for each packet.
 */
#include "vsock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "fdio.h"
#include "util.h"

#define VIRTIO_ID_VSOCK	    19
#define F_STREAM	    (UINT64_C(1) << 0)
#define EVENT_RESET	    0
#define ROUND_PACKETS	    64
#define ROUND_LINK_MESSAGES 16

static const struct state_field vsock_fields[] = {
	VIRTIO_STATE_ROWS(struct vsock_state, virtio),
};
static const struct state_desc vsock_desc =
    STATE_DESC("vsock", 1, struct vsock_state, vsock_fields);

static struct vsock *vsock_of(struct virtio *v)
{
	return container_of(v, struct vsock, virtio);
}

/* ---- to the guest ---- */

static const struct {
	uint8_t want;
	uint16_t op;
} by_want[] = {
	{ VSOCK_WANT_RST, VSOCK_OP_RST },
	{ VSOCK_WANT_REQUEST, VSOCK_OP_REQUEST },
	{ VSOCK_WANT_RESPONSE, VSOCK_OP_RESPONSE },
	{ VSOCK_WANT_CREDIT_UPDATE, VSOCK_OP_CREDIT_UPDATE },
	{ VSOCK_WANT_CREDIT_REQUEST, VSOCK_OP_CREDIT_REQUEST },
	{ VSOCK_WANT_SHUTDOWN, VSOCK_OP_SHUTDOWN },
};

static uint16_t next_op(struct vsock_conn *c)
{
	for (unsigned i = 0; i < ARRAY_SIZE(by_want); i++) {
		if (!(c->want & by_want[i].want))
			continue;
		c->want &= (uint8_t)~by_want[i].want;
		return by_want[i].op;
	}
	return VSOCK_OP_RW;
}

/* Data of the host into the buffers: false when there is none now. */
static bool fetch(struct vsock *s, struct vsock_conn *c,
		  const struct vsock_room *r, struct vsock_packet *h)
{
	struct iovec iov[VSOCK_QUEUE_MAX];
	size_t most =
	    MIN(r->bytes - sizeof(struct vsock_packet), VSOCK_MAX_DATA);
	ssize_t n;

	most = MIN(most, vsock_credit(c));
	if (c->state != VSOCK_OPEN || !c->readable || !most)
		return false;
	n = vsock_read(c, iov, vsock_room_iov(r, most, iov));
	/* Less than there is room for is all there was. */
	c->readable = n > 0 && (size_t)n == most;
	if (n == 0)
		vsock_tell_shut(c, c->hup ? VSOCK_SHUT_BOTH : VSOCK_SHUT_SEND);
	else if (n < 0 && n != -EAGAIN)
		vsock_kill(c);
	if (n <= 0)
		return false;
	h->len = (uint32_t)n;
	c->sent += (uint32_t)n;
	s->bytes_in += (uint64_t)n;
	return true;
}

/* The next packet of the connection; false: it has none after all. */
static bool compose(struct vsock *s, struct vsock_conn *c,
		    const struct vsock_room *r, struct vsock_packet *h)
{
	*h = (struct vsock_packet){
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = s->guest_cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.type = VSOCK_TYPE_STREAM,
		.op = next_op(c),
		.buf_alloc = VSOCK_BUF_BYTES,
	};
	if (h->op == VSOCK_OP_RW && !fetch(s, c, r, h))
		return false;
	if (h->op == VSOCK_OP_SHUTDOWN)
		h->flags = c->told_shut;
	h->fwd_cnt = c->told_fwd = c->fwd_cnt;
	if (h->op == VSOCK_OP_RST) {
		s->resets++;
		vsock_unlist(c);
	}
	return true;
}

static bool next_packet(struct vsock *s, const struct vsock_room *r,
			struct vsock_packet *h)
{
	struct vsock_conn *c;
	bool found = false;

	if (s->nstrays) {
		*h = s->stray[s->first_stray];
		s->first_stray = (s->first_stray + 1) % VSOCK_MAX_STRAYS;
		s->nstrays--;
		s->resets++;
		return true;
	}
	while (!found && (c = vsock_next_due(&s->table))) {
		if (c->state == VSOCK_FREE)
			continue;
		found = compose(s, c, r, h);
		vsock_settle(c);
	}
	return found;
}

static void give_packets(struct vsock *s, unsigned *left)
{
	struct virtq *q = &s->virtio.q[VSOCK_RX];
	struct vsock_packet h;
	struct virtq_chain c;
	struct vsock_room r;

	for (; *left && (s->nstrays || s->table.first_due); --*left) {
		int got = virtq_pop(q, &c);

		if (got == 0 && virtq_enable_kicks(q))
			continue;
		if (got != 1 || vsock_room_of(&c, &r))
			break;
		if (next_packet(s, &r, &h))
			vsock_give(&c, &r, &h);
		else
			virtq_unpop(q, 1);
	}
	virtq_interrupt(q);
}

/* A packet that belongs to nothing is answered, but for one that says just
 * that. Who asks faster than it takes answers gets no more of them. */
static void answer_stray(struct vsock *s, const struct vsock_packet *h)
{
	unsigned at = (s->first_stray + s->nstrays) % VSOCK_MAX_STRAYS;

	if (h->op == VSOCK_OP_RST || s->nstrays == VSOCK_MAX_STRAYS)
		return;
	s->stray[at] = (struct vsock_packet){
		.src_cid = h->dst_cid,
		.dst_cid = s->guest_cid,
		.src_port = h->dst_port,
		.dst_port = h->src_port,
		.type = h->type,
		.op = VSOCK_OP_RST,
	};
	s->nstrays++;
}

/* ---- from the guest ---- */

static void guest_asks(struct vsock *s, const struct vsock_packet *h)
{
	const struct vsock_link_msg ask = { .kind = VSOCK_LINK_CONNECT,
					    .host_port = h->dst_port,
					    .guest_port = h->src_port };
	struct vsock_conn *c =
	    vsock_add(&s->table, h->dst_port, h->src_port, VSOCK_ASKED);

	if (!c) {
		s->refused++;
		answer_stray(s, h);
		return;
	}
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	if (vsock_link_tell(s->link_fd, &ask)) {
		s->refused++;
		vsock_kill(c);
	}
	vsock_settle(c);
}

/* The guest takes what a host program has asked for. */
static void guest_accepts(struct vsock *s, struct vsock_conn *c)
{
	char line[24];
	int len = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	if (c->state != VSOCK_OFFERED ||
	    fd_write(c->fds.socket, line, (size_t)len) != len) {
		vsock_kill(c);
		return;
	}
	c->state = VSOCK_OPEN;
	s->connected++;
}

static void guest_shuts(struct vsock_conn *c, uint32_t flags)
{
	c->guest_shut |= flags & VSOCK_SHUT_BOTH;
	if (c->state != VSOCK_OPEN && c->state != VSOCK_CLOSED) {
		vsock_kill(c);
	} else if (c->guest_shut == VSOCK_SHUT_BOTH) {
		/* What it sent before still goes to the host. */
		c->state = VSOCK_ENDING;
		c->want = VSOCK_WANT_RST;
	}
}

static void guest_resets(struct vsock *s, struct vsock_conn *c)
{
	if (c->state == VSOCK_OFFERED)
		s->refused++;
	if (c->state == VSOCK_ENDING)
		vsock_unlist(c);
	else
		vsock_drop(c);
}

static void guest_sends(struct vsock *s, struct vsock_conn *c,
			const struct iovec *iov, unsigned n, uint32_t len)
{
	int r;

	if (c->state == VSOCK_CLOSED) {
		c->fwd_cnt += len; /* on its way when the host left */
		return;
	}
	if (c->state != VSOCK_OPEN || c->guest_shut & VSOCK_SHUT_SEND) {
		vsock_kill(c);
		return;
	}
	r = vsock_write(c, iov, n, len);
	s->bytes_out += r ? 0 : len;
	s->overruns += r == -ENOBUFS;
	if (r)
		vsock_kill(c);
}

static void dispatch(struct vsock *s, struct vsock_conn *c,
		     const struct vsock_packet *h, const struct iovec *iov,
		     unsigned n)
{
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	if (vsock_credit(c))
		c->asked_credit = false;
	if (h->op == VSOCK_OP_RST)
		guest_resets(s, c);
	else if (c->state == VSOCK_ENDING)
		return; /* it is being told */
	else if (h->op == VSOCK_OP_RESPONSE)
		guest_accepts(s, c);
	else if (h->op == VSOCK_OP_SHUTDOWN)
		guest_shuts(c, h->flags);
	else if (h->op == VSOCK_OP_RW)
		guest_sends(s, c, iov, n, h->len);
	else if (h->op == VSOCK_OP_CREDIT_REQUEST)
		c->want |= VSOCK_WANT_CREDIT_UPDATE;
	else if (h->op != VSOCK_OP_CREDIT_UPDATE)
		vsock_kill(c); /* REQUEST of a pair in use; unknown */
	vsock_settle(c);
}

static void ignore(struct vsock *s, const char *why)
{
	s->malformed++;
	log_guest(&s->virtio.mistakes, s->virtio.dev.name,
		  "a packet was ignored: %s", why);
}

/* One packet: 0, or -EPROTO: the driver has broken the queue. */
static int take_packet(struct vsock *s, struct virtq_chain *c)
{
	struct iovec iov[VSOCK_QUEUE_MAX];
	struct vsock_packet h;
	struct vsock_conn *conn;
	unsigned n = 0;
	int64_t got = virtq_read(c, &h, sizeof(h));

	if (got < 0)
		return (int)got;
	if (got < (int64_t)sizeof(h)) {
		ignore(s, "shorter than its header");
	} else if (h.src_cid != s->guest_cid) {
		ignore(s, "from a CID that is not the guest's");
	} else if (h.op == VSOCK_OP_RW && !vsock_data_of(c, h.len, iov, &n)) {
		ignore(s, "shorter than it says");
	} else if (h.dst_cid != VSOCK_HOST_CID || h.type != VSOCK_TYPE_STREAM) {
		answer_stray(s, &h);
	} else if ((conn = vsock_find(&s->table, h.dst_port, h.src_port))) {
		dispatch(s, conn, &h, iov, n);
	} else if (h.op == VSOCK_OP_REQUEST) {
		guest_asks(s, &h);
	} else {
		answer_stray(s, &h);
	}
	return s->virtio.st->status & VIRTIO_NEEDS_RESET ? -EPROTO : 0;
}

static void take_packets(struct vsock *s, unsigned *left)
{
	struct virtq *q = &s->virtio.q[VSOCK_TX];
	struct virtq_chain c;

	do {
		while (*left && virtq_pop(q, &c) == 1) {
			--*left;
			if (take_packet(s, &c))
				return;
			virtq_push(&c, 0);
		}
	} while (*left && virtq_enable_kicks(q));
	virtq_interrupt(q);
}

/* ---- rounds ---- */

static void tell_reset(struct vsock *s)
{
	struct virtq *q = &s->virtio.q[VSOCK_EVENT];
	const uint32_t id = EVENT_RESET;
	struct virtq_chain c;
	int64_t n;

	do {
		if (!s->tell_reset || virtq_pop(q, &c) != 1)
			continue;
		n = virtq_write(&c, &id, sizeof(id));
		if (n < 0)
			return;
		if (n < (int64_t)sizeof(id)) {
			virtio_broken(&s->virtio, "no room for an event");
			return;
		}
		virtq_push(&c, (uint32_t)n);
		s->tell_reset = false;
	} while (s->tell_reset && virtq_enable_kicks(q));
	virtq_interrupt(q);
}

static void drop_all(struct vsock *s)
{
	s->drop_all = false;
	s->nstrays = 0;
	vsock_table_clear(&s->table);
}

/* All that can be done now, within bounds. The lock is held. */
static void run(struct vsock *s)
{
	unsigned to_take = ROUND_PACKETS, to_give = ROUND_PACKETS;

	if (s->drop_all)
		drop_all(s);
	if (!virtio_may_pop(&s->virtio))
		return;
	tell_reset(s);
	take_packets(s, &to_take);
	give_packets(s, &to_give);
	if (!to_take || !to_give)
		loop_post(s->loop, &s->more);
}

static void run_on(struct loop_task *t)
{
	struct vsock *s = container_of(t, struct vsock, more);
	_locked_(&s->virtio.dev.lock);

	run(s);
}

static void vsock_kick(struct virtio *v, unsigned queue)
{
	/* One round looks at all of them: that of the first that is there. */
	for (unsigned i = 0; i < queue; i++)
		if (v->q[i].desc)
			return;
	run(vsock_of(v));
}

/* ---- the host ---- */

static void on_socket(struct vsock_conn *c, uint32_t events)
{
	struct vsock *s = c->table->owner;
	_locked_(&s->virtio.dev.lock);

	if (events & (EPOLLHUP | EPOLLERR))
		c->hup = true;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		c->readable = true;
	if (events & EPOLLOUT)
		vsock_flush(c);
	vsock_settle(c);
	run(s);
}

/* The broker's answer to what the guest has asked. */
static void broker_answers(struct vsock *s, const struct vsock_link_msg *m,
			   struct vsock_link_fds *fds)
{
	struct vsock_conn *c =
	    vsock_find(&s->table, m->host_port, m->guest_port);

	if (!c || c->state != VSOCK_ASKED) {
		vsock_link_close_fds(fds); /* the guest did not wait */
		return;
	}
	if (fds->socket < 0 || vsock_attach(c, fds)) {
		s->refused++;
		vsock_kill(c);
	} else {
		s->accepted++;
		c->state = VSOCK_OPEN;
		c->want |= VSOCK_WANT_RESPONSE;
	}
	vsock_settle(c);
}

/* A host program wants a port of the guest. */
static void host_asks(struct vsock *s, const struct vsock_link_msg *m,
		      struct vsock_link_fds *fds)
{
	uint32_t port = vsock_free_port(&s->table, m->guest_port);
	struct vsock_conn *c = NULL;

	if (fds->socket >= 0 && virtio_is_live(&s->virtio))
		c = vsock_add(&s->table, port, m->guest_port, VSOCK_OFFERED);
	if (!c) {
		s->refused++;
		vsock_link_close_fds(fds);
		return;
	}
	if (vsock_attach(c, fds)) {
		s->refused++;
		vsock_drop(c);
		return;
	}
	c->want |= VSOCK_WANT_REQUEST;
	vsock_settle(c);
}

static void on_message(struct vsock *s, const struct vsock_link_msg *m,
		       struct vsock_link_fds *fds)
{
	if (m->kind == VSOCK_LINK_INCOMING)
		host_asks(s, m, fds);
	else if (m->kind == VSOCK_LINK_CONNECTED ||
		 m->kind == VSOCK_LINK_REFUSED)
		broker_answers(s, m, fds);
	else
		vsock_link_close_fds(fds);
}

static void on_link(struct loop_source *source, uint32_t events)
{
	struct vsock *s = container_of(source, struct vsock, link);
	struct vsock_link_msg m;
	struct vsock_link_fds fds;
	_locked_(&s->virtio.dev.lock);

	if (s->drop_all)
		drop_all(s);
	for (unsigned i = 0; i < ROUND_LINK_MESSAGES; i++) {
		int got = vsock_link_take(s->link_fd, &m, &fds);

		if (got == 0)
			break;
		if (got == 1) {
			on_message(s, &m, &fds);
		} else if (got != -EBADMSG) {
			loop_del(s->loop, &s->link);
			log_warn(s->virtio.dev.name,
				 "no more connections: its broker has ended");
			break;
		}
	}
	run(s);
}

/* ---- the device ---- */

/* Maybe on a vCPU's thread, whose sandbox does not let it close a socket. */
static void vsock_reset(struct virtio *v)
{
	struct vsock *s = vsock_of(v);

	s->tell_reset = false;
	s->drop_all = true;
	loop_post(s->loop, &s->more);
}

static int vsock_restored(struct device *d)
{
	struct vsock *s = vsock_of(virtio_of(d));
	int r = virtio_restored(d);

	drop_all(s);
	s->tell_reset = virtio_is_live(&s->virtio);
	return r;
}

static uint64_t config_read(struct virtio *v, uint64_t off, unsigned len)
{
	uint64_t cid = vsock_of(v)->guest_cid, part = 0;

	memcpy(&part, (const uint8_t *)&cid + off, len);
	return part;
}

static const struct virtio_class vsock_class = {
	.id = VIRTIO_ID_VSOCK,
	.nqueues = VSOCK_QUEUES,
	.queue_max = VSOCK_QUEUE_MAX,
	.features = F_STREAM,
	.kick = vsock_kick,
	.reset = vsock_reset,
	.config_bytes = sizeof(uint64_t),
	.config_read = config_read,
};

static void vsock_destroy(struct device *d)
{
	struct vsock *s = vsock_of(virtio_of(d));

	loop_unpost(s->loop, &s->more);
	loop_del(s->loop, &s->link);
	vsock_table_fini(&s->table);
	device_fini(d);
	free(s);
}

static const struct device_counter vsock_counters[] = {
	VIRTIO_COUNTERS(struct vsock),
	DEVICE_COUNTER(struct vsock, "accepted", accepted),
	DEVICE_COUNTER(struct vsock, "connected", connected),
	DEVICE_COUNTER(struct vsock, "refused_connections", refused),
	DEVICE_COUNTER(struct vsock, "resets", resets),
	DEVICE_COUNTER(struct vsock, "malformed", malformed),
	DEVICE_COUNTER(struct vsock, "overruns", overruns),
	DEVICE_COUNTER(struct vsock, "bytes_in", bytes_in),
	DEVICE_COUNTER(struct vsock, "bytes_out", bytes_out),
};

static const struct device_ops vsock_ops = {
	.type = "vsock",
	.state = &vsock_desc,
	.regs = virtio_regs,
	.nregs = VIRTIO_NREGS,
	.reset = virtio_reset,
	.read = virtio_read,
	.write = virtio_write,
	.quiesce = virtio_quiesce,
	.resume = virtio_resume,
	.restored = vsock_restored,
	.destroy = vsock_destroy,
	.counter = vsock_counters,
	.ncounters = ARRAY_SIZE(vsock_counters),
};

struct vsock *vsock_create(const struct vsock_config *c)
{
	struct vsock *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->loop = c->loop;
	s->guest_cid = c->guest_cid;
	s->link_fd = c->link_fd;
	s->link = (struct loop_source){ .fd = c->link_fd,
					.ready = on_link,
					.events = EPOLLIN };
	s->more.run = run_on;
	virtio_init(&s->virtio, &vsock_ops, &vsock_class, &s->st, &c->virtio);
	if (vsock_table_init(&s->table, c->loop, on_socket, s) ||
	    loop_add(c->loop, &s->link)) {
		vsock_destroy(&s->virtio.dev);
		return NULL;
	}
	return s;
}
