/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC by MSRs: xAPIC to x2APIC, off and on again; its registers keep
 * what was written; self IPIs of all priorities, pending and in service.
 */
#include "exact.h"

#define ROUNDS	      20
#define MSR_APIC_BASE 0x1b
#define ENABLE	      0x800
#define X2APIC	      0x400
#define REG(r)	      (0x800 + (r))
enum {
	TPR = 8,
	EOI = 0xb,
	SVR = 0xf,
	ISR = 0x10,
	IRR = 0x20,
	ICR = 0x30,
	LVT_PMC = 0x34,
	LVT_ERROR = 0x37,
	TIMER_DIV = 0x3e,
	SELF_IPI = 0x3f
};
#define FIRST 0x61
#define STEP  0x11
#define NIRQS 4

static volatile uint64_t order;
static uint64_t hash;

static void on_irq(struct trap_frame *f)
{
	uint64_t vector = (uint64_t)(f->vector + 128);

	order = order << 8 | vector;
	mark_cpl0(cpl0_rdmsr(REG(ISR + vector / 32)));
	/* The next one when it is asked for: see halt.c. */
	cpl0_wrmsr(REG(TPR), vector & 0xf0);
	cpl0_wrmsr(REG(EOI), 0);
}

/* Off, xAPIC, x2APIC: all registers begin anew. */
static uint64_t enable(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t base =
	    cpl0_rdmsr(MSR_APIC_BASE) & ~(uint64_t)(ENABLE | X2APIC);

	cpl0_wrmsr(MSR_APIC_BASE, base);
	mark_cpl0(base);
	cpl0_wrmsr(MSR_APIC_BASE, base | ENABLE);
	mark_cpl0(cpl0_rdmsr(MSR_APIC_BASE));
	cpl0_wrmsr(MSR_APIC_BASE, base | ENABLE | X2APIC);
	mark_cpl0(cpl0_rdmsr(MSR_APIC_BASE));
	cpl0_wrmsr(REG(SVR), 0x1ff);
	return cpl0_rdmsr(MSR_APIC_BASE);
}

static uint64_t registers(uint64_t v, uint64_t b, uint64_t c)
{
	uint64_t h = 0;

	cpl0_wrmsr(REG(LVT_PMC), 0x10000 | (v & 0xff));
	mark_cpl0(v);
	cpl0_wrmsr(REG(LVT_ERROR), 0x10000 | (v & 0x7f));
	cpl0_wrmsr(REG(TIMER_DIV), v & 0xb);
	cpl0_wrmsr(REG(TPR), v & 0xf0);
	mark_cpl0(v);
	h = fold(h, cpl0_rdmsr(REG(LVT_PMC)));
	h = fold(h, cpl0_rdmsr(REG(LVT_ERROR)));
	h = fold(h, cpl0_rdmsr(REG(TIMER_DIV)));
	h = fold(h, cpl0_rdmsr(REG(TPR)));
	h = fold(h, cpl0_rdmsr(REG(2)));   /* id */
	h = fold(h, cpl0_rdmsr(REG(0xd))); /* logical id */
	cpl0_wrmsr(REG(TPR), 0);
	return h;
}

static uint64_t selves(uint64_t a, uint64_t b, uint64_t c)
{
	order = 0;
	for (unsigned i = 0; i < NIRQS; i++) {
		cpl0_wrmsr(REG(SELF_IPI), FIRST + i * STEP);
		mark_cpl0(cpl0_rdmsr(REG(IRR + (FIRST + i * STEP) / 32)));
	}
	for (unsigned i = 0; i < NIRQS; i++) {
		cpl0_wrmsr(REG(TPR), 0);
		cpl0_sleep();
	}
	cpl0_wrmsr(REG(TPR), 0);
	return order;
}

int guest_main(void)
{
	uint64_t want = 0;

	for (unsigned i = NIRQS; i--;)
		want = want << 8 | (FIRST + i * STEP);
	for (unsigned i = 0; i < NIRQS; i++)
		trap_set_handler(FIRST + i * STEP, on_irq);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		expect("mode", at_cpl0(enable, 0, 0, 0) & (ENABLE | X2APIC),
		       ENABLE | X2APIC);
		hash = fold(hash, at_cpl0(registers, i * 0x31 + 0x20, 0, 0));
		expect("order", at_cpl0(selves, 0, 0, 0), want);
		hash = fold(hash, order);
	}
	return exact_end("x2apic", hash);
}
