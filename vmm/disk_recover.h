/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of a VM's heads are its disks after any end of the VM or of who
 * captured it: docs/capture-protocol.md, "Recovery of a VM's directory". Looks
 * at files and writes none of them, but that it makes heads where a disk has
 * none yet; roots.json is changed in memory.
 *
 * Owner: who starts the VM; capture.lock is held. 0 or -errno with `why`.
 */
#ifndef TINTYPE_DISK_RECOVER_H
#define TINTYPE_DISK_RECOVER_H

#include "disk_dir.h"
#include "disk_open.h"
#include "disk_parents.h"

/* Step 1: what "scratch" and "next" mean for "heads". */
int disk_recover_roots(struct disk_dir *x, const struct disk_parents *p,
		       struct fail *why);

/* Unsealed heads of a disk, oldest first, the last is the one in use; below
 * them sealed ones that no snapshot of the VM's parents has, and that the chain
 * needs; below all that an image. */
struct disk_chain_found {
	char uid[DISK_MAX_FROZEN + 1][DISK_UID_TEXT];
	unsigned n;
	struct disk_sealed_head *sealed; /* oldest first */
	unsigned nsealed;
	bool on_image;
	struct object_id layer;
	uint32_t root;
};

/* Steps 2 and 3 for a disk of that size; r->uid becomes the head's. Free by
 * disk_chain_free, also after a failure. EXIT_INTEGRITY. */
int disk_recover_chain(struct disk_dir *x, const struct disk_parents *p,
		       struct disk_root *r, uint64_t bytes,
		       struct disk_chain_found *c, struct fail *why);
void disk_chain_free(struct disk_chain_found *c);

#endif
