/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's clock page and the TSC, looked at between exits: neither ever goes
 * back, and both count the same time. Linux, virt/kvm/x86/msr.rst.
 */
#include "exact.h"

#define ROUNDS		     300
#define MSR_SYSTEM_TIME	     0x4b564d01
#define GUEST_STOPPED	     2 /* of flags */
#define FEATURE_CLOCKSOURCE2 (1u << 3)

struct pvclock {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
};

static volatile struct pvclock page GUEST_VOLATILE __attribute__((aligned(64)));
static uint64_t tsc_before GUEST_VOLATILE, ns_before GUEST_VOLATILE;

/* Linux tells its watchdogs then; the harness wants to know, too. */
static void look_for_stop(void)
{
	if (!(page.flags & GUEST_STOPPED))
		return;
	page.flags &= (uint8_t)~GUEST_STOPPED;
	port_out(EXACT_STOPPED, 4, 1);
}

static uint64_t read_ns(void)
{
	uint64_t ns, delta;
	uint32_t version;

	do {
		version = page.version;
		__asm__ volatile("" ::: "memory");
		delta = clock_tsc() - page.tsc;
		delta =
		    page.shift < 0 ? delta >> -page.shift : delta << page.shift;
		ns = page.ns +
		     (uint64_t)((unsigned __int128)delta * page.mul >> 32);
		__asm__ volatile("" ::: "memory");
	} while (version & 1 || version != page.version);
	return ns;
}

int guest_main(void)
{
	uint64_t tsc, ns;
	bool has = cpuid_get(0x40000001, 0).eax & FEATURE_CLOCKSOURCE2;

	if (has)
		msr_write(MSR_SYSTEM_TIME, (uint64_t)&page | 1);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		mark(i);
		tsc = clock_tsc();
		expect("the TSC goes back", tsc < tsc_before, 0);
		tsc_before = tsc;
		if (!has)
			continue;
		look_for_stop();
		ns = read_ns();
		expect("the clock goes back", ns < ns_before, 0);
		ns_before = ns;
	}
	if (has)
		msr_write(MSR_SYSTEM_TIME, 0);
	print("pvclock: %s\n", has ? "kvmclock" : "TSC only");
	return exact_end("pvclock", ROUNDS);
}
