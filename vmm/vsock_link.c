/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages with two fds. Of the VM's process, the calls are pwritev2, recvmsg
 * with always the same flags, ppoll and close.
 */
#include "vsock_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fdio.h"
#include "util.h"

#define NFDS   2
#define END_NS 1000000000

/* Room for exactly two fds: the kernel drops what goes beyond. */
union fd_room {
	char bytes[CMSG_SPACE(NFDS * sizeof(int))];
	struct cmsghdr align;
};
_Static_assert(sizeof(union fd_room) == CMSG_LEN(NFDS * sizeof(int)),
	       "no room for a third");

int vsock_link_pair(int *vm, int *broker)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	if (fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0) {
		int err = -errno;

		close(pair[0]);
		close(pair[1]);
		return err;
	}
	*vm = pair[0];
	*broker = pair[1];
	return 0;
}

int vsock_link_tell(int link, const struct vsock_link_msg *m)
{
	ssize_t n = fd_write(link, m, sizeof(*m));

	if (n < 0)
		return -errno;
	return n == sizeof(*m) ? 0 : -EIO;
}

int vsock_link_give(int link, const struct vsock_link_msg *m,
		    const struct vsock_link_fds *fds)
{
	const int both[NFDS] = { fds->socket, fds->token };
	union fd_room room = { 0 };
	struct iovec iov = { (void *)(uintptr_t)m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &room,
			    .msg_controllen = sizeof(room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	ssize_t n;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(both));
	memcpy(CMSG_DATA(c), both, sizeof(both));
	do
		n = sendmsg(link, &h, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* The fds that came, one or two; how many. */
static unsigned fds_of(struct msghdr *h, int fd[NFDS])
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);
	size_t bytes;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return 0;
	bytes = MIN(c->cmsg_len - CMSG_LEN(0), NFDS * sizeof(int));
	memcpy(fd, CMSG_DATA(c), bytes);
	return (unsigned)(bytes / sizeof(int));
}

int vsock_link_take(int link, struct vsock_link_msg *m,
		    struct vsock_link_fds *fds)
{
	struct iovec iov = { m, sizeof(*m) };
	union fd_room room = { 0 };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &room,
			    .msg_controllen = sizeof(room) };
	ssize_t n = recvmsg(link, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	unsigned nfds;
	int fd[NFDS];

	*fds = (struct vsock_link_fds){ -1, -1 };
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	nfds = fds_of(&h, fd);
	if (nfds == NFDS)
		*fds = (struct vsock_link_fds){ fd[0], fd[1] };
	else if (nfds)
		close(fd[0]); /* no room for both: neither is of use */
	if (n == sizeof(*m) && !(h.msg_flags & MSG_TRUNC))
		return 1;
	vsock_link_close_fds(fds);
	return n ? -EBADMSG : -EPIPE;
}

void vsock_link_close_fds(struct vsock_link_fds *fds)
{
	cleanup_close(&fds->socket);
	cleanup_close(&fds->token);
	*fds = (struct vsock_link_fds){ -1, -1 };
}

void vsock_link_end(int link)
{
	const struct vsock_link_msg end = { .kind = VSOCK_LINK_END };
	const uint64_t until = now_ns() + END_NS;
	struct pollfd p = { .fd = link, .events = POLLIN };
	struct vsock_link_msg m;
	struct vsock_link_fds fds;
	int got = 1;

	if (link < 0)
		return;
	if (vsock_link_tell(link, &end))
		got = -EPIPE;
	/* What was under way still comes before its end. */
	while (got >= 0 && now_ns() < until) {
		struct timespec t = { 0, END_NS / 10 };

		ppoll(&p, 1, &t, NULL);
		got = vsock_link_take(link, &m, &fds);
		if (got > 0)
			vsock_link_close_fds(&fds);
	}
	close(link);
}
