/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stopped machine is, read by KVM's own calls and by what devices print:
 * the judge of save and restore shares no code with them. What is a function of
 * time is left out: TSC, its deadline, the APIC timer's count.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "exact.h"
#include "kvm.h"
#include "layout.h"
#include "machine_impl.h"
#include "util.h"

#define LAPIC_ISR	0x100
#define LAPIC_IRR	0x200
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_TMICT	0x380
#define LAPIC_TMCCT	0x390
#define LVT_MASKED	0x10000
#define RFLAGS_TF	0x100
#define CR0_PE		1
#define DR7_ENABLED	0xff
#define SHADOW_MOV_SS	1 /* KVM_X86_SHADOW_INT_MOV_SS */
#define SHADOW_STI	2
#define MSR_MTRR_MASK0	0x201
#define MSR_DEADLINE	0x6e0
#define MSR_SYSTEM_TIME 0x4b564d01

static uint64_t hash(const void *p, size_t n)
{
	return XXH3_64bits(p, n);
}

static void add(struct exact_point *p, enum exact_part part, const void *data,
		size_t n)
{
	p->part[part] = exact_fold(p->part[part], hash(data, n));
}

static void must(int r)
{
	if (r < 0)
		abort();
}

/* ---- vector registers ---- */

#define XSAVE_HEADER 512

/* A part in its initial state has no defined bytes. */
static void forget(uint8_t *x, uint64_t in_use, unsigned i, size_t at, size_t n)
{
	if (!(in_use >> i & 1))
		memset(x + at, 0, n);
}

static void host_component(unsigned i, uint32_t *bytes, uint32_t *at)
{
	uint32_t ecx = i, edx;

	__asm__ volatile("cpuid"
			 : "=a"(*bytes), "=b"(*at), "+c"(ecx), "=d"(edx)
			 : "0"(0xd));
}

static bool all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* True when a vector register is in use. */
static bool canonical(uint8_t *x, size_t bytes)
{
	uint64_t in_use;
	uint32_t n, at;

	memcpy(&in_use, x + XSAVE_HEADER, 8);
	forget(x, in_use, 0, 0, 24);
	forget(x, in_use, 0, 32, 128);
	if (!(in_use & 1))
		x[0] = 0x7f, x[1] = 0x03; /* FCW */
	forget(x, in_use, 1, 160, 256);
	for (unsigned i = 2; i < 63; i++) {
		host_component(i, &n, &at);
		if (n && at + n <= bytes)
			forget(x, in_use, i, at, n);
	}
	memset(x + XSAVE_HEADER, 0, 8);
	/* what FXSAVE leaves to software */
	memset(x + 464, 0, 48);
	return !all_zero(x + 160, 256);
}

static void look_xsave(struct machine *m, int vcpu, struct exact_point *p,
		       uint64_t seen[MOMENTS])
{
	size_t bytes = m->shared.xsave_bytes;
	_cleanup_free_ uint8_t *x = calloc(1, bytes);

	must(kvm_get_xsave(vcpu, (struct kvm_xsave *)x));
	seen[SEEN_VECTOR_REGISTERS] += canonical(x, bytes);
	add(p, PART_XSAVE, x, bytes);
}

/* ---- the rest of a vCPU ---- */

static uint64_t get_msrs(int vcpu, uint32_t first, uint32_t n,
			 struct kvm_msr_entry *e)
{
	_cleanup_free_ struct kvm_msrs *l =
	    calloc(1, sizeof(*l) + n * sizeof(*e));

	l->nmsrs = n;
	for (uint32_t i = 0; i < n; i++)
		l->entries[i].index = exact_msrs->msr[first + i].index;
	must(kvm_get_msrs(vcpu, l) == (int)n ? 0 : -1);
	memcpy(e, l->entries, n * sizeof(*e));
	return n;
}

static void look_msrs(int vcpu, struct exact_point *p, uint64_t seen[MOMENTS])
{
	enum { A_CALL = 200 };
	struct kvm_msr_entry e[A_CALL];

	for (uint32_t at = 0; at < exact_msrs->n; at += A_CALL) {
		uint32_t n = MIN(exact_msrs->n - at, (uint32_t)A_CALL);

		get_msrs(vcpu, at, n, e);
		for (uint32_t i = 0; i < n; i++) {
			if (e[i].index == MSR_DEADLINE) {
				seen[SEEN_TIMER_ARMED] += e[i].data != 0;
				seen[SEEN_TSC_DEADLINE] += e[i].data != 0;
			}
			if (e[i].index == MSR_MTRR_MASK0)
				seen[SEEN_MTRRS] += e[i].data != 0;
			if (e[i].index == MSR_SYSTEM_TIME)
				seen[SEEN_PVCLOCK] += e[i].data & 1;
			if (exact_msrs->msr[at + i].timed)
				e[i].data = 0;
		}
		add(p, PART_MSRS, e, n * sizeof(*e));
	}
}

