/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All CPUs add to one number under a lock, and once atomically, and exit while
 * they hold it: nothing is lost and nobody is let in twice.
 */
#include "exact.h"

#define ROUNDS 60

static struct spinlock lock;
static volatile uint64_t locked, inside, most;
static uint64_t atomic;

static void add(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		spin_lock(&lock);
		inside++;
		if (inside > most)
			most = inside;
		mark((uint64_t)arg << 8 | i);
		locked = locked + 1;
		inside--;
		spin_unlock(&lock);
		__atomic_add_fetch(&atomic, 1, __ATOMIC_RELAXED);
	}
}

int guest_main(void)
{
	unsigned cpus = smp_start();

	expect("CPUs", cpus, boot_cpus());
	for (unsigned i = 1; i < cpus; i++)
		smp_run(i, add, (void *)(uint64_t)i);
	add(NULL);
	for (unsigned i = 1; i < cpus; i++)
		while (!smp_done(i))
			cpu_relax();
	expect("under the lock", locked, (uint64_t)ROUNDS * cpus);
	expect("atomically", atomic, (uint64_t)ROUNDS * cpus);
	expect("at once", most, 1);
	return exact_end("locks", locked);
}
