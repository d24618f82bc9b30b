/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every device promises by being one (vmm/device.h), tried on each in the
 * table below. A new device needs a row and nothing else.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "balloon.h"
#include "blk.h"
#include "bus.h"
#include "console.h"
#include "console_port.h"
#include "debugexit.h"
#include "fake_disk.h"
#include "i8042.h"
#include "log.h"
#include "net.h"
#include "power.h"
#include "pvpanic.h"
#include "rng.h"
#include "rtc.h"
#include "uart.h"
#include "util.h"
#include "vmclock.h"
#include "vmgenid.h"
#include "vsock.h"

#define ROUNDS 2000

/* One of each, and what they stand on. */
struct rig {
	struct loop loop;
	struct console *con;
	struct gmem ram;
	struct guest_events events;
	int random_fd;
	struct bus bus;
	struct balloon *balloon;
	struct console_port *port;
	struct sockaddr_un address; /* the port's */
	socklen_t address_len;
	int client;
	struct fake_disk disk;
	struct blk *blk;
	struct debugexit debugexit;
	struct i8042 i8042;
	struct net *net;
	int network; /* the other end of its stream */
	struct power power;
	struct pvpanic pvpanic;
	struct rng *rng;
	struct rtc rtc;
	struct uart uart;
	struct vmclock vmclock;
	struct vmgenid vmgenid;
	struct vsock *vsock;
	int link[2]; /* to its broker, which is us */
};

static void poke_balloon(struct rig *r, uint64_t random)
{
	_locked_(&r->balloon->virtio.dev.lock);

	/* No new target: a reset keeps it, which is not fresh. */
	balloon_ask(r->balloon);
}

static void connect_client(struct rig *r)
{
	r->client =
	    socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* EAGAIN: its queue is full. */
	if (connect(r->client, (struct sockaddr *)&r->address,
		    r->address_len)) {
		close(r->client);
		r->client = -1;
	}
}

/* A client comes, sends, leaves. */
static void poke_port(struct rig *r, uint64_t random)
{
	if (r->client < 0) {
		connect_client(r);
	} else if (random % 4) {
		if (write(r->client, &random, sizeof(random)) < 0)
			return;
	} else {
		close(r->client);
		r->client = -1;
	}
}

/* Requests end at once, or later. */
static void poke_blk(struct rig *r, uint64_t random)
{
	_locked_(&r->blk->virtio.dev.lock);

	r->disk.later = random & 1;
	r->disk.fail = random & 2 ? -EIO : 0;
	fake_disk_end_all(&r->disk);
	virtio_kicked(&r->blk->virtio);
}

static void poke_power(struct rig *r, uint64_t random)
{
	if (random & 1)
		power_button(&r->power);
	else
		power_notify_vmgenid(&r->power);
}

/* A frame comes, those that were sent are taken. */
static void poke_net(struct rig *r, uint64_t random)
{
	uint8_t frame[64] = { 0, 0, 0, 60 }, taken[4096];
	struct virtio *v = net_virtio(r->net);

	if (random % 4 == 0 && write(r->network, frame, sizeof(frame)) < 0 &&
	    errno != EAGAIN)
		abort();
	while (read(r->network, taken, sizeof(taken)) > 0)
		;
	_locked_(&v->dev.lock);
	virtio_kicked(v);
}

static void poke_rng(struct rig *r, uint64_t random)
{
	_locked_(&r->rng->virtio.dev.lock);

	virtio_kicked(&r->rng->virtio);
}

static void poke_uart(struct rig *r, uint64_t random)
{
	struct console_guest *g = &r->uart.guest;

	g->input(g, (const uint8_t *)&random, 1 + random % 8);
	g->writable(g);
}

static const uint8_t generation[VMGENID_BYTES] = "generation zero";

/* Always the first id: a reset keeps the one set last, which is not fresh. */
static void poke_vmgenid(struct rig *r, uint64_t random)
{
	vmgenid_set(&r->vmgenid, generation);
}

