/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every CPU at once misuses every virtio device that there is, for `ms=N`
 * milliseconds: resets while requests are on their way, rings moved and laid
 * over each other, descriptors that are half sensible, kicks without end,
 * registers and configuration written with anything. Buffers that a device may
 * write are its own share of RAM, or no RAM at all. In the end each device is
 * reset: then it writes nothing more, and a driver can begin anew. `seed=N`
 * begins another sequence.
 */
#include "virtio.h"

#include "platform.h"

#define DEVICES	   16
#define SHARE	   (64 << 10) /* of a device: rings, then buffers */
#define RINGS	   (32 << 10)
#define QUEUES	   8
#define STATUS	   0x70
#define CONFIG	   0x100
#define SPINS	   20000
#define NO_RAM	   0xc0000000ull
#define MIX	   6364136223846793005
#define DESC_BYTES 16

struct victim {
	struct virtio_dev dev;
	uint64_t rings, data;
	/* As one CPU has set them up last; the other may have moved them. */
	volatile struct {
		uint64_t desc, avail, used;
		uint32_t size;
	} q[QUEUES];
};

static struct victim victim[DEVICES];
static unsigned victims;
static uint64_t end_tsc, first_seed, came_through;

static uint32_t next(uint64_t *seed)
{
	*seed = *seed * MIX + 1442695040888963407;
	return (uint32_t)(*seed >> 33);
}

static bool one_in(uint64_t *seed, unsigned n)
{
	return next(seed) % n == 0;
}

/* Where a ring of queue `i` lies: mostly apart from all others. */
static uint64_t ring(const struct victim *v, unsigned i, uint32_t off,
		     uint64_t *seed)
{
	if (one_in(seed, 20))
		return v->rings + next(seed) % (RINGS / 2) / 16 * 16;
	return v->rings + i * (RINGS / QUEUES) + off;
}

/* An address for a device's use: of its share, or none. */
static uint64_t buffer(const struct victim *v, uint64_t *seed, uint32_t bytes)
{
	if (one_in(seed, 200))
		return NO_RAM + next(seed);
	if (one_in(seed, 200))
		return -(uint64_t)(next(seed) % 4096);
	return v->data + next(seed) % (SHARE - RINGS - bytes);
}

/* ---- registers ---- */

static void set64(const struct victim *v, unsigned reg, uint64_t value)
{
	virtio_set(&v->dev, reg, (uint32_t)value);
	virtio_set(&v->dev, reg + 4, (uint32_t)(value >> 32));
}

static void set_up_queue(struct victim *v, unsigned i, uint64_t *seed)
{
	uint32_t most, size = 1u << (one_in(seed, 8) ? next(seed) % 8
						     : 5 + next(seed) % 3);

	virtio_set(&v->dev, 0x30, i);
	most = virtio_get(&v->dev, 0x34);
	if (!most)
		return;
	v->q[i].size = size = size > most ? most : size;
	v->q[i].desc = ring(v, i, 0, seed);
	v->q[i].avail = ring(v, i, size * 16, seed);
	v->q[i].used = ring(v, i, size * 16 + (size / 2 + 2) * 4, seed);
	if (!one_in(seed, 4))
		memset((void *)v->rings, 0, RINGS);
	virtio_set(&v->dev, 0x38, one_in(seed, 30) ? next(seed) : size);
	set64(v, 0x80, one_in(seed, 30) ? next(seed) : v->q[i].desc);
	set64(v, 0x90, v->q[i].avail);
	set64(v, 0xa0, one_in(seed, 30) ? NO_RAM : v->q[i].used);
	virtio_set(&v->dev, 0x44, 1);
}

static void set_up(struct victim *v, uint64_t *seed)
{
	uint64_t wanted = one_in(seed, 2) ? ~0ull : next(seed);

	if (virtio_begin(&v->dev, wanted))
		return;
	for (unsigned i = 0; i < QUEUES; i++)
		set_up_queue(v, i, seed);
	virtio_go(&v->dev);
}

static void any_register(struct victim *v, uint64_t *seed)
{
	unsigned at =
	    one_in(seed, 2) ? next(seed) % 0x100 : CONFIG + next(seed) % 0x60;
	unsigned bytes = 1u << next(seed) % 4;
	uint64_t value = next(seed) >> next(seed) % 32;

	if (one_in(seed, 2))
		at &= ~3u, bytes = 4;
	if (at >= 0x80 && at < 0xb0) /* rings: not over the program */
		value |= NO_RAM;
	if (one_in(seed, 2))
		mmio_read(v->dev.base + at, bytes);
	else
		mmio_write(v->dev.base + at, bytes, value);
}

