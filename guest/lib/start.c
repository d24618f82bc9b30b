/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first code at CPL 3, and every way a guest ends.
 */
#include "cpl0.h"
#include "cpu.h"

void guest_start(void)
{
	mem_init();
	guest_exit((uint8_t)guest_main());
}

static uint64_t end_cpl0(uint64_t port, uint64_t bytes, uint64_t v)
{
	if (bytes == 4)
		cpl0_outl((uint16_t)port, (uint32_t)v);
	else
		cpl0_outb((uint16_t)port, (uint8_t)v);
	cpl0_halt();
}

static uint64_t triple_cpl0(uint64_t halt, uint64_t b, uint64_t c)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none;

	__asm__ volatile("lidt %0\n\tud2" ::"m"(none));
	__builtin_unreachable();
}

/* Asks the machine to end; where nothing listens, a triple fault ends it. */
static void __attribute__((noreturn))
end(uint16_t port, unsigned bytes, uint32_t v)
{
	at_cpl0(end_cpl0, port, bytes, v);
	__builtin_unreachable();
}

void guest_exit(uint8_t code)
{
	end(PLATFORM_EXIT_PORT, 4, code);
}

void guest_triple_fault(void)
{
	at_cpl0(triple_cpl0, 0, 0, 0);
	__builtin_unreachable();
}

/* Outside tintype nothing is at these ports: then a triple fault ends it. */
void guest_poweroff(void)
{
	port_out(PLATFORM_POWER_SLEEP, 1, PLATFORM_SLEEP_TYPE_S5 << 2 | 0x20);
	guest_triple_fault();
}

void guest_reset(void)
{
	port_out(PLATFORM_POWER_RESET, 1, PLATFORM_RESET_VALUE);
	port_out(PLATFORM_I8042_PORT, 1, 0xfe);
	guest_triple_fault();
}

void guest_panic(const char *why)
{
	print("guest: panic: %s\n", why);
	end(PLATFORM_PVPANIC_PORT, 1, 1);
}

void guest_ready(void)
{
	port_out(PLATFORM_POWER_READY, 1, 1);
}

static void power_handle(void)
{
	uint32_t events = cpl0_inl(PLATFORM_POWER_EVENTS);

	if (events == UINT32_MAX || !(events & PLATFORM_EVENT_POWER_BUTTON))
		return;
	print("power button\n");
	guest_poweroff();
}

void guest_watch_power_button(void)
{
	lapic_init();
	irq_set_handler(VECTOR_POWER, power_handle);
	ioapic_route(PLATFORM_POWER_GSI, VECTOR_POWER, false);
}
