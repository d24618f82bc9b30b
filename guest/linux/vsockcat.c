/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock for a shell of the guest: `vsockcat connect CID PORT` and `vsockcat
 * listen PORT` (one connection) pass stdin on, to its end and half a close, and
 * what comes to stdout, to its end. 0, or 1 when there was no connection or it
 * broke.
 */
#include <asm/poll.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "alone.h"

#define USAGE  "usage: vsockcat connect CID PORT | vsockcat listen PORT\n"
#define FAILED "vsockcat: no connection\n"
#define MAX    0xffffffffL

struct pollfd_alone {
	int fd;
	short events, revents;
};

static char buf[65536];

static long opened(long cid, long port, int listens)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK,
				 .svm_cid = (unsigned)cid,
				 .svm_port = (unsigned)port };
	long s = syscall3(__NR_socket, AF_VSOCK, SOCK_STREAM, 0), r;

	if (s < 0)
		return s;
	if (!listens) {
		r = syscall3(__NR_connect, s, (long)&a, sizeof(a));
		return r < 0 ? r : s;
	}
	r = syscall3(__NR_bind, s, (long)&a, sizeof(a));
	if (r == 0)
		r = syscall3(__NR_listen, s, 1, 0);
	return r < 0 ? r : syscall4(__NR_accept4, s, 0, 0, 0);
}

/* One read and all of it written: 1, 0 at the end, or negative. */
static long pass(long from, long to)
{
	long n = syscall3(__NR_read, from, (long)buf, sizeof(buf)), done, r;

	for (done = 0; done < n; done += r) {
		r = syscall3(__NR_write, to, (long)buf + done, n - done);
		if (r <= 0)
			return -1;
	}
	return n > 0 ? 1 : n;
}

static int talk(long s)
{
	struct pollfd_alone fd[2] = { { 0, POLLIN, 0 }, { (int)s, POLLIN, 0 } };
	long r = 1;

	while (r > 0) {
		if (syscall3(__NR_poll, (long)fd, 2, -1) < 0)
			return 1;
		if (fd[0].revents) {
			r = pass(0, s);
			if (r == 0) {
				syscall3(__NR_shutdown, s, SHUT_WR, 0);
				fd[0].fd = -1;
				r = 1;
			}
		}
		if (r > 0 && fd[1].revents)
			r = pass(s, 1);
	}
	return r < 0;
}

static _Noreturn void start(const long *stack)
{
	const char *const *argv = (const char *const *)(stack + 1);
	long argc = stack[0], s = -1;

	if (argc == 4 && equal(argv[1], "connect"))
		s = opened(number_of(argv[2], MAX), number_of(argv[3], MAX), 0);
	else if (argc == 3 && equal(argv[1], "listen"))
		s = opened(MAX, number_of(argv[2], MAX),
			   1); /* VMADDR_CID_ANY */
	else
		complain(USAGE, sizeof(USAGE) - 1);
	if (s < 0) {
		syscall3(__NR_write, 2, (long)FAILED, sizeof(FAILED) - 1);
		leave(1);
	}
	leave(talk(s));
}

ALONE_START(start);
