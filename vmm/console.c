/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One ring from the guest, read by every sink at its own position; one ring to
 * the guest, filled by the terminal and the clients.
 *
 * Output. Positions count bytes since the start and never wrap:
 *
 *     client.at   may be anywhere; what is older than the ring is lost to it
 *     tail        everything before it has left for out_fd
 *     logged      everything before it is in the log
 *     head        the guest's next byte goes here, at most one ring beyond the
 *                 older of tail and logged
 *
 * The byte that finds nothing waiting before it is written to out_fd at once,
 * by the thread that brings it: waking the I/O thread for it takes longer than
 * the write, above all where all CPUs run guests. That needs an out_fd that is
 * sure not to block. What remains is `drain`, on the I/O thread: the log gets
 * all that has come within CONSOLE_LAZY_NS, and clients at once. When out_fd is
 * behind and the ring full, console_put refuses; once half of the ring is free
 * again the device is told.
 *
 * The lock guards the ring, the positions, out.source.fd and the counters.
 * Only the I/O thread moves positions, but that console_put moves head, and
 * with it those which equal it and have nothing to wait for. What lies between
 * tail or logged and head may be read without the lock, since console_put
 * never writes there; clients are written to with it, since they may read
 * before tail.
 *
 * Input. The terminal is read always, because the escape must work while the
 * guest does not listen: what does not fit is dropped and counted. All other
 * sources are read only while there is room.
 *
 * System calls after creation, on the I/O thread: read, write, poll, accept4,
 * getsockopt, pread64, pwrite64, ftruncate, close, epoll_ctl, timerfd_settime,
 * futex, and ioctl(TCSETS) at the end; on any thread: write, futex.
 */
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "log.h"
#include "ringlog.h"
#include "terminal.h"
#include "util.h"

/* The lossless sink. */
struct output {
	struct loop_source source; /* fd -1: there is none, or it failed */
	bool pollable;		   /* false: a regular file or the like */
	size_t piece;		   /* bytes that one write may have */
	bool ask;		   /* poll before each write: it may block */
	bool direct;		   /* console_put may write to it */
};

struct input {
	struct loop_source source; /* fd -1: none, or it ended */
	bool pollable, terminal;
	struct terminal_escape escape;
};

struct client {
	struct loop_source source; /* fd -1: free */
	struct console *con;
	uint64_t at;
	bool ended; /* it will send nothing more */
	bool gone;  /* it hung up, with input still to be read */
};

struct listener {
	struct loop_source source;
	struct console *con;
};

struct console {
	struct loop *loop;
	struct console_config cfg;
	struct console_guest *guest;
	struct loop_task drain;	 /* output */
	struct loop_timer lazy;	 /* drains what the log alone waits for */
	struct loop_task refill; /* input */
	struct output out;
	struct input in;
	struct ringlog log;
	struct log_limit log_failed, out_failed, clients_refused;
	struct listener listener[CONSOLE_MAX_LISTEN];
	struct client client[CONSOLE_MAX_CLIENTS];

	uint8_t input[CONSOLE_INPUT_BYTES];
	size_t input_first, input_count;
	atomic_bool input_waits; /* the guest has not taken all */

	pthread_mutex_t lock;
	uint8_t ring[CONSOLE_RING_BYTES];
	uint64_t head, tail, logged;
	bool refused; /* the device waits for `writable` */
	bool posted;  /* drain will come: now or when `lazy` expires */
	unsigned nclients;
	struct console_counters count;
};

/* Output reaches the log this late at most. */
#define CONSOLE_LAZY_NS 10000000

static void count(struct console *c, uint64_t *what, uint64_t n)
{
	_locked_(&c->lock);

	*what += n;
}

/* ---- the terminal's and the pipe's own ways of blocking ---- */

int console_reopen(int fd, int access)
{
	char path[32];
	struct stat st;
	int r;

	if (fstat(fd, &st))
		return -errno;
	/* Opening a file anew would lose its offset, and it never blocks. */
	if (!S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode))
		return -EINVAL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

/* How much a write may have that shall not block after poll said POLLOUT: a
 * pipe has room for PIPE_BUF then (pipe(7)), a socket for much of its buffer,
 * a terminal for one byte. */
static void learn_output(struct output *o)
{
	int flags = fcntl(o->source.fd, F_GETFL);
	struct stat st;

	o->piece = CONSOLE_RING_BYTES;
	o->direct = true;
	if (!o->pollable || (flags >= 0 && (flags & O_NONBLOCK)))
		return;
	o->direct = false;
	o->ask = true;
	o->piece = 1;
	if (fstat(o->source.fd, &st) == 0 && !S_ISCHR(st.st_mode))
		o->piece = PIPE_BUF;
}

