/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock between a driver, well behaved or not, and a host: the test
 * plays the driver, the broker and the programs on the host.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus.h"
#include "log.h"
#include "util.h"
#include "vsock.h"

#define RAM	  MIB(8)
#define BASE	  0xd0000000
#define RING(q)	  (0x10000 + (q)*0x4000) /* its rings */
#define AVAIL(q)  (RING(q) + 0x1000)
#define USED(q)	  (RING(q) + 0x2000)
#define SIZE	  64
#define RX_AT(i)  (0x100000 + (uint64_t)(i)*0x2000)
#define RX_BYTES  0x2000
#define TX_AT	  0x300000
#define EVENT_AT  0x400000
#define CID	  5
#define PORT	  1000 /* of the guest */
#define HOST_PORT 2000

static struct loop loop;
static struct gmem ram;
static struct bus mmio;
static struct vsock *v;
static int broker = -1; /* our end of the link */
static uint16_t offered[VSOCK_QUEUES], seen[VSOCK_QUEUES];
static uint32_t guest_fwd; /* what the driver says it has consumed */
static uint32_t guest_alloc;

static struct vsock *create(int *far_end)
{
	struct vsock_config c = {
		.virtio = { .name = "vsock0", .ram = &ram, .kick_fd = -1 },
		.guest_cid = CID,
		.loop = &loop,
	};

	irq_init(&c.virtio.irq, -1, 0);
	cr_assert_eq(vsock_link_pair(&c.link_fd, far_end), 0);
	return vsock_create(&c);
}

static void init(void)
{
	struct gmem_region region = { 0, RAM, 0 };

	log_setup(2, LOG_ERROR);
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(loop_init(&loop), 0);
	cr_assert_eq(gmem_init(&ram, &region, 1), 0);
	v = create(&broker);
	cr_assert_not_null(v);
	bus_init(&mmio, "mmio");
	cr_assert_eq(bus_add(&mmio, BASE, 0x1000, &v->virtio.dev), 0);
}

static void fini(void)
{
	int link = v->link_fd;

	device_destroy(&v->virtio.dev);
	close(link);
	if (broker >= 0)
		close(broker);
	loop_fini(&loop);
	gmem_fini(&ram);
}

TestSuite(vsock, .init = init, .fini = fini);

/* ---- a driver ---- */

static uint32_t get(unsigned reg)
{
	uint32_t value;

	bus_read(&mmio, BASE + reg, &value, 4);
	return value;
}

static void set(unsigned reg, uint32_t value)
{
	bus_write(&mmio, BASE + reg, &value, 4);
}

static void put16(uint64_t at, uint16_t value)
{
	cr_assert_eq(gmem_write(&ram, GPA(at), &value, 2), 0);
}

static uint16_t get16(uint64_t at)
{
	uint16_t value;

	cr_assert_eq(gmem_read(&ram, GPA(at), &value, 2), 0);
	return value;
}

static void put_desc(unsigned q, unsigned i, uint64_t addr, uint32_t len,
		     uint16_t flags, uint16_t next)
{
	struct vring_desc d = { addr, len, flags, next };

	cr_assert_eq(
	    gmem_write(&ram, GPA(RING(q) + i * sizeof(d)), &d, sizeof(d)), 0);
}

static void offer(unsigned q, uint16_t head)
{
	put16(AVAIL(q) + 4 + 2 * (offered[q] % SIZE), head);
	put16(AVAIL(q) + 2, ++offered[q]);
}

static void kick(unsigned q)
{
	set(VIRTIO_QUEUE_NOTIFY, q);
}

