/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: sources, tasks from other threads, timers, and their ends. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "loop.h"
#include "util.h"

static struct loop loop;

static void setup(void)
{
	cr_assert_eq(loop_init(&loop), 0);
}

static void teardown(void)
{
	loop_fini(&loop);
}

TestSuite(loop, .init = setup, .fini = teardown);

struct end {
	struct loop_source s;
	int other; /* the pipe's write end */
	unsigned calls;
	uint32_t events;
	struct end *victim; /* deleted by the handler */
	int reuse_fd;	    /* not 0: and added again with this fd */
	bool mute, leave;
};

static void end_ready(struct loop_source *s, uint32_t events)
{
	struct end *e = container_of(s, struct end, s);
	char c;

	e->calls++;
	e->events = events;
	if (events & EPOLLIN)
		cr_assert_eq(read(s->fd, &c, 1), 1);
	if (e->victim)
		loop_del(&loop, &e->victim->s);
	if (e->victim && e->reuse_fd) {
		e->victim->s.fd = e->reuse_fd;
		cr_assert_eq(loop_add(&loop, &e->victim->s), 0);
	}
	if (e->mute)
		loop_set_events(&loop, s, 0);
	if (e->leave)
		loop_quit(&loop);
}

static void end_open(struct end *e)
{
	int fd[2];

	cr_assert_eq(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
	*e = (struct end){
		.s = { .fd = fd[0], .ready = end_ready, .events = EPOLLIN },
		.other = fd[1],
	};
	cr_assert_eq(loop_add(&loop, &e->s), 0);
}

static void poke(struct end *e)
{
	cr_assert_eq(write(e->other, "x", 1), 1);
}

Test(loop, source_is_called_while_there_is_something_to_read)
{
	struct end e;

	end_open(&e);
	loop_step(&loop, 0);
	cr_assert_eq(e.calls, 0);
	poke(&e);
	poke(&e);
	loop_step(&loop, -1);
	loop_step(&loop, -1);
	loop_step(&loop, 0);
	cr_assert_eq(e.calls, 2);
}

Test(loop, muted_source_is_silent_even_when_hung_up)
{
	struct end e;

	end_open(&e);
	cr_assert_eq(loop_set_events(&loop, &e.s, 0), 0);
	poke(&e);
	close(e.other);
	loop_step(&loop, 0);
	cr_assert_eq(e.calls, 0);
	cr_assert_eq(loop_set_events(&loop, &e.s, EPOLLIN), 0);
	loop_step(&loop, -1);
	cr_assert_eq(e.calls, 1);
	cr_assert(e.events & EPOLLHUP);
}

Test(loop, source_added_muted_starts_silent)
{
	struct end e;

	end_open(&e);
	loop_del(&loop, &e.s);
	e.s.events = 0;
	cr_assert_eq(loop_add(&loop, &e.s), 0);
	poke(&e);
	loop_step(&loop, 0);
	cr_assert_eq(e.calls, 0);
	loop_set_events(&loop, &e.s, EPOLLIN);
	loop_step(&loop, -1);
	cr_assert_eq(e.calls, 1);
}

Test(loop, source_deleted_by_another_handler_is_not_called)
{
	struct end a, b;

	end_open(&a);
	end_open(&b);
	a.victim = &b;
	b.victim = &a;
	poke(&a);
	poke(&b);
	loop_step(&loop, -1);
	loop_step(&loop, 0);
	cr_assert_eq(a.calls + b.calls, 1);
}

Test(loop, source_that_mutes_itself_is_called_once)
{
	struct end e;

	end_open(&e);
	e.mute = true;
	poke(&e);
	poke(&e);
	loop_step(&loop, -1);
	loop_step(&loop, 0);
	cr_assert_eq(e.calls, 1);
}

Test(loop, del_of_a_source_never_added_does_nothing)
{
	struct loop_source s = { .fd = -1 };

	loop_del(&loop, &s);
	cr_assert_eq(loop_set_events(&loop, &s, EPOLLIN), 0);
}

Test(loop, regular_file_is_refused)
{
	FILE *f = tmpfile();
	struct loop_source s = { .fd = fileno(f), .events = EPOLLIN };

	cr_assert_eq(loop_add(&loop, &s), -EPERM);
	cr_assert(!s.added);
	fclose(f);
}

struct job {
	struct loop_task t;
	unsigned runs, want, order;
};

static unsigned clock_tick;

static void job_run(struct loop_task *t)
{
	struct job *j = container_of(t, struct job, t);

	j->order = ++clock_tick;
	if (++j->runs < j->want)
		loop_post(&loop, t);
}

Test(loop, task_runs_once_however_often_it_was_posted)
{
	struct job a = { .t.run = job_run }, b = { .t.run = job_run };

	loop_post(&loop, &a.t);
	loop_post(&loop, &b.t);
	loop_post(&loop, &a.t);
	loop_step(&loop, -1);
	loop_step(&loop, 0);
	cr_assert_eq(a.runs, 1);
	cr_assert_eq(b.runs, 1);
	cr_assert_lt(a.order, b.order);
	loop_post(&loop, &a.t);
	loop_step(&loop, -1);
	cr_assert_eq(a.runs, 2);
}

Test(loop, task_that_posts_itself_leaves_room_for_events)
{
	struct job a = { .t.run = job_run, .want = 1000 };
	struct end e;

	end_open(&e);
	poke(&e);
	loop_post(&loop, &a.t);
	loop_step(&loop, -1);
	loop_step(&loop, -1);
	cr_assert_eq(a.runs, 2);
	cr_assert_eq(e.calls, 1);
}

Test(loop, task_taken_back_does_not_run)
{
	struct job a = { .t.run = job_run }, b = a, c = a;

	loop_post(&loop, &a.t);
	loop_post(&loop, &b.t);
	loop_unpost(&loop, &b.t);
	loop_unpost(&loop, &b.t);
	loop_post(&loop, &c.t);
	loop_unpost(&loop, &a.t);
	loop_step(&loop, -1);
	cr_assert_eq(a.runs + b.runs, 0);
	cr_assert_eq(c.runs, 1);
	loop_post(&loop, &b.t);
	loop_step(&loop, -1);
	cr_assert_eq(b.runs, 1);
}

#define POSTS 20000

struct ping {
	struct loop_task t;
	atomic_uint posted, seen;
};

static void ping_run(struct loop_task *t)
{
	struct ping *p = container_of(t, struct ping, t);

	atomic_store(&p->seen, atomic_load(&p->posted));
	if (atomic_load(&p->seen) == POSTS)
		loop_quit(&loop);
}

static void *post_many(void *arg)
{
	struct ping *p = arg;

	for (unsigned i = 0; i < POSTS; i++) {
		atomic_fetch_add(&p->posted, 1);
		loop_post(&loop, &p->t);
	}
	return NULL;
}

Test(loop, no_post_of_another_thread_is_lost, .timeout = 60)
{
	struct ping p = { .t.run = ping_run };
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, post_many, &p), 0);
	cr_assert_eq(loop_run(&loop), 0);
	pthread_join(thread, NULL);
	cr_assert_eq(p.seen, POSTS);
}

