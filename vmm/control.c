/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's end of the control socket: up to CONTROL_MAX_CLIENTS connections,
 * each a small machine of its own that never blocks and never grows.
 *
 *               WAITING ◄──kept──┐
 *                  │ reply       │
 *                  ▼             │
 *   READING ──a line──► ANSWERING ──all has left──► READING
 *      │                    │
 *      └──its end, or no request──► LAST ANSWER ──has left──► closed
 *
 * While an answer leaves, or is waited for, nothing is read; lines that came
 * together with the one being answered wait in the buffer. After CONTROL_ROUND
 * of them the loop gets its turn: asking for EPOLLOUT brings us back in its
 * next round.
 *
 * Who answers later must know when nobody waits any more. So in WAITING the end
 * is asked for (EPOLLRDHUP), by edge, since it stays; then what came before it
 * is read, to see whether a line is among it. Not so when fds were asked for:
 * what comes is the writer's then.
 *
 * A client that does not take its answers, but has gone, is obeyed all the
 * same, up to its end: the answers are dropped.
 *
 * A connection is closed only from its own handler or by control_destroy, so
 * that no event of the same round meets a freed one; and never while it is
 * WAITING, since its fd may be the writer's.
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

struct control_client {
	struct loop_source source; /* fd -1: a free place */
	struct control *control;
	char *in; /* CONTROL_MAX_BYTES */
	size_t in_len;
	char *out; /* the answer that leaves; NULL: none */
	size_t out_at, out_len;
	bool last;  /* close when `out` has left; nothing more is read */
	bool ended; /* the other side sends no more */
	struct control_request *waiting; /* answered later; NULL: none */
	void (*watch)(void *ctx);	 /* told of the end; NULL: nobody is */
	void *watch_ctx;
};

struct control {
	struct loop *loop;
	struct listener listener;
	const struct control_op *ops;
	unsigned nops;
	void *ctx;
	struct log_limit refused;
	struct control_client client[CONTROL_MAX_CLIENTS];
};

static void client_free(struct control_client *k)
{
	if (k->waiting)
		k->waiting->client = NULL;
	loop_del(k->control->loop, &k->source);
	close(k->source.fd);
	free(k->in);
	free(k->out);
	*k = (struct control_client){ .source.fd = -1, .control = k->control };
}

/* Once. What is called may answer, and take or drop watches. */
static void tell_end(void (*watch)(void *ctx), void *ctx)
{
	if (watch)
		watch(ctx);
}

static void client_close(struct control_client *k)
{
	void (*watch)(void *ctx) = k->watch;
	void *ctx = k->watch_ctx;

	client_free(k);
	tell_end(watch, ctx);
}

/* ---- out ---- */

/* Writes what goes. False when the connection is broken. */
static bool client_flush(struct control_client *k)
{
	while (k->out) {
		ssize_t n = fd_write(k->source.fd, k->out + k->out_at,
				     k->out_len - k->out_at);
		bool gone = n < 0 && (errno == EPIPE || errno == ECONNRESET);

		if (n < 0 && !gone)
			return errno == EAGAIN || errno == EINTR;
		k->out_at += (size_t)MAX(n, 0);
		if (k->out_at < k->out_len && !gone)
			continue;
		free(k->out);
		k->out = NULL;
	}
	return true;
}

/* Behind a line that has not left: there is at most one, that asks for fds. */
static bool append(struct control_client *k, const char *line, size_t len)
{
	size_t left = k->out_len - k->out_at;
	char *both = malloc(left + len);

	if (!both)
		return false;
	memcpy(both, k->out + k->out_at, left);
	memcpy(both + left, line, len);
	free(k->out);
	k->out = both;
	k->out_at = 0;
	k->out_len = left + len;
	return true;
}

/* Takes `line`. False when the connection is of no more use: it is broken, or
 * there is no memory (`line` NULL). */
