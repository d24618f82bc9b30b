/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a virtio-vsock: found by their two ports, each a stream
 * between the guest and one socket of the host. What they hold is bounded: so
 * many of them, so many bytes each, of what the guest sent and the host has not
 * taken. Towards the guest nothing is held: the socket holds it.
 *
 * Counters of bytes are 32 bits and wrap, as in the packets.
 *
 * Owner: the device's lock, on the I/O thread.
 */
#ifndef TINTYPE_VSOCK_CONN_H
#define TINTYPE_VSOCK_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "loop.h"
#include "vsock_link.h"

#define VSOCK_MAX_CONNECTIONS 1024
#define VSOCK_BUCKETS	      256
#define VSOCK_BUF_BYTES	      65536 /* what a guest may send ahead */

enum vsock_conn_state {
	VSOCK_FREE,
	VSOCK_ASKED,   /* the guest asked; the broker connects */
	VSOCK_OFFERED, /* a host program asked; the guest has not answered */
	VSOCK_OPEN,
	VSOCK_CLOSED,	/* the host has gone; the guest has yet to */
	VSOCK_ENDING,	/* over; the guest is still to be sent the RST */
	VSOCK_LINGERING /* the guest has forgotten it; the host takes the rest
			 */
};

/* What is to be sent to the guest, beside data; the lowest bit first. */
enum vsock_want {
	VSOCK_WANT_RST = 1,
	VSOCK_WANT_REQUEST = 2,
	VSOCK_WANT_RESPONSE = 4,
	VSOCK_WANT_CREDIT_UPDATE = 8,
	VSOCK_WANT_CREDIT_REQUEST = 16,
	VSOCK_WANT_SHUTDOWN = 32,
};

/* Who shuts a direction: as in the packets, seen from the one who says it. */
enum { VSOCK_SHUT_RCV = 1, VSOCK_SHUT_SEND = 2, VSOCK_SHUT_BOTH = 3 };

struct vsock_table;

struct vsock_conn {
	struct vsock_table *table;
	uint32_t host_port, guest_port;
	enum vsock_conn_state state;
	uint8_t want;	    /* enum vsock_want */
	uint8_t guest_shut; /* what the guest has said */
	uint8_t told_shut;  /* what it was told, or is about to be */
	bool readable;	    /* the socket may have something */
	bool hup;	    /* the host's end is closed both ways */
	bool asked_credit;  /* and was not given any since */
	bool due;	    /* in the table's list of these */

	/* Guest to host. */
	uint32_t fwd_cnt;  /* bytes that are the host's, or nobody's */
	uint32_t told_fwd; /* the same, as the guest knows */
	uint8_t *buf;	   /* VSOCK_BUF_BYTES while len > 0; else NULL */
	uint32_t at, len;

	/* Host to guest. */
	uint32_t sent;
	uint32_t peer_fwd, peer_alloc; /* the guest's credit */

	struct vsock_link_fds fds;
	struct loop_source source;
	struct vsock_conn *next;     /* of its bucket, or free */
	struct vsock_conn *next_due; /* while due */
};

struct vsock_table {
	struct loop *loop;
	void (*ready)(struct vsock_conn *c, uint32_t events);
	void *owner;
	struct vsock_conn *pool, *bucket[VSOCK_BUCKETS], *free;
	struct vsock_conn *first_due, *last_due;
	unsigned used;
	uint32_t next_port; /* to be tried for the next host program */
};

/* `ready`: something has come on a connection's socket; the lock is not held.
 * 0 or -ENOMEM; then vsock_table_fini is allowed too. */
int vsock_table_init(struct vsock_table *t, struct loop *loop,
		     void (*ready)(struct vsock_conn *c, uint32_t events),
		     void *owner);
void vsock_table_fini(struct vsock_table *t);
/* All connections are over, and nobody is told but the host. */
void vsock_table_clear(struct vsock_table *t);

struct vsock_conn *vsock_find(const struct vsock_table *t, uint32_t host_port,
			      uint32_t guest_port);
/* A new one of a pair of ports that has none. NULL: there are too many. */
struct vsock_conn *vsock_add(struct vsock_table *t, uint32_t host_port,
			     uint32_t guest_port, enum vsock_conn_state state);
/* A host port that is free with that port of the guest's. */
uint32_t vsock_free_port(struct vsock_table *t, uint32_t guest_port);
/* Not found any more; what the host is still to take is sent on. */
void vsock_unlist(struct vsock_conn *c);
/* Over, at once. */
void vsock_drop(struct vsock_conn *c);

/* Gives it its fds, which are closed if that fails. 0 or -errno. */
int vsock_attach(struct vsock_conn *c, struct vsock_link_fds *fds);

/* How much the guest has room for. */
uint32_t vsock_credit(const struct vsock_conn *c);
/* From the socket: how much, 0 at its end, -EAGAIN, or -errno. */
ssize_t vsock_read(struct vsock_conn *c, const struct iovec *iov, unsigned n);
/* To the socket, or to be kept for it, all of it: 0; -ENOBUFS: the guest has
 * sent more than it may; -ENOMEM. */
int vsock_write(struct vsock_conn *c, const struct iovec *iov, unsigned n,
		size_t bytes);
/* Sends on what was kept, as far as the socket takes it. */
void vsock_flush(struct vsock_conn *c);

/* Tells the guest of these directions, once. */
void vsock_tell_shut(struct vsock_conn *c, uint8_t directions);
/* Forgets what was kept and tells the guest RST. */
void vsock_kill(struct vsock_conn *c);

/* After anything has changed: does what follows from it, and waits for what
 * may come next. `c` may be free then. */
void vsock_settle(struct vsock_conn *c);

/* The next that has something for the guest; NULL: none. It is no longer in the
 * list; vsock_settle puts it there again, at the end. */
struct vsock_conn *vsock_next_due(struct vsock_table *t);

#endif
