/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the TSC counts. Nothing is left in RAM by the asking but the
 * result.
 */
#include "cpl0.h"
#include "cpu.h"

#define MSR_KVM_SYSTEM_TIME_NEW	 0x4b564d01
#define KVM_FEATURE_CLOCKSOURCE2 (1u << 3)

/* Linux, Documentation/virt/kvm/x86/msr.rst */
struct pvclock {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
};

static uint64_t clock_khz GUEST_VOLATILE;

/* KVM writes the page when the vCPU is next entered; the second MSR write is
 * such an exit at the latest. */
static uint64_t clock_ask_kvm(void)
{
	static struct pvclock page __attribute__((aligned(64)));
	volatile struct pvclock *clock = &page;
	uint64_t khz;

	msr_write(MSR_KVM_SYSTEM_TIME_NEW, (uint64_t)&page | 1);
	cpuid_get(0, 0);
	msr_write(MSR_KVM_SYSTEM_TIME_NEW, 0);
	if (!clock->mul)
		return 0;
	/* ns = (cycles << shift) * mul >> 32 */
	khz = (1000000ull << 32) / clock->mul;
	khz = clock->shift < 0 ? khz << -clock->shift : khz >> clock->shift;
	memset(&page, 0, sizeof(page));
	return khz;
}

static bool is_kvm(struct cpuid r)
{
	return r.ebx == 0x4b4d564b && r.ecx == 0x564b4d56 && r.edx == 0x4d;
}

static uint64_t clock_ask_cpuid(void)
{
	struct cpuid r = cpuid_get(0x40000000, 0);
	bool kvm = is_kvm(r);
	uint64_t khz = 0;

	if (r.eax >= 0x40000010 && r.eax < 0x40000100)
		khz = cpuid_get(0x40000010, 0).eax;
	if (!khz && kvm &&
	    (cpuid_get(0x40000001, 0).eax & KVM_FEATURE_CLOCKSOURCE2))
		khz = clock_ask_kvm();
	if (!khz && cpuid_get(0, 0).eax >= 0x15) {
		r = cpuid_get(0x15, 0);
		if (r.eax && r.ebx)
			khz = (uint64_t)r.ecx * r.ebx / r.eax / 1000;
	}
	return khz;
}

uint64_t clock_tsc_khz(void)
{
	if (!clock_khz)
		clock_khz = clock_ask_cpuid();
	if (!clock_khz)
		clock_khz = timer_measure_tsc_khz();
	return clock_khz;
}
