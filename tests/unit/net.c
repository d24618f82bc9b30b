/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net: transmit, pause and reset, limits, and a port that fails. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "nettest.h"
#include "util.h"

TestSuite(net, .init = nettest_init, .fini = nettest_fini);

#define OFFLOADS (NET_F_CSUM | NET_F_HOST_TSO4)

/* ---- transmit ---- */

Test(net, frame_when_sent_reaches_the_tap)
{
	with_tap();
	start_driver(0);
	fill_frame(64, 1);
	send_frame(64);
	expect_sent(64);
	cr_assert_eq(used_count(NET_TX), 1);
	cr_assert_eq(used_bytes(NET_TX, 0, NULL), 0);
	cr_assert_eq(net->way[NET_TX].frames, 1);
	cr_assert_eq(net->way[NET_TX].bytes, 64);
	cr_assert_eq(get_reg(VIRTIO_INTERRUPT_STATUS), VIRTIO_INT_USED);
}

Test(net, frames_of_a_burst_cost_one_interrupt)
{
	with_tap();
	start_driver(0);
	fill_frame(64, 1);
	cr_assert_eq(gmem_write(&ram, GPA(OUT), frame, HEADER + 64), 0);
	put_desc(NET_TX, 0, OUT, HEADER + 64, 0, 0);
	for (unsigned i = 0; i < 8; i++)
		offer_chain(NET_TX, 0);
	kick_queue(NET_TX);
	cr_assert_eq(used_count(NET_TX), 8);
	cr_assert_eq(vdev->counters.interrupts, 1);
	for (unsigned i = 0; i < 8; i++)
		expect_sent(64);
}

Test(net, frame_in_odd_pieces_is_put_together)
{
	static const uint32_t cut[] = { 5, 0, 6, 1, 1, 20, 43 };
	uint64_t at = OUT;

	with_tap();
	start_driver(0);
	fill_frame(64, 9);
	cr_assert_eq(gmem_write(&ram, GPA(OUT), frame, HEADER + 64), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cut); i++) {
		put_desc(NET_TX, i, at, cut[i],
			 i + 1 < ARRAY_SIZE(cut) ? VRING_DESC_NEXT : 0,
			 (uint16_t)(i + 1));
		at += cut[i];
	}
	offer_chain(NET_TX, 0);
	kick_queue(NET_TX);
	expect_sent(64);
}

/* An indirect table of as many pieces as the queue has entries less one. */
static void send_in_pieces(unsigned n, uint32_t each)
{
	for (unsigned i = 0; i < n; i++) {
		struct vring_desc d = { BIG + i * (uint64_t)each, each,
					i + 1 < n ? VRING_DESC_NEXT : 0,
					(uint16_t)(i + 1) };

		cr_assert_eq(
		    gmem_write(&ram, GPA(OUT + i * sizeof(d)), &d, sizeof(d)),
		    0);
	}
	put_desc(NET_TX, 0, OUT, n * 16, VRING_DESC_INDIRECT, 0);
	offer_chain(NET_TX, 0);
	kick_queue(NET_TX);
}

Test(net, frame_in_very_many_pieces_is_sent)
{
	with_tap();
	set_reg(VIRTIO_STATUS, 0);
	start_driver(VIRTIO_F_INDIRECT_DESC);
	/* The pieces beyond those that are sent where they lie. */
	vdev->st->size[NET_TX] = 256;
	cr_assert_eq(virtq_map(&vdev->q[NET_TX]), 0);
	fill_frame(200 * 7 - HEADER, 3);
	cr_assert_eq(gmem_write(&ram, GPA(BIG), frame, 200 * 7), 0);
	send_in_pieces(200, 7);
	expect_sent(200 * 7 - HEADER);
	/* Too large, found out only when it is put together. */
	offered[NET_TX] = 1;
	send_in_pieces(200, 400);
	expect_nothing_sent();
	cr_assert_eq(net->way[NET_TX].errors, 1);
}

Test(net, frame_of_the_largest_size_is_sent_and_no_larger)
{
	int much = 4 << 20;

	with_tap();
	cr_assert_eq(setsockopt(net->port->fd, SOL_SOCKET, SO_SNDBUF, &much,
				sizeof(much)),
		     0);
	start_driver(0);
	fill_frame(NET_FRAME_MAX, 1);
	send_frame(NET_FRAME_MAX);
	expect_sent(NET_FRAME_MAX);
	send_frame(NET_FRAME_MAX + 1);
	expect_nothing_sent();
	cr_assert_eq(used_count(NET_TX), 2);
	cr_assert_eq(net->way[NET_TX].errors, 1);
}