static uint32_t lapic_reg(const struct kvm_lapic_state *l, unsigned at)
{
	uint32_t v;

	memcpy(&v, l->regs + at, sizeof(v));
	return v;
}

static bool any_bit(const struct kvm_lapic_state *l, unsigned at)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v |= lapic_reg(l, at + i * 16);
	return v;
}

static void look_lapic(int vcpu, struct exact_point *p, uint64_t seen[MOMENTS])
{
	struct kvm_lapic_state l;

	must(kvm_get_lapic(vcpu, &l));
	seen[SEEN_TIMER_ARMED] +=
	    lapic_reg(&l, LAPIC_TMICT) &&
	    !(lapic_reg(&l, LAPIC_LVT_TIMER) & LVT_MASKED);
	seen[SEEN_TIMER_EXPIRED] +=
	    lapic_reg(&l, LAPIC_IRR + VECTOR_TIMER / 32 * 16) >>
		VECTOR_TIMER % 32 &
	    1;
	seen[SEEN_IRQ_PENDING] += any_bit(&l, LAPIC_IRR);
	seen[SEEN_IRQ_IN_SERVICE] += any_bit(&l, LAPIC_ISR);
	memset(l.regs + LAPIC_TMCCT, 0, 4);
	add(p, PART_LAPIC, &l, sizeof(l));
}

static void look_events(int vcpu, struct exact_point *p, uint64_t seen[MOMENTS])
{
	struct kvm_vcpu_events e;

	memset(&e, 0, sizeof(e));
	must(kvm_get_vcpu_events(vcpu, &e));
	seen[SEEN_EXCEPTION] += e.exception.injected || e.exception.pending;
	seen[SEEN_IRQ_INJECTED] += e.interrupt.injected;
	seen[SEEN_NMI_PENDING] += e.nmi.pending || e.nmi.injected;
	seen[SEEN_NMI_MASKED] += e.nmi.masked;
	seen[SEEN_SHADOW_STI] += !!(e.interrupt.shadow & SHADOW_STI);
	seen[SEEN_SHADOW_MOV_SS] += !!(e.interrupt.shadow & SHADOW_MOV_SS);
	/* What is left of an exception that was delivered long ago. */
	if (!e.exception.injected && !e.exception.pending) {
		e.exception.nr = 0;
		e.exception.has_error_code = 0;
		e.exception.error_code = 0;
		e.exception_has_payload = 0;
		e.exception_payload = 0;
	}
	if (!e.interrupt.injected) {
		e.interrupt.nr = 0;
		e.interrupt.soft = 0;
	}
	add(p, PART_EVENTS, &e, sizeof(e));
}

/* rep ins, rep outs (without other prefixes than the operand's size) */
static bool is_rep_io(struct machine *m, uint64_t rip)
{
	uint8_t b[3];
	unsigned i = 0;

	if (gmem_read(&m->ram, GPA(rip), b, sizeof(b)))
		return false;
	if (b[i] == 0x66)
		i++;
	return b[i] == 0xf3 && (b[i + 1] & 0xfc) == 0x6c;
}

static void look_registers(struct machine *m, int vcpu, struct exact_point *p,
			   uint64_t seen[MOMENTS])
{
	struct kvm_debugregs d;
	struct kvm_sregs s;
	struct kvm_xcrs x;
	struct kvm_regs r;

	memset(&x, 0, sizeof(x));
	must(kvm_get_regs(vcpu, &r));
	must(kvm_get_sregs(vcpu, &s));
	must(kvm_get_xcrs(vcpu, &x));
	must(kvm_get_debugregs(vcpu, &d));
	seen[SEEN_SINGLE_STEP] += !!(r.rflags & RFLAGS_TF);
	seen[SEEN_REP_HALF_WAY] += r.rcx && is_rep_io(m, r.rip);
	seen[SEEN_REAL_MODE] += !(s.cr0 & CR0_PE) && r.rip;
	seen[SEEN_BREAKPOINT_ARMED] += !!(d.dr7 & DR7_ENABLED);
	add(p, PART_REGS, &r, sizeof(r));
	add(p, PART_SREGS, &s, sizeof(s));
	add(p, PART_XCRS, x.xcrs, x.nr_xcrs * sizeof(x.xcrs[0]));
	add(p, PART_DEBUGREGS, &d, sizeof(d));
}

