/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demo guest on a network: the test plays passt at the other end of a
 * stream, and the kernel's own network stands behind a tap, in a namespace.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "device.h"
#include "net.h"
#include "net_port.h"
#include "util.h"
#include "vmtest.h"

#define SCRIPT(s) "run=\"" s "\""

static struct vmtest t;

/* ---- a peer as passt is one: it answers for 10.0.0.1 ---- */

#define STREAM_BYTES (1 << 18)

static struct {
	struct loop_source source;
	uint8_t in[STREAM_BYTES], out[STREAM_BYTES];
	size_t nin, nout;
	unsigned pings;
} peer;

static const uint8_t peer_mac[6] = { 2, 0, 0, 0, 0, 1 };

static void turn_round(uint8_t *f)
{
	memcpy(f, f + 6, 6);
	memcpy(f + 6, peer_mac, 6);
}

/* ARP: who has it? We have. */
static void answer_arp(uint8_t *f)
{
	uint8_t theirs[10];

	f[21] = 2;
	memcpy(theirs, f + 22, 10);
	memcpy(f + 28, f + 38, 4);
	memcpy(f + 22, peer_mac, 6);
	memcpy(f + 32, theirs, 10);
	turn_round(f);
}

/* ICMP: the echo of a request; its checksum changes by its type alone. */
static void answer_ping(uint8_t *f)
{
	uint8_t address[4];
	uint32_t sum;

	memcpy(address, f + 26, 4);
	memcpy(f + 26, f + 30, 4);
	memcpy(f + 30, address, 4);
	sum = ((uint32_t)f[36] << 8 | f[37]) + 0x800;
	sum = (sum & 0xffff) + (sum >> 16);
	f[34] = 0;
	f[36] = (uint8_t)(sum >> 8);
	f[37] = (uint8_t)sum;
	turn_round(f);
	peer.pings++;
}

static void answer(uint8_t *f, size_t bytes)
{
	uint32_t length = htonl((uint32_t)bytes);

	if (f[12] == 8 && f[13] == 6 && f[21] == 1)
		answer_arp(f);
	else if (f[12] == 8 && f[13] == 0 && f[23] == 1 && f[34] == 8)
		answer_ping(f);
	else
		return;
	cr_assert_leq(peer.nout + 4 + bytes, sizeof(peer.out));
	memcpy(peer.out + peer.nout, &length, 4);
	memcpy(peer.out + peer.nout + 4, f, bytes);
	peer.nout += 4 + bytes;
}

static void answer_all(void)
{
	size_t at = 0;

	while (peer.nin - at >= 4) {
		uint32_t length;

		memcpy(&length, peer.in + at, 4);
		length = ntohl(length);
		cr_assert(length >= 14 && length < 65600);
		if (peer.nin - at - 4 < length)
			break;
		answer(peer.in + at + 4, length);
		at += 4 + length;
	}
	memmove(peer.in, peer.in + at, peer.nin - at);
	peer.nin -= at;
}

static void on_peer(struct loop_source *s, uint32_t events)
{
	ssize_t n = read(s->fd, peer.in + peer.nin, sizeof(peer.in) - peer.nin);

	if (n > 0)
		peer.nin += (size_t)n;
	answer_all();
	n = write(s->fd, peer.out, peer.nout);
	if (n > 0) {
		memmove(peer.out, peer.out + n, peer.nout - (size_t)n);
		peer.nout -= (size_t)n;
	}
	loop_set_events(&t.loop, s, EPOLLIN | (peer.nout ? EPOLLOUT : 0));
}

/* A machine whose card the peer answers to. */
static void begin_with_peer(const char *cmdline, uint16_t mtu)
{
	struct machine_net net = { .name = "net0",
				   .stream = true,
				   .mac = { 2, 0, 0, 0, 0, 2 },
				   .mtu = mtu };
	int fd[2];

	cr_assert_eq(socketpair(AF_UNIX,
				SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				fd),
		     0);
	net.fd = fd[0];
	memset(&peer, 0, sizeof(peer));
	vmtest_init(&t,
		    &(struct vmtest_config){ .cmdline = cmdline, .net = &net });
	peer.source = (struct loop_source){ .fd = fd[1],
					    .ready = on_peer,
					    .events = EPOLLIN };
	cr_assert_eq(loop_add(&t.loop, &peer.source), 0);
}

static void run_to(enum guest_event event, uint32_t value)
{
	enum guest_event got;

	machine_run(t.machine);
	got = vmtest_wait(&t);
	vmtest_let_run(&t, 3);
	cr_assert_eq(got, event, "event %d; printed: %s", (int)got,
		     vmtest_output(&t));
	cr_assert_eq(t.value, value, "%s", vmtest_output(&t));
}

static void expect_printed(const char *text)
{
	cr_assert_not_null(strstr(vmtest_output(&t), text), "printed: %s",
			   vmtest_output(&t));
}

Test(net, pings_through_a_stream_come_back_whole)
{
	begin_with_peer(SCRIPT("net; net ping 10.0.0.1 10.0.0.2 20 1000; "
			       "net ping 10.0.0.1 10.0.0.2 5 60000; exit 7"),
			1280);
	run_to(GUEST_EXIT, 7);
	expect_printed("net: 02:00:00:00:00:02, link up, MTU 1280");
	expect_printed("20 echoes of 1000 bytes");
	expect_printed("5 echoes of 60000 bytes");
	cr_assert_eq(peer.pings, 25);
	vmtest_fini(&t);
}

