/* SPDX-License-Identifier: Apache-2.0 */
/* Four calls as two, on each kind of fd that a VM has. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include "fdio.h"

Test(fdio, eventfd_counts)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	uint64_t n = 5, got = 0;

	cr_assert_eq(fd_read(fd, &got, sizeof(got)), -1);
	cr_assert_eq(errno, EAGAIN);
	cr_assert_eq(fd_write(fd, &n, sizeof(n)), sizeof(n));
	cr_assert_eq(fd_write(fd, &n, sizeof(n)), sizeof(n));
	cr_assert_eq(fd_read(fd, &got, sizeof(got)), sizeof(got));
	cr_assert_eq(got, 10);
}

/* `there` is written to and `here` read, twice: a stream has no position. */
static void pass(int there, int here)
{
	char buf[16];

	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(fd_write(there, "abcde", 5), 5);
		cr_assert_eq(fd_read(here, buf, 3), 3);
		cr_assert_arr_eq(buf, "abc", 3);
		cr_assert_eq(fd_read(here, buf, sizeof(buf)), 2);
		cr_assert_arr_eq(buf, "de", 2);
	}
}

Test(fdio, pipe_passes_bytes_and_ends)
{
	int p[2];
	char c;

	cr_assert_eq(pipe(p), 0);
	pass(p[1], p[0]);
	close(p[1]);
	cr_assert_eq(fd_read(p[0], &c, 1), 0);
	cr_assert_eq(fd_pread(p[0], &c, 1, 0), -1);
	cr_assert_eq(errno, ESPIPE);
}

Test(fdio, pipe_nobody_reads_fails_as_with_write)
{
	int p[2];

	cr_assert_eq(pipe(p), 0);
	signal(SIGPIPE, SIG_IGN);
	close(p[0]);
	cr_assert_eq(fd_write(p[1], "x", 1), -1);
	cr_assert_eq(errno, EPIPE);
}

Test(fdio, socket_passes_bytes_both_ways)
{
	int s[2];
	char c;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	pass(s[0], s[1]);
	pass(s[1], s[0]);
	cr_assert_eq(fd_read(s[0], &c, 1), -1);
	cr_assert_eq(errno, EAGAIN);
}

Test(fdio, terminal_passes_bytes)
{
	int m, s;
	struct termios t;

	cr_assert_eq(openpty(&m, &s, NULL, NULL, NULL), 0);
	cr_assert_eq(tcgetattr(s, &t), 0);
	cfmakeraw(&t);
	cr_assert_eq(tcsetattr(s, TCSANOW, &t), 0);
	pass(m, s);
	pass(s, m);
}

Test(fdio, signalfd_tells_the_signal)
{
	struct signalfd_siginfo info;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_NONBLOCK);
	raise(SIGUSR1);
	cr_assert_eq(fd_read(fd, &info, sizeof(info)), sizeof(info));
	cr_assert_eq(info.ssi_signo, SIGUSR1);
}

Test(fdio, random_source_fills_the_buffer)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	char buf[64] = "", none[64] = "";

	cr_assert_eq(fd_read(fd, buf, sizeof(buf)), sizeof(buf));
	cr_assert(memcmp(buf, none, sizeof(buf)));
}

Test(fdio, file_has_a_position_that_only_read_and_write_move)
{
	int fd = fileno(tmpfile());
	char buf[8];

	cr_assert_eq(fd_write(fd, "0123", 4), 4);
	cr_assert_eq(fd_pwrite(fd, "XY", 2, 1), 2);
	cr_assert_eq(fd_pread(fd, buf, 8, 2), 2);
	cr_assert_arr_eq(buf, "Y3", 2);
	cr_assert_eq(fd_write(fd, "45", 2), 2);
	cr_assert_eq(lseek(fd, 0, SEEK_CUR), 6);
	cr_assert_eq(lseek(fd, 1, SEEK_SET), 1);
	cr_assert_eq(fd_read(fd, buf, 3), 3);
	cr_assert_arr_eq(buf, "XY3", 3);
	cr_assert_eq(lseek(fd, 0, SEEK_CUR), 4);
	cr_assert_eq(fd_pread(fd, buf, 8, 100), 0);
}

Test(fdio, offset_beyond_any_file_is_refused)
{
	const uint64_t far[] = { UINT64_MAX, UINT64_C(1) << 63 };
	int fd = fileno(tmpfile());
	char c = 'c';

	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(fd_pwrite(fd, &c, 1, far[i]), -1);
		cr_assert_eq(errno, EINVAL);
		cr_assert_eq(fd_pread(fd, &c, 1, far[i]), -1);
		cr_assert_eq(errno, EINVAL);
	}
	cr_assert_eq(lseek(fd, 0, SEEK_END), 0);
}

Test(fdio, fd_that_is_not_open_is_refused)
{
	char c = 'c';

	cr_assert_eq(fd_read(-1, &c, 1), -1);
	cr_assert_eq(errno, EBADF);
	cr_assert_eq(fd_pwrite(-1, &c, 1, 0), -1);
	cr_assert_eq(errno, EBADF);
}
