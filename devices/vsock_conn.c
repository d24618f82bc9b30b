/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: the table, the bytes for the host, the host's socket.
 *
 *   guest asks ─► ASKED ─┐ broker             guest: SHUTDOWN of both
 *                        ├─────► OPEN ──┬──────────────────────► ENDING
 *   host asks ─► OFFERED ┘ guest        │ host closed     RST sent │
 *                                       ▼   guest: SHUTDOWN, RST   ▼
 *                                     CLOSED ─────────────────► LINGERING
 *                                                  all taken ─► FREE
 *
 * Any but FREE and LINGERING goes to ENDING by vsock_kill, to FREE by
 * vsock_drop. A free one may still stand in the list of those that are due; who
 * takes it from there finds that nothing is.
 */
#include "vsock_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "fdio.h"
#include "util.h"

/* Those of host programs, as they see them after "OK". */
#define FIRST_HOST_PORT 0x40000000

/* ---- the table ---- */

static void on_source(struct loop_source *s, uint32_t events)
{
	struct vsock_conn *c = container_of(s, struct vsock_conn, source);

	c->table->ready(c, events);
}

int vsock_table_init(struct vsock_table *t, struct loop *loop,
		     void (*ready)(struct vsock_conn *c, uint32_t events),
		     void *owner)
{
	*t = (struct vsock_table){ .loop = loop,
				   .ready = ready,
				   .owner = owner,
				   .next_port = FIRST_HOST_PORT };
	t->pool = calloc(VSOCK_MAX_CONNECTIONS, sizeof(*t->pool));
	return t->pool ? 0 : -ENOMEM;
}

void vsock_table_fini(struct vsock_table *t)
{
	if (!t->pool)
		return;
	vsock_table_clear(t);
	free(t->pool);
	t->pool = NULL;
}

void vsock_table_clear(struct vsock_table *t)
{
	for (unsigned i = 0; i < t->used; i++)
		if (t->pool[i].state != VSOCK_FREE)
			vsock_drop(&t->pool[i]);
}

static struct vsock_conn **bucket_of(const struct vsock_table *t,
				     uint32_t host_port, uint32_t guest_port)
{
	uint32_t mix = (host_port ^ guest_port << 16 ^ guest_port >> 16) *
		       UINT32_C(0x9e3779b1);

	return (struct vsock_conn **)&t->bucket[mix >> 24];
}
_Static_assert(VSOCK_BUCKETS == 1 << (32 - 24), "the bits of a bucket");

struct vsock_conn *vsock_find(const struct vsock_table *t, uint32_t host_port,
			      uint32_t guest_port)
{
	struct vsock_conn *c = *bucket_of(t, host_port, guest_port);

	while (c && (c->host_port != host_port || c->guest_port != guest_port))
		c = c->next;
	return c;
}

struct vsock_conn *vsock_add(struct vsock_table *t, uint32_t host_port,
			     uint32_t guest_port, enum vsock_conn_state state)
{
	struct vsock_conn **bucket = bucket_of(t, host_port, guest_port);
	struct vsock_conn *c = t->free;

	/* What was never used is not touched: it costs no memory. */
	if (c)
		t->free = c->next;
	else if (t->used < VSOCK_MAX_CONNECTIONS)
		c = &t->pool[t->used++];
	else
		return NULL;
	*c = (struct vsock_conn){
		.table = t,
		.host_port = host_port,
		.guest_port = guest_port,
		.state = state,
		.fds = { -1, -1 },
		.source = { .fd = -1, .ready = on_source },
		.next = *bucket,
		.due = c->due,
		.next_due = c->next_due,
	};
	*bucket = c;
	return c;
}

uint32_t vsock_free_port(struct vsock_table *t, uint32_t guest_port)
{
	uint32_t port;

	/* There are more ports than connections. */
	do {
		port = t->next_port++;
		if (t->next_port < FIRST_HOST_PORT)
			t->next_port = FIRST_HOST_PORT;
	} while (vsock_find(t, port, guest_port));
	return port;
}