static void negotiate(void)
{
	const uint32_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;

	set(VIRTIO_STATUS, 0);
	set(VIRTIO_STATUS, status);
	set(VIRTIO_DRIVER_FEATURES_SEL, 1);
	set(VIRTIO_DRIVER_FEATURES, 1);
	set(VIRTIO_STATUS, status | VIRTIO_FEATURES_OK);
	for (unsigned q = 0; q < VSOCK_QUEUES; q++) {
		set(VIRTIO_QUEUE_SEL, q);
		set(VIRTIO_QUEUE_NUM, SIZE);
		set(VIRTIO_QUEUE_DESC_LOW, RING(q));
		set(VIRTIO_QUEUE_DRIVER_LOW, (uint32_t)AVAIL(q));
		set(VIRTIO_QUEUE_DEVICE_LOW, (uint32_t)USED(q));
		set(VIRTIO_QUEUE_READY, 1);
		put16(AVAIL(q) + 2, 0);
		put16(USED(q) + 2, 0);
		offered[q] = seen[q] = 0;
	}
	set(VIRTIO_STATUS, status | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
	cr_assert(get(VIRTIO_STATUS) & VIRTIO_DRIVER_OK);
}

static void offer_rx(unsigned i)
{
	put_desc(VSOCK_RX, i, RX_AT(i), RX_BYTES, VRING_DESC_WRITE, 0);
	offer(VSOCK_RX, (uint16_t)i);
}

/* Ready, with so many buffers to receive in. */
static void start(unsigned buffers)
{
	guest_fwd = 0;
	guest_alloc = MIB(1);
	negotiate();
	for (unsigned i = 0; i < buffers; i++)
		offer_rx(i);
	kick(VSOCK_RX);
}

static bool broken(void)
{
	return get(VIRTIO_STATUS) & VIRTIO_NEEDS_RESET;
}

/* The loop, until nothing more happens at once. */
static void settle(void)
{
	for (unsigned i = 0; i < 40; i++)
		cr_assert_eq(loop_step(&loop, 0), 0);
}

static uint8_t data[RX_BYTES];

/* The next packet for the driver, its data in `data`; its buffer is offered
 * again. False: there is none. */
static bool receive(struct vsock_packet *h)
{
	uint32_t used[2];
	unsigned at = seen[VSOCK_RX] % SIZE;

	settle();
	if (get16(USED(VSOCK_RX) + 2) == seen[VSOCK_RX])
		return false;
	cr_assert_eq(gmem_read(&ram, GPA(USED(VSOCK_RX) + 4 + 8 * at), used,
			       sizeof(used)),
		     0);
	seen[VSOCK_RX]++;
	cr_assert_eq(gmem_read(&ram, GPA(RX_AT(used[0])), h, sizeof(*h)), 0);
	cr_assert_eq(used[1], sizeof(*h) + h->len);
	cr_assert_leq(used[1], RX_BYTES);
	cr_assert_eq(
	    gmem_read(&ram, GPA(RX_AT(used[0]) + sizeof(*h)), data, h->len), 0);
	guest_fwd += h->len;
	offer_rx(used[0]);
	kick(VSOCK_RX);
	return true;
}

static struct vsock_packet packet(uint32_t host_port, uint32_t guest_port,
				  enum vsock_op op, uint32_t len)
{
	return (struct vsock_packet){ .src_cid = CID,
				      .dst_cid = VSOCK_HOST_CID,
				      .src_port = guest_port,
				      .dst_port = host_port,
				      .len = len,
				      .type = VSOCK_TYPE_STREAM,
				      .op = (uint16_t)op,
				      .buf_alloc = guest_alloc,
				      .fwd_cnt = guest_fwd };
}

static void send_raw(const void *bytes, uint32_t len)
{
	cr_assert_eq(gmem_write(&ram, GPA(TX_AT), bytes, len), 0);
	put_desc(VSOCK_TX, 0, TX_AT, len, 0, 0);
	offer(VSOCK_TX, 0);
	kick(VSOCK_TX);
}

static void send_packet(const struct vsock_packet *h, const void *bytes)
{
	static uint8_t whole[sizeof(*h) + 2 * VSOCK_BUF_BYTES];

	memcpy(whole, h, sizeof(*h));
	memcpy(whole + sizeof(*h), bytes, h->len);
	send_raw(whole, (uint32_t)sizeof(*h) + h->len);
	cr_assert_eq(get16(USED(VSOCK_TX) + 2), offered[VSOCK_TX]);
}

static void send_op(uint32_t host_port, enum vsock_op op, uint32_t flags)
{
	struct vsock_packet h = packet(host_port, PORT, op, 0);

	h.flags = flags;
	send_packet(&h, "");
}

static void send_data(uint32_t host_port, const void *bytes, uint32_t len)
{
	struct vsock_packet h = packet(host_port, PORT, VSOCK_OP_RW, len);

	send_packet(&h, bytes);
}

/* The next packet is this one. */
static struct vsock_packet expect(uint32_t host_port, enum vsock_op op)
{
	struct vsock_packet h;

	cr_assert(receive(&h), "no packet, op %d expected", op);
	cr_assert_eq(h.op, op, "op %u, not %d", h.op, op);
	cr_assert_eq(h.src_cid, VSOCK_HOST_CID);
	cr_assert_eq(h.dst_cid, CID);
	cr_assert_eq(h.src_port, host_port);
	cr_assert_eq(h.dst_port, PORT);
	cr_assert_eq(h.type, VSOCK_TYPE_STREAM);
	return h;
}

static void expect_nothing(void)
{
	struct vsock_packet h;

	cr_assert(!receive(&h), "op %u came", h.op);
}

static void expect_data(uint32_t host_port, const void *bytes, uint32_t len)
{
	struct vsock_packet h = expect(host_port, VSOCK_OP_RW);

	cr_assert_eq(h.len, len);
	cr_assert_arr_eq(data, bytes, len);
}

/* ---- the host ---- */

struct host {
	int sock;  /* a program's end */
	int token; /* the broker's */
};

static struct host make_fds(struct vsock_link_fds *fds)
{
	int s[2], t[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), 0);
	cr_assert_eq(pipe2(t, O_NONBLOCK), 0);
	*fds = (struct vsock_link_fds){ s[0], t[1] };
	return (struct host){ s[1], t[0] };
}

/* The broker gives a connection, as `m` says. */
static struct host give_connection(uint32_t kind, uint32_t host_port,
				   uint32_t guest_port)
{
	const struct vsock_link_msg m = { kind, host_port, guest_port };
	struct vsock_link_fds fds;
	struct host h = make_fds(&fds);

	cr_assert_eq(vsock_link_give(broker, &m, &fds), 0);
	vsock_link_close_fds(&fds);
	settle();
	return h;
}

static void expect_asked(uint32_t host_port, uint32_t guest_port)
{
	struct vsock_link_fds fds;
	struct vsock_link_msg m;

	cr_assert_eq(vsock_link_take(broker, &m, &fds), 1);
	cr_assert_eq(m.kind, VSOCK_LINK_CONNECT);
	cr_assert_eq(m.host_port, host_port);
	cr_assert_eq(m.guest_port, guest_port);
}

/* The guest has connected to HOST_PORT. */
static struct host guest_connected(uint32_t host_port)
{
	struct host h;

	send_op(host_port, VSOCK_OP_REQUEST, 0);
	expect_asked(host_port, PORT);
	h = give_connection(VSOCK_LINK_CONNECTED, host_port, PORT);
	expect(host_port, VSOCK_OP_RESPONSE);
	return h;
}

static bool ended(int fd)
{
	char c;

	settle();
	return read(fd, &c, 1) == 0;
}

static void expect_host_reads(int fd, const char *text)
{
	char got[256] = "";

	settle();
	cr_assert_eq(read(fd, got, sizeof(got) - 1), (ssize_t)strlen(text));
	cr_assert_str_eq(got, text);
}

static void host_writes(int fd, const void *bytes, size_t len)
{
	cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
}

static unsigned connections(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < v->table.used; i++)
		n += v->table.pool[i].state != VSOCK_FREE;
	return n;
}

/* ---- connecting ---- */

Test(vsock, cid_when_read_in_parts_is_the_one_given)
{
	cr_assert_eq(get(VIRTIO_DEVICE_ID), 19);
	cr_assert_eq(get(VIRTIO_CONFIG), CID);
	cr_assert_eq(get(VIRTIO_CONFIG + 4), 0);
}

Test(vsock, guest_connect_when_the_host_listens_is_answered)
{
	struct host h;

	start(8);
	h = guest_connected(HOST_PORT);
	send_data(HOST_PORT, "from the guest", 14);
	expect_host_reads(h.sock, "from the guest");
	host_writes(h.sock, "from the host", 13);
	expect_data(HOST_PORT, "from the host", 13);
	expect_nothing();
	cr_assert_eq(v->accepted, 1);
	cr_assert_not(broken());
}

Test(vsock, guest_connect_when_nobody_listens_is_reset)
{
	const struct vsock_link_msg no = { VSOCK_LINK_REFUSED, HOST_PORT,
					   PORT };

	start(8);
	send_op(HOST_PORT, VSOCK_OP_REQUEST, 0);
	expect_asked(HOST_PORT, PORT);
	expect_nothing();
	cr_assert_eq(vsock_link_tell(broker, &no), 0);
	expect(HOST_PORT, VSOCK_OP_RST);
	expect_nothing();
	cr_assert_eq(connections(), 0);
	cr_assert_eq(v->refused, 1);
}

