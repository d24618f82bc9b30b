/* SPDX-License-Identifier: Apache-2.0 */
/* Resets the machine by the keyboard controller's old command. */
#include "i8042.h"

#include "util.h"

/*
 * What the status port reads: all ones, as an empty bus, but for "input buffer
 * full". A driver that looks for a controller finds "output buffer full" set
 * for ever and gives up at once; a reboot that first waits for room for its
 * command finds it at once, too.
 */
#define STATUS_INPUT_FULL 0x02
#define STATUS_ABSENT	  (0xff & ~STATUS_INPUT_FULL)

#define COMMAND_PULSE_RESET 0xfe

static const struct state_desc i8042_desc = { .name = "i8042", .version = 1 };

static const struct reg i8042_regs[] = {
	{ 0, 1, REG_1, REG_RW, "status/command" },
};

static void i8042_reset(struct device *d)
{
}

static uint64_t i8042_read(struct device *d, uint64_t off, unsigned len)
{
	return STATUS_ABSENT;
}

static void i8042_write(struct device *d, uint64_t off, unsigned len,
			uint64_t v)
{
	struct i8042 *k = container_of(d, struct i8042, dev);

	if (v == COMMAND_PULSE_RESET)
		guest_event_raise(k->events, GUEST_RESET, 0);
}

static int i8042_restored(struct device *d)
{
	return 0;
}

static const struct device_ops i8042_ops = {
	.type = "i8042",
	.state = &i8042_desc,
	.regs = i8042_regs,
	.nregs = ARRAY_SIZE(i8042_regs),
	.reset = i8042_reset,
	.read = i8042_read,
	.write = i8042_write,
	.restored = i8042_restored,
};

void i8042_init(struct i8042 *k, const char *name, struct guest_events *events)
{
	k->events = events;
	device_init(&k->dev, &i8042_ops, name, NULL);
}
