/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's devices: the only file that names them all, and the one table
 * that says where each of them is.
 */
#include "machine_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "blk.h"
#include "console_port.h"
#include "fatal.h"
#include "hash.h"
#include "net.h"
#include "platform.h"
#include "rng.h"
#include "util.h"
#include "vsock.h"

static struct irq line(struct machine *m, uint32_t gsi)
{
	struct irq q;

	irq_init(&q, m->vm_fd, gsi);
	return q;
}

static void init_devices(struct machine *m)
{
	uint8_t id[VMGENID_BYTES];

	/* It fails only where the kernel has no getrandom. */
	if (random_bytes(id, sizeof(id)))
		fatal_abort();
	uart_init(&m->uart, "uart0", line(m, PLATFORM_UART_GSI),
		  m->cfg.console);
	power_init(&m->power, "power0", line(m, PLATFORM_POWER_GSI),
		   &m->events);
	pvpanic_init(&m->pvpanic, "pvpanic0", &m->events);
	debugexit_init(&m->debugexit, "debugexit0", &m->events);
	i8042_init(&m->i8042, "i8042", &m->events);
	rtc_init(&m->rtc, "rtc0");
	vmclock_init(&m->vmclock, "vmclock0", &m->ram);
	vmgenid_init(&m->vmgenid, "vmgenid0", &m->ram, &m->power, id);
}

static int place_devices(struct machine *m)
{
	/* The one table of devices: where each is on which bus. */
	const struct {
		struct device *dev;
		struct bus *bus; /* NULL: no registers */
		uint64_t base, bytes;
	} place[] = {
		{ &m->uart.dev, &m->pio, PLATFORM_UART_PORT, 8 },
		{ &m->power.dev, &m->pio, PLATFORM_POWER_PORT,
		  PLATFORM_POWER_BYTES },
		{ &m->pvpanic.dev, &m->pio, PLATFORM_PVPANIC_PORT, 1 },
		{ &m->debugexit.dev, &m->pio, PLATFORM_EXIT_PORT, 4 },
		{ &m->i8042.dev, &m->pio, PLATFORM_I8042_PORT, 1 },
		{ &m->rtc.dev, &m->pio, PLATFORM_RTC_PORT, 2 },
		{ &m->vmclock.dev, NULL, 0, 0 },
		{ &m->vmgenid.dev, NULL, 0, 0 },
	};

	static_assert(ARRAY_SIZE(place) + ACPI_MAX_VIRTIO <= MAX_DEVICES,
		      "room for all");
	for (unsigned i = 0; i < ARRAY_SIZE(place); i++) {
		int r = 0;

		if (place[i].bus)
			r = bus_add(place[i].bus, place[i].base, place[i].bytes,
				    place[i].dev);
		if (r < 0)
			return r;
		m->device[m->ndevices++] = place[i].dev;
	}
	return 0;
}

/* The next window, for a device of that name. */
static int next_window(struct machine *m, const char *name,
		       struct virtio_config *c)
{
	*c = (struct virtio_config){ .name = name, .ram = &m->ram };
	return virtio_bus_next(&m->virtio, c);
}

/* Plugs the device in that was made for it. */
static int plug(struct machine *m, struct virtio *v)
{
	m->device[m->ndevices++] = &v->dev;
	return virtio_bus_add(&m->virtio, v);
}

static int add_net(struct machine *m, struct machine_net *n)
{
	struct net_config c = {
		.loop = m->cfg.loop,
		.mtu = n->mtu,
		.bytes_max = n->bytes_max,
		.frames_max = n->frames_max,
	};
	struct net *net;
	int r = next_window(m, n->name, &c.virtio);

	if (r < 0)
		return r;
	memcpy(c.mac, n->mac, sizeof(c.mac));
	if (n->fd >= 0) {
		c.port = n->stream ? net_stream_create(steal_fd(&n->fd))
				   : net_tap_create(steal_fd(&n->fd));
		if (!c.port)
			return -ENOMEM;
	}
	net = net_create(&c);
	return net ? plug(m, net_virtio(net)) : -ENOMEM;
}

static int add_nets(struct machine *m)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < m->cfg.nnets; i++)
		r = add_net(m, &m->cfg.net[i]);
	return r;
}

static int add_rng(struct machine *m)
{
	struct rng_config c = { .source_fd = m->cfg.rng_fd,
				.loop = m->cfg.loop };
	struct rng *rng;
	int r;

	if (m->cfg.rng_fd < 0)
		return 0;
	r = next_window(m, "rng0", &c.virtio);
	if (r < 0)
		return r;
	rng = rng_create(&c);
	return rng ? plug(m, &rng->virtio) : -ENOMEM;
}

static int add_balloon(struct machine *m)
{
	struct balloon_config c = { .loop = m->cfg.loop };
	int r;

	if (!m->cfg.balloon)
		return 0;
	r = next_window(m, "balloon0", &c.virtio);
	if (r < 0)
		return r;
	m->balloon = balloon_create(&c);
	return m->balloon ? plug(m, &m->balloon->virtio) : -ENOMEM;
}

/* By this name its agent finds it. */
#define AGENT_PORT "org.qemu.guest_agent.0"

static int add_agent(struct machine *m)
{
	struct console_port_config c = { .loop = m->cfg.loop,
					 .port = AGENT_PORT };
	struct console_port *p;
	int r;

	if (m->cfg.agent_fd < 0)
		return 0;
	r = next_window(m, "agent0", &c.virtio);
	if (r < 0)
		return r;
	c.listen_fd = steal_fd(&m->cfg.agent_fd);
	p = console_port_create(&c);
	return p ? plug(m, &p->virtio) : -ENOMEM;
}