Test(vsock, guest_connect_when_the_broker_is_behind_or_gone_is_reset)
{
	const struct vsock_link_msg m = { VSOCK_LINK_CONNECT, 1, 1 };

	start(8);
	while (vsock_link_tell(v->link_fd, &m) == 0)
		;
	send_op(HOST_PORT, VSOCK_OP_REQUEST, 0);
	expect(HOST_PORT, VSOCK_OP_RST);
	close(broker);
	broker = -1;
	settle();
	send_op(HOST_PORT, VSOCK_OP_REQUEST, 0);
	expect(HOST_PORT, VSOCK_OP_RST);
	cr_assert_eq(v->refused, 2);
	cr_assert_eq(connections(), 0);
}

Test(vsock, guest_connect_when_given_up_closes_what_comes_late)
{
	struct host h;

	start(8);
	send_op(HOST_PORT, VSOCK_OP_REQUEST, 0);
	send_op(HOST_PORT, VSOCK_OP_RST, 0);
	cr_assert_eq(connections(), 0);
	h = give_connection(VSOCK_LINK_CONNECTED, HOST_PORT, PORT);
	cr_assert(ended(h.sock));
	expect_nothing();
}

/* The host port of a connection that a host program asked for. */
static uint32_t offered_port(void)
{
	struct vsock_packet h;

	cr_assert(receive(&h));
	cr_assert_eq(h.op, VSOCK_OP_REQUEST);
	cr_assert_eq(h.dst_port, PORT);
	return h.src_port;
}

Test(vsock, host_connect_when_the_guest_listens_is_told_its_port)
{
	struct host a, b;
	uint32_t port, port2;
	char text[32];

	start(8);
	a = give_connection(VSOCK_LINK_INCOMING, 0, PORT);
	port = offered_port();
	cr_assert_eq(read(a.sock, text, 1), -1); /* not accepted yet */
	send_op(port, VSOCK_OP_RESPONSE, 0);
	snprintf(text, sizeof(text), "OK %u\n", port);
	expect_host_reads(a.sock, text);
	b = give_connection(VSOCK_LINK_INCOMING, 0, PORT);
	port2 = offered_port();
	cr_assert_neq(port, port2);
	/* One that is in use is passed over when its turn comes again. */
	v->table.next_port = port;
	close(give_connection(VSOCK_LINK_INCOMING, 0, PORT).sock);
	cr_assert_gt(offered_port(), port2);
	cr_assert(receive(&(struct vsock_packet){ 0 })); /* its RST */
	send_op(port2, VSOCK_OP_RESPONSE, 0);
	host_writes(a.sock, "one", 3);
	expect_data(port, "one", 3);
	host_writes(b.sock, "two", 3);
	expect_data(port2, "two", 3);
	cr_assert_eq(v->connected, 2);
}

Test(vsock, host_connect_when_the_guest_refuses_is_closed)
{
	struct host h;

	start(8);
	h = give_connection(VSOCK_LINK_INCOMING, 0, PORT);
	send_op(offered_port(), VSOCK_OP_RST, 0);
	cr_assert(ended(h.sock));
	cr_assert_eq(connections(), 0);
}

Test(vsock, host_connect_when_it_leaves_before_the_answer_is_reset)
{
	struct host h;
	uint32_t port;

	start(8);
	h = give_connection(VSOCK_LINK_INCOMING, 0, PORT);
	port = offered_port();
	close(h.sock);
	expect(port, VSOCK_OP_RST);
	/* The guest's answer crossed it. */
	send_op(port, VSOCK_OP_RESPONSE, 0);
	expect(port, VSOCK_OP_RST);
	expect_nothing();
	cr_assert_eq(connections(), 0);
}

Test(vsock, host_connect_when_there_is_no_driver_is_closed)
{
	struct host h = give_connection(VSOCK_LINK_INCOMING, 0, PORT);

	cr_assert(ended(h.sock));
	cr_assert_eq(v->refused, 1);
}

/* ---- what the broker may not say ---- */

Test(vsock, link_messages_that_make_no_sense_do_nothing)
{
	const struct vsock_link_msg no_fds = { VSOCK_LINK_INCOMING, 0, PORT };
	const struct vsock_link_msg unknown = { VSOCK_LINK_CONNECTED, 1, 2 };
	struct host h;

	start(8);
	cr_assert_eq(write(broker, "short", 5), 5);
	cr_assert_eq(write(broker, data, 200), 200);
	cr_assert_eq(vsock_link_tell(broker, &no_fds), 0);
	cr_assert_eq(vsock_link_tell(broker, &unknown), 0);
	h = give_connection(77, HOST_PORT, PORT);
	cr_assert(ended(h.sock));
	h = give_connection(VSOCK_LINK_CONNECTED, HOST_PORT, PORT);
	cr_assert(ended(h.sock));
	expect_nothing();
	cr_assert_eq(connections(), 0);
	/* It still works. */
	guest_connected(HOST_PORT);
	/* An answer twice. */
	h = give_connection(VSOCK_LINK_CONNECTED, HOST_PORT, PORT);
	cr_assert(ended(h.sock));
	expect_nothing();
	cr_assert_eq(connections(), 1);
}

/* ---- credit ---- */

Test(vsock, host_data_beyond_the_guests_credit_waits_for_it)
{
	uint8_t bytes[1000];
	struct vsock_packet h;
	struct host host;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	start(8);
	guest_alloc = 100;
	host = guest_connected(HOST_PORT);
	host_writes(host.sock, bytes, sizeof(bytes));
	expect_data(HOST_PORT, bytes, 100);
	/* Asked for once, however often something else happens. */
	expect(HOST_PORT, VSOCK_OP_CREDIT_REQUEST);
	host_writes(host.sock, "x", 1);
	expect_nothing();
	send_op(HOST_PORT, VSOCK_OP_CREDIT_UPDATE, 0);
	expect_data(HOST_PORT, bytes + 100, 100);
	expect(HOST_PORT, VSOCK_OP_CREDIT_REQUEST);
	guest_alloc = 5000;
	send_op(HOST_PORT, VSOCK_OP_CREDIT_UPDATE, 0);
	h = expect(HOST_PORT, VSOCK_OP_RW);
	cr_assert_eq(h.len, 801);
	cr_assert_arr_eq(data, bytes + 200, 800);
}

