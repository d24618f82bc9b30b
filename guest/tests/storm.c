/* SPDX-License-Identifier: Apache-2.0 */
/* All CPUs end the machine at once, each in a way of its own: CPU n by the
 * letter n of storm= on the command line (exit, reset, panic, triple fault,
 * off). */
#include "guest.h"

static volatile uint64_t go;
static char ways[16];

static void end(void *arg)
{
	char way = ways[(uint64_t)arg];

	while (!go)
		cpu_relax();
	if (way == 'e')
		guest_exit(42);
	else if (way == 'r')
		guest_reset();
	else if (way == 'p')
		guest_panic("storm");
	else if (way == 't')
		guest_triple_fault();
	else
		guest_poweroff();
}

int guest_main(void)
{
	unsigned cpus = smp_start();

	boot_option("storm", ways, sizeof(ways));
	for (unsigned i = 1; i < cpus; i++)
		smp_run(i, end, (void *)(uint64_t)i);
	go = 1;
	end(NULL);
	return 1;
}
