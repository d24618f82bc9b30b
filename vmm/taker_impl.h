/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the taker, for taker*.c alone. The edges are those of
 * docs/capture-protocol.md. */
#ifndef TINTYPE_TAKER_IMPL_H
#define TINTYPE_TAKER_IMPL_H

#include "disk_dir.h"
#include "taker.h"
#include "taker_plan.h"

/* Space that is there for a head before it is used. */
#define TAKER_HEAD_RESERVE MIB(16)
/* How long a VM may take for what it does at once, or for taking files. */
#define TAKER_CALL_MS 60000

/* A disk's head that is to take the place of the present one. */
struct taker_next {
	char uid[DISK_UID_TEXT]; /* "": none was made */
	int fd;			 /* read-write; -1 once it is handed over */
};

/* A file that becomes a layer of the store. */
struct taker_layer {
	int fd;			 /* read-only */
	int disk;		 /* number in the plan; -1: memory */
	char uid[DISK_UID_TEXT]; /* the head's */
	struct object_id id;	 /* zero: not told yet */
	bool newest;		 /* the disk as captured */
};

struct taker {
	struct store *s;
	const struct vm_dir *d;
	const struct taker_request *r;
	struct disk_dir dir;
	struct taker_plan plan;
	int conn;   /* the capture is the VM's as long as it lives */
	bool begun; /* the VM knows of it */
	bool gone;  /* the VM is not there any more */
	int layer_rw;
	struct taker_next next[CONFIG_MAX_DISKS];
	struct taker_layer *layer;
	unsigned nlayers;
	struct manifest m; /* images and figures on the heap */
	struct taken out;
};

/* ---- taker_files.c ---- */

/* Of "parents" and heads/, all that the VM does not use, as the plan says. */
int taker_trim(struct disk_dir *dir, const struct taker_plan *p,
	       struct fail *why);
/* "heads" in roots.json becomes what the plan says is in use. */
void taker_note_heads(struct disk_dir *dir, const struct taker_plan *p);
/* The control socket. EXIT_WRONG_STATE. */
int taker_connect(const struct vm_dir *d, struct fail *why);

/* Edge 0: files that the VM will write to, complete and synced. */
int taker_prepare(struct taker *t, struct fail *why);
/* Unlinks next heads that the VM does not use, after a failure. */
void taker_drop_heads(struct taker *t);

/* ---- taker_talk.c ---- */

int taker_begin(struct taker *t, struct fail *why);
/* Until SEALED; then all of t->layer have their ids. */
int taker_wait(struct taker *t, struct fail *why);
void taker_abort(struct taker *t);
int taker_tell_commit(struct taker *t, struct fail *why);

/* ---- taker_commit.c ---- */

/* Edges 11 to 13: when it returns 0, there is a snapshot. */
int taker_commit(struct taker *t, struct fail *why);
/* Edge 15. */
int taker_clean(struct taker *t, struct fail *why);

/* ---- taker_manifest.c ---- */

/* Fills t->m, but for the layers' ids of images. */
int taker_describe(struct taker *t, struct fail *why);
/* A figure of the capture. 0 or -ENOMEM; with too many of them, nothing. */
int taker_add_figure(struct manifest *m, const char *name, uint64_t value);

#endif
