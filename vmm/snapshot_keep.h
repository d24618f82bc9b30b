/* SPDX-License-Identifier: Apache-2.0 */
/* What VMs keep of the store, beside the refs: for store_collect. */
#ifndef TINTYPE_SNAPSHOT_KEEP_H
#define TINTYPE_SNAPSHOT_KEEP_H

#include "store.h"

struct snapshot_keep {
	struct object_id *id;
	size_t n, room;
};

/*
 * The "parents" of all VMs of `vms` (-1: there are none); free .id. What is not
 * named any more is so durably then. One VM whose directory or roots.json
 * cannot be read is a failure: it may keep anything. While the store is locked
 * EXCLUSIVE.
 */
int snapshot_keep_read(struct snapshot_keep *keep, int vms, struct fail *why);

#endif
