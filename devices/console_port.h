/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console with one named port (virtio 1.2, 5.3, MULTIPORT): a two-way
 * stream between a program in the guest, which finds the port by its name, and
 * a client of a UNIX socket on the host.
 *
 * One client at a time; another waits in the socket's queue until the first has
 * left. The guest is told when one comes and when it leaves (PORT_OPEN); a new
 * client is told as open only after the old one as closed, so that no guest
 * takes two of them for one.
 *
 * Nothing is buffered here but one byte: bytes go from guest memory to the
 * socket and back. Where one side is slow the other waits, the guest's chain in
 * its queue and the client's bytes in its socket. What the guest sends while
 * nobody is there is dropped, and counted. Each round of the loop does a
 * bounded part.
 *
 * The port's number is 0. A driver without MULTIPORT gets and sends nothing.
 * What the guest sends is hostile, for the client to judge.
 *
 * Owner: dev.lock; kicks and the socket's events come on the I/O thread. The
 * process ignores SIGPIPE.
 */
#ifndef TINTYPE_CONSOLE_PORT_H
#define TINTYPE_CONSOLE_PORT_H

#include "listener.h"
#include "virtio.h"

/* A chain of the guest's with more than that breaks the queue; Linux sends 32
 * KiB, and by splice up to a pipe's 1 MiB. */
#define CONSOLE_PORT_CHAIN_BYTES MIB(1)
#define CONSOLE_PORT_NAME_MAX	 63

/* `told`: how far the two have come, each but for the last two after the one
 * above it. */
enum console_port_told {
	PORT_DEVICE_READY = 1, /* the driver is there */
	PORT_ADDED = 2,	       /* it was told of the port */
	PORT_READY = 4,	       /* and has made it */
	PORT_NAMED = 8,	       /* it was told the name */
	PORT_GUEST_OPEN = 16,  /* a program has opened it; needs PORT_READY */
	PORT_HOST_OPEN = 32,   /* a client is there, as the driver knows */
};

struct console_port_state {
	struct virtio_state virtio;
	uint32_t told;
	uint32_t sent; /* bytes of the next chain that a client has already */
};

struct console_port_counters {
	uint64_t clients, refused_clients; /* refused: of another user */
	uint64_t in_bytes, out_bytes;	   /* to, from the guest */
	uint64_t dropped_bytes;		   /* sent when nobody was there */
	uint64_t refused_messages;	   /* control messages out of order */
};

struct console_port {
	struct virtio virtio;
	struct console_port_state st;
	char name[CONSOLE_PORT_NAME_MAX + 1];
	struct loop *loop;
	struct loop_task more; /* a round was not enough; events to set */
	struct listener listener;
	struct loop_source client; /* fd -1: nobody */
	bool fresh;   /* the client: the guest still knows of the last one */
	bool ended;   /* it sends no more */
	bool gone;    /* it has hung up; input may be left */
	bool full;    /* it takes no more now */
	bool starved; /* the guest has no room for its input */
	bool has_kept;
	uint8_t kept; /* its next byte, read ahead */
	struct console_port_counters count;
};

struct console_port_config {
	struct virtio_config virtio;
	struct loop *loop;
	const char *port; /* its name, at most CONSOLE_PORT_NAME_MAX long */
	int listen_fd;	  /* a UNIX socket; taken over */
};

/* NULL: no memory, or the socket cannot be listened to. device_destroy ends
 * it. Before the sandbox is closed. */
struct console_port *console_port_create(const struct console_port_config *c);

#endif
