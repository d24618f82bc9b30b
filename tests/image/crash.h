/* SPDX-License-Identifier: Apache-2.0 */
/* What the workload of crash.c and the judge of its crashes share. */
#ifndef TINTYPE_CRASH_H
#define TINTYPE_CRASH_H

#include <criterion/criterion.h>

#include "head.h"
#include "history.h"
#include "imgtest.h"

#define MAX_BLOCKS  48
#define MAX_SECTORS (MAX_BLOCKS * 8 + 7)
#define IN_FLIGHT   3

struct flight {
	struct head_write w;
	uint8_t *data;
	bool written;
};

/* A disk of one head, or of two: the lower one frozen, then sealed. */
struct disk {
	uint64_t seed, rng;
	uint64_t sectors;
	unsigned heads;
	int fd[CUT_FILES], scratch[CUT_FILES];
	struct head *head[CUT_FILES];
	struct image image; /* the lower one, once it is sealed */
	bool sealed;
	int raw;
	uint64_t raw_bytes;
	struct layer_set *set;
	struct history *history;
	struct powercut cut;
	bool recording, faults;
	struct flight flight[IN_FLIGHT];
	unsigned flights;
	bool nested; /* a crash in recovery is made */
};

extern struct disk *d; /* the hooks have no other way to it */

struct crash_total {
	uint64_t states, recoveries, faults, logs;
};
extern struct crash_total total;

#define must(err)                                                              \
	cr_assert_eq(err, 0, "seed %lu: %s: %s", d->seed, why.object,          \
		     why.message)

uint64_t below(uint64_t n);
struct head_below raw_below(void);

/* After a crash: what the files hold is judged, recovered and used. */
void on_state(void *ctx, const int fd[CUT_FILES]);
/* The content is one that the disk may have. */
void expect_allowed(const uint8_t *content, const char *when);

#endif
