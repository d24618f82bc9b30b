/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of a vCPU's state. Padding of the kernel's structs has rows as
 * well: it has to be zero, and so is found out when it gets a meaning.
 */
#include "vcpu_state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "kvm.h"
#include "util.h"

#define MSR_TSC		 0x10
#define MSR_TSC_DEADLINE 0x6e0

/* ---- rows ---- */

#define ROW(f)	 STATE(T, f, 1)
#define ARRAY(f) STATE_ARRAY(T, f, 1)
#define SEGMENT(seg)                                                           \
	ROW(seg.base), ROW(seg.limit), ROW(seg.selector), ROW(seg.type),       \
	    ROW(seg.present), ROW(seg.dpl), ROW(seg.db), ROW(seg.s),           \
	    ROW(seg.l), ROW(seg.g), ROW(seg.avl), ROW(seg.unusable),           \
	    ROW(seg.padding)
#define TABLE(t) ROW(t.base), ROW(t.limit), ARRAY(t.padding)

#define T struct kvm_mp_state
static const struct state_field mp_rows[] = { ROW(mp_state) };
static const struct state_desc mp_desc = STATE_DESC("vcpu-mp", 1, T, mp_rows);
#undef T

#define T struct kvm_regs
static const struct state_field regs_rows[] = {
	ROW(rax), ROW(rbx), ROW(rcx), ROW(rdx), ROW(rsi), ROW(rdi),
	ROW(rsp), ROW(rbp), ROW(r8),  ROW(r9),	ROW(r10), ROW(r11),
	ROW(r12), ROW(r13), ROW(r14), ROW(r15), ROW(rip), ROW(rflags),
};
static const struct state_desc regs_desc =
    STATE_DESC("vcpu-regs", 1, T, regs_rows);
#undef T

#define T struct kvm_sregs2
static const struct state_field sregs_rows[] = {
	SEGMENT(cs), SEGMENT(ds),    SEGMENT(es),  SEGMENT(fs),	  SEGMENT(gs),
	SEGMENT(ss), SEGMENT(tr),    SEGMENT(ldt), TABLE(gdt),	  TABLE(idt),
	ROW(cr0),    ROW(cr2),	     ROW(cr3),	   ROW(cr4),	  ROW(cr8),
	ROW(efer),   ROW(apic_base), ROW(flags),   ARRAY(pdptrs),
};
static const struct state_desc sregs_desc =
    STATE_DESC("vcpu-sregs", 1, T, sregs_rows);
#undef T

#define T struct vcpu_xsave_state
static const struct state_field xsave_rows[] = { ARRAY(area) };
static const struct state_desc xsave_desc =
    STATE_DESC("vcpu-xsave", 1, T, xsave_rows);
#undef T

#define T struct vcpu_xcrs_state
static const struct state_field xcrs_rows[] = {
	ROW(n),
	ROW(zero),
	ARRAY(index),
	ARRAY(value),
};
static const struct state_desc xcrs_desc =
    STATE_DESC("vcpu-xcrs", 1, T, xcrs_rows);
#undef T

#define T struct kvm_debugregs
static const struct state_field debug_rows[] = {
	ARRAY(db), ROW(dr6), ROW(dr7), ROW(flags), ARRAY(reserved),
};
static const struct state_desc debug_desc =
    STATE_DESC("vcpu-debug", 1, T, debug_rows);
#undef T

#define T struct vcpu_lapic_state
static const struct state_field lapic_rows[] = { ARRAY(regs) };
static const struct state_desc lapic_desc =
    STATE_DESC("vcpu-lapic", 1, T, lapic_rows);
#undef T

#define T struct vcpu_tsc_state
static const struct state_field tsc_rows[] = {
	ROW(offset),
	ROW(khz),
	ROW(zero),
};
static const struct state_desc tsc_desc =
    STATE_DESC("vcpu-tsc", 1, T, tsc_rows);
#undef T

#define T struct vcpu_cpuid_state
static const struct state_field cpuid_rows[] = {
	ROW(n),	    ARRAY(function), ARRAY(index), ARRAY(flags),
	ARRAY(eax), ARRAY(ebx),	     ARRAY(ecx),   ARRAY(edx),
};
static const struct state_desc cpuid_desc =
    STATE_DESC("vcpu-cpuid", 1, T, cpuid_rows);
#undef T

