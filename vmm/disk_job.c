/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request, carried out part by part:
 *
 *   NEXT ─ the layout names a part ─► MOVE ───────────┐ operations until all
 *    ▲                            ├─► OLD ─► WHOLE ───┤ of it is done: what
 *    │                            ├─► ALLOCATE ───────┤ came short goes on
 *    │                            └─► (done at once) ─┤
 *    └────────────────────────────────────────────────┘ until no byte is left
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "disk_impl.h"
#include "util.h"

static const uint8_t zeroes[65536];

/* ---- guest memory ---- */

static void skip(struct job *j, size_t n)
{
	const struct disk_request *r = j->r;

	j->done += n;
	while (!job_zeroes(r) && n) {
		size_t left = r->iov[j->iov].iov_len - j->iov_at;

		if (n < left) {
			j->iov_at += n;
			return;
		}
		n -= left;
		j->iov++;
		j->iov_at = 0;
	}
}

/* The next bytes, at most `max`, as the operation's iov. */
static void lend(struct job *j, uint64_t max)
{
	struct disk_io_op *op = &j->op;
	const struct disk_request *r = j->r;
	unsigned i = j->iov;
	size_t at = j->iov_at;

	assert(max);
	for (op->niov = 0, op->bytes = 0;
	     op->niov < DISK_IO_IOVS && op->bytes < max; at = 0, i++) {
		size_t room, n;

		assert(job_zeroes(r) || i < r->niov);
		room = job_zeroes(r) ? sizeof(zeroes) : r->iov[i].iov_len - at;
		n = (size_t)MIN(room, max - op->bytes);
		/* Written from only. */
		void *p = job_zeroes(r) ? (void *)(uintptr_t)zeroes
					: (char *)r->iov[i].iov_base + at;

		if (!n)
			continue;
		op->iov[op->niov++] = (struct iovec){ p, n };
		op->bytes += n;
	}
}

enum direction { TO_GUEST, FROM_GUEST };

/* Between the bounce and guest memory; NULL: zeroes. */
static void copy(struct job *j, enum direction d, uint8_t *p, uint64_t n)
{
	while (n) {
		lend(j, n);
		for (unsigned i = 0; i < j->op.niov; i++) {
			const struct iovec *v = &j->op.iov[i];

			if (!p)
				memset(v->iov_base, 0, v->iov_len);
			else if (d == TO_GUEST)
				memcpy(v->iov_base, p, v->iov_len);
			else
				memcpy(p, v->iov_base, v->iov_len);
			p = p ? p + v->iov_len : NULL;
		}
		n -= j->op.bytes;
		skip(j, j->op.bytes);
	}
}

/* ---- operations of a job ---- */

static int start(struct job *j, enum disk_io_kind kind, int fd, uint64_t at)
{
	int n;

	j->op.kind = kind;
	j->op.fd = fd;
	j->op.offset = at;
	n = disk_io_start(j->store->io, &j->op);
	j->in_ring = n == DISK_IO_PENDING;
	j->store->in_ring += j->in_ring;
	return n;
}

static int start_bounce(struct job *j, enum disk_io_kind kind, int fd,
			uint64_t at, uint64_t bytes)
{
	const struct part *p = &j->part;

	j->op.niov = 1;
	j->op.bytes = bytes - p->moved;
	j->op.iov[0] = (struct iovec){ j->bounce + p->moved, j->op.bytes };
	return start(j, kind, fd, at + p->moved);
}

static int start_move(struct job *j)
{
	const struct part *p = &j->part;

	lend(j, p->bytes - p->moved);
	return start(j, j->r->op == DISK_READ ? DISK_IO_READ : DISK_IO_WRITE,
		     p->fd, p->at + p->moved);
}

static int end_part(struct job *j, int err)
{
	int end = 0;

	if (j->begun) {
		j->begun = false;
		end = j->store->layout->part_end(j, err);
	}
	j->stage = JOB_NEXT;
	if (end == -EAGAIN)
		return 0;
	return err ? err : end;
}

