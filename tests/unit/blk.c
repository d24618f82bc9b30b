/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk, driven by a driver that knows how and by one that does not, over
 * a disk in memory whose requests end when the test says.
 */
#include "blk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "fake_disk.h"
#include "log.h"
#include "util.h"

#define RAM	   MIB(8)
#define BASE	   0xd0000000
#define DESC	   0x10000
#define AVAIL	   0x11000
#define USED	   0x12000
#define TABLE	   0x14000 /* an indirect one */
#define HEADER(i)  (0x20000 + 32 * (i))
#define STATUS(i)  (0x30000 + (i))
#define DATA	   0x100000
#define SIZE	   64
#define DISK_BYTES MIB(1)
#define SECTORS	   (DISK_BYTES / DISK_SECTOR_BYTES)
#define NO_STATUS  0xee

static struct loop loop;
static struct gmem ram;
static struct bus mmio;
static struct fake_disk disk;
static struct blk *blk;
static uint16_t offered, next_desc;

static void make(struct blk_config c)
{
	c.virtio = (struct virtio_config){ .name = "disk-a",
					   .ram = &ram,
					   .kick_fd = -1 };
	c.disk = &disk.disk;
	c.loop = &loop;
	irq_init(&c.virtio.irq, -1, 0);
	blk = blk_create(&c);
	cr_assert_not_null(blk);
	bus_init(&mmio, "mmio");
	cr_assert_eq(bus_add(&mmio, BASE, 0x1000, &blk->virtio.dev), 0);
	offered = next_desc = 0;
}

static void init(void)
{
	struct gmem_region region = { 0, RAM, 0 };

	log_setup(2, LOG_ERROR);
	cr_assert_eq(loop_init(&loop), 0);
	cr_assert_eq(gmem_init(&ram, &region, 1), 0);
	fake_disk_init(&disk, DISK_BYTES, false);
	for (unsigned i = 0; i < DISK_BYTES; i++)
		disk.bytes[i] = (uint8_t)(i / DISK_SECTOR_BYTES + i);
	make((struct blk_config){ .serial = "serial-number-of-20c" });
}

/* As the machine calls them, and the disk's own thread. */
static void pause_device(void)
{
	_locked_(&blk->virtio.dev.lock);

	cr_assert_eq(virtio_quiesce(&blk->virtio.dev), 0);
}

static void resume_device(void)
{
	_locked_(&blk->virtio.dev.lock);

	virtio_resume(&blk->virtio.dev);
}

static void end(unsigned i, int result)
{
	_locked_(&blk->virtio.dev.lock);

	fake_disk_end(&disk, i, result);
}

static void end_all(void)
{
	_locked_(&blk->virtio.dev.lock);

	fake_disk_end_all(&disk);
}

static void fini(void)
{
	pause_device();
	device_destroy(&blk->virtio.dev);
	fake_disk_fini(&disk);
	gmem_fini(&ram);
	loop_fini(&loop);
}

TestSuite(blk, .init = init, .fini = fini);

/* In its place another device, of another configuration. */
static void make_anew(struct blk_config c, bool read_only)
{
	pause_device();
	device_destroy(&blk->virtio.dev);
	disk.disk.read_only = read_only;
	make(c);
}

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
	features |= VIRTIO_F_VERSION_1;
	set(VIRTIO_STATUS, 0);
	set(VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		set(VIRTIO_DRIVER_FEATURES_SEL, i);
		set(VIRTIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * i)));
	}
	set(VIRTIO_STATUS,
	    VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
}

static void start(uint64_t features)
{
	negotiate(features);
	set(VIRTIO_QUEUE_SEL, 0);
	set(VIRTIO_QUEUE_NUM, SIZE);
	set(VIRTIO_QUEUE_DESC_LOW, DESC);
	set(VIRTIO_QUEUE_DRIVER_LOW, AVAIL);
	set(VIRTIO_QUEUE_DEVICE_LOW, USED);
	set(VIRTIO_QUEUE_READY, 1);
	set(VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER |
			       VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
	cr_assert(get(VIRTIO_STATUS) & VIRTIO_DRIVER_OK);
	cr_assert_eq(gmem_fill(&ram, GPA(AVAIL), 0, 0x2000), 0);
	offered = next_desc = 0;
}

struct part {
	uint64_t at;
	uint32_t len;
	bool in;
};

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

static uint8_t get8(uint64_t at)
{
	uint8_t value;

	cr_assert_eq(gmem_read(&ram, GPA(at), &value, 1), 0);
	return value;
}

static void offer_head(uint16_t head)
{
	put16(AVAIL + 4 + 2 * (offered % SIZE), head);
	put16(AVAIL + 2, ++offered);
}

/* Writes a chain of those parts: its head. */
static uint16_t put_chain(uint64_t table, uint16_t first, const struct part *p,
			  unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct vring_desc d = {
			.addr = p[i].at,
			.len = p[i].len,
			.flags = (uint16_t)((p[i].in ? VRING_DESC_WRITE : 0) |
					    (i + 1 < n ? VRING_DESC_NEXT : 0)),
			.next = (uint16_t)(first + i + 1),
		};

		cr_assert_eq(gmem_write(&ram,
					GPA(table + (first + i) * sizeof(d)),
					&d, sizeof(d)),
			     0);
	}
	return first;
}

static uint16_t offer(const struct part *p, unsigned n)
{
	uint16_t head = put_chain(DESC, next_desc, p, n);

	next_desc = (uint16_t)(next_desc + n);
	offer_head(head);
	return head;
}

static void kick(void)
{
	set(VIRTIO_QUEUE_NOTIFY, 0);
}

