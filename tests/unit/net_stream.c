/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net on a stream that a program holds, as passt does. */
#include <criterion/criterion.h>
#include <errno.h>
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "nettest.h"
#include "util.h"

TestSuite(net_stream, .init = nettest_init, .fini = nettest_fini);

/* ---- a stream (passt) ---- */

static void stream_sends(size_t bytes)
{
	uint32_t length = htonl((uint32_t)bytes);

	cr_assert_eq(write(host, &length, 4), 4);
	cr_assert_eq(write(host, frame + HEADER, bytes), (ssize_t)bytes);
}

/* All of one frame from the stream, while the device goes on writing. */
static void read_all(void *to, size_t bytes)
{
	size_t at = 0;

	while (at < bytes) {
		ssize_t n = read(host, (uint8_t *)to + at, bytes - at);

		if (n > 0)
			at += (size_t)n;
		else
			cr_assert_eq(errno, EAGAIN);
		loop_steps(1);
	}
}

static void expect_streamed(size_t bytes)
{
	uint32_t length;

	read_all(&length, 4);
	cr_assert_eq(ntohl(length), bytes);
	read_all(got, bytes);
	cr_assert_arr_eq(got, frame + HEADER, bytes);
}

Test(net_stream, stream_has_no_offloads)
{
	with_stream();
	set_reg(VIRTIO_DEVICE_FEATURES_SEL, 0);
	cr_assert_eq(get_reg(VIRTIO_DEVICE_FEATURES) & 0xffffff,
		     NET_F_MTU | NET_F_MAC | NET_F_STATUS | MERGE);
	start_driver(MERGE);
	fill_frame(100, 1);
	*header() = (struct net_header){ .flags = 1,
					 .gso = NET_GSO_TCP4,
					 .gso_bytes = 20 };
	send_frame(100);
	cr_assert_eq(read(host, got, 1), -1);
	cr_assert_eq(net->way[NET_TX].errors, 1);
}

Test(net_stream, stream_frames_go_both_ways)
{
	with_stream();
	start_driver(MERGE);
	offer_buffers(8, 1024);
	fill_frame(1000, 1);
	send_frame(1000);
	send_frame(60);
	expect_streamed(1000);
	expect_streamed(60);
	stream_sends(100);
	stream_sends(2000);
	loop_steps(2);
	cr_assert_eq(used_count(NET_RX), 3);
	cr_assert_eq(net->way[NET_RX].frames, 2);
	stream_sends(100);
	loop_steps(2);
	expect_received(3, 100, 1, 1024);
}

Test(net_stream, stream_frame_that_comes_byte_by_byte_is_whole)
{
	uint32_t length = htonl(60);
	uint8_t all[64];

	with_stream();
	start_driver(MERGE);
	offer_buffers(8, 1024);
	fill_frame(60, 4);
	memcpy(all, &length, 4);
	memcpy(all + 4, frame + HEADER, 60);
	for (unsigned i = 0; i < sizeof(all); i++) {
		cr_assert_eq(used_count(NET_RX), 0);
		cr_assert_eq(write(host, all + i, 1), 1);
		loop_steps(2);
		/* In the middle of one, too. */
		virtio_quiesce(&vdev->dev);
		virtio_resume(&vdev->dev);
	}
	expect_received(0, 60, 1, 1024);
}

Test(net_stream, stream_frame_that_is_taken_in_part_goes_on)
{
	with_stream();
	small_buffer();
	start_driver(0);
	fill_frame(60000, 1);
	send_frame(60000);
	/* It is ours: nothing of it is read from the guest again. */
	cr_assert_eq(used_count(NET_TX), 1);
	cr_assert_eq(gmem_fill(&ram, GPA(BIG), 0xee, 60000), 0);
	send_frame(500);
	cr_assert(net->tx.stalled);
	cr_assert_eq(used_count(NET_TX), 1);
	virtio_quiesce(&vdev->dev);
	loop_steps(2);
	virtio_resume(&vdev->dev);
	expect_streamed(60000);
	expect_streamed(500);
	cr_assert_eq(used_count(NET_TX), 2);
}

