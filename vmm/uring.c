/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two rings that we share with the kernel. Of the submission ring we write
 * the tail and read the head, of the completion ring the other way round; each
 * store that publishes entries is a release, each load that finds them an
 * acquire. The indices run freely and are masked when used. The kernel is
 * trusted; the guest cannot reach the rings.
 */
#include "uring.h"

#include <assert.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "util.h"

struct uring {
	int fd, event_fd;
	unsigned entries;
	unsigned in_flight; /* queued, handed over, not reaped */
	unsigned queued;    /* of them not handed over */
	void *rings, *sqe_map;
	size_t rings_bytes, sqe_bytes;
	uint32_t *sq_tail, *sq_array, sq_mask;
	uint32_t *cq_head, *cq_tail, cq_mask;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
};

/* All that a ring of ours ever does, each on a registered file. */
static const uint8_t opcodes[] = { IORING_OP_READV, IORING_OP_WRITEV,
				   IORING_OP_FSYNC, IORING_OP_FALLOCATE };

static int setup(unsigned entries, struct io_uring_params *p)
{
	int fd;

	/* Completions wait for our next system call instead of interrupting
	 * the thread; Linux 5.19. */
	*p = (struct io_uring_params){ .flags = IORING_SETUP_R_DISABLED |
						IORING_SETUP_COOP_TASKRUN };
	fd = (int)syscall(SYS_io_uring_setup, entries, p);
	if (fd < 0 && errno == EINVAL) {
		*p = (struct io_uring_params){ .flags =
						   IORING_SETUP_R_DISABLED };
		fd = (int)syscall(SYS_io_uring_setup, entries, p);
	}
	return fd < 0 ? -errno : fd;
}

static int enroll(const struct uring *u, unsigned what, const void *arg,
		  unsigned n)
{
	return syscall(SYS_io_uring_register, u->fd, what, arg, n) < 0 ? -errno
								       : 0;
}

