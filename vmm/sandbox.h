/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Privileges dropped in named stages, in this order, once:
 *
 *   1 sandbox_close_others  before anything else: no fd that was inherited
 *   2 sandbox_harden        before anything hostile is read: no_new_privs, no
 *                           core dumps, not dumpable, no capabilities,
 *                           Landlock: no file can be opened, no signal and no
 *                           abstract socket reaches outside
 *   3 sandbox_vcpu          on each vCPU thread, before its first KVM_RUN;
 *     sandbox_writer        on the writer, before its first job
 *   4 sandbox_io            on the I/O thread, last, before the guest starts
 *
 * 3 and 4 are seccomp allow lists made at build time (sandbox_policy.c is the
 * table, with the reason for each row), default KILL_PROCESS, each ioctl by
 * its number. A thread made after 4 does not exist.
 *
 * What this asks of the code that runs afterwards: no open, no unlink, no
 * sigaction (a handler that ends the process is SA_RESETHAND and SA_NODEFER
 * and raises its signal again), no stdio but to unbuffered stderr, and malloc
 * on the I/O thread and the writer alone, reads and writes by fdio.h, signals
 * by thread.h, fatal_abort for abort.
 *
 * A build with sanitizers, coverage or fuzzing has no filters, no Landlock and
 * stays dumpable, because those runtimes open files and start processes;
 * sandbox_report says so.
 */
#ifndef TINTYPE_SANDBOX_H
#define TINTYPE_SANDBOX_H

#include <stdbool.h>

#include "fail.h"

/* Closes all fds above stderr but the `n` in `keep` (in any order; -1 and
 * doubles do no harm). 0 or -errno. */
int sandbox_close_others(const int *keep, unsigned n);

/* Before the first thread is made: threads inherit it. 0, or -errno with
 * `why`. Landlock is left out where the kernel has none. */
int sandbox_harden(struct fail *why);

/* The same for a process that may remove what is in that directory. */
int sandbox_harden_removing(int dir, struct fail *why);

int sandbox_vcpu(void); /* 0 or -errno; the calling thread, for good */
int sandbox_writer(void);
int sandbox_io(void);
int sandbox_broker(void); /* the vsock broker's, see vsock_broker.h */

struct sandbox_report {
	bool filters;	  /* this build confines its threads */
	int landlock_abi; /* this kernel's; 0: none, or not in this build */
};

/* What a VM started by this program here would get: version, doctor. */
void sandbox_report(struct sandbox_report *r);

#endif
