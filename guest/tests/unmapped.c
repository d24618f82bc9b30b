/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes where no device is, in every width: reads give all ones,
 * writes nothing, and the guest goes on. Exits with the number of surprises.
 */
#include "guest.h"

#define PORT 0x1230
#define HOLE 0xd8000000
#define HIGH (1ull << 38)

static int surprises;

static void expect(const char *what, unsigned bytes, uint64_t got)
{
	uint64_t want = bytes == 8 ? UINT64_MAX : (1ull << bytes * 8) - 1;

	if (got == want)
		return;
	print("unmapped: %s, %u bytes: 0x%lx\n", what, bytes, got);
	surprises++;
}

int guest_main(void)
{
	mem_map(HOLE, 8);
	mem_map(HIGH, 8);
	for (unsigned bytes = 1; bytes <= 4; bytes *= 2) {
		port_out(PORT, bytes, 0x12345678);
		expect("port", bytes, port_in(PORT, bytes));
		expect("port 0xffff", bytes, port_in(0xffff, bytes));
	}
	for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
		mmio_write(HOLE, bytes, 0x1122334455667788);
		expect("gap", bytes, mmio_read(HOLE, bytes));
		mmio_write(HIGH, bytes, 0x1122334455667788);
		expect("high", bytes, mmio_read(HIGH, bytes));
	}
	/* and from CPL 3 */
	expect("gap, CPL 3", 4, *(volatile uint32_t *)HOLE);
	print("unmapped: %d surprises\n", surprises);
	return surprises;
}