/* ---- rings ---- */

static void describe(uint64_t table, unsigned at, uint64_t addr, uint32_t len,
		     unsigned flags, unsigned to)
{
	volatile uint64_t *d = (uint64_t *)(table + at * DESC_BYTES);

	d[0] = addr;
	d[1] = len | (uint64_t)flags << 32 | (uint64_t)to << 48;
}

/* What a request of such a device begins with, more or less. */
static void head(const struct victim *v, uint64_t at, uint64_t *seed)
{
	static const uint8_t types[] = { 0, 1, 4, 8, 11, 13, 0, 1 };
	volatile uint32_t *p = (uint32_t *)at;

	switch (v->dev.id) {
	case VIRTIO_ID_BLK:
		p[0] = types[next(seed) % 8];
		p[2] = one_in(seed, 10) ? next(seed) : next(seed) % 2048;
		p[3] = one_in(seed, 20) ? next(seed) : 0;
		break;
	case VIRTIO_ID_NET:
		p[0] = next(seed) % 6 | (next(seed) % 6) << 8;
		p[1] = next(seed);
		p[2] = next(seed);
		break;
	case VIRTIO_ID_VSOCK: /* to and from our CID, then what may be */
		p[0] = 3, p[1] = 0, p[2] = 2, p[3] = 0;
		p[4] = next(seed) % 4, p[5] = next(seed) % 4;
		p[6] = one_in(seed, 8) ? next(seed) : next(seed) % 64;
		p[7] = 1 | (next(seed) % 9) << 16;
		p[8] = next(seed) % 4;
		p[9] = next(seed) >> next(seed) % 32;
		p[10] = next(seed) >> next(seed) % 32;
		break;
	case VIRTIO_ID_BALLOON: /* pages of its share, or none */
		for (unsigned i = 0; i < 16; i++)
			p[i] = one_in(seed, 4)
				   ? 1u << 20 | next(seed)
				   : (uint32_t)(v->data >> 12) + next(seed) % 8;
		break;
	default:
		for (unsigned i = 0; i < 8; i++)
			p[i] = next(seed) >> next(seed) % 32;
	}
}

static unsigned some_flags(uint64_t *seed, bool in, bool more)
{
	unsigned flags = (in ? 2u : 0) | (more ? 1u : 0);

	return one_in(seed, 100) ? flags ^ 1u << next(seed) % 3 : flags;
}

/* Which descriptors a device of that kind mostly writes: the first, or none. */
static unsigned way(const struct victim *v, unsigned i, uint64_t *seed)
{
	if (one_in(seed, 20))
		return next(seed) % 4;
	if (v->dev.id == VIRTIO_ID_BALLOON)
		return i == 3 ? 0 : 4;
	return i % 2 ? 4 : 0;
}

/* A chain of a few descriptors from `first` on. */
static void chain(struct victim *v, unsigned i, unsigned first, uint64_t *seed)
{
	unsigned n = 1 + next(seed) % 4, size = v->q[i].size;
	uint64_t table = v->q[i].desc, at;
	unsigned in_from =
	    v->dev.id == VIRTIO_ID_BLK ? 1 + next(seed) % 2 : way(v, i, seed);

	if (v->dev.id == VIRTIO_ID_BLK && !one_in(seed, 20))
		n = 2 + next(seed) % 3;
	for (unsigned k = 0; k < n; k++) {
		uint32_t len = !one_in(seed, 4) ? 512u << next(seed) % 4
						: next(seed) % 4096;
		bool last = k + 1 == n;

		if (k == 0 && v->dev.id == VIRTIO_ID_BLK)
			len = 16;
		else if (last && v->dev.id == VIRTIO_ID_BLK)
			len = 1;
		at = buffer(v, seed, 4096);
		if (k == 0 && at < NO_RAM)
			head(v, at & ~3ull, seed), at &= ~3ull;
		describe(table, (first + k) % size, at, len,
			 some_flags(seed, k >= in_from, !last),
			 one_in(seed, 200) ? next(seed)
					   : (first + k + 1) % size);
	}
}

static void kick(const struct victim *v, unsigned i, uint64_t *seed)
{
	unsigned times = one_in(seed, 10) ? 16 : 1;

	while (times--)
		virtio_set(&v->dev, 0x50, i);
}

