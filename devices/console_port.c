/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console's one port. What happens, here or there, ends in the same few
 * steps, each of which does what can be done now and no more:
 *
 *   take_messages   what the driver says of the port
 *   tell            what it has still to hear
 *   transmit        its chains to the client
 *   receive         the client's bytes to its buffers
 *   watch           which events of the client are waited for
 *
 * A chain that cannot be served is put back into its queue, so none is ever in
 * flight when the machine pauses.
 */
#include "console_port.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "fdio.h"
#include "util.h"

#define VIRTIO_ID_CONSOLE 3
#define F_MULTIPORT	  (UINT64_C(1) << 1)
#define CONFIG_PORTS	  4 /* le32, behind columns and rows */
#define CONFIG_BYTES	  8

#define ROUND	   16	  /* chains of a queue */
#define READ_BYTES 65536u /* of a buffer of the guest's */

enum { RECEIVE, TRANSMIT, CONTROL_IN, CONTROL_OUT, QUEUES };

/* Control messages (5.3.6.2). */
enum {
	DEVICE_READY,
	DEVICE_ADD,
	DEVICE_REMOVE,
	MESSAGE_READY,
	CONSOLE_PORT,
	RESIZE,
	MESSAGE_OPEN,
	MESSAGE_NAME
};
struct message {
	uint32_t id;
	uint16_t event, value;
};

static const struct state_field port_fields[] = {
	VIRTIO_STATE_ROWS(struct console_port_state, virtio),
	STATE(struct console_port_state, told, 1),
	STATE(struct console_port_state, sent, 1),
};
static const struct state_desc port_desc =
    STATE_DESC("console-port", 1, struct console_port_state, port_fields);

static struct console_port *port_of(struct virtio *v)
{
	return container_of(v, struct console_port, virtio);
}

static bool is(const struct console_port *p, uint32_t told)
{
	return (p->st.told & told) == told;
}

static bool has_client(const struct console_port *p)
{
	return p->client.fd >= 0;
}

/* The guest knows of this very client. */
static bool introduced(const struct console_port *p)
{
	return has_client(p) && is(p, PORT_HOST_OPEN) && !p->fresh;
}

/* May queues be looked at? (The rest is virtq_pop's to see.) */
static bool awake(const struct console_port *p)
{
	return !p->virtio.quiet && p->st.virtio.status & VIRTIO_DRIVER_OK;
}

/* ---- what the driver says ---- */

/* 0, or -EINVAL: it makes no sense now. */
static int obey(struct console_port *p, const struct message *m)
{
	if (m->event == DEVICE_READY) {
		if (m->value != 1 || is(p, PORT_DEVICE_READY))
			return -EINVAL;
		p->st.told |= PORT_DEVICE_READY;
		return 0;
	}
	if (m->id != 0 || m->value > 1 || !is(p, PORT_ADDED))
		return -EINVAL;
	if (m->event == MESSAGE_READY && m->value && !is(p, PORT_READY)) {
		p->st.told |= PORT_READY;
		return 0;
	}
	if (m->event != MESSAGE_OPEN || !is(p, PORT_READY))
		return -EINVAL;
	p->st.told &= ~(uint32_t)PORT_GUEST_OPEN;
	p->st.told |= m->value ? PORT_GUEST_OPEN : 0;
	return 0;
}

static int take_message(struct console_port *p, struct virtq_chain *c)
{
	struct message m;
	int64_t n = virtq_read(c, &m, sizeof(m));

	if (n < 0)
		return (int)n;
	if (n != sizeof(m) || obey(p, &m)) {
		p->count.refused_messages++;
		log_guest(&p->virtio.mistakes, p->virtio.dev.name,
			  "a control message that makes no sense");
	}
	virtq_push(c, 0);
	return 0;
}

static void take_messages(struct console_port *p)
{
	struct virtq *q = &p->virtio.q[CONTROL_OUT];
	struct virtq_chain c;
	unsigned left = ROUND;

	do {
		while (left && virtq_pop(q, &c) == 1) {
			left--;
			if (take_message(p, &c))
				return;
		}
	} while (left && virtq_enable_kicks(q));
	virtq_interrupt(q);
	if (!left)
		loop_post(p->loop, &p->more);
}

/* ---- what it has still to hear ---- */

