/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is typed or piped to the guest: kept until it takes it, bounded.
 *
 * The terminal is read always, because the escape must work while the
 * guest does not listen: what does not fit is dropped and counted. All other
 * sources are read only while there is room.
 */
#include "console_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "fdio.h"
#include "util.h"

size_t console_in_room(const struct console *c)
{
	return CONSOLE_INPUT_BYTES - c->input_count;
}

void console_in_add(struct console *c, const uint8_t *data, size_t len)
{
	size_t fits = MIN(len, console_in_room(c));

	for (size_t i = 0; i < fits; i++) {
		size_t at = c->input_first + c->input_count++;

		c->input[at % CONSOLE_INPUT_BYTES] = data[i];
	}
	if (fits < len)
		console_count(c, &c->count.dropped_input, len - fits);
}

/* `input_waits` is set before the guest is offered anything: so a guest that
 * makes room just after it took too little finds it set and pulls. */
void console_in_deliver(struct console *c)
{
	size_t n = 1;

	atomic_store(&c->input_waits, c->input_count > 0);
	while (c->guest && c->input_count && n) {
		size_t len =
		    MIN(c->input_count, CONSOLE_INPUT_BYTES - c->input_first);

		n = c->guest->input(c->guest, c->input + c->input_first, len);
		c->input_first = (c->input_first + n) % CONSOLE_INPUT_BYTES;
		c->input_count -= n;
		console_count(c, &c->count.in_bytes, n);
	}
	if (!c->input_count)
		atomic_store(&c->input_waits, false);
}

/* Listens to those sources whose input would fit. */
void console_in_ask(struct console *c)
{
	bool want = c->in.terminal || console_in_room(c);

	if (c->in.source.fd >= 0 && c->in.pollable)
		loop_set_events(c->loop, &c->in.source, want ? EPOLLIN : 0);
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++) {
		struct console_client *k = &c->client[i];
		_locked_(&c->lock);

		if (k->source.fd >= 0)
			loop_set_events(c->loop, &k->source,
					console_client_events(c, k));
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
	static const char text[] = TERMINAL_HELP_TEXT("end the VM");
	int fd = c->out.source.fd;
	size_t at = 0;
	ssize_t n = 1;

	while (fd >= 0 && at < sizeof(text) - 1 && n > 0 &&
	       console_writable(fd, 0)) {
		n = fd_write(fd, text + at,
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
		console_in_add(c, send, n);
		break;
	}
}

static void in_read(struct console *c)
{
	uint8_t buf[1024];
	size_t max =
	    c->in.terminal ? sizeof(buf) : MIN(sizeof(buf), console_in_room(c));
	ssize_t n;

	if (c->in.source.fd < 0 || !max)
		return;
	n = fd_read(c->in.source.fd, buf, max);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		in_end(c);
		return;
	}
	if (!c->in.terminal)
		console_in_add(c, buf, (size_t)n);
	for (ssize_t i = 0; c->in.terminal && i < n; i++)
		typed(c, buf[i]);
}

static void in_ready(struct loop_source *s, uint32_t events)
{
	struct console *c = container_of(s, struct console, in.source);

	in_read(c);
	console_in_deliver(c);
	console_in_ask(c);
}

/* A regular file cannot be waited for: it is read as the guest takes it. */
static void refill_task(struct loop_task *t)
{
	struct console *c = container_of(t, struct console, refill);

	if (!c->in.pollable)
		in_read(c);
	console_in_deliver(c);
	console_in_ask(c);
	if (!c->in.pollable && c->in.source.fd >= 0 && console_in_room(c))
		loop_post(c->loop, &c->refill);
}

void console_pull(struct console *c)
{
	if (atomic_load(&c->input_waits))
		loop_post(c->loop, &c->refill);
}

int console_in_init(struct console *c, int fd, bool terminal)
{
	struct loop_source *s = &c->in.source;
	int err;

	c->refill.run = refill_task;
	if (fd < 0)
		return 0;
	s->ready = in_ready;
	s->fd = fd;
	s->events = EPOLLIN;
	err = loop_add(c->loop, s);
	c->in.pollable = !err;
	if (err == -EPERM) {
		loop_post(c->loop, &c->refill);
		err = 0;
	}
	if (!err && terminal) {
		err = terminal_enter(fd);
		c->in.terminal = !err;
	}
	return err;
}
