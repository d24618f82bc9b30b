/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses that cross a page: both pages without a device, and RAM's last
 * bytes with what follows RAM. Each half must do what it does alone. Exits
 * with the number of surprises.
 */
#include "guest.h"

#define HOLE  0xd8001000ull
#define VALUE 0x1122334455667788

static int surprises;

static void expect(const char *what, uint64_t got, uint64_t want)
{
	if (got == want)
		return;
	print("crossing: %s: 0x%lx, not 0x%lx\n", what, got, want);
	surprises++;
}

/* The end of the RAM below the gap; what follows is no RAM. */
static uint64_t ram_end(void)
{
	const struct boot_range *r;
	uint64_t end = 0;

	for (unsigned n = boot_memory(&r); n--; r++)
		if (r->type == 1 && r->end <= PLATFORM_GAP_START)
			end = r->end;
	return end;
}

int guest_main(void)
{
	uint64_t end = ram_end();

	mem_map(HOLE - 4096, 8192);
	mem_map(end - 4096, 8192);
	for (unsigned i = 1; i < 8; i++) {
		mmio_write(HOLE - i, 8, VALUE);
		expect("hole", mmio_read(HOLE - i, 8), UINT64_MAX);
		mmio_write(end - 8, 8, 0);
		mmio_write(end - i, 8, VALUE);
		expect("RAM's half written", mmio_read(end - 8, 8),
		       VALUE << (64 - 8 * i));
		expect("RAM's half read", mmio_read(end - i, 8),
		       (VALUE & ((1ull << 8 * i) - 1)) | UINT64_MAX << 8 * i);
		expect("hole, CPL 3", *(volatile uint64_t *)(HOLE - i),
		       UINT64_MAX);
	}
	print("crossing: %d surprises\n", surprises);
	return surprises;
}