Test(vsock, guest_that_shrinks_its_buffer_or_lies_about_it_gets_nothing)
{
	struct host host;

	start(8);
	host = guest_connected(HOST_PORT);
	host_writes(host.sock, "12345", 5);
	expect_data(HOST_PORT, "12345", 5);
	guest_alloc = 3;
	guest_fwd = 0;
	send_op(HOST_PORT, VSOCK_OP_CREDIT_UPDATE, 0);
	host_writes(host.sock, "678", 3);
	expect(HOST_PORT, VSOCK_OP_CREDIT_REQUEST);
	guest_alloc = UINT32_MAX;
	guest_fwd = 6; /* more than it was sent */
	send_op(HOST_PORT, VSOCK_OP_CREDIT_UPDATE, 0);
	expect_nothing();
	guest_fwd = 5;
	send_op(HOST_PORT, VSOCK_OP_CREDIT_UPDATE, 0);
	expect_data(HOST_PORT, "678", 3);
}

/* Sends, until the device keeps so many bytes for a host that reads none. */
static uint32_t fill_kept(uint32_t port, uint32_t want)
{
	static uint8_t bytes[4096];
	struct vsock_conn *c = vsock_find(&v->table, port, PORT);
	uint32_t sent = 0;

	while (c->len < want) {
		uint32_t n = MIN(want - c->len, sizeof(bytes));

		for (uint32_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)((sent + i) % 251);
		send_data(port, bytes, n);
		sent += n;
		cr_assert_neq(c->state, VSOCK_FREE);
	}
	return sent;
}

static void expect_pattern(int fd, uint32_t bytes)
{
	static uint8_t got[VSOCK_BUF_BYTES];
	uint32_t done = 0;

	while (done < bytes) {
		ssize_t n = read(fd, got, sizeof(got));

		if (n < 0) {
			cr_assert_eq(errno, EAGAIN);
			settle();
			continue;
		}
		cr_assert_gt(n, 0, "after %u of %u", done, bytes);
		for (ssize_t i = 0; i < n; i++)
			cr_assert_eq(got[i], (uint8_t)((done + i) % 251));
		done += (uint32_t)n;
	}
	cr_assert_eq(done, bytes);
}

Test(vsock, guest_that_overruns_its_credit_is_reset)
{
	struct host host;

	start(8);
	host = guest_connected(HOST_PORT);
	fill_kept(HOST_PORT, VSOCK_BUF_BYTES);
	cr_assert_eq(v->overruns, 0);
	send_data(HOST_PORT, "x", 1);
	cr_assert_eq(v->overruns, 1);
	for (struct vsock_packet h; receive(&h);)
		cr_assert(h.op == VSOCK_OP_CREDIT_UPDATE ||
			  h.op == VSOCK_OP_RST);
	cr_assert_eq(connections(), 0);
	cr_assert_not(broken());
	close(host.sock);
}

Test(vsock, guest_packet_larger_than_all_credit_is_reset)
{
	static uint8_t bytes[VSOCK_BUF_BYTES + 1];

	start(8);
	guest_connected(HOST_PORT);
	send_data(HOST_PORT, bytes, sizeof(bytes));
	expect(HOST_PORT, VSOCK_OP_RST);
	cr_assert_eq(v->overruns, 1);
}

Test(vsock, host_that_reads_late_gets_every_byte_and_the_guest_its_credit)
{
	struct vsock_packet h = { 0 };
	uint32_t sent;
	struct host host;

	start(8);
	host = guest_connected(HOST_PORT);
	sent = fill_kept(HOST_PORT, VSOCK_BUF_BYTES);
	while (receive(&h))
		cr_assert_eq(h.op, VSOCK_OP_CREDIT_UPDATE);
	expect_pattern(host.sock, sent);
	while (receive(&h))
		cr_assert_eq(h.op, VSOCK_OP_CREDIT_UPDATE);
	/* All that is not known to the guest is less than half. */
	cr_assert_leq(sent - h.fwd_cnt, VSOCK_BUF_BYTES / 2);
	cr_assert_eq(h.buf_alloc, VSOCK_BUF_BYTES);
	/* What was kept costs no more memory. */
	cr_assert_null(vsock_find(&v->table, HOST_PORT, PORT)->buf);
	send_op(HOST_PORT, VSOCK_OP_CREDIT_REQUEST, 0);
	h = expect(HOST_PORT, VSOCK_OP_CREDIT_UPDATE);
	cr_assert_eq(h.fwd_cnt, sent);
}

Test(vsock, counters_when_they_wrap_go_on)
{
	static uint8_t bytes[4096];
	struct vsock_conn *c;
	struct vsock_packet h;
	struct host host;

	start(8);
	host = guest_connected(HOST_PORT);
	c = vsock_find(&v->table, HOST_PORT, PORT);
	c->sent = c->peer_fwd = guest_fwd = UINT32_MAX - 2000;
	c->fwd_cnt = c->told_fwd = UINT32_MAX - 2000;
	guest_alloc = 4096;
	for (unsigned i = 0; i < 20; i++) {
		send_data(HOST_PORT, bytes, sizeof(bytes));
		cr_assert_eq(read(host.sock, bytes, sizeof(bytes)),
			     sizeof(bytes));
		host_writes(host.sock, bytes, 3000);
		do
			cr_assert(receive(&h));
		while (h.op == VSOCK_OP_CREDIT_UPDATE);
		cr_assert_eq(h.op, VSOCK_OP_RW);
		cr_assert_eq(h.len, 3000);
	}
	cr_assert_eq(c->sent, UINT32_MAX - 2000 + 20 * 3000u);
	cr_assert_eq(c->fwd_cnt, UINT32_MAX - 2000 + 20 * 4096u);
	cr_assert_eq(v->overruns, 0);
}

Test(vsock, credit_of_the_guest_when_its_counter_wraps_is_told_as_before)
{
	static uint8_t bytes[4096];
	struct vsock_conn *c;
	struct host host;

	start(8);
	host = guest_connected(HOST_PORT);
	c = vsock_find(&v->table, HOST_PORT, PORT);
	c->fwd_cnt = c->told_fwd = UINT32_MAX - 2000;
	for (unsigned i = 0; i < 17; i++) {
		expect_nothing();
		send_data(HOST_PORT, bytes, 2000);
		cr_assert_eq(read(host.sock, bytes, sizeof(bytes)), 2000);
	}
	/* Once half of it is used up. */
	cr_assert_eq(expect(HOST_PORT, VSOCK_OP_CREDIT_UPDATE).fwd_cnt,
		     UINT32_MAX - 2000 + 17 * 2000u);
	expect_nothing();
}

/* ---- the ends ---- */

