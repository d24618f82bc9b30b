/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio transport and its queues, driven as a driver does it, a well
 * behaved and a hostile one. The device here echoes what it reads.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "bus.h"
#include "log.h"
#include "util.h"
#include "virtio.h"

#define RAM	  MIB(2)
#define BASE	  0xd0000000
#define DESC	  0x10000
#define AVAIL	  0x11000
#define USED	  0x12000
#define DATA	  0x20000
#define SIZE	  16
#define QUEUE_MAX 64
#define FEATURE	  UINT64_C(1)

struct echo_state {
	struct virtio_state virtio;
};

static struct gmem ram;
static struct bus mmio;
static struct virtio v;
static struct echo_state st;
static uint16_t offered_chains;
static int64_t last_read; /* what the device made of the last chain */

static const struct state_field echo_fields[] = {
	VIRTIO_STATE_ROWS(struct echo_state, virtio),
};
static const struct state_desc echo_desc =
    STATE_DESC("echo", 1, struct echo_state, echo_fields);

static void echo_kick(struct virtio *dev, unsigned queue)
{
	struct virtq_chain c;
	uint8_t buf[4096];

	do {
		while (virtq_pop(&dev->q[queue], &c) == 1) {
			int64_t n = virtq_read(&c, buf, sizeof(buf));

			last_read = n;
			if (n >= 0)
				n = virtq_write(&c, buf, (size_t)n);
			if (n >= 0)
				virtq_push(&c, (uint32_t)n);
		}
	} while (virtq_enable_kicks(&dev->q[queue]));
	virtq_interrupt(&dev->q[queue]);
}

static uint8_t config[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

static uint64_t config_read(struct virtio *dev, uint64_t off, unsigned len)
{
	uint64_t value = 0;

	memcpy(&value, config + off, len);
	return value;
}

static const struct virtio_class echo_class = {
	.id = 42,
	.nqueues = 2,
	.queue_max = QUEUE_MAX,
	.features = FEATURE,
	.kick = echo_kick,
	.config_bytes = sizeof(config),
	.config_read = config_read,
};

static const struct device_ops echo_ops = {
	VIRTIO_OPS,
	.type = "echo",
	.state = &echo_desc,
};

static void init(void)
{
	struct gmem_region region = { 0, RAM, 0 };
	struct virtio_config c = { .name = "echo0",
				   .ram = &ram,
				   .kick_fd = -1 };

	log_setup(2, LOG_ERROR);
	cr_assert_eq(gmem_init(&ram, &region, 1), 0);
	irq_init(&c.irq, -1, 0);
	virtio_init(&v, &echo_ops, &echo_class, &st, &c);
	bus_init(&mmio, "mmio");
	cr_assert_eq(bus_add(&mmio, BASE, 0x1000, &v.dev), 0);
	offered_chains = 0;
}

static void fini(void)
{
	device_fini(&v.dev);
	gmem_fini(&ram);
}

TestSuite(virtio, .init = init, .fini = fini);

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

static void negotiate(uint64_t features)
{
	set(VIRTIO_STATUS, 0);
	set(VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		set(VIRTIO_DRIVER_FEATURES_SEL, i);
		set(VIRTIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * i)));
	}
	set(VIRTIO_STATUS,
	    VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
}

static void set_up_queue(unsigned i, uint32_t size, uint32_t desc,
			 uint32_t avail, uint32_t used)
{
	set(VIRTIO_QUEUE_SEL, i);
	set(VIRTIO_QUEUE_NUM, size);
	set(VIRTIO_QUEUE_DESC_LOW, desc);
	set(VIRTIO_QUEUE_DESC_HIGH, 0);
	set(VIRTIO_QUEUE_DRIVER_LOW, avail);
	set(VIRTIO_QUEUE_DRIVER_HIGH, 0);
	set(VIRTIO_QUEUE_DEVICE_LOW, used);
	set(VIRTIO_QUEUE_DEVICE_HIGH, 0);
	set(VIRTIO_QUEUE_READY, 1);
}

