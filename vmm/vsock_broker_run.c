/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker at work: one thread, no memory but what it begins with. It waits
 * for the VM, for new clients, for lines of those that have not said theirs,
 * and for the end of tokens.
 *
 * System calls: see SANDBOX_BROKER in sandbox_policy.c.
 */
#include "vsock_broker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fdio.h"
#include "util.h"
#include "vsock_link.h"

#define ASKS	     64 /* of the guest, that wait for a busy program */
#define ASK_AGAIN_NS UINT64_C(10000000)
/* Out of fds: others are taken then, instead of waking us at once for ever. */
#define LISTEN_AGAIN_NS UINT64_C(200000000)

struct client {
	int fd; /* -1: none */
	uint64_t until_ns;
	unsigned len;
	char line[VSOCK_BROKER_LINE];
};

struct ask {
	uint32_t host_port, guest_port;
	uint64_t until_ns; /* 0: none */
};

struct connection {
	int socket, token; /* -1: none */
};

enum { LINK, LISTENER, FIXED };

struct broker {
	const struct vsock_broker_config *cfg;
	bool over;
	uint64_t listen_again_ns; /* 0: at once */
	struct client client[VSOCK_BROKER_CLIENTS];
	struct ask ask[ASKS];
	struct connection conn[VSOCK_BROKER_CONNECTIONS];
	/* What is waited for; beyond the fixed ones only what is there, as the
	 * kernel takes no more of them than we may open. */
	struct pollfd
	    fd[FIXED + VSOCK_BROKER_CLIENTS + VSOCK_BROKER_CONNECTIONS];
	void *of[FIXED + VSOCK_BROKER_CLIENTS + VSOCK_BROKER_CONNECTIONS];
	unsigned nfds, first_token;
};

int vsock_parse_connect(const char *line, size_t len, uint32_t *port)
{
	static const char word[] = "CONNECT ";
	const size_t skip = sizeof(word) - 1;
	uint64_t v = 0;

	if (len <= skip || len > skip + 10 || memcmp(line, word, skip))
		return -EINVAL;
	for (size_t i = skip; i < len; i++) {
		if (line[i] < '0' || line[i] > '9')
			return -EINVAL;
		v = v * 10 + (uint64_t)(line[i] - '0');
	}
	/* The last one means "any". */
	if (v >= UINT32_MAX)
		return -EINVAL;
	*port = (uint32_t)v;
	return 0;
}

/* ---- connections ---- */

/* Hands it to the VM; the socket is not the caller's any more. 0 or -errno. */
static int hand_over(struct broker *b, const struct vsock_link_msg *m,
		     int socket)
{
	struct connection *c = NULL;
	int token[2], r;

	for (unsigned i = 0; i < VSOCK_BROKER_CONNECTIONS && !c; i++)
		if (b->conn[i].socket < 0)
			c = &b->conn[i];
	if (!c || pipe2(token, O_CLOEXEC) < 0) {
		close(socket);
		return -EMFILE;
	}
	r = vsock_link_give(b->cfg->link, m,
			    &(struct vsock_link_fds){ socket, token[1] });
	close(token[1]);
	if (r) {
		close(token[0]);
		close(socket);
		return r;
	}
	*c = (struct connection){ socket, token[0] };
	return 0;
}

/* The VM has closed the token: the host's input ends here, and what else the
 * connection is is the VM's business. */
static void token_ended(struct connection *c)
{
	shutdown(c->socket, SHUT_WR);
	close(c->socket);
	close(c->token);
	c->socket = c->token = -1;
}

/* ---- the guest asks ---- */

/* A connected socket, -EAGAIN: its program is busy; or -errno. */
static int connect_to(const struct broker *b, uint32_t port)
{
	_cleanup_close_ int fd =
	    socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (fd < 0)
		return -errno;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", b->cfg->name, port);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* True when it is settled, either way. */
static bool try_ask(struct broker *b, const struct ask *a)
{
	struct vsock_link_msg m = { .kind = VSOCK_LINK_CONNECTED,
				    .host_port = a->host_port,
				    .guest_port = a->guest_port };
	int fd = connect_to(b, a->host_port);

	if (fd == -EAGAIN && now_ns() < a->until_ns)
		return false;
	if (fd < 0 || hand_over(b, &m, fd)) {
		m.kind = VSOCK_LINK_REFUSED;
		vsock_link_tell(b->cfg->link, &m);
	}
	return true;
}

static void guest_asks(struct broker *b, const struct vsock_link_msg *m)
{
	struct ask a = { .host_port = m->host_port,
			 .guest_port = m->guest_port,
			 .until_ns = now_ns() + VSOCK_BROKER_BUSY_NS };

	for (unsigned i = 0; i < ASKS; i++) {
		if (b->ask[i].until_ns)
			continue;
		if (!try_ask(b, &a))
			b->ask[i] = a;
		return;
	}
	a.until_ns = 0; /* no room to wait in: now or never */
	try_ask(b, &a);
}

static void try_asks_again(struct broker *b)
{
	for (unsigned i = 0; i < ASKS; i++)
		if (b->ask[i].until_ns && try_ask(b, &b->ask[i]))
			b->ask[i].until_ns = 0;
}

static void hear_vm(struct broker *b)
{
	struct vsock_link_fds fds;
	struct vsock_link_msg m;
	int got = vsock_link_take(b->cfg->link, &m, &fds);

	vsock_link_close_fds(&fds); /* it has none to give */
	if (got < 0 && got != -EBADMSG)
		b->over = true;
	else if (got == 1 && m.kind == VSOCK_LINK_END)
		b->over = true;
	else if (got == 1 && m.kind == VSOCK_LINK_CONNECT)
		guest_asks(b, &m);
}

/* ---- host programs ---- */

static void drop_client(struct client *c)
{
	close(c->fd);
	c->fd = -1;
}

static bool allowed(const struct broker *b, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == b->cfg->owner);
}