/* The new bytes into the old block. */
static void merge(struct job *j)
{
	const struct part *p = &j->part;

	if (job_zeroes(j->r)) {
		memset(j->bounce + p->inside, 0, p->bytes);
		skip(j, p->bytes);
	} else {
		copy(j, FROM_GUEST, j->bounce + p->inside, p->bytes);
	}
}

/* The operation of this stage has ended with `n`. 0 or -errno. */
static int take(struct job *j, int n)
{
	struct part *p = &j->part;

	if (j->stage == JOB_NEXT)
		return 0;
	if (j->stage == JOB_ALLOCATE) {
		if (!n)
			skip(j, p->bytes);
		return end_part(j, n);
	}
	/* A file that ends before the disk does has been cut off. */
	if (n <= 0)
		return end_part(j, n ? n : -EIO);
	p->moved += (uint64_t)n;
	switch (j->stage) {
	case JOB_MOVE:
		skip(j, (size_t)n);
		return p->moved == p->bytes ? end_part(j, 0) : 0;
	case JOB_OLD:
		if (p->moved < p->old_bytes)
			return 0;
		merge(j);
		p->moved = 0;
		j->stage = JOB_WHOLE;
		return 0;
	case JOB_WHOLE:
		return p->moved == PAGE_BYTES ? end_part(j, 0) : 0;
	case JOB_NEXT:
	case JOB_ALLOCATE:
		break;
	}
	return -EINVAL;
}

static void give_way(struct job *j)
{
	struct disk_store *s = j->store;

	j->next_ready = NULL;
	*s->ready_last = j;
	s->ready_last = &j->next_ready;
	loop_post(s->loop, &s->task);
}

/* Enters the part that the layout has named. */
static int enter(struct job *j)
{
	struct part *p = &j->part;

	switch (p->kind) {
	case PART_FILL:
		copy(j, TO_GUEST, NULL, p->bytes);
		return end_part(j, 0);
	case PART_COPY:
		copy(j, TO_GUEST, j->bounce + p->inside, p->bytes);
		return end_part(j, 0);
	case PART_DONE:
		skip(j, p->bytes);
		return end_part(j, 0);
	case PART_MOVE:
		j->stage = JOB_MOVE;
		return 0;
	case PART_ALLOCATE:
		j->stage = JOB_ALLOCATE;
		return 0;
	case PART_MERGE:
		j->stage = JOB_OLD;
		if (!p->old_bytes) {
			merge(j);
			j->stage = JOB_WHOLE;
		}
		return 0;
	}
	return -EINVAL;
}

/* Begins the operation of this stage: as disk_io_start; 0 when it has none. */
static int begin(struct job *j)
{
	const struct part *p = &j->part;

	switch (j->stage) {
	case JOB_MOVE:
		return start_move(j);
	case JOB_OLD:
		return start_bounce(j, DISK_IO_READ, p->old_fd, p->old_at,
				    p->old_bytes);
	case JOB_WHOLE:
		return start_bounce(j, DISK_IO_WRITE, p->fd, p->at, PAGE_BYTES);
	case JOB_ALLOCATE:
		j->op.bytes = p->bytes;
		return start(j, p->allocate, p->fd, p->at);
	case JOB_NEXT:
		break;
	}
	return 0;
}

static int next_part(struct job *j)
{
	int err;

	j->part = (struct part){ .fd = -1, .old_fd = -1 };
	err = j->store->layout->part(j);
	return err ? end_part(j, err) : enter(j);
}

/* Zeroing gives way after each part: it may be long. */
int job_go_on(struct job *j, int n)
{
	bool fresh = j->stage == JOB_NEXT;

	for (n = take(j, n); n >= 0;) {
		if (j->stage != JOB_NEXT) {
			n = begin(j);
			if (n == DISK_IO_PENDING)
				return n;
			n = take(j, n);
		} else if (j->done == j->r->bytes) {
			return 0;
		} else if (job_zeroes(j->r) && !fresh) {
			give_way(j);
			return DISK_IO_PENDING;
		} else {
			fresh = false;
			n = next_part(j);
		}
	}
	return n;
}
