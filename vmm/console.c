/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins the console's three parts: console_out.c, what the guest prints;
 * console_in.c, what it is sent; console_client.c, those who connect.
 *
 * System calls after creation, on the I/O thread: preadv2, pwritev2, ppoll,
 * accept4, getsockopt, ftruncate, close, epoll_ctl, futex, and ioctl(TCSETS) at
 * the end; on any thread: pwritev2, futex.
 */
#include "console_impl.h"

#include <errno.h>
#include <signal.h>

#include "terminal.h"
#include "util.h"

void console_count(struct console *c, uint64_t *what, uint64_t n)
{
	_locked_(&c->lock);

	*what += n;
}

static int add_all(struct console *c)
{
	const struct console_config *cfg = &c->cfg;
	int err = console_out_init(c, cfg->out_fd, cfg->log_fd);

	for (unsigned i = 0; i < CONSOLE_MAX_LISTEN && !err; i++)
		err = console_listen(c, &c->listener[i], cfg->listen_fd[i]);
	return err ? err : console_in_init(c, cfg->in_fd, cfg->terminal);
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
	c->out.source.fd = c->in.source.fd = -1;
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++)
		c->client[i].source.fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	/* The write fails, and that is counted. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	err = add_all(c);
	if (err)
		console_destroy(c);
	else
		*out = c;
	return err;
}

void console_destroy(struct console *c)
{
	c->guest = NULL;
	console_out_flush(c);
	if (c->in.terminal)
		terminal_restore();
	loop_unpost(c->loop, &c->drain);
	loop_unpost(c->loop, &c->refill);
	loop_timer_fini(c->loop, &c->lazy);
	loop_del(c->loop, &c->out.source);
	loop_del(c->loop, &c->in.source);
	for (unsigned i = 0; i < CONSOLE_MAX_LISTEN; i++)
		listener_fini(&c->listener[i].listener);
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++)
		if (c->client[i].source.fd >= 0)
			console_client_close(c, &c->client[i]);
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