static bool client_say(struct control_client *k, char *line)
{
	bool ok = line;

	if (k->out && line) {
		ok = append(k, line, strlen(line));
		free(line);
	} else if (line) {
		k->out = line;
		k->out_at = 0;
		k->out_len = strlen(line);
	}
	return ok && client_flush(k);
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

static const char *client_line_end(const struct control_client *k)
{
	return memchr(k->in, '\n', k->in_len);
}

/* Reads once. False when the connection is broken. */
static bool client_read(struct control_client *k)
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

static void request_free(struct control_request *q)
{
	if (q->client)
		q->client->waiting = NULL;
	json_decref(q->id);
	free(q);
}

/* Answers the first line in the buffer, which is `len` long, or keeps it. */
static bool client_answer(struct control_client *k, size_t len)
{
	struct control_request *q = calloc(1, sizeof(*q));
	struct control *c = k->control;
	char *line = NULL;
	bool kept = false;

	if (!q)
		return false;
	q->client = k;
	k->waiting = q;
	line = control_obey(c->ops, c->nops, c->ctx, q, k->in, len, &k->last,
			    &kept);
	k->in_len -= len;
	memmove(k->in, k->in + len, k->in_len);
	if (kept)
		return true;
	k->last |= q->fds;
	request_free(q);
	return client_say(k, line);
}

/* What is in the buffer is no line and will be none. */
static bool client_give_up(struct control_client *k)
{
	k->last = true;
	if (k->in_len == 0)
		return true;
	return client_say(k, error_line(EXIT_USAGE, NULL,
					k->ended ? "the message is cut off"
						 : "the message is too long"));
}

/* As many lines as a round may have. False when the connection is over. */
static bool client_work(struct control_client *k)
{
	bool alive = client_flush(k);

	for (unsigned i = 0; alive && !k->out && !k->last && !k->waiting; i++) {
		const char *end = client_line_end(k);

		if (end && i == CONTROL_ROUND)
			break;
		if (end)
			alive = client_answer(k, (size_t)(end - k->in) + 1);
		else if (k->ended || k->in_len == CONTROL_MAX_BYTES)
			alive = client_give_up(k);
		else
			break;
	}
	return k->waiting || (alive && !(k->last && !k->out));
}

/* Reads what came before the end, as far as there is room. */
static void client_read_rest(struct control_client *k)
{
	size_t before;

	do {
		before = k->in_len;
		if (!client_read(k))
			k->ended = true;
	} while (k->in_len > before);
}

/* While it is WAITING: tells of its end when no line came before that. */
static void client_look_for_end(struct control_client *k, bool hung_up)
{
	void (*watch)(void *ctx) = k->watch;

	if (hung_up && !k->waiting->fds)
		client_read_rest(k);
	if (k->waiting->fds ? !hung_up : !k->ended || client_line_end(k))
		return;
	k->watch = NULL;
	tell_end(watch, k->watch_ctx);
}

/* What it waits for next; by edge where that may be there for long. One that is
 * WAITING is in the epoll set, so that for it this does not fail. */
static int client_listen(struct control_client *k)
{
	uint32_t events = EPOLLIN;

	if (k->waiting)
		events = EPOLLRDHUP | EPOLLET | (k->out ? EPOLLOUT : 0);
	else if (k->out || k->last || client_line_end(k))
		events = EPOLLOUT;
	return loop_set_events(k->control->loop, &k->source, events);
}

static void client_ready(struct loop_source *s, uint32_t events)
{
	struct control_client *k =
	    container_of(s, struct control_client, source);
	bool hung_up = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	bool alive = true;

	/* Input only when nothing waits in front of it. */
	if (!k->out && !k->last && !k->waiting && !client_line_end(k))
		alive = client_read(k);
	if (!alive || !client_work(k)) {
		client_close(k);
		return;
	}
	if (k->waiting)
		client_look_for_end(k, hung_up);
	if (client_listen(k))
		client_close(k);
}

/* ---- answers that come later ---- */

/* What its client is left to do it does in its own handler, which EPOLLOUT
 * brings on. */
static void request_answer(struct control_request *r, char *line)
{
	struct control_client *k = r->client;

	request_free(r);
	if (!k) {
		free(line);
		return;
	}
	if (!client_say(k, line))
		k->last = true;
	client_listen(k);
}

void control_reply(struct control_request *r, json_t *result)
{
	request_answer(r, control_answer_line(r->id, true,
					      result ? result : json_object()));
}

void control_refuse(struct control_request *r, const struct fail *why)
{
	/* Nobody knows how many fds are still to come. */
	if (r->client && r->fds)
		r->client->last = true;
	request_answer(
	    r, control_answer_line(r->id, false, control_fail_to_json(why)));
}

int control_ask_fds(struct control_request *r, unsigned n)
{
	struct control_client *k = r->client;
	char *line;

	if (!k || k->ended)
		return -EPIPE;
	line = control_answer_line(r->id, true,
				   json_pack("{s:i}", "send", (int)n));
	if (!line)
		return -ENOMEM;
	if (!client_say(k, line))
		return -EPIPE;
	r->fds = true;
	client_listen(k);
	return k->source.fd;
}

struct control_client *control_client_of(struct control_request *r)
{
	return r->client;
}

void control_watch(struct control_client *k, void (*ended)(void *ctx),
		   void *ctx)
{
	k->watch = ended;
	k->watch_ctx = ctx;
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

static struct control_client *free_place(struct control *c)
{
	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (c->client[i].source.fd < 0)
			return &c->client[i];
	return NULL;
}

static void connected(struct listener *l, int fd, bool allowed)
{
	struct control *c = container_of(l, struct control, listener);
	struct control_client *k = free_place(c);

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
		c->client[i] =
		    (struct control_client){ .source.fd = -1, .control = c };
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
			client_free(&c->client[i]);
	listener_fini(&c->listener);
	close(c->listener.source.fd);
	free(c);
}