static void take_out(struct vsock_conn *c)
{
	struct vsock_conn **p =
	    bucket_of(c->table, c->host_port, c->guest_port);

	while (*p && *p != c)
		p = &(*p)->next;
	if (*p)
		*p = c->next;
}

static void close_fds(struct vsock_conn *c)
{
	loop_del(c->table->loop, &c->source);
	vsock_link_close_fds(&c->fds);
	c->readable = false;
}

static void forget_kept(struct vsock_conn *c)
{
	c->fwd_cnt += c->len;
	c->len = 0;
	free(c->buf);
	c->buf = NULL;
}

static void set_free(struct vsock_conn *c)
{
	close_fds(c);
	forget_kept(c);
	c->state = VSOCK_FREE;
	c->want = 0;
	c->next = c->table->free;
	c->table->free = c;
}

void vsock_unlist(struct vsock_conn *c)
{
	take_out(c);
	c->state = VSOCK_LINGERING;
	c->want = 0;
	vsock_settle(c);
}

void vsock_drop(struct vsock_conn *c)
{
	if (c->state != VSOCK_LINGERING)
		take_out(c);
	set_free(c);
}

int vsock_attach(struct vsock_conn *c, struct vsock_link_fds *fds)
{
	int r;

	c->source.fd = fds->socket;
	c->source.events = EPOLLHUP;
	r = loop_add(c->table->loop, &c->source);
	if (r)
		vsock_link_close_fds(fds);
	else
		c->fds = *fds;
	return r;
}

/* ---- bytes ---- */

uint32_t vsock_credit(const struct vsock_conn *c)
{
	uint32_t on_its_way = c->sent - c->peer_fwd;

	return on_its_way < c->peer_alloc ? c->peer_alloc - on_its_way : 0;
}

