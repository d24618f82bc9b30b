/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that a VM's disks need open, before its process opens nothing any more:
 *
 *   disk_check_all    everything could be opened; nothing is made or locked
 *   disk_import_all   qcow2 files are converted into the VM's directory, once
 *   disk_open_all     opened and locked, heads found or made
 *
 * In the VM's directory (docs/capture-protocol.md, "Processes, files, locks"):
 *
 *   heads/ID.UID   a disk's copy-on-write head
 *   bases/ID.raw   what was in a qcow2 file
 *   roots.json     which head is in use, and over which base it was made
 *   capture.lock   held while these are changed
 *
 * What a crash has left half made is unlinked by the next start, which finds
 * the VM's heads again, whatever ended it or a capture of it: disk_recover.h.
 *
 * Owner: the thread that starts the VM. 0, or -errno with `why`.
 */
#ifndef TINTYPE_DISK_OPEN_H
#define TINTYPE_DISK_OPEN_H

#include "config.h"
#include "home.h"
#include "layer_format.h"

/* Heads below a disk's head that are not sealed. */
#define DISK_MAX_FROZEN 8

struct disk_sealed_head {
	char uid[2 * UID_BYTES + 1];
	struct object_id id; /* of the layer */
};

struct disk_files {
	int base; /* what is read, or read and written (direct) */
	int lock; /* kept open, nothing else */
	int head; /* -1: none */
	uint64_t bytes;
	/* Heads below that one that are not sealed yet, oldest first. */
	int below[DISK_MAX_FROZEN];
	unsigned nbelow;
	/* The image that the oldest head lies on; its layer is among the VM's
	 * (vm_files). */
	bool on_image;
	struct object_id layer;
	uint32_t root;
	/* Sealed heads, oldest first, whose files are in heads/ alone: what
	 * sealed them did not come to its end. On the heap. */
	struct disk_sealed_head *sealed;
	unsigned nsealed;
};
#define DISK_FILES_NONE                                                        \
	{                                                                      \
		.base = -1, .lock = -1, .head = -1                             \
	}

int disk_check_all(const struct vm_config *c, struct fail *why);
int disk_import_all(const struct vm_config *c, const struct vm_dir *d,
		    struct fail *why);

/*
 * `files` has room for CONFIG_MAX_DISKS, each DISK_FILES_NONE; after a failure
 * some are open. `durable`: the VM stays when it has ended, and so do its
 * heads; else what was imported for it is unlinked as it is opened. To the
 * array *layer of *nlayers fds it appends all layers that the heads need.
 */
int disk_open_all(const struct vm_config *c, const struct vm_dir *d,
		  bool durable, struct disk_files *files, int **layer,
		  unsigned *nlayers, struct fail *why);
void disk_files_free(struct disk_files *f); /* memory; closes nothing */

/* ---- a VM that begins with a snapshot's disks ---- */

struct disk_origin {
	const char *id;
	uint64_t bytes;
	struct object_id layer;
	uint32_t root;
	/* Of the file that it lies on (disk_root_stamp); NULL: on none. */
	const uint8_t *stamp;
};

/*
 * Before disk_open_all: a head on each of the images, and `manifest` as the
 * parent. The store's lock is held, so that the layers stay until roots.json
 * keeps them. EXIT_CONFLICT where a disk's file is another one than the
 * snapshot's disk lies on, or where the VM's directory has a head of that disk
 * which differs from the snapshot's; with `discard` that is given up.
 */
int disk_begin_all(const struct vm_config *c, const struct vm_dir *d,
		   bool durable, const struct object_id *manifest,
		   const struct disk_origin *origin, unsigned n, bool discard,
		   struct fail *why);

#endif
