/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest whose CPUs misuse all virtio devices at once
 * (guest/tests/ringstorm.c) while the host pauses the machine, resets it, and
 * talks to it: it ends well, and each device lets go of its memory.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake_disk.h"
#include "util.h"
#include "vmtest.h"
#include "vsock_link.h"

static struct vmtest t;
static struct fake_disk fake[2];
static const struct machine_disk disks[] = {
	{ .id = "root", .disk = &fake[0].disk },
	{ .id = "data",
	  .disk = &fake[1].disk,
	  .bytes_a_second = MIB(1),
	  .ops_a_second = 1000 },
};
static int frames, broker, agent;

static int pair(int *ours)
{
	int fd[2];

	cr_assert_eq(socketpair(AF_UNIX,
				SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				fd),
		     0);
	*ours = fd[0];
	return fd[1];
}

/* A socket that listens at a name of the kernel's, and a client of it. */
static int agent_socket(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(a);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(sa_family_t)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	cr_assert_eq(listen(fd, 4), 0);
	cr_assert_eq(connect(agent, (struct sockaddr *)&a, len), 0);
	return fd;
}

static void begin(const char *cmdline)
{
	struct machine_net net = { .name = "net0",
				   .stream = true,
				   .mac = { 2, 0, 0, 0, 0, 2 } };
	struct vmtest_config c = { .guest = "ringstorm",
				   .cmdline = cmdline,
				   .cpus = 2,
				   .rng = true,
				   .balloon = true,
				   .disk = disks,
				   .ndisks = ARRAY_SIZE(disks),
				   .net = &net };

	close(vmtest_kvm()); /* skips before anything is made */
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < ARRAY_SIZE(fake); i++)
		fake_disk_init(&fake[i], MIB(1), false);
	fake[1].later = true;
	net.fd = pair(&frames);
	cr_assert_eq(vsock_link_pair(&c.vsock_fd, &broker), 0);
	c.agent_fd = agent_socket();
	vmtest_init(&t, &c);
	machine_run(t.machine);
}

/* As a broker whose programs write a little and go. */
static void answer(const struct vsock_link_msg *m)
{
	int ours, theirs = pair(&ours), token[2];

	cr_assert_eq(pipe2(token, O_CLOEXEC), 0);
	vsock_link_give(broker,
			&(struct vsock_link_msg){ VSOCK_LINK_CONNECTED,
						  m->host_port, m->guest_port },
			&(struct vsock_link_fds){ theirs, token[1] });
	cr_assert_eq(write(ours, disks, sizeof(disks)), sizeof(disks));
	close(ours);
	close(theirs);
	close(token[0]);
	close(token[1]);
}

/* What comes is read, or not; what may be sent is. */
static void talk(unsigned round)
{
	static uint8_t buf[1 << 16];
	struct vsock_link_msg m;
	struct vsock_link_fds fds;

	if (round % 3) {
		while (read(frames, buf, sizeof(buf)) > 0)
			;
		while (read(agent, buf, sizeof(buf)) > 0)
			;
		while (vsock_link_take(broker, &m, &fds) == 1)
			answer(&m);
	}
	if (round % 2) {
		_locked_(fake[1].disk.lock);
		fake_disk_end_all(&fake[1]);
	}
	memset(buf, 0, 64);
	buf[3] = 60; /* a frame of so many bytes */
	cr_assert(write(frames, buf, 64) > 0 || errno == EAGAIN);
	cr_assert(write(agent, buf, 3000) > 0 || errno == EAGAIN);
}

static void end(void)
{
	close(broker); /* before: who ends waits for it */
	vmtest_fini(&t);
	close(frames);
	close(agent);
	for (unsigned i = 0; i < ARRAY_SIZE(fake); i++)
		fake_disk_fini(&fake[i]);
}

static void expect_good_end(void)
{
	cr_assert_eq(t.event, GUEST_EXIT, "event %d; printed: %s", t.event,
		     vmtest_output(&t));
	cr_assert_eq(t.value, 0, "printed: %s", vmtest_output(&t));
	cr_assert_not_null(strstr(vmtest_output(&t), "7 devices"), "%s",
			   vmtest_output(&t));
}

Test(ringstorm, misuse_of_all_devices_at_once_ends_well)
{
	begin("ms=1000");
	for (unsigned i = 0; !t.told; i++) {
		talk(i);
		vmtest_let_run(&t, 1);
	}
	expect_good_end();
	end();
}

Test(ringstorm, misuse_while_paused_and_reset_ends_well)
{
	bool told;

	begin("ms=600 seed=2");
	for (unsigned i = 0; !t.told; i++) {
		talk(i);
		vmtest_let_run(&t, 3);
		told = t.told;
		if (!told && i < 200 && i % 50 == 20)
			machine_reset(t.machine, &t.why);
		if (!told && i < 200) {
			machine_pause(t.machine);
			machine_run(t.machine);
		}
	}
	expect_good_end();
	end();
}
