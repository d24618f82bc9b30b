/* SPDX-License-Identifier: Apache-2.0 */
/* Hands the guest's exit code to the machine. */
#include "debugexit.h"

#include "util.h"

static const struct state_desc debugexit_desc = { .name = "debugexit",
						  .version = 1 };

static const struct reg debugexit_regs[] = {
	{ 0, 4, REG_1 | REG_2 | REG_4, REG_W, "exit" },
};

static void debugexit_reset(struct device *d)
{
}

static void debugexit_write(struct device *d, uint64_t off, unsigned len,
			    uint64_t v)
{
	struct debugexit *x = container_of(d, struct debugexit, dev);

	guest_event_raise(x->events, GUEST_EXIT, v & 0xff);
}

static int debugexit_restored(struct device *d)
{
	return 0;
}

static const struct device_ops debugexit_ops = {
	.type = "debugexit",
	.state = &debugexit_desc,
	.regs = debugexit_regs,
	.nregs = ARRAY_SIZE(debugexit_regs),
	.reset = debugexit_reset,
	.write = debugexit_write,
	.restored = debugexit_restored,
};

void debugexit_init(struct debugexit *x, const char *name,
		    struct guest_events *events)
{
	x->events = events;
	device_init(&x->dev, &debugexit_ops, name, NULL);
}