Test(vsock, guest_that_ends_its_receiving_still_sends)
{
	struct host host;

	start(8);
	host = guest_connected(HOST_PORT);
	send_op(HOST_PORT, VSOCK_OP_SHUTDOWN, VSOCK_SHUT_RCV);
	host_writes(host.sock, "not wanted", 10);
	expect_nothing();
	send_data(HOST_PORT, "told", 4);
	expect_host_reads(host.sock, "told");
	close(host.sock);
	cr_assert_eq(expect(HOST_PORT, VSOCK_OP_SHUTDOWN).flags,
		     VSOCK_SHUT_BOTH);
	expect_nothing();
}

Test(vsock, guest_that_ends_its_sending_still_receives)
{
	struct host host;
	char c;

	start(8);
	host = guest_connected(HOST_PORT);
	send_data(HOST_PORT, "last", 4);
	send_op(HOST_PORT, VSOCK_OP_SHUTDOWN, VSOCK_SHUT_SEND);
	/* By its token the broker knows that the host's input ends. */
	cr_assert_eq(read(host.token, &c, 1), 0);
	expect_host_reads(host.sock, "last");
	host_writes(host.sock, "answer", 6);
	expect_data(HOST_PORT, "answer", 6);
	close(host.sock);
	cr_assert_eq(expect(HOST_PORT, VSOCK_OP_SHUTDOWN).flags,
		     VSOCK_SHUT_BOTH);
	send_op(HOST_PORT, VSOCK_OP_RST, 0);
	cr_assert_eq(connections(), 0);
}

Test(vsock, guest_that_ends_its_sending_ends_it_after_what_was_kept)
{
	struct host host;
	uint32_t sent;
	char c;

	start(8);
	host = guest_connected(HOST_PORT);
	sent = fill_kept(HOST_PORT, 10000);
	send_op(HOST_PORT, VSOCK_OP_SHUTDOWN, VSOCK_SHUT_SEND);
	cr_assert_eq(read(host.token, &c, 1), -1);
	expect_pattern(host.sock, sent);
	settle();
	cr_assert_eq(read(host.token, &c, 1), 0);
	/* And sends no more. */
	send_data(HOST_PORT, "x", 1);
	for (struct vsock_packet h; receive(&h);)
		cr_assert(h.op == VSOCK_OP_CREDIT_UPDATE ||
			  h.op == VSOCK_OP_RST);
	cr_assert_eq(connections(), 0);
}

Test(vsock, guest_that_closes_is_answered_and_the_host_gets_the_rest)
{
	struct host host, again;
	uint32_t sent;
	char c;

	start(8);
	host = guest_connected(HOST_PORT);
	sent = fill_kept(HOST_PORT, 30000);
	for (struct vsock_packet h; receive(&h);)
		cr_assert_eq(h.op, VSOCK_OP_CREDIT_UPDATE);
	send_op(HOST_PORT, VSOCK_OP_SHUTDOWN, VSOCK_SHUT_BOTH);
	expect(HOST_PORT, VSOCK_OP_RST);
	/* The pair of ports is free while the old one lingers. */
	again = guest_connected(HOST_PORT);
	send_data(HOST_PORT, "new", 3);
	expect_host_reads(again.sock, "new");
	cr_assert_eq(connections(), 2);
	expect_pattern(host.sock, sent);
	cr_assert(ended(host.sock));
	cr_assert_eq(read(host.token, &c, 1), 0);
	cr_assert_eq(connections(), 1);
}

Test(vsock, guest_that_has_closed_when_the_host_leaves_too_costs_nothing)
{
	struct host host;

	start(8);
	host = guest_connected(HOST_PORT);
	fill_kept(HOST_PORT, 30000);
	send_op(HOST_PORT, VSOCK_OP_SHUTDOWN, VSOCK_SHUT_BOTH);
	close(host.sock);
	settle();
	cr_assert_eq(connections(), 0);
}

Test(vsock, host_that_ends_its_sending_still_receives)
{
	struct host host;

	start(8);
	host = guest_connected(HOST_PORT);
	host_writes(host.sock, "last", 4);
	shutdown(host.sock, SHUT_WR);
	expect_data(HOST_PORT, "last", 4);
	cr_assert_eq(expect(HOST_PORT, VSOCK_OP_SHUTDOWN).flags,
		     VSOCK_SHUT_SEND);
	expect_nothing();
	send_data(HOST_PORT, "answer", 6);
	expect_host_reads(host.sock, "answer");
	close(host.sock);
	cr_assert_eq(expect(HOST_PORT, VSOCK_OP_SHUTDOWN).flags,
		     VSOCK_SHUT_BOTH);
	/* What was on its way then is nobody's. */
	send_data(HOST_PORT, "late", 4);
	send_op(HOST_PORT, VSOCK_OP_SHUTDOWN, VSOCK_SHUT_BOTH);
	expect(HOST_PORT, VSOCK_OP_RST);
	expect_nothing();
	cr_assert_eq(connections(), 0);
}

Test(vsock, host_that_closes_leaves_what_it_sent_to_the_guest)
{
	struct host host;

	start(8);
	guest_alloc = 4;
	host = guest_connected(HOST_PORT);
	host_writes(host.sock, "12345678", 8);
	close(host.sock);
	expect_data(HOST_PORT, "1234", 4);
	expect(HOST_PORT, VSOCK_OP_CREDIT_REQUEST);
	expect_nothing();
	send_op(HOST_PORT, VSOCK_OP_CREDIT_UPDATE, 0);
	expect_data(HOST_PORT, "5678", 4);
	expect(HOST_PORT, VSOCK_OP_CREDIT_REQUEST);
	send_op(HOST_PORT, VSOCK_OP_CREDIT_UPDATE, 0);
	cr_assert_eq(expect(HOST_PORT, VSOCK_OP_SHUTDOWN).flags,
		     VSOCK_SHUT_BOTH);
}

Test(vsock, host_that_stops_reading_in_the_middle_costs_the_guest_its_data)
{
	struct host host;
	static uint8_t bytes[4096];

	start(8);
	host = guest_connected(HOST_PORT);
	send_data(HOST_PORT, bytes, sizeof(bytes));
	shutdown(host.sock, SHUT_RD);
	send_data(HOST_PORT, bytes, sizeof(bytes));
	cr_assert_eq(expect(HOST_PORT, VSOCK_OP_SHUTDOWN).flags,
		     VSOCK_SHUT_RCV);
	/* The credit of what is thrown away comes back, and it can be heard. */
	for (unsigned i = 0; i < 64; i++)
		send_data(HOST_PORT, bytes, sizeof(bytes));
	host_writes(host.sock, "still here", 10);
	for (struct vsock_packet h = { 0 }; h.op != VSOCK_OP_RW;)
		cr_assert(receive(&h));
	cr_assert_arr_eq(data, "still here", 10);
	cr_assert_eq(v->overruns, 0);
}

