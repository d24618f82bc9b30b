/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small devices on ports (power, RTC, pvpanic, debug exit, i8042) and the
 * VM generation id under any sequence of accesses and of what the host does.
 * Each input is a list of steps of eight bytes. Asserted after each: the state
 * is one that a snapshot may hold, a device made from it is the same, and what
 * is not a register is refused.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "debugexit.h"
#include "i8042.h"
#include "log.h"
#include "power.h"
#include "pvpanic.h"
#include "rtc.h"
#include "util.h"
#include "vmgenid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct step {
	uint8_t kind, device, offset, len;
	uint32_t value;
};
enum step_kind { READ, WRITE, HOST, RESET, CLOCK };

struct set {
	struct gmem ram;
	struct debugexit debugexit;
	struct i8042 i8042;
	struct power power;
	struct pvpanic pvpanic;
	struct rtc rtc;
	struct vmgenid vmgenid;
	struct device *dev[6];
};

#define PORTS 16 /* for each device, more than it has */

static struct set fuzzed, judge;
static struct bus bus;
static struct guest_events events;
static int64_t clock_ns;

static void ignore(struct guest_events *e, enum guest_event what,
		   uint32_t value)
{
	assert(what <= GUEST_READY);
}

static int64_t clock_now(void)
{
	return clock_ns;
}

static void make(struct set *s)
{
	static const uint8_t id[VMGENID_BYTES] = "fuzz";
	struct gmem_region region = { 0, MIB(2), 0 };
	struct irq none;

	irq_init(&none, -1, 0);
	if (gmem_init(&s->ram, &region, 1))
		abort();
	debugexit_init(&s->debugexit, "debugexit0", &events);
	i8042_init(&s->i8042, "i8042", &events);
	power_init(&s->power, "power0", none, &events);
	pvpanic_init(&s->pvpanic, "pvpanic0", &events);
	rtc_init(&s->rtc, "rtc0");
	s->rtc.now_ns = clock_now;
	vmgenid_init(&s->vmgenid, "vmgenid0", &s->ram, &s->power, id);
	s->dev[0] = &s->debugexit.dev;
	s->dev[1] = &s->i8042.dev;
	s->dev[2] = &s->power.dev;
	s->dev[3] = &s->pvpanic.dev;
	s->dev[4] = &s->rtc.dev;
	s->dev[5] = &s->vmgenid.dev;
}

static void begin(void)
{
	static const uint8_t ports[] = { 4, 1, 16, 1, 2 };

	if (!events.raise) {
		log_setup(2, LOG_ERROR);
		events.raise = ignore;
		make(&fuzzed);
		make(&judge);
		bus_init(&bus, "ports");
		for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
			if (bus_add(&bus, i * PORTS, ports[i], fuzzed.dev[i]))
				abort();
	}
	clock_ns = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(fuzzed.dev); i++)
		fuzzed.dev[i]->ops->reset(fuzzed.dev[i]);
}

static void host(const struct step *s)
{
	uint8_t id[VMGENID_BYTES] = { s->offset, s->len };

	switch (s->device % 3) {
	case 0:
		power_button(&fuzzed.power);
		break;
	case 1:
		power_button_again(&fuzzed.power);
		break;
	default:
		vmgenid_set(&fuzzed.vmgenid, id);
	}
}

static void take(const struct step *s)
{
	unsigned i = s->device % ARRAY_SIZE(fuzzed.dev);
	uint64_t at = i * PORTS + s->offset % PORTS;
	uint8_t bytes[8] = { 0 };
	unsigned len = 1u << (s->len & 3);

	memcpy(bytes, &s->value, sizeof(s->value));
	switch ((enum step_kind)(s->kind % (CLOCK + 1))) {
	case READ:
		bus_read(&bus, at, bytes, len);
		break;
	case WRITE:
		bus_write(&bus, at, bytes, len);
		break;
	case HOST:
		host(s);
		break;
	case RESET:
		fuzzed.dev[i]->ops->reset(fuzzed.dev[i]);
		break;
	case CLOCK:
		/* Any time in 500 years, backwards too. */
		clock_ns = (int64_t)s->value * INT64_C(4000000000);
		break;
	}
}

static void check(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fuzzed.dev); i++) {
		struct device *from = fuzzed.dev[i], *to = judge.dev[i];

		memcpy(to->st, from->st, from->ops->state->size);
		assert(to->ops->restored(to) == 0);
		assert(state_diff(from->ops->state, from->st, to->st, NULL,
				  NULL) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	for (; size >= sizeof(struct step); size -= sizeof(struct step)) {
		struct step s;

		memcpy(&s, data, sizeof(s));
		data += sizeof(s);
		take(&s);
		check();
	}
	return 0;
}
