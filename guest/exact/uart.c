/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The UART sends by its transmitter-empty interrupt, a FIFO at a time, as
 * Linux does: were that interrupt lost, the output would stop. Its registers
 * keep what was written.
 */
#include "exact.h"

#define BYTES	 640
#define FIFO	 16
#define PORT(r)	 ((uint16_t)(PLATFORM_UART_PORT + (r)))
#define IER_THRE 2
#define IIR_THRE 2
#define LCR_DLAB 0x80

static volatile uint64_t sent, interrupts;

static void on_uart(void)
{
	interrupts++;
	while ((cpl0_inb(PORT(2)) & 0xf) == IIR_THRE) {
		if (sent >= BYTES) {
			cpl0_outb(PORT(1), 0);
			return;
		}
		for (unsigned i = 0; i < FIFO; i++, sent++)
			cpl0_outb(PORT(0), sent % 64 == 63
					       ? '\n'
					       : (uint8_t)('A' + sent % 26));
	}
}

static uint64_t start(uint64_t a, uint64_t b, uint64_t c)
{
	cpl0_outb(PORT(1), IER_THRE);
	return 0;
}

static uint64_t registers(uint64_t v, uint64_t b, uint64_t c)
{
	uint64_t hash = 0;

	cpl0_outb(PORT(7), (uint8_t)v); /* scratch */
	cpl0_outb(PORT(3), LCR_DLAB | 3);
	cpl0_outb(PORT(0), (uint8_t)(v + 1));
	cpl0_outb(PORT(1), (uint8_t)(v >> 3));
	hash = fold(hash, cpl0_inb(PORT(0)));
	hash = fold(hash, cpl0_inb(PORT(1)));
	cpl0_outb(PORT(3), 3);
	for (unsigned i = 1; i < 8; i++)
		hash = fold(hash, cpl0_inb(PORT(i)));
	return hash;
}

int guest_main(void)
{
	uint64_t hash = 0;

	print("uart:\n");
	lapic_init();
	irq_set_handler(VECTOR_UART, on_uart);
	ioapic_route(PLATFORM_UART_GSI, VECTOR_UART, false);
	at_cpl0(start, 0, 0, 0);
	while (sent < BYTES)
		irq_wait_change(&sent, sent);
	expect("bytes", sent, BYTES);
	for (uint64_t i = 0; i < 8; i++)
		hash = fold(hash, at_cpl0(registers, i * 37, 0, 0));
	return exact_end("uart", fold(hash, interrupts > 0));
}
