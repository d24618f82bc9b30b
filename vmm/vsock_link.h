/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM and its vsock broker say to each other, over a socket pair that
 * keeps messages apart (SOCK_SEQPACKET). The VM, which can open nothing, asks;
 * the broker, which connects and listens for it, answers with fds:
 *
 *   broker  READY      it listens, and is confined
 *   VM      CONNECT    the guest wants host port P: connect to PATH_P
 *   broker  CONNECTED  here it is (fds), or
 *           REFUSED    nobody listens there
 *   broker  INCOMING   a host program wants that port of the guest (fds)
 *   VM      END        the VM ends: remove the socket, and end
 *
 * The fds of a connection are two: its socket, and its token, a pipe. When the
 * VM closes the token, the broker, who has the socket too, ends the host's
 * input (SHUT_WR) and forgets the connection. So a half close takes the VM no
 * system call that it does not have, and can neither be lost nor be refused.
 *
 * Neither side trusts the other: a message of a wrong size or kind, or with
 * other fds than two, is none.
 */
#ifndef TINTYPE_VSOCK_LINK_H
#define TINTYPE_VSOCK_LINK_H

#include <stdint.h>

enum vsock_link_kind {
	VSOCK_LINK_READY = 1,
	VSOCK_LINK_CONNECT,
	VSOCK_LINK_CONNECTED,
	VSOCK_LINK_REFUSED,
	VSOCK_LINK_INCOMING,
	VSOCK_LINK_END,
};

struct vsock_link_msg {
	uint32_t kind;
	/* The pair names a connection of the guest's; of INCOMING, only the
	 * guest's port is known yet. */
	uint32_t host_port, guest_port;
};

struct vsock_link_fds {
	int socket, token; /* both, or -1 */
};

/* Both ends: the broker's waits, the VM's does not. 0 or -errno. */
int vsock_link_pair(int *vm, int *broker);

/* The VM's side: one write. 0 or -errno; -EAGAIN: the broker is behind. */
int vsock_link_tell(int link, const struct vsock_link_msg *m);
/* The broker's: with the fds, which stay the caller's. 0 or -errno. */
int vsock_link_give(int link, const struct vsock_link_msg *m,
		    const struct vsock_link_fds *fds);

/* The next message, with its fds if it has two: 1, 0 none now, or -errno:
 * -EPIPE at the other's end, -EBADMSG: what came was none. Does not wait. */
int vsock_link_take(int link, struct vsock_link_msg *m,
		    struct vsock_link_fds *fds);

void vsock_link_close_fds(struct vsock_link_fds *fds);

/* Says END, waits a moment for the broker to have removed its socket, closes
 * the link. Allowed on -1. */
void vsock_link_end(int link);

#endif