Test(net, pings_while_the_machine_is_paused_again_and_again_are_all_there)
{
	begin_with_peer(SCRIPT("net ping 10.0.0.1 10.0.0.2 200 9000; exit 7"),
			0);
	machine_run(t.machine);
	for (unsigned i = 0; i < 200 && !t.told; i++) {
		machine_pause(t.machine);
		machine_run(t.machine);
		vmtest_let_run(&t, 2);
	}
	if (!t.told)
		vmtest_wait(&t);
	cr_assert_eq(t.event, GUEST_EXIT, "%s", vmtest_output(&t));
	cr_assert_eq(t.value, 7, "%s", vmtest_output(&t));
	vmtest_fini(&t);
}

Test(net, card_after_a_reset_of_the_machine_works)
{
	begin_with_peer(SCRIPT("net ping 10.0.0.1 10.0.0.2 3; reboot"), 0);
	machine_run(t.machine);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(vmtest_wait(&t), GUEST_RESET, "%s",
			     vmtest_output(&t));
		cr_assert_eq(machine_reset(t.machine, &t.why), 0);
	}
	cr_assert_geq(peer.pings, 9);
	vmtest_fini(&t);
}

Test(net, peer_that_hangs_up_leaves_the_guest_with_its_link_down)
{
	begin_with_peer(SCRIPT("net send 1; sleep 100; net send 3; net; "
			       "exit 5"),
			0);
	loop_del(&t.loop, &peer.source);
	close(peer.source.fd);
	run_to(GUEST_EXIT, 5);
	expect_printed("link down");
	vmtest_fini(&t);
}

/* ---- a tap ---- */

static void up(const char *name, const char *address)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)&r.ifr_addr;

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	in->sin_family = AF_INET;
	cr_assert_eq(inet_pton(AF_INET, address, &in->sin_addr), 1);
	cr_assert_eq(ioctl(fd, SIOCSIFADDR, &r), 0, "%s", strerror(errno));
	cr_assert_eq(inet_pton(AF_INET, "255.255.255.0", &in->sin_addr), 1);
	cr_assert_eq(ioctl(fd, SIOCSIFNETMASK, &r), 0, "%s", strerror(errno));
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &r), 0, "%s", strerror(errno));
}

/* A tap of a network namespace of our own, which is 10.0.0.1. */
static int open_tap(void)
{
	struct ifreq r = { .ifr_name = "tt0",
			   .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int bytes = 12;
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		cr_skip_test("a network namespace, which root may make: %s",
			     strerror(errno));
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0)
		cr_skip_test("no tap: %s", strerror(errno));
	cr_assert_eq(ioctl(fd, TUNSETVNETHDRSZ, &bytes), 0);
	up("tt0", "10.0.0.1");
	return fd;
}

static void begin_with_tap(const char *cmdline)
{
	struct machine_net net = { .name = "net0",
				   .mac = { 2, 0, 0, 0, 0, 2 } };
	int kvm = vmtest_kvm(); /* skips before the namespace is left */

	close(kvm);
	net.fd = open_tap();
	vmtest_init(&t,
		    &(struct vmtest_config){ .cmdline = cmdline, .net = &net });
}

struct wanted {
	const char *name;
	uint64_t value;
};

static void look(void *ctx, const struct device *d, const char *state)
{
	struct wanted *w = ctx;

	for (unsigned i = 0; i < d->ops->ncounters; i++)
		if (!strcmp(d->name, "net0") &&
		    !strcmp(d->ops->counter[i].name, w->name))
			w->value = device_count(d, i);
}

static uint64_t counter(const char *name)
{
	struct wanted w = { name, UINT64_MAX };

	machine_each_device(t.machine, look, &w);
	return w.value;
}

Test(net, pings_through_a_tap_come_back_whole)
{
	begin_with_tap(SCRIPT("net ping 10.0.0.1 10.0.0.2 20 1000; "
			      "net ping 10.0.0.1 10.0.0.2 20 1400; exit 7"));
	run_to(GUEST_EXIT, 7);
	expect_printed("20 echoes of 1400 bytes");
	cr_assert_geq(counter("rx_frames"), 40);
	cr_assert_eq(counter("tx_errors"), 0);
	vmtest_fini(&t);
}

Test(net, segments_to_be_cut_are_taken_by_the_tap)
{
	begin_with_tap(SCRIPT("net send 100 65000; net send 100 64; exit 7"));
	run_to(GUEST_EXIT, 7);
	cr_assert_eq(counter("tx_frames"), 200);
	cr_assert_eq(counter("tx_errors"), 0);
	cr_assert_eq(counter("tx_dropped"), 0);
	vmtest_fini(&t);
}

/* Whatever a driver agrees to, the kernel can take: it refuses what it does not
 * know of, such as marks of congestion on segments that are never sent. */
Test(net, features_in_any_set_are_taken_by_the_tap)
{
	static const uint64_t some[] = {
		NET_F_GUEST_CSUM, NET_F_GUEST_TSO4, NET_F_GUEST_TSO6,
		NET_F_GUEST_ECN,  NET_F_GUEST_UFO,  NET_F_GUEST_USO4,
		NET_F_GUEST_USO6,
	};
	struct net_port *port = net_tap_create(open_tap());

	cr_assert_not_null(port);
	for (unsigned set = 0; set < 1u << ARRAY_SIZE(some); set++) {
		uint64_t features = 0;

		for (unsigned i = 0; i < ARRAY_SIZE(some); i++)
			features |= set & 1u << i ? some[i] : 0;
		features &= port->features;
		cr_expect_eq(port->ops->agree(port, features), 0, "0x%lx",
			     features);
	}
	port->ops->destroy(port);
}