static bool writable_now(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	/* An error is for the write to tell. */
	return poll(&p, 1, timeout_ms) > 0;
}

/* ---- output ---- */

/* The longest piece of the ring from `at` that does not wrap. */
static size_t stretch(uint64_t at, uint64_t end)
{
	return MIN(end - at, CONSOLE_RING_BYTES - at % CONSOLE_RING_BYTES);
}

static void out_gave_up(struct console *c, int err)
{
	log_guest(&c->out_failed, "console", "write output: %s; %s",
		  strerror(err),
		  c->out.pollable ? "going on without" : "bytes are lost");
	count(c, &c->count.failed_writes, 1);
	if (!c->out.pollable)
		return;
	loop_del(c->loop, &c->out.source);
	pthread_mutex_lock(&c->lock);
	c->out.source.fd = -1;
	pthread_mutex_unlock(&c->lock);
}

/* Writes one piece; 0 when it has to wait. What a failed sink does not take
 * is lost. */
static size_t out_write(struct console *c, uint64_t at, uint64_t end)
{
	size_t len = stretch(at, end);
	int fd = c->out.source.fd;
	ssize_t n;

	if (fd >= 0) {
		if (c->out.ask && !writable_now(fd, 0))
			return 0;
		do
			n = write(fd, c->ring + at % CONSOLE_RING_BYTES,
				  MIN(len, c->out.piece));
		while (n < 0 && errno == EINTR);
		if (n > 0)
			return (size_t)n;
		if (n == 0 || errno == EAGAIN)
			return 0;
		out_gave_up(c, errno);
	}
	if (c->cfg.out_fd >= 0)
		count(c, &c->count.dropped_output, len);
	return len;
}

static void log_write(struct console *c, uint64_t at, uint64_t end)
{
	while (c->cfg.log_fd >= 0 && at < end) {
		size_t len = stretch(at, end);
		int err = ringlog_append(
		    &c->log, c->ring + at % CONSOLE_RING_BYTES, len);

		if (err) {
			log_guest(&c->log_failed, "console", "write log: %s",
				  strerror(-err));
			count(c, &c->count.failed_writes, 1);
		}
		at += len;
	}
}

static void client_close(struct console *c, struct client *k)
{
	loop_del(c->loop, &k->source);
	close(k->source.fd);
	k->source.fd = -1;
	pthread_mutex_lock(&c->lock);
	c->nclients--;
	pthread_mutex_unlock(&c->lock);
}

/* Sends what the client has not got, with the lock held. False when it is
 * broken. */
static bool client_send(struct console *c, struct client *k)
{
	if (c->head - k->at > CONSOLE_RING_BYTES) {
		uint64_t first = c->head - CONSOLE_RING_BYTES;

		c->count.dropped_clients += first - k->at;
		k->at = first;
	}
	while (k->at < c->head) {
		/* The socket does not block, and SIGPIPE is ignored; the
		 * sandbox has no send. */
		ssize_t n =
		    write(k->source.fd, c->ring + k->at % CONSOLE_RING_BYTES,
			  stretch(k->at, c->head));

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		k->at += (uint64_t)n;
	}
	return true;
}

static uint32_t client_events(const struct console *c, const struct client *k)
{
	bool room = c->input_count < CONSOLE_INPUT_BYTES;
	uint32_t events = 0;

	if (!k->ended && room)
		events |= EPOLLIN;
	/* A hang-up is always reported, and would be for ever. */
	if (k->gone)
		return events;
	return events | EPOLLERR | (k->at < c->head ? EPOLLOUT : 0);
}

static void client_serve(struct console *c, struct client *k)
{
	bool ok = true;
	uint32_t events;

	pthread_mutex_lock(&c->lock);
	if (!k->gone)
		ok = client_send(c, k);
	events = client_events(c, k);
	pthread_mutex_unlock(&c->lock);
	if (!ok)
		client_close(c, k);
	else
		loop_set_events(c->loop, &k->source, events);
}

static void serve_clients(struct console *c)
{
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++)
		if (c->client[i].source.fd >= 0)
			client_serve(c, &c->client[i]);
}

static uint64_t oldest(const struct console *c)
{
	return MIN(c->tail, c->logged);
}

/* Moves tail and logged up; true when the device waits and there is room
 * enough to make its waiting worth while. */
