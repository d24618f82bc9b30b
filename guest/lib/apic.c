/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local APIC (x2APIC by MSRs where the CPU has it, else MMIO), IOAPIC, and
 * the LAPIC's timer. Intel SDM 3A, chapter 11; 82093AA data sheet.
 */
#include "cpl0.h"
#include "cpu.h"

#define MSR_APIC_BASE	 0x1b
#define MSR_X2APIC	 0x800
#define MSR_TSC_DEADLINE 0x6e0
#define APIC_BASE_EN	 (1u << 11)
#define APIC_BASE_X2	 (1u << 10)

/* Register numbers: MMIO offset >> 4, MSR - 0x800 */
#define LAPIC_ID	 0x02
#define LAPIC_EOI	 0x0b
#define LAPIC_SVR	 0x0f
#define LAPIC_ICR	 0x30
#define LAPIC_ICR_HIGH	 0x31
#define LAPIC_LVT_TIMER	 0x32
#define LAPIC_LVT_LINT0	 0x35
#define LAPIC_TIMER_INIT 0x38
#define LAPIC_TIMER_NOW	 0x39
#define LAPIC_TIMER_DIV	 0x3e

#define LVT_MASKED  0x10000
#define DIVIDE_BY_1 0x0b
#define ICR_PENDING 0x1000

static bool x2apic;

uint32_t lapic_read_cpl0(uint32_t reg)
{
	if (x2apic)
		return (uint32_t)cpl0_rdmsr(MSR_X2APIC + reg);
	return *(volatile uint32_t *)(uintptr_t)(PLATFORM_LAPIC + reg * 16);
}

void lapic_write_cpl0(uint32_t reg, uint32_t v)
{
	if (x2apic)
		cpl0_wrmsr(MSR_X2APIC + reg, v);
	else
		*(volatile uint32_t *)(uintptr_t)(PLATFORM_LAPIC + reg * 16) =
		    v;
}

void lapic_eoi_cpl0(void)
{
	lapic_write_cpl0(LAPIC_EOI, 0);
}

static uint64_t lapic_init_cpl0(uint64_t want_x2apic, uint64_t b, uint64_t c)
{
	uint64_t base = cpl0_rdmsr(MSR_APIC_BASE) | APIC_BASE_EN;

	if (want_x2apic)
		base |= APIC_BASE_X2;
	cpl0_wrmsr(MSR_APIC_BASE, base);
	x2apic = want_x2apic;
	lapic_write_cpl0(LAPIC_SVR, 0x100 | VECTOR_SPURIOUS);
	/* where a PIC is emulated it would deliver lines below 16, too */
	lapic_write_cpl0(LAPIC_LVT_LINT0, LVT_MASKED);
	return 0;
}

void lapic_init(void)
{
	struct cpuid features = cpuid_get(1, 0);

	at_cpl0(lapic_init_cpl0, (features.ecx >> 21) & 1, 0, 0);
}

bool lapic_is_x2apic(void)
{
	return x2apic;
}

static uint64_t lapic_id_cpl0(uint64_t a, uint64_t b, uint64_t c)
{
	uint32_t id = lapic_read_cpl0(LAPIC_ID);

	return x2apic ? id : id >> 24;
}

uint32_t lapic_id(void)
{
	return (uint32_t)at_cpl0(lapic_id_cpl0, 0, 0, 0);
}

static uint64_t lapic_send_cpl0(uint64_t apic_id, uint64_t icr, uint64_t c)
{
	if (x2apic) {
		cpl0_wrmsr(MSR_X2APIC + LAPIC_ICR, apic_id << 32 | icr);
		return 0;
	}
	lapic_write_cpl0(LAPIC_ICR_HIGH, (uint32_t)apic_id << 24);
	lapic_write_cpl0(LAPIC_ICR, (uint32_t)icr);
	while (lapic_read_cpl0(LAPIC_ICR) & ICR_PENDING)
		cpu_relax();
	return 0;
}

void lapic_send(uint32_t apic_id, uint32_t icr)
{
	at_cpl0(lapic_send_cpl0, apic_id, icr, 0);
}

/* ---- IOAPIC: an index register at 0, a data window at 0x10 ---- */

static void ioapic_write(uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)(uintptr_t)PLATFORM_IOAPIC = reg;
	*(volatile uint32_t *)(uintptr_t)(PLATFORM_IOAPIC + 0x10) = v;
}

