/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's state that came from a file: whether it is one, and whether this
 * host can go on with it. */
#include "vcpu_state.h"

#include <errno.h>

#include "util.h"

int vcpu_state_judge(const struct vcpu_state *s, const char *name,
		     struct fail *why)
{
	const struct vcpu_msrs_state *m = &s->msrs;
	const char *what = NULL;

	if (m->n > VCPU_MAX_MSRS)
		what = "too many MSRs";
	else if (s->xcrs.n > KVM_MAX_XCRS)
		what = "too many XCRs";
	else if (s->cpuid.n > CPUID_MAX_ENTRIES)
		what = "too many CPUID leaves";
	for (uint32_t i = 1; !what && i < m->n; i++)
		for (uint32_t j = 0; j < i; j++)
			if (m->index[i] == m->index[j])
				what = "an MSR that is there twice";
	return what ? fail_set(why, EXIT_INTEGRITY, -EBADMSG, name, NULL, "%s",
			       what)
		    : 0;
}

enum { EAX, EBX, ECX, EDX };

/* Leaves whose bits say what a program may use (SDM volume 2A, CPUID; APM
 * volume 3, E; Documentation/virt/kvm/x86/cpuid.rst). Of `but`, KVM itself
 * shows what the guest has switched on. */
static const struct {
	uint32_t function, index, reg, but;
	const char *name;
} features[] = {
	{ 1, 0, ECX, 1u << 27, "CPUID 1.ECX" },
	{ 1, 0, EDX, 1u << 9, "CPUID 1.EDX" },
	{ 6, 0, EAX, 0, "CPUID 6.EAX" },
	{ 7, 0, EBX, 0, "CPUID 7.EBX" },
	{ 7, 0, ECX, 1u << 4, "CPUID 7.ECX" },
	{ 7, 0, EDX, 0, "CPUID 7.EDX" },
	{ 7, 1, EAX, 0, "CPUID 7.1.EAX" },
	{ 7, 1, EDX, 0, "CPUID 7.1.EDX" },
	{ 0xd, 0, EAX, 0, "CPUID 0xd.EAX" },
	{ 0xd, 0, EDX, 0, "CPUID 0xd.EDX" },
	{ 0xd, 1, EAX, 0, "CPUID 0xd.1.EAX" },
	{ 0xd, 1, ECX, 0, "CPUID 0xd.1.ECX" },
	{ 0x80000001, 0, ECX, 0, "CPUID 0x80000001.ECX" },
	{ 0x80000001, 0, EDX, 0, "CPUID 0x80000001.EDX" },
	{ 0x80000007, 0, EDX, 0, "CPUID 0x80000007.EDX" },
	{ 0x80000008, 0, EBX, 0, "CPUID 0x80000008.EBX" },
	{ 0x80000021, 0, EAX, 0, "CPUID 0x80000021.EAX" },
	{ 0x40000001, 0, EAX, 0, "CPUID 0x40000001.EAX (KVM)" },
};

static uint32_t cpuid_bits(const struct vcpu_cpuid_state *c, uint32_t function,
			   uint32_t index, uint32_t reg)
{
	const uint32_t *of[] = { c->eax, c->ebx, c->ecx, c->edx };

	for (uint32_t i = 0; i < MIN(c->n, (uint32_t)CPUID_MAX_ENTRIES); i++)
		if (c->function[i] == function && c->index[i] == index)
			return of[reg][i];
	return 0;
}

int cpuid_judge(const struct vcpu_cpuid_state *shown,
		const struct vcpu_cpuid_state *here, struct fail *why)
{
	for (uint32_t reg = EBX; reg <= EDX; reg++)
		if (cpuid_bits(shown, 0, 0, reg) != cpuid_bits(here, 0, 0, reg))
			return fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP,
					"processor",
					"restore it on a host with a processor "
					"of that maker",
					"the guest saw another maker's");
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		uint32_t saw = cpuid_bits(shown, features[i].function,
					  features[i].index, features[i].reg);
		uint32_t has = cpuid_bits(here, features[i].function,
					  features[i].index, features[i].reg);
		uint32_t missing = saw & ~has & ~features[i].but;

		if (missing)
			return fail_set(
			    why, EXIT_INCOMPATIBLE, -ENOTSUP, "processor",
			    "restore it on a host that has them; --force-cpu "
			    "tries all the same",
			    "the guest may use features that this host lacks: "
			    "%s bits 0x%x",
			    features[i].name, missing);
	}
	return 0;
}
