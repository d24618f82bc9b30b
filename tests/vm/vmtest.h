/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine in the test's own process (a KVM fd does not survive Criterion's
 * fork), its console in memory, and its events one by one.
 */
#ifndef TINTYPE_VMTEST_H
#define TINTYPE_VMTEST_H

#include <stdbool.h>
#include <stdint.h>

#include "console.h"
#include "loop.h"
#include "machine.h"

struct vmtest {
	struct loop loop;
	struct console *console;
	struct machine *machine;
	struct boot_source src;
	struct fail why;
	int in_fd;  /* a pipe with the input and its end, or -1 */
	int out_fd; /* a memfd with all that the guest printed */
	bool told;
	enum guest_event event; /* the one told last */
	uint32_t value;
};

struct vmtest_config {
	const char *guest; /* a program of guest/tests/, "hello"; NULL: demo */
	const char *cmdline; /* NULL: "" */
	const char *input;   /* typed before the guest starts; NULL: nothing */
	unsigned cpus;	     /* 0: 1 */
	uint64_t memory;     /* 0: 32 MiB */
	uint64_t region_max;
	bool rng, balloon;
	int vsock_fd; /* the VM's end of a link, taken over; 0: none */
	int agent_fd; /* a listening socket, taken over; 0: none */
	const struct machine_disk *disk; /* of the test */
	unsigned ndisks;
	const struct machine_net *net; /* one network card; NULL: none */
};

/* Skips the test, with the reason, where /dev/kvm cannot be used. Builds and
 * loads; the machine is QUIESCED then. */
void vmtest_init(struct vmtest *t, const struct vmtest_config *c);
void vmtest_fini(struct vmtest *t); /* machine NULL: it is gone already */

/* Runs the loop until the guest raises an event. */
enum guest_event vmtest_wait(struct vmtest *t);

/* Runs the loop for `steps` rounds of up to a millisecond, or to an event. */
void vmtest_let_run(struct vmtest *t, unsigned steps);

/* Runs the loop until the guest has printed `text`; false when an event came
 * instead. */
bool vmtest_wait_output(struct vmtest *t, const char *text);

/* A new fd of /dev/kvm; skips the test where there is none. */
int vmtest_kvm(void);

/* What the guest has printed so far; valid until the next call. */
const char *vmtest_output(struct vmtest *t);

#endif
