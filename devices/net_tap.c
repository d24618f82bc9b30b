/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap device with virtio headers of 12 bytes (IFF_VNET_HDR | IFF_NO_PI): a
 * frame is one read or one write, straight from and to guest memory.
 */
#include "net_port.h"

#include <assert.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net.h"
#include "util.h"

/* Linux 6.2; older headers lack them. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static_assert(sizeof(struct net_header) == 12, "as on the wire");

/* Errors that say what the whole device is, not this frame. */
static int judge(int err)
{
	if (err == EBADFD || err == EBADF || err == ENODEV)
		return -ENOLINK;
	return err == EINTR ? -EAGAIN : -err;
}

static int tap_send(struct net_port *p, const struct net_header *h,
		    struct iovec *iov, unsigned n, size_t bytes)
{
	iov[0] = (struct iovec){ (void *)(uintptr_t)h, sizeof(*h) };
	return pwritev2(p->fd, iov, (int)n, -1, 0) < 0 ? judge(errno) : 0;
}

static int tap_receive(struct net_port *p, struct net_header *h,
		       struct iovec *iov, unsigned n)
{
	ssize_t got;

	iov[0] = (struct iovec){ h, sizeof(*h) };
	got = preadv2(p->fd, iov, (int)n, -1, 0);
	if (got < 0)
		return judge(errno);
	if (got < (ssize_t)sizeof(*h) + NET_FRAME_MIN ||
	    got > (ssize_t)sizeof(*h) + NET_FRAME_MAX)
		return -EBADMSG;
	return (int)(got - (ssize_t)sizeof(*h));
}

static int tap_flush(struct net_port *p)
{
	return 0;
}

/* Which of the frames that are not plain the host may give us. */
static unsigned offloads(uint64_t features)
{
	static const struct {
		uint64_t feature;
		unsigned flag;
	} all[] = {
		{ NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ NET_F_GUEST_ECN, TUN_F_TSO_ECN },
		{ NET_F_GUEST_UFO, TUN_F_UFO },
		/* The host knows both or neither. */
		{ NET_F_GUEST_USO4 | NET_F_GUEST_USO6,
		  TUN_F_USO4 | TUN_F_USO6 },
	};
	unsigned flags = TUN_F_CSUM;

	if (!(features & NET_F_GUEST_CSUM))
		return 0;
	/* Marks without the segments that bear them are no valid set (virtio
	 * 1.2, 5.1.3.1), and the kernel refuses it as a whole. */
	if (!(features & (NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6)))
		features &= ~NET_F_GUEST_ECN;
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		if ((features & all[i].feature) == all[i].feature)
			flags |= all[i].flag;
	return flags;
}

static int tap_agree(struct net_port *p, uint64_t features)
{
	if (ioctl(p->fd, TUNSETOFFLOAD, offloads(features)) == 0)
		return 0;
	return judge(errno);
}

static void tap_destroy(struct net_port *p)
{
	close(p->fd);
	free(p);
}

static const struct net_port_ops tap_ops = {
	.send = tap_send,
	.receive = tap_receive,
	.flush = tap_flush,
	.agree = tap_agree,
	.destroy = tap_destroy,
};

struct net_port *net_tap_create(int fd)
{
	struct net_port *p = calloc(1, sizeof(*p));
	bool uso =
	    ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6) == 0;

	if (!p) {
		close(fd);
		return NULL;
	}
	*p = (struct net_port){ .ops = &tap_ops,
				.fd = fd,
				.features = NET_PLAIN_OFFLOADS |
					    (uso ? NET_USO_OFFLOADS : 0) };
	return p;
}
