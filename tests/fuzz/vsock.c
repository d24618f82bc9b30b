/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock under a hostile driver (ring.c), a broker that says anything,
 * and programs of the host that come, write, stall and go at any time.
 */
#include "vsock.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ring.h"
#include "util.h"

#define HOSTS 8

static struct vsock *fuzzed;
static struct loop *the_loop;
static int broker = -1;
static int host[HOSTS];

struct virtio *ring_make(const struct virtio_config *c, struct loop *loop)
{
	struct vsock_config config = { .virtio = *c,
				       .guest_cid = 3,
				       .loop = loop };
	struct vsock *v;
	int far_end;

	if (vsock_link_pair(&config.link_fd, &far_end) ||
	    fcntl(far_end, F_SETFL, O_NONBLOCK))
		abort();
	v = vsock_create(&config);
	if (v && !fuzzed) {
		signal(SIGPIPE, SIG_IGN);
		fuzzed = v;
		the_loop = loop;
		broker = far_end;
		for (unsigned i = 0; i < HOSTS; i++)
			host[i] = -1;
	}
	return v ? &v->virtio : NULL;
}

static void close_host(unsigned i)
{
	if (host[i] >= 0)
		close(host[i]);
	host[i] = -1;
}

static void hear_vm(void)
{
	struct vsock_link_fds fds;
	struct vsock_link_msg m;

	while (vsock_link_take(broker, &m, &fds) == 1)
		assert(m.kind == VSOCK_LINK_CONNECT && fds.socket < 0);
}

void ring_fresh(struct virtio *v)
{
	for (unsigned i = 0; i < HOSTS; i++)
		close_host(i);
	for (unsigned i = 0; i < 4; i++)
		loop_step(the_loop, 0);
	hear_vm();
	assert(!fuzzed->table.first_due ||
	       fuzzed->table.first_due->state == VSOCK_FREE);
	fuzzed->table.next_port = 1; /* ports that an input can guess */
}

static void give(unsigned i, uint32_t kind, uint32_t host_port,
		 uint32_t guest_port)
{
	const struct vsock_link_msg m = { kind, host_port, guest_port };
	int s[2], token[2];

	close_host(i);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) ||
	    pipe(token))
		abort();
	vsock_link_give(broker, &m, &(struct vsock_link_fds){ s[0], token[1] });
	close(s[0]);
	close(token[0]);
	close(token[1]);
	host[i] = s[1];
}

static void host_writes(int fd, size_t bytes)
{
	static const uint8_t data[65536];

	if (write(fd, data, MIN(bytes, sizeof(data))) < 0)
		return; /* it is full, or the guest has closed */
}

static void host_reads(int fd)
{
	static uint8_t data[65536];

	while (read(fd, data, sizeof(data)) > 0)
		;
}

static void act(uint8_t kind, uint16_t a, uint32_t b)
{
	const struct vsock_link_msg m[2] = { { kind, b & 3, a & 3 } };
	unsigned i = b >> 8 & (HOSTS - 1);

	switch (kind & 7) {
	case 0:
		give(i, VSOCK_LINK_INCOMING, b, a & 3);
		break;
	case 1:
		give(i, VSOCK_LINK_CONNECTED, b & 3, a & 3);
		break;
	case 2:
		give(i, kind >> 3, b & 3, a & 3);
		fuzzed->tell_reset = a & 4; /* as if it were restored */
		break;
	case 3:
		host_writes(host[i], a);
		break;
	case 4:
		host_reads(host[i]);
		break;
	case 5:
		shutdown(host[i], a % 3);
		break;
	case 6:
		close_host(i);
		break;
	case 7:
		if (write(broker, m, a % (sizeof(*m) + 2)) < 0)
			return;
		break;
	}
}

/* No connection has more than it may. */
static void check(void)
{
	const struct vsock_table *t = &fuzzed->table;

	assert(t->used <= VSOCK_MAX_CONNECTIONS);
	assert(fuzzed->nstrays <= VSOCK_MAX_STRAYS);
	for (unsigned i = 0; i < t->used; i++) {
		const struct vsock_conn *c = &t->pool[i];

		assert(c->len + (c->buf ? c->at : 0) <= VSOCK_BUF_BYTES);
		assert(!c->len || c->buf);
		assert(c->state != VSOCK_FREE ||
		       (!c->buf && c->fds.socket < 0));
		assert(c->state == VSOCK_FREE || c->state == VSOCK_LINGERING ||
		       vsock_find(t, c->host_port, c->guest_port) == c);
	}
}

void ring_host(struct virtio *v, uint8_t kind, uint16_t a, uint32_t b)
{
	/* The loop's handlers take it. */
	pthread_mutex_unlock(&v->dev.lock);
	act(kind, a, b);
	for (unsigned i = 0; i < 3; i++)
		loop_step(the_loop, 0);
	hear_vm();
	pthread_mutex_lock(&v->dev.lock);
	check();
}