static int restrict_ops(const struct uring *u)
{
	struct io_uring_restriction r[ARRAY_SIZE(opcodes) + 3] = { 0 };
	unsigned n = 0;

	for (; n < ARRAY_SIZE(opcodes); n++) {
		r[n].opcode = IORING_RESTRICTION_SQE_OP;
		r[n].sqe_op = opcodes[n];
	}
	r[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	r[n++].sqe_flags = IOSQE_FIXED_FILE;
	r[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	r[n++].sqe_flags = IOSQE_FIXED_FILE;
	/* For files that come later: by a thread whose filter lets it. */
	r[n].opcode = IORING_RESTRICTION_REGISTER_OP;
	r[n++].register_op = IORING_REGISTER_FILES_UPDATE;
	return enroll(u, IORING_REGISTER_RESTRICTIONS, r, n);
}

static int register_files(const struct uring *u, const struct uring_config *c)
{
	unsigned n = c->nfds + c->spare;
	_cleanup_free_ int *fds = malloc(n * sizeof(*fds));

	if (!fds)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		fds[i] = i < c->nfds ? c->fds[i] : -1;
	return n ? enroll(u, IORING_REGISTER_FILES, fds, n) : 0;
}

/* Both rings in one mapping; Linux 5.4. */
static int map_rings(struct uring *u, const struct io_uring_params *p)
{
	size_t sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(*u->cqe);
	char *at;

	if (!(p->features & IORING_FEAT_SINGLE_MMAP))
		return -ENOSYS;
	u->rings_bytes = MAX(sq, cq);
	u->sqe_bytes = p->sq_entries * sizeof(*u->sqe);
	u->rings = mmap(NULL, u->rings_bytes, PROT_READ | PROT_WRITE,
			MAP_SHARED, u->fd, IORING_OFF_SQ_RING);
	u->sqe_map = mmap(NULL, u->sqe_bytes, PROT_READ | PROT_WRITE,
			  MAP_SHARED, u->fd, IORING_OFF_SQES);
	if (u->rings == MAP_FAILED || u->sqe_map == MAP_FAILED)
		return -errno;
	at = u->rings;
	u->sq_tail = (void *)(at + p->sq_off.tail);
	u->sq_array = (void *)(at + p->sq_off.array);
	u->sq_mask = *(uint32_t *)(void *)(at + p->sq_off.ring_mask);
	u->cq_head = (void *)(at + p->cq_off.head);
	u->cq_tail = (void *)(at + p->cq_off.tail);
	u->cq_mask = *(uint32_t *)(void *)(at + p->cq_off.ring_mask);
	u->cqe = (void *)(at + p->cq_off.cqes);
	u->sqe = u->sqe_map;
	return 0;
}

static int build(struct uring *u, const struct uring_config *c)
{
	struct io_uring_params p;
	int err;

	u->fd = setup(c->entries, &p);
	if (u->fd < 0)
		return u->fd;
	u->entries = MIN(c->entries, p.sq_entries);
	u->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (u->event_fd < 0)
		return -errno;
	if ((err = map_rings(u, &p)) || (err = restrict_ops(u)) ||
	    (err = register_files(u, c)) ||
	    (err = enroll(u, IORING_REGISTER_EVENTFD, &u->event_fd, 1)))
		return err;
	return enroll(u, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

int uring_create(struct uring **out, const struct uring_config *c)
{
	struct uring *u = calloc(1, sizeof(*u));
	int err;

	if (!u)
		return -ENOMEM;
	u->fd = u->event_fd = -1;
	u->rings = u->sqe_map = MAP_FAILED;
	err = build(u, c);
	if (err)
		uring_destroy(u);
	else
		*out = u;
	return err;
}

void uring_destroy(struct uring *u)
{
	if (!u)
		return;
	if (u->rings != MAP_FAILED)
		munmap(u->rings, u->rings_bytes);
	if (u->sqe_map != MAP_FAILED)
		munmap(u->sqe_map, u->sqe_bytes);
	cleanup_close(&u->fd);
	cleanup_close(&u->event_fd);
	free(u);
}

int uring_set_file(const struct uring *u, unsigned file, int fd)
{
	const struct io_uring_files_update update = {
		.offset = file,
		.fds = (uintptr_t)&fd,
	};

	return enroll(u, IORING_REGISTER_FILES_UPDATE, &update, 1);
}

int uring_event_fd(const struct uring *u)
{
	return u->event_fd;
}

unsigned uring_in_flight(const struct uring *u)
{
	return u->in_flight;
}

/* ---- submission ---- */

static int queue(struct uring *u, const struct io_uring_sqe *want,
		 struct uring_op *op)
{
	uint32_t tail = *u->sq_tail, at = tail & u->sq_mask;

	if (u->in_flight == u->entries)
		return -EBUSY;
	u->sqe[at] = *want;
	u->sqe[at].flags = IOSQE_FIXED_FILE;
	u->sqe[at].user_data = (uintptr_t)op;
	u->sq_array[at] = at;
	__atomic_store_n(u->sq_tail, tail + 1, __ATOMIC_RELEASE);
	u->in_flight++;
	u->queued++;
	return 0;
}

int uring_read(struct uring *u, struct uring_op *op, unsigned file,
	       const struct iovec *iov, unsigned niov, uint64_t offset)
{
	struct io_uring_sqe s = { .opcode = IORING_OP_READV,
				  .fd = (int)file,
				  .addr = (uintptr_t)iov,
				  .len = niov,
				  .off = offset };

	return queue(u, &s, op);
}

int uring_write(struct uring *u, struct uring_op *op, unsigned file,
		const struct iovec *iov, unsigned niov, uint64_t offset)
{
	struct io_uring_sqe s = { .opcode = IORING_OP_WRITEV,
				  .fd = (int)file,
				  .addr = (uintptr_t)iov,
				  .len = niov,
				  .off = offset };

	return queue(u, &s, op);
}

int uring_datasync(struct uring *u, struct uring_op *op, unsigned file)
{
	struct io_uring_sqe s = { .opcode = IORING_OP_FSYNC,
				  .fd = (int)file,
				  .fsync_flags = IORING_FSYNC_DATASYNC };

	return queue(u, &s, op);
}

int uring_allocate(struct uring *u, struct uring_op *op, unsigned file,
		   int mode, uint64_t offset, uint64_t bytes)
{
	/* The length stands in the address's place, the mode in the length's.
	 */
	struct io_uring_sqe s = { .opcode = IORING_OP_FALLOCATE,
				  .fd = (int)file,
				  .addr = bytes,
				  .len = (uint32_t)mode,
				  .off = offset };

	return queue(u, &s, op);
}

int uring_submit(struct uring *u, bool wait)
{
	unsigned flags = wait ? IORING_ENTER_GETEVENTS : 0;

	while (u->queued || wait) {
		long n = syscall(SYS_io_uring_enter, u->fd, u->queued,
				 wait ? 1 : 0, flags, NULL, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		u->queued -= (unsigned)n;
		/* It has waited, unless it gave up on some of the queue. */
		wait = wait && u->queued;
	}
	return 0;
}

/* ---- completion ---- */

unsigned uring_reap(struct uring *u)
{
	uint32_t tail = __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE);
	uint32_t head = *u->cq_head;
	unsigned n = 0;

	for (; head != tail; n++) {
		const struct io_uring_cqe *c = &u->cqe[head & u->cq_mask];
		struct uring_op *op = (void *)(uintptr_t)c->user_data;
		int result = c->res;

		/* Its place is the kernel's again before `done` queues more. */
		__atomic_store_n(u->cq_head, ++head, __ATOMIC_RELEASE);
		assert(u->in_flight);
		u->in_flight--;
		op->done(op, result);
	}
	return n;
}
