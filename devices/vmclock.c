/* SPDX-License-Identifier: Apache-2.0 */
/* The page in RAM always has what the state has, and an even sequence. */
#include "vmclock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "log.h"
#include "platform.h"
#include "util.h"

#define MAGIC		0x4b4c4356 /* "VCLK" */
#define VERSION		1
#define COUNTER_INVALID 0xff
#define FLAG_GENERATION (1 << 8) /* `generation` is there */

/* As the guest has it; little-endian. */
struct page {
	uint32_t magic;
	uint32_t bytes;
	uint16_t version;
	uint8_t counter, time_type;
	uint32_t sequence; /* odd while the rest changes */
	uint64_t disruption_marker;
	uint64_t flags;
	uint8_t no_clock[72]; /* zero: status "unknown", and no time */
	uint64_t generation;
};
static_assert(offsetof(struct page, sequence) == 12, "vmclock-abi.h");
static_assert(offsetof(struct page, generation) == 104, "vmclock-abi.h");

static const struct state_field vmclock_fields[] = {
	STATE(struct vmclock_state, sequence, 1),
	STATE(struct vmclock_state, disruptions, 1),
	STATE(struct vmclock_state, generation, 1),
};
static const struct state_desc vmclock_desc =
    STATE_DESC("vmclock", 1, struct vmclock_state, vmclock_fields);

static struct vmclock *vmclock_of(struct device *d)
{
	return container_of(d, struct vmclock, dev);
}

static void write_sequence(struct vmclock *c, uint64_t value)
{
	uint32_t word = (uint32_t)value;
	uint64_t at = PLATFORM_VMCLOCK + offsetof(struct page, sequence);

	/* RAM always covers the first MiB. */
	if (gmem_write(c->ram, GPA(at), &word, sizeof(word)))
		log_error(c->dev.name, "no RAM for its page");
}

/* A reader that began before sees an odd sequence, or another one. */
static void publish(struct vmclock *c)
{
	struct page p = {
		.magic = MAGIC,
		.bytes = PAGE_BYTES,
		.version = VERSION,
		.counter = COUNTER_INVALID,
		.sequence = (uint32_t)c->st.sequence - 1,
		.disruption_marker = c->st.disruptions,
		.flags = FLAG_GENERATION,
		.generation = c->st.generation,
	};

	write_sequence(c, c->st.sequence - 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (gmem_write(c->ram, GPA(PLATFORM_VMCLOCK), &p, sizeof(p)))
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	write_sequence(c, c->st.sequence);
}

static void vmclock_reset(struct device *d)
{
	struct vmclock *c = vmclock_of(d);

	c->st = (struct vmclock_state){ 2, 1, 1 };
	publish(c);
}

/* The page is in the RAM that was restored, too. */
static int vmclock_restored(struct device *d)
{
	struct vmclock *c = vmclock_of(d);

	if (!(c->st.sequence & 1) && c->st.sequence)
		return 0;
	vmclock_reset(d);
	return -EINVAL;
}

static const struct device_ops vmclock_ops = {
	.type = "vmclock",
	.state = &vmclock_desc,
	.reset = vmclock_reset,
	.restored = vmclock_restored,
};

void vmclock_init(struct vmclock *c, const char *name, struct gmem *ram)
{
	c->ram = ram;
	device_init(&c->dev, &vmclock_ops, name, &c->st);
	vmclock_reset(&c->dev);
}

void vmclock_disrupt(struct vmclock *c)
{
	_locked_(&c->dev.lock);

	c->st.sequence += 2;
	c->st.disruptions++;
	c->st.generation++;
	publish(c);
}
