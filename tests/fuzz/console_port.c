/* SPDX-License-Identifier: Apache-2.0 */
/* The guest agent's port under a hostile driver (ring.c), with clients that
 * come, send, read and leave. */
#include "console_port.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ring.h"

static struct sockaddr_un address; /* the first device's */
static socklen_t address_len;
static struct loop *the_loop;
static int client = -1;

/* At an abstract name of the kernel's choice. */
static int listening(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(a);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a.sun_family)) ||
	    getsockname(fd, (struct sockaddr *)&a, &len) || listen(fd, 4))
		abort();
	if (!address_len) {
		address = a;
		address_len = len;
	}
	return fd;
}

struct virtio *ring_make(const struct virtio_config *c, struct loop *loop)
{
	struct console_port_config port = { .virtio = *c,
					    .loop = loop,
					    .port = "org.example.port",
					    .listen_fd = listening() };
	struct console_port *p;

	signal(SIGPIPE, SIG_IGN);
	the_loop = loop;
	p = console_port_create(&port);
	return p ? &p->virtio : NULL;
}

static void hang_up(void)
{
	if (client >= 0)
		close(client);
	client = -1;
}

static void connect_client(void)
{
	if (client >= 0)
		return;
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (client < 0 ||
	    connect(client, (struct sockaddr *)&address, address_len))
		hang_up();
}

static void step(void)
{
	for (unsigned i = 0; i < 3; i++)
		if (loop_step(the_loop, 0))
			abort();
}

void ring_fresh(struct virtio *v)
{
	hang_up();
	step();
}

void ring_host(struct virtio *v, uint8_t kind, uint16_t a, uint32_t b)
{
	char bytes[4096];

	memset(bytes, (int)b, sizeof(bytes));
	switch (kind % 5) {
	case 0:
		connect_client();
		break;
	case 1:
		hang_up();
		break;
	case 2:
		if (write(client, bytes, a % sizeof(bytes)) < 0)
			break;
		break;
	case 3:
		shutdown(client, SHUT_WR);
		break;
	case 4:
		if (read(client, bytes, 1 + a % sizeof(bytes)) < 0)
			break;
		break;
	}
	/* The device's handlers take its lock. */
	pthread_mutex_unlock(&v->dev.lock);
	step();
	pthread_mutex_lock(&v->dev.lock);
}
