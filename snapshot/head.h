/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk's head: its one writable layer (docs/image-format.md, "A head"). It
 * lies on another head that was frozen, or on an image, and that on a raw file;
 * what none of them has reads as zero.
 *
 * After a flush has returned 0, everything that was written before it began is
 * there after a crash at any moment. Without a flush, any part of what was
 * written since the last one may be.
 *
 * Owner: one thread at a time (the disk's); a frozen head may be read by that
 * thread while another one flushes and seals it. Errors: -errno with `why`
 * naming the head; -ENOSPC, -EIO and the like leave the disk as it was, or, of
 * a write, with any mix of old and new in the range that was to be written.
 *
 * Memory: blockmap.h's, 8 bytes a block written since the last flush, 32 a run
 * of these, and 8 a run of free slots.
 */
#ifndef TINTYPE_HEAD_H
#define TINTYPE_HEAD_H

#include "image.h"

struct head;

#define HEAD_MAX_BYTES (UINT64_C(1) << 46)

/* What a head lies on. All of it is borrowed and outlives the head. */
struct head_below {
	struct head *head;	   /* frozen; NULL: none */
	const struct image *image; /* else this; NULL: none */
	int raw_fd;		   /* below the image; -1: none */
	uint64_t raw_bytes;
};
#define HEAD_BELOW_NOTHING ((struct head_below){ .raw_fd = -1 })

struct head_info {
	uint8_t uid[UID_BYTES];
	uint64_t bytes;
	enum below_kind below_kind;
	uint32_t below_root;
	struct object_id below_layer;
	uint8_t below_uid[UID_BYTES];
};

/*
 * Makes an empty head in an empty file and syncs it. `info`: bytes (a multiple
 * of 512, at most HEAD_MAX_BYTES) and what it lies on; uid is filled in. The
 * log begins with `log_pages` (0: 1).
 */
int head_create(int fd, const char *name, struct head_info *info,
		uint32_t log_pages, struct fail *why);

/* What the file says of itself. -EBADMSG when it is no head. A sealed layer
 * that was a head is one for this. */
int head_read_info(int fd, const char *name, struct head_info *info,
		   struct fail *why);

/*
 * Opens a head and replays its log; `fd` is borrowed. `below` is what
 * head_read_info says, found by the caller. `writable`: what recovery found is
 * made firm by a sync; else nothing is written, then or later.
 */
int head_open(struct head **h, int fd, const char *name,
	      const struct head_below *below, bool writable, struct fail *why);
void head_close(struct head *h);

uint64_t head_bytes(const struct head *h);
int head_fd(const struct head *h);
const uint8_t *head_uid(const struct head *h); /* UID_BYTES */

/* Any range of bytes within the disk; -EINVAL beyond it. */
int head_read(struct head *h, uint64_t offset, void *buf, size_t len,
	      struct fail *why);
int head_write(struct head *h, uint64_t offset, const void *buf, size_t len,
	       struct fail *why);
/* For write-zeroes and discard alike: it reads as zero then. No write to that
 * range is on its way: it could hit the block that gets the slot next. */
int head_zero(struct head *h, uint64_t offset, uint64_t len, struct fail *why);

/* Everything written so far is durable when it returns 0. After a sync that
 * failed, every flush fails: what was lost is not known. */
int head_flush(struct head *h, struct fail *why);

/*
 * The same for an owner that must not wait: 1: fdatasync head_fd by whatever
 * way, then call again with its result (0 or -errno); 0: done; else it failed.
 * The first call has result 0. No write is on its way at the first call; others
 * may begin and end between the calls. A call that makes the log longer, or
 * begins it anew, syncs by itself: the first is short, since the data was
 * synced by the caller just before; the second takes as long as a sync does
 * and comes once in thousands of flushes.
 */
int head_flush_step(struct head *h, int result, struct fail *why);

/*
 * A commit although there is nothing to say, durable: the mark of a head that
 * is in use. Nothing was flushed yet, and no flush is under way; writes may be:
 * the owner goes on meanwhile, with all but flushes.
 */
int head_commit_empty(struct head *h, struct fail *why);

/* ---- for I/O that goes straight to files ---- */

enum where_kind { WHERE_ZERO, WHERE_FILE, WHERE_IMAGE };

/* A run of blocks that lie together. */
struct where {
	enum where_kind kind;
	uint64_t count;	      /* blocks */
	int fd;		      /* WHERE_FILE */
	uint64_t offset;      /* there */
	uint64_t bytes;	      /* there; what the blocks have more is zero */
	struct extent extent; /* WHERE_IMAGE: by image_read_extent */
};

/*
 * The run that begins with `block`, at most `max` blocks long. It holds for a
 * block of the head until head_write_end or head_zero of that block: from then
 * on, after the next flush at the latest, its slot may be another block's. So
 * who reads by it, reads to the end before he lets that block be written or
 * zeroed; and locates anew afterwards. What lies below stays where it is until
 * head_set_below.
 */
int head_locate(struct head *h, uint64_t block, uint64_t max, struct where *w,
		struct fail *why);

/* A write of whole blocks that the owner does himself. Each that begins ends.
 * Of two on their way to one block either may win; no other block is hit. */
struct head_write {
	uint64_t block;
	uint32_t count; /* at most what was asked for */
	uint32_t slot;	/* write at slot * 4096 of head_fd */
	bool in_place;
};
int head_write_begin(struct head *h, uint64_t block, uint32_t max,
		     struct head_write *w, struct fail *why);
/* It is over; only now it is what a read finds, if it is `good`. */
int head_write_end(struct head *h, const struct head_write *w, bool good,
		   struct fail *why);

/* ---- capture ---- */

/* No write will come any more: memory only, for the pause. */
void head_freeze(struct head *h);
/* Blocks of the head are read by `fd`, the same file read-only: head_fd may be
 * closed once it is sealed. Memory only. */
void head_read_by(struct head *h, int fd);
/* What the head lies on is there in another form: a sealed layer instead of the
 * frozen head. */
void head_set_below(struct head *h, const struct head_below *below);

/*
 * Makes the frozen head's file a sealed layer, whose root 0 is the disk, over
 * `base` (the image that it lies on, NULL: none), and syncs. A failure leaves
 * it a head.
 */
int head_seal(struct head *h, const struct image *base, struct object_id *id,
	      struct fail *why);

struct head_counts {
	uint64_t blocks;     /* the head has something of its own for */
	uint64_t file_pages; /* slots in use and free */
	uint64_t log_records, commits, moved, rewritten_logs;
	uint64_t dropped; /* records of a last batch that was not complete */
};
void head_count(const struct head *h, struct head_counts *c);

#endif