static void put_header(unsigned i, uint32_t type, uint64_t sector)
{
	struct blk_header h = { .type = type, .sector = sector };

	cr_assert_eq(gmem_write(&ram, GPA(HEADER(i)), &h, sizeof(h)), 0);
	cr_assert_eq(gmem_fill(&ram, GPA(STATUS(i)), NO_STATUS, 1), 0);
}

/* The i-th request, in the usual framing; len 0: no data. */
static uint16_t request(unsigned i, uint32_t type, uint64_t sector,
			uint64_t data, uint32_t len)
{
	bool in = type == BLK_T_IN || type == BLK_T_GET_ID;
	struct part p[] = { { HEADER(i), 16, false },
			    { data, len, in },
			    { STATUS(i), 1, true } };

	put_header(i, type, sector);
	if (len)
		return offer(p, 3);
	p[1] = p[2];
	return offer(p, 2);
}

static uint8_t status(unsigned i)
{
	return get8(STATUS(i));
}

/* One request, to its end. */
static uint8_t ask(uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	next_desc = 0;
	request(0, type, sector, data, len);
	kick();
	return status(0);
}

static uint16_t used_count(void)
{
	return get16(USED + 2);
}

/* The n-th entry of the used ring. */
static struct {
	uint32_t id, len;
} used;

static void take_used(unsigned n)
{
	cr_assert_eq(gmem_read(&ram, GPA(USED + 4 + 8 * (n % SIZE)), &used, 8),
		     0);
}

static bool broken(void)
{
	return get(VIRTIO_STATUS) & VIRTIO_NEEDS_RESET;
}

static bool same(uint64_t data, uint64_t sector, size_t len)
{
	void *lent = gmem_borrow(&ram, GPA(data), len);

	return !memcmp(lent, disk.bytes + sector * DISK_SECTOR_BYTES, len);
}

static void fill(uint64_t data, uint8_t byte, size_t len)
{
	cr_assert_eq(gmem_fill(&ram, GPA(data), byte, len), 0);
}

static void clear_marks(void)
{
	for (unsigned w = 0; w < RAM / PAGE_BYTES / 64; w++)
		gmem_take_marks(&ram, w);
}

static uint64_t marks_of(uint64_t at)
{
	return gmem_take_marks(&ram, at / PAGE_BYTES / 64);
}

static uint64_t bit(uint64_t at)
{
	return UINT64_C(1) << (at / PAGE_BYTES % 64);
}

/* ---- what it does ---- */

Test(blk, read_fills_and_marks_the_drivers_buffers_only)
{
	start(0);
	clear_marks();
	request(0, BLK_T_IN, 3, DATA, 4096);
	clear_marks();
	kick();
	cr_assert_eq(status(0), BLK_S_OK);
	cr_assert(same(DATA, 3, 4096));
	take_used(0);
	cr_assert_eq(used.len, 4097);
	cr_assert_eq(marks_of(DATA), bit(DATA));
	cr_assert_eq(marks_of(USED), bit(USED) | bit(STATUS(0)));
	cr_assert_eq(blk->counters.reads, 1);
	cr_assert_eq(blk->counters.read_bytes, 4096);
	cr_assert_eq(blk->counters.in_flight, 0);
}

Test(blk, write_lands_on_the_disk)
{
	start(BLK_F_FLUSH);
	fill(DATA, 0x5a, 1024);
	cr_assert_eq(ask(BLK_T_OUT, SECTORS - 2, DATA, 1024), BLK_S_OK);
	cr_assert(same(DATA, SECTORS - 2, 1024));
	take_used(0);
	cr_assert_eq(used.len, 1);
	cr_assert_eq(blk->counters.writes, 1);
	cr_assert_eq(blk->counters.written_bytes, 1024);
	cr_assert(disk.dirty);
}

Test(blk, flush_makes_durable)
{
	start(BLK_F_FLUSH);
	cr_assert_eq(ask(BLK_T_OUT, 0, DATA, 512), BLK_S_OK);
	cr_assert_eq(ask(BLK_T_FLUSH, 0, 0, 0), BLK_S_OK);
	cr_assert_not(disk.dirty);
	cr_assert_eq(blk->counters.flushes, 1);
}

Test(blk, id_is_the_serial)
{
	char got[BLK_ID_BYTES];

	start(0);
	cr_assert_eq(ask(BLK_T_GET_ID, 0, DATA, BLK_ID_BYTES), BLK_S_OK);
	cr_assert_eq(gmem_read(&ram, GPA(DATA), got, sizeof(got)), 0);
	cr_assert_arr_eq(got, "serial-number-of-20c", sizeof(got));
}

Test(blk, id_when_there_is_no_serial_is_the_name)
{
	char got[BLK_ID_BYTES];

	make_anew((struct blk_config){ 0 }, false);
	start(0);
	cr_assert_eq(ask(BLK_T_GET_ID, 0, DATA, BLK_ID_BYTES), BLK_S_OK);
	cr_assert_eq(gmem_read(&ram, GPA(DATA), got, sizeof(got)), 0);
	cr_assert_arr_eq(got, "disk-a\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
			 sizeof(got));
}

static uint8_t clear_range(uint32_t type, uint64_t sector, uint32_t sectors,
			   uint32_t flags)
{
	struct blk_range r = { sector, sectors, flags };

	cr_assert_eq(gmem_write(&ram, GPA(DATA), &r, sizeof(r)), 0);
	return ask(type, 0, DATA, sizeof(r));
}