struct alarm {
	struct loop_timer t;
	unsigned expired;
};

static void alarm_expired(struct loop_timer *t)
{
	container_of(t, struct alarm, t)->expired++;
	loop_quit(&loop);
}

Test(loop, timer_expires_once, .timeout = 60)
{
	struct alarm a = { 0 };

	loop_timer_init(&loop, &a.t, alarm_expired);
	loop_timer_set(&a.t, 1000000);
	cr_assert_eq(loop_run(&loop), 0);
	loop_step(&loop, 5);
	cr_assert_eq(a.expired, 1);
	loop_timer_fini(&loop, &a.t);
	loop_timer_fini(&loop, &a.t);
}

Test(loop, timer_disarmed_when_its_time_is_over_does_not_expire)
{
	struct alarm a = { 0 };

	loop_timer_init(&loop, &a.t, alarm_expired);
	loop_timer_set(&a.t, 1);
	usleep(1000);
	loop_timer_set(&a.t, 0);
	loop_step(&loop, 0);
	cr_assert_eq(a.expired, 0);
	loop_timer_fini(&loop, &a.t);
}

/* Sleeps until the timer, not in shorter and shorter pieces. */
Test(loop, timer_wakes_the_loop_once_and_never_early, .timeout = 60)
{
	const uint64_t after[] = { 1, 1000000, 30000000 };

	for (unsigned i = 0; i < ARRAY_SIZE(after); i++) {
		uint64_t start = now_ns();
		struct alarm a = { 0 };

		loop_timer_init(&loop, &a.t, alarm_expired);
		loop_timer_set(&a.t, after[i]);
		cr_assert_eq(loop_step(&loop, -1), 0);
		cr_assert_eq(a.expired, 1);
		cr_assert_geq(now_ns() - start, after[i]);
		loop_quit(&loop);
		loop_run(&loop);
	}
}

