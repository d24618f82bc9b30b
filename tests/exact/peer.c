/* SPDX-License-Identifier: Apache-2.0 */
/* Echoes of whole streams, and a vsock broker for them. */
#include "peer.h"

#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#include <fcntl.h>

#include "util.h"
#include "vsock_link.h"

/* Sends back what is there; false: no more will come. */
static bool echo(int fd)
{
	static uint8_t buf[65536];
	ssize_t n = read(fd, buf, sizeof(buf));

	for (ssize_t at = 0, w; at < n; at += w) {
		w = write(fd, buf + at, (size_t)(n - at));
		if (w <= 0)
			return false;
	}
	return n > 0;
}

static void serve_stream(int fd)
{
	while (echo(fd))
		;
}

/* A child with `theirs` alone, or the parent, which closes it. */
static int start(int theirs, int ours, void (*serve)(int fd))
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		close(ours);
		serve(theirs);
		_exit(0);
	}
	close(theirs);
	return pid < 0 ? -1 : 0;
}

int peer_net(int *vm)
{
	int s[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s))
		return -1;
	fcntl(s[0], F_SETFL, O_NONBLOCK);
	*vm = s[0];
	return start(s[1], s[0], serve_stream);
}

/* ---- vsock ---- */

static _Atomic uint32_t *connections; /* that are open */

#define CONNECTIONS 16

/* As the real one, it keeps the VM's socket until the VM closes the token, and
 * then ends the host's input. */
struct broker {
	struct pollfd fd[1 + 2 * CONNECTIONS]; /* as below; -1: free */
	int vm[CONNECTIONS];
};

#define HOST(b, i)  ((b)->fd[1 + (i)])
#define TOKEN(b, i) ((b)->fd[1 + CONNECTIONS + (i)])

static int make_connection(struct broker *b, unsigned i, int *token)
{
	int s[2], t[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s))
		return -1;
	if (pipe2(t, O_CLOEXEC)) {
		close(s[0]);
		close(s[1]);
		return -1;
	}
	fcntl(s[0], F_SETFL, O_NONBLOCK);
	b->vm[i] = s[0];
	HOST(b, i) = (struct pollfd){ s[1], POLLIN, 0 };
	TOKEN(b, i) = (struct pollfd){ t[0], 0, 0 };
	++*connections;
	*token = t[1];
	return 0;
}

static void connect_to(struct broker *b, const struct vsock_link_msg *asked)
{
	struct vsock_link_msg m = *asked;
	struct vsock_link_fds fds = { -1, -1 };
	unsigned i = 0;

	while (i < CONNECTIONS && (HOST(b, i).fd >= 0 || TOKEN(b, i).fd >= 0))
		i++;
	m.kind = VSOCK_LINK_REFUSED;
	if (i < CONNECTIONS && make_connection(b, i, &fds.token) == 0) {
		m.kind = VSOCK_LINK_CONNECTED;
		fds.socket = b->vm[i];
	}
	vsock_link_give(b->fd[0].fd, &m, &fds);
	if (fds.token >= 0)
		close(fds.token);
}

static void close_end(struct pollfd *p)
{
	close(p->fd);
	p->fd = -1;
}

static void serve_connection(struct broker *b, unsigned i)
{
	if (TOKEN(b, i).fd >= 0 && TOKEN(b, i).revents) {
		shutdown(b->vm[i], SHUT_WR);
		close(b->vm[i]);
		close_end(&TOKEN(b, i));
		--*connections;
	}
	if (HOST(b, i).fd >= 0 && HOST(b, i).revents && !echo(HOST(b, i).fd))
		close_end(&HOST(b, i));
}

static bool take(struct broker *b)
{
	struct vsock_link_fds fds;
	struct vsock_link_msg m;
	int r = vsock_link_take(b->fd[0].fd, &m, &fds);

	if (r < 0)
		return false;
	if (r && m.kind == VSOCK_LINK_CONNECT)
		connect_to(b, &m);
	/* END is of one machine: the next has the same link. */
	return true;
}

static void serve_vsock(int link)
{
	static struct broker b;

	for (unsigned i = 0; i < ARRAY_SIZE(b.fd); i++)
		b.fd[i] = (struct pollfd){ -1, 0, 0 };
	b.fd[0] = (struct pollfd){ link, POLLIN, 0 };
	while (poll(b.fd, ARRAY_SIZE(b.fd), -1) > 0) {
		if (b.fd[0].revents && !take(&b))
			return;
		for (unsigned i = 0; i < CONNECTIONS; i++)
			serve_connection(&b, i);
	}
}

int peer_vsock(int *vm, _Atomic uint32_t *open)
{
	int broker;

	connections = open;
	if (vsock_link_pair(vm, &broker))
		return -1;
	return start(broker, *vm, serve_vsock);
}