Test(blk, cleared_range_reads_as_zero)
{
	static const struct {
		uint32_t type, flags;
		enum disk_op op;
	} row[] = {
		{ BLK_T_DISCARD, 0, DISK_DISCARD },
		{ BLK_T_WRITE_ZEROES, 0, DISK_ZEROES },
		{ BLK_T_WRITE_ZEROES, BLK_RANGE_UNMAP, DISK_DISCARD },
	};

	start(BLK_F_FLUSH | BLK_F_DISCARD | BLK_F_WRITE_ZEROES);
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		memset(disk.bytes, 1, DISK_BYTES);
		memset(disk.ops, 0, sizeof(disk.ops));
		cr_assert_eq(clear_range(row[i].type, 8, 4, row[i].flags),
			     BLK_S_OK);
		cr_assert_eq(disk.ops[row[i].op], 1, "row %u", i);
		cr_assert_eq(disk.bytes[8 * 512 - 1], 1);
		cr_assert(mem_is_zero(disk.bytes + 8 * 512, 4 * 512));
		cr_assert_eq(disk.bytes[12 * 512], 1);
	}
	cr_assert_eq(blk->counters.discards, 3);
}

/* VERSION_1: nothing may be assumed of how a request is cut into buffers. */
Test(blk, request_when_cut_anywhere_is_the_same)
{
	struct part p[] = {
		{ HEADER(0), 3, false },      { HEADER(0) + 3, 0, false },
		{ HEADER(0) + 3, 13, false }, { DATA, 100, true },
		{ DATA + 100, 0, true },      { DATA + 100, 413, true },
	};

	start(0);
	put_header(0, BLK_T_IN, 1);
	offer(p, ARRAY_SIZE(p));
	kick();
	cr_assert_eq(get8(DATA + 512), BLK_S_OK);
	cr_assert(same(DATA, 1, 512));
	take_used(0);
	cr_assert_eq(used.len, 513);
}

Test(blk, header_and_data_in_one_buffer_are_a_write)
{
	struct part p[] = { { DATA, 16 + 200, false },
			    { DATA + 216, 312, false },
			    { STATUS(0), 1, true } };
	struct blk_header h = { .type = BLK_T_OUT, .sector = 5 };

	start(0);
	fill(DATA, 0x77, 528);
	cr_assert_eq(gmem_write(&ram, GPA(DATA), &h, sizeof(h)), 0);
	offer(p, 3);
	kick();
	cr_assert_eq(status(0), BLK_S_OK);
	cr_assert(same(DATA + 16, 5, 512));
}

Test(blk, request_of_many_buffers_in_a_table_is_whole)
{
	struct part p[SIZE - 1];
	struct vring_desc table = { TABLE, sizeof(table) * ARRAY_SIZE(p),
				    VRING_DESC_INDIRECT, 0 };

	start(VIRTIO_F_INDIRECT_DESC);
	put_header(0, BLK_T_IN, 7);
	p[0] = (struct part){ HEADER(0), 16, false };
	for (unsigned i = 1; i < ARRAY_SIZE(p); i++)
		p[i] = (struct part){ DATA + i * 8192, 512, true };
	p[ARRAY_SIZE(p) - 1] = (struct part){ STATUS(0), 1, true };
	put_chain(TABLE, 0, p, ARRAY_SIZE(p));
	cr_assert_eq(gmem_write(&ram, GPA(DESC), &table, sizeof(table)), 0);
	offer_head(0);
	kick();
	cr_assert_eq(status(0), BLK_S_OK);
	for (unsigned i = 1; i < ARRAY_SIZE(p) - 1; i++)
		cr_assert(same(p[i].at, 6 + i, 512), "buffer %u", i);
}

Test(blk, config_space_tells_the_disk)
{
	struct blk_space s = { 0 };

	for (unsigned i = 0; i < 60; i += 4)
		bus_read(&mmio, BASE + VIRTIO_CONFIG + i, (char *)&s + i, 4);
	cr_assert_eq(s.capacity, SECTORS);
	cr_assert_eq(s.size_max, BLK_SEGMENT_BYTES);
	cr_assert_eq(s.seg_max, BLK_QUEUE_MAX - 2);
	cr_assert_eq(s.blk_size, 512);
	cr_assert_eq(s.blk_size << s.physical_block_exp, 4096);
	cr_assert_eq(s.num_queues, 1);
	cr_assert_eq(s.max_discard_sectors, BLK_RANGE_SECTORS);
	cr_assert_eq(s.max_discard_seg, 1);
	cr_assert_eq(s.max_write_zeroes_seg, 1);
	cr_assert_eq(s.write_zeroes_may_unmap, 1);
	cr_assert_eq(get(VIRTIO_CONFIG + 60), 0);
}

/* ---- caches ---- */

static void set_writeback(uint8_t value)
{
	bus_write(&mmio, BASE + VIRTIO_CONFIG + 32, &value, 1);
}

static uint8_t writeback(void)
{
	uint8_t value;

	bus_read(&mmio, BASE + VIRTIO_CONFIG + 32, &value, 1);
	return value;
}

Test(blk, write_when_the_driver_does_not_flush_is_durable_at_its_end)
{
	start(0);
	cr_assert_eq(writeback(), 0);
	disk.later = true;
	request(0, BLK_T_OUT, 0, DATA, 512);
	kick();
	end(0, 0);
	cr_assert_eq(status(0), NO_STATUS);
	cr_assert_eq(disk.pending[0]->op, DISK_FLUSH);
	cr_assert_eq(disk.uncommitted, 0);
	end(0, 0);
	cr_assert_eq(status(0), BLK_S_OK);
	cr_assert_not(disk.dirty);
}

