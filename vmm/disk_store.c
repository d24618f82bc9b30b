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
#include "log.h"
#include "util.h"

static const char *const op_names[] = {
	[DISK_READ] = "read",	  [DISK_WRITE] = "write",
	[DISK_FLUSH] = "flush",	  [DISK_DISCARD] = "discard",
	[DISK_ZEROES] = "zeroes",
};
static_assert(ARRAY_SIZE(op_names) == DISK_OPS, "name them all");

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

/* ---- jobs ---- */

/* The host's fault, which the guest can only hear of as an I/O error. */
static void tell_failure(struct disk_store *s, const char *what, int err)
{
	if (s->told >= LOG_LIMIT_LINES)
		return;
	s->told++;
	log_warn(s->name, "%s: %s%s", what, strerror(-err),
		 s->told == LOG_LIMIT_LINES ? " (no more of this is told)"
					    : "");
}

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
	if (result)
		tell_failure(s, op_names[r->op], result);
	r->done(r, result);
}

static void run(struct job *j, int n)
{
	n = job_go_on(j, n);
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
	if (job_writes(r) && s->flushes.first && !s->flush_runs &&
	    !s->flush_held)
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
	if (result)
		tell_failure(s, op_names[DISK_FLUSH], result);
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
	if (s->flush_runs || s->flush_held || !s->flushes.first ||
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

struct disk_store *disk_store_of(struct disk *d)
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
	struct disk_store *s = disk_store_of(d);

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
	disk_io_commit(disk_store_of(d)->io);
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

bool disk_store_is_busy(const struct disk_store *s)
{
	return s->active || s->waiting.first || s->flushes.first ||
	       s->flush_runs;
}

/* Who drains must not wait for the loop. What failed, the flush tries again. */
static void end_hold(struct disk_store *s)
{
	if (s->settle)
		(void)s->settle(s->settle_ctx);
	s->flush_held = false;
}

static void drain(struct disk *d)
{
	struct disk_store *s = disk_store_of(d);

	s->draining = true;
	pump(s);
	while (disk_store_is_busy(s)) {
		if (s->ready)
			run_ready(s);
		else if (s->in_ring)
			disk_io_wait(s->io, &s->user);
		else if (s->flush_held)
			end_hold(s);
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

void disk_store_release(struct disk_store *s)
{
	_store_locked_(s);

	if (!s->flush_held)
		return;
	s->flush_held = false;
	pump(s);
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
	s->name = c->name;
	s->disk.ops = &store_ops;
	s->disk.bytes = bytes;
	s->layout = l;
	s->io = c->io;
	s->loop = c->loop;
	s->settle = c->settle;
	s->settle_ctx = c->settle_ctx;
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

static void last_done(struct disk_request *r, int result)
{
	*(int *)r->owner = result;
}

int disk_flush_last(struct disk *d)
{
	int result = -EIO;
	struct disk_request r = { .op = DISK_FLUSH,
				  .done = last_done,
				  .owner = &result };

	d->lock = NULL;
	d->idle = NULL;
	submit(d, &r);
	drain(d);
	return result;
}

void disk_destroy(struct disk *d)
{
	struct disk_store *s = d ? disk_store_of(d) : NULL;

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
