/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream socket to a program that is the network (passt): before each frame
 * its length, four bytes, big endian; no header, so no offloads.
 *
 * Read in large pieces: `in` holds whole frames and the beginning of one.
 * Written frame by frame; of one that the socket took in part the rest is kept,
 * and nothing else is sent before it. A peer that breaks the format has lost us
 * for good: in a stream nobody finds the next frame again.
 */
#include "net_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fdio.h"
#include "util.h"

#define LENGTH_BYTES 4
#define IN_BYTES     KIB(128) /* more than the largest frame and its length */
#define OUT_BYTES    (NET_FRAME_MAX + LENGTH_BYTES)

struct net_stream {
	struct net_port port;
	size_t in_from, in_to;	 /* what was read and not taken */
	size_t out_from, out_to; /* what is kept to be sent */
	uint32_t length;	 /* as it is sent */
	uint8_t in[IN_BYTES];
	uint8_t out[OUT_BYTES];
};

_Static_assert(IN_BYTES >= NET_FRAME_MAX + LENGTH_BYTES, "a frame fits");

static struct net_stream *stream_of(struct net_port *p)
{
	return container_of(p, struct net_stream, port);
}

static bool no_memory(int err)
{
	return err == ENOBUFS || err == ENOMEM;
}

/* The host may have memory again, the other side does not come back. */
static int judge(int err)
{
	return err == EAGAIN || err == EINTR || no_memory(err) ? -EAGAIN
							       : -ENOLINK;
}

/* ---- out ---- */

static int stream_flush(struct net_port *p)
{
	struct net_stream *s = stream_of(p);

	while (s->out_from < s->out_to) {
		struct iovec rest = { s->out + s->out_from,
				      s->out_to - s->out_from };
		ssize_t n = pwritev2(p->fd, &rest, 1, -1, 0);

		if (n < 0)
			return judge(errno);
		s->out_from += (size_t)n;
	}
	s->out_from = s->out_to = 0;
	return 0;
}

/* Copies what follows the first `done` bytes. */
static void keep(struct net_stream *s, const struct iovec *iov, unsigned n,
		 size_t done)
{
	s->out_from = 0;
	s->out_to = fd_keep_rest(s->out, iov, n, done);
}

static int stream_send(struct net_port *p, const struct net_header *h,
		       struct iovec *iov, unsigned n, size_t bytes)
{
	struct net_stream *s = stream_of(p);
	ssize_t done;
	int r = stream_flush(p);

	if (r)
		return r;
	s->length = htonl((uint32_t)bytes);
	iov[0] = (struct iovec){ &s->length, LENGTH_BYTES };
	done = pwritev2(p->fd, iov, (int)n, -1, 0);
	if (done < 0)
		return no_memory(errno) ? -errno : judge(errno);
	if ((size_t)done == bytes + LENGTH_BYTES)
		return 0;
	keep(s, iov, n, (size_t)done);
	return 1;
}

/* ---- in ---- */

/* Reads as much as there is and has room: 0, or -errno. */
static int fill(struct net_stream *s)
{
	struct iovec room;
	ssize_t n;

	memmove(s->in, s->in + s->in_from, s->in_to - s->in_from);
	s->in_to -= s->in_from;
	s->in_from = 0;
	room = (struct iovec){ s->in + s->in_to, sizeof(s->in) - s->in_to };
	n = preadv2(s->port.fd, &room, 1, -1, 0);
	if (n < 0)
		return judge(errno);
	s->in_to += (size_t)n;
	return n ? 0 : -ENOLINK;
}

/* The frame that begins what was read: its length, or -EAGAIN: not all of it
 * is there, or -ENOLINK: it can be none. */
static int first_frame(const struct net_stream *s)
{
	size_t there = s->in_to - s->in_from;
	uint32_t length;

	if (there < LENGTH_BYTES)
		return -EAGAIN;
	memcpy(&length, s->in + s->in_from, LENGTH_BYTES);
	length = ntohl(length);
	if (length > NET_FRAME_MAX)
		return -ENOLINK;
	return there - LENGTH_BYTES < length ? -EAGAIN : (int)length;
}

static void scatter(const uint8_t *from, size_t bytes, const struct iovec *iov,
		    unsigned n)
{
	for (unsigned i = 0; i < n && bytes; i++) {
		size_t len = MIN(bytes, iov[i].iov_len);

		memcpy(iov[i].iov_base, from, len);
		from += len;
		bytes -= len;
	}
}

static int stream_receive(struct net_port *p, struct net_header *h,
			  struct iovec *iov, unsigned n)
{
	struct net_stream *s = stream_of(p);
	int bytes = first_frame(s);

	if (bytes == -EAGAIN) {
		int r = fill(s);

		if (r)
			return r;
		bytes = first_frame(s);
	}
	if (bytes < 0)
		return bytes;
	*h = (struct net_header){ 0 };
	if (bytes >= NET_FRAME_MIN)
		scatter(s->in + s->in_from + LENGTH_BYTES, (size_t)bytes,
			iov + 1, n - 1);
	s->in_from += LENGTH_BYTES + (size_t)bytes;
	return bytes >= NET_FRAME_MIN ? bytes : -EBADMSG;
}

static int stream_agree(struct net_port *p, uint64_t features)
{
	return 0;
}

static void stream_destroy(struct net_port *p)
{
	close(p->fd);
	free(stream_of(p));
}

static const struct net_port_ops stream_ops = {
	.send = stream_send,
	.receive = stream_receive,
	.flush = stream_flush,
	.agree = stream_agree,
	.destroy = stream_destroy,
};

struct net_port *net_stream_create(int fd)
{
	struct net_stream *s = calloc(1, sizeof(*s));

	if (!s) {
		close(fd);
		return NULL;
	}
	s->port = (struct net_port){ .ops = &stream_ops, .fd = fd };
	return &s->port;
}