Test(blk, write_when_its_flush_fails_has_failed)
{
	start(0);
	disk.later = true;
	request(0, BLK_T_OUT, 0, DATA, 512);
	kick();
	end(0, 0);
	end(0, -EIO);
	cr_assert_eq(status(0), BLK_S_IOERR);
	cr_assert_eq(blk->counters.writes, 0);
}

Test(blk, write_when_it_fails_is_not_flushed)
{
	start(0);
	disk.fail = -EIO;
	cr_assert_eq(ask(BLK_T_OUT, 0, DATA, 512), BLK_S_IOERR);
	cr_assert_eq(disk.submits, 1);
}

Test(blk, cache_mode_is_the_drivers_when_negotiated)
{
	start(BLK_F_FLUSH);
	set_writeback(0);
	cr_assert_eq(writeback(), 1);
	cr_assert_eq(blk->virtio.counters.refused, 1);
	start(BLK_F_FLUSH | BLK_F_CONFIG_WCE);
	cr_assert_eq(writeback(), 1);
	set_writeback(2);
	cr_assert_eq(writeback(), 1);
	set_writeback(0);
	cr_assert_eq(writeback(), 0);
	cr_assert_eq(ask(BLK_T_OUT, 0, DATA, 512), BLK_S_OK);
	cr_assert_not(disk.dirty);
	set_writeback(1);
	cr_assert_eq(ask(BLK_T_OUT, 0, DATA, 512), BLK_S_OK);
	cr_assert(disk.dirty);
	set(VIRTIO_STATUS, 0);
	cr_assert_eq(blk->st.writethrough, 0);
}

/* ---- requests that are wrong ---- */

/* QEMU CVE-2011-1750: a size that is no multiple of a sector. */
Test(blk, cve_2011_1750_data_of_no_whole_sectors_is_refused)
{
	start(0);
	for (uint32_t len = 1; len < 1536; len += 71) {
		cr_assert_eq(ask(BLK_T_IN, 0, DATA, len), BLK_S_IOERR);
		cr_assert_eq(ask(BLK_T_OUT, 0, DATA, len), BLK_S_IOERR);
	}
	cr_assert_eq(disk.submits, 0);
	cr_assert_not(broken());
	take_used(0);
	cr_assert_eq(used.len, 0);
}

static const struct {
	uint64_t sector;
	uint32_t len;
} beyond[] = {
	{ SECTORS, 512 },
	{ SECTORS - 1, 1024 },
	{ UINT64_MAX, 512 },
	{ UINT64_MAX - 1, 1024 },
	{ UINT64_C(1) << 55, 512 }, /* * 512 is 0 */
	{ (UINT64_C(1) << 55) + 1, 512 },
	{ UINT64_C(1) << 63, 512 },
	{ UINT64_MAX / 512, 512 },
};

Test(blk, sector_when_beyond_the_end_or_wrapping_is_refused)
{
	start(0);
	for (unsigned i = 0; i < ARRAY_SIZE(beyond); i++) {
		uint64_t s = beyond[i].sector;

		cr_assert_eq(ask(BLK_T_IN, s, DATA, beyond[i].len), BLK_S_IOERR,
			     "row %u", i);
		cr_assert_eq(ask(BLK_T_OUT, s, DATA, beyond[i].len),
			     BLK_S_IOERR, "row %u", i);
		cr_assert_eq(
		    clear_range(BLK_T_DISCARD, s, beyond[i].len / 512, 0),
		    BLK_S_IOERR, "row %u", i);
	}
	cr_assert_eq(disk.submits, 0);
	cr_assert_eq(blk->counters.invalid, 3 * ARRAY_SIZE(beyond));
}

Test(blk, request_of_no_data_moves_none)
{
	start(0);
	cr_assert_eq(ask(BLK_T_IN, SECTORS, 0, 0), BLK_S_OK);
	cr_assert_eq(ask(BLK_T_OUT, 0, 0, 0), BLK_S_OK);
	cr_assert_eq(ask(BLK_T_IN, SECTORS + 1, 0, 0), BLK_S_IOERR);
	cr_assert_eq(disk.submits, 0);
}

/* QEMU CVE-2026-48914: SCSI commands inside of virtio-blk. There are none. */
Test(blk, cve_2026_48914_type_when_unknown_is_unsupported)
{
	static const uint32_t types[] = { 2,  3,  5,	   7,
					  10, 12, 14,	   0x80000000,
					  15, 99, 0x10000, UINT32_MAX };

	start(0);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		cr_assert_eq(ask(types[i], 0, DATA, 512), BLK_S_UNSUPP,
			     "type %u", types[i]);
	cr_assert_eq(disk.submits, 0);
}

Test(blk, id_when_its_buffer_is_short_is_refused)
{
	start(0);
	fill(DATA, 0x11, 32);
	cr_assert_eq(ask(BLK_T_GET_ID, 0, DATA, BLK_ID_BYTES - 1), BLK_S_IOERR);
	cr_assert_eq(ask(BLK_T_GET_ID, 0, 0, 0), BLK_S_IOERR);
	cr_assert_eq(get8(DATA), 0x11);
	cr_assert_eq(ask(BLK_T_GET_ID, 0, DATA, BLK_ID_BYTES + 5), BLK_S_OK);
	cr_assert_eq(get8(DATA + BLK_ID_BYTES), 0x11);
}

