/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/kvm: one function an ioctl, and no ioctl(KVM_*) anywhere else. Each
 * returns 0 (or what is said) or -errno; nothing is retried, nothing is kept.
 * What each does is in the kernel's Documentation/virt/kvm/api.rst under the
 * name of its ioctl.
 *
 * An fd here is of the system (kvm), a VM (vm) or a vCPU (vcpu); none works
 * in a process forked off the one that made it (-EIO).
 */
#ifndef TINTYPE_KVM_H
#define TINTYPE_KVM_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#include "fail.h"

/* Opens /dev/kvm and checks the API version. An fd, or -errno with `why`
 * telling how to get it. */
int kvm_open(struct fail *why);

/* The kernel module that makes /dev/kvm here: "kvm-intel", "kvm-amd", KVM_PVM;
 * NULL when it is none that we know (or built in). */
#define KVM_PVM "kvm-pvm"
const char *kvm_back_end(void);

/* System */
int kvm_check_extension(int kvm_or_vm, int cap); /* its value; 0: absent */
int kvm_create_vm(int kvm);			 /* the fd */
int kvm_get_vcpu_mmap_size(int kvm);		 /* bytes */
int kvm_get_supported_cpuid(int kvm, struct kvm_cpuid2 *c);
int kvm_get_msr_index_list(int kvm, struct kvm_msr_list *l);

/* VM */
int kvm_set_user_memory_region(int vm,
			       const struct kvm_userspace_memory_region *r);
int kvm_set_tss_addr(int vm, uint64_t addr);
int kvm_set_identity_map_addr(int vm, uint64_t addr);
int kvm_create_irqchip(int vm);
int kvm_get_irqchip(int vm, struct kvm_irqchip *c);
int kvm_set_irqchip(int vm, const struct kvm_irqchip *c);
/* The bitmap has room for the slot's pages, in whole words. */
int kvm_get_dirty_log(int vm, struct kvm_dirty_log *l);
int kvm_get_clock(int vm, struct kvm_clock_data *c);
int kvm_set_clock(int vm, const struct kvm_clock_data *c);
int kvm_irq_line(int vm, uint32_t gsi, int level);
/* A 4-byte write to that address signals `event_fd` and is no exit. */
int kvm_ioeventfd(int vm, uint64_t addr, int event_fd);
int kvm_enable_cap(int vm, uint32_t cap, uint64_t arg0);
int kvm_create_vcpu(int vm, unsigned id); /* the fd */

/* vCPU: only by its own thread, or while that is parked */
int kvm_run(int vcpu);
int kvm_set_cpuid2(int vcpu, const struct kvm_cpuid2 *c);
int kvm_get_mp_state(int vcpu, struct kvm_mp_state *s);
int kvm_set_mp_state(int vcpu, const struct kvm_mp_state *s);
int kvm_get_regs(int vcpu, struct kvm_regs *r);
int kvm_set_regs(int vcpu, const struct kvm_regs *r);
int kvm_get_sregs(int vcpu, struct kvm_sregs *s);
int kvm_set_sregs(int vcpu, const struct kvm_sregs *s);
/* The buffer is kvm_xsave_bytes(vm) long: more than the struct where the guest
 * may use extended state such as AMX. */
size_t kvm_xsave_bytes(int vm);
int kvm_get_xsave(int vcpu, struct kvm_xsave *x);
int kvm_set_xsave(int vcpu, const struct kvm_xsave *x);
int kvm_get_xcrs(int vcpu, struct kvm_xcrs *x);
int kvm_set_xcrs(int vcpu, const struct kvm_xcrs *x);
int kvm_get_debugregs(int vcpu, struct kvm_debugregs *d);
int kvm_set_debugregs(int vcpu, const struct kvm_debugregs *d);
int kvm_get_lapic(int vcpu, struct kvm_lapic_state *l);
int kvm_set_lapic(int vcpu, const struct kvm_lapic_state *l);
int kvm_get_vcpu_events(int vcpu, struct kvm_vcpu_events *e);
int kvm_set_vcpu_events(int vcpu, const struct kvm_vcpu_events *e);
int kvm_get_sregs2(int vcpu, struct kvm_sregs2 *s);
int kvm_set_sregs2(int vcpu, const struct kvm_sregs2 *s);
int kvm_get_cpuid2(int vcpu, struct kvm_cpuid2 *c);
int kvm_get_tsc_khz(int vcpu); /* kHz */
int kvm_set_tsc_khz(int vcpu, uint32_t khz);
int kvm_get_device_attr(int vcpu, struct kvm_device_attr *a);
int kvm_set_device_attr(int vcpu, const struct kvm_device_attr *a);
/* The guest's kvmclock is told that it was stopped; -EINVAL: it has none. */
int kvm_kvmclock_ctrl(int vcpu);
/* How many entries, counted from the first, were read or set. */
int kvm_get_msrs(int vcpu, struct kvm_msrs *m);
int kvm_set_msrs(int vcpu, const struct kvm_msrs *m);

/* A call's list with room for its entries. */
#define KVM_MSRS_MAX 255 /* what one call takes at most */
union kvm_msr_call {
	struct kvm_msrs head;
	uint8_t room[sizeof(struct kvm_msrs) +
		     KVM_MSRS_MAX * sizeof(struct kvm_msr_entry)];
};
/* One MSR: 0; -EIO when KVM refuses it; or -errno. */
int kvm_get_msr(int vcpu, uint32_t index, uint64_t *value);
int kvm_set_msr(int vcpu, uint32_t index, uint64_t value);

#endif
