/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes KVM's supported CPUID into that of one package of single cores. */
#include "cpuid.h"

#include <errno.h>
#include <string.h>

#include "util.h"

#define LEAF1_ECX_MONITOR      (1u << 3)
#define LEAF1_ECX_VMX	       (1u << 5)
#define LEAF1_ECX_X2APIC       (1u << 21)
#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_HYPERVISOR   (1u << 31)
#define LEAF1_EDX_HTT	       (1u << 28)
#define EXT1_ECX_CMP_LEGACY    (1u << 1)
#define EXT1_ECX_SVM	       (1u << 2)

/* Levels of leaf 0xb, in ECX bits 15:8 */
#define TOPOLOGY_SMT  1
#define TOPOLOGY_CORE 2

struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *c, uint32_t function,
				    uint32_t index)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == function &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) ||
		     e->index == index))
			return e;
	}
	return NULL;
}

static void remove_leaf(struct kvm_cpuid2 *c, uint32_t function)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function != function)
			c->entries[n++] = c->entries[i];
	c->nent = n;
}

static int add(struct kvm_cpuid2 *c, const struct kvm_cpuid_entry2 *e)
{
	if (c->nent == CPUID_MAX_ENTRIES)
		return -E2BIG;
	c->entries[c->nent++] = *e;
	return 0;
}

/* Bits that hold the numbers 0 .. n-1. */
static uint32_t bits_for(unsigned n)
{
	return n <= 1 ? 0 : 32 - (uint32_t)__builtin_clz(n - 1);
}

static int shape_topology_leaf(struct kvm_cpuid2 *c, unsigned cpus)
{
	struct kvm_cpuid_entry2 level[] = {
		{ .ebx = 1, .ecx = TOPOLOGY_SMT << 8 },
		{ .eax = bits_for(cpus),
		  .ebx = cpus,
		  .ecx = TOPOLOGY_CORE << 8 | 1 },
		{ .ecx = 2 },
	};
	struct kvm_cpuid_entry2 *max = cpuid_find(c, 0, 0);

	remove_leaf(c, 0xb);
	remove_leaf(c, 0x1f); /* its levels would have to say the same */
	if (!max || max->eax < 0xb)
		return 0;
	for (uint32_t i = 0; i < ARRAY_SIZE(level); i++) {
		level[i].function = 0xb;
		level[i].index = i;
		level[i].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		if (add(c, &level[i]))
			return -E2BIG;
	}
	return 0;
}

/* EAX of the cache leaves 4 (Intel) and 0x8000001d (AMD): who shares a cache.
 * The last level is everybody's, the others are private. */
static uint32_t share_cache(uint32_t eax, unsigned cpus, bool cores)
{
	uint32_t level = eax >> 5 & 7;
	uint32_t sharing = level >= 3 ? MIN(cpus, 4096u) - 1 : 0;

	eax = (eax & 0x3fff) | sharing << 14;
	if (cores)
		eax |= (MIN(cpus, 64u) - 1) << 26;
	return eax;
}

static void shape_entry(struct kvm_cpuid_entry2 *e, unsigned cpus,
			bool tsc_deadline)
{
	switch (e->function) {
	case 1:
		e->ecx &= ~(LEAF1_ECX_MONITOR | LEAF1_ECX_VMX);
		e->ecx |= LEAF1_ECX_HYPERVISOR | LEAF1_ECX_X2APIC;
		if (tsc_deadline)
			e->ecx |= LEAF1_ECX_TSC_DEADLINE;
		e->ebx = (e->ebx & 0xff00ffff) | MIN(cpus, 255u) << 16;
		e->edx &= ~LEAF1_EDX_HTT;
		e->edx |= cpus > 1 ? LEAF1_EDX_HTT : 0;
		break;
	case 4:
		if (e->eax & 0x1f)
			e->eax = share_cache(e->eax, cpus, true);
		break;
	case 0xa:	 /* PMU */
	case 0x80000022: /* AMD PMU v2 */
	case 0x8000000a: /* SVM */
		e->eax = e->ebx = e->ecx = e->edx = 0;
		break;
	case 0x80000001:
		e->ecx &= ~(EXT1_ECX_SVM | EXT1_ECX_CMP_LEGACY);
		e->ecx |= cpus > 1 ? EXT1_ECX_CMP_LEGACY : 0;
		break;
	case 0x80000008:
		e->ecx = bits_for(cpus) << 12 | (MIN(cpus, 256u) - 1);
		break;
	case 0x8000001d:
		if (e->eax & 0x1f)
			e->eax = share_cache(e->eax, cpus, false);
		break;
	default:
		break;
	}
}

int cpuid_shape(struct kvm_cpuid2 *c, unsigned cpus, bool tsc_deadline)
{
	for (uint32_t i = 0; i < c->nent; i++)
		shape_entry(&c->entries[i], cpus, tsc_deadline);
	return shape_topology_leaf(c, cpus);
}

void cpuid_set_brand(struct kvm_cpuid2 *c,
		     const uint32_t brand[CPUID_BRAND_WORDS])
{
	for (uint32_t i = 0; i < 3; i++, brand += 4) {
		struct kvm_cpuid_entry2 *e = cpuid_find(c, 0x80000002 + i, 0);

		if (!e || e->eax || e->ebx || e->ecx || e->edx)
			continue;
		e->eax = brand[0];
		e->ebx = brand[1];
		e->ecx = brand[2];
		e->edx = brand[3];
	}
}

void cpuid_set_apic_id(struct kvm_cpuid2 *c, uint32_t id)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		switch (e->function) {
		case 1:
			e->ebx = (e->ebx & 0x00ffffff) | (id & 0xff) << 24;
			break;
		case 0xb:
			e->edx = id;
			break;
		case 0x8000001e:
			e->eax = id;
			e->ebx = id & 0xff; /* one thread a core */
			e->ecx = 0;	    /* one node */
			break;
		default:
			break;
		}
	}
}
