/* SPDX-License-Identifier: Apache-2.0 */
/* Sleep, reset and ready registers; events and their interrupt. */
#include <criterion/criterion.h>
#include <errno.h>

#include "bus.h"
#include "platform.h"
#include "power.h"

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
static struct power power;

static void setup(void)
{
	struct irq irq;

	irq_init(&irq, -1, PLATFORM_POWER_GSI);
	bus_init(&bus, "pio");
	power_init(&power, "power0", irq, &events);
	cr_assert_eq(bus_add(&bus, PLATFORM_POWER_PORT, PLATFORM_POWER_BYTES,
			     &power.dev),
		     0);
}

TestSuite(power, .init = setup);

static void out(uint64_t port, uint8_t v)
{
	bus_write(&bus, port, &v, 1);
}

static uint32_t read_events(void)
{
	uint32_t v;

	bus_read(&bus, PLATFORM_POWER_EVENTS, &v, 4);
	return v;
}

Test(power, s5_with_enable_powers_off)
{
	out(PLATFORM_POWER_SLEEP, 5 << 2);
	cr_assert_eq(seen.n, 0);
	out(PLATFORM_POWER_SLEEP, 5 << 2 | 0x20);
	cr_assert_eq(seen.n, 1);
	cr_assert_eq(seen.what, GUEST_POWEROFF);
}

Test(power, other_sleep_types_do_nothing_and_are_counted)
{
	for (unsigned type = 0; type < 8; type++)
		if (type != PLATFORM_SLEEP_TYPE_S5)
			out(PLATFORM_POWER_SLEEP, (uint8_t)(type << 2 | 0x20));
	cr_assert_eq(seen.n, 0);
	cr_assert_eq(power.refused_sleeps, 7);
}

Test(power, sleep_registers_read_zero)
{
	uint8_t v;

	out(PLATFORM_POWER_SLEEP, 0x1c);
	out(PLATFORM_POWER_STATUS, 0x80);
	bus_read(&bus, PLATFORM_POWER_SLEEP, &v, 1);
	cr_assert_eq(v, 0);
	bus_read(&bus, PLATFORM_POWER_STATUS, &v, 1);
	cr_assert_eq(v, 0);
}

Test(power, reset_register_takes_its_value_only)
{
	out(PLATFORM_POWER_RESET, 0);
	out(PLATFORM_POWER_RESET, 0xff);
	cr_assert_eq(seen.n, 0);
	out(PLATFORM_POWER_RESET, PLATFORM_RESET_VALUE);
	cr_assert_eq(seen.n, 1);
	cr_assert_eq(seen.what, GUEST_RESET);
}

Test(power, ready_is_told_with_its_value)
{
	out(PLATFORM_POWER_READY, 7);
	cr_assert_eq(seen.what, GUEST_READY);
	cr_assert_eq(seen.value, 7);
}

Test(power, events_are_pending_until_read_once)
{
	cr_assert_eq(read_events(), 0);
	power_button(&power);
	power_notify_vmgenid(&power);
	cr_assert_eq(read_events(),
		     PLATFORM_EVENT_POWER_BUTTON | PLATFORM_EVENT_VMGENID);
	cr_assert_eq(read_events(), 0);
}

Test(power, each_event_pulses_the_interrupt_also_when_pending)
{
	power_button(&power);
	power_button(&power);
	cr_assert_eq(power.irq.raised, 2);
	cr_assert(!power.irq.level);
	cr_assert_eq(read_events(), PLATFORM_EVENT_POWER_BUTTON);
}

Test(power, button_again_pulses_until_the_press_is_read)
{
	cr_assert(!power_button_again(&power));
	power_notify_vmgenid(&power);
	cr_assert(!power_button_again(&power));
	cr_assert_eq(power.irq.raised, 1);
	power_button(&power);
	cr_assert(power_button_again(&power));
	cr_assert_eq(power.irq.raised, 3);
	read_events();
	cr_assert(!power_button_again(&power));
	cr_assert_eq(power.irq.raised, 3);
}

Test(power, events_are_read_whole_or_not_at_all)
{
	uint8_t v;

	power_button(&power);
	bus_read(&bus, PLATFORM_POWER_EVENTS, &v, 1);
	cr_assert_eq(v, 0xff);
	cr_assert_eq(read_events(), PLATFORM_EVENT_POWER_BUTTON);
}

Test(power, restored_refuses_unknown_events)
{
	power.st.pending = 4;
	cr_assert_eq(power.dev.ops->restored(&power.dev), -EINVAL);
	cr_assert_eq(power.st.pending, 0);
	power.st.pending = 3;
	cr_assert_eq(power.dev.ops->restored(&power.dev), 0);
	cr_assert_eq(power.st.pending, 3);
}
