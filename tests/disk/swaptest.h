/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's disk set over a home of its own (dirtest.h), driven as the engine and
 * the taker of a capture do, and as its device does (rig.h).
 */
#ifndef TINTYPE_TESTS_SWAPTEST_H
#define TINTYPE_TESTS_SWAPTEST_H

#include <stdatomic.h>

#include "dirtest.h"
#include "disk_set.h"
#include "rig.h"

struct swaptest {
	struct dirtest dir;
	struct rig rig; /* the first disk's requests */
	struct layer_set *layers;
	struct disk_set *set;
	/* What the taker has made. */
	int fds[16];
	unsigned nfds;
	char uid[DISK_UID_TEXT];
	struct disk_sealed sealed[DISK_MAX_FROZEN + 1];
	int nsealed;
	atomic_bool cancel;
};

/* Opens the set of a home that dirtest_init made; with the ring or not. */
void swaptest_open(struct swaptest *s, enum disk_io_way way);
/* As at a VM's end. */
void swaptest_close(struct swaptest *s);

/* ---- the taker ---- */

void taker_make(struct swaptest *s); /* edge 0: by the plan */
/* Edges 11, 12 and 15: sealed heads into the store, a manifest, roots.json,
 * unlinks. */
void taker_keep(struct swaptest *s);

/* ---- the engine ---- */

int engine_prepare(struct swaptest *s);
int engine_seal(struct swaptest *s);
/* A whole capture; 0 or -errno. */
int capture(struct swaptest *s);

/* Runs the loop until nothing is to be done at once. */
void swaptest_step(struct swaptest *s);

#endif
