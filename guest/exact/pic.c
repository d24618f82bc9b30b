/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two 8259s: initialised anew, masks kept, the UART's line through them and
 * LINT0 to the CPU, in service until its EOI. Intel 8259A data sheet.
 */
#include "exact.h"

#define ROUNDS	  40
#define MASTER	  0x20
#define SLAVE	  0xa0
#define BASE	  0x70 /* vectors of the master's lines */
#define LINE	  PLATFORM_UART_GSI
#define PORT(r)	  ((uint16_t)(PLATFORM_UART_PORT + (r)))
#define READ_IRR  0x0a
#define READ_ISR  0x0b
#define EOI	  0x20
#define LINT0	  (*(volatile uint32_t *)(PLATFORM_LAPIC + 0x350))
#define EXTINT	  0x700
#define LINT_MASK 0x10000

static volatile uint64_t taken, in_service;

static uint8_t pic_read(uint8_t what)
{
	cpl0_outb(MASTER, what);
	mark_cpl0(what);
	return cpl0_inb(MASTER);
}

/* No EOI to the LAPIC: it had no part in it. */
static void on_irq(struct trap_frame *f)
{
	taken++;
	in_service = pic_read(READ_ISR);
	mark_cpl0(cpl0_inb(PORT(2)));
	cpl0_outb(PORT(1), 0);
	cpl0_outb(MASTER, EOI);
}

static void program(uint16_t port, uint8_t base, uint8_t cascade, uint8_t mask)
{
	cpl0_outb(port, 0x11);
	cpl0_outb(port + 1, base);
	mark_cpl0(base);
	cpl0_outb(port + 1, cascade);
	mark_cpl0(cascade);
	cpl0_outb(port + 1, 0x01);
	cpl0_outb(port + 1, mask);
}

static uint64_t enable(uint64_t a, uint64_t b, uint64_t c)
{
	cpl0_wrmsr(0x1b, cpl0_rdmsr(0x1b) | 0x800);
	*(volatile uint32_t *)(PLATFORM_LAPIC + 0xf0) = 0x1ff;
	LINT0 = EXTINT;
	return 0;
}

static uint64_t round(uint64_t i, uint64_t b, uint64_t c)
{
	uint64_t before = taken, h = 0;
	uint8_t mask = (uint8_t) ~(1u << LINE);

	program(MASTER, BASE, 4, 0xff);
	program(SLAVE, BASE + 8, 2, (uint8_t)(0xff ^ i));
	mark_cpl0(i);
	h = fold(h, cpl0_inb(SLAVE + 1));
	cpl0_outb(PORT(1), 2); /* the UART's transmitter is empty */
	mark_cpl0(pic_read(READ_IRR));
	cpl0_outb(MASTER + 1, mask);
	mark_cpl0(cpl0_inb(MASTER + 1));
	take_interrupts();
	cpl0_outb(MASTER + 1, 0xff);
	cpl0_outb(PORT(1), 0);
	h = fold(h, pic_read(READ_ISR));
	return fold(h, taken - before);
}

int guest_main(void)
{
	uint64_t hash = 0;

	print("pic:\n");
	trap_set_handler(BASE + LINE, on_irq);
	at_cpl0(enable, 0, 0, 0);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		hash = fold(hash, at_cpl0(round, i, 0, 0));
		expect("taken", taken, i + 1);
		expect("in service", in_service, 1 << LINE);
	}
	LINT0 = LINT_MASK | EXTINT;
	return exact_end("pic", hash);
}
