/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine saved and set: what is saved of it, in which order it is read and
 * set, and its bytes.
 *
 * The guest's clocks. kvmclock and the TSC go on from where they were: the
 * clock is set first, then read back together with the host's TSC, and all
 * vCPUs' offsets are shifted by the same amount, so that they keep their
 * differences to the tick.
 *
 * Devices come first, then the irqchip, then the vCPUs: what setting one of
 * them does to the next is undone by that one's own state.
 */
#include "machine_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kvm.h"
#include "log.h"
#include "state_file.h"
#include "util.h"

#define ROW(f)	 STATE(T, f, 1)
#define ARRAY(f) STATE_ARRAY(T, f, 1)

/* ---- the machine's shape ---- */

struct shape_state {
	uint64_t memory_bytes;
	uint64_t region_gpa[GMEM_MAX_REGIONS];
	uint64_t region_bytes[GMEM_MAX_REGIONS];
	uint32_t cpus, devices;
};

#define T struct shape_state
static const struct state_field shape_rows[] = {
	ROW(memory_bytes), ARRAY(region_gpa), ARRAY(region_bytes),
	ROW(cpus),	   ROW(devices),
};
static const struct state_desc shape_desc =
    STATE_DESC("machine", 1, T, shape_rows);
#undef T

/* ---- the clock ---- */

struct clock_state {
	uint64_t clock_ns;    /* kvmclock */
	uint64_t host_tsc;    /* at that moment */
	uint64_t realtime_ns; /* CLOCK_REALTIME of the host, likewise */
};

#define T struct clock_state
static const struct state_field clock_rows[] = {
	ROW(clock_ns),
	ROW(host_tsc),
	ROW(realtime_ns),
};
static const struct state_desc clock_desc =
    STATE_DESC("clock", 1, T, clock_rows);
#undef T

static uint64_t host_tsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static uint64_t host_realtime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* KVM tells TSC and time of the very moment where its clock is built on the
 * TSC; a VM that has never run may not have that yet (Documentation/virt/kvm/
 * api.rst, KVM_GET_CLOCK). Else they are read right after it. */
static int get_clock(int vm_fd, struct clock_state *s)
{
	struct kvm_clock_data c = { 0 };
	int r = kvm_get_clock(vm_fd, &c);

	*s = (struct clock_state){
		.clock_ns = c.clock,
		.host_tsc =
		    c.flags & KVM_CLOCK_HOST_TSC ? c.host_tsc : host_tsc(),
		.realtime_ns = c.flags & KVM_CLOCK_REALTIME
				   ? c.realtime
				   : host_realtime_ns(),
	};
	return r;
}

/* ---- the irqchip ---- */

#define T struct kvm_pic_state
static const struct state_field pic_rows[] = {
	ROW(last_irr),
	ROW(irr),
	ROW(imr),
	ROW(isr),
	ROW(priority_add),
	ROW(irq_base),
	ROW(read_reg_select),
	ROW(poll),
	ROW(special_mask),
	ROW(init_state),
	ROW(auto_eoi),
	ROW(rotate_on_auto_eoi),
	ROW(special_fully_nested_mode),
	ROW(init4),
	ROW(elcr),
	ROW(elcr_mask),
};
static const struct state_desc pic_desc = STATE_DESC("pic", 1, T, pic_rows);
#undef T

struct ioapic_state {
	uint64_t base_address;
	uint64_t redirtbl[KVM_IOAPIC_NUM_PINS];
	uint32_t ioregsel, id, irr, pad;
};

#define T struct ioapic_state
static const struct state_field ioapic_rows[] = {
	ROW(base_address), ARRAY(redirtbl), ROW(ioregsel),
	ROW(id),	   ROW(irr),	    ROW(pad),
};
static const struct state_desc ioapic_desc =
    STATE_DESC("ioapic", 1, T, ioapic_rows);
#undef T

struct irqchip_state {
	struct kvm_pic_state pic[2];
	struct ioapic_state ioapic;
};

static int get_irqchip(int vm_fd, struct irqchip_state *s)
{
	struct kvm_irqchip c = { 0 };
	const struct kvm_ioapic_state *io = &c.chip.ioapic;
	int r = 0;

	for (uint32_t i = 0; i < 2 && r == 0; i++) {
		c.chip_id = i;
		r = kvm_get_irqchip(vm_fd, &c);
		s->pic[i] = c.chip.pic;
	}
	c.chip_id = KVM_IRQCHIP_IOAPIC;
	if (r < 0 || (r = kvm_get_irqchip(vm_fd, &c)))
		return r;
	s->ioapic = (struct ioapic_state){
		.base_address = io->base_address,
		.ioregsel = io->ioregsel,
		.id = io->id,
		.irr = io->irr,
		.pad = io->pad,
	};
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		s->ioapic.redirtbl[i] = io->redirtbl[i].bits;
	return 0;
}

