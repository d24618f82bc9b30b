/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, 5.1): one receive and one transmit queue, checksum
 * and segmentation offloads as far as its port knows them (net_port.h), merged
 * receive buffers, link status.
 *
 * No control queue: nothing filters here that a MAC or a mode could be told to.
 *
 * What the guest gets wrong in a frame costs that frame, what it gets wrong in
 * a chain its device until the reset. What the host gets wrong costs the frame;
 * a port that is gone takes the link down, for good, and the VM runs on: in the
 * sandbox nothing can be opened again.
 *
 * Nothing is on its way while it is quiesced: buffers that were popped and not
 * filled are offered again, a frame is in the guest's memory or it is not. A
 * frame that was read and found no buffer, and the rest of one that a stream
 * has taken in part, wait in this process; they are no state, as a frame in the
 * host's queue is none.
 *
 * Owner: dev.lock; frames, kicks and timers come on the I/O thread.
 */
#ifndef TINTYPE_NET_H
#define TINTYPE_NET_H

#include "limit.h"
#include "net_port.h"
#include "virtio.h"

#define NET_MAC_BYTES 6

#define NET_F_CSUM	 (UINT64_C(1) << 0)
#define NET_F_GUEST_CSUM (UINT64_C(1) << 1)
#define NET_F_MTU	 (UINT64_C(1) << 3)
#define NET_F_MAC	 (UINT64_C(1) << 5)
#define NET_F_GUEST_TSO4 (UINT64_C(1) << 7)
#define NET_F_GUEST_TSO6 (UINT64_C(1) << 8)
#define NET_F_GUEST_ECN	 (UINT64_C(1) << 9)
#define NET_F_GUEST_UFO	 (UINT64_C(1) << 10)
#define NET_F_HOST_TSO4	 (UINT64_C(1) << 11)
#define NET_F_HOST_TSO6	 (UINT64_C(1) << 12)
#define NET_F_HOST_ECN	 (UINT64_C(1) << 13)
#define NET_F_HOST_UFO	 (UINT64_C(1) << 14)
#define NET_F_MRG_RXBUF	 (UINT64_C(1) << 15)
#define NET_F_STATUS	 (UINT64_C(1) << 16)
#define NET_F_GUEST_USO4 (UINT64_C(1) << 54)
#define NET_F_GUEST_USO6 (UINT64_C(1) << 55)
#define NET_F_HOST_USO	 (UINT64_C(1) << 56)

enum net_header_flags { NET_NEEDS_CSUM = 1, NET_DATA_VALID = 2 };
enum net_gso {
	NET_GSO_NONE = 0,
	NET_GSO_TCP4 = 1,
	NET_GSO_UDP = 3,
	NET_GSO_TCP6 = 4,
	NET_GSO_UDP_L4 = 5,
	NET_GSO_ECN = 0x80, /* a flag beside the TCP ones */
};

enum net_queue { NET_RX, NET_TX, NET_QUEUES };
#define NET_QUEUE_MAX 256
#define NET_MTU_MIN   68
#define NET_LINK_UP   1

/* Bounds of one round, after which the loop's other sources have their turn. */
#define NET_ROUND_FRAMES 256
#define NET_ROUND_BYTES	 MIB(1)
/* An empty transmit queue: see net_tx.c. */
#define NET_POLL_NS  20000
#define NET_DENSE_NS 200000
#define NET_REST_NS  50000

struct net_state {
	struct virtio_state virtio;
	uint16_t status; /* NET_LINK_UP */
	uint16_t mtu;	 /* 0: none told */
	uint8_t mac[NET_MAC_BYTES];
	uint8_t unused[6];
};

struct net_config {
	struct virtio_config virtio;
	struct loop *loop;
	struct net_port *port; /* taken over, also when it fails; NULL: the
				* card is unplugged */
	uint8_t mac[NET_MAC_BYTES];
	uint16_t mtu;	    /* 0: the driver is told none */
	uint64_t bytes_max; /* a second, each way; 0: no limit */
	uint64_t frames_max;
};

struct net;

/* NULL: no memory, or an fd that cannot be waited for. */
struct net *net_create(const struct net_config *c);
struct virtio *net_virtio(struct net *n);

#endif