static void offer(struct victim *v, uint64_t *seed)
{
	unsigned i = next(seed) % (one_in(seed, 4) ? QUEUES : 3);
	unsigned n = 1 + next(seed) % 4;
	volatile uint16_t *avail = (uint16_t *)v->q[i].avail;
	uint32_t size = v->q[i].size;

	if (!size || !avail)
		return;
	for (unsigned k = 0; k < n; k++) {
		unsigned first = next(seed) % size;

		chain(v, i, first, seed);
		avail[2 + (avail[1] + k) % size] =
		    (uint16_t)(one_in(seed, 60) ? next(seed) : first);
	}
	avail[0] = (uint16_t)(one_in(seed, 8) ? 1 : 0);
	avail[1] = (uint16_t)(avail[1] + (one_in(seed, 60) ? next(seed) : n));
	kick(v, i, seed);
}

/* ---- all of it ---- */

static void misuse(struct victim *v, uint64_t *seed)
{
	unsigned what = next(seed) % 100;

	if (what < 10)
		any_register(v, seed);
	else if (what < 15)
		virtio_set(&v->dev, STATUS, 0);
	else if (what < 25 || virtio_get(&v->dev, STATUS) & 64)
		set_up(v, seed);
	else
		for (unsigned n = 1 + what % 4; n; n--)
			offer(v, seed);
}

static void storm(void *arg)
{
	uint64_t seed = first_seed + (uint64_t)arg * 7919, rounds = 0;

	for (; clock_tsc() < end_tsc; rounds++)
		misuse(&victim[next(&seed) % victims], &seed);
	print("ringstorm: CPU %lu: %lu rounds\n", (uint64_t)arg, rounds);
	__atomic_add_fetch(&came_through, 1, __ATOMIC_RELAXED);
}

static void find_victims(void)
{
	const struct boot_range *r;
	uint64_t top;

	top = mem_pool(&r) ? r[0].end : 0;
	for (unsigned i = 0; i < DEVICES; i++) {
		struct victim *v = &victim[victims];

		v->dev.base =
		    PLATFORM_VIRTIO_MMIO + (uint64_t)i * PLATFORM_VIRTIO_BYTES;
		if (virtio_get(&v->dev, 0) != 0x74726976)
			break;
		v->dev.id = virtio_get(&v->dev, 8);
		top -= SHARE;
		if (top < r[0].start)
			guest_panic("too little RAM");
		v->rings = top;
		v->data = top + RINGS;
		victims++;
	}
}

static void expect_quiet(const struct victim *v)
{
	const volatile uint64_t *p = (uint64_t *)v->rings;

	memset((void *)v->rings, 0x55, SHARE);
	for (unsigned i = 0; i < SPINS; i++)
		cpu_relax();
	for (unsigned i = 0; i < SHARE / 8; i++)
		if (p[i] != 0x5555555555555555) {
			print("ringstorm: device %u, offset 0x%x: %lx\n",
			      v->dev.id, i * 8, p[i]);
			guest_panic("it has not let go");
		}
}

static uint64_t number(const char *word, uint64_t otherwise)
{
	char text[24];
	uint64_t n = 0;

	if (!boot_option(word, text, sizeof(text)))
		return otherwise;
	for (const char *p = text; *p >= '0' && *p <= '9'; p++)
		n = n * 10 + (unsigned)(*p - '0');
	return n;
}

int guest_main(void)
{
	unsigned cpus = smp_start();

	mem_map(PLATFORM_VIRTIO_MMIO, DEVICES * PLATFORM_VIRTIO_BYTES);
	find_victims();
	if (!victims)
		guest_panic("no device");
	first_seed = number("seed", 1);
	end_tsc = clock_tsc() + clock_tsc_khz() * number("ms", 1000);
	for (unsigned i = 1; i < cpus; i++)
		smp_run(i, storm, (void *)(uint64_t)i);
	storm(NULL);
	for (unsigned i = 1; i < cpus; i++)
		while (!smp_done(i))
			cpu_relax();
	for (unsigned i = 0; i < victims; i++) {
		virtio_set(&victim[i].dev, STATUS, 0);
		expect_quiet(&victim[i]);
		if (virtio_begin(&victim[i].dev, 0))
			guest_panic("it does not begin anew");
	}
	print("ringstorm: %u devices\n", victims);
	return came_through != cpus;
}
