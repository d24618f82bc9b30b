/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's end of the control socket: up to CONTROL_MAX_CLIENTS connections,
 * each a small machine of its own that never blocks and never grows.
 *
 *   READING ──a line──► ANSWERING ──all has left──► READING
 *      │                    │
 *      └──its end, or no request──► LAST ANSWER ──has left──► closed
 *
 * While an answer leaves, nothing is read; lines that came together with the
 * one being answered wait in the buffer. After CONTROL_ROUND of them the loop
 * gets its turn: asking for EPOLLOUT brings us back in its next round.
 *
 * A connection is closed only from its own handler or by control_destroy, so
 * that no event of the same round meets a freed one.
 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control_message.h"
#include "fdio.h"
#include "listener.h"
#include "log.h"
#include "util.h"

#define CONTROL_ROUND 8

struct client {
	struct loop_source source; /* fd -1: a free place */
	struct control *control;
	char *in; /* CONTROL_MAX_BYTES */
	size_t in_len;
	char *out; /* the answer that leaves; NULL: none */
	size_t out_at, out_len;
	bool last;  /* close when `out` has left; nothing more is read */
	bool ended; /* the other side sends no more */
};

struct control {
	struct loop *loop;
	struct listener listener;
	const struct control_op *ops;
	unsigned nops;
	void *ctx;
	struct log_limit refused;
	struct client client[CONTROL_MAX_CLIENTS];
};

static void client_close(struct client *k)
{
	loop_del(k->control->loop, &k->source);
	close(k->source.fd);
	free(k->in);
	free(k->out);
	*k = (struct client){ .source.fd = -1, .control = k->control };
}

/* ---- out ---- */

/* Writes what goes. False when the connection is broken. */
static bool client_flush(struct client *k)
{
	while (k->out) {
		ssize_t n = fd_write(k->source.fd, k->out + k->out_at,
				     k->out_len - k->out_at);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		k->out_at += (size_t)n;
		if (k->out_at < k->out_len)
			continue;
		free(k->out);
		k->out = NULL;
	}
	return true;
}

/* False when there is no memory for it: the connection is of no more use. */
static bool client_say(struct client *k, char *line)
{
	k->out = line;
	k->out_at = 0;
	k->out_len = line ? strlen(line) : 0;
	return line && client_flush(k);
}

/* The error line of a connection that ends with it; NULL: no memory. */
static char *error_line(enum exit_code code, const char *hint,
			const char *reason)
{
	struct fail why;

	fail_set(&why, code, 0, "control", hint, "%s", reason);
	return control_line(json_pack("{s:n, s:b, s:o}", "id", "ok", 0, "error",
				      control_fail_to_json(&why)));
}

/* ---- in ---- */

/* Reads once. False when the connection is broken. */
static bool client_read(struct client *k)
{
	ssize_t n;

	if (k->ended || k->in_len == CONTROL_MAX_BYTES)
		return true;
	n = fd_read(k->source.fd, k->in + k->in_len,
		    CONTROL_MAX_BYTES - k->in_len);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	k->ended = n == 0;
	k->in_len += (size_t)n;
	return true;
}

/* Answers the first line in the buffer, which is `len` long. */
static bool client_answer(struct client *k, size_t len)
{
	struct control *c = k->control;
	char *line =
	    control_answer(c->ops, c->nops, c->ctx, k->in, len, &k->last);

	k->in_len -= len;
	memmove(k->in, k->in + len, k->in_len);
	return client_say(k, line);
}

/* What is in the buffer is no line and will be none. */
static bool client_give_up(struct client *k)
{
	k->last = true;
	if (k->in_len == 0)
		return true;
	return client_say(k, error_line(EXIT_USAGE, NULL,
					k->ended ? "the message is cut off"
						 : "the message is too long"));
}

/* As many lines as a round may have. False when the connection is over. */
static bool client_work(struct client *k)
{
	bool alive = client_flush(k);

	for (unsigned i = 0; alive && !k->out && !k->last; i++) {
		const char *end = memchr(k->in, '\n', k->in_len);

		if (end && i == CONTROL_ROUND)
			break;
		if (end)
			alive = client_answer(k, (size_t)(end - k->in) + 1);
		else if (k->ended || k->in_len == CONTROL_MAX_BYTES)
			alive = client_give_up(k);
		else
			break;
	}
	return alive && !(k->last && !k->out);
}

static void client_ready(struct loop_source *s, uint32_t events)
{
	struct client *k = container_of(s, struct client, source);
	bool alive = true;
	bool more;

	/* Input only when nothing waits in front of it. */
	if (!k->out && !k->last && !memchr(k->in, '\n', k->in_len))
		alive = client_read(k);
	if (!alive || !client_work(k)) {
		client_close(k);
		return;
	}
	more = k->out || memchr(k->in, '\n', k->in_len);
	if (loop_set_events(k->control->loop, s, more ? EPOLLOUT : EPOLLIN))
		client_close(k);
}

/* ---- new clients ---- */

/* One line, if the socket takes it at once, as an empty one does. */
static void turn_away(int fd, enum exit_code code, const char *hint,
		      const char *reason)
{
	_cleanup_free_ char *line = error_line(code, hint, reason);

	if (line && fd_write(fd, line, strlen(line)) < 0)
		log_debug("control", "turn a client away: %s", strerror(errno));
	close(fd);
}

static struct client *free_place(struct control *c)
{
	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (c->client[i].source.fd < 0)
			return &c->client[i];
	return NULL;
}

static void connected(struct listener *l, int fd, bool allowed)
{
	struct control *c = container_of(l, struct control, listener);
	struct client *k = free_place(c);

	if (!allowed) {
		log_guest(&c->refused, "control",
			  "a client of another user "
			  "was refused");
		turn_away(fd, EXIT_DENIED, "be the VM's user or root",
			  "this VM belongs to another user");
		return;
	}
	if (!k) {
		turn_away(fd, EXIT_CONFLICT, "close one of them first",
			  "too many clients are connected");
		return;
	}
	k->source = (struct loop_source){ .fd = fd,
					  .ready = client_ready,
					  .events = EPOLLIN };
	k->in = malloc(CONTROL_MAX_BYTES);
	if (!k->in || loop_add(c->loop, &k->source))
		client_close(k);
}

/* ---- its life ---- */

int control_create(struct control **out, struct loop *l, int listen_fd,
		   const struct control_op *ops, unsigned nops, void *ctx)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(listen_fd);
		return -ENOMEM;
	}
	c->loop = l;
	c->ops = ops;
	c->nops = nops;
	c->ctx = ctx;
	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++)
		c->client[i] = (struct client){ .source.fd = -1, .control = c };
	r = listener_init(&c->listener, l, listen_fd, "control", connected);
	if (r) {
		control_destroy(c);
		return r;
	}
	*out = c;
	return 0;
}

void control_destroy(struct control *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (c->client[i].source.fd >= 0)
			client_close(&c->client[i]);
	listener_fini(&c->listener);
	close(c->listener.source.fd);
	free(c);
}
