/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock (virtio 1.2, 5.10): stream sockets between the guest and
 * programs of the host. What the guest sends goes straight from its memory to
 * the host's socket, what the host sends straight into its buffers.
 *
 * Sockets come from a broker (vsock_link.h): this process can open none. A
 * connection that the guest asks for is offered to the broker; one that a host
 * program asked for comes from it and gets its "OK PORT" line when the guest
 * has accepted.
 *
 * Connections belong to the process, not to the state: a capture leaves them
 * alone, and in a machine made from it they are gone, of which the guest is
 * told by VIRTIO_VSOCK_EVENT_TRANSPORT_RESET. So all that the guest can see in
 * the state is the transport's.
 *
 * Owner: dev.lock; kicks, the broker and the sockets come on the I/O thread.
 */
#ifndef TINTYPE_VSOCK_H
#define TINTYPE_VSOCK_H

#include "virtio.h"
#include "vsock_conn.h"
#include "vsock_packet.h"

#define VSOCK_MAX_STRAYS 64

enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

struct vsock_state {
	struct virtio_state virtio;
};

struct vsock {
	struct virtio virtio;
	struct vsock_state st;
	struct loop *loop;
	uint32_t guest_cid;
	int link_fd;
	struct loop_source link; /* the broker */
	struct loop_task more;	 /* the round was over before the work was */
	struct vsock_table table;
	/* RSTs for packets of no connection. */
	struct vsock_packet stray[VSOCK_MAX_STRAYS];
	unsigned first_stray, nstrays;
	bool drop_all;	 /* reset: connections are over, see vsock_reset */
	bool tell_reset; /* restored: the guest is to be told */

	uint64_t accepted, connected; /* by the guest; by the host */
	uint64_t refused;	      /* connections that did not come about */
	uint64_t resets;	      /* RSTs sent */
	uint64_t malformed;	      /* packets that were ignored */
	uint64_t overruns;	      /* of credit, by the guest */
	uint64_t bytes_in, bytes_out; /* to the guest; from it */
};

struct vsock_config {
	struct virtio_config virtio;
	uint32_t guest_cid; /* 3 or more */
	int link_fd;	    /* vsock_link_pair's, the VM's end; not owned */
	struct loop *loop;
};

/* NULL: no memory or no fds. device_destroy ends it. */
struct vsock *vsock_create(const struct vsock_config *c);

#endif
