/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the snapshots in "parents" of roots.json have of the VM's disks, and the
 * layers of the store, by their ids.
 *
 * Owner: one thread, not in the sandbox. 0 or -errno with `why`. The store's
 * files are input.
 */
#ifndef TINTYPE_DISK_PARENTS_H
#define TINTYPE_DISK_PARENTS_H

#include "disk_roots.h"
#include "store.h"

struct disk_parents {
	struct store *store; /* NULL: there is none, or no parents */
	struct manifest *manifest; /* in the order of "parents" */
	unsigned n;
};
/* Free by disk_parents_free, also after a failure. EXIT_INTEGRITY when one of
 * them is not there. */
int disk_parents_read(struct disk_parents *p, const struct vm_dir *d,
		      const struct disk_roots *r, struct fail *why);
void disk_parents_free(struct disk_parents *p);

/* A layer of the store, read-only: its fd, or -ENOENT and the like. */
int disk_parents_layer(const struct disk_parents *p,
		       const struct object_id *id);

/* The latest image of that disk; NULL: none has it. */
const struct manifest_image *disk_parents_image(const struct disk_parents *p,
						const char *disk);
/* One of that disk whose layer was a head with that uid; NULL: none. */
const struct manifest_image *disk_parents_by_uid(const struct disk_parents *p,
						 const char *disk,
						 const uint8_t uid[UID_BYTES]);
/* One of that disk with that layer. */
bool disk_parents_has(const struct disk_parents *p, const char *disk,
		      const struct object_id *layer);

#endif
