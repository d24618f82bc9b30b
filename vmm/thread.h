/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a thread is, asked once and kept: a closed sandbox has neither getpid
 * nor gettid, which the C library's pthread_kill and raise would call.
 *
 * Any thread; all but thread_learn from signal handlers, too.
 */
#ifndef TINTYPE_THREAD_H
#define TINTYPE_THREAD_H

#include <sys/types.h>

struct thread_id {
	pid_t process, thread;
};

/* The calling thread's. From here on thread_raise does not ask any more: so
 * not before a fork. */
struct thread_id thread_learn(void);

/* Signals that thread of our own process. 0 or -errno. */
int thread_signal(struct thread_id id, int sig);

/* Signals the calling thread, as raise(3) does. */
void thread_raise(int sig);

#endif
