/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-net driver for bare guests: whole frames, polled; merged receive
 * buffers.
 */
#ifndef GUEST_NET_H
#define GUEST_NET_H

#include "virtio.h"

#define NET_MAC_BYTES	 6
#define NET_HEADER_BYTES 12
#define NET_FRAME_MAX	 65550
#define NET_RX_BYTES	 2048 /* of a receive buffer */
#define NET_RX_BUFFERS	 64
#define NET_TX_FRAMES	 128 /* on their way at once */

#define NET_CSUM      (1ull << 0)
#define NET_MTU	      (1ull << 3)
#define NET_MAC	      (1ull << 5)
#define NET_HOST_TSO4 (1ull << 11)
#define NET_MRG_RXBUF (1ull << 15)
#define NET_STATUS    (1ull << 16)

struct net_header {
	uint8_t flags, gso;
	uint16_t header_bytes, gso_bytes, csum_start, csum_offset, buffers;
};

struct net_card {
	struct virtio_dev dev;
	struct virtio_queue rx, tx;
	uint8_t *rx_buffer[NET_RX_BUFFERS]; /* by the descriptor's number */
	uint8_t data[NET_RX_BUFFERS][NET_RX_BYTES];
	uint8_t mac[NET_MAC_BYTES];
	uint16_t mtu; /* 0: not told */
	uint64_t sent, received;
};

/* Sets the n-th card up, with those of `wanted` features that it offers. NULL,
 * or what went wrong ("is not there"). */
const char *net_start(struct net_card *c, unsigned n, uint64_t wanted);
bool net_link_up(struct net_card *c);
/* Offers a frame behind its header, in two buffers that stay the caller's until
 * net_reap has counted it; false: the queue is full. */
bool net_send(struct net_card *c, struct net_header *h, void *frame,
	      uint32_t bytes);
/* Takes back what was sent; how many frames are still on their way. */
unsigned net_reap(struct net_card *c);
/* Copies the next frame, cut to fit, and its header; its size, or 0: none. */
uint32_t net_receive(struct net_card *c, struct net_header *h, void *frame,
		     uint32_t room);
/* The same for who only counts: the size, its buffers given back unread. */
uint32_t net_discard(struct net_card *c);
/* From now on net_receive may be waited for. */
void net_listen(struct net_card *c);
/* Sleeps until there is a frame to receive, or one was sent. */
void net_wait(struct net_card *c);

#endif
