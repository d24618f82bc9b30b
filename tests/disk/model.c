/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random requests, many on their way, against an array. Those that share a
 * sector are never on their way together, unless both read: of these the
 * order is nobody's promise. Those that share a block are.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"
#include "util.h"

#define SECTORS	  1533 /* the last block is short */
#define BYTES	  (SECTORS * 512)
#define MAX_LEN	  40
#define IN_FLIGHT 24

struct slot {
	struct ask a;
	uint64_t sector, count;
	enum disk_op op;
	bool used;
	uint8_t data[MAX_LEN * 512];
};

static uint8_t model[BYTES];
static struct slot slots[IN_FLIGHT];
static uint64_t seed;

static uint64_t rnd(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

static bool free_range(uint64_t sector, uint64_t count, bool writes)
{
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		const struct slot *s = &slots[i];

		if (s->used && s->op != DISK_FLUSH &&
		    (writes || s->op != DISK_READ) &&
		    sector < s->sector + s->count && s->sector < sector + count)
			return false;
	}
	return true;
}

static void begin(struct rig *r, struct slot *s)
{
	static const enum disk_op ops[] = {
		DISK_READ,  DISK_READ,	DISK_READ,    DISK_WRITE,  DISK_WRITE,
		DISK_WRITE, DISK_WRITE, DISK_DISCARD, DISK_ZEROES, DISK_FLUSH
	};

	s->op = ops[rnd(ARRAY_SIZE(ops))];
	s->count = 1 + (rnd(3) ? rnd(9) : rnd(MAX_LEN));
	s->sector = rnd(SECTORS - s->count + 1);
	if (s->op != DISK_FLUSH &&
	    !free_range(s->sector, s->count, s->op != DISK_READ))
		return;
	if (s->op == DISK_WRITE)
		for (uint64_t i = 0; i < s->count * 512; i++)
			s->data[i] = (uint8_t)rnd(256);
	s->used = true;
	ask_begin(r, &s->a, s->op, s->sector * 512,
		  s->op == DISK_FLUSH ? 0 : s->count * 512, s->data,
		  1 + (unsigned)rnd(40));
}

static void end(struct slot *s)
{
	uint8_t *m = model + s->sector * 512;
	size_t n = s->count * 512;

	cr_assert_eq(s->a.result, 0, "op %d: %d", s->op, s->a.result);
	if (s->op == DISK_READ)
		cr_assert_eq(memcmp(m, s->data, n), 0, "sector %llu, %llu long",
			     (unsigned long long)s->sector,
			     (unsigned long long)s->count);
	else if (s->op == DISK_WRITE)
		memcpy(m, s->data, n);
	else if (s->op != DISK_FLUSH)
		memset(m, 0, n);
	s->used = false;
}

static void reap(void)
{
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		if (slots[i].used && slots[i].a.over)
			end(&slots[i]);
}

static void check_all(struct rig *r)
{
	static uint8_t all[BYTES];

	cr_assert_eq(ask(r, DISK_READ, 0, BYTES, all), 0);
	cr_assert_eq(memcmp(all, model, BYTES), 0);
}

static struct io_bend bend(const struct disk_io_op *op)
{
	return (struct io_bend){ .at_most = rnd(8) ? 0 : 1 + rnd(5000) };
}

static void run(struct rig *r)
{
	for (uint64_t i = 0; i < BYTES; i++)
		model[i] = rig_pattern(i);
	for (unsigned step = 0; step < 6000; step++) {
		struct slot *s = &slots[rnd(IN_FLIGHT)];

		if (!s->used)
			begin(r, s);
		if (rnd(4) == 0)
			rig_commit(r);
		if (rnd(3) == 0)
			cr_assert_eq(loop_step(&r->loop, 0), 0);
		if (rnd(500) == 0)
			rig_make_cold(r);
		if (rnd(1000) == 0) {
			rig_drain(r);
			reap();
			cr_assert_eq(ask(r, DISK_FLUSH, 0, 0, NULL), 0);
			rig_reopen(r);
			check_all(r);
		}
		reap();
	}
	rig_drain(r);
	reap();
	check_all(r);
}

static void run_seeded(struct rig *r)
{
	io_bend = bend;
	run(r);
}

Test(disk_model, disk_equals_an_array_under_random_requests)
{
	const char *from = getenv("TINTYPE_SEED");
	const char *runs = getenv("TINTYPE_MODEL_RUNS");
	uint64_t first = from ? strtoull(from, NULL, 0) : now_ns();
	unsigned n = runs ? (unsigned)atoi(runs) : 3;

	for (unsigned i = 0; i < n; i++) {
		seed = first + i;
		printf("# TINTYPE_SEED=%llu\n", (unsigned long long)seed);
		fflush(stdout);
		rig_each(run_seeded, BYTES);
	}
}
