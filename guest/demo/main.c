/* SPDX-License-Identifier: Apache-2.0 */
/* The demo guest. */
#include "guest.h"

const char guest_early[] = "t";

int guest_main(void)
{
	const struct boot_range *r;
	uint64_t bytes = 0;

	for (unsigned n = boot_memory(&r); n--; r++)
		if (r->type == 1)
			bytes += r->end - r->start;
	print("intype demo guest: %u CPUs, %lu MiB, type help\n", boot_cpus(),
	      (bytes + 0xfffff) >> 20);
	return 0;
}
