/* SPDX-License-Identifier: Apache-2.0 */
/* Sleep, reset, ready, and the events that the GED tells the guest. */
#include "power.h"

#include <errno.h>

#include "platform.h"
#include "util.h"

#define AT(port) ((port)-PLATFORM_POWER_PORT)

/* ACPI 6.4, 4.8.3.7, SLEEP_CONTROL_REG */
#define SLEEP_ENABLE  0x20
#define SLEEP_TYPE(v) ((v) >> 2 & 7)

#define KNOWN_EVENTS (PLATFORM_EVENT_POWER_BUTTON | PLATFORM_EVENT_VMGENID)

static const struct state_field power_fields[] = {
	STATE(struct power_state, pending, 1),
};
static const struct state_desc power_desc =
    STATE_DESC("power", 1, struct power_state, power_fields);

static const struct reg power_regs[] = {
	{ AT(PLATFORM_POWER_EVENTS), 4, REG_4, REG_R, "events" },
	{ AT(PLATFORM_POWER_SLEEP), 1, REG_1, REG_RW, "sleep control" },
	{ AT(PLATFORM_POWER_STATUS), 1, REG_1, REG_RW, "sleep status" },
	{ AT(PLATFORM_POWER_RESET), 1, REG_1, REG_W, "reset" },
	{ AT(PLATFORM_POWER_READY), 1, REG_1, REG_W, "ready" },
};

static struct power *power_of(struct device *d)
{
	return container_of(d, struct power, dev);
}

static void power_reset(struct device *d)
{
	power_of(d)->st = (struct power_state){ 0 };
}

/* The sleep registers read 0: SLP_EN is write-only, and WAK_STS is never set,
 * since nothing but S5 is entered and nobody wakes from that. */
static uint64_t power_read(struct device *d, uint64_t off, unsigned len)
{
	struct power *p = power_of(d);
	uint64_t v = 0;

	if (off == AT(PLATFORM_POWER_EVENTS)) {
		v = p->st.pending;
		p->st.pending = 0;
	}
	return v;
}

static void sleep_control(struct power *p, uint64_t v)
{
	if (!(v & SLEEP_ENABLE))
		return;
	if (SLEEP_TYPE(v) == PLATFORM_SLEEP_TYPE_S5)
		guest_event_raise(p->events, GUEST_POWEROFF, 0);
	else
		p->refused_sleeps++;
}

static void power_write(struct device *d, uint64_t off, unsigned len,
			uint64_t v)
{
	struct power *p = power_of(d);

	switch (off) {
	case AT(PLATFORM_POWER_SLEEP):
		sleep_control(p, v);
		break;
	case AT(PLATFORM_POWER_RESET):
		if (v == PLATFORM_RESET_VALUE)
			guest_event_raise(p->events, GUEST_RESET, 0);
		break;
	case AT(PLATFORM_POWER_READY):
		guest_event_raise(p->events, GUEST_READY, (uint32_t)v);
		break;
	default: /* sleep status: writing 1 clears what is never set */
		break;
	}
}

static int power_restored(struct device *d)
{
	if (!(power_of(d)->st.pending & ~KNOWN_EVENTS))
		return 0;
	power_reset(d);
	return -EINVAL;
}

static const struct device_ops power_ops = {
	.type = "power",
	.state = &power_desc,
	.regs = power_regs,
	.nregs = ARRAY_SIZE(power_regs),
	.reset = power_reset,
	.read = power_read,
	.write = power_write,
	.restored = power_restored,
};

void power_init(struct power *p, const char *name, struct irq irq,
		struct guest_events *events)
{
	*p = (struct power){ .irq = irq, .events = events };
	device_init(&p->dev, &power_ops, name, &p->st);
}

static void notify(struct power *p, uint32_t event)
{
	_locked_(&p->dev.lock);

	p->st.pending |= event;
	irq_pulse(&p->irq);
}

void power_button(struct power *p)
{
	notify(p, PLATFORM_EVENT_POWER_BUTTON);
}

bool power_button_again(struct power *p)
{
	_locked_(&p->dev.lock);

	if (!(p->st.pending & PLATFORM_EVENT_POWER_BUTTON))
		return false;
	irq_pulse(&p->irq);
	return true;
}

void power_notify_vmgenid(struct power *p)
{
	notify(p, PLATFORM_EVENT_VMGENID);
}
