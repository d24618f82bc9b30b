/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vsock broker: a small process beside each VM that has a vsock. It does
 * what the VM's own process may not: it listens, connects, and hands over the
 * sockets (vsock_link.h). It never sees what passes through them.
 *
 *   PATH          a host program connects, writes "CONNECT PORT\n", and is
 *                 handed to the VM, which answers "OK PORT\n" or hangs up
 *   PATH_PORT     where a host program listens for the guest's connections to
 *                 (CID 2, PORT): the only names that the broker connects to
 *
 * It is forked before the VM has any RAM, confines itself (seccomp, Landlock,
 * no privileges, no files but its own), and ends with the VM, however that
 * ends: then PATH is removed.
 *
 * Clients are of the VM's own user, or root. Bounded: VSOCK_BROKER_CLIENTS that
 * have not said their line yet, for VSOCK_BROKER_LINE_NS each; connections as
 * many as the device has.
 *
 * Owner: the thread that starts the VM, while it is the only one.
 */
#ifndef TINTYPE_VSOCK_BROKER_H
#define TINTYPE_VSOCK_BROKER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "fail.h"
#include "home.h"

#define VSOCK_BROKER_CLIENTS	 16
#define VSOCK_BROKER_CONNECTIONS 1024
#define VSOCK_BROKER_LINE	 24 /* "CONNECT 4294967294\n" */
#define VSOCK_BROKER_LINE_NS	 UINT64_C(5000000000)
/* How long a program that listens may be too busy to take a connection. */
#define VSOCK_BROKER_BUSY_NS  UINT64_C(2000000000)
#define VSOCK_BROKER_NAME_MAX 96 /* of PATH's last part: PATH_PORT fits too */

#define VSOCK_DEFAULT_NAME "vsock.sock" /* in the VM's directory */

/* Listens at the configured path, and starts the broker. The VM's end of the
 * link, or -errno with `why`. */
int vsock_broker_start(const struct vm_config *c, const struct vm_dir *d,
		       struct fail *why);

/* The path as people use it. */
int vsock_broker_path(const struct vm_config *c, char *buf, size_t len);

/* ---- its parts, for its tests ---- */

/* "CONNECT PORT", without the end of line: 0 or -EINVAL. */
int vsock_parse_connect(const char *line, size_t len, uint32_t *port);

struct vsock_broker_config {
	int link, listener;
	const char *name; /* of the socket, in the working directory */
	uid_t owner;
};

/* Serves until the VM ends, and removes the socket. */
void vsock_broker_run(const struct vsock_broker_config *c);

#endif
