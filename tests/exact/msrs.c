/* SPDX-License-Identifier: Apache-2.0 */
/* The MSRs of this host, found by trying: not by the list that is used. */
#include <stdlib.h>
#include <string.h>

#include "exact.h"
#include "kvm.h"
#include "util.h"

struct exact_msrs *exact_msrs;

static const struct {
	uint32_t first, end;
} ranges[] = {
	{ 0x0, 0x800 }, /* 0x800 on is the local APIC */
	{ 0x900, 0x2000 },
	{ 0x40000000, 0x40000200 },
	{ 0x4b564d00, 0x4b564d10 },
	{ 0xc0000080, 0xc0000300 },
	{ 0xc0010000, 0xc0010300 },
};

/* A function of time; or a command; or what points at the guest's RAM and is
 * written by KVM, which poison must not be. */
static const uint32_t timed[] = {
	0x10,	    /* TSC */
	0x3b,	    /* TSC_ADJUST */
	0xe7,	    /* MPERF */
	0xe8,	    /* APERF */
	0x6e0,	    /* TSC_DEADLINE */
	0x40000010, /* VP_RUNTIME */
	0x40000020, /* TIME_REF_COUNT */
	0xc0000104, /* TSC_RATIO */
};
static const uint32_t not_poison[] = {
	0x1b, /* APIC base: part of SREGS, too */
	0x11,	    0x12,	0x40000000, 0x40000001, 0x40000021,
	0x40000073, 0x40000003, 0xc0000080 /* EFER: part of SREGS, too */
};

static bool is_in(uint32_t msr, const uint32_t *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == msr)
			return true;
	return false;
}

static bool get(int vcpu, uint32_t index, uint64_t *v)
{
	return kvm_get_msr(vcpu, index, v) == 0;
}

static bool set(int vcpu, uint32_t index, uint64_t v)
{
	return kvm_set_msr(vcpu, index, v) == 0;
}

/* Another value than its own that it takes and gives back. */
static bool find_other(int vcpu, uint32_t index, uint64_t own, uint64_t *other)
{
	static const uint64_t tries[] = {
		0x1000, 0x6, 0x1,   0x0101010101010101, 0x23001000,
		0x0,	0x8, 0x200, 0x7040600070406
	};
	uint64_t now;

	if (index >= 0x4b564d00 && index < 0x4b564d10)
		return false;
	if (is_in(index, not_poison, ARRAY_SIZE(not_poison)))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(tries); i++) {
		if (tries[i] == own || !set(vcpu, index, tries[i]))
			continue;
		if (get(vcpu, index, &now) && now != own) {
			*other = tries[i];
			set(vcpu, index, own);
			return true;
		}
	}
	set(vcpu, index, own);
	return false;
}

static void try_one(int vcpu, uint32_t index)
{
	struct exact_msrs *l = exact_msrs;
	uint64_t own, other = 0;

	if (l->n == EXACT_MAX_MSRS || !get(vcpu, index, &own))
		return;
	l->msr[l->n].index = index;
	l->msr[l->n].timed = is_in(index, timed, ARRAY_SIZE(timed));
	if (!l->msr[l->n].timed)
		l->msr[l->n].writable = find_other(vcpu, index, own, &other);
	l->msr[l->n++].other = other;
}

/* The CPUID decides which there are. */
static int give_cpuid(int kvm, int vcpu)
{
	enum { ENTRIES = 256 };
	_cleanup_free_ struct kvm_cpuid2 *c =
	    calloc(1, sizeof(*c) + ENTRIES * sizeof(c->entries[0]));

	if (!c)
		return -1;
	c->nent = ENTRIES;
	return kvm_get_supported_cpuid(kvm, c) ?: kvm_set_cpuid2(vcpu, c);
}

int exact_msrs_find(void)
{
	struct fail why;
	int kvm = kvm_open(&why), vm, vcpu;

	if (kvm < 0)
		return kvm;
	vm = kvm_create_vm(kvm);
	if (vm < 0 || kvm_create_irqchip(vm))
		return -1;
	vcpu = kvm_create_vcpu(vm, 0);
	if (vcpu < 0 || give_cpuid(kvm, vcpu))
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
		for (uint32_t n = ranges[i].first; n < ranges[i].end; n++)
			try_one(vcpu, n);
	return 0;
}
