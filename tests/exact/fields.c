/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of fields, and how each item is read and set. */
#include "fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "exact.h"
#include "kvm.h"
#include "machine_impl.h"
#include "util.h"

struct row {
	const char *name;
	uint32_t offset, size;
};
#define ROW(T, f)                                                              \
	{                                                                      \
#f, offsetof(T, f), sizeof(((T *)0)->f)                        \
	}

static const struct row mp_rows[] = { ROW(struct kvm_mp_state, mp_state) };

#define R(f) ROW(struct kvm_regs, f)
static const struct row regs_rows[] = {
	R(rax), R(rbx), R(rcx), R(rdx), R(rsi), R(rdi),
	R(rsp), R(rbp), R(r8),	R(r9),	R(r10), R(r11),
	R(r12), R(r13), R(r14), R(r15), R(rip), R(rflags),
};

#define S(f) ROW(struct kvm_sregs, f)
#define SEGMENT(seg)                                                           \
	S(seg.base), S(seg.limit), S(seg.selector), S(seg.type),               \
	    S(seg.present), S(seg.dpl), S(seg.db), S(seg.s), S(seg.l),         \
	    S(seg.g), S(seg.avl), S(seg.unusable)
static const struct row sregs_rows[] = {
	SEGMENT(cs), SEGMENT(ds),  SEGMENT(es),	 SEGMENT(fs),
	SEGMENT(gs), SEGMENT(ss),  SEGMENT(tr),	 SEGMENT(ldt),
	S(gdt.base), S(gdt.limit), S(idt.base),	 S(idt.limit),
	S(cr0),	     S(cr2),	   S(cr3),	 S(cr4),
	S(cr8),	     S(efer),	   S(apic_base), S(interrupt_bitmap),
};

#define SIXTEEN(x, at)                                                         \
	{ x "0", at, 16 }, { x "1", at + 16, 16 }, { x "2", at + 32, 16 },     \
	    { x "3", at + 48, 16 }, { x "4", at + 64, 16 },                    \
	    { x "5", at + 80, 16 }, { x "6", at + 96, 16 },                    \
	{                                                                      \
		x "7", at + 112, 16                                            \
	}
static const struct row xsave_rows[] = {
	{ "fcw", 0, 2 },
	{ "fsw", 2, 2 },
	{ "ftw", 4, 1 },
	{ "mxcsr", 24, 4 },
	SIXTEEN("st", 32),
	SIXTEEN("xmm", 160),
	SIXTEEN("xmm8+", 288),
	SIXTEEN("ymm high ", 576),
	SIXTEEN("ymm8+ high ", 704),
	{ "xstate_bv", 512, 8 },
};

static const struct row xcrs_rows[] = {
	{ "xcr0", offsetof(struct kvm_xcrs, xcrs[0].value), 8 }
};

#define D(f) ROW(struct kvm_debugregs, f)
static const struct row debug_rows[] = { D(db[0]), D(db[1]), D(db[2]),
					 D(db[3]), D(dr6),   D(dr7) };

#define EIGHT(x, at)                                                           \
	{ x "0", at, 4 }, { x "1", at + 0x10, 4 }, { x "2", at + 0x20, 4 },    \
	    { x "3", at + 0x30, 4 }, { x "4", at + 0x40, 4 },                  \
	    { x "5", at + 0x50, 4 }, { x "6", at + 0x60, 4 },                  \
	{                                                                      \
		x "7", at + 0x70, 4                                            \
	}
static const struct row lapic_rows[] = {
	{ "id", 0x20, 4 },
	{ "tpr", 0x80, 4 },
	{ "ldr", 0xd0, 4 },
	{ "dfr", 0xe0, 4 },
	{ "svr", 0xf0, 4 },
	EIGHT("isr", 0x100),
	EIGHT("tmr", 0x180),
	EIGHT("irr", 0x200),
	{ "esr", 0x280, 4 },
	{ "icr", 0x300, 4 },
	{ "icr2", 0x310, 4 },
	{ "lvt timer", 0x320, 4 },
	{ "lvt thermal", 0x330, 4 },
	{ "lvt pmc", 0x340, 4 },
	{ "lvt lint0", 0x350, 4 },
	{ "lvt lint1", 0x360, 4 },
	{ "lvt error", 0x370, 4 },
	{ "timer initial", 0x380, 4 },
	{ "timer divide", 0x3e0, 4 },
};

#define E(f) ROW(struct kvm_vcpu_events, f)
static const struct row events_rows[] = {
	E(exception.injected),
	E(exception.nr),
	E(exception.has_error_code),
	E(exception.pending),
	E(exception.error_code),
	E(interrupt.injected),
	E(interrupt.nr),
	E(interrupt.soft),
	E(interrupt.shadow),
	E(nmi.injected),
	E(nmi.pending),
	E(nmi.masked),
	E(sipi_vector),
	E(exception_has_payload),
	E(exception_payload),
};