static int set_irqchip(int vm_fd, const struct irqchip_state *s)
{
	struct kvm_irqchip c = { 0 };
	struct kvm_ioapic_state *io = &c.chip.ioapic;
	int r = 0;

	for (uint32_t i = 0; i < 2 && r == 0; i++) {
		c.chip_id = i;
		c.chip.pic = s->pic[i];
		r = kvm_set_irqchip(vm_fd, &c);
	}
	if (r < 0)
		return r;
	memset(&c, 0, sizeof(c));
	c.chip_id = KVM_IRQCHIP_IOAPIC;
	io->base_address = s->ioapic.base_address;
	io->ioregsel = s->ioapic.ioregsel;
	io->id = s->ioapic.id;
	io->irr = s->ioapic.irr;
	io->pad = s->ioapic.pad;
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		io->redirtbl[i].bits = s->ioapic.redirtbl[i];
	return kvm_set_irqchip(vm_fd, &c);
}

const struct state_desc *machine_saved_table(unsigned i)
{
	static const struct state_desc *const table[] = {
		&shape_desc,
		&clock_desc,
		&pic_desc,
		&ioapic_desc,
	};

	return i < ARRAY_SIZE(table) ? table[i] : NULL;
}

/* ---- saved ---- */

struct saved_device {
	const struct device *dev; /* of the machine that it was made for */
	void *st;
};

struct machine_saved {
	struct shape_state shape;
	struct clock_state clock;
	struct irqchip_state irqchip;
	struct vcpu_state *vcpu;		   /* shape.cpus of them */
	const struct vcpu_cpuid_state *host_cpuid; /* what this host offers */
	struct saved_device device[MAX_DEVICES];
};

void machine_saved_destroy(struct machine_saved *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < MAX_DEVICES; i++)
		free(s->device[i].st);
	free(s->vcpu);
	free(s);
}

static void fill_shape(struct shape_state *s, const struct machine *m)
{
	s->memory_bytes = m->ram.bytes;
	for (unsigned i = 0; i < m->ram.nregions; i++) {
		s->region_gpa[i] = m->ram.region[i].gpa;
		s->region_bytes[i] = m->ram.region[i].bytes;
	}
	s->cpus = m->nvcpus;
	s->devices = m->ndevices;
}

/* Memory that was written to once: the pause meets no first touch. */
static void *touched(size_t bytes)
{
	void *p = malloc(bytes);

	if (p)
		memset(p, 0, bytes);
	/* Else the two are one calloc, whose pages are not there yet. */
	__asm__ volatile("" : : "r"(p) : "memory");
	return p;
}

static int make_parts(struct machine_saved *s, const struct machine *m)
{
	fill_shape(&s->shape, m);
	s->vcpu = touched(m->nvcpus * sizeof(*s->vcpu));
	if (!s->vcpu)
		return -ENOMEM;
	for (unsigned i = 0; i < m->nvcpus; i++) {
		const struct vcpu_msrs_state *msrs = &m->vcpu[i].power_on->msrs;

		s->vcpu[i].msrs.n = msrs->n;
		memcpy(s->vcpu[i].msrs.index, msrs->index, sizeof(msrs->index));
	}
	s->host_cpuid = &m->vcpu[0].power_on->cpuid;
	for (unsigned i = 0; i < m->ndevices; i++) {
		s->device[i].dev = m->device[i];
		s->device[i].st = touched(m->device[i]->ops->state->size);
		if (!s->device[i].st)
			return -ENOMEM;
	}
	return 0;
}

int machine_saved_create(struct machine_saved **out, const struct machine *m,
			 struct fail *why)
{
	struct machine_saved *s = touched(sizeof(*s));
	int r = s ? make_parts(s, m) : -ENOMEM;

	if (r < 0) {
		machine_saved_destroy(s);
		return fail_set(why, EXIT_NO_SPACE, r, "machine", NULL,
				"no memory for its state");
	}
	*out = s;
	return 0;
}

static int failed(struct fail *why, int r, const char *what)
{
	return fail_set(why, EXIT_OWN_FAILURE, r, "machine", NULL, "%s: %s",
			what, strerror(-r));
}

