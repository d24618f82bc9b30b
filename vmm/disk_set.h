/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's disks, made of the files that disk_open.h opened. Here, behind the
 * first walls of the sandbox, heads are recovered: what is in them is input.
 *
 * Owner: the I/O thread.
 */
#ifndef TINTYPE_DISK_SET_H
#define TINTYPE_DISK_SET_H

#include <jansson.h>

#include "disk_io.h"
#include "disk_open.h"
#include "layer.h"

struct disk_set;
struct machine_disk;

/* In the environment, not empty: no ring, as on a host that refuses one. */
#define DISK_SET_NO_RING "TINTYPE_NO_IO_URING"

struct disk_set_config {
	struct loop *loop;
	const struct vm_config *vm;
	/* Borrowed; the fds of the heads (head, below) are the set's from
	 * disk_set_create on, whether it fails or not. */
	const struct disk_files *files;
	/* The VM's, with all layers that its heads lie on; outlives the set.
	 * NULL: the set makes its own. */
	struct layer_set *layers;
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

/*
 * ---- capture ----
 *
 *   disk_set_prepare -> disk_set_swap -> disk_set_seal -> disk_set_adopt
 *        disk_set_abandon instead of any of these but the first
 *
 * Only disks with a head of their own (not read-only, not direct) take part.
 * An abandoned swap stays swapped: the frozen head is sealed by the next
 * capture. docs/capture-protocol.md, "Disks". `s` may be NULL: no disks.
 */

/* What is below a disk's present head, for capture-plan: json array `disks` of
 * that. NULL: no memory. I/O thread. */
json_t *disk_set_plan(const struct disk_set *s);
unsigned disk_set_heads(const struct disk_set *s); /* that take part */

/* Takes over the fds, always: for each that takes part its next head
 * (read-write) and a read-only one of each head below it that is not sealed,
 * oldest first (as the plan said). `uid`: what each next head must be. Makes
 * all that a swap needs, or nothing. On the writer. */
int disk_set_prepare(struct disk_set *s, const int *fds, unsigned nfds,
		     const char *const *uid, const atomic_bool *cancel,
		     struct fail *why);
/* Next heads become the heads: pointers only. Nothing is on its way to the
 * disks. A FLUSH that comes now waits for the first part of disk_set_seal (or
 * for disk_set_abandon, and then does that part itself). */
void disk_set_swap(struct disk_set *s);

struct disk_sealed {
	const char *disk; /* its id */
	char uid[33];	  /* the head's that became the layer */
	struct object_id id;
	uint32_t root;
	bool newest; /* it is the disk as captured */
	uint64_t bytes;
	bool over_raw; /* what it has not is in the disk's raw file */
};
/* Old heads durable, whatever `cancel` says, then sealed, oldest first; fills
 * `out` (room for DISK_MAX_FROZEN + 1 a disk), returns how many or -errno. What
 * it has sealed has no read-write fd here any more, nor one in the ring. On the
 * writer; the machine may run. */
int disk_set_seal(struct disk_set *s, struct disk_sealed *out,
		  const atomic_bool *cancel, struct fail *why);
/* Sealed layers take the place of frozen heads. I/O thread. */
void disk_set_adopt(struct disk_set *s);
/* What was sealed is adopted all the same. */
void disk_set_abandon(struct disk_set *s);
/* A snapshot has all that was sealed: the plan tells of it no more. */
void disk_set_commit(struct disk_set *s);

/* ---- restore in place: the machine is quiesced ---- */

/* New, empty heads (read-write fds, in the order of the disks that take part,
 * taken over) that lie on roots of layers in `layers`, which outlives the set:
 * judged, maps made; all or none. On the writer. Then take them, or abandon. */
int disk_set_replace(struct disk_set *s, const int *fds, unsigned nfds,
		     struct layer_set *layers, struct fail *why);
/* Old heads are closed, whatever was written to them. A FLUSH waits for
 * disk_set_settle. */
void disk_set_take(struct disk_set *s);
/* The new heads have a commit each, durable: after a crash they are the disks.
 * On the writer; the machine may run. */
int disk_set_settle(struct disk_set *s, struct fail *why);

/* Fills vm->ndisks of them; `s` may be NULL when there is none. */
void disk_set_describe(const struct disk_set *s, const struct vm_config *vm,
		       struct machine_disk *out);

#endif
