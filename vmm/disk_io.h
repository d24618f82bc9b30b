/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads, writes and syncs of files for all disks of a VM, by whatever way is
 * best here, without keeping the I/O thread waiting:
 *
 *   read    from the page cache at once (RWF_NOWAIT); what is not there, by
 *           the ring
 *   write   a small one of whole pages at once, as long as these are quick;
 *           else by the ring
 *   sync, punch, zero   by the ring
 *
 * Where the kernel refuses us a ring, and on files that it was not given, all
 * is done at once, and the thread waits for slow ones. docs/performance.md,
 * "Disks", has the figures behind this.
 *
 * Owner: the I/O thread, but for what says another. Nothing is locked by it:
 * `done` and `settle` take the lock of the disk they are for.
 */
#ifndef TINTYPE_DISK_IO_H
#define TINTYPE_DISK_IO_H

#include "loop.h"
#include "uring.h"

/* Operations on their way, of all disks together. */
#define DISK_IO_DEPTH 128
#define DISK_IO_IOVS  16

struct disk_io;

enum disk_io_kind {
	DISK_IO_READ,
	DISK_IO_WRITE,
	DISK_IO_SYNC,  /* fdatasync */
	DISK_IO_PUNCH, /* reads as zero then, the space is given back */
	DISK_IO_ZERO,  /* reads as zero then */
};

struct disk_io_op {
	struct uring_op ring; /* private, as is `next` */
	struct disk_io_op *next;
	enum disk_io_kind kind;
	int fd;		 /* by the ring: one of its files */
	unsigned niov;	 /* READ, WRITE: 1 to DISK_IO_IOVS */
	uint64_t offset; /* all but SYNC */
	uint64_t bytes;	 /* all but SYNC; of iov together */
	struct iovec iov[DISK_IO_IOVS];
	int result;
	void (*done)(struct disk_io_op *op, int result);
	struct disk_io_user *user;
};

/* A disk that uses the engine. */
struct disk_io_user {
	void (*settle)(struct disk_io_user *u); /* some of its ops have ended */
	/* private */
	bool touched;
	struct disk_io *io;
	struct disk_io_user *next;
};

enum disk_io_way { DISK_IO_BEST, DISK_IO_NO_RING };

struct disk_io_config {
	struct loop *loop;
	enum disk_io_way way;
	const int *fds;
	unsigned nfds;
	unsigned spare; /* places for files that come later */
};

/* 0 or -errno. A ring that is refused is no failure: logged once. Before the
 * sandbox is closed. */
int disk_io_create(struct disk_io **out, const struct disk_io_config *c);
void disk_io_destroy(struct disk_io *io); /* nothing is on its way */
bool disk_io_has_ring(const struct disk_io *io);

/*
 * A file that comes later is given to the ring, or one is taken from it, which
 * lets go of it: no operation on it is on its way. On any one thread, at a time
 * when the I/O thread begins none on that fd. 0; -ENOSPC when all places are
 * taken, or -errno: it is done without the ring then.
 */
int disk_io_add_file(struct disk_io *io, int fd);
void disk_io_drop_file(struct disk_io *io, int fd);

/* 0, or why this kernel refuses us a ring: for `doctor`. */
int disk_io_probe(void);

/* While they are added no operation is on its way; removing takes back that
 * settle is still to come. */
void disk_io_add_user(struct disk_io *io, struct disk_io_user *u);
void disk_io_remove_user(struct disk_io *io, struct disk_io_user *u);

#define DISK_IO_PENDING INT32_MIN

/* Begins one: its result (bytes, which may be fewer, 0 or -errno) when it is
 * over at once, else DISK_IO_PENDING and `done` comes, never from within. */
int disk_io_start(struct disk_io *io, struct disk_io_op *op);

/* What was begun is on its way. */
void disk_io_commit(struct disk_io *io);

/* Sleeps until something has ended, and calls `done` of what is `only`'s; the
 * rest waits for the loop. */
void disk_io_wait(struct disk_io *io, struct disk_io_user *only);

struct disk_io_counts {
	uint64_t at_once, by_ring;
	uint64_t slow_writes; /* after each of them the ring is used a while */
};
void disk_io_count(const struct disk_io *io, struct disk_io_counts *c);

#endif