#define P(f) ROW(struct kvm_pic_state, f)
static const struct row pic_rows[] = {
	P(last_irr),
	P(irr),
	P(imr),
	P(isr),
	P(priority_add),
	P(irq_base),
	P(read_reg_select),
	P(poll),
	P(special_mask),
	P(init_state),
	P(auto_eoi),
	P(rotate_on_auto_eoi),
	P(special_fully_nested_mode),
	P(init4),
	P(elcr),
	P(elcr_mask),
};

#define I(f) ROW(struct kvm_ioapic_state, f)
static const struct row ioapic_rows[] = {
	I(base_address), I(ioregsel),	  I(id),	   I(irr),
	I(redirtbl[0]),	 I(redirtbl[1]),  I(redirtbl[2]),  I(redirtbl[3]),
	I(redirtbl[4]),	 I(redirtbl[5]),  I(redirtbl[6]),  I(redirtbl[7]),
	I(redirtbl[8]),	 I(redirtbl[9]),  I(redirtbl[10]), I(redirtbl[11]),
	I(redirtbl[12]), I(redirtbl[13]), I(redirtbl[14]), I(redirtbl[15]),
	I(redirtbl[16]), I(redirtbl[17]), I(redirtbl[18]), I(redirtbl[19]),
	I(redirtbl[20]), I(redirtbl[21]), I(redirtbl[22]), I(redirtbl[23]),
};

static const struct row clock_rows[] = { ROW(struct kvm_clock_data, clock) };
static const struct row tsc_rows[] = { { "offset", 0, 8 } };

static const struct {
	const char *name;
	const struct row *rows;
	unsigned nrows;
} items[ITEMS] = {
#define ITEM(i, text, r) [i] = { text, r, ARRAY_SIZE(r) }
	ITEM(ITEM_MP_STATE, "mp", mp_rows),
	ITEM(ITEM_REGS, "regs", regs_rows),
	ITEM(ITEM_SREGS, "sregs", sregs_rows),
	ITEM(ITEM_XSAVE, "xsave", xsave_rows),
	ITEM(ITEM_XCRS, "xcrs", xcrs_rows),
	ITEM(ITEM_DEBUGREGS, "debugregs", debug_rows),
	ITEM(ITEM_LAPIC, "lapic", lapic_rows),
	ITEM(ITEM_EVENTS, "events", events_rows),
	ITEM(ITEM_PIC0, "pic0", pic_rows),
	ITEM(ITEM_PIC1, "pic1", pic_rows),
	ITEM(ITEM_IOAPIC, "ioapic", ioapic_rows),
	ITEM(ITEM_CLOCK, "clock", clock_rows),
	ITEM(ITEM_TSC, "tsc", tsc_rows),
};

static unsigned list_msrs(struct field *out)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < exact_msrs->n; i++) {
		struct field *f = &out[n];

		if (!exact_msrs->msr[i].writable)
			continue;
		*f = (struct field){ .item = ITEM_MSR, .which = i, .size = 8 };
		snprintf(f->name, sizeof(f->name), "msr 0x%x",
			 exact_msrs->msr[i].index);
		n++;
	}
	return n;
}

static unsigned list_device(struct machine *m, unsigned d, struct field *out)
{
	const struct state_desc *s = m->device[d]->ops->state;

	for (unsigned i = 0; s && i < s->nfields; i++) {
		out[i] = (struct field){
			.item = ITEM_DEVICE,
			.which = d,
			.offset = s->fields[i].offset,
			.size =
			    (uint32_t)s->fields[i].count * s->fields[i].size,
			.timed = !strcmp(s->fields[i].name, "offset_s"),
		};
		snprintf(out[i].name, sizeof(out[i].name), "%s.%s",
			 m->device[d]->name, s->fields[i].name);
	}
	return s ? s->nfields : 0;
}

unsigned fields_list(struct machine *m, struct field out[FIELDS_MAX])
{
	unsigned n = 0;

	for (unsigned i = 0; i < ITEMS; i++)
		for (unsigned j = 0; j < items[i].nrows; j++) {
			const struct row *r = &items[i].rows[j];

			out[n] = (struct field){
				.item = (enum field_item)i,
				.offset = r->offset,
				.size = r->size,
				.timed = i == ITEM_CLOCK || i == ITEM_TSC,
			};
			snprintf(out[n].name, sizeof(out[n].name), "%s.%s",
				 items[i].name, r->name);
			n++;
		}
	n += list_msrs(out + n);
	for (unsigned i = 0; i < m->ndevices; i++)
		n += list_device(m, i, out + n);
	return n;
}

/* ---- items ---- */

static int msr(int vcpu, uint32_t i, uint8_t *item, bool set)
{
	uint32_t index = exact_msrs->msr[i].index;
	uint64_t value;
	int r;

	if (set) {
		memcpy(&value, item, sizeof(value));
		return kvm_set_msr(vcpu, index, value);
	}
	r = kvm_get_msr(vcpu, index, &value);
	memcpy(item, &value, sizeof(value));
	return r;
}