#define T struct vcpu_msrs_state
static const struct state_field msrs_rows[] = {
	ROW(n),
	ROW(zero),
	ARRAY(index),
	ARRAY(value),
};
static const struct state_desc msrs_desc =
    STATE_DESC("vcpu-msrs", 1, T, msrs_rows);
#undef T

#define T struct kvm_vcpu_events
static const struct state_field events_rows[] = {
	ROW(exception.injected),
	ROW(exception.nr),
	ROW(exception.has_error_code),
	ROW(exception.pending),
	ROW(exception.error_code),
	ROW(interrupt.injected),
	ROW(interrupt.nr),
	ROW(interrupt.soft),
	ROW(interrupt.shadow),
	ROW(nmi.injected),
	ROW(nmi.pending),
	ROW(nmi.masked),
	ROW(nmi.pad),
	ROW(sipi_vector),
	ROW(flags),
	ROW(smi.smm),
	ROW(smi.pending),
	ROW(smi.smm_inside_nmi),
	ROW(smi.latched_init),
	ROW(triple_fault.pending),
	ARRAY(reserved),
	ROW(exception_has_payload),
	ROW(exception_payload),
};
static const struct state_desc events_desc =
    STATE_DESC("vcpu-events", 1, T, events_rows);
#undef T

/* ---- one item each ---- */

static int get_mp(const struct vcpu_kvm *k, void *st)
{
	return kvm_get_mp_state(k->fd, st);
}

static int set_mp(const struct vcpu_kvm *k, const void *st, struct fail *why)
{
	return kvm_set_mp_state(k->fd, st);
}

static int get_regs(const struct vcpu_kvm *k, void *st)
{
	return kvm_get_regs(k->fd, st);
}

static int set_regs(const struct vcpu_kvm *k, const void *st, struct fail *why)
{
	return kvm_set_regs(k->fd, st);
}

/* The older call knows all of it but the PDPTRs, which KVM then reads from
 * guest memory again; and what it has more, pending interrupts, comes with the
 * events. */
#define SREGS_COPY(to, from)                                                   \
	do {                                                                   \
		(to)->cs = (from)->cs;                                         \
		(to)->ds = (from)->ds;                                         \
		(to)->es = (from)->es;                                         \
		(to)->fs = (from)->fs;                                         \
		(to)->gs = (from)->gs;                                         \
		(to)->ss = (from)->ss;                                         \
		(to)->tr = (from)->tr;                                         \
		(to)->ldt = (from)->ldt;                                       \
		(to)->gdt = (from)->gdt;                                       \
		(to)->idt = (from)->idt;                                       \
		(to)->cr0 = (from)->cr0;                                       \
		(to)->cr2 = (from)->cr2;                                       \
		(to)->cr3 = (from)->cr3;                                       \
		(to)->cr4 = (from)->cr4;                                       \
		(to)->cr8 = (from)->cr8;                                       \
		(to)->efer = (from)->efer;                                     \
		(to)->apic_base = (from)->apic_base;                           \
	} while (0)

static int get_sregs(const struct vcpu_kvm *k, void *st)
{
	struct kvm_sregs2 *s = st;
	struct kvm_sregs old;
	int r;

	memset(s, 0, sizeof(*s));
	if (k->sregs2)
		return kvm_get_sregs2(k->fd, s);
	r = kvm_get_sregs(k->fd, &old);
	if (r == 0)
		SREGS_COPY(s, &old);
	return r;
}

static int set_sregs(const struct vcpu_kvm *k, const void *st, struct fail *why)
{
	const struct kvm_sregs2 *s = st;
	struct kvm_sregs old = { 0 };

	if (k->sregs2)
		return kvm_set_sregs2(k->fd, s);
	SREGS_COPY(&old, s);
	return kvm_set_sregs(k->fd, &old);
}

/* Where the components of XSAVE's standard format are (SDM volume 1, 13.4).
 * The host's own CPUID: KVM's area has the host's layout. */
#define XSTATE_BV_AT	 512
#define XSAVE_HEADER_END 576

static bool component_at(unsigned i, uint32_t *at, uint32_t *len)
{
	uint32_t a = 0xd, b, c = i, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	*at = b;
	*len = a;
	return a && b >= XSAVE_HEADER_END && a <= VCPU_XSAVE_MAX &&
	       b <= VCPU_XSAVE_MAX - a;
}

/*
 * A component in its initial state may leave any bytes in its place: they mean
 * nothing, and differ from one read to the next. MXCSR, which counts whenever
 * SSE or AVX may be used, stays. (The x87 part and SSE's initial values are not
 * all zero, but with the bit clear they are not read.)
 */
