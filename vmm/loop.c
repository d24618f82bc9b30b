/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A posted task is never lost and costs an eventfd write only when the loop
 * sleeps. A timer is a number in a list: the loop sleeps until the first.
 *
 * `awake` is true from the moment somebody decided to wake the loop until it
 * has seen, under the lock, that the list is empty and goes to sleep. A post
 * that finds it true only links its task: the loop looks again before it
 * sleeps. Tasks run after the events of a round, not between them, so that a
 * task may free a source whose event was in the same round.
 */
#include "loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "fdio.h"
#include "util.h"

#define LOOP_BATCH 16
#define SECOND_NS  UINT64_C(1000000000)

static void woken(struct loop_source *s, uint32_t events)
{
	/* By edge: each write is an event, and nobody has to read it. */
}

int loop_init(struct loop *l)
{
	memset(l, 0, sizeof(*l));
	pthread_mutex_init(&l->lock, NULL);
	l->last = &l->first;
	l->awake = true;
	l->wake =
	    (struct loop_source){ .ready = woken, .events = EPOLLIN | EPOLLET };
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll_fd < 0 || l->wake.fd < 0)
		return -errno;
	return loop_add(l, &l->wake);
}

void loop_fini(struct loop *l)
{
	if (l->wake.fd >= 0)
		close(l->wake.fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	l->wake.fd = l->epoll_fd = -1;
	pthread_mutex_destroy(&l->lock);
}

static int control(struct loop *l, int op, struct loop_source *s,
		   uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	return epoll_ctl(l->epoll_fd, op, s->fd, &ev) ? -errno : 0;
}

int loop_add(struct loop *l, struct loop_source *s)
{
	int r = control(l, EPOLL_CTL_ADD, s, s->events);

	if (r)
		return r;
	s->added = true;
	if (s->events == 0)
		control(l, EPOLL_CTL_DEL, s, 0);
	return 0;
}

int loop_set_events(struct loop *l, struct loop_source *s, uint32_t events)
{
	int op = EPOLL_CTL_MOD;
	int r;

	if (!s->added || s->events == events)
		return 0;
	/* Muted means out of epoll: with no event asked for it would still
	 * report EPOLLHUP and EPOLLERR, for ever. */
	if (events == 0)
		op = EPOLL_CTL_DEL;
	else if (s->events == 0)
		op = EPOLL_CTL_ADD;
	r = control(l, op, s, events);
	if (r == 0)
		s->events = events;
	return r;
}

void loop_del(struct loop *l, struct loop_source *s)
{
	if (s->added && s->events)
		control(l, EPOLL_CTL_DEL, s, 0);
	s->added = false;
	/* Its memory may be used anew before this round's events are through.
	 */
	for (int i = 0; i < l->nbatch; i++)
		if (l->batch[i].data.ptr == s)
			l->batch[i].data.ptr = NULL;
}

/* The lock is held; true when the caller has to write to the eventfd, which
 * it does after the unlock. */
static bool must_wake(struct loop *l)
{
	bool asleep = !l->awake;

	l->awake = true;
	return asleep;
}

static void wake_up(struct loop *l)
{
	const uint64_t one = 1;

	/* It can only fail when the counter is full: then it wakes anyway. */
	if (fd_write(l->wake.fd, &one, sizeof(one)) < 0)
		return;
}

void loop_post(struct loop *l, struct loop_task *t)
{
	bool wake = false;

	pthread_mutex_lock(&l->lock);
	if (!t->queued) {
		t->queued = true;
		t->next = NULL;
		*l->last = t;
		l->last = &t->next;
		wake = must_wake(l);
	}
	pthread_mutex_unlock(&l->lock);
	if (wake)
		wake_up(l);
}

void loop_unpost(struct loop *l, struct loop_task *t)
{
	_locked_(&l->lock);

	if (!t->queued)
		return;
	for (struct loop_task **p = &l->first; *p; p = &(*p)->next) {
		if (*p != t)
			continue;
		*p = t->next;
		if (l->last == &t->next)
			l->last = p;
		break;
	}
	t->queued = false;
}

static struct loop_task *pop(struct loop *l)
{
	struct loop_task *t;
	_locked_(&l->lock);

	t = l->first;
	if (!t)
		return NULL;
	l->first = t->next;
	if (!l->first)
		l->last = &l->first;
	t->queued = false;
	return t;
}

static unsigned queued(struct loop *l)
{
	unsigned n = 0;
	_locked_(&l->lock);

	for (struct loop_task *t = l->first; t; t = t->next)
		n++;
	return n;
}

/* As many tasks as there are now: one that posts itself again waits for the
 * next round, so that events get their turn. */
static void run_tasks(struct loop *l)
{
	struct loop_task *t;

	for (unsigned n = queued(l); n > 0 && (t = pop(l)); n--)
		t->run(t);
}

/* Whether the loop may sleep; from then on a post has to wake it. */
static bool may_sleep(struct loop *l)
{
	_locked_(&l->lock);

	l->awake = l->first || atomic_load(&l->quit);
	return !l->awake;
}

/* ---- timers ---- */

static void disarm(struct loop_timer *t)
{
	struct loop_timer **p;

	if (t->at_ns == 0)
		return;
	for (p = &t->loop->timers; *p != t; p = &(*p)->next)
		;
	*p = t->next;
	t->at_ns = 0;
}

/* One that a handler sets now expires after `now`, in a later round. */
static void run_timers(struct loop *l)
{
	uint64_t now = l->timers ? now_ns() : 0;

	while (l->timers && l->timers->at_ns <= now) {
		struct loop_timer *t = l->timers;

		disarm(t);
		t->expired(t);
	}
}

/* The kernel may end a wait late by a thousandth of it, and 100 ms at most: a
 * long one is cut in two, so that no timer is late by more than a ms. */
static uint64_t until_first_timer(const struct loop *l)
{
	uint64_t now = now_ns(), at = l->timers->at_ns;
	uint64_t left = at > now ? at - now : 0;

	return left > SECOND_NS ? left - SECOND_NS / 2 : left;
}

void loop_timer_init(struct loop *l, struct loop_timer *t,
		     void (*expired)(struct loop_timer *t))
{
	*t = (struct loop_timer){ .expired = expired, .loop = l };
}

void loop_timer_set(struct loop_timer *t, uint64_t after_ns)
{
	struct loop_timer **p;
	uint64_t now;

	disarm(t);
	if (after_ns == 0)
		return;
	now = now_ns();
	t->at_ns = now + MIN(after_ns, UINT64_MAX - now);
	for (p = &t->loop->timers; *p && (*p)->at_ns <= t->at_ns;)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
}

void loop_timer_fini(struct loop *l, struct loop_timer *t)
{
	disarm(t);
}

/* ---- rounds ---- */

/* Until something happens, at most timeout_ms and until the first timer. */
static int wait_for_events(struct loop *l, struct epoll_event ev[LOOP_BATCH],
			   int timeout_ms)
{
	uint64_t ns = UINT64_MAX;
	struct timespec t;

	if (timeout_ms >= 0)
		ns = (uint64_t)timeout_ms * 1000000;
	if (ns && l->timers)
		ns = MIN(ns, until_first_timer(l));
	t = (struct timespec){ .tv_sec = (time_t)(ns / SECOND_NS),
			       .tv_nsec = (long)(ns % SECOND_NS) };
	return epoll_pwait2(l->epoll_fd, ev, LOOP_BATCH,
			    ns == UINT64_MAX ? NULL : &t, NULL);
}

int loop_step(struct loop *l, int timeout_ms)
{
	struct epoll_event ev[LOOP_BATCH];
	int n;

	n = wait_for_events(l, ev, may_sleep(l) ? timeout_ms : 0);
	if (n < 0 && errno != EINTR)
		return -errno;
	pthread_mutex_lock(&l->lock);
	l->awake = true;
	pthread_mutex_unlock(&l->lock);
	l->batch = ev;
	l->nbatch = MAX(n, 0);
	for (int i = 0; i < l->nbatch; i++) {
		struct loop_source *s = ev[i].data.ptr;

		/* An earlier handler may have deleted or muted it. */
		if (s && s->events)
			s->ready(s, ev[i].events);
	}
	l->nbatch = 0;
	run_timers(l);
	run_tasks(l);
	return 0;
}

int loop_run(struct loop *l)
{
	int r = 0;

	while (r == 0 && !atomic_exchange(&l->quit, false))
		r = loop_step(l, -1);
	return r;
}

void loop_quit(struct loop *l)
{
	bool wake;

	pthread_mutex_lock(&l->lock);
	atomic_store(&l->quit, true);
	wake = must_wake(l);
	pthread_mutex_unlock(&l->lock);
	if (wake)
		wake_up(l);
}