static void look_vcpu(struct machine *m, struct vcpu *v, struct exact_point *p,
		      uint64_t seen[MOMENTS])
{
	struct kvm_mp_state mp;

	must(kvm_get_mp_state(v->fd, &mp));
	seen[SEEN_WAIT_FOR_SIPI] += mp.mp_state == KVM_MP_STATE_INIT_RECEIVED ||
				    mp.mp_state == KVM_MP_STATE_SIPI_RECEIVED;
	seen[SEEN_HALTED] += mp.mp_state == KVM_MP_STATE_HALTED;
	add(p, PART_MP_STATE, &mp, sizeof(mp));
	look_registers(m, v->fd, p, seen);
	look_xsave(m, v->fd, p, seen);
	look_lapic(v->fd, p, seen);
	look_msrs(v->fd, p, seen);
	look_events(v->fd, p, seen);
}

/* ---- the machine ---- */

/* KVM shows no request of a pin whose last edge was delivered, also when that
 * pin has come to be one of levels; whether it was is not to be had. */
static void forget_levels(struct kvm_ioapic_state *s, uint64_t seen[MOMENTS])
{
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++) {
		seen[SEEN_REMOTE_IRR] += s->redirtbl[i].fields.remote_irr;
		if (s->redirtbl[i].fields.trig_mode)
			s->irr &= ~(1u << i);
	}
}

static void look_irqchip(struct machine *m, struct exact_point *p,
			 uint64_t seen[MOMENTS])
{
	for (uint32_t i = 0; i < NIRQCHIPS; i++) {
		bool ioapic = i == KVM_IRQCHIP_IOAPIC;
		struct kvm_irqchip c;

		memset(&c, 0, sizeof(c));
		c.chip_id = i;
		must(kvm_get_irqchip(m->vm_fd, &c));
		if (ioapic)
			forget_levels(&c.chip.ioapic, seen);
		else
			seen[SEEN_PIC_IN_SERVICE] += c.chip.pic.isr != 0;
		add(p, ioapic ? PART_IOAPIC : PART_PIC, &c.chip,
		    sizeof(c.chip));
	}
}

static const struct state_field *field(const struct device *d, const char *name)
{
	const struct state_desc *s = d->ops->state;

	for (unsigned i = 0; i < s->nfields; i++)
		if (!strcmp(s->fields[i].name, name))
			return &s->fields[i];
	return NULL;
}

/* A queue in which the driver has offered more than the device has taken. */
static bool is_offered(struct machine *m, const struct device *d)
{
	const struct state_field *avail = field(d, "virtio.avail");
	const struct state_field *last = field(d, "virtio.last_avail");
	uint16_t ring[2]; /* flags, index */

	for (unsigned i = 0; avail && last && i < avail->count; i++) {
		uint64_t at = state_get(avail, d->st, i);

		if (at && !gmem_read(&m->ram, GPA(at), ring, sizeof(ring)) &&
		    ring[1] != state_get(last, d->st, i))
			return true;
	}
	return false;
}

struct looking {
	struct machine *m;
	struct exact_point *p;
	uint64_t *seen;
};

/* The RTC keeps how far it is from the host's clock. */
#define TIMED_FIELD "offset_s="

static void look_device(void *ctx, const struct device *d, const char *state)
{
	const char *from = strstr(state, TIMED_FIELD);
	struct looking *l = ctx;

	from = from ? strchr(from, '\n') : state;
	add(l->p, PART_DEVICES, from, strlen(from));
	l->seen[SEEN_NOT_TAKEN] += is_offered(l->m, d);
	if (strstr(state, "thre_pending=0x1"))
		l->seen[SEEN_UART_THRE]++;
}

void exact_look(struct machine *m, struct exact_point *p,
		uint64_t seen[MOMENTS])
{
	struct looking l = { m, p, seen };

	for (unsigned i = 0; i < m->nvcpus; i++)
		look_vcpu(m, &m->vcpu[i], p, seen);
	look_irqchip(m, p, seen);
	machine_each_device(m, look_device, &l);
}