static void xsave_make_canonical(struct vcpu_xsave_state *x)
{
	uint64_t present;
	uint32_t at, len;

	memcpy(&present, x->area + XSTATE_BV_AT, sizeof(present));
	if (!(present & 2))
		memset(x->area + 160, 0, 256);
	for (unsigned i = 2; i < 63; i++)
		if (!(present & UINT64_C(1) << i) && component_at(i, &at, &len))
			memset(x->area + at, 0, len);
}

static int get_xsave(const struct vcpu_kvm *k, void *st)
{
	int r;

	memset(st, 0, VCPU_XSAVE_MAX);
	r = kvm_get_xsave(k->fd, st);
	if (r == 0)
		xsave_make_canonical(st);
	return r;
}

static int set_xsave(const struct vcpu_kvm *k, const void *st, struct fail *why)
{
	return kvm_set_xsave(k->fd, st);
}

static int get_xcrs(const struct vcpu_kvm *k, void *st)
{
	struct vcpu_xcrs_state *s = st;
	struct kvm_xcrs x = { 0 };
	int r = kvm_get_xcrs(k->fd, &x);

	memset(s, 0, sizeof(*s));
	if (r < 0 || x.nr_xcrs > KVM_MAX_XCRS)
		return r < 0 ? r : -EIO;
	s->n = x.nr_xcrs;
	for (unsigned i = 0; i < s->n; i++) {
		s->index[i] = x.xcrs[i].xcr;
		s->value[i] = x.xcrs[i].value;
	}
	return 0;
}

static int set_xcrs(const struct vcpu_kvm *k, const void *st, struct fail *why)
{
	const struct vcpu_xcrs_state *s = st;
	struct kvm_xcrs x = { .nr_xcrs = MIN(s->n, (uint32_t)KVM_MAX_XCRS) };

	for (unsigned i = 0; i < x.nr_xcrs; i++) {
		x.xcrs[i].xcr = s->index[i];
		x.xcrs[i].value = s->value[i];
	}
	/* A host without XSAVE has none, and refuses to set none. */
	return x.nr_xcrs ? kvm_set_xcrs(k->fd, &x) : 0;
}

static int get_debug(const struct vcpu_kvm *k, void *st)
{
	return kvm_get_debugregs(k->fd, st);
}

static int set_debug(const struct vcpu_kvm *k, const void *st, struct fail *why)
{
	return kvm_set_debugregs(k->fd, st);
}

static int get_lapic(const struct vcpu_kvm *k, void *st)
{
	static_assert(sizeof(struct kvm_lapic_state) == VCPU_LAPIC_BYTES,
		      "the same bytes");
	return kvm_get_lapic(k->fd, st);
}

static int set_lapic(const struct vcpu_kvm *k, const void *st, struct fail *why)
{
	return kvm_set_lapic(k->fd, st);
}

static uint64_t host_tsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static struct kvm_device_attr offset_attr(uint64_t *offset)
{
	return (struct kvm_device_attr){
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uint64_t)(uintptr_t)offset,
	};
}

static int get_tsc(const struct vcpu_kvm *k, void *st)
{
	struct vcpu_tsc_state *s = st;
	struct kvm_device_attr a = offset_attr(&s->offset);
	int khz = kvm_get_tsc_khz(k->fd);

	memset(s, 0, sizeof(*s));
	if (khz < 0)
		return khz;
	s->khz = (uint32_t)khz;
	/* Linux has it since 5.16. */
	if (kvm_get_device_attr(k->fd, &a) == 0)
		return 0;
	/* To the moment of the call, not to the tick. */
	khz = kvm_get_msr(k->fd, MSR_TSC, &s->offset);
	s->offset -= host_tsc();
	return khz;
}

/* How far two clocks may differ that are taken for the same: as KVM itself has
 * it (tsc_tolerance_ppm). */
#define TSC_PPM 250

static int set_tsc(const struct vcpu_kvm *k, const void *st, struct fail *why)
{
	const struct vcpu_tsc_state *s = st;
	uint64_t offset = s->offset + k->tsc_shift;
	struct kvm_device_attr a = offset_attr(&offset);
	int64_t khz = kvm_get_tsc_khz(k->fd);
	int64_t off = khz - (int64_t)s->khz;
	int r = 0;

	if (khz < 0)
		return (int)khz;
	if (MAX(off, -off) * 1000000 > (int64_t)s->khz * TSC_PPM)
		r = kvm_set_tsc_khz(k->fd, s->khz);
	if (r < 0 || kvm_set_device_attr(k->fd, &a) == 0)
		return r;
	return kvm_set_msr(k->fd, MSR_TSC, offset + host_tsc());
}

