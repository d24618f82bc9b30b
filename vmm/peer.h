/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may speak to a VM over its sockets: its own user, and root.
 *
 * Owner: any thread; peer_allowed works inside the closed sandbox.
 */
#ifndef TINTYPE_PEER_H
#define TINTYPE_PEER_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether the process that connected `fd`, a UNIX socket, is `owner`'s or
 * root's. `owner` is asked for (geteuid) before the sandbox is closed, which
 * has no call for it. */
bool peer_allowed(int fd, uid_t owner);

#endif
