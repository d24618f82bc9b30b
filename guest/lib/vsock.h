/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-vsock driver for bare guests: stream connections to the host (CID
 * 2), up to VSOCK_CONNS at once. Nothing waits but vsock_wait: a program looks
 * at its connections, does what can be done, and sleeps until something has
 * happened. One CPU.
 */
#ifndef GUEST_VSOCK_H
#define GUEST_VSOCK_H

#include "virtio.h"

#define VSOCK_CONNS	 32
#define VSOCK_RING_BYTES 4096 /* what may come ahead of its reader */

enum vsock_phase { VSOCK_NONE, VSOCK_CONNECTING, VSOCK_CONNECTED, VSOCK_GONE };

struct vsock_conn {
	enum vsock_phase phase; /* GONE: reset; free when it is put */
	uint32_t port, host_port;
	bool accepted;	/* given out by vsock_accept, or our own */
	bool host_done; /* the host sends no more */
	bool host_deaf; /* the host takes no more */
	bool we_done, we_closed;
	uint32_t sent, peer_fwd, peer_alloc;
	uint32_t got, fwd, told_fwd; /* got - fwd bytes are in the ring */
	uint8_t *ring;
};

/* Finds the device and sets it up, once; NULL or what is wrong. */
const char *vsock_open(void);
uint64_t vsock_cid(void);
void vsock_listen(uint32_t port); /* one port */
/* A new connection to that port, or NULL. */
struct vsock_conn *vsock_accept(void);
/* Asks for one: CONNECTING. NULL: too many. */
struct vsock_conn *vsock_connect(uint32_t host_port);
/* What has come, as far as it lies in one piece; 0 bytes: nothing now. */
const uint8_t *vsock_peek(const struct vsock_conn *c, uint32_t *len);
/* So much of it has been read. */
void vsock_skip(struct vsock_conn *c, uint32_t len);
/* How much of it there was room for. */
uint32_t vsock_write(struct vsock_conn *c, const void *data, uint32_t len);
void vsock_done(struct vsock_conn *c);	/* sends no more */
void vsock_close(struct vsock_conn *c); /* neither way; GONE follows */
void vsock_put(struct vsock_conn *c);	/* of a GONE one */
/* How often connections were told to be gone by the device's event. */
unsigned vsock_transport_resets(void);
/* Takes what has come; sleeps first if nothing has since the last time. */
void vsock_wait(void);

#endif
