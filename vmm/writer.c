/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread, one job. `job` is handed over under the lock; its end goes back
 * as a task of the loop, so that whatever a job has written is seen by `done`.
 */
#include "writer.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "fatal.h"
#include "log.h"
#include "loop.h"
#include "util.h"

/* Encoding and trees want more than a vCPU's thread; what is not touched costs
 * nothing. */
#define WRITER_STACK_BYTES KIB(512)

struct writer {
	struct loop *loop;
	int (*confine)(void);
	pthread_t thread;
	bool started;
	struct writer_job *current; /* the I/O thread's: until `done` */
	struct loop_task ended;
	pthread_mutex_t lock; /* guards what follows; a leaf */
	pthread_cond_t changed;
	struct writer_job *job; /* to be run */
	bool quit;
};

/* ---- on the writer ---- */

/* The next job; NULL: there will be none. */
static struct writer_job *next_job(struct writer *w)
{
	struct writer_job *j;
	_locked_(&w->lock);

	while (!w->job && !w->quit)
		pthread_cond_wait(&w->changed, &w->lock);
	j = w->quit ? NULL : w->job;
	w->job = NULL;
	return j;
}

static void *writer_thread(void *arg)
{
	struct writer *w = arg;
	struct writer_job *j;
	int r = w->confine ? w->confine() : 0;

	if (r < 0) {
		log_error("writer", "confine it: %s", strerror(-r));
		fatal_abort(); /* it will meet hostile bytes */
	}
	while ((j = next_job(w))) {
		j->run(j);
		loop_post(w->loop, &w->ended);
	}
	return NULL;
}

/* ---- on the I/O thread ---- */

static void job_ended(struct loop_task *t)
{
	struct writer *w = container_of(t, struct writer, ended);
	struct writer_job *j = w->current;

	w->current = NULL;
	j->done(j);
}

static int start_thread(struct writer *w)
{
	/* As on a vCPU's thread: its own faults are heard, nothing else. */
	const int own[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	sigfillset(&all);
	for (unsigned i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(&all, own[i]);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WRITER_STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&w->thread, &attr, writer_thread, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	w->started = r == 0;
	return -r;
}

int writer_create(struct writer **out, struct loop *l, int (*confine)(void))
{
	struct writer *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->loop = l;
	w->confine = confine;
	w->ended.run = job_ended;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	r = start_thread(w);
	if (r) {
		writer_destroy(w);
		return r;
	}
	*out = w;
	return 0;
}

void writer_destroy(struct writer *w)
{
	if (!w)
		return;
	if (w->current)
		atomic_store(&w->current->cancel, true);
	pthread_mutex_lock(&w->lock);
	w->quit = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (w->started)
		pthread_join(w->thread, NULL);
	loop_unpost(w->loop, &w->ended);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

bool writer_is_busy(const struct writer *w)
{
	return w->current;
}

void writer_start(struct writer *w, struct writer_job *j)
{
	assert(!w->current);
	atomic_store(&j->cancel, false);
	w->current = j;
	_locked_(&w->lock);
	w->job = j;
	pthread_cond_signal(&w->changed);
}

/* ---- fds ---- */

#define FD_WAIT_NS UINT64_C(5000000000)
/* How soon a cancelled one is heard. */
#define FD_LOOK_NS 20000000

/* Room for exactly so many: the kernel drops what goes beyond. */
union fd_room {
	char bytes[CMSG_SPACE(FD_BATCH * sizeof(int))];
	struct cmsghdr align;
};
_Static_assert(sizeof(union fd_room) == CMSG_LEN(FD_BATCH * sizeof(int)),
	       "no room for one more");

static void close_all(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

/* The fds that came with a message, which are ours now; how many. */
static unsigned fds_of(struct msghdr *h, int fds[FD_BATCH])
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);
	size_t bytes;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return 0;
	bytes = MIN(c->cmsg_len - CMSG_LEN(0), FD_BATCH * sizeof(int));
	memcpy(fds, CMSG_DATA(c), bytes);
	return (unsigned)(bytes / sizeof(int));
}

/* Whatever else could be sent can wait for ever in a read, or is no place for a
 * layer. */
static bool regular(const int *fds, unsigned n)
{
	struct stat st;

	for (unsigned i = 0; i < n; i++)
		if (fstat(fds[i], &st) || !S_ISREG(st.st_mode))
			return false;
	return true;
}

/* One message of at most `room` fds; how many came, or -errno and none. */
static int receive_batch(int conn, int *fds, unsigned room)
{
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	union fd_room control = { 0 };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(conn, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	int batch[FD_BATCH];
	unsigned got;
	int r = 0;

	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	got = fds_of(&h, batch);
	if (n == 0)
		r = -EPIPE;
	else if ((h.msg_flags & MSG_CTRUNC) && got < MIN(room, FD_BATCH))
		r = -EMFILE; /* there was room, but no number */
	else if ((h.msg_flags & MSG_CTRUNC) || byte != FD_BYTE || got == 0 ||
		 got > room || !regular(batch, got))
		r = -EPROTO;
	if (r) {
		close_all(batch, got);
		return r;
	}
	memcpy(fds, batch, got * sizeof(*fds));
	return (int)got;
}

/* Waits for a message or an end, but looks up every so often. */
static int wait_for_batch(int conn, uint64_t until, const atomic_bool *cancel)
{
	const struct timespec look = { .tv_nsec = FD_LOOK_NS };
	struct pollfd p = { .fd = conn, .events = POLLIN };

	if (atomic_load(cancel))
		return -ECANCELED;
	if (now_ns() >= until)
		return -ETIMEDOUT;
	if (ppoll(&p, 1, &look, NULL) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

int fd_receive(int conn, int *fds, unsigned n, const atomic_bool *cancel)
{
	const uint64_t until = now_ns() + FD_WAIT_NS;
	unsigned have = 0;

	while (have < n) {
		int r = receive_batch(conn, fds + have, n - have);

		if (r > 0) {
			have += (unsigned)r;
			continue;
		}
		if (r == -EAGAIN || r == -EINTR)
			r = wait_for_batch(conn, until, cancel);
		if (r) {
			close_all(fds, have);
			return r;
		}
	}
	return 0;
}