Test(blk, range_when_there_is_not_one_is_refused)
{
	struct blk_range two[2] = { { 0, 1, 0 }, { 1, 1, 0 } };
	static const uint32_t lens[] = { 0, 1, 15, 17, 24, 31, 32 };

	start(0);
	cr_assert_eq(gmem_write(&ram, GPA(DATA), two, sizeof(two)), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++)
		cr_assert_eq(ask(BLK_T_DISCARD, 0, DATA, lens[i]), BLK_S_IOERR,
			     "%u bytes", lens[i]);
	cr_assert_eq(disk.submits, 0);
}

Test(blk, range_when_flags_or_length_are_wrong_is_refused)
{
	start(0);
	cr_assert_eq(clear_range(BLK_T_DISCARD, 0, 1, BLK_RANGE_UNMAP),
		     BLK_S_UNSUPP);
	cr_assert_eq(clear_range(BLK_T_DISCARD, 0, 1, 2), BLK_S_UNSUPP);
	cr_assert_eq(clear_range(BLK_T_WRITE_ZEROES, 0, 1, 0x80000001),
		     BLK_S_UNSUPP);
	cr_assert_eq(clear_range(BLK_T_DISCARD, 0, BLK_RANGE_SECTORS + 1, 0),
		     BLK_S_IOERR);
	cr_assert_eq(clear_range(BLK_T_WRITE_ZEROES, 0, UINT32_MAX, 0),
		     BLK_S_IOERR);
	cr_assert_eq(clear_range(BLK_T_DISCARD, 0, 0, 0), BLK_S_OK);
	cr_assert_eq(disk.submits, 0);
}

Test(blk, read_only_disk_is_never_written)
{
	make_anew((struct blk_config){ 0 }, true);
	set(VIRTIO_DEVICE_FEATURES_SEL, 0);
	cr_assert(get(VIRTIO_DEVICE_FEATURES) & BLK_F_RO);
	cr_assert_not(get(VIRTIO_DEVICE_FEATURES) &
		      (BLK_F_DISCARD | BLK_F_WRITE_ZEROES));
	start(0);
	cr_assert_eq(ask(BLK_T_OUT, 0, DATA, 512), BLK_S_IOERR);
	cr_assert_eq(clear_range(BLK_T_DISCARD, 0, 1, 0), BLK_S_IOERR);
	cr_assert_eq(clear_range(BLK_T_WRITE_ZEROES, 0, 1, 0), BLK_S_IOERR);
	cr_assert_eq(disk.submits, 0);
	cr_assert_eq(ask(BLK_T_IN, 0, DATA, 512), BLK_S_OK);
	cr_assert_eq(ask(BLK_T_FLUSH, 0, 0, 0), BLK_S_OK);
}

Test(blk, request_longer_than_announced_is_refused)
{
	struct part p[SIZE - 1];
	struct vring_desc table = { TABLE, sizeof(table) * ARRAY_SIZE(p),
				    VRING_DESC_INDIRECT, 0 };

	/* As large, on a disk that has as much. */
	pause_device();
	device_destroy(&blk->virtio.dev);
	fake_disk_fini(&disk);
	fake_disk_init(&disk, MIB(64), false);
	make((struct blk_config){ 0 });
	start(VIRTIO_F_INDIRECT_DESC);
	put_header(0, BLK_T_IN, 0);
	p[0] = (struct part){ HEADER(0), 16, false };
	for (unsigned i = 1; i < ARRAY_SIZE(p); i++)
		p[i] = (struct part){ DATA, KIB(512), true };
	p[ARRAY_SIZE(p) - 1] = (struct part){ STATUS(0), 1, true };
	put_chain(TABLE, 0, p, ARRAY_SIZE(p));
	cr_assert_eq(gmem_write(&ram, GPA(DESC), &table, sizeof(table)), 0);
	offer_head(0);
	kick();
	cr_assert_eq(status(0), BLK_S_IOERR);
	cr_assert_eq(disk.submits, 0);
	/* Half of it is less than one may have. */
	for (unsigned i = 1; i < ARRAY_SIZE(p) - 1; i++)
		p[i].len = KIB(256);
	put_chain(TABLE, 0, p, ARRAY_SIZE(p));
	offer_head(0);
	kick();
	cr_assert_eq(status(0), BLK_S_OK);
}

/* ---- chains that cannot be answered ---- */

static void expect_broken(const struct part *p, unsigned n)
{
	start(0);
	put_header(0, BLK_T_IN, 0);
	offer(p, n);
	kick();
	cr_assert(broken());
	cr_assert_eq(used_count(), 0);
	cr_assert_eq(blk->counters.in_flight, 0);
	/* After the reset it is as new. */
	start(0);
	cr_assert_eq(ask(BLK_T_IN, 0, DATA, 512), BLK_S_OK);
}

#define EXPECT_BROKEN(...)                                                     \
	expect_broken((const struct part[]){ __VA_ARGS__ },                    \
		      sizeof((const struct part[]){ __VA_ARGS__ }) /           \
			  sizeof(struct part))

Test(blk, header_when_too_short_breaks_the_device)
{
	EXPECT_BROKEN({ HEADER(0), 15, false }, { STATUS(0), 1, true });
	EXPECT_BROKEN({ STATUS(0), 1, true });
	EXPECT_BROKEN({ HEADER(0), 15, false });
	EXPECT_BROKEN({ HEADER(0), 0, false });
}

Test(blk, status_when_missing_breaks_the_device)
{
	EXPECT_BROKEN({ HEADER(0), 16, false });
	EXPECT_BROKEN({ HEADER(0), 16, false }, { DATA, 512, false });
	EXPECT_BROKEN({ HEADER(0), 16, false }, { DATA, 0, true });
}