ssize_t vsock_read(struct vsock_conn *c, const struct iovec *iov, unsigned n)
{
	ssize_t got = preadv2(c->fds.socket, iov, (int)n, -1, 0);

	if (got < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	return got;
}

/* What the socket takes of it; all, when nobody will ever take it. */
static size_t send_now(struct vsock_conn *c, const struct iovec *iov,
		       unsigned n, size_t bytes)
{
	ssize_t sent;

	if (c->told_shut & VSOCK_SHUT_RCV || c->fds.socket < 0)
		return bytes;
	sent = pwritev2(c->fds.socket, iov, (int)n, -1, 0);
	if (sent >= 0)
		return (size_t)sent;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	vsock_tell_shut(c, VSOCK_SHUT_RCV);
	return bytes;
}

static int keep(struct vsock_conn *c, const struct iovec *iov, unsigned n,
		size_t skip)
{
	if (!c->buf) {
		c->buf = malloc(VSOCK_BUF_BYTES);
		c->at = 0;
	}
	if (!c->buf)
		return -ENOMEM;
	if (c->at) {
		memmove(c->buf, c->buf + c->at, c->len);
		c->at = 0;
	}
	c->len += (uint32_t)fd_keep_rest(c->buf + c->len, iov, n, skip);
	return 0;
}

int vsock_write(struct vsock_conn *c, const struct iovec *iov, unsigned n,
		size_t bytes)
{
	size_t sent = 0;

	if (bytes > VSOCK_BUF_BYTES - c->len)
		return -ENOBUFS;
	if (!c->len)
		sent = send_now(c, iov, n, bytes);
	c->fwd_cnt += (uint32_t)sent;
	return sent < bytes ? keep(c, iov, n, sent) : 0;
}

void vsock_flush(struct vsock_conn *c)
{
	struct iovec iov = { c->buf + c->at, c->len };
	uint32_t sent;

	if (!c->len)
		return;
	sent = (uint32_t)send_now(c, &iov, 1, c->len);
	c->fwd_cnt += sent;
	c->at += sent;
	c->len -= sent;
	if (!c->len)
		forget_kept(c);
}

/* ---- what follows ---- */

void vsock_tell_shut(struct vsock_conn *c, uint8_t directions)
{
	if (!(directions & ~c->told_shut))
		return;
	c->told_shut |= directions;
	if (c->state == VSOCK_OPEN)
		c->want |= VSOCK_WANT_SHUTDOWN;
}

void vsock_kill(struct vsock_conn *c)
{
	close_fds(c);
	forget_kept(c);
	c->state = VSOCK_ENDING;
	c->want = VSOCK_WANT_RST;
}

/* Whether the socket is read at all now. */
static bool reads(const struct vsock_conn *c)
{
	return c->state == VSOCK_OPEN && !(c->told_shut & VSOCK_SHUT_SEND) &&
	       !(c->guest_shut & VSOCK_SHUT_RCV);
}

/* The host's end is closed: what it sent before is still read. */
static void host_left(struct vsock_conn *c)
{
	if (c->state == VSOCK_OFFERED)
		vsock_kill(c);
	else if (c->state == VSOCK_OPEN && !reads(c))
		vsock_tell_shut(c, VSOCK_SHUT_BOTH);
	else if (c->state == VSOCK_ENDING || c->state == VSOCK_LINGERING)
		forget_kept(c);
}

static void follow(struct vsock_conn *c)
{
	bool over = c->state == VSOCK_ENDING || c->state == VSOCK_LINGERING;

	/* Both ways, whoever it was: the socket is of no more use. */
	if (c->state == VSOCK_OPEN && c->told_shut == VSOCK_SHUT_BOTH) {
		close_fds(c);
		forget_kept(c);
		c->state = VSOCK_CLOSED;
	}
	if (over && !c->len)
		close_fds(c);
	if (c->state == VSOCK_OPEN && c->guest_shut & VSOCK_SHUT_SEND &&
	    !c->len && c->fds.token >= 0)
		close(steal_fd(&c->fds.token));
	/* Half of what the guest may send ahead is used up, as it knows: that
	 * it knows more, or it would stop. */
	if (c->state == VSOCK_OPEN &&
	    c->fwd_cnt - c->told_fwd > VSOCK_BUF_BYTES / 2)
		c->want |= VSOCK_WANT_CREDIT_UPDATE;
	if (reads(c) && c->readable && !vsock_credit(c) && !c->asked_credit) {
		c->asked_credit = true;
		c->want |= VSOCK_WANT_CREDIT_REQUEST;
	}
}

static void wait_for(struct vsock_conn *c)
{
	uint32_t events = 0;

	if (!c->hup)
		events |= EPOLLHUP;
	if (reads(c) && !c->readable)
		events |= EPOLLIN;
	if (c->len)
		events |= EPOLLOUT;
	if (c->fds.socket >= 0)
		loop_set_events(c->table->loop, &c->source, events);
}

static void make_due(struct vsock_conn *c)
{
	struct vsock_table *t = c->table;

	if (c->due ||
	    !(c->want || (reads(c) && c->readable && vsock_credit(c))))
		return;
	c->due = true;
	c->next_due = NULL;
	if (t->last_due)
		t->last_due->next_due = c;
	else
		t->first_due = c;
	t->last_due = c;
}

void vsock_settle(struct vsock_conn *c)
{
	if (c->state == VSOCK_FREE)
		return;
	if (c->hup)
		host_left(c);
	follow(c);
	if (c->state == VSOCK_LINGERING && !c->len) {
		set_free(c);
		return;
	}
	wait_for(c);
	make_due(c);
}

struct vsock_conn *vsock_next_due(struct vsock_table *t)
{
	struct vsock_conn *c = t->first_due;

	if (!c)
		return NULL;
	t->first_due = c->next_due;
	if (!t->first_due)
		t->last_due = NULL;
	c->due = false;
	return c;
}