Test(net, frame_when_too_short_is_dropped_and_counted)
{
	static const uint32_t bytes[] = { 0, 1, 11, 12, 25 };

	with_tap();
	start_driver(0);
	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++) {
		put_desc(NET_TX, 0, OUT, bytes[i], 0, 0);
		offer_chain(NET_TX, 0);
		kick_queue(NET_TX);
	}
	expect_nothing_sent();
	cr_assert_eq(used_count(NET_TX), ARRAY_SIZE(bytes));
	cr_assert_eq(net->way[NET_TX].errors, ARRAY_SIZE(bytes));
}

Test(net, chain_to_send_when_writable_breaks_the_device)
{
	with_tap();
	start_driver(0);
	put_desc(NET_TX, 0, OUT, HEADER + 20, VRING_DESC_NEXT, 1);
	put_desc(NET_TX, 1, OUT, 64, VRING_DESC_WRITE, 0);
	offer_chain(NET_TX, 0);
	kick_queue(NET_TX);
	cr_assert(broken());
	cr_assert_eq(used_count(NET_TX), 0);
	start_driver(0);
	fill_frame(64, 1);
	send_frame(64);
	expect_sent(64);
}

static void expect_header_refused(const struct net_header *h, const char *what)
{
	uint64_t errors = net->way[NET_TX].errors;

	fill_frame(100, 1);
	memcpy(frame, h, sizeof(*h));
	send_frame(100);
	cr_assert_eq(host_takes(), -1, "%s", what);
	cr_assert_eq(net->way[NET_TX].errors, errors + 1, "%s", what);
	cr_assert_not(broken(), "%s", what);
}

Test(net, header_that_lies_costs_its_frame)
{
	static const struct {
		const char *what;
		struct net_header h;
	} bad[] = {
		{ "checksum beyond the end",
		  { .flags = 1, .csum_start = 90, .csum_offset = 9 } },
		{ "checksum that wraps",
		  { .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff } },
		{ "segments without a checksum",
		  { .gso = NET_GSO_TCP4, .gso_bytes = 50 } },
		{ "segments of nothing",
		  { .flags = 1, .gso = NET_GSO_TCP4, .csum_start = 34 } },
		{ "headers longer than the frame",
		  { .flags = 1,
		    .gso = NET_GSO_TCP4,
		    .gso_bytes = 50,
		    .header_bytes = 101 } },
		{ "a kind that was not agreed on",
		  { .flags = 1, .gso = NET_GSO_TCP6, .gso_bytes = 50 } },
		{ "datagrams, not agreed on",
		  { .flags = 1, .gso = NET_GSO_UDP, .gso_bytes = 50 } },
		{ "congestion marks, not agreed on",
		  { .flags = 1,
		    .gso = NET_GSO_TCP4 | NET_GSO_ECN,
		    .gso_bytes = 50 } },
		{ "only the mark",
		  { .flags = 1, .gso = NET_GSO_ECN, .gso_bytes = 50 } },
		{ "a kind that there is not",
		  { .flags = 1, .gso = 2, .gso_bytes = 50 } },
		{ "another one", { .flags = 1, .gso = 0x7f, .gso_bytes = 50 } },
	};

	with_tap();
	start_driver(OFFLOADS);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		expect_header_refused(&bad[i].h, bad[i].what);
}

Test(net, header_when_offloads_were_agreed_on_reaches_the_tap)
{
	const struct net_header h = {
		.flags = NET_NEEDS_CSUM | 0xf0,
		.gso = NET_GSO_TCP4,
		.header_bytes = 54,
		.gso_bytes = 20,
		.csum_start = 34,
		.csum_offset = 16,
		.buffers = 77,
	};
	struct net_header seen;

	with_tap();
	start_driver(OFFLOADS);
	fill_frame(100, 1);
	memcpy(frame, &h, sizeof(h));
	send_frame(100);
	expect_sent(100);
	memcpy(&seen, got, sizeof(seen));
	cr_assert_eq(seen.flags, NET_NEEDS_CSUM);
	cr_assert_eq(seen.gso, NET_GSO_TCP4);
	cr_assert_eq(seen.header_bytes, 54);
	cr_assert_eq(seen.gso_bytes, 20);
	cr_assert_eq(seen.csum_start, 34);
	cr_assert_eq(seen.csum_offset, 16);
	cr_assert_eq(seen.buffers, 0);
}

