/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O thread's loop: epoll over sources, tasks posted by other threads,
 * one-shot timers. Handlers run one after another and never block.
 *
 * Owner: the I/O thread, which calls loop_run. Only loop_post and loop_quit
 * may be called from any thread (loop_quit from a handler too).
 */
#ifndef TINTYPE_LOOP_H
#define TINTYPE_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct loop_source {
	int fd; /* not owned */
	void (*ready)(struct loop_source *s, uint32_t events);
	uint32_t events; /* EPOLLIN...; 0 while registered but muted */
	bool added;
};

struct loop_task {
	void (*run)(struct loop_task *t);
	struct loop_task *next; /* private to loop.c */
	bool queued;            /* private to loop.c */
};

struct loop_timer {
	void (*expired)(struct loop_timer *t);
	struct loop_source source; /* private: a timerfd, -1 until first used */
};

struct loop {
	int epoll_fd;
	struct loop_source wake; /* an eventfd */
	pthread_mutex_t lock;    /* guards the task list */
	struct loop_task *first, **last;
	atomic_bool quit;
};

int loop_init(struct loop *l); /* 0 or -errno */
void loop_fini(struct loop *l);

/* Registers `s` (epoll, level triggered) with s->events; or changes what it
 * waits for; or takes it out. loop_del of one never added does nothing. A
 * source may be deleted, and its memory freed, from its own handler; freeing
 * another source from a handler must go through a posted task. */
int loop_add(struct loop *l, struct loop_source *s);
void loop_set_events(struct loop *l, struct loop_source *s, uint32_t events);
void loop_del(struct loop *l, struct loop_source *s);

/* Runs `t` once, soon, in the I/O thread. Posting a task that is queued
 * already does nothing. Any thread. */
void loop_post(struct loop *l, struct loop_task *t);

/* Creates the timer's fd (before the sandbox is closed); then arms it to
 * expire once, or disarms it with 0. */
int loop_timer_init(struct loop *l, struct loop_timer *t,
		    void (*expired)(struct loop_timer *t));
void loop_timer_set(struct loop_timer *t, uint64_t after_ns);
void loop_timer_fini(struct loop *l, struct loop_timer *t);

/* Until loop_quit. 0 or -errno when epoll itself fails. */
int loop_run(struct loop *l);
void loop_quit(struct loop *l);

#endif
