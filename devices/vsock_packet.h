/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packets of virtio-vsock, and how they lie in the buffers of a chain: cut
 * in any way, the header too. Owner: the device's lock.
 */
#ifndef TINTYPE_VSOCK_PACKET_H
#define TINTYPE_VSOCK_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio.h"

#define VSOCK_HOST_CID	2
#define VSOCK_QUEUE_MAX 128   /* so a chain has at most as many buffers */
#define VSOCK_MAX_DATA	65536 /* of one packet to the guest */

/* As it is in guest memory (virtio 1.2, 5.10.6). */
struct vsock_packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len; /* of the data behind it */
	uint16_t type, op;
	uint32_t flags; /* SHUTDOWN: VSOCK_SHUT_* */
	uint32_t buf_alloc, fwd_cnt;
} __attribute__((packed));

enum { VSOCK_TYPE_STREAM = 1 };

enum vsock_op {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE,
	VSOCK_OP_RST,
	VSOCK_OP_SHUTDOWN,
	VSOCK_OP_RW,
	VSOCK_OP_CREDIT_UPDATE,
	VSOCK_OP_CREDIT_REQUEST,
};

/* The buffers of a chain that the guest receives in. */
struct vsock_room {
	unsigned n;
	size_t bytes; /* more than a header */
	struct virtq_desc part[VSOCK_QUEUE_MAX];
};

/* As many buffers as one packet may need. 0, or -EPROTO: the chain is broken,
 * or none for this. */
int vsock_room_of(struct virtq_chain *c, struct vsock_room *r);
/* Where the first `most` bytes of data go; how many parts. */
unsigned vsock_room_iov(const struct vsock_room *r, size_t most,
			struct iovec iov[VSOCK_QUEUE_MAX]);
/* The header before the data that is there already; gives the chain back. */
void vsock_give(struct virtq_chain *c, const struct vsock_room *r,
		const struct vsock_packet *h);

/* The data of a packet from the guest, whose header was read; false: there is
 * less than it says. */
bool vsock_data_of(struct virtq_chain *c, uint32_t len,
		   struct iovec iov[VSOCK_QUEUE_MAX], unsigned *n);

#endif
