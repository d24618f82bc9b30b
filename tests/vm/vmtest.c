/* SPDX-License-Identifier: Apache-2.0 */
/* Builds machines for tests and runs their loop. */
#include "vmtest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "demo_guest.h"
#include "kvm.h"
#include "util.h"

static void on_event(void *ctx, enum guest_event what, uint32_t value)
{
	struct vmtest *t = ctx;

	t->told = true;
	t->event = what;
	t->value = value;
	loop_quit(&t->loop);
}

static void open_guest(struct vmtest *t, const char *guest)
{
	static char path[512];
	struct stat st;
	int fd;

	if (!guest) {
		t->src.kernel = (struct blob){
			.fd = -1,
			.data = demo_guest_start,
			.bytes = (uint64_t)(demo_guest_end - demo_guest_start),
			.name = "the demo guest",
		};
		return;
	}
	snprintf(path, sizeof(path), "%s/guest-%s.elf", TEST_GUEST_DIR, guest);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
	cr_assert_eq(fstat(fd, &st), 0);
	t->src.kernel = (struct blob){ .fd = fd,
				       .bytes = (uint64_t)st.st_size,
				       .name = path };
}

static int input_pipe(const char *input)
{
	int fd[2];

	if (!input)
		return -1;
	cr_assert_eq(pipe2(fd, O_CLOEXEC), 0);
	cr_assert_eq(write(fd[1], input, strlen(input)),
		     (ssize_t)strlen(input));
	close(fd[1]);
	return fd[0];
}

int vmtest_kvm(void)
{
	struct fail why;
	int fd = kvm_open(&why);

	if (fd < 0)
		cr_skip_test("%s: %s", why.object, why.message);
	return fd;
}

void vmtest_init(struct vmtest *t, const struct vmtest_config *c)
{
	struct console_config con = { .in_fd = -1,
				      .log_fd = -1,
				      .listen_fd = { -1, -1 } };
	struct machine_config m = {
		.rng_fd =
		    c->rng ? open("/dev/urandom", O_RDONLY | O_CLOEXEC) : -1,
		.balloon = c->balloon,
		.agent_fd = c->agent_fd ? c->agent_fd : -1,
		.disk = c->disk,
		.ndisks = c->ndisks,
		.vsock_fd = c->vsock_fd ? c->vsock_fd : -1,
		.vsock_cid = 3,
		.cpus = c->cpus ? c->cpus : 1,
		.memory_bytes = c->memory ? c->memory : MIB(32),
		.region_max = c->region_max,
		.loop = &t->loop,
		.event = on_event,
		.ctx = t,
	};

	if (c->net)
		m.net[m.nnets++] = *c->net;
	memset(t, 0, sizeof(*t));
	m.kvm_fd = vmtest_kvm();
	open_guest(t, c->guest);
	t->src.cmdline = c->cmdline ? c->cmdline : "";
	t->src.protocol = BOOT_LINUX64;
	cr_assert_eq(loop_init(&t->loop), 0);
	t->out_fd = memfd_create("console", MFD_CLOEXEC);
	con.out_fd = t->out_fd;
	t->in_fd = con.in_fd = input_pipe(c->input);
	cr_assert_eq(console_create(&t->console, &t->loop, &con), 0);
	m.console = t->console;
	cr_assert_eq(machine_create(&t->machine, &m, &t->why), 0, "%s: %s",
		     t->why.object, t->why.message);
	cr_assert_eq(machine_load(t->machine, &t->src, &t->why), 0, "%s: %s",
		     t->why.object, t->why.message);
}

void vmtest_fini(struct vmtest *t)
{
	if (t->machine)
		machine_destroy(t->machine);
	console_destroy(t->console);
	loop_fini(&t->loop);
	if (t->src.kernel.fd >= 0)
		close(t->src.kernel.fd);
	close(t->out_fd);
	if (t->in_fd >= 0)
		close(t->in_fd);
}

enum guest_event vmtest_wait(struct vmtest *t)
{
	t->told = false;
	while (!t->told)
		cr_assert_eq(loop_run(&t->loop), 0);
	return t->event;
}

void vmtest_let_run(struct vmtest *t, unsigned steps)
{
	t->told = false;
	for (unsigned i = 0; i < steps && !t->told; i++)
		cr_assert_eq(loop_step(&t->loop, 1), 0);
	atomic_store(&t->loop.quit, false);
}

bool vmtest_wait_output(struct vmtest *t, const char *text)
{
	while (!strstr(vmtest_output(t), text)) {
		vmtest_let_run(t, 1);
		if (t->told)
			return strstr(vmtest_output(t), text);
	}
	return true;
}

const char *vmtest_output(struct vmtest *t)
{
	static char text[1 << 16];
	ssize_t n = pread(t->out_fd, text, sizeof(text) - 1, 0);

	cr_assert(n >= 0);
	text[n] = 0;
	return text;
}
