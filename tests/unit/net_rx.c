/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net, receive: frames in the driver's buffers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "nettest.h"
#include "util.h"

TestSuite(net_rx, .init = nettest_init, .fini = nettest_fini);

/* ---- receive ---- */

Test(net_rx, frame_when_it_comes_lies_in_a_buffer)
{
	with_tap();
	start_driver(MERGE);
	offer_buffers(4, 2048);
	fill_frame(64, 1);
	gmem_take_marks(&ram, BUFFER(0) >> PAGE_SHIFT >> 6);
	host_sends(64);
	expect_received(0, 64, 1, 2048);
	cr_assert(gmem_take_marks(&ram, BUFFER(0) >> PAGE_SHIFT >> 6) &
		  UINT64_C(1) << (BUFFER(0) >> PAGE_SHIFT & 63));
	cr_assert_eq(net->way[NET_RX].frames, 1);
	cr_assert_eq(get_reg(VIRTIO_INTERRUPT_STATUS), VIRTIO_INT_USED);
	host_sends(1500);
	expect_received(1, 1500, 1, 2048);
}

Test(net_rx, frame_when_it_is_larger_than_a_buffer_takes_several)
{
	with_tap();
	start_driver(MERGE);
	offer_buffers(40, 2048);
	fill_frame(65000, 1);
	host_sends(65000);
	expect_received(0, 65000, 32, 2048);
	/* Read straight into the buffers by now. */
	offer_buffers(30, 2048);
	host_sends(9000);
	cr_assert_eq(net->rx.held, 0);
	expect_received(32, 9000, 5, 2048);
	cr_assert_gt(net->rx.nbuffers, 1);
}

Test(net_rx, frame_that_fills_its_buffers_exactly_takes_no_more)
{
	with_tap();
	start_driver(MERGE);
	offer_buffers(8, 1024);
	fill_frame(3 * 1024 - HEADER, 1);
	host_sends(3 * 1024 - HEADER);
	expect_received(0, 3 * 1024 - HEADER, 3, 1024);
}

Test(net_rx, frames_when_there_is_no_buffer_stay_with_the_host)
{
	with_tap();
	start_driver(MERGE);
	offer_buffers(1, 2048);
	fill_frame(64, 1);
	host_sends(64);
	host_sends(64);
	host_sends(64);
	cr_assert_eq(used_count(NET_RX), 1);
	cr_assert_eq(net->source.events, 0);
	offer_buffers(1, 2048);
	cr_assert_eq(used_count(NET_RX), 2);
	offer_buffers(4, 2048);
	loop_steps(2);
	cr_assert_eq(used_count(NET_RX), 3);
	cr_assert_eq(net->way[NET_RX].dropped, 0);
}

/* Between "read from the fd" and "no buffer" nothing is lost. */
Test(net_rx, frame_when_buffers_run_short_is_held_until_there_are_more)
{
	with_tap();
	start_driver(MERGE | VIRTIO_F_EVENT_IDX);
	offer_buffers(2, 1024);
	fill_frame(5000, 1);
	host_sends(5000);
	cr_assert_eq(used_count(NET_RX), 0);
	cr_assert_eq(net->rx.held, 5000);
	/* The kick is asked for beyond the two that are there. */
	cr_assert_eq(get16(USED(NET_RX) + 4 + 8 * SIZE), 2);
	for (unsigned i = 2; i < 6; i++) {
		put_desc(NET_RX, i, BUFFER(i), 1024, VRING_DESC_WRITE, 0);
		offer_chain(NET_RX, (uint16_t)i);
	}
	kick_queue(NET_RX);
	expect_received(0, 5000, 5, 1024);
	cr_assert_eq(net->rx.held, 0);
}

Test(net_rx, frame_that_no_queue_of_such_buffers_could_hold_is_dropped)
{
	with_tap();
	start_driver(MERGE);
	offer_buffers(SIZE, 64);
	fill_frame(60000, 1);
	host_sends(60000);
	cr_assert_eq(net->way[NET_RX].dropped, 1);
	fill_frame(64, 7);
	host_sends(64);
	expect_received(0, 64, 2, 64);
}

Test(net_rx, frame_too_long_for_an_unmerged_buffer_is_dropped)
{
	with_tap();
	start_driver(0);
	offer_buffers(2, 1526);
	fill_frame(1515, 1);
	host_sends(1515);
	cr_assert_eq(used_count(NET_RX), 0);
	cr_assert_eq(net->way[NET_RX].dropped, 1);
	fill_frame(1514, 2);
	host_sends(1514);
	expect_received(0, 1514, 1, 1526);
}

