/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of the console's sockets: they see and type, and hold nobody up. */
#include "console_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "fdio.h"
#include "util.h"

void console_client_close(struct console *c, struct console_client *k)
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
static bool client_send(struct console *c, struct console_client *k)
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
		    fd_write(k->source.fd, c->ring + k->at % CONSOLE_RING_BYTES,
			     console_stretch(k->at, c->head));

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		k->at += (uint64_t)n;
	}
	return true;
}

uint32_t console_client_events(const struct console *c,
			       const struct console_client *k)
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

static void client_serve(struct console *c, struct console_client *k)
{
	bool ok = true;
	uint32_t events;

	pthread_mutex_lock(&c->lock);
	if (!k->gone)
		ok = client_send(c, k);
	events = console_client_events(c, k);
	pthread_mutex_unlock(&c->lock);
	if (!ok)
		console_client_close(c, k);
	else
		loop_set_events(c->loop, &k->source, events);
}

void console_clients_serve(struct console *c)
{
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++)
		if (c->client[i].source.fd >= 0)
			client_serve(c, &c->client[i]);
}

/* Reads once; false when it is to be closed. */
static bool client_read(struct console *c, struct console_client *k,
			bool hung_up)
{
	uint8_t buf[1024];
	size_t max = MIN(sizeof(buf), console_in_room(c));
	ssize_t n;

	k->gone = hung_up;
	if (!max)
		return true;
	n = fd_read(k->source.fd, buf, max);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0) {
		k->ended = true;
		return !hung_up;
	}
	console_in_add(c, buf, (size_t)n);
	console_in_deliver(c);
	return true;
}

static void client_ready(struct loop_source *s, uint32_t events)
{
	struct console_client *k =
	    container_of(s, struct console_client, source);
	struct console *c = k->con;

	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) &&
	    !client_read(c, k, events & EPOLLHUP)) {
		console_client_close(c, k);
		return;
	}
	client_serve(c, k);
	console_in_ask(c);
}

/* A free place, or that of one who is gone and whose last input the guest
 * does not take. */
static struct console_client *client_place(struct console *c)
{
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++)
		if (c->client[i].source.fd < 0)
			return &c->client[i];
	for (unsigned i = 0; i < CONSOLE_MAX_CLIENTS; i++)
		if (c->client[i].gone) {
			console_client_close(c, &c->client[i]);
			return &c->client[i];
		}
	return NULL;
}

/* From now on it sees what the guest prints. */
static int client_add(struct console *c, int fd)
{
	struct console_client *k = client_place(c);
	int err;

	if (!k)
		return -EUSERS;
	*k = (struct console_client){
		.con = c,
		.source = { .fd = fd, .ready = client_ready },
	};
	pthread_mutex_lock(&c->lock);
	k->at = c->head;
	k->source.events = console_client_events(c, k);
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

static void connected(struct listener *l, int fd, bool allowed)
{
	struct console *c =
	    container_of(l, struct console_listener, listener)->con;
	int err = allowed ? client_add(c, fd) : -EPERM;

	if (!err)
		return;
	close(fd);
	console_count(c, &c->count.refused_clients, 1);
	log_guest(&c->clients_refused, "console", "connect client: %s",
		  strerror(-err));
}

int console_listen(struct console *c, struct console_listener *l, int fd)
{
	l->con = c;
	if (fd < 0)
		return 0;
	return listener_init(&l->listener, c->loop, fd, "console", connected);
}