/* Connections that come and answers that nobody asked for. */
static void poke_vsock(struct rig *r, uint64_t random)
{
	const struct vsock_link_msg m = { (uint32_t)(random % 5), 1,
					  (uint32_t)(random >> 8 & 3) };
	int s[2], t[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) || pipe(t))
		return;
	vsock_link_give(r->link[1], &m, &(struct vsock_link_fds){ s[0], t[1] });
	cr_assert_eq(write(s[1], &random, sizeof(random)), sizeof(random));
	for (unsigned i = 0; i < 2; i++) {
		close(s[i]);
		close(t[i]);
	}
	loop_step(&r->loop, 0);
}

/* What the host may do to it besides; bytes 0: it has no registers. */
struct row {
	size_t offset; /* of its struct device, or of a pointer to that */
	bool pointer;
	uint64_t bytes;
	void (*poke)(struct rig *r, uint64_t random);
};

#define DEVICE(m)  offsetof(struct rig, m.dev), false
#define CREATED(m) offsetof(struct rig, m), true
static const struct row table[] = {
	{ CREATED(balloon), 0x1000, poke_balloon },
	{ CREATED(port), 0x1000, poke_port },
	{ CREATED(blk), 0x1000, poke_blk },
	{ DEVICE(debugexit), 4, NULL },
	{ DEVICE(i8042), 1, NULL },
	{ CREATED(net), 0x1000, poke_net },
	{ DEVICE(power), 16, poke_power },
	{ DEVICE(pvpanic), 1, NULL },
	{ CREATED(rng), 0x1000, poke_rng },
	{ DEVICE(rtc), 2, NULL },
	{ DEVICE(uart), UART_PORTS, poke_uart },
	{ DEVICE(vmclock), 0, NULL },
	{ DEVICE(vmgenid), 0, poke_vmgenid },
	{ CREATED(vsock), 0x1000, poke_vsock },
};
#define NDEVICES ARRAY_SIZE(table)

static void ignore_event(struct guest_events *e, enum guest_event what,
			 uint32_t value)
{
}

static struct device *device(struct rig *r, unsigned i)
{
	void *at = (char *)r + table[i].offset;

	return table[i].pointer ? *(struct device **)at : at;
}

/* Each has a page of the bus. */
static uint64_t base(unsigned i)
{
	return (uint64_t)i * 0x1000;
}

static struct irq no_irq(void)
{
	struct irq q;

	irq_init(&q, -1, 0);
	return q;
}

static struct virtio_config virtio_config(struct rig *r, const char *name)
{
	return (struct virtio_config){
		.name = name, .ram = &r->ram, .irq = no_irq(), .kick_fd = -1
	};
}

/* A socket at a name that the kernel chooses. */
static int listening(struct rig *r)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr *a = (struct sockaddr *)&r->address;

	r->address.sun_family = AF_UNIX;
	r->address_len = sizeof(r->address);
	cr_assert_eq(bind(fd, a, sizeof(sa_family_t)), 0);
	cr_assert_eq(getsockname(fd, a, &r->address_len), 0);
	cr_assert_eq(listen(fd, 4), 0);
	return fd;
}

static void build_net(struct rig *r)
{
	int fd[2];
	struct net_config c = { .virtio = { .name = "net0",
					    .ram = &r->ram,
					    .irq = no_irq(),
					    .kick_fd = -1 },
				.loop = &r->loop,
				.mtu = 1500,
				.mac = { 2, 0, 0, 0, 0, 1 } };

	cr_assert_eq(socketpair(AF_UNIX,
				SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				fd),
		     0);
	r->network = fd[1];
	c.port = net_stream_create(fd[0]);
	cr_assert_not_null(c.port);
	r->net = net_create(&c);
	cr_assert_not_null(r->net);
}

