/* SPDX-License-Identifier: Apache-2.0 */
/* The devices that are one port each: debugexit, i8042, pvpanic. */
#include <criterion/criterion.h>

#include "bus.h"
#include "debugexit.h"
#include "i8042.h"
#include "pvpanic.h"

static struct {
	unsigned n;
	enum guest_event what;
	uint32_t value;
} seen;

static void raise_event(struct guest_events *e, enum guest_event what,
			uint32_t value)
{
	seen.n++;
	seen.what = what;
	seen.value = value;
}

static struct guest_events events = { raise_event };
static struct bus bus;
static struct debugexit debugexit;
static struct i8042 i8042;
static struct pvpanic pvpanic;

enum { EXIT = 0xf4, KEYBOARD = 0x64, PANIC = 0x505 };

static void setup(void)
{
	bus_init(&bus, "pio");
	debugexit_init(&debugexit, "debugexit0", &events);
	i8042_init(&i8042, "i8042", &events);
	pvpanic_init(&pvpanic, "pvpanic0", &events);
	cr_assert_eq(bus_add(&bus, EXIT, 4, &debugexit.dev), 0);
	cr_assert_eq(bus_add(&bus, KEYBOARD, 1, &i8042.dev), 0);
	cr_assert_eq(bus_add(&bus, PANIC, 1, &pvpanic.dev), 0);
}

TestSuite(ports, .init = setup);

static void out(uint64_t port, uint32_t v, unsigned len)
{
	bus_write(&bus, port, &v, len);
}

static uint8_t in(uint64_t port)
{
	uint8_t v;

	bus_read(&bus, port, &v, 1);
	return v;
}

Test(ports, debugexit_hands_the_low_byte_over_in_any_width)
{
	for (unsigned len = 1; len <= 4; len *= 2) {
		out(EXIT, 0x1234562a, len);
		cr_assert_eq(seen.what, GUEST_EXIT);
		cr_assert_eq(seen.value, 0x2a);
	}
	cr_assert_eq(seen.n, 3);
}

Test(ports, debugexit_is_not_read_nor_written_in_its_middle)
{
	cr_assert_eq(in(EXIT), 0xff);
	out(EXIT + 1, 1, 1);
	cr_assert_eq(seen.n, 0);
	cr_assert_eq(debugexit.dev.refused, 2);
}

Test(ports, i8042_resets_by_its_command_only)
{
	for (uint32_t v = 0; v < 256; v++)
		if (v != 0xfe)
			out(KEYBOARD, v, 1);
	cr_assert_eq(seen.n, 0);
	out(KEYBOARD, 0xfe, 1);
	cr_assert_eq(seen.n, 1);
	cr_assert_eq(seen.what, GUEST_RESET);
}

/* A driver that probes must see "output full" for ever; one that waits to send
 * a command must not see "input full". */
Test(ports, i8042_status_is_of_no_controller_and_takes_commands)
{
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(in(KEYBOARD)&0x01, 0x01);
		cr_assert_eq(in(KEYBOARD)&0x02, 0);
	}
}

Test(ports, pvpanic_offers_panicked)
{
	cr_assert_eq(in(PANIC), 0x01);
}

Test(ports, pvpanic_reports_a_panic_and_nothing_else)
{
	out(PANIC, 0x02, 1);
	out(PANIC, 0x00, 1);
	cr_assert_eq(seen.n, 0);
	out(PANIC, 0x01, 1);
	cr_assert_eq(seen.n, 1);
	cr_assert_eq(seen.what, GUEST_PANIC);
	cr_assert_eq(seen.value, 0x01);
}
