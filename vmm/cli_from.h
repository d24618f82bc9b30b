/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `run --from`, `snapshot clone`, and `snapshot restore` of a VM that does not
 * run: a new process that goes on from a snapshot.
 *
 *   from_resolve    what the VM is to be: the snapshot's, with what was given
 *                   on the command line in place of what the host has
 *   from_open       the snapshot's files, opened for the VM; its disks begin
 *
 * Owner: the main thread. 0 or -errno with `why`.
 */
#ifndef TINTYPE_CLI_FROM_H
#define TINTYPE_CLI_FROM_H

#include "cli.h"

/* Fills a->config and a->from, of which `own`, `discard` and keep_identity may
 * be set before; a->detach too. `o`, read by `t`: rows of `run`, for what is
 * elsewhere now. `text` names the snapshot, and outlives `a`. */
int from_resolve(struct run_args *a, const struct options *o,
		 const struct options_table *t, const char *text,
		 struct fail *why);

/* In the VM's directory, before disk_open_all. */
int from_open(const struct run_args *a, const struct vm_dir *d,
	      struct vm_files *f, struct fail *why);

#endif
