/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock with a guest that runs: the demo guest's vsock command on one
 * side; on the other this test, which is broker and host programs in turns with
 * the machine's loop.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"
#include "vmtest.h"
#include "vsock_link.h"

#define SCRIPT(s) "run=\"" s "\""

static struct vmtest t;
static int broker = -1;

static void init(void)
{
	signal(SIGPIPE, SIG_IGN);
}

static void fini(void)
{
	close(broker); /* before: who ends waits for it */
	vmtest_fini(&t);
}

TestSuite(vsock, .init = init);

static void start(const char *cmdline)
{
	struct vmtest_config c = { .cmdline = cmdline };

	close(vmtest_kvm()); /* skips before anything is made */
	cr_assert_eq(vsock_link_pair(&c.vsock_fd, &broker), 0);
	vmtest_init(&t, &c);
	machine_run(t.machine);
}

/* The host's end of a connection that is given to the VM. */
static int give(uint32_t kind, uint32_t host_port, uint32_t guest_port)
{
	const struct vsock_link_msg m = { kind, host_port, guest_port };
	int s[2], token[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	cr_assert_eq(pipe2(token, O_CLOEXEC), 0);
	cr_assert_eq(
	    vsock_link_give(broker, &m,
			    &(struct vsock_link_fds){ s[0], token[1] }),
	    0);
	close(s[0]);
	close(token[0]);
	close(token[1]);
	return s[1];
}

static struct vsock_link_msg wait_asked(void)
{
	struct vsock_link_fds fds;
	struct vsock_link_msg m;

	while (vsock_link_take(broker, &m, &fds) == 0)
		vmtest_let_run(&t, 1);
	cr_assert_eq(m.kind, VSOCK_LINK_CONNECT);
	return m;
}

/* Sends back what has come, and stops at its end. */
struct echo {
	uint8_t data[65536];
	size_t at, len, total;
	bool ended;
};

static void echo(struct echo *e, int fd)
{
	ssize_t n;

	if (!e->len) {
		n = read(fd, e->data, sizeof(e->data));
		e->ended |= n == 0;
		e->at = 0;
		e->len = (size_t)MAX(n, 0);
	}
	n = write(fd, e->data + e->at, e->len);
	if (n <= 0)
		return;
	e->at += (size_t)n;
	e->len -= (size_t)n;
	e->total += (size_t)n;
}

static void expect_exit(uint32_t value)
{
	while (t.event != GUEST_EXIT)
		vmtest_wait(&t);
	cr_assert_eq(t.value, value, "printed: %s", vmtest_output(&t));
}

Test(vsock, guest_that_sends_gets_the_same_back)
{
	static struct echo e;
	struct vsock_link_msg m;
	uint32_t sent, received;
	const char *line;
	int fd;

	start(SCRIPT("vsock connect 7 300000; exit 9"));
	m = wait_asked();
	cr_assert_eq(m.host_port, 7);
	fd = give(VSOCK_LINK_CONNECTED, m.host_port, m.guest_port);
	/* The guest has a few pages for what comes ahead: both wait for each
	 * other all the time. */
	while (e.total < 300000 && !t.told) {
		vmtest_let_run(&t, 1);
		echo(&e, fd);
	}
	close(fd);
	expect_exit(9);
	line = strstr(vmtest_output(&t), "vsock: sent");
	cr_assert_not_null(line);
	cr_assert_eq(sscanf(line,
			    "vsock: sent 300000 bytes, crc %x; received "
			    "300000 bytes, crc %x",
			    &sent, &received),
		     2, "printed: %s", line);
	cr_assert_eq(sent, received);
	fini();
}

Test(vsock, guest_that_asks_for_a_port_that_is_refused_is_told)
{
	struct vsock_link_msg m;

	start(SCRIPT("vsock connect 7"));
	m = wait_asked();
	m.kind = VSOCK_LINK_REFUSED;
	cr_assert_eq(vsock_link_tell(broker, &m), 0);
	expect_exit(1);
	cr_assert_not_null(strstr(vmtest_output(&t), "nobody listens"));
	fini();
}

/* A host program's whole talk with the guest's echo: so many bytes there and
 * back, the machine paused in between if `pauses`: after each turn that moved
 * something, as one that is always paused gets nowhere where all is slow. */
static void talk(int fd, size_t bytes, bool pauses)
{
	bool pause = pauses, moved;
	size_t sent = 0, received = 0;
	uint8_t out[1024], in[4096];
	char ok[32];
	ssize_t n;

	while ((n = read(fd, ok, sizeof(ok))) < 0)
		vmtest_let_run(&t, 1);
	cr_assert(n > 4 && !memcmp(ok, "OK ", 3) && ok[n - 1] == '\n');
	while (received < bytes) {
		for (size_t i = 0; i < sizeof(out); i++)
			out[i] = (uint8_t)((sent + i) * 7 >> 3);
		n = write(fd, out, MIN(sizeof(out), bytes - sent));
		sent += (size_t)MAX(n, 0);
		moved = n > 0;
		if (pause)
			machine_pause(t.machine);
		n = read(fd, in, sizeof(in));
		if (pause)
			machine_run(t.machine);
		moved |= n > 0;
		pause = pauses && moved;
		for (ssize_t i = 0; i < n; i++)
			cr_assert_eq(
			    in[i], (uint8_t)((received + (size_t)i) * 7 >> 3));
		received += (size_t)MAX(n, 0);
		vmtest_let_run(&t, 1);
	}
}

static void host_talks(bool pauses)
{
	int fd;

	start(SCRIPT("vsock listen 5; exit 9"));
	cr_assert(vmtest_wait_output(&t, "listens on port 5"));
	fd = give(VSOCK_LINK_INCOMING, 0, 5);
	talk(fd, 100000, pauses);
	close(fd);
	expect_exit(9);
	cr_assert_not_null(
	    strstr(vmtest_output(&t), "1 connections, 100000 bytes echoed"));
	fini();
}

Test(vsock, host_program_gets_back_what_it_sends)
{
	host_talks(false);
}

Test(vsock, stream_when_paused_again_and_again_loses_nothing)
{
	host_talks(true);
}

Test(vsock, reset_of_the_machine_closes_connections_and_begins_anew)
{
	char c;
	int fd;

	start(SCRIPT("vsock listen 5; exit 9"));
	for (unsigned i = 0; i < 3; i++) {
		do
			vmtest_wait(&t);
		while (t.event != GUEST_READY);
		fd = give(VSOCK_LINK_INCOMING, 0, 5);
		talk(fd, 1000, false);
		cr_assert_eq(machine_reset(t.machine, &t.why), 0);
		while (read(fd, &c, 1) < 0)
			vmtest_let_run(&t, 1);
		cr_assert_eq(read(fd, &c, 1), 0);
		close(fd);
	}
	fini();
}