union cpuid_call {
	struct kvm_cpuid2 head;
	uint8_t room[sizeof(struct kvm_cpuid2) +
		     CPUID_MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2)];
};

static int get_cpuid(const struct vcpu_kvm *k, void *st)
{
	struct vcpu_cpuid_state *s = st;
	union cpuid_call c = { .head.nent = CPUID_MAX_ENTRIES };
	int r = kvm_get_cpuid2(k->fd, &c.head);

	memset(s, 0, sizeof(*s));
	if (r < 0)
		return r;
	s->n = MIN(c.head.nent, (uint32_t)CPUID_MAX_ENTRIES);
	for (unsigned i = 0; i < s->n; i++) {
		const struct kvm_cpuid_entry2 *e = &c.head.entries[i];

		s->function[i] = e->function;
		s->index[i] = e->index;
		s->flags[i] = e->flags;
		s->eax[i] = e->eax;
		s->ebx[i] = e->ebx;
		s->ecx[i] = e->ecx;
		s->edx[i] = e->edx;
	}
	return 0;
}

static int set_cpuid(const struct vcpu_kvm *k, const void *st, struct fail *why)
{
	const struct vcpu_cpuid_state *s = st;
	union cpuid_call c = { .head.nent =
				   MIN(s->n, (uint32_t)CPUID_MAX_ENTRIES) };

	for (unsigned i = 0; i < c.head.nent; i++)
		c.head.entries[i] = (struct kvm_cpuid_entry2){
			.function = s->function[i],
			.index = s->index[i],
			.flags = s->flags[i],
			.eax = s->eax[i],
			.ebx = s->ebx[i],
			.ecx = s->ecx[i],
			.edx = s->edx[i],
		};
	return kvm_set_cpuid2(k->fd, &c.head);
}

static int get_msrs(const struct vcpu_kvm *k, void *st)
{
	struct vcpu_msrs_state *s = st;
	union kvm_msr_call c = { .head.nmsrs = 0 };

	for (uint32_t at = 0; at < s->n;) {
		uint32_t part = MIN(s->n - at, (uint32_t)KVM_MSRS_MAX);
		int done;

		c.head.nmsrs = part;
		for (uint32_t i = 0; i < part; i++)
			c.head.entries[i] =
			    (struct kvm_msr_entry){ .index = s->index[at + i] };
		done = kvm_get_msrs(k->fd, &c.head);
		if (done < 0)
			return done;
		for (uint32_t i = 0; i < (uint32_t)done; i++)
			s->value[at + i] = c.head.entries[i].data;
		if ((uint32_t)done < part)
			return -EIO;
		at += part;
	}
	return 0;
}

/* -EIO with `why` when KVM takes fewer. */
static int set_call(const struct vcpu_kvm *k, const struct kvm_msrs *m,
		    struct fail *why)
{
	int done = kvm_set_msrs(k->fd, m);

	if (done < 0)
		return fail_set(why, EXIT_OWN_FAILURE, done, "kvm", NULL,
				"set the vCPU's MSRs: %s", strerror(-done));
	if ((uint32_t)done < m->nmsrs)
		return fail_set(why, EXIT_OWN_FAILURE, -EIO, "kvm", NULL,
				"KVM refuses MSR 0x%x = 0x%" PRIx64,
				m->entries[done].index,
				(uint64_t)m->entries[done].data);
	return 0;
}

/* Sets those that `pick` says. */
static int set_some(const struct vcpu_kvm *k, const struct vcpu_msrs_state *s,
		    bool (*pick)(uint32_t index), struct fail *why)
{
	union kvm_msr_call c = { .head.nmsrs = 0 };
	uint32_t n = 0;

	for (uint32_t i = 0; i <= s->n; i++) {
		if (n == KVM_MSRS_MAX || (i == s->n && n)) {
			int r;

			c.head.nmsrs = n;
			r = set_call(k, &c.head, why);
			if (r)
				return r;
			n = 0;
		}
		if (i < s->n && pick(s->index[i]))
			c.head.entries[n++] =
			    (struct kvm_msr_entry){ .index = s->index[i],
						    .data = s->value[i] };
	}
	return 0;
}

static bool is_deadline(uint32_t index)
{
	return index == MSR_TSC_DEADLINE;
}