Test(blk, buffer_when_outside_ram_or_wrapping_breaks_the_device)
{
	EXPECT_BROKEN({ HEADER(0), 16, false }, { RAM - 256, 512, true },
		      { STATUS(0), 1, true });
	EXPECT_BROKEN({ HEADER(0), 16, false }, { UINT64_MAX - 255, 512, true },
		      { STATUS(0), 1, true });
	EXPECT_BROKEN({ RAM, 16, false }, { STATUS(0), 1, true });
	EXPECT_BROKEN({ HEADER(0), 16, false }, { RAM, 1, true });
}

Test(blk, buffer_to_be_read_after_the_status_breaks_the_device)
{
	EXPECT_BROKEN({ HEADER(0), 16, false }, { STATUS(0), 1, true },
		      { DATA, 512, false });
}

Test(blk, chain_when_it_loops_breaks_the_device)
{
	struct vring_desc d = { DATA, 512, VRING_DESC_NEXT | VRING_DESC_WRITE,
				1 };

	start(0);
	request(0, BLK_T_IN, 0, DATA, 512);
	cr_assert_eq(gmem_write(&ram, GPA(DESC + 16), &d, sizeof(d)), 0);
	kick();
	cr_assert(broken());
	cr_assert_eq(disk.submits, 0);
	cr_assert_eq(blk->counters.in_flight, 0);
}

/* A driver that offers a chain again before it has ended may have more
 * requests on their way than there are descriptors. */
Test(blk, cve_2016_5403_requests_without_end_are_bounded_by_the_queue)
{
	start(0);
	disk.later = true;
	request(0, BLK_T_IN, 0, DATA, 512);
	for (unsigned i = 0; i < 2 * BLK_QUEUE_MAX && !broken(); i++) {
		kick();
		loop_step(&loop, 0);
		offer_head(0);
	}
	cr_assert(broken());
	cr_assert_eq(disk.npending, BLK_QUEUE_MAX);
	/* What is on its way ends nevertheless. */
	end_all();
	cr_assert_eq(blk->counters.in_flight, 0);
	cr_assert_eq(status(0), BLK_S_OK);
}

/* ---- the host's failures ---- */

Test(blk, host_error_is_the_requests_and_counted)
{
	static const int results[] = { -EIO, -ENOSPC, -EINTR, 100, 1 };

	start(BLK_F_FLUSH);
	for (unsigned i = 0; i < ARRAY_SIZE(results); i++) {
		disk.fail = results[i];
		cr_assert_eq(ask(BLK_T_IN, 0, DATA, 4096), BLK_S_IOERR);
		take_used(2 * i);
		cr_assert_eq(used.len, 0);
		cr_assert_eq(ask(BLK_T_FLUSH, 0, 0, 0), BLK_S_IOERR);
	}
	cr_assert_eq(blk->counters.errors, 2 * ARRAY_SIZE(results));
	cr_assert_eq(blk->counters.reads, 0);
	cr_assert_not(broken());
	disk.fail = 0;
	cr_assert_eq(ask(BLK_T_IN, 0, DATA, 4096), BLK_S_OK);
}

/* Half of it may have come, and KVM's log has not seen it. */
Test(blk, failed_read_is_marked_too)
{
	start(0);
	clear_marks();
	disk.fail = -EIO;
	cr_assert_eq(ask(BLK_T_IN, 0, DATA, 8192), BLK_S_IOERR);
	cr_assert_eq(marks_of(DATA), bit(DATA) | bit(DATA + 4096));
}

/* ---- in flight ---- */

Test(blk, requests_end_in_any_order)
{
	uint16_t head[4];

	start(0);
	disk.later = true;
	for (unsigned i = 0; i < 4; i++)
		head[i] = request(i, BLK_T_IN, i, DATA + i * 4096, 512);
	kick();
	cr_assert_eq(blk->counters.in_flight, 4);
	/* The last of the list takes the place of the one that ends. */
	end(2, 0);
	end(0, -EIO);
	end(0, 0);
	end(0, 0);
	for (unsigned i = 0; i < 4; i++) {
		static const unsigned order[] = { 2, 0, 3, 1 };

		take_used(i);
		cr_assert_eq(used.id, head[order[i]]);
		cr_assert_eq(status(i), i == 0 ? BLK_S_IOERR : BLK_S_OK);
		cr_assert(i == 0 || same(DATA + i * 4096, i, 512));
	}
	cr_assert_eq(blk->counters.in_flight, 0);
}

Test(blk, burst_is_committed_once_and_interrupts_once)
{
	start(VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < 16; i++)
		request(i, BLK_T_IN, i, DATA + i * 4096, 4096);
	kick();
	cr_assert_eq(used_count(), 16);
	cr_assert_eq(disk.commits, 1);
	cr_assert_eq(blk->virtio.counters.interrupts, 1);
	cr_assert_eq(blk->virtio.counters.kicks, 1);
}

Test(blk, ends_when_they_come_together_interrupt_once)
{
	start(VIRTIO_F_EVENT_IDX);
	disk.later = true;
	for (unsigned i = 0; i < 8; i++)
		request(i, BLK_T_IN, i, DATA + i * 4096, 4096);
	kick();
	cr_assert_eq(blk->virtio.counters.interrupts, 0);
	end_all();
	cr_assert_eq(blk->virtio.counters.interrupts, 1);
}