static uint64_t ioapic_route_cpl0(uint64_t gsi, uint64_t vector, uint64_t level)
{
	uint32_t entry = 0x10 + (uint32_t)gsi * 2;

	ioapic_write(entry + 1, (uint32_t)lapic_id_cpl0(0, 0, 0) << 24);
	ioapic_write(entry, (uint32_t)vector | (level ? 0x8000 : 0));
	return 0;
}

void ioapic_route(unsigned gsi, unsigned vector, bool level)
{
	at_cpl0(ioapic_route_cpl0, gsi, vector, level);
}

/* ---- timer ---- */

volatile uint64_t timer_ticks GUEST_VOLATILE;
static enum timer_mode timer_mode;
static uint64_t timer_period; /* LAPIC timer counts, or TSC cycles */

static void timer_arm(void)
{
	if (timer_mode == TIMER_DEADLINE)
		cpl0_wrmsr(MSR_TSC_DEADLINE, clock_tsc() + timer_period);
	else
		lapic_write_cpl0(LAPIC_TIMER_INIT, (uint32_t)timer_period);
}

static void timer_handle(void)
{
	timer_ticks++;
	if (timer_mode != TIMER_PERIODIC)
		timer_arm();
}

static uint64_t timer_start_cpl0(uint64_t a, uint64_t b, uint64_t c)
{
	static const uint32_t lvt_mode[] = { 0x20000, 0, 0x40000 };

	lapic_write_cpl0(LAPIC_TIMER_DIV, DIVIDE_BY_1);
	lapic_write_cpl0(LAPIC_LVT_TIMER, VECTOR_TIMER | lvt_mode[timer_mode]);
	/* The SDM's fence between the LVT by MMIO and the deadline's MSR */
	__asm__ volatile("lock orl $0, (%%rsp)" ::: "memory");
	timer_arm();
	return 0;
}

/* The timer counts the APIC bus clock: by KVM's leaf, else KVM's and QEMU's
 * fixed 1 GHz. */
static uint64_t timer_bus_khz(void)
{
	struct cpuid r = cpuid_get(0x40000000, 0);

	if (r.eax >= 0x40000010 && r.eax < 0x40000100) {
		r = cpuid_get(0x40000010, 0);
		if (r.ebx)
			return r.ebx;
	}
	return 1000000;
}

int timer_start(enum timer_mode mode, uint32_t hz)
{
	uint64_t khz;

	if (mode == TIMER_DEADLINE && !(cpuid_get(1, 0).ecx & (1u << 24)))
		return -1;
	lapic_init();
	khz = mode == TIMER_DEADLINE ? clock_tsc_khz() : timer_bus_khz();
	timer_period = hz ? khz * 1000 / hz : 0;
	if (!timer_period ||
	    (mode != TIMER_DEADLINE && timer_period > UINT32_MAX))
		return -1;
	timer_stop();
	timer_mode = mode;
	irq_set_handler(VECTOR_TIMER, timer_handle);
	at_cpl0(timer_start_cpl0, 0, 0, 0);
	return 0;
}

static uint64_t timer_stop_cpl0(uint64_t a, uint64_t b, uint64_t c)
{
	lapic_write_cpl0(LAPIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
	lapic_write_cpl0(LAPIC_TIMER_INIT, 0);
	return 0;
}

void timer_stop(void)
{
	at_cpl0(timer_stop_cpl0, 0, 0, 0);
}

static uint64_t timer_measure_cpl0(uint64_t bus_khz, uint64_t b, uint64_t c)
{
	uint64_t start, cycles;
	uint32_t left, target = UINT32_MAX - (uint32_t)bus_khz * 10;

	lapic_write_cpl0(LAPIC_TIMER_DIV, DIVIDE_BY_1);
	lapic_write_cpl0(LAPIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
	lapic_write_cpl0(LAPIC_TIMER_INIT, UINT32_MAX);
	start = clock_tsc();
	do
		left = lapic_read_cpl0(LAPIC_TIMER_NOW);
	while (left > target);
	cycles = clock_tsc() - start;
	lapic_write_cpl0(LAPIC_TIMER_INIT, 0);
	return cycles * bus_khz / (UINT32_MAX - left);
}

uint64_t timer_measure_tsc_khz(void)
{
	lapic_init();
	return at_cpl0(timer_measure_cpl0, timer_bus_khz(), 0, 0);
}
