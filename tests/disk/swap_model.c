/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random requests, many on their way, to a disk whose heads are swapped, sealed
 * and given up by another thread meanwhile, against an array.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "swaptest.h"
#include "util.h"

#define SECTORS	  (DISK_BYTES / 512)
#define MAX_LEN	  40
#define IN_FLIGHT 12

struct slot {
	struct ask a;
	uint64_t sector, count;
	enum disk_op op;
	bool used;
	uint8_t data[MAX_LEN * 512];
};

static struct swaptest s;
static uint8_t model[DISK_BYTES], all[DISK_BYTES];
static struct slot slots[IN_FLIGHT];
static uint64_t seed;

static uint64_t rnd(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

/* ---- requests ---- */

/* Those that share a sector and do not both read have no order. */
static bool is_free(uint64_t sector, uint64_t count, bool writes)
{
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		const struct slot *x = &slots[i];

		if (x->used && x->op != DISK_FLUSH &&
		    (writes || x->op != DISK_READ) &&
		    sector < x->sector + x->count && x->sector < sector + count)
			return false;
	}
	return true;
}

static void begin(struct slot *x)
{
	static const enum disk_op ops[] = { DISK_READ,	  DISK_READ,
					    DISK_WRITE,	  DISK_WRITE,
					    DISK_DISCARD, DISK_FLUSH };

	x->op = ops[rnd(ARRAY_SIZE(ops))];
	x->count = 1 + rnd(MAX_LEN);
	x->sector = rnd(SECTORS - x->count + 1);
	if (x->op != DISK_FLUSH &&
	    !is_free(x->sector, x->count, x->op != DISK_READ))
		return;
	for (uint64_t i = 0; x->op == DISK_WRITE && i < x->count * 512; i++)
		x->data[i] = (uint8_t)rnd(256);
	x->used = true;
	ask_begin(&s.rig, &x->a, x->op, x->sector * 512,
		  x->op == DISK_FLUSH ? 0 : x->count * 512, x->data,
		  1 + (unsigned)rnd(20));
}

static void end(struct slot *x)
{
	uint8_t *m = model + x->sector * 512;
	size_t n = x->count * 512;

	cr_assert_eq(x->a.result, 0, "op %d: %d", x->op, x->a.result);
	if (x->op == DISK_READ)
		cr_assert_eq(memcmp(m, x->data, n), 0, "sector %llu, %llu long",
			     (unsigned long long)x->sector,
			     (unsigned long long)x->count);
	else if (x->op == DISK_WRITE)
		memcpy(m, x->data, n);
	else if (x->op == DISK_DISCARD)
		memset(m, 0, n);
	x->used = false;
}

static void reap(void)
{
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		if (slots[i].used && slots[i].a.over)
			end(&slots[i]);
}

static void use(unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		struct slot *x = &slots[rnd(IN_FLIGHT)];

		if (!x->used)
			begin(x);
		if (rnd(3) == 0)
			rig_commit(&s.rig);
		if (rnd(3) == 0)
			swaptest_step(&s);
		reap();
	}
}

static void drain(void)
{
	rig_drain(&s.rig);
	reap();
}

static void check(void)
{
	drain();
	cr_assert_eq(ask(&s.rig, DISK_READ, 0, DISK_BYTES, all), 0);
	cr_assert_eq(memcmp(all, model, DISK_BYTES), 0);
}

/* ---- the writer ---- */

struct job {
	int (*run)(struct swaptest *s);
	int result;
	atomic_bool over;
	pthread_t thread;
};

static void *run_job(void *ctx)
{
	struct job *j = ctx;

	j->result = j->run(&s);
	atomic_store(&j->over, true);
	return NULL;
}

/* On another thread, while the disk is used. */
static int by_writer(int (*run)(struct swaptest *s), unsigned cancel_in)
{
	struct job j = { .run = run };

	atomic_store(&s.cancel, false);
	cr_assert_eq(pthread_create(&j.thread, NULL, run_job, &j), 0);
	for (unsigned i = 0; !atomic_load(&j.over); i++) {
		if (i == cancel_in)
			atomic_store(&s.cancel, true);
		use(1);
	}
	cr_assert_eq(pthread_join(j.thread, NULL), 0);
	return j.result;
}

static void one_capture(void)
{
	bool cancels = rnd(4) == 0;

	taker_make(&s);
	if (by_writer(engine_prepare, cancels ? 0 : UINT_MAX)) {
		cr_assert(cancels, "%s", s.dir.why.message);
		return;
	}
	use((unsigned)rnd(20));
	if (rnd(8) == 0) {
		disk_set_abandon(s.set);
		return;
	}
	drain();
	disk_set_swap(s.set);
	use((unsigned)rnd(20));
	if (rnd(8) == 0) {
		disk_set_abandon(s.set);
		return;
	}
	cancels = rnd(4) == 0;
	if (by_writer(engine_seal, cancels ? (unsigned)rnd(20) : UINT_MAX)) {
		cr_assert(cancels, "%s", s.dir.why.message);
		disk_set_abandon(s.set);
		return;
	}
	disk_set_adopt(s.set);
	use((unsigned)rnd(20));
	if (rnd(3))
		taker_keep(&s);
}

static void run(enum disk_io_way way, unsigned captures)
{
	dirtest_init(&s.dir, 1);
	swaptest_open(&s, way);
	memset(model, 0, sizeof(model));
	for (unsigned i = 0; i < captures; i++) {
		use(30);
		one_capture();
		if (rnd(10) == 0)
			check();
		if (rnd(20) == 0) {
			drain();
			swaptest_close(&s);
			swaptest_open(&s, way);
			check();
		}
	}
	check();
	drain();
	swaptest_close(&s);
	dirtest_fini(&s.dir);
}

Test(swap_model, disk_equals_an_array_while_its_heads_are_swapped)
{
	const char *from = getenv("TINTYPE_SEED");
	const char *runs = getenv("TINTYPE_MODEL_RUNS");
	uint64_t first = from ? strtoull(from, NULL, 0) : now_ns();
	unsigned n = runs ? (unsigned)atoi(runs) : 2;

	for (unsigned i = 0; i < n; i++) {
		seed = first + i;
		printf("# TINTYPE_SEED=%llu\n", (unsigned long long)seed);
		fflush(stdout);
		run(DISK_IO_BEST, 60);
		run(DISK_IO_NO_RING, 60);
	}
}
