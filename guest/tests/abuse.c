/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every CPU at once reads and writes ports and addresses that it should leave
 * alone, with values from a fixed sequence: all ports below 1792 and some of
 * the others, the serial port's registers most of all, the gap below 4 GiB with
 * the IOAPIC in it. Only what would end or reset the machine is left out. Exits
 * with 0 when all CPUs have come through.
 */
#include "guest.h"

#include "platform.h"

#define ROUNDS	 300
#define GAP	 0xc0000000
#define GAP_SIZE 0x3ee00000 /* up to the local APICs */

static uint64_t came_through;

static uint32_t next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(*seed >> 33);
}

static bool ends_us(uint32_t first, unsigned bytes)
{
	static const uint16_t port[] = {
		PLATFORM_EXIT_PORT,	 PLATFORM_EXIT_PORT + 1,
		PLATFORM_EXIT_PORT + 2,	 PLATFORM_EXIT_PORT + 3,
		PLATFORM_PVPANIC_PORT,	 PLATFORM_I8042_PORT,
		PLATFORM_POWER_PORT + 4, PLATFORM_POWER_PORT + 6,
	};

	for (unsigned i = 0; i < sizeof(port) / sizeof(port[0]); i++)
		if (port[i] >= first && port[i] < first + bytes)
			return true;
	return false;
}

static void use_port(uint32_t port, unsigned bytes, uint32_t v)
{
	port_in((uint16_t)port, bytes);
	if (!ends_us(port, bytes))
		port_out((uint16_t)port, bytes, v);
}

static void abuse(void *arg)
{
	uint64_t seed = (uint64_t)arg;

	for (uint32_t port = 0; port < 65536; port += port < 1792 ? 1 : 4093)
		use_port(port, 1u << next(&seed) % 3, next(&seed));
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = GAP + next(&seed) % (GAP_SIZE - 8);
		unsigned bytes = 1u << next(&seed) % 4;

		use_port(PLATFORM_UART_PORT + next(&seed) % 8, 1, next(&seed));
		if (next(&seed) % 4 == 0)
			at = 0xfec00000 + next(&seed) % 64;
		mmio_write(at, bytes, next(&seed));
		mmio_read(at, bytes);
	}
	__atomic_add_fetch(&came_through, 1, __ATOMIC_RELAXED);
}

int guest_main(void)
{
	unsigned cpus = smp_start();

	mem_map(GAP, 1 << 30);
	irq_disable();
	for (unsigned i = 1; i < cpus; i++)
		smp_run(i, abuse, (void *)(uint64_t)i);
	abuse(NULL);
	for (unsigned i = 1; i < cpus; i++)
		while (!smp_done(i))
			cpu_relax();
	return came_through != cpus;
}
