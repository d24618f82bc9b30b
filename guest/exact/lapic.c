/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC by MMIO: its registers keep what was written, and interrupts
 * to itself by physical, flat and clustered logical ids come, or do not.
 */
#include "exact.h"

#define ROUNDS	 24
#define VECTOR	 0x60
#define LAPIC(r) (*(volatile uint32_t *)(uintptr_t)(PLATFORM_LAPIC + (r)))
enum {
	TPR = 0x80,
	EOI = 0xb0,
	LDR = 0xd0,
	DFR = 0xe0,
	SVR = 0xf0,
	ICR = 0x300,
	ICR2 = 0x310,
	LVT_PMC = 0x340,
	LVT_LINT1 = 0x360,
	LVT_ERROR = 0x370,
	TIMER_DIV = 0x3e0
};
#define MSR_APIC_BASE 0x1b
#define LOGICAL	      0x800
#define IRR_WORD      (0x200 + VECTOR / 32 * 0x10)

static volatile uint64_t taken;
static uint64_t hash;

static void on_irq(struct trap_frame *f)
{
	taken++;
	mark_cpl0(taken);
	LAPIC(EOI) = 0;
}

static uint64_t enable(uint64_t a, uint64_t b, uint64_t c)
{
	cpl0_wrmsr(MSR_APIC_BASE, cpl0_rdmsr(MSR_APIC_BASE) | 0x800);
	LAPIC(SVR) = 0x1ff;
	return 0;
}

/* How many came of one sent to `dest`. */
static uint64_t send(uint64_t dest, uint64_t icr, uint64_t c)
{
	uint64_t before = taken;

	LAPIC(ICR2) = (uint32_t)dest << 24;
	LAPIC(ICR) = (uint32_t)icr | VECTOR;
	mark_cpl0(LAPIC(IRR_WORD));
	take_interrupts();
	return taken - before;
}

static uint64_t registers(uint64_t v, uint64_t b, uint64_t c)
{
	static const uint16_t reg[] = { TPR, LVT_PMC, LVT_LINT1, LVT_ERROR,
					TIMER_DIV };
	uint64_t h = 0;

	for (unsigned i = 0; i < sizeof(reg) / sizeof(*reg); i++) {
		LAPIC(reg[i]) = reg[i] == TIMER_DIV ? v & 0xb
				: reg[i] == TPR	    ? v & 0x30
						    : 0x10000 | (v & 0xff);
		mark_cpl0(v);
		h = fold(h, LAPIC(reg[i]));
	}
	LAPIC(TPR) = 0;
	return h;
}

static uint64_t logical(uint64_t flat, uint64_t id, uint64_t c)
{
	LAPIC(DFR) = flat ? 0xffffffff : 0x0fffffff;
	LAPIC(LDR) = (uint32_t)id << 24;
	mark_cpl0(LAPIC(LDR));
	mark_cpl0(LAPIC(DFR));
	return 0;
}

static void expect_sent(const char *what, uint64_t dest, uint64_t icr,
			uint64_t want)
{
	uint64_t n = at_cpl0(send, dest, icr, 0);

	expect(what, n, want);
	hash = fold(hash, n);
}

int guest_main(void)
{
	trap_set_handler(VECTOR, on_irq);
	at_cpl0(enable, 0, 0, 0);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		hash = fold(hash, at_cpl0(registers, i * 0x25 + 0x40, 0, 0));
		at_cpl0(logical, 1, 1ull << (i & 7), 0);
		expect_sent("physical", 0, 0x4000, 1);
		expect_sent("flat", 1ull << (i & 7), 0x4000 | LOGICAL, 1);
		expect_sent("flat, another", 1ull << ((i + 1) & 7),
			    0x4000 | LOGICAL, 0);
		at_cpl0(logical, 0, (i & 7) << 4 | 1ull << (i & 3), 0);
		expect_sent("cluster", (i & 7) << 4 | 1ull << (i & 3),
			    0x4000 | LOGICAL, 1);
		expect_sent("cluster, another",
			    ((i + 1) & 7) << 4 | 1ull << (i & 3),
			    0x4000 | LOGICAL, 0);
		expect_sent("shorthand", 0, 0x44000, 1);
	}
	return exact_end("lapic", hash);
}