static bool advance(struct console *c, uint64_t tail, uint64_t logged)
{
	_locked_(&c->lock);

	/* Meanwhile console_put may have moved them further. */
	c->tail = MAX(c->tail, tail);
	c->logged = MAX(c->logged, logged);
	if (!c->refused || c->head - oldest(c) > CONSOLE_RING_BYTES / 2)
		return false;
	c->refused = false;
	return true;
}

/* One round: what is there now, at most a ring full, so that a flood does not
 * keep the loop from its other sources. */
static void drain(struct console *c)
{
	uint64_t at, logged, end;
	size_t n = 1;
	int err = 0;

	pthread_mutex_lock(&c->lock);
	c->posted = false;
	at = c->tail;
	logged = c->logged;
	end = c->head;
	pthread_mutex_unlock(&c->lock);
	log_write(c, logged, end);
	serve_clients(c);
	for (; at < end && n; at += n)
		n = out_write(c, at, end);
	if (c->out.pollable && c->out.source.fd >= 0)
		err = loop_set_events(c->loop, &c->out.source,
				      at < end ? EPOLLOUT : 0);
	if (err)
		loop_post(c->loop, &c->drain);
	if (advance(c, at, end) && c->guest)
		c->guest->writable(c->guest);
}

/* The lock is held. Somebody waits, or the ring fills up: no time to be lazy.
 */
static bool urgent(const struct console *c)
{
	return c->tail < c->head || c->nclients ||
	       c->head - c->logged > CONSOLE_RING_BYTES / 2;
}

static void drain_task(struct loop_task *t)
{
	struct console *c = container_of(t, struct console, drain);
	bool now;

	pthread_mutex_lock(&c->lock);
	now = urgent(c);
	pthread_mutex_unlock(&c->lock);
	if (now)
		drain(c);
	else
		loop_timer_set(&c->lazy, CONSOLE_LAZY_NS);
}

static void lazy_expired(struct loop_timer *t)
{
	drain(container_of(t, struct console, lazy));
}

static void out_ready(struct loop_source *s, uint32_t events)
{
	drain(container_of(s, struct console, out.source));
}

/* The lock is held. True when the byte has left, or has nowhere to go. Any
 * failure is left for the I/O thread to meet. */
static bool put_direct(struct console *c, uint8_t byte)
{
	if (c->tail < c->head)
		return false;
	if (c->out.source.fd < 0) {
		c->count.dropped_output += c->cfg.out_fd >= 0;
		return true;
	}
	return c->out.direct && write(c->out.source.fd, &byte, 1) == 1;
}

/* The lock is held; there is room. True when the I/O thread has to come. */
static bool put(struct console *c, uint8_t byte)
{
	bool sent = put_direct(c, byte);

	c->ring[c->head++ % CONSOLE_RING_BYTES] = byte;
	c->count.out_bytes++;
	if (sent)
		c->tail = c->head;
	if (sent && c->cfg.log_fd < 0)
		c->logged = c->head;
	if (!urgent(c) && (c->posted || c->logged == c->head))
		return false;
	c->posted = true;
	return true;
}

bool console_put(struct console *c, uint8_t byte)
{
	bool taken, post = false;

	pthread_mutex_lock(&c->lock);
	taken = c->head - oldest(c) < CONSOLE_RING_BYTES;
	if (taken)
		post = put(c, byte);
	else
		c->refused = true;
	pthread_mutex_unlock(&c->lock);
	if (post)
		loop_post(c->loop, &c->drain);
	return taken;
}

/* ---- input ---- */

static size_t input_room(const struct console *c)
{
	return CONSOLE_INPUT_BYTES - c->input_count;
}

static void input_add(struct console *c, const uint8_t *data, size_t len)
{
	size_t fits = MIN(len, input_room(c));

	for (size_t i = 0; i < fits; i++) {
		size_t at = c->input_first + c->input_count++;

		c->input[at % CONSOLE_INPUT_BYTES] = data[i];
	}
	if (fits < len)
		count(c, &c->count.dropped_input, len - fits);
}

/* `input_waits` is set before the guest is offered anything: so a guest that
 * makes room just after it took too little finds it set and pulls. */
static void deliver(struct console *c)
{
	size_t n = 1;

	atomic_store(&c->input_waits, c->input_count > 0);
	while (c->guest && c->input_count && n) {
		size_t len =
		    MIN(c->input_count, CONSOLE_INPUT_BYTES - c->input_first);

		n = c->guest->input(c->guest, c->input + c->input_first, len);
		c->input_first = (c->input_first + n) % CONSOLE_INPUT_BYTES;
		c->input_count -= n;
		count(c, &c->count.in_bytes, n);
	}
	if (!c->input_count)
		atomic_store(&c->input_waits, false);
}

