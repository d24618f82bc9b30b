/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small devices: the RTC's index and registers, the power block, pvpanic,
 * the keyboard controller, and ports and widths that nobody takes.
 */
#include "exact.h"

#define ROUNDS 24

static uint64_t hash;

static void see(uint16_t port, unsigned bytes)
{
	uint32_t v = port_in(port, bytes);

	mark(v);
	hash = fold(hash, v);
}

/* Not those that tell the time, nor B, whose writes take the time anew. */
static void rtc(unsigned round)
{
	static const uint8_t untimed[] = { 0x0d, 0x0e, 0x30, 0x7f };

	for (unsigned i = 0; i < sizeof(untimed); i++) {
		port_out(PLATFORM_RTC_PORT, 1, untimed[i]);
		mark(i);
		see(PLATFORM_RTC_PORT + 1, 1);
		port_out(PLATFORM_RTC_PORT + 1, 1, round & 0xff);
		see(PLATFORM_RTC_PORT + 1, 1);
	}
}

int guest_main(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		rtc(i);
		see(PLATFORM_POWER_EVENTS, 4);
		see(PLATFORM_POWER_STATUS, 1);
		see(PLATFORM_PVPANIC_PORT, 1);
		see(PLATFORM_I8042_PORT, 1);
		for (unsigned n = 1; n <= 4; n *= 2)
			see(EXACT_PORT, n);
		see(PLATFORM_UART_PORT + 5, 2); /* refused: a byte only */
	}
	return exact_end("ports", hash);
}