/* A driver that is as quick as we are would keep us for ever. */
Test(blk, burst_when_it_is_long_lets_others_have_their_turn)
{
	struct part p[] = { { HEADER(0), 16, false }, { STATUS(0), 1, true } };

	/* Chains of the same descriptors: the ring holds more than a burst. */
	negotiate(0);
	set(VIRTIO_QUEUE_SEL, 0);
	set(VIRTIO_QUEUE_NUM, 256);
	set(VIRTIO_QUEUE_DESC_LOW, DESC);
	set(VIRTIO_QUEUE_DRIVER_LOW, AVAIL + 0x1000);
	set(VIRTIO_QUEUE_DEVICE_LOW, USED + 0x1000);
	set(VIRTIO_QUEUE_READY, 1);
	set(VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER |
			       VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
	put_header(0, BLK_T_FLUSH, 0);
	put_chain(DESC, 0, p, 2);
	put16(AVAIL + 0x1000 + 2, 200);
	kick();
	cr_assert_eq(disk.submits, 64);
	for (unsigned i = 1; i <= 3; i++)
		cr_assert_eq(loop_step(&loop, 0), 0);
	cr_assert_eq(disk.submits, 200);
	cr_assert_eq(blk->virtio.counters.kicks, 1);
}

/* ---- reset, pause ---- */

/* Cloud Hypervisor CVE-2026-45782: a request ended after its device's reset. */
Test(blk, cve_2026_45782_reset_waits_for_what_is_on_its_way)
{
	start(0);
	disk.later = true;
	for (unsigned i = 0; i < 3; i++)
		request(i, BLK_T_IN, i, DATA + i * 4096, 4096);
	kick();
	set(VIRTIO_STATUS, 0);
	cr_assert_eq(disk.drains, 1);
	cr_assert_eq(disk.npending, 0);
	cr_assert_eq(blk->counters.in_flight, 0);
	cr_assert_eq(get(VIRTIO_STATUS), 0);
	start(0);
	cr_assert_eq(used_count(), 0);
}

static _Atomic bool reset_is_done;

static void *reset_as_a_vcpu(void *arg)
{
	set(VIRTIO_STATUS, 0);
	atomic_store(&reset_is_done, true);
	return NULL;
}

static unsigned resetting(void)
{
	_locked_(&blk->virtio.dev.lock);

	return blk->virtio.resetting;
}

Test(blk, reset_by_a_vcpu_when_requests_are_on_their_way_waits)
{
	pthread_t vcpu;

	start(0);
	disk.later = true;
	request(0, BLK_T_IN, 0, DATA, 4096);
	request(1, BLK_T_IN, 1, DATA + 4096, 4096);
	kick();
	cr_assert_eq(pthread_create(&vcpu, NULL, reset_as_a_vcpu, NULL), 0);
	while (!resetting())
		sched_yield();
	/* Meanwhile nothing new begins, and all else goes on. */
	request(2, BLK_T_IN, 2, DATA, 4096);
	kick();
	cr_assert_eq(get(VIRTIO_MAGIC), VIRTIO_MAGIC_VALUE);
	set(VIRTIO_INTERRUPT_ACK, 1);
	cr_assert_eq(disk.npending, 2);
	end(0, 0);
	cr_assert_not(atomic_load(&reset_is_done));
	end(0, 0);
	pthread_join(vcpu, NULL);
	cr_assert_eq(disk.drains, 0);
	cr_assert_eq(get(VIRTIO_STATUS), 0);
	cr_assert_eq(status(2), NO_STATUS);
}

Test(blk, pause_ends_what_is_on_its_way_and_resume_goes_on)
{
	char before[4096], after[4096];
	struct device *d = &blk->virtio.dev;

	start(0);
	disk.later = true;
	request(0, BLK_T_IN, 0, DATA, 4096);
	kick();
	pause_device();
	cr_assert_eq(status(0), BLK_S_OK);
	cr_assert_eq(used_count(), 1);
	cr_assert_eq(get(VIRTIO_INTERRUPT_STATUS), VIRTIO_INT_USED);
	state_print(d->ops->state, d->st, before, sizeof(before));
	/* A kick is kept, another pause changes nothing. */
	request(1, BLK_T_IN, 1, DATA + 4096, 4096);
	kick();
	loop_step(&loop, 0);
	pause_device();
	state_print(d->ops->state, d->st, after, sizeof(after));
	cr_assert_str_eq(before, after);
	resume_device();
	end_all();
	cr_assert_eq(status(1), BLK_S_OK);
}

Test(blk, pause_in_the_middle_of_a_long_burst_keeps_the_rest)
{
	start(0);
	blk->poll_ns = BLK_POLL_NS;
	request(0, BLK_T_IN, 0, DATA, 512);
	kick();
	request(1, BLK_T_IN, 1, DATA, 512);
	pause_device();
	cr_assert_eq(loop_step(&loop, 0), 0);
	cr_assert_eq(status(1), NO_STATUS);
	resume_device();
	cr_assert_eq(status(1), BLK_S_OK);
}

/* Writes that go through begin a flush while the disk drains. */
Test(blk, pause_ends_the_flush_of_a_write_too)
{
	start(0);
	disk.later = true;
	request(0, BLK_T_OUT, 0, DATA, 512);
	kick();
	pause_device();
	cr_assert_eq(status(0), BLK_S_OK);
	cr_assert_not(disk.dirty);
	cr_assert_eq(disk.uncommitted, 0);
	resume_device();
}

Test(blk, loaded_state_when_no_driver_brings_it_about_is_refused)
{
	struct device *d = &blk->virtio.dev;
	struct blk_state good;

	start(BLK_F_FLUSH | BLK_F_CONFIG_WCE);
	set_writeback(0);
	cr_assert_eq(ask(BLK_T_IN, 0, DATA, 512), BLK_S_OK);
	pause_device();
	good = blk->st;
	cr_assert_eq(d->ops->restored(d), 0);
	cr_assert_eq(blk->st.writethrough, 1);
	for (unsigned i = 0; i < 4; i++) {
		blk->st = good;
		switch (i) {
		case 0:
			blk->st.writethrough = 2;
			break;
		case 1: /* not negotiated */
			blk->st.virtio.driver_features &= ~BLK_F_CONFIG_WCE;
			break;
		case 2: /* a request that nobody has */
			blk->st.virtio.last_avail[0]++;
			break;
		case 3: /* a feature that is not offered */
			blk->st.virtio.driver_features |= BLK_F_RO;
			break;
		}
		cr_assert_eq(d->ops->restored(d), -EINVAL, "row %u", i);
		cr_assert_eq(blk->st.writethrough, 0);
	}
	resume_device();
}

/* ---- limits ---- */

#define NEVER (UINT64_MAX / 2)

static void let_pass(struct limit *l)
{
	l->ready_ns = 0;
	blk->ready.expired(&blk->ready);
}

Test(blk, queue_when_over_its_bytes_waits)
{
	make_anew((struct blk_config){ .bytes_a_second = 1 }, false);
	start(VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < 3; i++)
		request(i, BLK_T_IN, i, DATA + i * 4096, KIB(64));
	kick();
	/* The first passes whole; for the others no more kicks are asked. */
	cr_assert_eq(used_count(), 1);
	cr_assert_eq(get16(USED + 4 + 8 * SIZE), 0);
	kick();
	cr_assert_eq(loop_step(&loop, 0), 0);
	cr_assert_eq(used_count(), 1);
	cr_assert_eq(blk->counters.throttled, 1);
	let_pass(&blk->bytes_limit);
	cr_assert_eq(used_count(), 2);
	let_pass(&blk->bytes_limit);
	cr_assert_eq(used_count(), 3);
	cr_assert_eq(blk->counters.throttled, 2);
	cr_assert_eq(get16(USED + 4 + 8 * SIZE), 3);
}

Test(blk, queue_when_over_its_operations_waits)
{
	make_anew((struct blk_config){ .ops_a_second = 1000000 }, false);
	start(0);
	blk->ops_limit.ready_ns = NEVER;
	cr_assert_eq(ask(BLK_T_FLUSH, 0, 0, 0), NO_STATUS);
	cr_assert_eq(blk->counters.throttled, 1);
	let_pass(&blk->ops_limit);
	cr_assert_eq(status(0), BLK_S_OK);
}

Test(blk, limit_when_it_ends_in_a_pause_is_kept_for_resume)
{
	make_anew((struct blk_config){ .ops_a_second = 1000000 }, false);
	start(0);
	blk->ops_limit.ready_ns = NEVER;
	request(0, BLK_T_IN, 0, DATA, 512);
	kick();
	pause_device();
	let_pass(&blk->ops_limit);
	cr_assert_eq(status(0), NO_STATUS);
	resume_device();
	cr_assert_eq(status(0), BLK_S_OK);
}

/* Nothing but the timer wakes the loop meanwhile. */
Test(blk, limited_queue_sleeps_until_the_timer)
{
	unsigned rounds = 0;

	make_anew((struct blk_config){ .ops_a_second = 100 }, false);
	start(0);
	for (unsigned i = 0; i < 16; i++)
		request(i, BLK_T_IN, i, DATA + i * 4096, 512);
	kick();
	for (; used_count() != 16; rounds++)
		cr_assert_eq(loop_step(&loop, -1), 0);
	cr_assert_leq(rounds, 16);
}

/* ---- polling ---- */

Test(blk, request_when_it_comes_while_polling_needs_no_kick)
{
	make_anew((struct blk_config){ .poll_max_ns = BLK_POLL_NS }, false);
	start(VIRTIO_F_EVENT_IDX);
	blk->poll_ns = BLK_POLL_NS;
	request(0, BLK_T_IN, 0, DATA, 512);
	kick();
	cr_assert_eq(status(0), BLK_S_OK);
	/* No kick is asked for: avail_event stands where it was. */
	cr_assert_eq(get16(USED + 4 + 8 * SIZE), 0);
	for (unsigned i = 1; i < 10; i++) {
		request(i, BLK_T_IN, i, DATA, 512);
		cr_assert_eq(loop_step(&loop, 0), 0);
		cr_assert_eq(status(i), BLK_S_OK);
	}
	cr_assert_eq(blk->virtio.counters.kicks, 1);
	cr_assert_eq(blk->counters.polled, 9);
	/* Nothing comes: less, then none, and a kick is asked for. */
	cr_assert_eq(loop_step(&loop, 0), 0);
	cr_assert_eq(blk->poll_ns, BLK_POLL_NS / 2);
	cr_assert_eq(get16(USED + 4 + 8 * SIZE), 10);
	request(10, BLK_T_IN, 0, DATA, 512);
	kick();
	cr_assert_eq(status(10), BLK_S_OK);
}

Test(blk, polling_when_the_device_is_reset_looks_at_nothing)
{
	make_anew((struct blk_config){ .poll_max_ns = BLK_POLL_NS }, false);
	start(0);
	blk->poll_ns = BLK_POLL_NS;
	request(0, BLK_T_IN, 0, DATA, 512);
	kick();
	request(1, BLK_T_IN, 1, DATA, 512);
	set(VIRTIO_STATUS, 0);
	cr_assert_eq(loop_step(&loop, 0), 0);
	cr_assert_eq(status(1), NO_STATUS);
	cr_assert_eq(disk.submits, 1);
}
