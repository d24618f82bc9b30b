/* SPDX-License-Identifier: Apache-2.0 */
/* A head's inside, for head*.c alone. */
#ifndef TINTYPE_HEAD_IMPL_H
#define TINTYPE_HEAD_IMPL_H

#include "blockmap.h"
#include "fileio.h"
#include "head.h"

/*
 * The state of a block in the map, for what may be done to its slot:
 *
 *            write               flush begins           a later commit
 *   none ──────────► FRESH ─────────────────► COMMITTED ──────────► STABLE
 *                      ▲ in place               │   is durable     │ ▲ in
 *                      └────────────────────────┘                  └─┘ place
 *                        written again: to another slot
 *
 * A commit that could not be written counts as written: its blocks stay
 * COMMITTED, and are in the next one as well.
 *
 * COMMITTED is two states, of even and odd commits, so that the end of one
 * flush can tell its own blocks from those of the one before.
 */
enum block_state {
	BLOCK_STABLE,
	BLOCK_FRESH,
	BLOCK_COMMITTED_EVEN,
	BLOCK_COMMITTED_ODD
};

/* A growing array of block numbers or slots. */
struct numbers {
	uint64_t *v;
	size_t n, room;
};

struct slot_run {
	uint32_t slot, count;
};

/* Records that are about to be written to the log. */
struct log_records {
	struct log_record *v;
	size_t n, room;
};

/* Where the log goes on. */
struct log_place {
	uint32_t slot, pages; /* the extent */
	uint32_t record;      /* the next one in it */
	uint64_t sum;	      /* of the last batch */
	uint64_t commit;      /* the number of the next commit */
};

enum flush_stage { FLUSH_IDLE, FLUSH_DATA, FLUSH_LOG, FLUSH_PLAIN };

struct head {
	int fd;
	int read_fd; /* the same file */
	char name[FILE_NAME_TEXT];
	bool writable, frozen;
	int failed; /* a sync failed: 0 or -errno, for good */
	struct layer_header header;
	struct head_below below;
	struct blockmap map;

	uint32_t end; /* the first slot that was never used */
	struct slot_run *free;
	size_t nfree, free_room;

	uint64_t generation;
	struct log_place log;
	struct slot_run *extents; /* of the log */
	size_t nextents, extents_room;
	uint64_t log_records;
	bool root_unsure; /* the next generation's root may be there: nothing
			   * is appended before one that surely is */

	uint32_t writing;	/* writes that have begun and not ended */
	bool unsynced;		/* something was written since the last sync */
	struct numbers pending; /* blocks that are FRESH */
	struct numbers leaving; /* slots, free after the next commit */
	bool moved;		/* pending has blocks that left a slot of the
				 * last commit */

	/* The flush that is under way. */
	enum flush_stage stage;
	struct numbers batch, batch_leaving;
	struct log_records records; /* of the batch, as it was then */
	bool batch_moved;	    /* its data is synced before its log */
	uint8_t batch_state;	    /* COMMITTED, even or odd */
	struct numbers last;	    /* blocks of the last commit */

	struct head_counts counts;
};

/* Room for `more` numbers: 0 or -ENOMEM; numbers_add then cannot fail. */
int numbers_reserve(struct numbers *a, size_t more);
void numbers_add(struct numbers *a, uint64_t v);
int slot_runs_add(struct slot_run **v, size_t *n, size_t *room, uint32_t slot,
		  uint32_t count);

/* Exactly that many, from the end. */
int slots_take_end(struct head *h, uint32_t count, struct slot_run *run);
/* Losing a free slot for want of memory costs space, no more. */
void slots_give(struct head *h, uint32_t slot, uint32_t count);

/* ---- log ---- */

/* The seed of a generation's first batch. */
uint64_t log_seed(const struct layer_header *header, uint64_t generation);
/* The sum after one more record; of a commit, all but its own sum counts. */
uint64_t log_sum(uint64_t sum, const struct log_record *r);
int log_write_root(int fd, uint64_t generation, const struct slot_run *first);

/* fdatasync; a failure is remembered for good. */
int head_sync(struct head *h);
/* The sum of `count` pages from `slot` on, as a map record has it. */
int log_data_sum(int fd, uint32_t slot, uint32_t count, uint64_t *sum);

/* Whether a batch of `n` and its commit fit without another extent. */
bool log_has_room(const struct head *h, size_t n);
/* Appends a batch and its commit, unsynced. After a failure the log goes on
 * where it did before. */
int log_append(struct head *h, const struct log_record *records, size_t n);
/* Begins the log anew with one batch, which is the whole map, durable. After a
 * failure the old log goes on, unless the root is unsure or a sync failed. */
int log_rewrite(struct head *h, const struct log_record *records, size_t n);

/* Replays the log of h->fd into h->map. */
int log_recover(struct head *h, struct fail *why);

#endif