int machine_save(struct machine *m, struct machine_saved *s, struct fail *why)
{
	int r;

	assert(m->state == MACHINE_QUIESCED);
	if (machine_event_waits(m))
		return fail_set(why, EXIT_WRONG_STATE, -EBUSY, "machine", NULL,
				"the guest is just ending or resetting");
	r = get_clock(m->vm_fd, &s->clock);
	if (r < 0)
		return failed(why, r, "KVM_GET_CLOCK");
	for (unsigned i = 0; i < m->nvcpus; i++) {
		r = vcpu_state_get(&m->vcpu[i].kvm, &s->vcpu[i], why);
		if (r < 0)
			return r;
	}
	r = get_irqchip(m->vm_fd, &s->irqchip);
	if (r < 0)
		return failed(why, r, "KVM_GET_IRQCHIP");
	for (unsigned i = 0; i < m->ndevices; i++) {
		struct device *d = m->device[i];
		_locked_(&d->lock);

		memcpy(s->device[i].st, d->st, d->ops->state->size);
	}
	return 0;
}

/* ---- set ---- */

/* What the host's TSC has to be shifted by, for a guest's to go on where it
 * was. */
static int set_clock(struct machine *m, const struct clock_state *saved,
		     enum clock_policy policy, uint64_t *shift)
{
	uint64_t khz = m->vcpu[0].power_on->tsc.khz;
	struct kvm_clock_data c = { .clock = saved->clock_ns };
	struct clock_state now;
	uint64_t ns, real = host_realtime_ns();
	int r;

	/* A host whose clock was set back is no reason to set the guest's. */
	if (policy == CLOCK_ADVANCE && real > saved->realtime_ns)
		c.clock += real - saved->realtime_ns;
	r = kvm_set_clock(m->vm_fd, &c);
	if (r == 0)
		r = get_clock(m->vm_fd, &now);
	if (r < 0)
		return r;
	/* As much time has passed by one clock as by the other. */
	ns = now.clock_ns - saved->clock_ns;
	*shift = saved->host_tsc - now.host_tsc +
		 (uint64_t)((unsigned __int128)ns * khz / 1000000);
	return 0;
}

static int set_vcpus(struct machine *m, const struct machine_saved *s,
		     uint64_t shift, struct fail *why)
{
	for (unsigned i = 0; i < m->nvcpus; i++) {
		struct vcpu_kvm k = m->vcpu[i].kvm;
		int r;

		k.tsc_shift = shift;
		r = vcpu_state_set(&k, &s->vcpu[i], why);
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_devices(struct machine *m, const struct machine_saved *s,
		       struct fail *why)
{
	for (unsigned i = 0; i < m->ndevices; i++) {
		struct device *d = m->device[i];
		int r = 0;
		_locked_(&d->lock);

		memcpy(d->st, s->device[i].st, d->ops->state->size);
		if (d->ops->restored)
			r = d->ops->restored(d);
		if (r < 0)
			return fail_set(why, EXIT_INTEGRITY, r, d->name, NULL,
					"its saved state is none that it could "
					"have had");
	}
	return 0;
}

/* The guest's kvmclock pages get the mark of a stop, where there are any. */
static int tell_kvmclock(struct machine *m)
{
	for (unsigned i = 0; i < m->nvcpus; i++) {
		int r = kvm_kvmclock_ctrl(m->vcpu[i].fd);

		if (r < 0 && r != -EINVAL)
			return r;
	}
	return 0;
}

int machine_restore(struct machine *m, const struct machine_saved *s,
		    const struct machine_restore *how,
		    const struct boot_source *src, struct fail *why)
{
	uint64_t shift;
	int r;

	assert(m->state == MACHINE_NEW || m->state == MACHINE_QUIESCED);
	if (src)
		m->src = src;
	atomic_store(&m->pending, 0);
	/* First the devices: they raise their lines, which to a chip that has
	 * its state already would be another edge. */
	r = set_devices(m, s, why);
	if (r < 0)
		return r;
	r = set_irqchip(m->vm_fd, &s->irqchip);
	if (r < 0)
		return failed(why, r, "KVM_SET_IRQCHIP");
	r = set_clock(m, &s->clock, how->clock, &shift);
	if (r < 0)
		return failed(why, r, "KVM_SET_CLOCK");
	r = set_vcpus(m, s, shift, why);
	if (r < 0)
		return r;
	/* With its old identity, and its clocks where they were, the guest goes
	 * on as if nothing had been: it is told nothing. */
	if (how->vmgenid || how->clock == CLOCK_ADVANCE)
		machine_devices_moved(m, how->vmgenid);
	r = tell_kvmclock(m);
	if (r < 0)
		return failed(why, r, "KVM_KVMCLOCK_CTRL");
	machine_quiesced(m);
	return 0;
}

/* ---- as bytes ---- */

#define INSTANCE_MAX 16

static const char *vcpu_name(char name[INSTANCE_MAX], unsigned i)
{
	snprintf(name, INSTANCE_MAX, "vcpu%u", i);
	return name;
}

int machine_saved_encode(const struct machine_saved *s, uint8_t **data,
			 size_t *len, struct fail *why)
{
	struct state_writer w = { 0 };
	char name[INSTANCE_MAX];
	int r;

	state_writer_put(&w, &shape_desc, "machine", &s->shape);
	state_writer_put(&w, &clock_desc, "clock", &s->clock);
	state_writer_put(&w, &pic_desc, "pic0", &s->irqchip.pic[0]);
	state_writer_put(&w, &pic_desc, "pic1", &s->irqchip.pic[1]);
	state_writer_put(&w, &ioapic_desc, "ioapic", &s->irqchip.ioapic);
	for (unsigned i = 0; i < s->shape.cpus; i++)
		for (unsigned j = 0; j < VCPU_ITEMS; j++)
			state_writer_put(&w, vcpu_items[j].desc,
					 vcpu_name(name, i),
					 (const uint8_t *)&s->vcpu[i] +
					     vcpu_items[j].offset);
	for (unsigned i = 0; i < s->shape.devices; i++)
		state_writer_put(&w, s->device[i].dev->ops->state,
				 s->device[i].dev->name, s->device[i].st);
	r = state_writer_end(&w, data, len);
	return r < 0 ? failed(why, r, "encode its state") : 0;
}

static int other_shape(struct fail *why, const char *what, uint64_t has,
		       uint64_t here)
{
	return fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, "machine",
			"leave it out: the snapshot says it",
			"the snapshot has %llu %s, this machine %llu",
			(unsigned long long)has, what,
			(unsigned long long)here);
}

static int judge_shape(const struct shape_state *f, const struct shape_state *m,
		       struct fail *why)
{
	if (f->cpus != m->cpus)
		return other_shape(why, "vCPUs", f->cpus, m->cpus);
	if (f->memory_bytes != m->memory_bytes)
		return other_shape(why, "bytes of RAM", f->memory_bytes,
				   m->memory_bytes);
	if (f->devices != m->devices)
		return other_shape(why, "devices", f->devices, m->devices);
	if (memcmp(f, m, sizeof(*f)))
		return fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, "machine",
				NULL, "its RAM lies at other addresses here");
	return 0;
}

