/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sandbox_gen makes at build time: one BPF program a kind of thread, and
 * where in it our process id belongs.
 */
#ifndef TINTYPE_SANDBOX_FILTER_H
#define TINTYPE_SANDBOX_FILTER_H

#include <linux/filter.h>

struct sandbox_filter {
	const struct sock_filter *insn;
	const unsigned short *pid_at; /* indices of SANDBOX_PID_MARK */
	unsigned short insns, pids;
};

extern const struct sandbox_filter sandbox_filter_vcpu, sandbox_filter_writer,
    sandbox_filter_io, sandbox_filter_broker;

#endif
