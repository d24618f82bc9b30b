/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest prints: lossless to out_fd, whole to the log, bounded.
 *
 * Positions count bytes since the start and never wrap:
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
 */
#include "console_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "fdio.h"
#include "util.h"

/* Output reaches the log this late at most. */
#define CONSOLE_LAZY_NS 10000000

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
static void learn_output(struct console_output *o)
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

bool console_writable(int fd, int timeout_ms)
{
	struct timespec t = { timeout_ms / 1000, timeout_ms % 1000 * 1000000 };
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	/* Not poll, which after a SIGSTOP goes on by restart_syscall. An error
	 * is for the write to tell. */
	return ppoll(&p, 1, &t, NULL) > 0;
}

static void out_gave_up(struct console *c, int err)
{
	/* Told once: the guest goes on, and nobody would see why it is mute. */
	if (!atomic_exchange(&c->out_told, true))
		log_warn("console",
			 "write output: %s; the VM goes on: 'tintype logs' "
			 "has what it prints",
			 strerror(err));
	console_count(c, &c->count.failed_writes, 1);
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
	size_t len = console_stretch(at, end);
	int fd = c->out.source.fd;
	ssize_t n;

	if (fd >= 0) {
		if (c->out.ask && !console_writable(fd, 0))
			return 0;
		do
			n = fd_write(fd, c->ring + at % CONSOLE_RING_BYTES,
				     MIN(len, c->out.piece));
		while (n < 0 && errno == EINTR);
		if (n > 0)
			return (size_t)n;
		if (n == 0 || errno == EAGAIN)
			return 0;
		out_gave_up(c, errno);
	}
	if (c->cfg.out_fd >= 0)
		console_count(c, &c->count.dropped_output, len);
	return len;
}

static void log_write(struct console *c, uint64_t at, uint64_t end)
{
	while (c->cfg.log_fd >= 0 && at < end) {
		size_t len = console_stretch(at, end);
		int err = ringlog_append(
		    &c->log, c->ring + at % CONSOLE_RING_BYTES, len);

		if (err) {
			log_guest(&c->log_failed, "console", "write log: %s",
				  strerror(-err));
			console_count(c, &c->count.failed_writes, 1);
		}
		at += len;
	}
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
	console_clients_serve(c);
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

/* The lock is held. Somebody waits, or the ring fills up. */
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
	return c->out.direct && fd_write(c->out.source.fd, &byte, 1) == 1;
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

void console_sync(struct console *c)
{
	drain(c);
}

int console_out_init(struct console *c, int fd, int log_fd)
{
	struct loop_source *s = &c->out.source;
	int err = 0;

	loop_timer_init(c->loop, &c->lazy, lazy_expired);
	c->drain.run = drain_task;
	if (log_fd >= 0)
		err = ringlog_init(&c->log, log_fd, CONSOLE_LOG_BYTES);
	if (err || fd < 0)
		return err;
	s->ready = out_ready;
	s->fd = fd;
	err = loop_add(c->loop, s);
	c->out.pollable = !err;
	learn_output(&c->out);
	return err == -EPERM ? 0 : err;
}

void console_out_flush(struct console *c)
{
	drain(c);
	while (c->tail < c->head) {
		if (!console_writable(c->out.source.fd, CONSOLE_FLUSH_MS)) {
			log_warn("console",
				 "write output: nobody reads it; %llu bytes "
				 "are lost",
				 (unsigned long long)(c->head - c->tail));
			return;
		}
		drain(c);
	}
}
