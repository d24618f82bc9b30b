/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boots Linux and hands it on, every STEP_MS, to a machine that is new: what
 * machine_save took of the old one and RAM is all that it gets. So Linux is
 * stopped at moments of its boot that a user would not choose, and what is not
 * saved is lost at once.
 *
 *   relay KERNEL INITRD CMDLINE CPUS HOPS
 *
 * The console is stdout. Exit code: 0 when the guest powered off or exited with
 * 0 after that many hops, 1 else; what went wrong is on stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "console.h"
#include "gmem.h"
#include "kvm.h"
#include "loop.h"
#include "machine.h"
#include "util.h"
#include "vmgenid.h"

#define STEP_MS 200
#define MEMORY	MIB(128)

struct runner {
	struct loop loop;
	struct console *console;
	struct machine *machine;
	bool ended;
	enum guest_event event;
	uint32_t value;
};

static unsigned cpus;
static struct boot_source src;

static _Noreturn void die(const char *what, const struct fail *why)
{
	fprintf(stderr, "relay: %s: %s: %s\n", what, why->object, why->message);
	exit(1);
}

static void on_event(void *ctx, enum guest_event what, uint32_t value)
{
	struct runner *r = ctx;

	if (what == GUEST_READY)
		return;
	r->ended = true;
	r->event = what;
	r->value = value;
	loop_quit(&r->loop);
}

static struct blob open_blob(const char *path)
{
	struct blob b = { .fd = open(path, O_RDONLY | O_CLOEXEC),
			  .name = path };
	struct stat st;

	if (b.fd < 0 || fstat(b.fd, &st) < 0) {
		fprintf(stderr, "relay: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	b.bytes = (uint64_t)st.st_size;
	return b;
}

static struct runner *runner_create(void)
{
	struct console_config con = {
		.in_fd = -1, .out_fd = 1, .log_fd = -1, .listen_fd = { -1, -1 }
	};
	struct runner *r = calloc(1, sizeof(*r));
	struct machine_config m = {
		.cpus = cpus,
		.memory_bytes = MEMORY,
		.rng_fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC),
		.balloon = true,
		.agent_fd = -1,
		.vsock_fd = -1,
		.event = on_event,
		.ctx = r,
	};
	struct fail why = { .object = "host", .message = "no memory" };

	m.kvm_fd = kvm_open(&why);
	if (!r || m.kvm_fd < 0 || loop_init(&r->loop) < 0 ||
	    console_create(&r->console, &r->loop, &con) < 0)
		die("start", &why);
	m.loop = &r->loop;
	m.console = r->console;
	if (machine_create(&r->machine, &m, &why) < 0)
		die("create", &why);
	return r;
}

static void runner_destroy(struct runner *r)
{
	machine_destroy(r->machine);
	console_destroy(r->console); /* when all is written */
	loop_fini(&r->loop);
	free(r);
}

/* What is zero is not touched. */
static void copy_ram(struct machine *to, struct machine *from)
{
	static const char zeroes[4096];
	uint8_t *a = machine_ram(to)->base, *b = machine_ram(from)->base;

	for (uint64_t i = 0; i < MEMORY; i += sizeof(zeroes))
		if (memcmp(b + i, zeroes, sizeof(zeroes)))
			memcpy(a + i, b + i, sizeof(zeroes));
}

/* Sets in `to` what `bytes` hold, with an identity of its own. */
static void load(struct machine *to, const uint8_t *bytes, size_t len,
		 unsigned number)
{
	uint8_t generation[VMGENID_BYTES] = { 1, (uint8_t)number };
	const struct machine_restore how = { .clock = CLOCK_CONTINUE,
					     .vmgenid = generation };
	struct machine_saved *s;
	struct fail why;

	if (machine_saved_create(&s, to, &why) < 0 ||
	    machine_saved_decode(s, bytes, len, false, &why) < 0 ||
	    machine_restore(to, s, &how, &src, &why) < 0)
		die("restore", &why);
	machine_saved_destroy(s);
}

/* The one that goes on in place of `r`; `r` itself when the guest has ended in
 * the meantime. Paused. */
static struct runner *hand_on(struct runner *r, unsigned number)
{
	struct machine_saved *s;
	struct runner *next;
	struct fail why;
	uint8_t *bytes;
	size_t len;
	int err;

	if (machine_saved_create(&s, r->machine, &why) < 0)
		die("save", &why);
	err = machine_save(r->machine, s, &why);
	if (err == -EBUSY) {
		machine_saved_destroy(s);
		return r;
	}
	if (err < 0 || machine_saved_encode(s, &bytes, &len, &why) < 0)
		die("save", &why);
	machine_saved_destroy(s);
	next = runner_create();
	copy_ram(next->machine, r->machine);
	runner_destroy(r);
	load(next->machine, bytes, len, number);
	free(bytes);
	return next;
}

/* Until the guest ends, or it is time to hand it on. */
static void run(struct runner *r, bool for_good)
{
	int64_t end = now_ms() + STEP_MS;

	machine_run(r->machine);
	while (!r->ended && (for_good || now_ms() < end))
		if (loop_step(&r->loop, 10) < 0)
			die("loop", &(struct fail){ .object = "host",
						    .message = "failed" });
	if (!r->ended)
		machine_pause(r->machine);
}

int main(int argc, char **argv)
{
	unsigned hops, done = 0;
	struct runner *r, *next;
	struct fail why;
	bool right;

	if (argc != 6) {
		fputs("usage: relay KERNEL INITRD CMDLINE CPUS HOPS\n", stderr);
		return 1;
	}
	src = (struct boot_source){ .kernel = open_blob(argv[1]),
				    .initrd = open_blob(argv[2]),
				    .cmdline = argv[3],
				    .protocol = BOOT_LINUX64 };
	cpus = (unsigned)strtoul(argv[4], NULL, 10);
	hops = (unsigned)strtoul(argv[5], NULL, 10);
	r = runner_create();
	if (machine_load(r->machine, &src, &why) < 0)
		die("load", &why);
	for (run(r, !hops); !r->ended; run(r, done == hops)) {
		next = hand_on(r, done + 1);
		done += next != r;
		r = next;
	}
	right = done == hops && r->value == 0 &&
		(r->event == GUEST_POWEROFF || r->event == GUEST_EXIT);
	if (!right)
		fprintf(stderr, "relay: event %d, value %u, after %u hops\n",
			r->event, r->value, done);
	runner_destroy(r);
	return !right;
}
