/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NMIs from the CPU to itself: taken with interrupts off; one that comes in
 * the handler waits until its IRET, and one more is merged with it.
 */
#include "exact.h"

#define ROUNDS	 40
#define ICR_NMI	 0x44400 /* to itself */
#define ICR_SELF 0x44000
#define VECTOR	 0x60

static volatile uint64_t nmis, irqs, depth, deepest;
static volatile bool again;

static void on_nmi(struct trap_frame *f)
{
	nmis++;
	depth++;
	if (depth > deepest)
		deepest = depth;
	mark_cpl0(nmis);
	if (again) {
		again = false;
		lapic_send(0, ICR_NMI);
		mark_cpl0(0x10000 | nmis);
		lapic_send(0, ICR_NMI);
		mark_cpl0(0x20000 | nmis);
	}
	depth--;
}

static void on_irq(void)
{
	irqs++;
	mark_cpl0(0x30000 | irqs);
}

/* With an interrupt pending, too. */
static uint64_t round(uint64_t i, uint64_t b, uint64_t c)
{
	lapic_send(0, ICR_SELF | VECTOR);
	again = true;
	mark_cpl0(i);
	lapic_send(0, ICR_NMI);
	mark_cpl0(i);
	take_interrupts();
	mark_cpl0(i);
	return 0;
}

int guest_main(void)
{
	uint64_t hash = 0;

	lapic_init();
	trap_set_handler(VECTOR_NMI, on_nmi);
	irq_set_handler(VECTOR, on_irq);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t before = nmis;

		at_cpl0(round, i, 0, 0);
		expect("NMIs", nmis - before, 2);
		expect("interrupts", irqs, i + 1);
		hash = fold(hash, nmis << 8 | irqs);
	}
	expect("NMI within an NMI", deepest, 1);
	return exact_end("nmi", hash);
}
