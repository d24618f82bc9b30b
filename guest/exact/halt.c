/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HLT with its wake-up pending already, with interrupts of several priorities
 * waiting for it: none is lost, their order is kept. Each keeps those below it
 * out by TPR until it is asked for the next: else where that comes would depend
 * on the host, if that emulates CPL 0.
 */
#include "exact.h"

#define ROUNDS	 60
#define ICR_SELF 0x44000
#define LOW	 0x60
#define MID	 0x71
#define HIGH	 0x82

static volatile uint64_t order, taken;

static void tpr_set(uint64_t v)
{
	__asm__ volatile("mov %0, %%cr8" ::"r"(v));
}

static void on(uint64_t vector)
{
	taken++;
	order = order << 8 | vector;
	mark_cpl0(order);
	tpr_set(vector >> 4);
}

static void on_low(void)
{
	on(LOW);
}

static void on_mid(void)
{
	on(MID);
}

static void on_high(void)
{
	on(HIGH);
}

static uint64_t round(uint64_t i, uint64_t b, uint64_t c)
{
	uint64_t before = taken, tpr = i % 7 + 1, seen;

	order = 0;
	tpr_set(tpr);
	lapic_send(0, ICR_SELF | LOW);
	mark_cpl0(1);
	lapic_send(0, ICR_SELF | HIGH);
	mark_cpl0(2);
	lapic_send(0, ICR_SELF | MID);
	__asm__ volatile("mov %%cr8, %0" : "=r"(seen));
	expect("CR8", seen, tpr);
	cpl0_sleep(); /* HIGH is always above */
	mark_cpl0(3);
	while (taken - before < 3) {
		tpr_set(0);
		cpl0_sleep();
	}
	tpr_set(0);
	return order;
}

int guest_main(void)
{
	uint64_t hash = 0, got;

	lapic_init();
	irq_set_handler(LOW, on_low);
	irq_set_handler(MID, on_mid);
	irq_set_handler(HIGH, on_high);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		got = at_cpl0(round, i, 0, 0);
		expect("order", got, HIGH << 16 | MID << 8 | LOW);
		hash = fold(hash, got);
	}
	return exact_end("halt", hash);
}
