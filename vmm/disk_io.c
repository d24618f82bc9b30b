/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which way an operation goes. A write into the page cache cannot be asked not
 * to wait on most file systems, and costs twice as much by the ring, where a
 * thread of the kernel has to do it. So it is tried, by the clock: one that
 * took too long sends those after it to the ring for a while.
 */
#include "disk_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

#include "log.h"
#include "util.h"

/* A write at once copies at most this much. */
#define INLINE_BYTES KIB(64)
/* One that took longer, as a control request should not wait: none is tried for
 * a while then. The clock cannot tell waiting from another process's turn, so
 * the while is short at first, and longer each time that the next one is slow
 * as well. */
#define SLOW_NS		2000000
#define PATIENCE_NS	20000000
#define PATIENCE_MAX_NS 1280000000

/* Of a place in the ring: neither a file's nor free. */
#define LOST_PLACE (-2)

struct disk_io {
	struct loop *loop;
	struct uring *ring; /* NULL: refused */
	struct loop_source ended;
	struct loop_task task; /* settle, later, submit again */
	struct disk_io_user *users;
	struct disk_io_user *only; /* being waited for */
	struct disk_io_op *later, **later_last;
	uint64_t no_inline_until_ns, patience_ns;
	bool no_nowait; /* the file system has no RWF_NOWAIT */
	/* By the ring's places; -1: free. Another thread may add and drop
	 * some, while this one looks for others. */
	unsigned nfds;
	atomic_int *fds;
	struct disk_io_counts counts;
};

bool disk_io_has_ring(const struct disk_io *io)
{
	return io->ring != NULL;
}

void disk_io_count(const struct disk_io *io, struct disk_io_counts *c)
{
	*c = io->counts;
}

void disk_io_add_user(struct disk_io *io, struct disk_io_user *u)
{
	u->io = io;
	u->next = io->users;
	io->users = u;
}

void disk_io_remove_user(struct disk_io *io, struct disk_io_user *u)
{
	for (struct disk_io_user **p = &io->users; *p; p = &(*p)->next) {
		if (*p != u)
			continue;
		*p = u->next;
		return;
	}
}

/* ---- ends ---- */

static void settle(struct disk_io *io)
{
	for (struct disk_io_user *u = io->users; u; u = u->next) {
		if (!u->touched)
			continue;
		u->touched = false;
		u->settle(u);
	}
	disk_io_commit(io);
}

static void tell(struct disk_io_op *op)
{
	op->user->touched = true;
	op->done(op, op->result);
}

static void op_ended(struct uring_op *r, int result)
{
	struct disk_io_op *op = container_of(r, struct disk_io_op, ring);
	struct disk_io *io = op->user->io;

	op->result = result;
	if (!io->only || io->only == op->user) {
		tell(op);
		return;
	}
	op->next = NULL;
	*io->later_last = op;
	io->later_last = &op->next;
	loop_post(io->loop, &io->task);
}

/* By edge: what ends from here on is an event of its own. */
static void on_ended(struct loop_source *s, uint32_t events)
{
	struct disk_io *io = container_of(s, struct disk_io, ended);

	(void)uring_reap(io->ring);
	settle(io);
}

/* Of what another's wait has put aside, `only`'s; NULL: all. Whether there was
 * any. */
static bool tell_later(struct disk_io *io, const struct disk_io_user *only)
{
	struct disk_io_op *op = io->later;
	bool any = false;

	io->later = NULL;
	io->later_last = &io->later;
	while (op) {
		struct disk_io_op *next = op->next;

		if (only && op->user != only) {
			op->next = NULL;
			*io->later_last = op;
			io->later_last = &op->next;
		} else {
			any = true;
			tell(op);
		}
		op = next;
	}
	return any;
}

static void on_task(struct loop_task *t)
{
	struct disk_io *io = container_of(t, struct disk_io, task);

	(void)tell_later(io, NULL);
	settle(io);
}

