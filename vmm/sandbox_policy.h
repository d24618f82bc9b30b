/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of what a thread of a running VM may ask of the kernel. The
 * generator makes the seccomp filters from it at build time, and the tests go
 * through the same rows both ways, so that no rule stands without a test. It
 * is not linked into the program.
 */
#ifndef TINTYPE_SANDBOX_POLICY_H
#define TINTYPE_SANDBOX_POLICY_H

#include <stddef.h>
#include <stdint.h>

/* Kinds of threads, as a mask. */
enum sandbox_thread {
	SANDBOX_VCPU = 1,
	SANDBOX_IO = 2,
	SANDBOX_WRITER = 4,
	SANDBOX_ALL = 7,     /* of the VM's process */
	SANDBOX_BROKER = 16, /* the vsock broker, a process of its own */
};

/* Stands for our own process id, which no build can know: the filter is
 * patched with it when it is installed. No process id is that large. */
#define SANDBOX_PID_MARK UINT32_C(0x7ea5e1f0)

/* (argument & mask) == value; `arg` counts from 1, 0 ends the list. */
struct sandbox_condition {
	unsigned arg;
	uint64_t mask, value;
};

#define SANDBOX_MAX_CONDITIONS 2

struct sandbox_rule {
	const char *name; /* the system call */
	int nr;
	unsigned threads;
	struct sandbox_condition when[SANDBOX_MAX_CONDITIONS]; /* all of them */
	/* Decided before the others: the calls a running guest is made of. */
	uint8_t priority;
	const char *reason;
};

extern const struct sandbox_rule sandbox_policy[];
extern const size_t sandbox_policy_rules;

#endif