/* A second, and then some: the wait is cut in two. */
Test(loop, long_timer_wakes_the_loop_twice, .timeout = 60)
{
	uint64_t start = now_ns();
	struct alarm a = { 0 };

	loop_timer_init(&loop, &a.t, alarm_expired);
	loop_timer_set(&a.t, 1050000000);
	loop_step(&loop, -1);
	cr_assert_eq(a.expired, 0);
	loop_step(&loop, -1);
	cr_assert_eq(a.expired, 1);
	cr_assert_geq(now_ns() - start, 1050000000);
}

Test(loop, timer_too_far_away_never_expires)
{
	struct alarm a = { 0 }, b = { 0 };

	loop_timer_init(&loop, &a.t, alarm_expired);
	loop_timer_init(&loop, &b.t, alarm_expired);
	loop_timer_set(&a.t, UINT64_MAX);
	loop_timer_set(&b.t, 1);
	loop_step(&loop, -1);
	loop_step(&loop, 1);
	cr_assert_eq(a.expired, 0);
	cr_assert_eq(b.expired, 1);
}

Test(loop, step_waits_for_its_own_limit_where_no_timer_is_earlier)
{
	uint64_t start = now_ns();
	struct alarm a = { 0 };

	loop_timer_init(&loop, &a.t, alarm_expired);
	loop_timer_set(&a.t, UINT64_C(3600000000000));
	loop_step(&loop, 3);
	cr_assert_geq(now_ns() - start, 3000000);
	cr_assert_eq(a.expired, 0);
}

/* Its handler notes when it came, and does one thing to another timer. */
struct hand {
	struct loop_timer t;
	unsigned expired, order;
	struct hand *other;
	enum { LEAVE, SET, DISARM, END_AND_FREE } what;
	uint64_t after_ns; /* of SET */
};

static void hand_expired(struct loop_timer *t)
{
	struct hand *h = container_of(t, struct hand, t);

	h->expired++;
	h->order = ++clock_tick;
	switch (h->what) {
	case LEAVE:
		break;
	case SET:
		loop_timer_set(&h->other->t, h->after_ns);
		break;
	case DISARM:
		loop_timer_set(&h->other->t, 0);
		break;
	case END_AND_FREE:
		loop_timer_fini(&loop, &h->other->t);
		free(h->other);
		break;
	}
}

static struct hand *hand_set(uint64_t after_ns)
{
	struct hand *h = calloc(1, sizeof(*h));

	loop_timer_init(&loop, &h->t, hand_expired);
	loop_timer_set(&h->t, after_ns);
	return h;
}

Test(loop, timers_expire_in_the_order_of_their_times)
{
	static const unsigned after[] = { 5, 3, 9, 1, 7, 2, 8, 4, 6 };
	struct hand *h[ARRAY_SIZE(after)];

	for (unsigned i = 0; i < ARRAY_SIZE(after); i++)
		h[i] = hand_set(after[i] * UINT64_C(1000000));
	usleep(10000);
	loop_step(&loop, -1);
	for (unsigned i = 0; i < ARRAY_SIZE(after); i++) {
		cr_assert_eq(h[i]->expired, 1);
		cr_assert_eq(h[i]->order, after[i]);
		free(h[i]);
	}
}

/* Wherever it stood in the order: first, between others, last. */
Test(loop, timer_set_anew_expires_once_at_its_new_time)
{
	struct hand *h[3];

	for (unsigned i = 0; i < 3; i++) {
		for (unsigned j = 0; j < 3; j++)
			h[j] = hand_set((j + 1) * UINT64_C(1000));
		loop_timer_set(&h[i]->t, UINT64_C(3600000000000));
		usleep(1000);
		loop_step(&loop, 0);
		for (unsigned j = 0; j < 3; j++)
			cr_assert_eq(h[j]->expired, j != i);
		loop_timer_set(&h[i]->t, 1);
		loop_step(&loop, -1);
		loop_step(&loop, 0);
		for (unsigned j = 0; j < 3; j++) {
			cr_assert_eq(h[j]->expired, 1);
			free(h[j]);
		}
	}
}

