/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine that was somebody else's: every register, MSR, APIC and device
 * field has another legal value than a new one's. What restore forgets to write
 * shows then.
 */
#include <stdlib.h>
#include <string.h>

#include "exact.h"
#include "kvm.h"
#include "machine_impl.h"
#include "util.h"

#define LAPIC_TPR   0x80
#define LAPIC_LDR   0xd0
#define LAPIC_SVR   0xf0
#define LAPIC_ICR   0x300
#define LAPIC_LVT   0x320
#define LAPIC_TMICT 0x380
#define LAPIC_TDCR  0x3e0

static void must(int r)
{
	if (r < 0)
		abort();
}

static void poison_registers(int vcpu)
{
	struct kvm_debugregs d;
	struct kvm_sregs s;
	struct kvm_regs r;

	must(kvm_get_regs(vcpu, &r));
	for (unsigned i = 0; i < offsetof(struct kvm_regs, rflags) / 8; i++)
		((uint64_t *)&r)[i] = 0x1111 * (i + 1);
	r.rflags = 0x8d7; /* all status flags */
	must(kvm_set_regs(vcpu, &r));
	must(kvm_get_sregs(vcpu, &s));
	s.cr2 = 0xbad000;
	s.cr8 = 5;
	s.fs.base = 0x77000;
	s.gs.base = 0x88000;
	s.ldt.base = 0x99000;
	s.ldt.limit = 0x77;
	s.gdt.base = 0x55000;
	s.gdt.limit = 0x3f;
	s.idt.base = 0x66000;
	s.idt.limit = 0xff;
	must(kvm_set_sregs(vcpu, &s));
	must(kvm_get_debugregs(vcpu, &d));
	for (unsigned i = 0; i < 4; i++)
		d.db[i] = 0x1000 + i * 8;
	d.dr6 |= 0xf;
	d.dr7 |= 0x100; /* LE: nothing is armed */
	must(kvm_set_debugregs(vcpu, &d));
}

static void poison_xsave(struct machine *m, int vcpu)
{
	_cleanup_free_ uint8_t *x = calloc(1, m->shared.xsave_bytes);
	uint32_t mxcsr = 0x3fa0;
	uint64_t in_use = 3;

	must(kvm_get_xsave(vcpu, (struct kvm_xsave *)x));
	memset(x + 32, 0x3f, 128 + 256); /* x87 and SSE registers */
	memcpy(x + 24, &mxcsr, sizeof(mxcsr));
	x[0] = 0x7f;
	x[1] = 0x0f;
	memcpy(x + 512, &in_use, sizeof(in_use));
	must(kvm_set_xsave(vcpu, (struct kvm_xsave *)x));
}

static void lapic_set(struct kvm_lapic_state *l, unsigned at, uint32_t v)
{
	memcpy(l->regs + at, &v, sizeof(v));
}

static void poison_lapic(int vcpu)
{
	struct kvm_lapic_state l;

	must(kvm_get_lapic(vcpu, &l));
	lapic_set(&l, LAPIC_TPR, 0x30);
	lapic_set(&l, LAPIC_SVR, 0x1ee);
	lapic_set(&l, LAPIC_ICR, 0x77);
	for (unsigned i = 0; i < 6; i++)
		lapic_set(&l, LAPIC_LVT + i * 16, 0x10000 | (0x90 + i));
	lapic_set(&l, LAPIC_TDCR, 0x3);
	lapic_set(&l, LAPIC_TMICT, 0x7fffffff);
	for (unsigned i = 0; i < 8; i++) {
		lapic_set(&l, 0x100 + i * 16, i == 3 ? 0x10 : 0); /* ISR */
		lapic_set(&l, 0x200 + i * 16, i == 4 ? 0x20 : 0); /* IRR */
	}
	must(kvm_set_lapic(vcpu, &l));
}

static void poison_msrs(int vcpu)
{
	/* Some depend on others' values: not all can be had at once. */
	for (uint32_t i = 0; i < exact_msrs->n; i++)
		if (exact_msrs->msr[i].writable)
			(void)kvm_set_msr(vcpu, exact_msrs->msr[i].index,
					  exact_msrs->msr[i].other);
}

static void poison_events(int vcpu)
{
	struct kvm_vcpu_events e;

	must(kvm_get_vcpu_events(vcpu, &e));
	e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	e.interrupt.shadow = 1;
	e.nmi.masked = 1;
	e.nmi.pending = 1;
	must(kvm_set_vcpu_events(vcpu, &e));
}

static void poison_irqchip(struct machine *m)
{
	for (uint32_t i = 0; i < NIRQCHIPS; i++) {
		struct kvm_irqchip c;

		memset(&c, 0, sizeof(c));
		c.chip_id = i;
		must(kvm_get_irqchip(m->vm_fd, &c));
		if (i == KVM_IRQCHIP_IOAPIC) {
			c.chip.ioapic.ioregsel = 0x12;
			for (unsigned j = 0; j < KVM_IOAPIC_NUM_PINS; j++)
				c.chip.ioapic.redirtbl[j].bits =
				    0x0700000000018080ull + j;
		} else {
			c.chip.pic.imr = 0x5a;
			c.chip.pic.irq_base = 0x48;
			c.chip.pic.elcr = 0;
			c.chip.pic.read_reg_select = 1;
		}
		must(kvm_set_irqchip(m->vm_fd, &c));
	}
}

/* Any byte is legal here: what a device takes from its host's side is made anew
 * by its restored(). */
static void poison_devices(struct machine *m)
{
	for (unsigned i = 0; i < m->ndevices; i++)
		memset(m->device[i]->st, 0x5a, m->device[i]->ops->state->size);
}

void exact_poison(struct machine *m)
{
	for (unsigned i = 0; i < m->nvcpus; i++) {
		struct kvm_mp_state waits = { KVM_MP_STATE_INIT_RECEIVED };
		int vcpu = m->vcpu[i].fd;

		must(kvm_set_mp_state(vcpu, &waits));
		poison_registers(vcpu);
		poison_xsave(m, vcpu);
		poison_lapic(vcpu);
		poison_msrs(vcpu);
		poison_events(vcpu);
	}
	poison_irqchip(m);
	poison_devices(m);
}