static int chip(struct machine *m, uint32_t id, uint8_t *item, bool set)
{
	struct kvm_irqchip c = { .chip_id = id };
	int r = kvm_get_irqchip(m->vm_fd, &c);

	if (r || !set) {
		memcpy(item, &c.chip, sizeof(c.chip));
		return r;
	}
	memcpy(&c.chip, item, sizeof(c.chip));
	return kvm_set_irqchip(m->vm_fd, &c);
}

static int device(struct device *d, uint8_t *item, bool set)
{
	size_t n = d->ops->state->size;
	_locked_(&d->lock);

	if (n > ITEM_BYTES)
		return -E2BIG;
	if (!set) {
		memcpy(item, d->st, n);
		return 0;
	}
	memcpy(d->st, item, n);
	return d->ops->restored ? d->ops->restored(d) : 0;
}

static int call(int fd, unsigned long nr, void *arg)
{
	return ioctl(fd, nr, arg) < 0 ? -errno : 0;
}

static int tsc(int vcpu, uint8_t *item, bool set)
{
	struct kvm_device_attr a = { .group = KVM_VCPU_TSC_CTRL,
				     .attr = KVM_VCPU_TSC_OFFSET,
				     .addr = (uintptr_t)item };

	return call(vcpu, set ? KVM_SET_DEVICE_ATTR : KVM_GET_DEVICE_ATTR, &a);
}

int field_item_get(struct machine *m, const struct field *f,
		   uint8_t item[ITEM_BYTES])
{
	int vcpu = m->vcpu[0].fd;

	memset(item, 0, ITEM_BYTES);
	switch (f->item) {
	case ITEM_MP_STATE:
		return kvm_get_mp_state(vcpu, (void *)item);
	case ITEM_REGS:
		return kvm_get_regs(vcpu, (void *)item);
	case ITEM_SREGS:
		return kvm_get_sregs(vcpu, (void *)item);
	case ITEM_XSAVE:
		return kvm_get_xsave(vcpu, (void *)item);
	case ITEM_XCRS:
		return kvm_get_xcrs(vcpu, (void *)item);
	case ITEM_DEBUGREGS:
		return kvm_get_debugregs(vcpu, (void *)item);
	case ITEM_LAPIC:
		return kvm_get_lapic(vcpu, (void *)item);
	case ITEM_EVENTS:
		return kvm_get_vcpu_events(vcpu, (void *)item);
	case ITEM_MSR:
		return msr(vcpu, f->which, item, false);
	case ITEM_PIC0:
	case ITEM_PIC1:
	case ITEM_IOAPIC:
		return chip(m, f->item - ITEM_PIC0, item, false);
	case ITEM_DEVICE:
		return device(m->device[f->which], item, false);
	case ITEM_CLOCK:
		return call(m->vm_fd, KVM_GET_CLOCK, item);
	case ITEM_TSC:
		return tsc(vcpu, item, false);
	case ITEMS:
		break;
	}
	return -EINVAL;
}

/* All that may be set is set. */
static int set_events(int vcpu, uint8_t *item)
{
	struct kvm_vcpu_events *e = (void *)item;

	e->flags |= KVM_VCPUEVENT_VALID_NMI_PENDING |
		    KVM_VCPUEVENT_VALID_SIPI_VECTOR |
		    KVM_VCPUEVENT_VALID_SHADOW;
	return kvm_set_vcpu_events(vcpu, e);
}

int field_item_set(struct machine *m, const struct field *f,
		   const uint8_t from[ITEM_BYTES])
{
	uint8_t item[ITEM_BYTES] __attribute__((aligned(64)));
	int vcpu = m->vcpu[0].fd;

	memcpy(item, from, sizeof(item));
	switch (f->item) {
	case ITEM_MP_STATE:
		return kvm_set_mp_state(vcpu, (void *)item);
	case ITEM_REGS:
		return kvm_set_regs(vcpu, (void *)item);
	case ITEM_SREGS:
		return kvm_set_sregs(vcpu, (void *)item);
	case ITEM_XSAVE:
		return kvm_set_xsave(vcpu, (void *)item);
	case ITEM_XCRS:
		return kvm_set_xcrs(vcpu, (void *)item);
	case ITEM_DEBUGREGS:
		return kvm_set_debugregs(vcpu, (void *)item);
	case ITEM_LAPIC:
		return kvm_set_lapic(vcpu, (void *)item);
	case ITEM_EVENTS:
		return set_events(vcpu, item);
	case ITEM_MSR:
		return msr(vcpu, f->which, item, true);
	case ITEM_PIC0:
	case ITEM_PIC1:
	case ITEM_IOAPIC:
		return chip(m, f->item - ITEM_PIC0, item, true);
	case ITEM_DEVICE:
		return device(m->device[f->which], item, true);
	case ITEM_CLOCK:
		((struct kvm_clock_data *)item)->flags = 0;
		return call(m->vm_fd, KVM_SET_CLOCK, item);
	case ITEM_TSC:
		return tsc(vcpu, item, true);
	case ITEMS:
		break;
	}
	return -EINVAL;
}