Test(loop, timer_that_sets_itself_leaves_room_for_events)
{
	struct hand *h = hand_set(1);
	struct end e;

	h->what = SET;
	h->other = h;
	h->after_ns = 1;
	end_open(&e);
	poke(&e);
	for (unsigned round = 1; round <= 100; round++) {
		loop_step(&loop, -1);
		cr_assert_eq(h->expired, round);
	}
	cr_assert_eq(e.calls, 1);
	loop_timer_fini(&loop, &h->t);
	free(h);
}

static struct hand *pair(unsigned what, uint64_t after_ns)
{
	struct hand *a = hand_set(1);

	a->other = hand_set(1000);
	a->what = what;
	a->after_ns = after_ns;
	usleep(1000);
	loop_step(&loop, 0);
	cr_assert_eq(a->expired, 1);
	return a;
}

Test(loop, timer_disarmed_by_the_handler_of_another_does_not_expire)
{
	struct hand *a = pair(DISARM, 0);

	loop_step(&loop, 0);
	cr_assert_eq(a->other->expired, 0);
	free(a->other);
	free(a);
}

Test(loop, timer_set_anew_by_the_handler_of_another_waits_again)
{
	struct hand *a = pair(SET, 2000000);

	cr_assert_eq(a->other->expired, 0);
	loop_step(&loop, -1);
	cr_assert_eq(a->other->expired, 1);
	free(a->other);
	free(a);
}

Test(loop, timer_freed_by_the_handler_of_another_is_not_touched)
{
	struct hand *a = pair(END_AND_FREE, 0);

	loop_step(&loop, 0);
	free(a);
}

Test(loop, timer_freed_by_its_own_handler_is_not_touched)
{
	struct hand *h = hand_set(1), *later = hand_set(2000000);

	h->what = END_AND_FREE;
	h->other = h;
	loop_step(&loop, -1);
	loop_step(&loop, -1);
	cr_assert_eq(later->expired, 1);
	free(later);
}

static struct hand *doomed;

static void end_of_hand(struct loop_source *s, uint32_t events)
{
	loop_timer_fini(&loop, &doomed->t);
	free(doomed);
	doomed = NULL;
	loop_del(&loop, s);
}

/* Both are due in one round. */
Test(loop, timer_freed_by_the_handler_of_a_source_is_not_touched)
{
	struct end e;

	doomed = hand_set(1);
	end_open(&e);
	e.s.ready = end_of_hand;
	poke(&e);
	usleep(1000);
	loop_step(&loop, -1);
	cr_assert_null(doomed);
	loop_step(&loop, 0);
}

Test(loop, timers_are_looked_at_while_the_loop_has_tasks)
{
	struct job busy = { .t.run = job_run, .want = UINT32_MAX };
	struct hand *h = hand_set(1000000);

	loop_post(&loop, &busy.t);
	while (h->expired == 0)
		loop_step(&loop, -1);
	cr_assert_gt(busy.runs, 0);
	free(h);
}

Test(loop, quit_before_run_ends_it_and_it_can_run_again, .timeout = 60)
{
	struct end e;

	loop_quit(&loop);
	cr_assert_eq(loop_run(&loop), 0);
	end_open(&e);
	e.leave = true;
	poke(&e);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(e.calls, 1);
}

/* Whichever of the two comes first re-uses the other one. */
Test(loop, source_reused_in_its_round_gets_no_old_event)
{
	struct end a, b, quiet;

	end_open(&a);
	end_open(&b);
	end_open(&quiet);
	a.victim = &b;
	b.victim = &a;
	a.reuse_fd = b.reuse_fd = quiet.s.fd;
	loop_del(&loop, &quiet.s);
	cr_assert_eq(write(a.other, "x", 1), 1);
	cr_assert_eq(write(b.other, "x", 1), 1);
	cr_assert_eq(loop_step(&loop, 0), 0);
	cr_assert_eq(a.calls + b.calls, 1);
}