static void build(struct rig *r)
{
	struct console_config none = {
		.in_fd = -1, .out_fd = -1, .log_fd = -1, .listen_fd = { -1, -1 }
	};
	struct gmem_region region = { 0, MIB(2), 0 };

	memset(r, 0, sizeof(*r));
	r->events.raise = ignore_event;
	cr_assert_eq(loop_init(&r->loop), 0);
	cr_assert_eq(console_create(&r->con, &r->loop, &none), 0);
	cr_assert_eq(gmem_init(&r->ram, &region, 1), 0);
	fake_disk_init(&r->disk, MIB(1), false);
	r->blk = blk_create(&(struct blk_config){ .virtio = { .name = "disk0",
							      .ram = &r->ram,
							      .irq = no_irq(),
							      .kick_fd = -1 },
						  .disk = &r->disk.disk,
						  .loop = &r->loop });
	cr_assert_not_null(r->blk);
	debugexit_init(&r->debugexit, "debugexit0", &r->events);
	i8042_init(&r->i8042, "i8042", &r->events);
	power_init(&r->power, "power0", no_irq(), &r->events);
	pvpanic_init(&r->pvpanic, "pvpanic0", &r->events);
	r->random_fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	r->rng =
	    rng_create(&(struct rng_config){ .virtio = virtio_config(r, "rng0"),
					     .source_fd = r->random_fd,
					     .loop = &r->loop });
	cr_assert_not_null(r->rng);
	r->balloon = balloon_create(&(struct balloon_config){
	    .virtio = virtio_config(r, "balloon0"), .loop = &r->loop });
	cr_assert_not_null(r->balloon);
	r->client = -1;
	r->port = console_port_create(
	    &(struct console_port_config){ .virtio = virtio_config(r, "port0"),
					   .loop = &r->loop,
					   .port = "contract",
					   .listen_fd = listening(r) });
	cr_assert_not_null(r->port);
	rtc_init(&r->rtc, "rtc0");
	build_net(r);
	uart_init(&r->uart, "uart0", no_irq(), r->con);
	vmclock_init(&r->vmclock, "vmclock0", &r->ram);
	vmgenid_init(&r->vmgenid, "vmgenid0", &r->ram, &r->power, generation);
	cr_assert_eq(vsock_link_pair(&r->link[0], &r->link[1]), 0);
	r->vsock = vsock_create(
	    &(struct vsock_config){ .virtio = virtio_config(r, "vsock0"),
				    .guest_cid = 3,
				    .link_fd = r->link[0],
				    .loop = &r->loop });
	cr_assert_not_null(r->vsock);
	bus_init(&r->bus, "contract");
	for (unsigned i = 0; i < NDEVICES; i++)
		if (table[i].bytes)
			cr_assert_eq(bus_add(&r->bus, base(i), table[i].bytes,
					     device(r, i)),
				     0);
}

static void tear_down(struct rig *r)
{
	for (unsigned i = 0; i < NDEVICES; i++)
		device_destroy(device(r, i));
	if (r->client >= 0)
		close(r->client);
	close(r->random_fd);
	close(r->link[0]);
	close(r->link[1]);
	fake_disk_fini(&r->disk);
	close(r->network);
	console_destroy(r->con);
	loop_fini(&r->loop);
	gmem_fini(&r->ram);
}

/* Numbers that are the same in every run (Vigna's splitmix64). */
static uint64_t seed;

