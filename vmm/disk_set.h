/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's disks, made of the files that disk_open.h opened. Here, behind the
 * first walls of the sandbox, heads are recovered: what is in them is input.
 *
 * Owner: the I/O thread.
 */
#ifndef TINTYPE_DISK_SET_H
#define TINTYPE_DISK_SET_H

#include "disk_io.h"
#include "disk_open.h"

struct disk_set;
struct machine_disk;

/* In the environment, not empty: no ring, as on a host that refuses one. */
#define DISK_SET_NO_RING "TINTYPE_NO_IO_URING"

struct disk_set_config {
	struct loop *loop;
	const struct vm_config *vm;
	const struct disk_files *files; /* borrowed */
	bool discard; /* heads give their space back when the set ends */
};

/* 0 (NULL when the VM has no disk), or -errno with `why`. Before the last
 * filter is closed. */
int disk_set_create(struct disk_set **out, const struct disk_set_config *c,
		    struct fail *why);
/* Nothing is on its way: after the machine. What the guest wrote and did not
 * flush is flushed, so that only a kill or a crash loses it. NULL does
 * nothing. */
void disk_set_destroy(struct disk_set *s);

/* Fills vm->ndisks of them; `s` may be NULL when there is none. */
void disk_set_describe(const struct disk_set *s, const struct vm_config *vm,
		       struct machine_disk *out);

#endif