static int add_disk(struct machine *m, const struct machine_disk *d)
{
	struct blk_config c = {
		.disk = d->disk,
		.loop = m->cfg.loop,
		.serial = d->serial ? d->serial : d->id,
		.bytes_a_second = d->bytes_a_second,
		.ops_a_second = d->ops_a_second,
		.poll_max_ns = BLK_POLL_NS,
	};
	char name[BLK_NAME_MAX];
	struct blk *blk;
	int r;

	static_assert(sizeof("disk-") + MACHINE_DISK_ID_MAX <= BLK_NAME_MAX,
		      "every id fits");
	if (strlen(d->id) > MACHINE_DISK_ID_MAX)
		return -ENAMETOOLONG;
	snprintf(name, sizeof(name), "disk-%s", d->id);
	r = next_window(m, name, &c.virtio);
	if (r < 0)
		return r;
	blk = blk_create(&c);
	return blk ? plug(m, &blk->virtio) : -ENOMEM;
}

static int add_disks(struct machine *m)
{
	int r = 0;

	for (unsigned i = 0; i < m->cfg.ndisks && r == 0; i++)
		r = add_disk(m, &m->cfg.disk[i]);
	return r;
}

static int add_vsock(struct machine *m)
{
	struct vsock_config c = { .guest_cid = m->cfg.vsock_cid,
				  .link_fd = m->cfg.vsock_fd,
				  .loop = m->cfg.loop };
	struct vsock *vsock;
	int r;

	if (m->cfg.vsock_fd < 0)
		return 0;
	r = next_window(m, "vsock0", &c.virtio);
	if (r < 0)
		return r;
	vsock = vsock_create(&c);
	return vsock ? plug(m, &vsock->virtio) : -ENOMEM;
}

/* Those that the configuration asks for; their windows are in the order in
 * which they stand here. */
static int add_virtio(struct machine *m)
{
	static int (*const add[])(struct machine *) = {
		add_disks, add_nets, add_vsock, add_rng, add_balloon, add_agent,
	};
	int r = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(add) && r == 0; i++)
		r = add[i](m);
	return r;
}

void machine_devices_close(const struct machine_config *c)
{
	cleanup_close(&c->rng_fd);
	cleanup_close(&c->agent_fd);
	vsock_link_end(c->vsock_fd);
	for (unsigned i = 0; i < c->nnets; i++)
		cleanup_close(&c->net[i].fd);
}

int machine_devices_create(struct machine *m)
{
	int r;

	init_devices(m);
	virtio_bus_init(&m->virtio, m->vm_fd, m->cfg.loop, &m->mmio);
	r = place_devices(m);
	return r < 0 ? r : add_virtio(m);
}

void machine_devices_destroy(struct machine *m)
{
	virtio_bus_fini(&m->virtio);
	for (unsigned i = 0; i < m->ndevices; i++)
		device_destroy(m->device[i]);
	machine_devices_close(&m->cfg);
}

void machine_devices_moved(struct machine *m, const uint8_t *vmgenid)
{
	vmclock_disrupt(&m->vmclock);
	if (vmgenid)
		vmgenid_set(&m->vmgenid, vmgenid);
}

/* ---- the power button ---- */

void machine_power_button(struct machine *m)
{
	assert(m->state == MACHINE_RUNNING);
	power_button(&m->power);
}

bool machine_power_button_again(struct machine *m)
{
	assert(m->state == MACHINE_RUNNING);
	return power_button_again(&m->power);
}

/* ---- the balloon ---- */

static uint64_t pages_left(const struct machine *m, uint32_t given)
{
	return m->ram.bytes -
	       MIN(m->ram.bytes, (uint64_t)given * BALLOON_PAGE_BYTES);
}

static void balloon_told(const struct balloon *b, struct machine_balloon *out)
{
	static_assert(MACHINE_BALLOON_STATS == BALLOON_STATS, "room for all");
	out->updates = b->stats.updates;
	for (unsigned i = 0; i < BALLOON_STATS; i++) {
		if (!(b->stats.known & 1u << i))
			continue;
		out->stat[out->nstats].name = balloon_stat_names[i];
		out->stat[out->nstats++].value = b->stats.value[i];
	}
}

int machine_balloon(struct machine *m, uint64_t target_bytes, bool ask,
		    struct machine_balloon *out)
{
	struct balloon *b = m->balloon;
	uint64_t given = m->ram.bytes - MIN(m->ram.bytes, target_bytes);

	*out = (struct machine_balloon){ 0 };
	if (!b)
		return -ENODEV;
	_locked_(&b->virtio.dev.lock);
	if (target_bytes)
		balloon_set_target(
		    b, (uint32_t)MIN(given / BALLOON_PAGE_BYTES, UINT32_MAX));
	balloon_told(b, out);
	out->target_bytes = pages_left(m, b->st.num_pages);
	out->actual_bytes = pages_left(m, b->st.actual);
	if (ask && m->state == MACHINE_RUNNING)
		out->asked = balloon_ask(b);
	return 0;
}

/* ---- looking ---- */

void machine_each_device(struct machine *m,
			 void (*fn)(void *ctx, const struct device *d,
				    const char *state),
			 void *ctx)
{
	char text[8192];

	for (unsigned i = 0; i < m->ndevices; i++) {
		struct device *d = m->device[i];
		_locked_(&d->lock);

		state_print(d->ops->state, d->st, text, sizeof(text));
		fn(ctx, d, text);
	}
}