/* Listens to those sources whose input would fit. */
static void ask_for_input(struct console *c)
{
	bool want = c->in.terminal || input_room(c);

	if (c->in.source.fd >= 0 && c->in.pollable)
		loop_set_events(c->loop, &c->in.source, want ? EPOLLIN : 0);
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++) {
		struct client *k = &c->client[i];
		_locked_(&c->lock);

		if (k->source.fd >= 0)
			loop_set_events(c->loop, &k->source,
					client_events(c, k));
	}
}

/* Its end is not the guest's: that goes on. */
static void in_end(struct console *c)
{
	loop_del(c->loop, &c->in.source);
	c->in.source.fd = -1;
}

static void show_help(struct console *c)
{
	static const char text[] = TERMINAL_HELP_TEXT;
	int fd = c->out.source.fd;
	size_t at = 0;
	ssize_t n = 1;

	while (fd >= 0 && at < sizeof(text) - 1 && n > 0 &&
	       writable_now(fd, 0)) {
		n = write(fd, text + at,
			  MIN(sizeof(text) - 1 - at, c->out.piece));
		at += (size_t)MAX(n, 0);
	}
}

static void typed(struct console *c, uint8_t byte)
{
	uint8_t send[2];
	size_t n;

	switch (terminal_type(&c->in.escape, byte, send, &n)) {
	case TERMINAL_DETACH:
		if (c->cfg.escape)
			c->cfg.escape(c->cfg.ctx);
		break;
	case TERMINAL_HELP:
		show_help(c);
		break;
	case TERMINAL_NONE:
		input_add(c, send, n);
		break;
	}
}

/* Reads once; true when there may be more. */
static bool in_read(struct console *c)
{
	uint8_t buf[1024];
	size_t max =
	    c->in.terminal ? sizeof(buf) : MIN(sizeof(buf), input_room(c));
	ssize_t n;

	if (c->in.source.fd < 0 || !max)
		return false;
	n = read(c->in.source.fd, buf, max);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	if (n <= 0) {
		in_end(c);
		return false;
	}
	if (!c->in.terminal)
		input_add(c, buf, (size_t)n);
	for (ssize_t i = 0; c->in.terminal && i < n; i++)
		typed(c, buf[i]);
	return true;
}

static void in_ready(struct loop_source *s, uint32_t events)
{
	struct console *c = container_of(s, struct console, in.source);

	in_read(c);
	deliver(c);
	ask_for_input(c);
}

/* A regular file cannot be waited for: it is read as the guest takes it. */
static void refill_task(struct loop_task *t)
{
	struct console *c = container_of(t, struct console, refill);
	bool more = !c->in.pollable && in_read(c);

	deliver(c);
	ask_for_input(c);
	if (more && input_room(c))
		loop_post(c->loop, &c->refill);
}

void console_pull(struct console *c)
{
	if (atomic_load(&c->input_waits))
		loop_post(c->loop, &c->refill);
}

/* ---- clients ---- */

/* Reads once; false when it is to be closed. */
static bool client_read(struct console *c, struct client *k, bool hung_up)
{
	uint8_t buf[1024];
	size_t max = MIN(sizeof(buf), input_room(c));
	ssize_t n;

	k->gone = hung_up;
	if (!max)
		return true;
	n = read(k->source.fd, buf, max);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0) {
		k->ended = true;
		return !hung_up;
	}
	input_add(c, buf, (size_t)n);
	deliver(c);
	return true;
}

static void client_ready(struct loop_source *s, uint32_t events)
{
	struct client *k = container_of(s, struct client, source);
	struct console *c = k->con;

	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) &&
	    !client_read(c, k, events & EPOLLHUP)) {
		client_close(c, k);
		return;
	}
	client_serve(c, k);
	ask_for_input(c);
}

/* A free place, or that of one who is gone and whose last input the guest
 * does not take. */
static struct client *client_place(struct console *c)
{
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++)
		if (c->client[i].source.fd < 0)
			return &c->client[i];
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++)
		if (c->client[i].gone) {
			client_close(c, &c->client[i]);
			return &c->client[i];
		}
	return NULL;
}

static bool peer_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

/* From now on it sees what the guest prints. */
static int client_add(struct console *c, int fd)
{
	struct client *k = client_place(c);
	int err;

	if (!k)
		return -EUSERS;
	*k = (struct client){
		.con = c,
		.source = { .fd = fd, .ready = client_ready },
	};
	pthread_mutex_lock(&c->lock);
	k->at = c->head;
	k->source.events = client_events(c, k);
	pthread_mutex_unlock(&c->lock);
	err = loop_add(c->loop, &k->source);
	pthread_mutex_lock(&c->lock);
	if (err)
		k->source.fd = -1;
	else
		c->nclients++;
	pthread_mutex_unlock(&c->lock);
	return err;
}

