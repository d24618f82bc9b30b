/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a network device's frames go to on the host, and come from: a tap, or a
 * stream to a program (passt). A port moves whole frames, each with the header
 * of virtio 1.2, 5.1.6, whose offloads a tap takes and a stream knows nothing
 * of.
 *
 * What comes from either side is not trusted: a port never writes beyond the
 * room it is given, and its buffers are bounded.
 *
 * Owner: the I/O thread, with the lock of the device.
 */
#ifndef TINTYPE_NET_PORT_H
#define TINTYPE_NET_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct net_header {
	uint8_t flags, gso;
	uint16_t header_bytes, gso_bytes, csum_start, csum_offset, buffers;
};

/* The largest frame: what TCP offload makes, with two VLAN tags. */
#define NET_FRAME_MAX (65536 + 14 + 8)
#define NET_FRAME_MIN 14

/* Features that a tap makes possible; the second, on Linux 6.2. */
#define NET_PLAIN_OFFLOADS                                                     \
	(NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | \
	 NET_F_GUEST_ECN | NET_F_GUEST_UFO | NET_F_HOST_TSO4 |                 \
	 NET_F_HOST_TSO6 | NET_F_HOST_ECN | NET_F_HOST_UFO)
#define NET_USO_OFFLOADS (NET_F_GUEST_USO4 | NET_F_GUEST_USO6 | NET_F_HOST_USO)

struct net_port;

struct net_port_ops {
	/*
	 * Sends the frame of `bytes` in iov[1..n-1]; iov[0] is the port's to
	 * use. 0; 1: taken, but a part is kept, flush it when the fd is
	 * writable; -EAGAIN: not taken, come again when the fd is writable;
	 * -EINVAL: the host refuses this header; -ENOLINK: the other side is
	 * gone for good; else -errno, and this frame is lost.
	 */
	int (*send)(struct net_port *p, const struct net_header *h,
		    struct iovec *iov, unsigned n, size_t bytes);
	/*
	 * Takes one frame, of at most NET_FRAME_MAX bytes, into iov[1..n-1],
	 * which has room for it; iov[0] is the port's to use. Its size;
	 * -EAGAIN: none, come again when the fd is readable; -EBADMSG: one came
	 * that is no frame, and was dropped; -ENOLINK: gone for good.
	 */
	int (*receive)(struct net_port *p, struct net_header *h,
		       struct iovec *iov, unsigned n);
	/* The fd is writable: sends what was kept. 0, -EAGAIN or -ENOLINK. */
	int (*flush)(struct net_port *p);
	/* The driver has agreed to these features. 0 or -errno. */
	int (*agree)(struct net_port *p, uint64_t features);
	void (*destroy)(struct net_port *p);
};

struct net_port {
	const struct net_port_ops *ops;
	int fd;		   /* owned, does not block */
	uint64_t features; /* that this port makes possible */
};

/* `fd` is taken over, also when it fails: NULL, no memory. A tap has its
 * headers and sizes set already; what it can offload is asked here. */
struct net_port *net_tap_create(int fd);
struct net_port *net_stream_create(int fd);

#endif
