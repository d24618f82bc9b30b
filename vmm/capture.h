/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM's side of a capture, as docs/capture-protocol.md has it, for the modes
 * "stop" (the guest stands still until the snapshot is there, and then goes on
 * or ends) and "disks".
 *
 *   IDLE ─begin─► PREPARING ─ready─► (harvest) ─► SEALING ─► SEALED ─commit─►
 * IDLE │                              │          │ └────────── abort ─►
 * ABORTING ◄┴──────────┘ └─ the writer has ended ─► IDLE
 *
 * The I/O thread takes all edges; what may take long is a job of the writer.
 * One connection owns a capture: its end is an abort.
 *
 * Owner: the I/O thread.
 */
#ifndef TINTYPE_CAPTURE_H
#define TINTYPE_CAPTURE_H

#include <jansson.h>

#include "control.h"
#include "image.h"

struct capture;
struct disk_set;
struct machine;
struct writer;

struct capture_config {
	const char *name; /* the VM's */
	struct loop *loop;
	struct machine *machine;
	struct writer *writer;
	struct disk_set *disks;	  /* NULL: none */
	struct layer_set *layers; /* of memory and disks */
	int pagemap;		  /* /proc/self/pagemap; -1: none */
	unsigned cpus;
	/* A snapshot was committed that is to be the VM's end. */
	void (*end)(void *ctx);
	void *ctx;
};

/* 0 or -errno. All of it outlives the capture. */
int capture_create(struct capture **out, const struct capture_config *c);
/* After the writer. Requests that wait are refused. NULL: nothing. */
void capture_destroy(struct capture *c);

/* The machine holds what that snapshot has, but for pages that are marked
 * (gmem.h): the next one is relative to it. Before it runs. 0 or -errno. */
int capture_begin_from(struct capture *c, const struct object_id *manifest,
		       const struct image *memory);

/* The guest stands still for a capture. */
bool capture_holds(const struct capture *c);
/* Whether it will run when it does not any more. */
void capture_run_after(struct capture *c, bool run);

/* The verbs, as control_op.later; `ctx` is the capture. */
int capture_op_plan(void *ctx, struct control_request *r, json_t *args,
		    struct fail *why);
int capture_op_begin(void *ctx, struct control_request *r, json_t *args,
		     struct fail *why);
int capture_op_wait(void *ctx, struct control_request *r, json_t *args,
		    struct fail *why);
int capture_op_commit(void *ctx, struct control_request *r, json_t *args,
		      struct fail *why);
int capture_op_abort(void *ctx, struct control_request *r, json_t *args,
		     struct fail *why);

#endif