/* The last that the driver has to say for now: no other pushes it on. */
Test(net_stream, stream_last_frame_that_is_taken_in_part_goes_on, .timeout = 10)
{
	with_stream();
	small_buffer();
	start_driver(0);
	fill_frame(60000, 1);
	send_frame(60000);
	cr_assert_eq(used_count(NET_TX), 1);
	virtio_quiesce(&vdev->dev);
	loop_steps(2);
	virtio_resume(&vdev->dev);
	expect_streamed(60000);
	loop_steps(2);
	cr_assert_not(net->source.events & EPOLLOUT);
	send_frame(500);
	expect_streamed(500);
}

/* From now on the kernel has no memory for what is written. */
static void have_no_memory(void)
{
	struct sock_filter insn[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwritev2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOBUFS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(insn), insn };

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

Test(net_stream, stream_when_the_host_has_no_memory_loses_the_frame_only)
{
	with_stream();
	start_driver(MERGE);
	offer_buffers(8, 1024);
	fill_frame(60, 1);
	have_no_memory();
	send_frame(60);
	cr_assert_eq(used_count(NET_TX), 1);
	cr_assert_eq(net->way[NET_TX].dropped, 1);
	cr_assert_not(net->gone);
	stream_sends(60);
	loop_steps(2);
	expect_received(0, 60, 1, 1024);
}

/* Half of it is there already: the other half waits for memory. */
Test(net_stream, stream_when_the_host_has_no_memory_keeps_the_rest)
{
	with_stream();
	small_buffer();
	start_driver(0);
	fill_frame(60000, 1);
	send_frame(60000);
	have_no_memory();
	while (read(host, got, sizeof(got)) > 0)
		;
	loop_steps(2);
	cr_assert_not(net->gone);
	cr_assert(net->tx.stalled);
}

Test(net_stream, stream_frames_when_there_is_no_buffer_wait)
{
	with_stream();
	start_driver(MERGE);
	fill_frame(100, 1);
	for (unsigned i = 0; i < 5; i++)
		stream_sends(100);
	offer_buffers(2, 1024);
	loop_steps(3);
	cr_assert_eq(used_count(NET_RX), 2);
	offer_buffers(2, 1024);
	cr_assert_eq(used_count(NET_RX), 4);
	offer_buffers(2, 1024);
	expect_received(4, 100, 1, 1024);
}

Test(net_stream, stream_length_that_no_frame_has_takes_the_link_down)
{
	static const uint32_t bad[] = { NET_FRAME_MAX + 1, 0x80000000,
					UINT32_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		uint32_t length = htonl(bad[i]);

		if (i) {
			device_destroy(&vdev->dev);
			close(host);
		}
		with_stream();
		start_driver(MERGE | NET_F_STATUS);
		offer_buffers(8, 1024);
		cr_assert_eq(write(host, &length, 4), 4);
		loop_steps(2);
		expect_link_down();
	}
}

Test(net_stream, stream_runts_are_dropped)
{
	with_stream();
	start_driver(MERGE);
	offer_buffers(8, 1024);
	fill_frame(60, 1);
	stream_sends(0);
	stream_sends(13);
	stream_sends(60);
	loop_steps(3);
	expect_received(0, 60, 1, 1024);
	cr_assert_eq(net->way[NET_RX].errors, 2);
}

Test(net_stream, stream_that_is_closed_takes_the_link_down)
{
	with_stream();
	start_driver(MERGE | NET_F_STATUS);
	offer_buffers(8, 1024);
	close(host);
	host = -1;
	loop_steps(2);
	expect_link_down();
}

/* Nothing was read at the time: it is found out when something is sent. */
Test(net_stream, stream_that_is_closed_before_a_send_takes_the_link_down)
{
	signal(SIGPIPE, SIG_IGN); /* as main does */
	with_stream();
	start_driver(NET_F_STATUS);
	close(host);
	host = -1;
	send_frame(64);
	expect_link_down();
}

Test(net_stream, stream_of_endless_frames_leaves_the_loop_its_turn)
{
	static const uint8_t none[600 * 4];

	with_stream();
	start_driver(MERGE);
	for (unsigned i = 0; i < SIZE; i++) {
		put_desc(NET_RX, i, BUFFER(i), 1024, VRING_DESC_WRITE, 0);
		offer_chain(NET_RX, (uint16_t)i);
	}
	/* Of no bytes, each. */
	cr_assert_eq(write(host, none, sizeof(none)), sizeof(none));
	kick_queue(NET_RX);
	cr_assert_eq(net->way[NET_RX].errors, NET_ROUND_FRAMES);
	loop_steps(4);
	cr_assert_eq(net->way[NET_RX].errors, 600);
}
