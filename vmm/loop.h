/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O thread's loop: epoll over sources, tasks posted by other threads,
 * one-shot timers. Handlers run one after another and never block.
 *
 * Owner: the I/O thread, which calls loop_run; before it runs, the thread that
 * builds the machine. Only loop_post, loop_unpost and loop_quit may be called
 * from any thread; none of them from a signal handler.
 */
#ifndef TINTYPE_LOOP_H
#define TINTYPE_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct epoll_event;

struct loop_source {
	int fd; /* not owned; non-blocking, or read only as far as promised */
	/* May come without cause: a read then gives EAGAIN. */
	void (*ready)(struct loop_source *s, uint32_t events);
	uint32_t events; /* EPOLLIN...; 0 while registered but muted */
	bool added;
};

struct loop_task {
	void (*run)(struct loop_task *t);
	struct loop_task *next; /* private to loop.c */
	bool queued;		/* private to loop.c */
};

struct loop_timer {
	void (*expired)(struct loop_timer *t);
	struct loop *loop;	 /* private to loop.c, as all below */
	struct loop_timer *next; /* while armed: expires later */
	uint64_t at_ns;		 /* CLOCK_MONOTONIC; 0: not armed */
};

struct loop {
	int epoll_fd;
	struct loop_source wake; /* an eventfd */
	pthread_mutex_t lock;	 /* guards the task list and `awake` */
	struct loop_task *first, **last;
	struct loop_timer *timers; /* those armed, the earliest first */
	struct epoll_event *batch; /* being handled; private to loop.c */
	int nbatch;
	bool awake; /* it will look at the list before it next sleeps */
	atomic_bool quit;
};

int loop_init(struct loop *l);	/* 0 or -errno; then loop_fini is allowed too */
void loop_fini(struct loop *l); /* queued tasks are dropped */

/*
 * Registers `s` (epoll; level triggered, unless EPOLLET is among them) with
 * s->events: 0, or -EPERM for a regular file, or -errno; or changes what it
 * waits for (0 mutes it: not even a hang-up is reported); or takes it out.
 * loop_del of one never added does nothing. A source may be deleted, and its
 * memory freed, from its own handler; another one may be deleted at once, but
 * freed only by a posted task.
 */
int loop_add(struct loop *l, struct loop_source *s);
int loop_set_events(struct loop *l, struct loop_source *s, uint32_t events);
void loop_del(struct loop *l, struct loop_source *s);

/* Runs `t` once, soon, in the I/O thread, after the handlers of the events at
 * hand. Posting a task that is queued already does nothing. Any thread. */
void loop_post(struct loop *l, struct loop_task *t);

/* Takes `t` out of the queue. On the I/O thread its memory may be freed then;
 * elsewhere it may be running this moment. */
void loop_unpost(struct loop *l, struct loop_task *t);

/*
 * Makes a timer; arms it to expire once, never early, or disarms it with 0;
 * ends it. Arming asks the kernel for nothing. Expired timers are called after
 * the events at hand, in the order of their times; any handler may set or end
 * any timer, also its own, and free its memory then. One that was disarmed or
 * set anew before it was called is not called. loop_timer_fini is allowed
 * twice, and on a zeroed timer.
 */
void loop_timer_init(struct loop *l, struct loop_timer *t,
		     void (*expired)(struct loop_timer *t));
void loop_timer_set(struct loop_timer *t, uint64_t after_ns);
void loop_timer_fini(struct loop *l, struct loop_timer *t);

/* Until loop_quit, which also ends a loop_run that is still to come, once. 0,
 * or -errno when epoll itself fails. */
int loop_run(struct loop *l);
void loop_quit(struct loop *l);

/* One round of loop_run: waits at most `timeout_ms` (-1: without limit), then
 * handles what is ready, the timers that expired and the tasks that were
 * queued. */
int loop_step(struct loop *l, int timeout_ms);

#endif
