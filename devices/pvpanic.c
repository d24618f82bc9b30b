/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the machine that the guest's kernel panicked. */
#include "pvpanic.h"

#include "util.h"

static const struct state_desc pvpanic_desc = { .name = "pvpanic",
						.version = 1 };

static const struct reg pvpanic_regs[] = {
	{ 0, 1, REG_1, REG_RW, "event" },
};

static void pvpanic_reset(struct device *d)
{
}

static uint64_t pvpanic_read(struct device *d, uint64_t off, unsigned len)
{
	return PVPANIC_PANICKED;
}

/* Events that we did not offer mean nothing. */
static void pvpanic_write(struct device *d, uint64_t off, unsigned len,
			  uint64_t v)
{
	struct pvpanic *p = container_of(d, struct pvpanic, dev);

	if (v & PVPANIC_PANICKED)
		guest_event_raise(p->events, GUEST_PANIC, (uint32_t)v);
}

static int pvpanic_restored(struct device *d)
{
	return 0;
}

static const struct device_ops pvpanic_ops = {
	.type = "pvpanic",
	.state = &pvpanic_desc,
	.regs = pvpanic_regs,
	.nregs = ARRAY_SIZE(pvpanic_regs),
	.reset = pvpanic_reset,
	.read = pvpanic_read,
	.write = pvpanic_write,
	.restored = pvpanic_restored,
};

void pvpanic_init(struct pvpanic *p, const char *name,
		  struct guest_events *events)
{
	p->events = events;
	device_init(&p->dev, &pvpanic_ops, name, NULL);
}