/* As drivers without merging do it: the header in a descriptor of its own. */
Test(net_rx, header_in_its_own_pieces_is_written_across_them)
{
	uint16_t buffers;

	with_tap();
	start_driver(0);
	put_desc(NET_RX, 0, BUFFER(0), 11, VRING_DESC_WRITE | VRING_DESC_NEXT,
		 1);
	put_desc(NET_RX, 1, BUFFER(1), 1, VRING_DESC_WRITE | VRING_DESC_NEXT,
		 2);
	put_desc(NET_RX, 2, BUFFER(2), 1514, VRING_DESC_WRITE, 0);
	put16(BUFFER(0) + 10, 0x5555);
	offer_chain(NET_RX, 0);
	kick_queue(NET_RX);
	fill_frame(700, 3);
	host_sends(700);
	cr_assert_eq(used_bytes(NET_RX, 0, NULL), HEADER + 700);
	cr_assert_eq(gmem_read(&ram, GPA(BUFFER(2)), got, 700), 0);
	cr_assert_arr_eq(got, frame + HEADER, 700);
	cr_assert_eq(gmem_read(&ram, GPA(BUFFER(0) + 10), &buffers, 1), 0);
	cr_assert_eq(
	    gmem_read(&ram, GPA(BUFFER(1)), (uint8_t *)&buffers + 1, 1), 0);
	cr_assert_eq(buffers, 1);
}

Test(net_rx, chain_of_very_many_pieces_is_filled)
{
	with_tap();
	start_driver(0);
	vdev->st->size[NET_RX] = 256;
	cr_assert_eq(virtq_map(&vdev->q[NET_RX]), 0);
	for (unsigned i = 0; i < 100; i++)
		put_desc(NET_RX, i, BUFFER(0) + i * 16, 16,
			 VRING_DESC_WRITE | (i < 99 ? VRING_DESC_NEXT : 0),
			 (uint16_t)(i + 1));
	put16(AVAIL(NET_RX) + 4, 0);
	put16(AVAIL(NET_RX) + 2, 1);
	kick_queue(NET_RX);
	fill_frame(1500, 3);
	host_sends(1500);
	cr_assert_eq(used_count(NET_RX), 1);
	cr_assert_eq(used_bytes(NET_RX, 0, NULL), HEADER + 1500);
	cr_assert_eq(gmem_read(&ram, GPA(BUFFER(0) + HEADER), got, 1500), 0);
	cr_assert_arr_eq(got, frame + HEADER, 1500);
}

Test(net_rx, buffer_when_it_cannot_be_filled_breaks_the_device)
{
	with_tap();
	start_driver(MERGE);
	put_desc(NET_RX, 0, BUFFER(0), 2048, VRING_DESC_WRITE, 0);
	put_desc(NET_RX, 1, BUFFER(1), 2048, 0, 0);
	offer_chain(NET_RX, 0);
	kick_queue(NET_RX);
	fill_frame(9000, 1);
	offer_chain(NET_RX, 1);
	host_sends(9000);
	cr_assert(broken());
	cr_assert_eq(vdev->counters.broken, 1);
	start_driver(MERGE);
	offer_buffers(4, 2048);
	fill_frame(64, 1);
	host_sends(64);
	expect_received(0, 64, 1, 2048);
}

Test(net_rx, buffer_without_room_for_the_header_breaks_the_device)
{
	with_tap();
	start_driver(MERGE);
	offer_buffers(1, 11);
	loop_steps(2);
	cr_assert(broken());
	start_driver(MERGE);
	offer_buffers(1, 0);
	loop_steps(2);
	cr_assert(broken());
}

/* Left in the host's queue by offloads that an earlier driver agreed on. */
Test(net_rx, frame_with_an_offload_not_agreed_on_is_dropped)
{
	with_tap();
	start_driver(MERGE);
	offer_buffers(4, 2048);
	fill_frame(100, 1);
	header()->flags = NET_NEEDS_CSUM;
	host_sends(100);
	*header() =
	    (struct net_header){ .flags = NET_NEEDS_CSUM, .gso = NET_GSO_TCP4 };
	host_sends(100);
	cr_assert_eq(used_count(NET_RX), 0);
	cr_assert_eq(net->way[NET_RX].errors, 2);
	start_driver(MERGE | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4);
	offer_buffers(4, 2048);
	host_sends(100);
	cr_assert_eq(used_count(NET_RX), 1);
}

Test(net_rx, runt_from_the_host_is_dropped)
{
	with_tap();
	start_driver(MERGE);
	offer_buffers(4, 2048);
	fill_frame(13, 1);
	host_sends(13);
	cr_assert_eq(write(host, frame, 5), 5);
	loop_steps(2);
	cr_assert_eq(used_count(NET_RX), 0);
	cr_assert_eq(net->way[NET_RX].errors, 2);
}

Test(net_rx, device_before_its_driver_is_ready_reads_nothing)
{
	with_tap();
	fill_frame(64, 1);
	host_sends(64);
	start_driver(MERGE);
	loop_steps(2);
	offer_buffers(2, 2048);
	expect_received(0, 64, 1, 2048);
}