/* ---- the guest's mistakes ---- */

static void expect_ignored(uint64_t times)
{
	cr_assert_eq(v->malformed, times);
	cr_assert_not(broken());
	cr_assert_eq(get16(USED(VSOCK_TX) + 2), offered[VSOCK_TX]);
	expect_nothing();
}

Test(vsock, packet_shorter_than_its_header_is_ignored)
{
	struct vsock_packet h;

	start(8);
	h = packet(HOST_PORT, PORT, VSOCK_OP_REQUEST, 0);
	for (uint32_t len = 0; len < sizeof(h); len++) {
		send_raw(&h, len);
		expect_ignored(len + 1);
	}
	cr_assert_eq(connections(), 0);
}

/* CVE-2019-18960: the header's length was not held against the descriptors, so
 * that memory beyond them was sent. */
Test(vsock, cve_2019_18960_length_beyond_the_descriptors_is_ignored)
{
	const uint32_t lies[] = { 11, 65536, 0x7fffffff, 0xffffffd4,
				  UINT32_MAX };
	struct vsock_packet h;
	struct host host;
	uint8_t raw[sizeof(h) + 10] = { 0 };
	char c;

	start(8);
	host = guest_connected(HOST_PORT);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		h = packet(HOST_PORT, PORT, VSOCK_OP_RW, lies[i]);
		memcpy(raw, &h, sizeof(h));
		send_raw(raw, sizeof(raw));
		expect_ignored(2 * i + 1);
		/* The rest in a buffer that is for us to write. */
		put_desc(VSOCK_TX, 0, TX_AT, sizeof(raw), VRING_DESC_NEXT, 1);
		put_desc(VSOCK_TX, 1, TX_AT + 4096, 1 << 20, VRING_DESC_WRITE,
			 0);
		offer(VSOCK_TX, 0);
		kick(VSOCK_TX);
		expect_ignored(2 * i + 2);
	}
	cr_assert_eq(read(host.sock, &c, 1), -1);
	/* A buffer that ends beyond RAM breaks the queue, as everywhere. */
	h = packet(HOST_PORT, PORT, VSOCK_OP_RW, 8192);
	cr_assert_eq(gmem_write(&ram, GPA(TX_AT), &h, sizeof(h)), 0);
	put_desc(VSOCK_TX, 0, TX_AT, sizeof(h), VRING_DESC_NEXT, 1);
	put_desc(VSOCK_TX, 1, RAM - 4096, 8192, 0, 0);
	offer(VSOCK_TX, 0);
	kick(VSOCK_TX);
	cr_assert(broken());
	cr_assert_eq(read(host.sock, &c, 1), -1);
}

Test(vsock, packet_of_another_cid_is_ignored)
{
	struct vsock_packet h;

	start(8);
	h = packet(HOST_PORT, PORT, VSOCK_OP_REQUEST, 0);
	h.src_cid = CID + 1;
	send_packet(&h, "");
	expect_ignored(1);
	h.src_cid = CID | UINT64_C(1) << 32;
	send_packet(&h, "");
	expect_ignored(2);
}

Test(vsock, packet_to_another_cid_or_of_another_type_is_reset)
{
	struct vsock_packet h, r;

	start(8);
	h = packet(HOST_PORT, PORT, VSOCK_OP_REQUEST, 0);
	h.dst_cid = 77;
	send_packet(&h, "");
	cr_assert(receive(&r));
	cr_assert_eq(r.op, VSOCK_OP_RST);
	cr_assert_eq(r.src_cid, 77);
	cr_assert_eq(r.dst_cid, CID);
	h.dst_cid = VSOCK_HOST_CID;
	h.type = 2; /* SEQPACKET, which was not offered */
	send_packet(&h, "");
	cr_assert(receive(&r));
	cr_assert_eq(r.op, VSOCK_OP_RST);
	cr_assert_eq(r.type, 2);
	cr_assert_eq(r.dst_port, PORT);
	cr_assert_eq(connections(), 0);
}

Test(vsock, packet_of_no_connection_is_reset_but_for_a_reset)
{
	start(8);
	for (unsigned op = 0; op < 300; op++) {
		if (op == VSOCK_OP_REQUEST)
			continue;
		send_op(HOST_PORT, (enum vsock_op)op, 3);
		if (op != VSOCK_OP_RST)
			expect(HOST_PORT, VSOCK_OP_RST);
		expect_nothing();
	}
	cr_assert_eq(connections(), 0);
}

Test(vsock, op_that_does_not_fit_the_connection_resets_it)
{
	const unsigned wrong[] = { 0, VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE, 8,
				   65535 };
	struct host host;

	start(8);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		host = guest_connected(HOST_PORT);
		send_op(HOST_PORT, (enum vsock_op)wrong[i], 0);
		expect(HOST_PORT, VSOCK_OP_RST);
		cr_assert(ended(host.sock));
		expect_nothing();
	}
	/* Before it was answered. */
	send_op(HOST_PORT, VSOCK_OP_REQUEST, 0);
	send_data(HOST_PORT, "early", 5);
	expect(HOST_PORT, VSOCK_OP_RST);
	cr_assert_eq(connections(), 0);
}

Test(vsock, guest_that_offers_a_buffer_without_room_breaks_its_queue)
{
	start(0);
	put_desc(VSOCK_RX, 0, RX_AT(0), sizeof(struct vsock_packet),
		 VRING_DESC_WRITE, 0);
	offer(VSOCK_RX, 0);
	kick(VSOCK_RX);
	cr_assert_not(broken()); /* nobody needs it yet */
	send_op(HOST_PORT, VSOCK_OP_RW, 0);
	cr_assert(broken());
}

Test(vsock, guest_that_offers_a_buffer_that_cannot_be_filled_breaks_its_queue)
{
	start(0);
	put_desc(VSOCK_RX, 0, RX_AT(0), RX_BYTES, 0, 0);
	offer(VSOCK_RX, 0);
	send_op(HOST_PORT, VSOCK_OP_RW, 0);
	cr_assert(broken());
	cr_assert_eq(v->virtio.counters.broken, 1);
}

