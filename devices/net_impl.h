/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of virtio-net share: net.c, net_rx.c, net_tx.c. */
#ifndef TINTYPE_NET_IMPL_H
#define TINTYPE_NET_IMPL_H

#include "net.h"

/* Pieces of guest memory that one frame is moved by; one of more goes through
 * a buffer of ours. */
#define NET_PIECES 64

/* One direction's limits and counts. */
struct net_way {
	struct limit byte_limit, frame_limit;
	struct loop_timer timer;
	struct loop_task more; /* the round is over, not the work */
	bool limited, waiting;
	uint64_t frames, bytes;
	uint64_t dropped;   /* by the host, or for want of a link */
	uint64_t errors;    /* what was no frame, or had a header that lies */
	uint64_t throttled; /* times that a limit made it wait */
	uint64_t rests;	    /* times that it slept instead of being kicked */
};

/* A buffer of the driver's that waits to be filled. */
struct net_buffer {
	struct virtq_chain chain;
	unsigned pieces;
	uint32_t bytes;
};

/* Buffers that were popped and not filled, oldest first, and their pieces. */
struct net_rx {
	struct net_buffer buffer[NET_PIECES];
	struct virtq_desc piece[NET_PIECES];
	unsigned nbuffers, npieces;
	size_t room;	/* in them */
	size_t wanted;	/* room to have before a frame is read */
	unsigned small; /* frames in a row that needed little of it */
	bool starved;	/* no buffer for what is held, or for any */
	size_t held;	/* bytes of the frame in `spill` */
	struct net_header header;
	struct iovec iov[NET_PIECES + 3];
	/* What a frame has beyond the buffers; or all of the one held. */
	uint8_t spill[NET_FRAME_MAX];
};

struct net_tx {
	bool stalled;		/* until the fd is writable */
	uint64_t asked_ns;	/* when the driver was last asked for a kick */
	struct loop_timer rest; /* armed: it was not asked */
	unsigned luck, drains;	/* of looking at the empty queue */
	struct net_header header;
	struct iovec iov[NET_PIECES + 1];
	/* Of a frame in too many pieces; one byte more tells one too large. */
	uint8_t copy[NET_FRAME_MAX + 1];
};

struct net {
	struct virtio virtio;
	struct net_state st;
	struct loop *loop;
	struct loop_source source;
	struct net_port *port;
	uint8_t mac[NET_MAC_BYTES]; /* at power-on, with the MTU */
	uint16_t mtu;
	bool gone;	   /* the port, for good */
	uint64_t agreed;   /* features that the port has been told */
	bool told_refusal; /* of some: once, as drivers come as they like */
	struct net_way way[NET_QUEUES];
	struct net_rx rx;
	struct net_tx tx;
};

/* The limits let a frame pass now; else the timer comes when they do. */
bool net_may_pass(struct net *n, struct net_way *w);
/* One has passed. */
void net_passed(struct net_way *w, size_t bytes);
/* The other side of the port is not there any more. */
void net_gone(struct net *n, int err);

/* Both stop at the bounds of a round, and come back by way->more. */
void net_receive(struct net *n);
void net_transmit(struct net *n, bool rested);
/* Offers again what was popped and not filled. */
void net_rx_give_back(struct net *n);
/* Forgets it: the queue is not what it was. */
void net_rx_forget(struct net *n);

#endif
