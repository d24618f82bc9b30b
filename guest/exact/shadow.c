/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interrupt shadow: one instruction after STI, and after MOV to SS, no
 * interrupt comes, although one is pending; that instruction exits. The order
 * of the exits is checked by what the handler sees.
 */
#include "exact.h"

#define ROUNDS	 60
#define ICR_SELF 0x44000
#define VECTOR	 0x60

static volatile uint64_t taken;
static uint64_t hash;

static void on_irq(void)
{
	taken++;
	mark_cpl0(0x1000 | taken);
}

/* What was taken when the instruction behind STI had been executed, and one
 * later. */
static uint64_t after_sti(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t before = taken, in_shadow;

	lapic_send(0, ICR_SELF | VECTOR);
	mark_cpl0(1);
	__asm__ volatile("sti\n\t"
			 "outl %%eax, %%dx\n\t"
			 "cli"
			 :
			 : "a"(2), "d"(EXACT_PORT)
			 : "memory");
	/* KVM may look for interrupts before CLI or not at all until the next
	 * STI: both are right; but never before the OUT. */
	in_shadow = taken - before;
	mark_cpl0(in_shadow);
	take_interrupts();
	return taken - before;
}

/* The interrupt is pending before MOV SS; interrupts are on. */
static uint64_t after_mov_ss(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t before = taken;

	lapic_send(0, ICR_SELF | VECTOR);
	mark_cpl0(3);
	__asm__ volatile("mov %%ss, %%ecx\n\t"
			 "sti\n\t"
			 "mov %%ecx, %%ss\n\t"
			 "outl %%eax, %%dx\n\t"
			 "nop\n\t"
			 "cli"
			 :
			 : "a"(4), "d"(EXACT_PORT)
			 : "ecx", "memory");
	mark_cpl0(taken - before);
	return taken - before;
}

int guest_main(void)
{
	lapic_init();
	irq_set_handler(VECTOR, on_irq);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t n = at_cpl0(after_sti, 0, 0, 0);

		expect("interrupts after STI", n, 1);
		n = at_cpl0(after_mov_ss, 0, 0, 0);
		expect("interrupts after MOV SS", n, 1);
		hash = fold(hash, taken);
	}
	return exact_end("shadow", hash);
}