Test(vsock, guest_that_takes_no_answers_gets_only_so_many_later)
{
	struct vsock_packet h;
	unsigned n = 0;

	start(0);
	for (unsigned i = 0; i < 3 * VSOCK_MAX_STRAYS; i++)
		send_op(HOST_PORT, VSOCK_OP_RW, 0);
	for (unsigned i = 0; i < 8; i++)
		offer_rx(i);
	kick(VSOCK_RX);
	for (; receive(&h); n++)
		cr_assert_eq(h.op, VSOCK_OP_RST);
	cr_assert_eq(n, VSOCK_MAX_STRAYS);
}

/* ---- descriptors ---- */

static uint64_t seed = 1;

static uint32_t rnd(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(seed >> 33) % below;
}

/* Cuts [at, at + len) into at most SIZE parts, some of them empty. */
static void cut(unsigned q, uint64_t at, uint32_t len, uint16_t flags)
{
	unsigned n = 1 + rnd(SIZE);

	for (unsigned i = 0; i < n; i++) {
		uint32_t most = MIN(len, i % 2 ? 7 : 200);
		uint32_t part = i + 1 < n ? rnd(most + 1) : len;

		put_desc(q, i, at, part,
			 (uint16_t)(flags | (i + 1 < n ? VRING_DESC_NEXT : 0)),
			 (uint16_t)(i + 1));
		at += part;
		len -= part;
	}
	offer(q, 0);
	kick(q);
}

Test(vsock, packet_cut_over_descriptors_in_any_way_arrives_whole)
{
	uint8_t raw[sizeof(struct vsock_packet) + 1500], got[1500];
	struct vsock_packet h;
	struct host host;

	start(8);
	host = guest_connected(HOST_PORT);
	for (unsigned round = 0; round < 300; round++) {
		uint32_t len = 1 + rnd(1500);

		h = packet(HOST_PORT, PORT, VSOCK_OP_RW, len);
		memcpy(raw, &h, sizeof(h));
		for (uint32_t i = 0; i < len; i++)
			raw[sizeof(h) + i] = (uint8_t)rnd(256);
		cr_assert_eq(gmem_write(&ram, GPA(TX_AT), raw, sizeof(h) + len),
			     0);
		/* Whatever stands behind it is not part of it. */
		cut(VSOCK_TX, TX_AT, (uint32_t)sizeof(h) + len + rnd(100), 0);
		cr_assert_eq(read(host.sock, got, sizeof(got)), (ssize_t)len);
		cr_assert_arr_eq(got, raw + sizeof(h), len);
	}
	cr_assert_eq(v->malformed, 0);
	cr_assert_not(broken());
}

/* Sends so many bytes of the pattern, cut. */
static void send_cut(uint32_t sent, uint32_t len)
{
	static uint8_t raw[sizeof(struct vsock_packet) + 20000];
	struct vsock_packet h = packet(HOST_PORT, PORT, VSOCK_OP_RW, len);

	memcpy(raw, &h, sizeof(h));
	for (uint32_t i = 0; i < len; i++)
		raw[sizeof(h) + i] = (uint8_t)((sent + i) % 251);
	cr_assert_eq(gmem_write(&ram, GPA(TX_AT), raw, sizeof(h) + len), 0);
	cut(VSOCK_TX, TX_AT, (uint32_t)sizeof(h) + len, 0);
}

/* A socket with little room takes parts of what it is given, at any place. */
Test(vsock, packet_cut_over_descriptors_when_the_host_is_slow_is_kept_whole)
{
	const int small = 4096;
	uint32_t sent = 0, received = 0;
	static uint8_t got[5000];
	struct vsock_conn *c;
	struct host host;
	ssize_t n;

	start(8);
	host = guest_connected(HOST_PORT);
	c = vsock_find(&v->table, HOST_PORT, PORT);
	cr_assert_eq(setsockopt(c->fds.socket, SOL_SOCKET, SO_SNDBUF, &small,
				sizeof(small)),
		     0);
	while (received < 3000000) {
		uint32_t len = 1 + rnd(20000);

		if (len <= VSOCK_BUF_BYTES - c->len) {
			send_cut(sent, len);
			sent += len;
		}
		n = read(host.sock, got, 1 + rnd(sizeof(got)));
		for (ssize_t i = 0; i < n; i++)
			cr_assert_eq(got[i], (uint8_t)((received + i) % 251));
		received += (uint32_t)MAX(n, 0);
		cr_assert_eq(loop_step(&loop, 0), 0);
	}
	cr_assert_eq(v->overruns, 0);
}

Test(vsock, buffer_cut_over_descriptors_in_any_way_is_filled_whole)
{
	uint8_t bytes[1500], got[sizeof(struct vsock_packet) + 1500];
	struct vsock_packet h;
	struct host host;

	start(1);
	host = guest_connected(HOST_PORT); /* uses and offers that one buffer */
	for (unsigned round = 0; round < 300; round++) {
		uint32_t len = 1 + rnd(1500);
		uint32_t room = (uint32_t)sizeof(h) + len + rnd(100);

		for (uint32_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)rnd(256);
		host_writes(host.sock, bytes, len);
		if (round)
			cut(VSOCK_RX, RX_AT(0), room, VRING_DESC_WRITE);
		settle();
		cr_assert_eq(get16(USED(VSOCK_RX) + 2), ++seen[VSOCK_RX]);
		cr_assert_eq(
		    gmem_read(&ram, GPA(RX_AT(0)), got, sizeof(h) + len), 0);
		memcpy(&h, got, sizeof(h));
		cr_assert_eq(h.len, len);
		cr_assert_arr_eq(got + sizeof(h), bytes, len);
	}
}

Test(vsock, what_is_written_to_the_guest_is_marked)
{
	struct host host;
	uint64_t marks;

	start(1);
	host = guest_connected(HOST_PORT);
	for (unsigned i = 0; i < RAM / PAGE_BYTES / 64; i++)
		gmem_take_marks(&ram, i);
	host_writes(host.sock, data, 4096);
	settle();
	/* Header and data reach into the second page of the buffer. */
	marks = gmem_take_marks(&ram, RX_AT(0) / PAGE_BYTES / 64);
	cr_assert_eq(marks, UINT64_C(3) << (RX_AT(0) / PAGE_BYTES % 64));
}

/* ---- many ---- */