Test(net, header_when_nothing_was_agreed_on_is_sent_empty)
{
	with_tap();
	start_driver(0);
	fill_frame(100, 1);
	*header() = (struct net_header){ .flags = 0xff,
					 .header_bytes = 9,
					 .gso_bytes = 9,
					 .csum_start = 9,
					 .csum_offset = 9,
					 .buffers = 9 };
	send_frame(100);
	expect_sent(100);
	cr_assert(mem_is_zero(got, HEADER));
}

/* The host's queue is full: nothing is lost, the order stays. */
Test(net, queue_when_the_host_stalls_waits_and_goes_on)
{
	unsigned sent = 0, taken = 0;

	with_tap();
	small_buffer();
	start_driver(0);
	fill_frame(1000, 5);
	while (!net->tx.stalled) {
		cr_assert_lt(sent, SIZE);
		send_frame(1000);
		sent++;
	}
	cr_assert_eq(used_count(NET_TX), sent - 1);
	loop_steps(3);
	cr_assert_eq(used_count(NET_TX), sent - 1);
	while (taken < sent) {
		expect_sent(1000);
		taken++;
		loop_steps(2);
	}
	cr_assert_eq(used_count(NET_TX), sent);
	cr_assert_eq(net->way[NET_TX].frames, sent);
	cr_assert_eq(net->way[NET_TX].dropped, 0);
}

Test(net, round_when_the_driver_never_stops_ends_and_comes_back)
{
	with_tap();
	start_driver(0);
	fill_frame(64, 1);
	cr_assert_eq(gmem_write(&ram, GPA(OUT), frame, HEADER + 64), 0);
	/* More bytes than a round takes, in frames that are refused. */
	for (unsigned i = 0; i < SIZE; i++) {
		put_desc(NET_TX, i, OUT, HEADER + 60000, 0, 0);
		offer_chain(NET_TX, (uint16_t)i);
	}
	header()->gso = 99;
	cr_assert_eq(gmem_write(&ram, GPA(OUT), frame, HEADER), 0);
	kick_queue(NET_TX);
	cr_assert_eq(used_count(NET_TX), NET_ROUND_BYTES / 60000 + 1);
	loop_steps(2 + SIZE * 60000 / NET_ROUND_BYTES);
	cr_assert_eq(used_count(NET_TX), SIZE);
}

/* Sends until kicks come so close that the device sleeps instead of asking for
 * the next one. */
static void send_until_it_rests(void)
{
	fill_frame(64, 1);
	while (!net->way[NET_TX].rests) {
		send_frame(64);
		while (host_takes() >= 0)
			;
	}
}

Test(net, queue_of_close_kicks_is_looked_at_by_the_clock)
{
	uint16_t asked;

	with_tap();
	start_driver(VIRTIO_F_EVENT_IDX);
	send_until_it_rests();
	asked = get16(USED(NET_TX) + 4 + 8 * SIZE);
	cr_assert_neq(asked, offered[NET_TX]);
	/* Nobody kicks. */
	offer_chain(NET_TX, 0);
	while (used_count(NET_TX) != offered[NET_TX])
		cr_assert_eq(loop_step(&loop, -1), 0);
	expect_sent(64);
	/* Then nothing comes, and it asks. */
	while (get16(USED(NET_TX) + 4 + 8 * SIZE) != offered[NET_TX])
		cr_assert_eq(loop_step(&loop, -1), 0);
}

Test(net, machine_that_is_paused_while_it_rests_loses_nothing)
{
	with_tap();
	start_driver(VIRTIO_F_EVENT_IDX);
	send_until_it_rests();
	virtio_quiesce(&vdev->dev);
	offer_chain(NET_TX, 0);
	/* Long enough for the clock to come. */
	while (now_ns() < net->tx.asked_ns + 4 * (uint64_t)NET_REST_NS)
		loop_steps(1);
	cr_assert_neq(used_count(NET_TX), offered[NET_TX]);
	virtio_resume(&vdev->dev);
	cr_assert_eq(used_count(NET_TX), offered[NET_TX]);
	expect_sent(64);
}

/* ---- pause, reset ---- */

Test(net, buffers_when_quiesced_are_given_back)
{
	with_tap();
	start_driver(MERGE);
	offer_buffers(40, 2048);
	fill_frame(9000, 1);
	host_sends(9000);
	host_sends(9000);
	cr_assert_gt(net->rx.nbuffers, 0);
	cr_assert_eq(virtio_quiesce(&vdev->dev), 0);
	cr_assert_eq(net->st.virtio.last_avail[NET_RX],
		     net->st.virtio.next_used[NET_RX]);
	cr_assert_eq(virtio_quiesce(&vdev->dev), 0);
	/* Frames wait meanwhile. */
	host_sends(9000);
	cr_assert_eq(used_count(NET_RX), 10);
	send_frame(64);
	cr_assert_eq(host_takes(), -1);
	virtio_resume(&vdev->dev);
	loop_steps(3);
	expect_received(10, 9000, 5, 2048);
	cr_assert_eq(host_takes(), 64);
}