static uint64_t rnd(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static struct rig rig, other;

static void setup(void)
{
	log_setup(STDERR_FILENO, LOG_ERROR);
	seed = 1;
	build(&rig);
	build(&other);
}

static void teardown(void)
{
	tear_down(&rig);
	tear_down(&other);
}

TestSuite(contract, .init = setup, .fini = teardown, .timeout = 60);

/* ---- a driver, of the virtio devices ---- */

#define RINGS	 MIB(1)
#define QUEUE(q) (RINGS + (uint64_t)(q)*KIB(16))
#define AVAIL(q) (QUEUE(q) + KIB(4))
#define USED(q)	 (QUEUE(q) + KIB(8))

static struct virtio *virtio_at(struct rig *r, unsigned i)
{
	struct device *d = device(r, i);

	return d->ops->read == virtio_read ? virtio_of(d) : NULL;
}

static void set(struct rig *r, unsigned i, unsigned reg, uint32_t value)
{
	bus_write(&r->bus, base(i) + reg, &value, 4);
}

/* A driver begins: any features, all queues, empty. */
static void drive(struct rig *r, unsigned i)
{
	struct virtio *v = virtio_at(r, i);
	uint32_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;

	set(r, i, VIRTIO_STATUS, 0);
	set(r, i, VIRTIO_STATUS, status);
	for (uint32_t sel = 0; sel < 2; sel++) {
		uint32_t offered;

		set(r, i, VIRTIO_DEVICE_FEATURES_SEL, sel);
		bus_read(&r->bus, base(i) + VIRTIO_DEVICE_FEATURES, &offered,
			 4);
		set(r, i, VIRTIO_DRIVER_FEATURES_SEL, sel);
		set(r, i, VIRTIO_DRIVER_FEATURES,
		    sel ? offered : offered & (uint32_t)(rnd() | rnd()));
	}
	set(r, i, VIRTIO_STATUS, status |= VIRTIO_FEATURES_OK);
	gmem_fill(&r->ram, GPA(RINGS), 0, QUEUE(v->class->nqueues) - RINGS);
	for (unsigned q = 0; q < v->class->nqueues; q++) {
		set(r, i, VIRTIO_QUEUE_SEL, q);
		set(r, i, VIRTIO_QUEUE_NUM, MIN(v->class->queue_max, 64));
		set(r, i, VIRTIO_QUEUE_DESC_LOW, (uint32_t)QUEUE(q));
		set(r, i, VIRTIO_QUEUE_DRIVER_LOW, (uint32_t)AVAIL(q));
		set(r, i, VIRTIO_QUEUE_DEVICE_LOW, (uint32_t)USED(q));
		set(r, i, VIRTIO_QUEUE_READY, 1);
	}
	set(r, i, VIRTIO_STATUS, status | VIRTIO_DRIVER_OK);
}

/* Offers a chain of one or two buffers below the rings; kicks, or not yet. */
static void offer(struct rig *r, unsigned i, bool kick)
{
	struct virtio *v = virtio_at(r, i);
	unsigned q = (unsigned)(rnd() % v->class->nqueues);
	uint16_t size = v->st->size[q], two = rnd() % 2, idx;
	uint16_t head = (uint16_t)(rnd() % (size - 1));
	uint16_t first = rnd() % 2 ? VRING_DESC_WRITE : 0;
	uint16_t last = first || rnd() % 2 ? VRING_DESC_WRITE : 0;
	struct vring_desc d[2] = {
		{ rnd() % RINGS / 2, (uint32_t)(rnd() % KIB(16)),
		  (uint16_t)(first | (two ? VRING_DESC_NEXT : 0)),
		  (uint16_t)(head + 1) },
		{ rnd() % RINGS / 2, (uint32_t)(rnd() % KIB(16)), last, 0 },
	};

	/* Small numbers mean something to most of them. */
	uint16_t words[4] = { (uint16_t)(rnd() % 4), 0, (uint16_t)(rnd() % 8),
			      (uint16_t)(rnd() % 2) };

	gmem_write(&r->ram, GPA(d[0].addr), words, sizeof(words));
	gmem_write(&r->ram, GPA(QUEUE(q) + head * sizeof(*d)), d, sizeof(d));
	gmem_read(&r->ram, GPA(AVAIL(q) + 2), &idx, 2);
	gmem_write(&r->ram, GPA(AVAIL(q) + 4 + 2 * (idx % size)), &head, 2);
	idx++;
	gmem_write(&r->ram, GPA(AVAIL(q) + 2), &idx, 2);
	if (kick)
		set(r, i, VIRTIO_QUEUE_NOTIFY, q);
}

/* Queues are set up and requests wait in them, that nobody was told of yet. */
static void let_requests_wait(struct rig *r, unsigned i)
{
	if (!virtio_at(r, i))
		return;
	drive(r, i);
	for (unsigned n = 0; n < 40; n++)
		offer(r, i, n < 20);
}

/* One access anywhere in its range, of any width: refused ones too. A driver
 * that is at work is mostly left so: what comes at random ends it at once. */
static void touch(struct rig *r, unsigned i)
{
	uint64_t at, v = rnd();
	unsigned len = 1u << rnd() % 4;
	struct virtio *virtio = virtio_at(r, i);

	if (virtio && rnd() % 64 == 0)
		drive(r, i);
	if (virtio && virtio->st->status & VIRTIO_DRIVER_OK && rnd() % 8)
		return offer(r, i, rnd() % 2);
	if (table[i].poke && rnd() % 4 == 0)
		table[i].poke(r, rnd());
	if (!table[i].bytes)
		return;
	at = base(i) + rnd() % table[i].bytes;
	if (rnd() % 2)
		bus_write(&r->bus, at, &v, len);
	else
		bus_read(&r->bus, at, &v, len);
	if (rnd() % 64 == 0)
		loop_step(&r->loop, 0);
}

static void use(struct rig *r, unsigned i)
{
	for (unsigned n = 0; n < ROUNDS; n++)
		touch(r, i);
}

static unsigned differences(const struct device *a, const struct device *b)
{
	return state_diff(a->ops->state, a->st, b->st, NULL, NULL);
}

#define for_each_device(i) for (unsigned i = 0; i < NDEVICES; i++)

Test(contract, operations_are_there)
{
	for_each_device(i)
	{
		const struct device_ops *ops = device(&rig, i)->ops;

		cr_expect(ops->type && ops->reset && ops->restored, "%u", i);
		for (unsigned j = 0; j < ops->nregs; j++) {
			uint8_t access = ops->regs[j].access;

			cr_expect(!(access & REG_R) || ops->read, "%s",
				  ops->type);
			cr_expect(!(access & REG_W) || ops->write, "%s",
				  ops->type);
		}
	}
}

Test(contract, state_table_tiles_its_struct)
{
	for_each_device(i)
	    cr_expect_eq(state_check(device(&rig, i)->ops->state), 0, "%s",
			 device(&rig, i)->name);
}

Test(contract, registers_are_sane_and_apart)
{
	for_each_device(i)
	{
		const struct device_ops *ops = device(&rig, i)->ops;
		uint64_t end = 0;

		for (unsigned j = 0; j < ops->nregs; j++) {
			const struct reg *g = &ops->regs[j];

			cr_expect_geq(g->offset, end, "%s %s", ops->type,
				      g->name);
			cr_expect(g->widths && g->access && g->name &&
				  (g->widths & 15) <= 2 * g->bytes - 1);
			end = (uint64_t)g->offset + g->bytes;
		}
		cr_expect_leq(end, table[i].bytes, "%s", ops->type);
	}
}

Test(contract, names_are_unique)
{
	for_each_device(i) for (unsigned j = 0; j < i; j++)
	    cr_expect_str_neq(device(&rig, i)->name, device(&rig, j)->name);
}

/* That the offset is one of a uint64_t in the device's struct is proven by the
 * macro; that the struct is this device's, here. */
Test(contract, counters_have_names_and_begin_at_zero)
{
	for_each_device(i)
	{
		struct device *d = device(&rig, i);
		const struct device_counter *c = d->ops->counter;

		for (unsigned j = 0; j < d->ops->ncounters; j++) {
			cr_expect(c[j].name && *c[j].name);
			cr_expect_geq(c[j].offset, sizeof(*d), "%s %s", d->name,
				      c[j].name);
			if (table[i].pointer)
				cr_expect_leq(c[j].offset + sizeof(uint64_t),
					      malloc_usable_size(d), "%s %s",
					      d->name, c[j].name);
			cr_expect_eq(device_count(d, j), 0, "%s %s", d->name,
				     c[j].name);
			for (unsigned k = 0; k < j; k++) {
				cr_expect_str_neq(c[j].name, c[k].name);
				cr_expect_neq(c[j].offset, c[k].offset);
			}
		}
	}
}

/* Not one that never changes: it would tell people nothing. */
Test(contract, counters_of_virtio_count_what_a_driver_does)
{
	for_each_device(i)
	{
		struct device *d = device(&rig, i);
		unsigned chains = 0;

		if (!virtio_at(&rig, i))
			continue;
		while (strcmp(d->ops->counter[chains].name, "chains"))
			chains++;
		use(&rig, i);
		cr_expect_gt(device_count(d, chains), 0, "%s", d->name);
	}
}

Test(contract, reset_equals_fresh)
{
	for_each_device(i)
	{
		struct device *d = device(&rig, i);

		use(&rig, i);
		let_requests_wait(&rig, i);
		d->ops->reset(d);
		cr_expect_eq(differences(d, device(&other, i)), 0, "%s",
			     d->name);
	}
}

Test(contract, quiesce_twice_changes_nothing_more)
{
	for_each_device(i)
	{
		struct device *d = device(&rig, i);
		char once[4096], twice[4096];

		use(&rig, i);
		let_requests_wait(&rig, i);
		if (d->ops->quiesce)
			cr_expect_eq(d->ops->quiesce(d), 0);
		state_print(d->ops->state, d->st, once, sizeof(once));
		if (d->ops->quiesce)
			cr_expect_eq(d->ops->quiesce(d), 0);
		state_print(d->ops->state, d->st, twice, sizeof(twice));
		cr_expect_str_eq(once, twice, "%s", d->name);
		if (d->ops->resume)
			d->ops->resume(d);
		use(&rig, i);
	}
}

/* While the machine is paused its state is read and saved: what the host does
 * meanwhile waits. (What the machine itself does by order, a new VM generation,
 * is no such thing.) */
Test(contract, quiesced_device_is_left_alone_by_the_host)
{
	for_each_device(i)
	{
		struct device *d = device(&rig, i);
		char before[4096], after[4096];

		use(&rig, i);
		let_requests_wait(&rig, i);
		if (!d->ops->quiesce)
			continue;
		cr_expect_eq(d->ops->quiesce(d), 0);
		state_print(d->ops->state, d->st, before, sizeof(before));
		for (unsigned n = 0; n < 100; n++) {
			table[i].poke(&rig, rnd());
			loop_step(&rig.loop, 0);
		}
		state_print(d->ops->state, d->st, after, sizeof(after));
		cr_expect_str_eq(before, after, "%s", d->name);
		d->ops->resume(d);
	}
}

/* Whatever the guest did, the state that results is one that a snapshot may
 * hold: another device takes it as it is. */
Test(contract, state_after_any_use_is_restored_without_difference)
{
	for_each_device(i)
	{
		struct device *a = device(&rig, i), *b = device(&other, i);

		for (unsigned n = 0; n < 300; n++) {
			for (unsigned k = 0; k < 10; k++)
				touch(&rig, i);
			if (a->st)
				memcpy(b->st, a->st, a->ops->state->size);
			cr_assert_eq(b->ops->restored(b), 0, "%s", a->name);
			cr_assert_eq(differences(a, b), 0, "%s", a->name);
		}
	}
}

/* Changes one byte, or all of them. */
static void spoil(struct device *d)
{
	size_t size = d->ops->state->size;
	uint8_t *st = d->st;

	if (!size)
		return;
	if (rnd() % 4)
		st[rnd() % size] = (uint8_t)rnd();
	else
		for (size_t i = 0; i < size; i++)
			st[i] = (uint8_t)rnd();
}

Test(contract, garbage_is_refused_or_harmless)
{
	for_each_device(i)
	{
		struct device *d = device(&rig, i), *b = device(&other, i);

		for (unsigned n = 0; n < ROUNDS; n++) {
			int r;

			spoil(d);
			r = d->ops->restored(d);
			cr_assert(r == 0 || r == -EINVAL, "%s: %d", d->name, r);
			if (d->ops->resume)
				d->ops->resume(d);
			for (unsigned k = 0; k < 8; k++)
				touch(&rig, i);
			if (d->st)
				memcpy(b->st, d->st, d->ops->state->size);
			cr_assert_eq(b->ops->restored(b), 0, "%s", d->name);
		}
	}
}

Test(contract, refused_state_leaves_the_device_as_reset)
{
	for_each_device(i)
	{
		struct device *d = device(&rig, i);
		char refused[8192], reset[8192];

		for (unsigned n = 0; n < ROUNDS; n++) {
			spoil(d);
			if (d->ops->restored(d) != -EINVAL)
				continue;
			state_print(d->ops->state, d->st, refused,
				    sizeof(refused));
			d->ops->reset(d);
			state_print(d->ops->state, d->st, reset, sizeof(reset));
			cr_assert_str_eq(refused, reset, "%s", d->name);
		}
	}
}

static void *hammer(void *arg)
{
	for (unsigned n = 0; n < 20000; n++) {
		uint8_t v = (uint8_t)n;

		bus_write(&rig.bus, 0x4000 + n % 8, &v, 1);
		bus_read(&rig.bus, 0x4000 + n % 8, &v, 1);
		bus_read(&rig.bus, 0x2000, &v, 1);
	}
	return NULL;
}

/* For the thread sanitizer, and against deadlock: vCPUs and the host at once.
 */
Test(contract, devices_stand_two_vcpus_and_the_host_at_once)
{
	pthread_t vcpu[2];

	for (unsigned i = 0; i < 2; i++)
		pthread_create(&vcpu[i], NULL, hammer, NULL);
	for (unsigned n = 0; n < 20000; n++) {
		poke_uart(&rig, n);
		poke_power(&rig, n);
		loop_step(&rig.loop, 0);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(vcpu[i], NULL);
}
