/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IOAPIC: every pin's entry keeps what was written; the UART's line arrives
 * by an edge and by a level, masked, unmasked, and with its EOI outstanding.
 */
#include "exact.h"

#define ROUNDS	    10
#define VECTOR	    0x60
#define PIN	    PLATFORM_UART_GSI
#define X2APIC_IRR  (0x820 + VECTOR / 32)
#define MASKED	    0x10000
#define LEVEL	    0x8000
#define REMOTE_IRR  0x4000
#define PORT(r)	    ((uint16_t)(PLATFORM_UART_PORT + (r)))
#define IER_THRE    2
#define REGISTER(n) (0x10 + 2 * (n))

static volatile uint64_t taken;
static uint64_t hash, remote_irr;

static uint32_t ioapic_read(uint32_t reg)
{
	*(volatile uint32_t *)PLATFORM_IOAPIC = reg;
	mark_cpl0(reg);
	return *(volatile uint32_t *)(PLATFORM_IOAPIC + 0x10);
}

static void ioapic_write(uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)PLATFORM_IOAPIC = reg;
	mark_cpl0(reg);
	*(volatile uint32_t *)(PLATFORM_IOAPIC + 0x10) = v;
}

static void tpr_set(uint64_t v)
{
	__asm__ volatile("mov %0, %%cr8" ::"r"(v));
}

static void on_irq(void)
{
	taken++;
	remote_irr |= ioapic_read(REGISTER(PIN)) & REMOTE_IRR;
	mark_cpl0(cpl0_inb(PORT(2))); /* IIR: the cause is seen and gone */
	cpl0_outb(PORT(1), 0);
	tpr_set(15);
}

/* One after the other, each where it is asked for: see halt.c. */
static void take_all(void)
{
	for (tpr_set(0); cpl0_rdmsr(X2APIC_IRR) >> VECTOR % 32 & 1; tpr_set(0))
		cpl0_sleep();
}

static uint64_t table(uint64_t v, uint64_t b, uint64_t c)
{
	uint64_t h = 0;

	for (unsigned i = 0; i < PLATFORM_GSI_END; i++) {
		ioapic_write(REGISTER(i) + 1, (uint32_t)(v + i) << 24);
		ioapic_write(REGISTER(i),
			     MASKED | (uint32_t)(v & 1) * LEVEL | (0x40 + i));
	}
	for (unsigned i = 0; i < PLATFORM_GSI_END; i++) {
		h = fold(h, ioapic_read(REGISTER(i)));
		h = fold(h, ioapic_read(REGISTER(i) + 1));
	}
	return h;
}

/* The line is raised while the pin is masked; then it is unmasked. */
static uint64_t line(uint64_t level, uint64_t masked, uint64_t c)
{
	uint64_t before = taken;

	remote_irr = 0;
	ioapic_write(REGISTER(PIN) + 1, 0);
	ioapic_write(REGISTER(PIN),
		     VECTOR | (level ? LEVEL : 0) | (masked ? MASKED : 0));
	cpl0_outb(PORT(1), IER_THRE);
	mark_cpl0(2);
	if (masked)
		ioapic_write(REGISTER(PIN), VECTOR | (level ? LEVEL : 0));
	mark_cpl0(3);
	take_all();
	cpl0_outb(PORT(1), 0);
	(void)cpl0_inb(PORT(2));
	ioapic_write(REGISTER(PIN), MASKED);
	return taken - before;
}

/* Some hosts deliver a level twice, the second time after its EOI: it then has
 * no cause. */
static void expect_level(const char *what, bool masked)
{
	uint64_t n = at_cpl0(line, 1, masked, 0);

	expect(what, n == 1 || n == 2, 1);
	expect("remote IRR of a level", remote_irr, REMOTE_IRR);
}

int guest_main(void)
{
	print("ioapic:\n");
	lapic_init();
	irq_set_handler(VECTOR, on_irq);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		if (i % 5 == 0)
			hash = fold(hash, at_cpl0(table, i, 0, 0));
		expect("edge", at_cpl0(line, 0, 0, 0), 1);
		expect("remote IRR of an edge", remote_irr, 0);
		expect_level("level", false);
		expect_level("level, masked first", true);
		/* An edge while masked may be lost: as the chip has it. */
		at_cpl0(line, 0, 1, 0);
	}
	return exact_end("ioapic", hash);
}
