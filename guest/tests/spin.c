/* SPDX-License-Identifier: Apache-2.0 */
/* Never leaves the CPU: a loop at CPL 3, or at CPL 0 with the word cpl0. */
#include "guest.h"

static uint64_t spin(uint64_t a, uint64_t b, uint64_t c)
{
	volatile uint64_t rounds = 0;

	while (++rounds)
		;
	return 0;
}

int guest_main(void)
{
	char none[1];

	print("spin: begins\n");
	guest_ready();
	if (boot_option("cpl0", none, sizeof(none)))
		at_cpl0(spin, 0, 0, 0);
	irq_disable();
	return (int)spin(0, 0, 0);
}