/* The next one; false: it knows all. *then is what `told` is afterwards. */
static bool next_message(const struct console_port *p, struct message *m,
			 uint32_t *then)
{
	uint32_t told = p->st.told;

	*m = (struct message){ 0 };
	if (!is(p, PORT_DEVICE_READY))
		return false;
	if (!is(p, PORT_ADDED)) {
		m->event = DEVICE_ADD;
		*then = told | PORT_ADDED;
	} else if (!is(p, PORT_READY)) {
		return false;
	} else if (!is(p, PORT_NAMED)) {
		m->event = MESSAGE_NAME;
		m->value = 1;
		*then = told | PORT_NAMED;
	} else if (is(p, PORT_HOST_OPEN) != introduced(p)) {
		m->event = MESSAGE_OPEN;
		*then = told & ~(uint32_t)PORT_HOST_OPEN;
	} else if (is(p, PORT_HOST_OPEN) != has_client(p)) {
		m->event = MESSAGE_OPEN;
		m->value = 1;
		*then = told | PORT_HOST_OPEN;
	} else {
		return false;
	}
	return true;
}

/* How many bytes were written into the chain: all, or it was too small. */
static int64_t put_message(const struct console_port *p, struct virtq_chain *c,
			   const struct message *m)
{
	uint8_t bytes[sizeof(*m) + CONSOLE_PORT_NAME_MAX];
	size_t len = sizeof(*m), name = strlen(p->name);
	int64_t n;

	memcpy(bytes, m, sizeof(*m));
	if (m->event == MESSAGE_NAME) {
		memcpy(bytes + len, p->name, name);
		len += name;
	}
	n = virtq_write(c, bytes, len);
	return n < 0 || n == (int64_t)len ? n : 0;
}

static void tell(struct console_port *p)
{
	struct virtq *q = &p->virtio.q[CONTROL_IN];
	struct virtq_chain c;
	struct message m;
	uint32_t then;

	for (unsigned left = ROUND; left && next_message(p, &m, &then);
	     left--) {
		int64_t n;

		if (virtq_pop(q, &c) != 1) {
			if (virtq_enable_kicks(q))
				continue;
			break;
		}
		n = put_message(p, &c, &m);
		if (n < 0)
			return;
		virtq_push(&c, (uint32_t)n);
		if (n == 0) {
			p->count.refused_messages++;
			continue;
		}
		p->st.told = then;
		if (m.event == MESSAGE_OPEN && !m.value)
			p->fresh = false;
	}
	virtq_interrupt(q);
}

/* ---- from the guest to the client ---- */

enum served { SERVED, WAITS, BROKEN };

/* Writes a buffer. False: the client takes no more now. */
static bool write_part(struct console_port *p, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = fd_write(p->client.fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			/* Its input may still be read to the end. */
			p->full = errno == EAGAIN;
			if (p->full)
				return false;
			p->gone = true;
			p->count.dropped_bytes += len;
			return true;
		}
		data += n;
		len -= (size_t)n;
		p->st.sent += (uint32_t)n;
		p->count.out_bytes += (uint64_t)n;
	}
	return true;
}

/* What of the chain has not gone yet, to the client or, without one, nowhere.
 */
static enum served send_chain(struct console_port *p, struct virtq_chain *c)
{
	uint64_t at = 0;
	struct virtq_desc d;
	int got;

	while ((got = virtq_next(c, &d)) == 1 && !d.writable) {
		uint64_t skip = MIN(d.len, p->st.sent - MIN(at, p->st.sent));

		at += d.len;
		if (at > CONSOLE_PORT_CHAIN_BYTES) {
			virtio_broken(&p->virtio, "more than 1 MiB at once");
			return BROKEN;
		}
		if (!introduced(p) || p->gone)
			p->count.dropped_bytes += d.len - skip;
		else if (!write_part(p, d.data + skip, d.len - skip))
			return WAITS;
	}
	if (got < 0)
		return BROKEN;
	virtq_push(c, 0);
	p->st.sent = 0;
	return SERVED;
}

static void transmit(struct console_port *p)
{
	struct virtq *q = &p->virtio.q[TRANSMIT];
	struct virtq_chain c;
	unsigned left = ROUND;

	do {
		while (left && !p->full && virtq_pop(q, &c) == 1) {
			enum served s = send_chain(p, &c);

			left--;
			if (s == BROKEN)
				return;
			if (s == WAITS)
				virtq_unpop(q, 1);
		}
	} while (left && !p->full && virtq_enable_kicks(q));
	virtq_interrupt(q);
	if (!left)
		loop_post(p->loop, &p->more);
}

/* ---- from the client to the guest ---- */

static bool may_receive(const struct console_port *p)
{
	return introduced(p) && is(p, PORT_GUEST_OPEN) && !p->ended;
}

