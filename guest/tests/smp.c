/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All CPUs add to one number, once under a lock and once atomically. Exits
 * with 0 when both sums are right and every CPU took part.
 */
#include "guest.h"

#define ROUNDS 20000

static struct spinlock lock;
static volatile uint64_t locked;
static uint64_t atomic, took_part;

static void add(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		spin_lock(&lock);
		locked = locked + 1;
		spin_unlock(&lock);
		__atomic_add_fetch(&atomic, 1, __ATOMIC_RELAXED);
	}
	__atomic_add_fetch(&took_part, 1, __ATOMIC_RELAXED);
}

int guest_main(void)
{
	unsigned cpus = smp_start();

	for (unsigned i = 1; i < cpus; i++)
		smp_run(i, add, NULL);
	add(NULL);
	for (unsigned i = 1; i < cpus; i++)
		while (!smp_done(i))
			cpu_relax();
	print("smp: %u of %u CPUs, sums %lu and %lu of %lu\n", cpus,
	      boot_cpus(), locked, atomic, (uint64_t)ROUNDS * cpus);
	return cpus != boot_cpus() || took_part != cpus || locked != atomic ||
	       atomic != (uint64_t)ROUNDS * cpus;
}
