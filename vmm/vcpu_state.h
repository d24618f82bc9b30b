/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that KVM keeps of one vCPU, as plain structs with tables (state.h). One
 * table of items says what there is and how each is read and set; two lists say
 * in which order, since some of KVM's calls undo others.
 *
 * Owner: the I/O thread, while the vCPU is parked.
 */
#ifndef TINTYPE_VCPU_STATE_H
#define TINTYPE_VCPU_STATE_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpuid.h"
#include "fail.h"
#include "state.h"

#define VCPU_MAX_MSRS	 512
#define VCPU_XSAVE_MAX	 16384 /* AMX needs 11,008 */
#define VCPU_LAPIC_BYTES 1024

struct vcpu_xsave_state {
	uint8_t area[VCPU_XSAVE_MAX]; /* struct kvm_xsave */
};

struct vcpu_xcrs_state {
	uint32_t n, zero;
	uint32_t index[KVM_MAX_XCRS];
	uint64_t value[KVM_MAX_XCRS];
};

struct vcpu_lapic_state {
	uint8_t regs[VCPU_LAPIC_BYTES];
};

/* Element i of each array is entry i of KVM_GET_CPUID2. */
struct vcpu_cpuid_state {
	uint32_t n;
	uint32_t function[CPUID_MAX_ENTRIES], index[CPUID_MAX_ENTRIES];
	uint32_t flags[CPUID_MAX_ENTRIES];
	uint32_t eax[CPUID_MAX_ENTRIES], ebx[CPUID_MAX_ENTRIES];
	uint32_t ecx[CPUID_MAX_ENTRIES], edx[CPUID_MAX_ENTRIES];
};

struct vcpu_msrs_state {
	uint32_t n, zero;
	uint32_t index[VCPU_MAX_MSRS];
	uint64_t value[VCPU_MAX_MSRS];
};

struct vcpu_tsc_state {
	uint64_t offset; /* what is added to the host's TSC */
	uint32_t khz, zero;
};

struct vcpu_state {
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;
	struct vcpu_xsave_state xsave;
	struct vcpu_xcrs_state xcrs;
	struct kvm_debugregs debug;
	struct vcpu_lapic_state lapic;
	struct vcpu_tsc_state tsc;
	struct vcpu_cpuid_state cpuid;
	struct vcpu_msrs_state msrs; /* but the deadline */
	struct kvm_vcpu_events events;
};

/* What get and set need to know of the VM. */
struct vcpu_kvm {
	int fd; /* the vCPU's */
	size_t xsave_bytes;
	bool sregs2; /* KVM_CAP_SREGS2 */
	/* Added to the TSC's offset when it is set: what the host's TSC, or the
	 * host, has become since. */
	uint64_t tsc_shift;
};

struct vcpu_item {
	const char *name; /* "regs" */
	const struct state_desc *desc;
	size_t offset; /* in struct vcpu_state */
	int (*get)(const struct vcpu_kvm *k, void *st);
	/* `why` is filled by those that know more than the error's number. */
	int (*set)(const struct vcpu_kvm *k, const void *st, struct fail *why);
};

enum vcpu_item_id {
	VCPU_MP,
	VCPU_REGS,
	VCPU_SREGS,
	VCPU_XSAVE,
	VCPU_XCRS,
	VCPU_DEBUG,
	VCPU_LAPIC,
	VCPU_TSC,
	VCPU_CPUID,
	VCPU_MSRS,
	VCPU_EVENTS,
	VCPU_ITEMS
};

extern const struct vcpu_item vcpu_items[VCPU_ITEMS];
/* In which order they are read, and set. Each item is in each list, but for the
 * CPUID, which is set when the vCPU is made. */
extern const enum vcpu_item_id vcpu_save_order[VCPU_ITEMS];
#define VCPU_LOAD_ITEMS (VCPU_ITEMS - 1)
extern const enum vcpu_item_id vcpu_load_order[VCPU_LOAD_ITEMS];

/* Where item `id` is. */
void *vcpu_item_of(struct vcpu_state *s, enum vcpu_item_id id);

/* Of s->msrs the numbers are given; values of those that KVM does not read are
 * a failure. 0 or -errno with `why`. */
int vcpu_state_get(const struct vcpu_kvm *k, struct vcpu_state *s,
		   struct fail *why);
/* What came from a file: counts that fit, and no number twice. `name`: the
 * vCPU's. EXIT_INTEGRITY. */
int vcpu_state_judge(const struct vcpu_state *s, const char *name,
		     struct fail *why);
/* Whether a guest that was shown `shown` finds all of it on a host that offers
 * `here`. EXIT_INCOMPATIBLE names what is missing. */
int cpuid_judge(const struct vcpu_cpuid_state *shown,
		const struct vcpu_cpuid_state *here, struct fail *why);
int vcpu_state_set(const struct vcpu_kvm *k, const struct vcpu_state *s,
		   struct fail *why);

#endif