Test(net, frame_held_when_paused_comes_after_the_resume)
{
	with_tap();
	start_driver(MERGE);
	offer_buffers(1, 1024);
	fill_frame(3000, 1);
	host_sends(3000);
	cr_assert_eq(net->rx.held, 3000);
	virtio_quiesce(&vdev->dev);
	for (unsigned i = 1; i < 4; i++) {
		put_desc(NET_RX, i, BUFFER(i), 1024, VRING_DESC_WRITE, 0);
		offer_chain(NET_RX, (uint16_t)i);
	}
	virtio_resume(&vdev->dev);
	expect_received(0, 3000, 3, 1024);
}

Test(net, reset_when_buffers_are_popped_forgets_them)
{
	with_tap();
	start_driver(MERGE);
	offer_buffers(40, 2048);
	fill_frame(9000, 1);
	host_sends(9000);
	start_driver(MERGE);
	fill_frame(100, 2);
	host_sends(100);
	cr_assert_eq(used_count(NET_RX), 0);
	offer_buffers(2, 512);
	expect_received(0, 100, 1, 512);
}

Test(net, restored_state_is_judged)
{
	struct net_state good;

	with_tap();
	start_driver(MERGE);
	virtio_quiesce(&vdev->dev);
	good = net->st;
	cr_assert_eq(vdev->dev.ops->restored(&vdev->dev), 0);
	for (unsigned i = 0; i < 5; i++) {
		net->st = good;
		switch (i) {
		case 0:
			net->st.status = 2;
			break;
		case 1:
			net->st.mtu = 67;
			break;
		case 2:
			net->st.mac[0] |= 1;
			break;
		case 3:
			net->st.unused[0] = 1;
			break;
		case 4:
			net->st.virtio.size[0] = 512;
			break;
		}
		cr_assert_eq(vdev->dev.ops->restored(&vdev->dev), -EINVAL, "%u",
			     i);
		cr_assert_arr_eq(net->st.mac, mac, sizeof(mac));
		cr_assert_eq(net->st.virtio.status, 0);
	}
}

/* The MAC is the machine's until the driver's reset, whatever the file of this
 * one says. */
Test(net, mac_when_restored_stays_until_the_reset)
{
	with_tap();
	start_driver(MERGE);
	virtio_quiesce(&vdev->dev);
	net->st.mac[5] = 99;
	cr_assert_eq(vdev->dev.ops->restored(&vdev->dev), 0);
	virtio_resume(&vdev->dev);
	cr_assert_eq(get_reg(VIRTIO_CONFIG + 4) >> 8 & 0xff, 99);
	set_reg(VIRTIO_STATUS, 0);
	cr_assert_eq(get_reg(VIRTIO_CONFIG + 4) >> 8 & 0xff, 5);
}

Test(net, config_has_mac_status_and_mtu)
{
	with_tap();
	cr_assert_eq(get_reg(VIRTIO_CONFIG), 0x03020102);
	cr_assert_eq(get_reg(VIRTIO_CONFIG + 4), 0x00010504);
	cr_assert_eq(get_reg(VIRTIO_CONFIG + 8), 1400u << 16);
	set_reg(VIRTIO_CONFIG, 7);
	cr_assert_eq(vdev->counters.refused, 1);
}

/* ---- limits ---- */

static void wait_for_used(unsigned q, unsigned count)
{
	while (used_count(q) < count)
		cr_assert_eq(loop_step(&loop, -1), 0);
}

Test(net, limit_of_frames_when_reached_makes_both_ways_wait)
{
	make_net(net_tap_create(socket_pair(SOCK_DGRAM)), 0, 100);
	start_driver(MERGE);
	offer_buffers(32, 2048);
	fill_frame(64, 1);
	/* A burst is ten of them. */
	for (unsigned i = 0; i < 20; i++) {
		send_frame(64);
		cr_assert_eq(host_takes(), used_count(NET_TX) > i ? 64 : -1);
	}
	cr_assert_lt(used_count(NET_TX), 20);
	cr_assert_gt(net->way[NET_TX].throttled, 0);
	wait_for_used(NET_TX, 20);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(write(host, frame, HEADER + 64), HEADER + 64);
	wait_for_used(NET_RX, 20);
	cr_assert_gt(net->way[NET_RX].throttled, 0);
	cr_assert_eq(net->way[NET_RX].frames, 20);
}

