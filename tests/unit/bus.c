/* SPDX-License-Identifier: Apache-2.0 */
/* The bus: routing, the register table's refusals, and their counts. */
#include <criterion/criterion.h>
#include <errno.h>

#include "bus.h"
#include "util.h"

struct toy {
	struct device dev;
	uint64_t last_off, last_value;
	unsigned last_len;
};

static uint64_t toy_read(struct device *d, uint64_t off, unsigned len)
{
	return 0x1122334455667788 + off;
}

static void toy_write(struct device *d, uint64_t off, unsigned len, uint64_t v)
{
	struct toy *t = container_of(d, struct toy, dev);

	t->last_off = off;
	t->last_len = len;
	t->last_value = v;
}

static const struct reg toy_regs[] = {
	{ 0, 4, REG_4, REG_RW, "control" },
	{ 4, 1, REG_1, REG_R, "status" },
	{ 0x100, 0x100, REG_1 | REG_2 | REG_4, REG_RW, "config" },
};
static const struct device_ops toy_ops = {
	.type = "toy",
	.regs = toy_regs,
	.nregs = ARRAY_SIZE(toy_regs),
	.read = toy_read,
	.write = toy_write,
};

static struct bus bus;
static struct toy toy;

static void setup(void)
{
	bus_init(&bus, "mmio");
	device_init(&toy.dev, &toy_ops, "toy0", NULL);
	cr_assert_eq(bus_add(&bus, 0x1000, 0x200, &toy.dev), 0);
}

TestSuite(bus, .init = setup);

Test(bus, read_is_cut_to_its_width)
{
	uint64_t v = 0;

	bus_read(&bus, 0x1000, &v, 4);
	cr_assert_eq(v, 0x55667788);
}

Test(bus, write_reaches_the_register)
{
	uint32_t v = 0xdeadbeef;

	bus_write(&bus, 0x1000, &v, 4);
	cr_assert_eq(toy.last_value, 0xdeadbeef);
	cr_assert_eq(toy.last_len, 4);
	bus_write(&bus, 0x1101, &v, 1);
	cr_assert_eq(toy.last_off, 0x101);
	cr_assert_eq(toy.last_value, 0xef);
}

Test(bus, wrong_width_place_or_direction_is_refused_and_counted)
{
	uint64_t v = 0;

	bus_read(&bus, 0x1000, &v, 2); /* width */
	cr_assert_eq(v, 0xffff);
	bus_read(&bus, 0x1001, &v, 4); /* inside a small register */
	bus_read(&bus, 0x1008, &v, 4); /* a hole */
	bus_read(&bus, 0x11fe, &v, 4); /* over the end */
	toy.last_len = 0;
	bus_write(&bus, 0x1004, &v, 1); /* read-only */
	cr_assert_eq(toy.last_len, 0);
	cr_assert_eq(toy.dev.refused, 5);
	cr_assert_eq(bus.refused.count, 5);
}

Test(bus, unclaimed_reads_all_ones_and_is_counted)
{
	uint64_t v = 0;

	bus_read(&bus, 0xfff, &v, 8);
	cr_assert_eq(v, UINT64_MAX);
	bus_write(&bus, 0x1200, &v, 8);
	cr_assert_eq(bus.unclaimed.count, 2);
}

Test(bus, overlap_is_refused_touching_is_not)
{
	cr_assert_eq(bus_add(&bus, 0x11ff, 1, &toy.dev), -EEXIST);
	cr_assert_eq(bus_add(&bus, 0xfff, 2, &toy.dev), -EEXIST);
	cr_assert_eq(bus_add(&bus, 0, 0x10000, &toy.dev), -EEXIST);
	cr_assert_eq(bus_add(&bus, 0x1200, 1, &toy.dev), 0);
	cr_assert_eq(bus_add(&bus, 0xfff, 1, &toy.dev), 0);
	cr_assert_eq(bus_add(&bus, UINT64_MAX, 1, &toy.dev), 0);
	cr_assert_eq(bus_add(&bus, UINT64_MAX - 4, 16, &toy.dev), -EINVAL);
}

Test(bus, full_table_is_refused)
{
	while (bus.nranges < BUS_MAX_RANGES)
		cr_assert_eq(bus_add(&bus, 0x100000 + bus.nranges, 1, &toy.dev),
			     0);
	cr_assert_eq(bus_add(&bus, 0, 1, &toy.dev), -ENOSPC);
}
