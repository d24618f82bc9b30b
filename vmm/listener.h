/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening UNIX socket of a VM: takes clients, tells whether they may speak
 * to it (its own user, and root), and outlives a lack of fds or memory.
 *
 * Owner: the I/O thread. listener_init comes before the sandbox is closed,
 * which has no call for who we are; the rest works inside it.
 */
#ifndef TINTYPE_LISTENER_H
#define TINTYPE_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>

#include "log.h"
#include "loop.h"

struct listener {
	struct loop *loop;
	struct loop_source source; /* its fd is the caller's */
	struct loop_timer again;
	const char *name; /* in messages: "console" */
	uid_t owner;
	struct log_limit failed;
	/* A client has connected; `fd`, non-blocking, is the callee's now. */
	void (*connected)(struct listener *l, int fd, bool allowed);
};

/* Makes `fd` non-blocking and listens. 0 or -errno; then listener_fini is
 * allowed too, as it is on a zeroed one. */
int listener_init(struct listener *l, struct loop *loop, int fd,
		  const char *name,
		  void (*connected)(struct listener *l, int fd, bool allowed));
void listener_fini(struct listener *l);

#endif