void disk_io_wait(struct disk_io *io, struct disk_io_user *only)
{
	int err = 0;

	if (tell_later(io, only))
		return;
	io->only = only;
	while (!err && io->ring && !uring_reap(io->ring))
		err = uring_submit(io->ring, true);
	io->only = NULL;
	/* Short of memory: what is on its way ends all the same. */
	if (err && err != -EAGAIN && err != -EBUSY)
		log_error("disks", "wait for completions: %s", strerror(-err));
}

void disk_io_commit(struct disk_io *io)
{
	int err = io->ring ? uring_submit(io->ring, false) : 0;

	if (!err)
		return;
	if (err != -EAGAIN && err != -EBUSY)
		log_error("disks", "submit: %s", strerror(-err));
	loop_post(io->loop, &io->task);
}

/* ---- ways ---- */

static int result_of(ssize_t n)
{
	return n < 0 ? -errno : (int)n;
}

static int read_flags(struct disk_io *io, const struct disk_io_op *op,
		      int flags)
{
	ssize_t n;

	do
		n = preadv2(op->fd, op->iov, (int)op->niov, (off_t)op->offset,
			    flags);
	while (n < 0 && errno == EINTR);
	return result_of(n);
}

static int write_now(const struct disk_io_op *op)
{
	ssize_t n;

	do
		n = pwritev2(op->fd, op->iov, (int)op->niov, (off_t)op->offset,
			     0);
	while (n < 0 && errno == EINTR);
	return result_of(n);
}

static int read_cached(struct disk_io *io, const struct disk_io_op *op)
{
	int n = io->no_nowait ? -EAGAIN : read_flags(io, op, RWF_NOWAIT);

	if (n == -EOPNOTSUPP) {
		io->no_nowait = true;
		n = -EAGAIN;
	}
	return n == -EAGAIN ? DISK_IO_PENDING : n;
}

static void judge_time(struct disk_io *io, uint64_t begun)
{
	uint64_t now = now_ns();

	if (now - begun <= SLOW_NS) {
		io->patience_ns = PATIENCE_NS;
		return;
	}
	io->counts.slow_writes++;
	io->no_inline_until_ns = now + io->patience_ns;
	io->patience_ns = MIN(4 * io->patience_ns, PATIENCE_MAX_NS);
}

static int write_quick(struct disk_io *io, const struct disk_io_op *op)
{
	uint64_t begun;
	int n;

	/* A part of a page may have to be read first. */
	if (op->bytes > INLINE_BYTES || (op->offset | op->bytes) % PAGE_BYTES)
		return DISK_IO_PENDING;
	begun = now_ns();
	if (begun < io->no_inline_until_ns)
		return DISK_IO_PENDING;
	n = write_now(op);
	judge_time(io, begun);
	return n;
}

static int mode_of(enum disk_io_kind kind)
{
	return FALLOC_FL_KEEP_SIZE |
	       (kind == DISK_IO_PUNCH ? FALLOC_FL_PUNCH_HOLE
				      : FALLOC_FL_ZERO_RANGE);
}

static int allocate_now(const struct disk_io_op *op)
{
	return fallocate(op->fd, mode_of(op->kind), (off_t)op->offset,
			 (off_t)op->bytes)
		   ? -errno
		   : 0;
}

static int try_at_once(struct disk_io *io, const struct disk_io_op *op,
		       bool ring)
{
	switch (op->kind) {
	case DISK_IO_READ:
		return ring ? read_cached(io, op) : read_flags(io, op, 0);
	case DISK_IO_WRITE:
		return ring ? write_quick(io, op) : write_now(op);
	case DISK_IO_SYNC:
		return ring ? DISK_IO_PENDING : fdatasync(op->fd) ? -errno : 0;
	case DISK_IO_PUNCH:
	case DISK_IO_ZERO:
		return ring ? DISK_IO_PENDING : allocate_now(op);
	}
	return -EINVAL;
}

/* The place of a file in the ring; -1: it has none. */
static int file_of(const struct disk_io *io, int fd)
{
	for (unsigned i = 0; io->ring && i < io->nfds; i++)
		if (atomic_load_explicit(&io->fds[i], memory_order_relaxed) ==
		    fd)
			return (int)i;
	return -1;
}