static bool is_plain(uint32_t index)
{
	return index != MSR_TSC_DEADLINE && index != MSR_TSC;
}

/* The deadline last: KVM drops it while the LAPIC is in another mode, and
 * compares it with the guest's TSC at once. */
static int set_msrs(const struct vcpu_kvm *k, const void *st, struct fail *why)
{
	int r = set_some(k, st, is_plain, why);

	return r ? r : set_some(k, st, is_deadline, why);
}

static int get_events(const struct vcpu_kvm *k, void *st)
{
	memset(st, 0, sizeof(struct kvm_vcpu_events));
	return kvm_get_vcpu_events(k->fd, st);
}

static int set_events(const struct vcpu_kvm *k, const void *st,
		      struct fail *why)
{
	return kvm_set_vcpu_events(k->fd, st);
}

/* ---- the table ---- */

#define ITEM(member)                                                           \
	{                                                                      \
#member, &member##_desc, offsetof(struct vcpu_state, member),  \
		    get_##member, set_##member                                 \
	}

const struct vcpu_item vcpu_items[VCPU_ITEMS] = {
	[VCPU_MP] = ITEM(mp),	      [VCPU_REGS] = ITEM(regs),
	[VCPU_SREGS] = ITEM(sregs),   [VCPU_XSAVE] = ITEM(xsave),
	[VCPU_XCRS] = ITEM(xcrs),     [VCPU_DEBUG] = ITEM(debug),
	[VCPU_LAPIC] = ITEM(lapic),   [VCPU_TSC] = ITEM(tsc),
	[VCPU_CPUID] = ITEM(cpuid),   [VCPU_MSRS] = ITEM(msrs),
	[VCPU_EVENTS] = ITEM(events),
};

/* MP_STATE first, since reading it lets KVM act on a pending INIT or SIPI,
 * which changes others; the LAPIC late, as reading it brings its timer up to
 * date; the events last. */
const enum vcpu_item_id vcpu_save_order[VCPU_ITEMS] = {
	VCPU_MP,    VCPU_REGS,	VCPU_SREGS, VCPU_XSAVE, VCPU_XCRS,   VCPU_DEBUG,
	VCPU_LAPIC, VCPU_CPUID, VCPU_MSRS,  VCPU_TSC,	VCPU_EVENTS,
};

/* REGS before the events: it drops a pending exception. SREGS before the LAPIC:
 * it has the APIC's base and mode. The TSC before the LAPIC, whose timer is
 * armed by it; the LAPIC before the MSRs, since the deadline only sticks in
 * deadline mode. */
const enum vcpu_item_id vcpu_load_order[VCPU_LOAD_ITEMS] = {
	VCPU_MP,    VCPU_REGS, VCPU_SREGS, VCPU_XSAVE, VCPU_XCRS,
	VCPU_DEBUG, VCPU_TSC,  VCPU_LAPIC, VCPU_MSRS,  VCPU_EVENTS,
};

void *vcpu_item_of(struct vcpu_state *s, enum vcpu_item_id id)
{
	return (uint8_t *)s + vcpu_items[id].offset;
}

static int fail_item(const struct vcpu_item *i, int r, const char *verb,
		     struct fail *why)
{
	return fail_set(why, EXIT_OWN_FAILURE, r, "kvm", NULL,
			"%s the vCPU's %s: %s", verb, i->name, strerror(-r));
}

int vcpu_state_get(const struct vcpu_kvm *k, struct vcpu_state *s,
		   struct fail *why)
{
	for (unsigned i = 0; i < VCPU_ITEMS; i++) {
		enum vcpu_item_id id = vcpu_save_order[i];
		int r = vcpu_items[id].get(k, vcpu_item_of(s, id));

		if (r < 0)
			return fail_item(&vcpu_items[id], r, "read", why);
	}
	return 0;
}

int vcpu_state_set(const struct vcpu_kvm *k, const struct vcpu_state *s,
		   struct fail *why)
{
	for (unsigned i = 0; i < VCPU_LOAD_ITEMS; i++) {
		const struct vcpu_item *item = &vcpu_items[vcpu_load_order[i]];
		struct fail own = { .code = EXIT_OK };
		int r = item->set(k, (const uint8_t *)s + item->offset, &own);

		if (r < 0 && own.code == EXIT_OK)
			return fail_item(item, r, "set", why);
		if (r < 0) {
			if (why)
				*why = own;
			return r;
		}
	}
	return 0;
}