Test(net, limit_of_bytes_when_reached_makes_it_wait)
{
	make_net(net_tap_create(socket_pair(SOCK_DGRAM)), 100000, 0);
	start_driver(MERGE);
	fill_frame(1000, 1);
	for (unsigned i = 0; i < 15; i++)
		send_frame(1000);
	cr_assert_lt(used_count(NET_TX), 15);
	while (used_count(NET_TX) < 15) {
		cr_assert_eq(loop_step(&loop, -1), 0);
		host_takes();
	}
	cr_assert_gt(net->way[NET_TX].throttled, 0);
}

/* ---- a port that fails (a tap is gone, a header refused) ---- */

static int answer;

static int fake_send(struct net_port *p, const struct net_header *h,
		     struct iovec *iov, unsigned n, size_t bytes)
{
	return answer;
}

static int fake_receive(struct net_port *p, struct net_header *h,
			struct iovec *iov, unsigned n)
{
	return answer ? answer : -EAGAIN;
}

static int fake_flush(struct net_port *p)
{
	return 0;
}

static int fake_agree(struct net_port *p, uint64_t features)
{
	return answer == -ENOLINK || answer == -EPERM ? answer : 0;
}

static void fake_destroy(struct net_port *p)
{
	close(p->fd);
}

static const struct net_port_ops fake_ops = {
	fake_send, fake_receive, fake_flush, fake_agree, fake_destroy,
};

static void with_fake(void)
{
	static struct net_port fake;

	answer = 0;
	fake = (struct net_port){ .ops = &fake_ops,
				  .fd = socket_pair(SOCK_DGRAM) };
	make_net(&fake, 0, 0);
}

Test(net, header_when_the_host_refuses_it_is_the_guests_error)
{
	with_fake();
	start_driver(0);
	answer = -EINVAL;
	send_frame(64);
	answer = -EIO; /* the interface is down */
	send_frame(64);
	answer = -ENOBUFS;
	send_frame(64);
	cr_assert_eq(used_count(NET_TX), 3);
	cr_assert_eq(net->way[NET_TX].errors, 1);
	cr_assert_eq(net->way[NET_TX].dropped, 2);
	cr_assert_not(broken());
	cr_assert_not(net->gone);
}

Test(net, tap_that_goes_away_takes_the_link_down)
{
	with_fake();
	start_driver(NET_F_STATUS);
	answer = -ENOLINK;
	send_frame(64);
	expect_link_down();
}

Test(net, tap_that_goes_away_while_it_is_read_takes_the_link_down)
{
	with_fake();
	start_driver(NET_F_STATUS | MERGE);
	offer_buffers(1, 2048);
	answer = -ENOLINK;
	host_sends(64);
	expect_link_down();
}

/* Its log is a file, which a guest must not fill. */
Test(net, offloads_when_refused_again_and_again_are_told_once)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	char text[4096];
	ssize_t n;

	log_setup(fd, LOG_WARN);
	with_fake();
	answer = -EPERM;
	for (unsigned i = 0; i < 20; i++) {
		start_driver(i % 2 ? NET_F_STATUS : 0);
		send_frame(64);
	}
	n = pread(fd, text, sizeof(text), 0);
	cr_assert_gt(n, 0);
	cr_assert_eq(memchr(text, '\n', (size_t)n), text + n - 1);
	cr_assert_not(net->gone);
	close(fd);
}

Test(net, link_that_goes_down_while_paused_is_told_after_the_resume)
{
	with_fake();
	start_driver(NET_F_STATUS | MERGE);
	virtio_quiesce(&vdev->dev);
	net_gone(net, -ENOLINK);
	cr_assert_eq(net->st.status, NET_LINK_UP);
	virtio_resume(&vdev->dev);
	expect_link_down();
}

/* ---- unplugged ---- */

Test(net, unplugged_card_has_no_link_and_drops_what_is_sent)
{
	make_net(NULL, 0, 0);
	start_driver(OFFLOADS);
	cr_assert_eq(net->st.status, 0);
	fill_frame(64, 1);
	send_frame(64);
	cr_assert_eq(used_count(NET_TX), 1);
	cr_assert_eq(net->way[NET_TX].frames, 0);
	cr_assert_eq(net->way[NET_TX].dropped, 1);
	cr_assert_not(broken());
}