/* What the client has sent, up to `len`; 0: nothing is there, or its end is. */
static size_t take_input(struct console_port *p, uint8_t *data, size_t len)
{
	size_t kept = p->has_kept;
	ssize_t n = 0;

	if (kept)
		data[0] = p->kept;
	p->has_kept = false;
	if (kept < len)
		n = fd_read(p->client.fd, data + kept, len - kept);
	p->ended = kept < len &&
		   (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR));
	return kept + (size_t)MAX(n, (ssize_t)0);
}

/* It has hung up, and the guest has no room: has it left anything to wait for?
 * Only a read tells. */
static void look_ahead(struct console_port *p)
{
	if (!p->has_kept && may_receive(p))
		p->has_kept = take_input(p, &p->kept, 1) == 1;
}

/* Fills a chain's first buffer. */
static enum served fill_chain(struct console_port *p, struct virtq_chain *c)
{
	struct virtq_desc d = { .len = 0 };
	size_t n;
	int got;

	do
		got = virtq_next(c, &d);
	while (got == 1 && d.writable && !d.len);
	if (got == 1 && !d.writable)
		got = virtio_broken(&p->virtio, "a buffer of the receive queue "
						"that cannot be filled");
	if (got < 0)
		return BROKEN;
	if (got == 0) {
		virtq_push(c, 0); /* no room at all: legal, and useless */
		return SERVED;
	}
	n = take_input(p, d.data, MIN(d.len, READ_BYTES));
	if (n == 0)
		return WAITS;
	virtq_wrote(c, &d, (uint32_t)n);
	virtq_push(c, (uint32_t)n);
	p->count.in_bytes += n;
	return SERVED;
}

static void receive(struct console_port *p)
{
	struct virtq *q = &p->virtio.q[RECEIVE];
	struct virtq_chain c;

	p->starved = false;
	for (unsigned left = ROUND; left && may_receive(p); left--) {
		enum served s;

		if (virtq_pop(q, &c) != 1) {
			if (virtq_enable_kicks(q))
				continue;
			p->starved = true;
			break;
		}
		s = fill_chain(p, &c);
		if (s == BROKEN)
			return;
		if (s == WAITS) {
			virtq_unpop(q, 1);
			break;
		}
	}
	virtq_interrupt(q);
}

/* ---- the client ---- */

static void set_events(struct console_port *p, struct loop_source *s,
		       uint32_t events)
{
	int err;

	if (s->events == events)
		return;
	err = loop_set_events(p->loop, s, events);
	if (err)
		log_error(p->virtio.dev.name, "wait for the client: %s",
			  strerror(-err));
}

/* I/O thread. A hang-up is always told while anything is waited for, and would
 * be for ever: who has seen it waits for nothing. */
static void watch(struct console_port *p)
{
	uint32_t events = p->gone ? 0 : EPOLLERR;

	set_events(p, &p->listener.source, has_client(p) ? 0 : EPOLLIN);
	if (!has_client(p))
		return;
	if (may_receive(p) && !p->starved)
		events |= EPOLLIN;
	if (p->full)
		events |= EPOLLOUT;
	set_events(p, &p->client, p->virtio.quiet ? 0 : events);
}

static void forget_client(struct console_port *p)
{
	loop_del(p->loop, &p->client);
	close(p->client.fd);
	p->client.fd = -1;
	p->fresh = p->ended = p->gone = p->full = p->has_kept = false;
}

/* It has left, or will get nothing to the guest any more. */
static bool is_over(const struct console_port *p)
{
	return has_client(p) && p->gone && !may_receive(p);
}

/* All that can be done now. I/O thread, lock held. */
static void serve(struct console_port *p)
{
	if (awake(p)) {
		take_messages(p);
		tell(p);
		transmit(p);
		receive(p);
		if (p->gone && p->starved)
			look_ahead(p);
	}
	if (is_over(p) && !p->virtio.quiet) {
		forget_client(p);
		if (awake(p)) {
			tell(p);
			transmit(p);
		}
	}
	watch(p);
}

static void go_on(struct loop_task *t)
{
	struct console_port *p = container_of(t, struct console_port, more);
	_locked_(&p->virtio.dev.lock);

	serve(p);
}

static void client_ready(struct loop_source *s, uint32_t events)
{
	struct console_port *p = container_of(s, struct console_port, client);
	_locked_(&p->virtio.dev.lock);

	/* While it is quiet, the event stays: it comes again. */
	if (!p->virtio.quiet) {
		p->gone |= (events & (EPOLLHUP | EPOLLERR)) != 0;
		p->full = false;
	}
	serve(p);
}

