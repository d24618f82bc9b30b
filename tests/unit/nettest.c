/* SPDX-License-Identifier: Apache-2.0 */
/* A driver and a host around one virtio-net, see nettest.h. */
#include "nettest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bus.h"
#include "log.h"
#include "util.h"

#define RAM    MIB(4)
#define BASE   0xd0000000
#define SNDBUF 4096

struct loop loop;
struct gmem ram;
struct net *net;
struct virtio *vdev;
int host;
uint16_t offered[NET_QUEUES];
static struct bus mmio;

/* ---- the two sides ---- */

int socket_pair(int type)
{
	int fd[2];

	cr_assert_eq(
	    socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	host = fd[1];
	return fd[0];
}

const uint8_t mac[NET_MAC_BYTES] = { 2, 1, 2, 3, 4, 5 };

void make_net(struct net_port *port, uint64_t bytes_max, uint64_t frames_max)
{
	struct net_config c = {
		.virtio = { .name = "net0", .ram = &ram, .kick_fd = -1 },
		.loop = &loop,
		.port = port,
		.mtu = 1400,
		.bytes_max = bytes_max,
		.frames_max = frames_max,
	};

	memcpy(c.mac, mac, sizeof(mac));
	irq_init(&c.virtio.irq, -1, 0);
	net = net_create(&c);
	cr_assert_not_null(net);
	vdev = net_virtio(net);
	bus_init(&mmio, "mmio");
	cr_assert_eq(bus_add(&mmio, BASE, 0x1000, &vdev->dev), 0);
	memset(offered, 0, sizeof(offered));
}

void nettest_init(void)
{
	struct gmem_region region = { 0, RAM, 0 };

	log_setup(2, LOG_ERROR);
	cr_assert_eq(gmem_init(&ram, &region, 1), 0);
	cr_assert_eq(loop_init(&loop), 0);
	host = -1;
}

void nettest_fini(void)
{
	device_destroy(&vdev->dev);
	cleanup_close(&host);
	loop_fini(&loop);
	gmem_fini(&ram);
}

void with_tap(void)
{
	make_net(net_tap_create(socket_pair(SOCK_DGRAM)), 0, 0);
}

void with_stream(void)
{
	make_net(net_stream_create(socket_pair(SOCK_STREAM)), 0, 0);
}

void small_buffer(void)
{
	int bytes = SNDBUF;

	cr_assert_eq(setsockopt(net->port->fd, SOL_SOCKET, SO_SNDBUF, &bytes,
				sizeof(bytes)),
		     0);
}

void loop_steps(unsigned n)
{
	while (n--)
		cr_assert_eq(loop_step(&loop, 0), 0);
}

uint32_t get_reg(unsigned reg)
{
	uint32_t value;

	bus_read(&mmio, BASE + reg, &value, 4);
	return value;
}

void set_reg(unsigned reg, uint32_t value)
{
	bus_write(&mmio, BASE + reg, &value, 4);
}

void put16(uint64_t at, uint16_t value)
{
	cr_assert_eq(gmem_write(&ram, GPA(at), &value, 2), 0);
}

uint16_t get16(uint64_t at)
{
	uint16_t value;

	cr_assert_eq(gmem_read(&ram, GPA(at), &value, 2), 0);
	return value;
}

static void set_up_queue(unsigned q)
{
	set_reg(VIRTIO_QUEUE_SEL, q);
	set_reg(VIRTIO_QUEUE_NUM, SIZE);
	set_reg(VIRTIO_QUEUE_DESC_LOW, DESC(q));
	set_reg(VIRTIO_QUEUE_DRIVER_LOW, AVAIL(q));
	set_reg(VIRTIO_QUEUE_DEVICE_LOW, USED(q));
	set_reg(VIRTIO_QUEUE_READY, 1);
	put16(AVAIL(q) + 2, 0);
	put16(USED(q) + 2, 0);
	offered[q] = 0;
}

void start_driver(uint64_t features)
{
	const uint32_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;

	features |= VIRTIO_F_VERSION_1;
	set_reg(VIRTIO_STATUS, 0);
	set_reg(VIRTIO_STATUS, status);
	for (unsigned i = 0; i < 2; i++) {
		set_reg(VIRTIO_DRIVER_FEATURES_SEL, i);
		set_reg(VIRTIO_DRIVER_FEATURES,
			(uint32_t)(features >> (32 * i)));
	}
	set_reg(VIRTIO_STATUS, status | VIRTIO_FEATURES_OK);
	for (unsigned q = 0; q < NET_QUEUES; q++)
		set_up_queue(q);
	set_reg(VIRTIO_STATUS, status | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
	cr_assert(get_reg(VIRTIO_STATUS) & VIRTIO_DRIVER_OK);
}

void put_desc(unsigned q, unsigned i, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t next)
{
	struct vring_desc d = { addr, len, flags, next };

	cr_assert_eq(
	    gmem_write(&ram, GPA(DESC(q) + i * sizeof(d)), &d, sizeof(d)), 0);
}

void offer_chain(unsigned q, uint16_t head)
{
	put16(AVAIL(q) + 4 + 2 * (offered[q] % SIZE), head);
	put16(AVAIL(q) + 2, ++offered[q]);
}

void kick_queue(unsigned q)
{
	set_reg(VIRTIO_QUEUE_NOTIFY, q);
}

uint16_t used_count(unsigned q)
{
	return get16(USED(q) + 2);
}

/* The bytes of the i-th chain that came back, and its head. */
uint32_t used_bytes(unsigned q, unsigned i, uint32_t *head)
{
	uint32_t entry[2];

	cr_assert_eq(
	    gmem_read(&ram, GPA(USED(q) + 4 + 8 * (i % SIZE)), entry, 8), 0);
	if (head)
		*head = entry[0];
	return entry[1];
}

bool broken(void)
{
	return get_reg(VIRTIO_STATUS) & VIRTIO_NEEDS_RESET;
}

/* ---- frames ---- */

uint8_t frame[FRAME_ROOM], got[FRAME_ROOM];

/* A header of zeroes, and `bytes` of a pattern. */
void fill_frame(size_t bytes, uint8_t seed)
{
	memset(frame, 0, HEADER);
	for (size_t i = 0; i < bytes; i++)
		frame[HEADER + i] = (uint8_t)(i * 7 + (i >> 8) + seed);
}

struct net_header *header(void)
{
	return (struct net_header *)(void *)frame;
}

/* The driver sends what is in `frame`, in one buffer, descriptor 0. */
void send_frame(size_t bytes)
{
	cr_assert_eq(gmem_write(&ram, GPA(BIG), frame, HEADER + bytes), 0);
	put_desc(NET_TX, 0, BIG, (uint32_t)(HEADER + bytes), 0, 0);
	offer_chain(NET_TX, 0);
	kick_queue(NET_TX);
}

/* What the tap gets of it: the size, without the header; -1: nothing. */
ssize_t host_takes(void)
{
	ssize_t n = read(host, got, sizeof(got));

	return n < 0 ? -1 : n - HEADER;
}

void expect_sent(size_t bytes)
{
	cr_assert_eq(host_takes(), (ssize_t)bytes);
	cr_assert_arr_eq(got + HEADER, frame + HEADER, bytes);
}

void expect_nothing_sent(void)
{
	cr_assert_eq(host_takes(), -1);
	cr_assert_not(broken());
}

/* Offers `n` buffers of `bytes` each to receive in. */
void offer_buffers(unsigned n, uint32_t bytes)
{
	for (unsigned i = 0; i < n; i++) {
		put_desc(NET_RX, i, BUFFER(i), bytes, VRING_DESC_WRITE, 0);
		offer_chain(NET_RX, (uint16_t)i);
	}
	kick_queue(NET_RX);
}

void host_sends(size_t bytes)
{
	cr_assert_eq(write(host, frame, HEADER + bytes),
		     (ssize_t)(HEADER + bytes));
	loop_steps(3);
}

/* The frame of `bytes` that begins in the from-th chain that came back lies in
 * `count` buffers of `each`. */
void expect_received(unsigned from, size_t bytes, unsigned count, uint32_t each)
{
	size_t left = HEADER + bytes, at = 0;
	uint16_t buffers;

	cr_assert_eq(used_count(NET_RX), from + count);
	for (unsigned i = 0; i < count; i++) {
		uint32_t head, len = used_bytes(NET_RX, from + i, &head);

		cr_assert_eq(len, MIN(left, each), "buffer %u: %u", i, len);
		cr_assert_eq(gmem_read(&ram, GPA(BUFFER(head)), got + at, len),
			     0);
		at += len;
		left -= len;
	}
	cr_assert_eq(left, 0);
	memcpy(&buffers, got + 10, 2);
	cr_assert_eq(buffers, count);
	cr_assert_arr_eq(got + HEADER, frame + HEADER, bytes);
}

void expect_link_down(void)
{
	cr_assert(net->gone);
	cr_assert_eq(get_reg(VIRTIO_CONFIG + 4) >> 16, 0);
	cr_assert(get_reg(VIRTIO_INTERRUPT_STATUS) & VIRTIO_INT_CONFIG);
	cr_assert_eq(get_reg(VIRTIO_CONFIG_GENERATION), 1);
	/* The VM runs on, what is sent is lost. */
	send_frame(64);
	send_frame(64);
	cr_assert_not(broken());
	cr_assert_geq(net->way[NET_TX].dropped, 2);
}