static void go(void)
{
	set(VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER |
			       VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

static void start(uint64_t features)
{
	negotiate(features | VIRTIO_F_VERSION_1);
	set_up_queue(0, SIZE, DESC, AVAIL, USED);
	go();
	cr_assert(get(VIRTIO_STATUS) & VIRTIO_DRIVER_OK);
}

static void put_desc(uint64_t table, unsigned i, uint64_t addr, uint32_t len,
		     uint16_t flags, uint16_t next)
{
	struct vring_desc d = { addr, len, flags, next };

	cr_assert_eq(
	    gmem_write(&ram, GPA(table + i * sizeof(d)), &d, sizeof(d)), 0);
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

static void offer(uint16_t head)
{
	put16(AVAIL + 4 + 2 * (offered_chains % SIZE), head);
	put16(AVAIL + 2, ++offered_chains);
}

static void kick(void)
{
	set(VIRTIO_QUEUE_NOTIFY, 0);
}

static uint16_t used_count(void)
{
	return get16(USED + 2);
}

static bool broken(void)
{
	return get(VIRTIO_STATUS) & VIRTIO_NEEDS_RESET;
}

static void offer_and_expect_broken(uint16_t head)
{
	offer(head);
	kick();
	cr_assert(broken());
	cr_assert_eq(v.counters.broken, 1);
	cr_assert_eq(used_count(), 0);
	cr_assert(get(VIRTIO_INTERRUPT_STATUS) & VIRTIO_INT_CONFIG);
	/* Costs neither the VM nor the device after its reset. */
	offered_chains = 0;
	put16(AVAIL + 2, 0);
	start(0);
	put_desc(DESC, 0, DATA, 4, 0, 0);
	offer(0);
	kick();
	cr_assert_not(broken());
	cr_assert_eq(used_count(), 1);
}

/* ---- the good ---- */

Test(virtio, echo_of_a_chain_comes_back)
{
	char got[12] = { 0 };
	uint32_t used[2];

	start(0);
	cr_assert_eq(gmem_write(&ram, GPA(DATA), "hello, world", 12), 0);
	put_desc(DESC, 3, DATA, 5, VRING_DESC_NEXT, 7);
	put_desc(DESC, 7, DATA + 5, 0, VRING_DESC_NEXT, 1);
	put_desc(DESC, 1, DATA + 5, 7, VRING_DESC_NEXT, 2);
	put_desc(DESC, 2, DATA + 4096, 3, VRING_DESC_NEXT | VRING_DESC_WRITE,
		 9);
	put_desc(DESC, 9, DATA + 8192, 100, VRING_DESC_WRITE, 0);
	offer(3);
	gmem_take_marks(&ram, 0);
	kick();
	cr_assert_eq(used_count(), 1);
	cr_assert_eq(gmem_read(&ram, GPA(USED + 4), used, 8), 0);
	cr_assert_eq(used[0], 3);
	cr_assert_eq(used[1], 12);
	cr_assert_eq(gmem_read(&ram, GPA(DATA + 4096), got, 3), 0);
	cr_assert_eq(gmem_read(&ram, GPA(DATA + 8192), got + 3, 9), 0);
	cr_assert_arr_eq(got, "hello, world", 12);
	cr_assert_eq(get(VIRTIO_INTERRUPT_STATUS), VIRTIO_INT_USED);
	set(VIRTIO_INTERRUPT_ACK, VIRTIO_INT_USED);
	cr_assert_eq(get(VIRTIO_INTERRUPT_STATUS), 0);
	/* What the device wrote is marked, page by page, and nothing else. */
	cr_assert_eq(gmem_take_marks(&ram, 0),
		     UINT64_C(1) << (USED >> PAGE_SHIFT) |
			 UINT64_C(1) << ((DATA + 4096) >> PAGE_SHIFT) |
			 UINT64_C(1) << ((DATA + 8192) >> PAGE_SHIFT));
}

Test(virtio, indices_when_they_wrap_go_on)
{
	start(0);
	put_desc(DESC, 0, DATA, 4, 0, 0);
	for (unsigned i = 0; i < 70000; i++) {
		offer(0);
		kick();
		cr_assert_eq(used_count(), (uint16_t)(i + 1));
	}
	cr_assert_not(broken());
}

Test(virtio, indirect_table_is_followed)
{
	start(VIRTIO_F_INDIRECT_DESC);
	put_desc(DATA, 0, DATA + 512, 8, VRING_DESC_NEXT, 1);
	put_desc(DATA, 1, DATA + 1024, 8, VRING_DESC_WRITE, 0);
	put_desc(DESC, 5, DATA, 32, VRING_DESC_INDIRECT, 0);
	offer(5);
	kick();
	cr_assert_eq(used_count(), 1);
	cr_assert_eq(last_read, 8);
}

Test(virtio, event_index_when_negotiated_saves_kicks_and_interrupts)
{
	start(VIRTIO_F_EVENT_IDX);
	put_desc(DESC, 0, DATA, 4, 0, 0);
	put16(AVAIL + 4 + 2 * SIZE, 2); /* used_event: of the third */
	for (unsigned i = 0; i < 2; i++)
		offer(0);
	kick();
	cr_assert_eq(used_count(), 2);
	cr_assert_eq(get(VIRTIO_INTERRUPT_STATUS), 0);
	cr_assert_eq(get16(USED + 4 + 8 * SIZE), 2); /* avail_event */
	offer(0);
	kick();
	cr_assert_eq(get(VIRTIO_INTERRUPT_STATUS), VIRTIO_INT_USED);
	cr_assert_eq(v.counters.interrupts, 1);
}

Test(virtio, interrupt_when_the_driver_wants_none_does_not_come)
{
	start(0);
	put16(AVAIL, 1); /* VIRTQ_AVAIL_F_NO_INTERRUPT */
	put_desc(DESC, 0, DATA, 4, 0, 0);
	offer(0);
	kick();
	cr_assert_eq(used_count(), 1);
	cr_assert_eq(get(VIRTIO_INTERRUPT_STATUS), 0);
}

Test(virtio, quiesce_when_a_kick_comes_keeps_it_for_resume)
{
	start(0);
	put_desc(DESC, 0, DATA, 4, 0, 0);
	offer(0);
	cr_assert_eq(virtio_quiesce(&v.dev), 0);
	kick();
	cr_assert_eq(used_count(), 0);
	cr_assert_eq(virtio_quiesce(&v.dev), 0);
	virtio_resume(&v.dev);
	cr_assert_eq(used_count(), 1);
}

Test(virtio, config_when_read_within_and_beyond)
{
	uint16_t word = 0;

	cr_assert_eq(get(VIRTIO_CONFIG), 0x04030201);
	bus_read(&mmio, BASE + VIRTIO_CONFIG + 6, &word, 2);
	cr_assert_eq(word, 0x0807);
	cr_assert_eq(get(VIRTIO_CONFIG + 8), 0);
	set(VIRTIO_CONFIG, 7);
	cr_assert_eq(v.counters.refused, 1);
}

/* ---- registers that are not to be written now ---- */

Test(virtio, features_when_not_offered_are_refused)
{
	negotiate(VIRTIO_F_VERSION_1 | UINT64_C(1) << 40);
	cr_assert_not(get(VIRTIO_STATUS) & VIRTIO_FEATURES_OK);
	go();
	cr_assert_not(get(VIRTIO_STATUS) & VIRTIO_DRIVER_OK);
	negotiate(FEATURE); /* a legacy driver */
	cr_assert_not(get(VIRTIO_STATUS) & VIRTIO_FEATURES_OK);
}

Test(virtio, features_when_agreed_cannot_be_changed)
{
	negotiate(VIRTIO_F_VERSION_1);
	set(VIRTIO_DRIVER_FEATURES_SEL, 0);
	set(VIRTIO_DRIVER_FEATURES, 1);
	cr_assert_eq(st.virtio.driver_features, VIRTIO_F_VERSION_1);
	cr_assert_eq(v.counters.refused, 1);
}

/* Firecracker CVE-2026-5747: a queue's size changed after activation. */
Test(virtio, cve_2026_5747_queue_when_active_keeps_its_size_and_place)
{
	start(0);
	set_up_queue(0, QUEUE_MAX, DESC + 4096, AVAIL + 4096, USED + 4096);
	set_up_queue(1, SIZE, DESC, AVAIL, USED);
	cr_assert_eq(st.virtio.size[0], SIZE);
	cr_assert_eq(st.virtio.desc[0], DESC);
	cr_assert_eq(st.virtio.ready[1], 0);
	cr_assert_eq(v.counters.refused, 16);
}

Test(virtio, queue_when_ready_is_not_changed_before_driver_ok)
{
	negotiate(VIRTIO_F_VERSION_1);
	set_up_queue(0, SIZE, DESC, AVAIL, USED);
	set_up_queue(0, 32, 0, 0, 0);
	cr_assert_eq(st.virtio.size[0], SIZE);
	cr_assert_eq(st.virtio.desc[0], DESC);
}

Test(virtio, queue_size_when_no_power_of_two_or_too_large_is_refused)
{
	static const uint32_t bad[] = { 0, 3, 65, 128, 0x10000, UINT32_MAX };

	negotiate(VIRTIO_F_VERSION_1);
	set(VIRTIO_QUEUE_SEL, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		set(VIRTIO_QUEUE_NUM, bad[i]);
	cr_assert_eq(st.virtio.size[0], QUEUE_MAX);
	cr_assert_eq(v.counters.refused, ARRAY_SIZE(bad));
}

/* QEMU CVE-2011-2512: a negative queue number. */
Test(virtio, cve_2011_2512_queue_number_beyond_the_last_is_refused)
{
	static const uint32_t bad[] = { 2, 8, 0x7fffffff, UINT32_MAX };

	start(0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		set(VIRTIO_QUEUE_NOTIFY, bad[i]);
		set(VIRTIO_QUEUE_SEL, bad[i]);
		cr_assert_eq(get(VIRTIO_QUEUE_NUM_MAX), 0);
		cr_assert_eq(get(VIRTIO_QUEUE_READY), 0);
		set(VIRTIO_QUEUE_READY, 1);
	}
	cr_assert_eq(v.counters.refused, 2 * ARRAY_SIZE(bad));
	cr_assert_not(broken());
}

Test(virtio, status_when_bits_are_taken_back_is_refused)
{
	start(0);
	set(VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE);
	cr_assert(get(VIRTIO_STATUS) & VIRTIO_DRIVER_OK);
	set(VIRTIO_STATUS, 0);
	cr_assert_eq(get(VIRTIO_STATUS), 0);
	cr_assert_null(v.q[0].desc);
}

static const struct {
	uint32_t desc, avail, used;
} bad_rings[] = {
	{ DESC + 8, AVAIL, USED },   { DESC, AVAIL + 1, USED },
	{ DESC, AVAIL, USED + 2 },   { RAM - 128, AVAIL, USED },
	{ DESC, RAM - 8, USED },     { DESC, AVAIL, RAM - 100 },
	{ 0xfffffff0, AVAIL, USED },
};

Test(virtio, rings_when_misaligned_or_outside_ram_break_the_device)
{
	for (unsigned i = 0; i < ARRAY_SIZE(bad_rings); i++) {
		negotiate(VIRTIO_F_VERSION_1);
		set_up_queue(0, SIZE, bad_rings[i].desc, bad_rings[i].avail,
			     bad_rings[i].used);
		cr_assert(broken(), "row %u", i);
		cr_assert_eq(get(VIRTIO_QUEUE_READY), 0);
	}
}

/* ---- chains that are broken ---- */

Test(virtio, chain_when_it_loops_is_broken)
{
	start(0);
	put_desc(DESC, 0, DATA, 1, VRING_DESC_NEXT, 1);
	put_desc(DESC, 1, DATA, 1, VRING_DESC_NEXT, 0);
	offer_and_expect_broken(0);
}

Test(virtio, chain_when_its_head_is_out_of_range_is_broken)
{
	start(0);
	offer_and_expect_broken(SIZE);
}

Test(virtio, chain_when_next_is_out_of_range_is_broken)
{
	start(0);
	put_desc(DESC, 0, DATA, 1, VRING_DESC_NEXT, SIZE);
	offer_and_expect_broken(0);
}

Test(virtio, buffer_when_its_length_wraps_is_broken)
{
	start(0);
	put_desc(DESC, 0, UINT64_MAX - 15, 32, 0, 0);
	offer_and_expect_broken(0);
}

Test(virtio, buffer_when_partly_outside_ram_is_broken)
{
	start(0);
	put_desc(DESC, 0, RAM - 16, 17, 0, 0);
	offer_and_expect_broken(0);
}

/* Linux 060423bf: a descriptor of length zero overflowed vhost's dirty log. */
Test(virtio, descriptor_of_length_zero_is_legal_anywhere)
{
	start(0);
	put_desc(DESC, 0, UINT64_MAX, 0, VRING_DESC_NEXT, 1);
	put_desc(DESC, 1, UINT64_MAX, 0, VRING_DESC_WRITE, 0);
	offer(0);
	kick();
	cr_assert_not(broken());
	cr_assert_eq(used_count(), 1);
}

Test(virtio, indirect_when_nested_is_broken)
{
	start(VIRTIO_F_INDIRECT_DESC);
	put_desc(DATA, 0, DATA, 16, VRING_DESC_INDIRECT, 0);
	put_desc(DESC, 0, DATA, 16, VRING_DESC_INDIRECT, 0);
	offer_and_expect_broken(0);
}

Test(virtio, indirect_when_not_negotiated_is_broken)
{
	start(0);
	put_desc(DATA, 0, DATA, 16, 0, 0);
	put_desc(DESC, 0, DATA, 16, VRING_DESC_INDIRECT, 0);
	offer_and_expect_broken(0);
}

Test(virtio, indirect_when_it_goes_on_is_broken)
{
	start(VIRTIO_F_INDIRECT_DESC);
	put_desc(DATA, 0, DATA, 16, 0, 0);
	put_desc(DESC, 0, DATA, 16, VRING_DESC_INDIRECT | VRING_DESC_NEXT, 1);
	offer_and_expect_broken(0);
}

Test(virtio, indirect_table_of_odd_size_or_outside_ram_is_broken)
{
	start(VIRTIO_F_INDIRECT_DESC);
	put_desc(DESC, 0, DATA, 24, VRING_DESC_INDIRECT, 0);
	offer_and_expect_broken(0);
	v.counters.broken = 0;
	offered_chains = 0;
	put16(AVAIL + 2, 0);
	put16(USED + 2, 0);
	start(VIRTIO_F_INDIRECT_DESC);
	put_desc(DESC, 0, RAM - 16, 32, VRING_DESC_INDIRECT, 0);
	offer_and_expect_broken(0);
}

/* As Linux makes it of the largest request that a disk allows. */
Test(virtio, chain_in_a_table_as_long_as_the_queue_is_followed)
{
	start(VIRTIO_F_INDIRECT_DESC);
	for (unsigned i = 0; i < SIZE; i++)
		put_desc(DATA, i, DATA, 1, i < SIZE - 1 ? VRING_DESC_NEXT : 0,
			 (uint16_t)(i + 1));
	put_desc(DESC, 0, DATA, 16 * SIZE, VRING_DESC_INDIRECT, 0);
	offer(0);
	kick();
	cr_assert_not(broken());
	cr_assert_eq(used_count(), 1);
	cr_assert_eq(last_read, SIZE);
}

Test(virtio, chain_in_a_table_longer_than_the_queue_is_broken)
{
	start(VIRTIO_F_INDIRECT_DESC);
	for (unsigned i = 0; i < SIZE + 1; i++)
		put_desc(DATA, i, DATA, 1, i < SIZE ? VRING_DESC_NEXT : 0,
			 (uint16_t)(i + 1));
	put_desc(DESC, 0, DATA, 16 * (SIZE + 1), VRING_DESC_INDIRECT, 0);
	offer_and_expect_broken(0);
}

Test(virtio, chain_to_be_read_after_written_is_broken)
{
	start(0);
	put_desc(DESC, 0, DATA, 1, VRING_DESC_NEXT | VRING_DESC_WRITE, 1);
	put_desc(DESC, 1, DATA, 1, 0, 0);
	offer(0);
	kick();
	/* The echo reads nothing, so writes nothing, and does not come to the
	 * second buffer: who does finds out. */
	cr_assert_not(broken());
	put_desc(DESC, 2, DATA, 2, VRING_DESC_NEXT, 0);
	offer(2);
	kick();
	cr_assert(broken());
}

/* Firecracker: an available index beyond the queue's size. */
Test(virtio, available_index_when_it_jumps_is_broken)
{
	start(0);
	put_desc(DESC, 0, DATA, 4, 0, 0);
	put16(AVAIL + 2, SIZE + 1);
	kick();
	cr_assert(broken());
	put16(AVAIL + 2, 1);
	kick();
	cr_assert_eq(used_count(), 0);
}

/* ---- a state from a file ---- */

Test(virtio, restored_state_is_judged_as_writes_are)
{
	struct echo_state good;

	start(VIRTIO_F_EVENT_IDX);
	good = st;
	cr_assert_eq(virtio_restored(&v.dev), 0);
	for (unsigned i = 0; i < 8; i++) {
		st = good;
		switch (i) {
		case 0:
			st.virtio.size[0] = 3;
			break;
		case 1:
			st.virtio.size[0] = 128;
			break;
		case 2:
			st.virtio.desc[0] = RAM;
			break;
		case 3:
			st.virtio.ready[0] = 2;
			break;
		case 4:
			st.virtio.driver_features |= UINT64_C(1) << 50;
			break;
		case 5:
			st.virtio.status = VIRTIO_DRIVER_OK;
			break;
		case 6:
			st.virtio.last_avail[0] += SIZE + 1;
			break;
		case 7:
			st.virtio.ready[5] = 1;
			break;
		}
		cr_assert_eq(virtio_restored(&v.dev), -EINVAL, "case %u", i);
		cr_assert_eq(st.virtio.status, 0);
		cr_assert_null(v.q[0].desc);
	}
	st = good;
	cr_assert_eq(virtio_restored(&v.dev), 0);
	cr_assert_not_null(v.q[0].desc);
}