Test(vsock, connections_beyond_the_limit_are_reset_until_one_ends)
{
	struct vsock_link_fds fds;
	struct vsock_link_msg m;
	struct vsock_packet h;

	start(8);
	for (unsigned i = 0; i < VSOCK_MAX_CONNECTIONS; i++) {
		send_op(10000 + i, VSOCK_OP_REQUEST, 0);
		while (vsock_link_take(broker, &m, &fds) == 1)
			;
	}
	cr_assert_eq(connections(), VSOCK_MAX_CONNECTIONS);
	expect_nothing();
	send_op(HOST_PORT, VSOCK_OP_REQUEST, 0);
	expect(HOST_PORT, VSOCK_OP_RST);
	/* A host program is refused as well. */
	cr_assert(ended(give_connection(VSOCK_LINK_INCOMING, 0, 1).sock));
	send_op(10017, VSOCK_OP_RST, 0);
	guest_connected(HOST_PORT);
	cr_assert_eq(connections(), VSOCK_MAX_CONNECTIONS);
	for (unsigned i = 0; i < VSOCK_MAX_CONNECTIONS; i++)
		send_op(10000 + i, VSOCK_OP_RST, 0);
	cr_assert_eq(connections(), 1);
	cr_assert(!receive(&h));
}

Test(vsock, connection_whose_host_reads_nothing_holds_up_no_other)
{
	struct host slow, quick;

	start(8);
	slow = guest_connected(HOST_PORT);
	fill_kept(HOST_PORT, VSOCK_BUF_BYTES);
	for (struct vsock_packet h; receive(&h);)
		cr_assert_eq(h.op, VSOCK_OP_CREDIT_UPDATE);
	quick = guest_connected(HOST_PORT + 1);
	for (unsigned i = 0; i < 100; i++) {
		send_data(HOST_PORT + 1, "passes", 6);
		expect_host_reads(quick.sock, "passes");
	}
	close(slow.sock);
}

Test(vsock, connections_with_much_to_tell_take_turns)
{
	static uint8_t bytes[100000];
	unsigned packets[3] = { 0 };
	struct host host[3];
	struct vsock_packet h;

	start(4);
	for (unsigned i = 0; i < 3; i++)
		host[i] = guest_connected(HOST_PORT + i);
	for (unsigned i = 0; i < 3; i++)
		host_writes(host[i].sock, bytes, sizeof(bytes));
	/* So many to each that the one which came first is not done. */
	for (unsigned i = 0; i < 30; i++) {
		cr_assert(receive(&h));
		cr_assert_eq(h.op, VSOCK_OP_RW);
		packets[h.src_port - HOST_PORT]++;
	}
	for (unsigned i = 0; i < 3; i++)
		cr_assert(packets[i] >= 7 && packets[i] <= 13, "%u",
			  packets[i]);
}

Test(vsock, socket_with_nothing_after_all_leaves_the_buffer_offered)
{
	struct host host;
	uint16_t popped;

	start(8);
	host = guest_connected(HOST_PORT);
	popped = v->st.virtio.last_avail[VSOCK_RX];
	/* Exactly what there is room for: only the next read tells. */
	host_writes(host.sock, data, RX_BYTES - sizeof(struct vsock_packet));
	settle();
	cr_assert_eq(v->st.virtio.last_avail[VSOCK_RX], popped + 1);
	cr_assert_eq(v->st.virtio.next_used[VSOCK_RX], popped + 1);
}

/* ---- reset, pause, restore ---- */

Test(vsock, reset_by_the_driver_closes_all_connections)
{
	struct host a, b;

	start(8);
	a = guest_connected(HOST_PORT);
	b = give_connection(VSOCK_LINK_INCOMING, 0, PORT);
	set(VIRTIO_STATUS, 0);
	cr_assert(ended(a.sock));
	cr_assert(ended(b.sock));
	cr_assert_eq(connections(), 0);
	start(8);
	expect_nothing();
	guest_connected(HOST_PORT);
}

Test(vsock, quiesce_keeps_connections_and_resume_goes_on)
{
	struct host host, other;
	uint16_t used;

	start(8);
	host = guest_connected(HOST_PORT);
	cr_assert_eq(virtio_quiesce(&v->virtio.dev), 0);
	used = get16(USED(VSOCK_RX) + 2);
	host_writes(host.sock, "wait", 4);
	other = give_connection(VSOCK_LINK_INCOMING, 0, PORT);
	settle();
	cr_assert_eq(virtio_quiesce(&v->virtio.dev), 0);
	settle();
	cr_assert_eq(get16(USED(VSOCK_RX) + 2), used);
	virtio_resume(&v->virtio.dev);
	expect_data(HOST_PORT, "wait", 4);
	offered_port();
	send_data(HOST_PORT, "back", 4);
	expect_host_reads(host.sock, "back");
	close(other.sock);
	cr_assert_not(broken());
}

Test(vsock, restored_guest_is_told_that_its_connections_are_gone)
{
	struct device *d = &v->virtio.dev;
	struct host host;
	uint32_t event = 77;

	start(8);
	host = guest_connected(HOST_PORT);
	cr_assert_eq(virtio_quiesce(d), 0);
	cr_assert_eq(d->ops->restored(d), 0);
	cr_assert(ended(host.sock));
	cr_assert_eq(connections(), 0);
	virtio_resume(d);
	cr_assert_eq(get16(USED(VSOCK_EVENT) + 2), 0);
	/* As soon as it has a place for it, and once. */
	cr_assert_eq(gmem_write(&ram, GPA(EVENT_AT), &event, 4), 0);
	put_desc(VSOCK_EVENT, 0, EVENT_AT, 4, VRING_DESC_WRITE, 0);
	offer(VSOCK_EVENT, 0);
	kick(VSOCK_EVENT);
	cr_assert_eq(get16(USED(VSOCK_EVENT) + 2), 1);
	cr_assert_eq(gmem_read(&ram, GPA(EVENT_AT), &event, 4), 0);
	cr_assert_eq(event, 0); /* VIRTIO_VSOCK_EVENT_TRANSPORT_RESET */
	offer(VSOCK_EVENT, 0);
	kick(VSOCK_EVENT);
	cr_assert_eq(get16(USED(VSOCK_EVENT) + 2), 1);
	guest_connected(HOST_PORT);
}

Test(vsock, guest_that_was_not_restored_is_told_nothing)
{
	start(8);
	put_desc(VSOCK_EVENT, 0, EVENT_AT, 4, VRING_DESC_WRITE, 0);
	offer(VSOCK_EVENT, 0);
	kick(VSOCK_EVENT);
	cr_assert_eq(virtio_quiesce(&v->virtio.dev), 0);
	virtio_resume(&v->virtio.dev);
	cr_assert_eq(get16(USED(VSOCK_EVENT) + 2), 0);
}