static void connected(struct listener *l, int fd, bool allowed)
{
	struct console_port *p = container_of(l, struct console_port, listener);
	_locked_(&p->virtio.dev.lock);

	if (!allowed || has_client(p)) {
		close(fd);
		p->count.refused_clients++;
		return;
	}
	p->client = (struct loop_source){ .fd = fd, .ready = client_ready };
	if (loop_add(p->loop, &p->client)) {
		close(fd);
		p->client.fd = -1;
		p->count.refused_clients++;
		return;
	}
	p->count.clients++;
	p->fresh = is(p, PORT_HOST_OPEN);
	serve(p);
}

/* ---- the transport's side ---- */

static void port_kick(struct virtio *v, unsigned queue)
{
	/* All queues are looked at for the first: they hang together. */
	if (queue == 0 || !v->q[0].desc)
		serve(port_of(v));
}

/* On a vCPU's thread, maybe: events are the I/O thread's to set. */
static void port_reset(struct virtio *v)
{
	struct console_port *p = port_of(v);

	p->fresh = p->full = p->starved = false;
	loop_post(p->loop, &p->more);
}

static void port_resume(struct virtio *v)
{
	serve(port_of(v));
}

static bool port_fits(struct virtio *v)
{
	struct console_port *p = port_of(v);
	uint32_t told = p->st.told;
	const uint32_t chain = PORT_NAMED * 2 - 1;

	/* Without holes, as they were set one after the other. */
	if ((told & chain) & ((told & chain) + 1))
		return false;
	if (told & ~(chain | PORT_GUEST_OPEN | PORT_HOST_OPEN) ||
	    (told & PORT_GUEST_OPEN && !(told & PORT_READY)) ||
	    (told & PORT_HOST_OPEN && !(told & PORT_NAMED)))
		return false;
	p->fresh = has_client(p) && told & PORT_HOST_OPEN;
	p->full = p->starved = false;
	return p->st.sent <= CONSOLE_PORT_CHAIN_BYTES;
}

static uint64_t read_config(struct virtio *v, uint64_t off, unsigned len)
{
	const uint8_t config[CONFIG_BYTES] = { [CONFIG_PORTS] = 1 };
	uint64_t value = 0;

	memcpy(&value, config + off, len);
	return value;
}

static const struct virtio_class port_class = {
	.id = VIRTIO_ID_CONSOLE,
	.nqueues = QUEUES,
	.queue_max = 64,
	.features = F_MULTIPORT,
	.kick = port_kick,
	.reset = port_reset,
	.resume = port_resume,
	.fits = port_fits,
	.config_bytes = CONFIG_BYTES,
	.config_read = read_config,
};

/* ---- its life ---- */

static void port_destroy(struct device *d)
{
	struct console_port *p = port_of(virtio_of(d));

	if (has_client(p))
		forget_client(p);
	listener_fini(&p->listener);
	close(p->listener.source.fd);
	loop_unpost(p->loop, &p->more);
	device_fini(d);
	free(p);
}

static const struct device_counter port_counters[] = {
	VIRTIO_COUNTERS(struct console_port),
	DEVICE_COUNTER(struct console_port, "clients", count.clients),
	DEVICE_COUNTER(struct console_port, "refused_clients",
		       count.refused_clients),
	DEVICE_COUNTER(struct console_port, "in_bytes", count.in_bytes),
	DEVICE_COUNTER(struct console_port, "out_bytes", count.out_bytes),
	DEVICE_COUNTER(struct console_port, "dropped_bytes",
		       count.dropped_bytes),
	DEVICE_COUNTER(struct console_port, "refused_messages",
		       count.refused_messages),
};

static const struct device_ops port_ops = {
	VIRTIO_OPS,
	.type = "console-port",
	.state = &port_desc,
	.destroy = port_destroy,
	.counter = port_counters,
	.ncounters = ARRAY_SIZE(port_counters),
};

struct console_port *console_port_create(const struct console_port_config *c)
{
	struct console_port *p = calloc(1, sizeof(*p));

	if (!p) {
		close(c->listen_fd);
		return NULL;
	}
	assert(strlen(c->port) < sizeof(p->name));
	memcpy(p->name, c->port, strlen(c->port) + 1);
	p->loop = c->loop;
	p->more.run = go_on;
	p->client.fd = -1;
	virtio_init(&p->virtio, &port_ops, &port_class, &p->st, &c->virtio);
	if (listener_init(&p->listener, c->loop, c->listen_fd, c->virtio.name,
			  connected)) {
		port_destroy(&p->virtio.dev);
		return NULL;
	}
	return p;
}
