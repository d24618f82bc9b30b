/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Privileges dropped in named stages, in this order, once:
 *
 *   1 sandbox_harden    before anything hostile is read: no_new_privs, no core
 *                       dumps, not dumpable, Landlock: no file can be opened
 *   2 sandbox_vcpu      on each vCPU thread, before its first KVM_RUN
 *   3 sandbox_io        on the I/O thread, last, before the guest starts
 *
 * 2 and 3 are seccomp allow lists made at build time (sandbox_policy.c, by
 * libseccomp), default KILL_PROCESS, each ioctl by its number. A thread made
 * after 3 does not exist.
 */
#ifndef TINTYPE_SANDBOX_H
#define TINTYPE_SANDBOX_H

#include "fail.h"

/* 0, or -errno with `why`. Landlock is left out where the kernel has none
 * (visible in `doctor`). */
int sandbox_harden(struct fail *why);
int sandbox_vcpu(void); /* 0 or -errno */
int sandbox_io(void);

#endif
