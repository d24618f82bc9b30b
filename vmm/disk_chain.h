/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One disk's head, and what it lies on: frozen heads, an image, a raw file; and
 * how another head takes its place (docs/capture-protocol.md, "Disks").
 *
 *   prepare ──► swap ──► seal ──► adopt ──► commit
 *      └──────────┴────────┴────► abandon
 *
 * Owner: the thread that builds the VM, then the I/O thread; from when the
 * writer is given a job until that has ended, what is marked so is the
 * writer's. 0 or -errno with `why`.
 */
#ifndef TINTYPE_DISK_CHAIN_H
#define TINTYPE_DISK_CHAIN_H

#include <jansson.h>
#include <stdatomic.h>

#include "disk_open.h"
#include "disk_store.h"
#include "layer.h"

struct disk_chain;
struct disk_sealed;

struct disk_chain_config {
	const char *id;			/* outlives the chain, as the rest */
	const struct disk_files *files; /* borrowed, as is base */
	struct layer_set *layers;
	struct disk_io *io;
	struct loop *loop;
};

/* Takes over the fds of the heads: files->head and files->below. */
int disk_chain_open(struct disk_chain **out, const struct disk_chain_config *c,
		    struct fail *why);
/* `empty`: its heads' files are cut to nothing. The head in use is closed by
 * its disk. NULL: nothing. */
void disk_chain_close(struct disk_chain *c, bool empty);

struct head *disk_chain_head(const struct disk_chain *c);
/* The disk that uses its head, made with disk_chain_settle. */
void disk_chain_attach(struct disk_chain *c, struct disk *d);

/* ---- capture ---- */

json_t *disk_chain_plan(const struct disk_chain *c);   /* NULL: no memory */
unsigned disk_chain_wants(const struct disk_chain *c); /* fds of prepare */

/* Gives up what prepare or replace made; the owner's, or the writer's. */
void disk_chain_drop_next(struct disk_chain *c);
/* On the writer; `fds`, of which there are disk_chain_wants, are taken. */
int disk_chain_prepare(struct disk_chain *c, const int *fds, const char *uid,
		       struct fail *why);
/* Memory only; nothing is on its way to the disk. FLUSH is held from here on.
 */
void disk_chain_swap(struct disk_chain *c);
/*
 * All frozen heads are durable, and the head has its first commit if it wants
 * one. Any thread, at any time: who comes second waits for the first. `chain`:
 * for disk_store_config.
 */
int disk_chain_settle(void *chain);
/* On the writer: that, and FLUSH goes on. */
int disk_chain_settle_now(struct disk_chain *c, struct fail *why);
/* On the writer, after disk_chain_settle: the frozen heads become layers. Fills
 * `out` from *n on. */
int disk_chain_seal(struct disk_chain *c, struct disk_sealed *out, unsigned *n,
		    const atomic_bool *cancel, struct fail *why);
/* Those that are sealed give their place to their layers. */
void disk_chain_adopt(struct disk_chain *c);
void disk_chain_abandon(struct disk_chain *c);
/* A snapshot has all that is sealed. */
void disk_chain_commit(struct disk_chain *c);

/* ---- restore ---- */

/* On the writer: a head that lies on a root of a layer in `layers`; `fd` is
 * taken. */
int disk_chain_replace(struct disk_chain *c, int fd, struct layer_set *layers,
		       struct fail *why);
/* It is the head. Nothing is on its way to the disk. FLUSH is held until
 * disk_chain_settle. */
void disk_chain_take(struct disk_chain *c);

#endif
