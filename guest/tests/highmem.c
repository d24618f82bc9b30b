/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes its address to the first and last page of each range of RAM, then
 * reads them all: ranges are apart and whole. Exits with 0 if so, and 2 when
 * there is no RAM above 4 GiB to try.
 */
#include "guest.h"

#define PAGE 4096

int guest_main(void)
{
	const struct boot_range *r;
	unsigned n = mem_pool(&r), high = 0;
	int wrong = 0;

	for (unsigned i = 0; i < n; i++) {
		*(volatile uint64_t *)r[i].start = r[i].start;
		*(volatile uint64_t *)(r[i].end - PAGE) = r[i].end - PAGE;
	}
	for (unsigned i = 0; i < n; i++) {
		wrong += *(volatile uint64_t *)r[i].start != r[i].start;
		wrong +=
		    *(volatile uint64_t *)(r[i].end - PAGE) != r[i].end - PAGE;
		high += r[i].end > PLATFORM_GAP_END;
	}
	print("highmem: %u ranges, %u above 4 GiB, %d wrong\n", n, high, wrong);
	if (wrong)
		return 1;
	return high ? 0 : 2;
}
