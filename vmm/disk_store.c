/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all disks do alike: jobs, their order, flush, drain.
 *
 *   submit ──► waiting ──► active ──────────────► done
 *                 ▲         │  ▲ the operation     (of its layout's parts
 *                 │         ▼  │ has ended          the last is over)
 *              no job     in the ring,
 *              is free,   or ready (it gave way)
 *              or it has
 *              to wait
 *
 * The first that has to wait keeps back all that came later, so that none
 * starves. A job has at most one operation on its way, so the pool of jobs
 * bounds what the ring must hold. What is over at once never leaves `run`: the
 * stack does not grow with the number of requests (`pumping`).
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "disk_impl.h"
#include "util.h"

static const uint8_t zeroes[65536];

static void op_done(struct disk_io_op *op, int result);

static void list_init(struct request_list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static void list_add(struct request_list *l, struct disk_request *r)
{
	r->next = NULL;
	*l->last = r;
	l->last = &r->next;
}

static struct disk_request *list_take(struct request_list *l)
{
	struct disk_request *r = l->first;

	l->first = r->next;
	if (!l->first)
		l->last = &l->first;
	return r;
}

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

/* ---- jobs ---- */

static void end_job(struct job *j, int result)
{
	struct disk_store *s = j->store;
	struct disk_request *r = j->r;

	*j->link = j->next;
	if (j->next)
		j->next->link = j->link;
	s->writing -= job_writes(r);
	j->r = NULL;
	j->next = s->free;
	s->free = j;
	r->done(r, result);
}

static int next_part(struct job *j)
{
	int err;

	j->part = (struct part){ .fd = -1, .old_fd = -1 };
	err = j->store->layout->part(j);
	return err ? end_part(j, err) : enter(j);
}

/* Goes on after an operation that has ended with `n`: the job's result, or
 * DISK_IO_PENDING. Zeroing gives way after each part: it may be long. */
static int go_on(struct job *j, int n)
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

static void run(struct job *j, int n)
{
	n = go_on(j, n);
	if (n != DISK_IO_PENDING)
		end_job(j, n);
}

/* ---- order ---- */

static uint64_t first_block(const struct disk_request *r)
{
	return r->offset >> PAGE_SHIFT;
}

static uint64_t last_block(const struct disk_request *r)
{
	return (r->offset + r->bytes - 1) >> PAGE_SHIFT;
}

static bool must_wait(const struct disk_store *s, const struct disk_request *r)
{
	if (!s->free && s->used == s->njobs)
		return true;
	if (!s->layout->ordered)
		return false;
	/* A flush waits for writes to end; they must not go on for ever. */
	if (job_writes(r) && s->flushes.first && !s->flush_runs)
		return true;
	for (const struct job *j = s->active; j; j = j->next)
		if ((job_writes(r) || job_writes(j->r)) &&
		    first_block(r) <= last_block(j->r) &&
		    first_block(j->r) <= last_block(r))
			return true;
	return false;
}

/* One that was never used has not been touched yet: memory is taken as it is
 * needed. */
static struct job *take_job(struct disk_store *s)
{
	struct job *j = s->free;

	if (j) {
		s->free = j->next;
		return j;
	}
	j = &s->jobs[s->used];
	j->store = s;
	j->op.user = &s->user;
	j->op.done = op_done;
	j->bounce = s->bounces + s->used * PAGE_BYTES;
	s->used++;
	return j;
}

static void start_job(struct disk_store *s, struct disk_request *r)
{
	struct job *j = take_job(s);

	j->r = r;
	j->stage = JOB_NEXT;
	j->begun = false;
	j->done = 0;
	j->iov = 0;
	j->iov_at = 0;
	j->next = s->active;
	j->link = &s->active;
	if (j->next)
		j->next->link = &j->next;
	s->active = j;
	s->writing += job_writes(r);
	run(j, 0);
}

/* ---- flush ---- */

static void end_flush(struct disk_store *s, int result)
{
	struct request_list all = s->flushing;

	list_init(&s->flushing);
	s->flush_runs = false;
	while (all.first) {
		struct disk_request *r = list_take(&all);

		r->done(r, result);
	}
}

static void step_flush(struct disk_store *s, int result)
{
	int n = s->layout->flush_step(s, result);

	while (n == 1) {
		s->sync.kind = DISK_IO_SYNC;
		s->sync.fd = s->fd;
		result = disk_io_start(s->io, &s->sync);
		if (result == DISK_IO_PENDING) {
			s->in_ring++;
			return;
		}
		n = s->layout->flush_step(s, result);
	}
	end_flush(s, n);
}

/* One flush for all that wait for one. */
static bool start_flush(struct disk_store *s)
{
	if (s->flush_runs || !s->flushes.first ||
	    (s->layout->ordered && s->writing))
		return false;
	s->flushing = s->flushes;
	list_init(&s->flushes);
	s->flush_runs = true;
	step_flush(s, 0);
	return true;
}

/* ---- the disk's operations ---- */

static void pump(struct disk_store *s)
{
	if (s->pumping)
		return;
	s->pumping = true;
	do {
		while (s->waiting.first && !must_wait(s, s->waiting.first))
			start_job(s, list_take(&s->waiting));
	} while (start_flush(s));
	s->pumping = false;
}

static struct disk_store *store_of(struct disk *d)
{
	return container_of(d, struct disk_store, disk);
}

/* What the device has checked, once more: beyond this point offsets are
 * trusted. */
static bool is_sound(const struct disk_store *s, const struct disk_request *r)
{
	return r->op == DISK_FLUSH ||
	       (r->bytes && (r->offset | r->bytes) % DISK_SECTOR_BYTES == 0 &&
		range_within(r->offset, r->bytes, s->disk.bytes));
}

static void submit(struct disk *d, struct disk_request *r)
{
	struct disk_store *s = store_of(d);

	if (!is_sound(s, r))
		r->done(r, -EINVAL);
	else if (job_writes(r) && d->read_only)
		r->done(r, -EROFS);
	else
		list_add(r->op == DISK_FLUSH ? &s->flushes : &s->waiting, r);
	pump(s);
}

static void commit(struct disk *d)
{
	disk_io_commit(store_of(d)->io);
}

static void run_ready(struct disk_store *s)
{
	struct job *j = s->ready;

	s->ready = NULL;
	s->ready_last = &s->ready;
	while (j) {
		struct job *next = j->next_ready;

		run(j, 0);
		j = next;
	}
	pump(s);
}

static bool is_busy(const struct disk_store *s)
{
	return s->active || s->waiting.first || s->flushes.first ||
	       s->flush_runs;
}

static void drain(struct disk *d)
{
	struct disk_store *s = store_of(d);

	s->draining = true;
	pump(s);
	while (is_busy(s)) {
		if (s->ready)
			run_ready(s);
		else if (s->in_ring)
			disk_io_wait(s->io, &s->user);
		pump(s);
	}
	s->draining = false;
	if (s->user.touched && d->idle) {
		s->user.touched = false;
		d->idle(d);
	}
}

static const struct disk_ops store_ops = {
	.submit = submit,
	.commit = commit,
	.drain = drain,
};

/* ---- called by the engine and the loop ---- */

/* The lock of a drain is held already. */
static pthread_mutex_t *taken(struct disk_store *s)
{
	if (s->draining || !s->disk.lock)
		return NULL;
	return lock_taken(s->disk.lock);
}

#define _store_locked_(s)                                                      \
	__attribute__((cleanup(cleanup_unlock), unused))                       \
	pthread_mutex_t *store_locked = taken(s)

static void op_done(struct disk_io_op *op, int result)
{
	struct job *j = container_of(op, struct job, op);
	struct disk_store *s = j->store;
	_store_locked_(s);

	s->in_ring--;
	run(j, result);
	pump(s);
}

static void sync_done(struct disk_io_op *op, int result)
{
	struct disk_store *s = container_of(op, struct disk_store, sync);
	_store_locked_(s);

	s->in_ring--;
	step_flush(s, result);
	pump(s);
}

static void settle(struct disk_io_user *u)
{
	struct disk_store *s = container_of(u, struct disk_store, user);
	_store_locked_(s);

	if (s->disk.idle)
		s->disk.idle(&s->disk);
}

static void on_task(struct loop_task *t)
{
	struct disk_store *s = container_of(t, struct disk_store, task);
	_store_locked_(s);

	run_ready(s);
	commit(&s->disk);
	if (s->disk.idle)
		s->disk.idle(&s->disk);
}

/* ---- made, gone ---- */

static int make_jobs(struct disk_store *s, unsigned n)
{
	s->njobs = n;
	s->jobs = calloc(n, sizeof(*s->jobs));
	s->bounces = malloc(n * PAGE_BYTES);
	if (!s->jobs || !s->bounces)
		return -ENOMEM;
	return 0;
}

struct disk_store *disk_store_create(const struct disk_store_config *c,
				     const struct disk_layout *l,
				     uint64_t bytes)
{
	struct disk_store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->disk.ops = &store_ops;
	s->disk.bytes = bytes;
	s->layout = l;
	s->io = c->io;
	s->loop = c->loop;
	s->task.run = on_task;
	s->ready_last = &s->ready;
	s->fd = -1;
	list_init(&s->waiting);
	list_init(&s->flushes);
	list_init(&s->flushing);
	s->sync.done = sync_done;
	s->sync.user = &s->user;
	s->user.settle = settle;
	disk_io_add_user(s->io, &s->user);
	/* One place in the ring is the flush's. */
	assert(c->disks && c->disks <= DISK_STORES_MAX);
	if (make_jobs(s, DISK_IO_DEPTH / c->disks - 1)) {
		disk_destroy(&s->disk);
		return NULL;
	}
	return s;
}

void disk_destroy(struct disk *d)
{
	struct disk_store *s = d ? store_of(d) : NULL;

	if (!s)
		return;
	assert(!s->in_ring);
	loop_unpost(s->loop, &s->task);
	disk_io_remove_user(s->io, &s->user);
	if (s->layout->destroy)
		s->layout->destroy(s);
	free(s->bounces);
	free(s->jobs);
	free(s);
}