static void listener_ready(struct loop_source *s, uint32_t events)
{
	struct console *c = container_of(s, struct listener, source)->con;
	_cleanup_close_ int fd =
	    accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int err;

	if (fd < 0) {
		/* It would be reported for ever. */
		if (errno != EAGAIN && errno != EINTR &&
		    errno != ECONNABORTED) {
			log_error("console", "accept: %s; no more clients",
				  strerror(errno));
			loop_del(c->loop, s);
		}
		return;
	}
	err = peer_allowed(fd) ? client_add(c, fd) : -EPERM;
	if (!err) {
		steal_fd(&fd);
		return;
	}
	count(c, &c->count.refused_clients, 1);
	log_guest(&c->clients_refused, "console", "connect client: %s",
		  strerror(-err));
}

/* ---- life ---- */

static int add_output(struct console *c, int fd)
{
	struct loop_source *s = &c->out.source;
	int err = 0;

	s->ready = out_ready;
	s->fd = fd;
	if (fd >= 0)
		err = loop_add(c->loop, s);
	c->out.pollable = !err;
	if (fd >= 0)
		learn_output(&c->out);
	return err == -EPERM ? 0 : err;
}

static int add_input(struct console *c, int fd)
{
	struct loop_source *s = &c->in.source;
	int err = 0;

	s->ready = in_ready;
	s->fd = fd;
	s->events = EPOLLIN;
	if (fd >= 0)
		err = loop_add(c->loop, s);
	c->in.pollable = !err;
	if (err != -EPERM)
		return err;
	loop_post(c->loop, &c->refill);
	return 0;
}

static int add_listener(struct console *c, struct listener *l, int fd)
{
	int flags;

	l->con = c;
	l->source = (struct loop_source){ fd, listener_ready, EPOLLIN, false };
	if (fd < 0)
		return 0;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	return loop_add(c->loop, &l->source);
}

static int add_all(struct console *c)
{
	const struct console_config *cfg = &c->cfg;
	int err;

	err = loop_timer_init(c->loop, &c->lazy, lazy_expired);
	if (!err && cfg->log_fd >= 0)
		err = ringlog_init(&c->log, cfg->log_fd, CONSOLE_LOG_BYTES);
	for (unsigned i = 0; i < CONSOLE_MAX_LISTEN && !err; i++)
		err = add_listener(c, &c->listener[i], cfg->listen_fd[i]);
	if (!err)
		err = add_output(c, cfg->out_fd);
	if (!err)
		err = add_input(c, cfg->in_fd);
	if (!err && cfg->terminal) {
		err = terminal_enter(cfg->in_fd);
		c->in.terminal = !err;
	}
	return err;
}

int console_create(struct console **out, struct loop *l,
		   const struct console_config *cfg)
{
	struct console *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->loop = l;
	c->cfg = *cfg;
	c->drain.run = drain_task;
	c->refill.run = refill_task;
	c->out.source.fd = c->in.source.fd = -1;
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++)
		c->client[i].source.fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	signal(SIGPIPE, SIG_IGN);
	err = add_all(c);
	if (err)
		console_destroy(c);
	else
		*out = c;
	return err;
}

static void flush(struct console *c)
{
	drain(c);
	while (c->tail < c->head) {
		if (!writable_now(c->out.source.fd, CONSOLE_FLUSH_MS)) {
			log_warn("console",
				 "write output: nobody reads it; %llu bytes "
				 "are lost",
				 (unsigned long long)(c->head - c->tail));
			return;
		}
		drain(c);
	}
}

void console_destroy(struct console *c)
{
	c->guest = NULL;
	flush(c);
	if (c->in.terminal)
		terminal_restore();
	loop_unpost(c->loop, &c->drain);
	loop_unpost(c->loop, &c->refill);
	loop_timer_fini(c->loop, &c->lazy);
	loop_del(c->loop, &c->out.source);
	loop_del(c->loop, &c->in.source);
	for (unsigned i = 0; i < CONSOLE_MAX_LISTEN; i++)
		loop_del(c->loop, &c->listener[i].source);
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++)
		if (c->client[i].source.fd >= 0)
			client_close(c, &c->client[i]);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void console_connect(struct console *c, struct console_guest *g)
{
	c->guest = g;
	loop_post(c->loop, &c->refill);
}

void console_counters(struct console *c, struct console_counters *out)
{
	_locked_(&c->lock);

	*out = c->count;
}
