/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPUID that guests see: what KVM supports, with the topology of this
 * machine (one package, one thread a core, APIC id = vCPU number) and without
 * what a snapshot could not carry: nested virtualisation and the PMU.
 *
 * Pure functions; the leaves are those of the Intel SDM volume 2A (CPUID),
 * the AMD APM volume 3 appendix E and the kernel's
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
#ifndef TINTYPE_CPUID_H
#define TINTYPE_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#define CPUID_MAX_ENTRIES 256

/*
 * Edits KVM's list in place (room for CPUID_MAX_ENTRIES) for a machine of
 * `cpus`. -E2BIG when the topology leaves do not fit any more.
 */
int cpuid_shape(struct kvm_cpuid2 *c, unsigned cpus, bool tsc_deadline);

/* The processor's name, leaves 0x80000002-4 one after another: KVM leaves them
 * empty. Where it does not, its own stay. */
#define CPUID_BRAND_WORDS 12
void cpuid_set_brand(struct kvm_cpuid2 *c,
		     const uint32_t brand[CPUID_BRAND_WORDS]);

/* Puts the APIC id of one vCPU into the leaves that hold it. */
void cpuid_set_apic_id(struct kvm_cpuid2 *c, uint32_t id);

/* NULL when the list has no such leaf. */
struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *c, uint32_t function,
				    uint32_t index);

#endif
