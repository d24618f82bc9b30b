/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What capture.c (the edges) and capture_job.c (the writer's jobs) share.
 *
 * While a job runs, what it works on is the writer's: files, draft, dirty, the
 * saved state, `sealed`, `err` and `job_fail`. The machine stands still
 * meanwhile, but for mode "disks".
 */
#ifndef TINTYPE_CAPTURE_IMPL_H
#define TINTYPE_CAPTURE_IMPL_H

#include "capture.h"
#include "config.h"
#include "dirty.h"
#include "disk_set.h"
#include "draft.h"
#include "machine.h"
#include "util.h"
#include "writer.h"

enum capture_state {
	CAPTURE_IDLE,
	CAPTURE_PREPARING,
	CAPTURE_SEALING,
	CAPTURE_SEALED,
	CAPTURE_ABORTING,
	CAPTURE_STATES
};

#define CAPTURE_MAX_FDS	   (2 + CONFIG_MAX_DISKS * (2 + DISK_MAX_FROZEN))
#define CAPTURE_MAX_SEALED (CONFIG_MAX_DISKS * (DISK_MAX_FROZEN + 1))

struct capture {
	struct capture_config cfg;
	enum capture_state state;
	struct dirty dirty;
	struct object_id parent, memory_parent; /* zero: none */
	struct image memory; /* of memory_parent; layer NULL: none */

	/* Of the one that is being made. */
	struct control_client *owner;	 /* NULL: none, or gone */
	struct control_request *request; /* begin's, or wait's, or abort's */
	bool aborts;			 /* `request` is abort's */
	struct loop_timer timer;	 /* of wait */
	bool memory_too;
	bool stopped, run_after; /* the machine stands still for us */
	uint64_t stopped_ns, pause_ns, held_ns;
	struct fail fail;     /* why it is given up: the I/O thread's */
	struct fail job_fail; /* the job's, with */
	int err;	      /* 0 or -errno */
	struct machine_saved *saved;

	struct writer_job job;
	int conn; /* where the fds come from */
	int fds[CAPTURE_MAX_FDS];
	unsigned nfds;
	char uid[CONFIG_MAX_DISKS][33];
	const char *uids[CONFIG_MAX_DISKS];
	int layer_rw, layer_ro;
	struct object_id layer; /* the new one of memory */
	struct image next;	/* its image, where `memory` is the old one */
	struct disk_sealed sealed[CAPTURE_MAX_SEALED];
	int nsealed;
	uint64_t todo_pages;
	_Atomic uint64_t copied_pages;
	struct draft_counts counts;
};

/* The writer's jobs: set c->err and c->fail. */
void capture_job_prepare(struct writer_job *j);
void capture_job_seal(struct writer_job *j);

/* How many pages a capture would copy now, at most. No job runs. */
uint64_t capture_changed_most(struct capture *c);

#endif
