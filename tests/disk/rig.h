/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk over files of its own, with the loop that drives it, and requests to
 * it. What it asks of the engine is seen and bent by hooks (the program is
 * linked with --wrap=disk_io_start).
 */
#ifndef TINTYPE_TESTS_RIG_H
#define TINTYPE_TESTS_RIG_H

#include "disk_store.h"
#include "loop.h"

enum rig_kind { RIG_RAW, RIG_HEAD };

struct rig {
	enum rig_kind kind;
	enum disk_io_way way;
	uint64_t bytes;
	struct loop loop;
	struct disk_io *io;
	struct disk *disk;
	pthread_mutex_t lock;
	int base, head; /* base: below a head, or the raw disk */
	unsigned idles;
};

/* `bytes` of a base file that holds rig_pattern. */
void rig_open(struct rig *r, enum rig_kind kind, enum disk_io_way way,
	      uint64_t bytes);
void rig_close(struct rig *r);
/* As after the end of the process: the files are opened anew. */
void rig_reopen(struct rig *r);
uint8_t rig_pattern(uint64_t offset);
/* The base is no longer in the page cache: reads have to wait. */
void rig_make_cold(struct rig *r);

struct ask {
	struct disk_request r;
	struct iovec iov[64];
	uint8_t *buf;
	int result;
	bool over;
};

/* With the lock held, as a device calls. `pieces` of the buffer. */
void ask_begin(struct rig *r, struct ask *a, enum disk_op op, uint64_t offset,
	       uint64_t bytes, uint8_t *buf, unsigned pieces);
int ask_end(struct rig *r, struct ask *a); /* commits, waits */
int ask(struct rig *r, enum disk_op op, uint64_t offset, uint64_t bytes,
	uint8_t *buf);
void rig_commit(struct rig *r);
void rig_drain(struct rig *r);
void rig_step(struct rig *r);

/* Calls `fn` for both kinds and both ways. */
void rig_each(void (*fn)(struct rig *r), uint64_t bytes);

/* ---- what the engine is asked ---- */

struct io_bend {
	int err;	  /* it ends so at once */
	uint64_t at_most; /* it is as short as this */
	bool hold;	  /* it is on its way until io_release */
};
extern struct io_bend (*io_bend)(const struct disk_io_op *op);

/* Ends what was held first. */
#define IO_CARRY_OUT INT32_MAX
void io_release(int result);
unsigned io_held(void);

/* What the kernel says to a new ring, and to so many submissions; 0: as it
 * does. */
extern int ring_refused, submit_refused;
extern unsigned submits_refused;

#endif
