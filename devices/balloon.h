/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon (virtio 1.2, 5.5): the guest gives RAM back, of its own will
 * (free pages that it reports) or because the host asks it to (the target).
 * What it gives holds no memory of ours any more; touched again, it reads zero.
 *
 * Offered: STATS_VQ, DEFLATE_ON_OOM, PAGE_REPORTING. Queues have their numbers
 * in the order of those that were negotiated, without holes, as Linux has them
 * on this transport: inflate, deflate, statistics, reporting.
 *
 * A page number outside RAM, a range of part pages, and more numbers in a chain
 * than BALLOON_CHAIN_NUMBERS are refused and counted: the guest keeps what it
 * has. Each round of the loop does a bounded part of the work, some
 * milliseconds at most. No chain is ever kept: one that takes longer goes back
 * into its queue meanwhile (done again from its beginning after a restore, it
 * does no harm), and a buffer of statistics stays there until somebody asks for
 * them.
 *
 * Owner: dev.lock; kicks come on the I/O thread, as balloon_ask must.
 */
#ifndef TINTYPE_BALLOON_H
#define TINTYPE_BALLOON_H

#include "virtio.h"

#define BALLOON_PAGE_BYTES 4096 /* whatever the guest's pages are */
/* Page numbers in a chain that inflates: Linux sends 256, others 1024. */
#define BALLOON_CHAIN_NUMBERS 1024
/* Of reported pages, in a round; a chain of Linux has up to 128 MiB. */
#define BALLOON_ROUND_BYTES MIB(16)

struct balloon_state {
	struct virtio_state virtio;
	uint32_t num_pages; /* that the host wants in the balloon */
	uint32_t actual;    /* that are in it, as the driver says */
};

#define BALLOON_STATS 16

/* What the driver told last; tags that it left out keep their value. */
struct balloon_stats {
	uint64_t value[BALLOON_STATS];
	uint32_t known;	  /* a bit a tag that was ever told */
	uint64_t updates; /* times that an answer to balloon_ask has come */
};
extern const char *const balloon_stat_names[BALLOON_STATS];

struct balloon_counters {
	uint64_t inflated, deflated, reported; /* pages */
	uint64_t refused_pages; /* no RAM, part pages, too many at once */
	uint64_t failed_pages;	/* our kernel did not take them */
};

struct balloon {
	struct virtio virtio;
	struct balloon_state st;
	struct loop *loop;
	struct loop_task more; /* a round was not enough */
	uint32_t target;       /* num_pages after a reset, too */
	uint64_t progress;     /* bytes of the chain of reports that are done */
	unsigned ask;	       /* buffers of statistics to take yet */
	struct balloon_stats stats;
	struct balloon_counters count;
};

struct balloon_config {
	struct virtio_config virtio;
	struct loop *loop;
};

/* NULL: no memory. device_destroy ends it. */
struct balloon *balloon_create(const struct balloon_config *c);

/* Wants so many pages of RAM in the balloon, and tells the driver. More than
 * RAM has is all of it. The lock is held. */
void balloon_set_target(struct balloon *b, uint32_t pages);

/* Asks for new statistics: `stats.updates` grows when they have come. False:
 * no driver is there to answer. The lock is held, the guest runs. */
bool balloon_ask(struct balloon *b);

#endif