static int queue(struct disk_io *io, struct disk_io_op *op, unsigned file)
{
	op->ring.done = op_ended;
	switch (op->kind) {
	case DISK_IO_READ:
		return uring_read(io->ring, &op->ring, file, op->iov, op->niov,
				  op->offset);
	case DISK_IO_WRITE:
		return uring_write(io->ring, &op->ring, file, op->iov, op->niov,
				   op->offset);
	case DISK_IO_SYNC:
		return uring_datasync(io->ring, &op->ring, file);
	case DISK_IO_PUNCH:
	case DISK_IO_ZERO:
		return uring_allocate(io->ring, &op->ring, file,
				      mode_of(op->kind), op->offset, op->bytes);
	}
	return -EINVAL;
}

int disk_io_start(struct disk_io *io, struct disk_io_op *op)
{
	int file = file_of(io, op->fd);
	int n = try_at_once(io, op, file >= 0);

	if (n != DISK_IO_PENDING) {
		io->counts.at_once++;
		return n;
	}
	n = queue(io, op, (unsigned)file);
	if (n)
		return n;
	io->counts.by_ring++;
	return DISK_IO_PENDING;
}

/* ---- files ---- */

int disk_io_add_file(struct disk_io *io, int fd)
{
	int at = file_of(io, -1), err;

	if (!io->ring)
		return 0;
	err = at < 0 ? -ENOSPC : uring_set_file(io->ring, (unsigned)at, fd);
	if (!err)
		atomic_store(&io->fds[at], fd);
	return err;
}

void disk_io_drop_file(struct disk_io *io, int fd)
{
	int at = file_of(io, fd), err;

	if (at < 0)
		return;
	/* A place that the kernel does not clear is not used again, not even
	 * by another file that gets the same number. */
	err = uring_set_file(io->ring, (unsigned)at, -1);
	atomic_store(&io->fds[at], err ? LOST_PLACE : -1);
}

/* ---- made, gone ---- */

int disk_io_probe(void)
{
	const struct uring_config c = { .entries = 1 };
	struct uring *u;
	int err = uring_create(&u, &c);

	if (!err)
		uring_destroy(u);
	return err;
}

static int make_ring(struct disk_io *io, const struct disk_io_config *c)
{
	const struct uring_config r = {
		.entries = DISK_IO_DEPTH,
		.fds = c->fds,
		.nfds = c->nfds,
		.spare = c->spare,
	};
	int err =
	    c->way == DISK_IO_NO_RING ? -EPERM : uring_create(&io->ring, &r);

	if (err) {
		log_warn("disks",
			 "no io_uring (%s): slow reads, writes and flushes "
			 "hold up the VM's control",
			 c->way == DISK_IO_NO_RING ? "asked for"
						   : strerror(-err));
		return 0;
	}
	io->ended = (struct loop_source){ .fd = uring_event_fd(io->ring),
					  .ready = on_ended,
					  .events = EPOLLIN | EPOLLET };
	return loop_add(io->loop, &io->ended);
}

int disk_io_create(struct disk_io **out, const struct disk_io_config *c)
{
	struct disk_io *io = calloc(1, sizeof(*io));
	int err = -ENOMEM;

	if (!io)
		return err;
	io->loop = c->loop;
	io->patience_ns = PATIENCE_NS;
	io->task.run = on_task;
	io->later_last = &io->later;
	io->nfds = c->nfds + c->spare;
	io->fds = calloc(io->nfds + 1, sizeof(*io->fds));
	for (unsigned i = 0; io->fds && i < io->nfds; i++)
		atomic_init(&io->fds[i], i < c->nfds ? c->fds[i] : -1);
	if (io->fds)
		err = make_ring(io, c);
	if (err)
		disk_io_destroy(io);
	else
		*out = io;
	return err;
}

void disk_io_destroy(struct disk_io *io)
{
	if (!io)
		return;
	loop_unpost(io->loop, &io->task);
	loop_del(io->loop, &io->ended);
	uring_destroy(io->ring);
	free(io->fds);
	free(io);
}