static int decode_vcpu(struct state_reader *r, struct vcpu_state *v, unsigned i,
		       struct fail *why)
{
	char name[INSTANCE_MAX];
	int err = 0;

	vcpu_name(name, i);
	for (unsigned j = 0; j < VCPU_ITEMS && !err; j++)
		err = state_reader_get(r, vcpu_items[j].desc, name,
				       vcpu_item_of(v, (enum vcpu_item_id)j),
				       why);
	return err ? err : vcpu_state_judge(v, name, why);
}

static int decode(struct machine_saved *s, struct state_reader *r,
		  struct fail *why)
{
	struct shape_state shape;
	int err = state_reader_get(r, &shape_desc, "machine", &shape, why);

	if (err || (err = judge_shape(&shape, &s->shape, why)) ||
	    (err = state_reader_get(r, &clock_desc, "clock", &s->clock, why)) ||
	    (err = state_reader_get(r, &pic_desc, "pic0", &s->irqchip.pic[0],
				    why)) ||
	    (err = state_reader_get(r, &pic_desc, "pic1", &s->irqchip.pic[1],
				    why)) ||
	    (err = state_reader_get(r, &ioapic_desc, "ioapic",
				    &s->irqchip.ioapic, why)))
		return err;
	for (unsigned i = 0; i < s->shape.cpus && !err; i++)
		err = decode_vcpu(r, &s->vcpu[i], i, why);
	for (unsigned i = 0; i < s->shape.devices && !err; i++)
		err = state_reader_get(r, s->device[i].dev->ops->state,
				       s->device[i].dev->name, s->device[i].st,
				       why);
	return err ? err : state_reader_end(r, why);
}

int machine_saved_decode(struct machine_saved *s, const void *data, size_t len,
			 bool force_cpu, struct fail *why)
{
	struct state_reader r;
	int err = state_reader_init(&r, data, len, why);

	if (!err)
		err = decode(s, &r, why);
	for (unsigned i = 0; i < s->shape.cpus && !err && !force_cpu; i++)
		err = cpuid_judge(&s->vcpu[i].cpuid, s->host_cpuid, why);
	return err;
}

struct gmem *machine_ram(struct machine *m)
{
	return &m->ram;
}

int machine_vm_fd(const struct machine *m)
{
	return m->vm_fd;
}
