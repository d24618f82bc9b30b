/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer: the VM's thread for file work that may take long. It exists from
 * the start (a sandboxed process makes no threads) and sleeps; it does one job
 * at a time, which the I/O thread gives it, and whose end it posts to the loop.
 * What a job works on belongs to the writer until then.
 *
 * Owner: the I/O thread, but for fd_receive and writer_job's run.
 */
#ifndef TINTYPE_WRITER_H
#define TINTYPE_WRITER_H

#include <stdatomic.h>
#include <stdbool.h>

struct loop;
struct writer;

struct writer_job {
	void (*run)(struct writer_job *j);  /* on the writer */
	void (*done)(struct writer_job *j); /* then on the I/O thread; may start
					     * the next one */
	atomic_bool cancel; /* run looks at it every so often and ends early;
			     * cleared by writer_start */
};

/* `confine`: called on the thread before its first job (the sandbox); NULL:
 * none. Before the last filter is closed; the loop outlives it. 0 or -errno. */
int writer_create(struct writer **out, struct loop *l, int (*confine)(void));
/* Cancels the job at hand and waits for it; its `done` is not called. NULL:
 * nothing. */
void writer_destroy(struct writer *w);

/* From writer_start until `done` is called. */
bool writer_is_busy(const struct writer *w);
void writer_start(struct writer *w, struct writer_job *j); /* not busy */

/* How fds are sent over a control connection: a byte of this with each so many
 * of them, or fewer. */
#define FD_BYTE	 'F'
#define FD_BATCH 64

/*
 * Takes `n` fds that are sent so, from a connection (control_ask_fds), within 5
 * s. On failure those that came are closed: -EPIPE
 * its end, -ETIMEDOUT, -EPROTO something else, too many, or what is no regular
 * file, -EMFILE, -ECANCELED.
 */
int fd_receive(int conn, int *fds, unsigned n, const atomic_bool *cancel);

#endif
