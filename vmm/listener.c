/* SPDX-License-Identifier: Apache-2.0 */
/* Accepts clients; when that fails, tries again a little later. */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

/* Out of fds: try again then, instead of being woken at once for ever. */
#define ACCEPT_AGAIN_NS UINT64_C(200000000)

/* By SO_PEERCRED: the user that connected, whatever it has become since. */
static bool allowed(const struct listener *l, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == l->owner);
}

static void accept_again(struct loop_timer *t)
{
	struct listener *l = container_of(t, struct listener, again);

	if (loop_set_events(l->loop, &l->source, EPOLLIN))
		loop_timer_set(&l->again, ACCEPT_AGAIN_NS);
}

static void listener_ready(struct loop_source *s, uint32_t events)
{
	struct listener *l = container_of(s, struct listener, source);
	int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		l->connected(l, fd, allowed(l, fd));
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	log_guest(&l->failed, l->name, "accept a client: %s", strerror(errno));
	if (loop_set_events(l->loop, s, 0) == 0)
		loop_timer_set(&l->again, ACCEPT_AGAIN_NS);
}

int listener_init(struct listener *l, struct loop *loop, int fd,
		  const char *name,
		  void (*connected)(struct listener *l, int fd, bool allowed))
{
	int flags = fcntl(fd, F_GETFL);

	*l = (struct listener){
		.loop = loop,
		.source = { .fd = fd,
			    .ready = listener_ready,
			    .events = EPOLLIN },
		.name = name,
		.owner = geteuid(),
		.connected = connected,
	};
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	loop_timer_init(loop, &l->again, accept_again);
	return loop_add(loop, &l->source);
}

void listener_fini(struct listener *l)
{
	if (!l->loop)
		return;
	loop_del(l->loop, &l->source);
	loop_timer_fini(l->loop, &l->again);
}