static struct client *free_client(struct broker *b)
{
	for (unsigned i = 0; i < VSOCK_BROKER_CLIENTS; i++)
		if (b->client[i].fd < 0)
			return &b->client[i];
	return NULL;
}

static void take_client(struct broker *b)
{
	struct client *c = free_client(b);
	int fd =
	    accept4(b->cfg->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		b->listen_again_ns = now_ns() + LISTEN_AGAIN_NS;
		return;
	}
	*c = (struct client){ .fd = fd,
			      .until_ns = now_ns() + VSOCK_BROKER_LINE_NS };
	if (!allowed(b, fd))
		drop_client(c);
}

static void obey(struct broker *b, struct client *c)
{
	struct vsock_link_msg m = { .kind = VSOCK_LINK_INCOMING };

	if (vsock_parse_connect(c->line, c->len - 1, &m.guest_port))
		drop_client(c);
	else
		hand_over(b, &m, steal_fd(&c->fd));
}

/* Takes its line and not a byte more: what follows is the guest's. */
static void hear_client(struct broker *b, struct client *c)
{
	char *at = c->line + c->len, *end;
	ssize_t n = recv(c->fd, at, sizeof(c->line) - c->len, MSG_PEEK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	end = n > 0 ? memchr(at, '\n', (size_t)n) : NULL;
	if (end)
		n = end + 1 - at;
	if (n <= 0 || fd_read(c->fd, at, (size_t)n) != n) {
		drop_client(c);
		return;
	}
	c->len += (unsigned)n;
	if (end)
		obey(b, c);
	else if (c->len == sizeof(c->line))
		drop_client(c);
}

/* ---- waiting ---- */

static void wait_for(struct broker *b, int fd, short events, void *of)
{
	b->fd[b->nfds] = (struct pollfd){ .fd = fd, .events = events };
	b->of[b->nfds++] = of;
}

static void fill_poll(struct broker *b)
{
	bool listens = free_client(b) && now_ns() >= b->listen_again_ns;

	b->nfds = 0;
	wait_for(b, b->cfg->link, POLLIN, NULL);
	wait_for(b, listens ? b->cfg->listener : -1, POLLIN, NULL);
	for (unsigned i = 0; i < VSOCK_BROKER_CLIENTS; i++)
		if (b->client[i].fd >= 0)
			wait_for(b, b->client[i].fd, POLLIN, &b->client[i]);
	b->first_token = b->nfds;
	for (unsigned i = 0; i < VSOCK_BROKER_CONNECTIONS; i++)
		if (b->conn[i].token >= 0)
			wait_for(b, b->conn[i].token, 0, &b->conn[i]);
}

/* Until something is due by time alone; false: nothing is. */
static bool time_left(const struct broker *b, struct timespec *t)
{
	uint64_t now = now_ns(), until = UINT64_MAX;

	for (unsigned i = 0; i < VSOCK_BROKER_CLIENTS; i++)
		if (b->client[i].fd >= 0)
			until = MIN(until, b->client[i].until_ns);
	for (unsigned i = 0; i < ASKS; i++)
		if (b->ask[i].until_ns)
			until = MIN(until, now + ASK_AGAIN_NS);
	if (b->listen_again_ns > now)
		until = MIN(until, b->listen_again_ns);
	if (until == UINT64_MAX)
		return false;
	until = until > now ? until - now : 0;
	*t = (struct timespec){ (time_t)(until / 1000000000),
				(long)(until % 1000000000) };
	return true;
}

static void handle(struct broker *b)
{
	const uint64_t now = now_ns();

	for (unsigned i = FIXED; i < b->nfds; i++)
		if (b->fd[i].revents && i < b->first_token)
			hear_client(b, b->of[i]);
		else if (b->fd[i].revents)
			token_ended(b->of[i]);
	for (unsigned i = 0; i < VSOCK_BROKER_CLIENTS; i++)
		if (b->client[i].fd >= 0 && now >= b->client[i].until_ns)
			drop_client(&b->client[i]);
	if (b->fd[LINK].revents)
		hear_vm(b);
	if (b->fd[LISTENER].revents)
		take_client(b);
	try_asks_again(b);
}

/* Its own, not one that another VM has put there since. */
static void remove_socket(const char *name, const struct stat *own)
{
	struct stat st;

	if (fstatat(AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == own->st_dev && st.st_ino == own->st_ino)
		unlinkat(AT_FDCWD, name, 0);
}

void vsock_broker_run(const struct vsock_broker_config *c)
{
	struct broker b = { .cfg = c };
	struct stat own = { 0 };

	fstatat(AT_FDCWD, c->name, &own, AT_SYMLINK_NOFOLLOW);
	for (unsigned i = 0; i < VSOCK_BROKER_CLIENTS; i++)
		b.client[i].fd = -1;
	for (unsigned i = 0; i < VSOCK_BROKER_CONNECTIONS; i++)
		b.conn[i] = (struct connection){ -1, -1 };
	while (!b.over) {
		struct timespec t;

		fill_poll(&b);
		if (ppoll(b.fd, b.nfds, time_left(&b, &t) ? &t : NULL, NULL) >=
		    0)
			handle(&b);
		else if (errno != EINTR)
			break;
	}
	remove_socket(c->name, &own);
}
