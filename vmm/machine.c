/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: RAM, KVM's side, vCPUs, its states. Its devices are in
 * machine_devices.c.
 *
 * What the guest does to its machine (power off, reset, panic) arrives as an
 * event from a vCPU thread. raise() stops all vCPUs at once, so that nothing
 * runs on behind, and leaves the rest to a task on the I/O thread.
 */
#include "machine_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "acpi.h"
#include "kvm.h"
#include "log.h"
#include "loop.h"
#include "platform.h"
#include "util.h"

/* KVM_CAP_X2APIC_API: 32-bit APIC ids, no broadcast quirk */
#define X2APIC_API_FLAGS                                                       \
	(KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)

/* ---- states ---- */

static const char *const state_names[] = {
	[MACHINE_NEW] = "new",
	[MACHINE_QUIESCED] = "paused",
	[MACHINE_RUNNING] = "running",
	[MACHINE_PARKING] = "parking",
};
static_assert(ARRAY_SIZE(state_names) == MACHINE_STATES, "a name a state");

/* The edges drawn in machine.h, as bits of the states that may follow. */
static const uint8_t edges[MACHINE_STATES] = {
	[MACHINE_NEW] = 1 << MACHINE_QUIESCED,
	[MACHINE_QUIESCED] = 1 << MACHINE_QUIESCED | 1 << MACHINE_RUNNING,
	[MACHINE_RUNNING] = 1 << MACHINE_PARKING,
	[MACHINE_PARKING] = 1 << MACHINE_QUIESCED,
};

static void go(struct machine *m, enum machine_state to)
{
	assert(edges[m->state] & 1 << to);
	m->state = to;
}

enum machine_state machine_state(const struct machine *m)
{
	return m->state;
}

void machine_quiesced(struct machine *m)
{
	go(m, MACHINE_QUIESCED);
}

const char *machine_state_name(enum machine_state s)
{
	return state_names[s];
}

/* ---- what the guest does to its machine ---- */

#define EVENT_BIT(e)	  (1u << (e))
#define EVENTS_THAT_GO_ON EVENT_BIT(GUEST_READY)

bool machine_event_waits(const struct machine *m)
{
	return atomic_load(&m->pending) & ~EVENTS_THAT_GO_ON;
}

static void raise_event(struct guest_events *e, enum guest_event what,
			uint32_t value)
{
	struct machine *m = container_of(e, struct machine, events);

	atomic_store(&m->value[what], value);
	atomic_fetch_or(&m->pending, EVENT_BIT(what));
	if (!(EVENT_BIT(what) & EVENTS_THAT_GO_ON))
		for (unsigned i = 0; i < m->nvcpus; i++)
			vcpu_request_park(&m->vcpu[i]);
	loop_post(m->cfg.loop, &m->told);
}

/* Of events that came together, the one that says most about the end. */
static const enum guest_event by_weight[] = {
	GUEST_EXIT,	    GUEST_PANIC,    GUEST_VCPU_FAILED,
	GUEST_TRIPLE_FAULT, GUEST_POWEROFF, GUEST_RESET,
};

static void tell_events(struct loop_task *t)
{
	struct machine *m = container_of(t, struct machine, told);
	uint32_t pending = atomic_exchange(&m->pending, 0);

	if (pending & EVENT_BIT(GUEST_READY))
		m->cfg.event(m->cfg.ctx, GUEST_READY, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(by_weight); i++) {
		if (!(pending & EVENT_BIT(by_weight[i])))
			continue;
		m->cfg.event(m->cfg.ctx, by_weight[i],
			     atomic_load(&m->value[by_weight[i]]));
		return;
	}
}

/* ---- building ---- */

static int fail_step(struct fail *why, int err, const char *what)
{
	return fail_set(why, EXIT_OWN_FAILURE, err, "machine",
			"'tintype doctor' tells what this host lacks", "%s: %s",
			what, strerror(-err));
}

static int check_cpus(struct machine *m, struct fail *why)
{
	int most = kvm_check_extension(m->cfg.kvm_fd, KVM_CAP_MAX_VCPUS);

	if (m->cfg.cpus == 0 || m->cfg.cpus > (unsigned)MAX(most, 1))
		return fail_set(why, EXIT_INCOMPATIBLE, -EINVAL, "machine",
				"give --cpus within that",
				"%u vCPUs: KVM here takes 1 to %d", m->cfg.cpus,
				most);
	return 0;
}

/* RAM is not reserved, so that many small guests may share a host; but one
 * that is larger than the host can never be what was meant. */
static int create_ram(struct machine *m, struct fail *why)
{
	struct gmem_region region[GMEM_MAX_REGIONS];
	struct sysinfo host;
	int n = gmem_layout(m->cfg.memory_bytes, m->cfg.region_max, region);

	if (n < 0)
		return fail_set(why, EXIT_USAGE, n, "machine",
				"give --memory as whole pages",
				"%llu bytes of RAM cannot be laid out",
				(unsigned long long)m->cfg.memory_bytes);
	if (sysinfo(&host) == 0 &&
	    m->cfg.memory_bytes / host.mem_unit > host.totalram)
		return fail_set(
		    why, EXIT_NO_SPACE, -ENOMEM, "machine",
		    "give --memory less than that",
		    "%llu MiB of RAM asked for, this host has %llu",
		    (unsigned long long)m->cfg.memory_bytes >> 20,
		    (unsigned long long)host.totalram * host.mem_unit >> 20);
	n = gmem_init(&m->ram, region, (unsigned)n);
	if (n < 0)
		return fail_set(why, EXIT_NO_SPACE, n, "machine",
				"give --memory less", "map %llu MiB of RAM: %s",
				(unsigned long long)m->cfg.memory_bytes >> 20,
				strerror(-n));
	return 0;
}

static int set_slots(struct machine *m)
{
	for (unsigned i = 0; i < m->ram.nregions; i++) {
		const struct gmem_region *r = &m->ram.region[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = r->gpa,
			.memory_size = r->bytes,
			.userspace_addr = (uint64_t)(uintptr_t)gmem_borrow(
			    &m->ram, GPA(r->gpa), r->bytes),
		};
		int err = kvm_set_user_memory_region(m->vm_fd, &slot);

		if (err < 0)
			return err;
	}
	return 0;
}

/* The irqchip as firmware would hand it over: nothing comes through the PICs,
 * which KVM leaves open, so that a line below 16 would arrive twice. */
static int power_on_irqchip(struct machine *m, struct fail *why)
{
	int r;

	for (uint32_t i = 0; i < NIRQCHIPS; i++) {
		struct kvm_irqchip *c = &m->irqchip[i];

		c->chip_id = i;
		r = kvm_get_irqchip(m->vm_fd, c);
		if (r < 0)
			return fail_step(why, r, "KVM_GET_IRQCHIP");
		if (i == KVM_IRQCHIP_IOAPIC)
			continue;
		c->chip.pic.imr = 0xff;
		r = kvm_set_irqchip(m->vm_fd, c);
		if (r < 0)
			return fail_step(why, r, "KVM_SET_IRQCHIP");
	}
	return 0;
}

/* Memory slots come before the irqchip: the other way round each costs
 * milliseconds (an RCU grace period a slot). */
static int create_vm(struct machine *m, struct fail *why)
{
	int r;

	m->vm_fd = kvm_create_vm(m->cfg.kvm_fd);
	if (m->vm_fd < 0)
		return fail_step(why, m->vm_fd, "KVM_CREATE_VM");
	r = kvm_set_identity_map_addr(m->vm_fd, PLATFORM_KVM_IDENTITY);
	if (r < 0)
		return fail_step(why, r, "KVM_SET_IDENTITY_MAP_ADDR");
	r = kvm_set_tss_addr(m->vm_fd, PLATFORM_KVM_TSS);
	if (r < 0)
		return fail_step(why, r, "KVM_SET_TSS_ADDR");
	r = set_slots(m);
	if (r < 0)
		return fail_step(why, r, "KVM_SET_USER_MEMORY_REGION");
	if (m->cfg.cpus > 255) {
		r = kvm_enable_cap(m->vm_fd, KVM_CAP_X2APIC_API,
				   X2APIC_API_FLAGS);
		if (r < 0)
			return fail_step(why, r, "KVM_CAP_X2APIC_API");
	}
	/* What would be lost else: an exception's address or debug bits that
	 * are not delivered yet; a triple fault on its way. */
	if (kvm_check_extension(m->vm_fd, KVM_CAP_EXCEPTION_PAYLOAD) &&
	    (r = kvm_enable_cap(m->vm_fd, KVM_CAP_EXCEPTION_PAYLOAD, 1)) < 0)
		return fail_step(why, r, "KVM_CAP_EXCEPTION_PAYLOAD");
	if (kvm_check_extension(m->vm_fd, KVM_CAP_X86_TRIPLE_FAULT_EVENT) &&
	    (r = kvm_enable_cap(m->vm_fd, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1)) <
		0)
		return fail_step(why, r, "KVM_CAP_X86_TRIPLE_FAULT_EVENT");
	r = kvm_create_irqchip(m->vm_fd);
	if (r < 0)
		return fail_step(why, r, "KVM_CREATE_IRQCHIP");
	return power_on_irqchip(m, why);
}

static int create_vcpus(struct machine *m, struct fail *why)
{
	int r;

	m->shared = (struct vcpu_shared){
		.kvm_fd = m->cfg.kvm_fd,
		.vm_fd = m->vm_fd,
		.pio = &m->pio,
		.mmio = &m->mmio,
		.events = &m->events,
		.confine = m->cfg.confine,
		.cpus = m->cfg.cpus,
		.exited = m->cfg.exited,
		.exited_ctx = m->cfg.ctx,
	};
	r = vcpu_shared_init(&m->shared, why);
	if (r < 0)
		return r;
	m->vcpu = calloc(m->cfg.cpus, sizeof(*m->vcpu));
	if (!m->vcpu)
		return fail_step(why, -ENOMEM, "vCPUs");
	while (m->nvcpus < m->cfg.cpus) {
		struct vcpu *v = &m->vcpu[m->nvcpus];

		r = vcpu_init(v, &m->shared, m->nvcpus, why);
		m->nvcpus++; /* a half-made one is for vcpu_fini, too */
		if (r < 0)
			return r;
		r = vcpu_start(v);
		if (r < 0)
			return fail_step(why, r, "start a vCPU thread");
	}
	return 0;
}

int machine_create(struct machine **out, const struct machine_config *c,
		   struct fail *why)
{
	struct machine *m = calloc(1, sizeof(*m));
	int r;

	if (!m) {
		close(c->kvm_fd);
		machine_devices_close(c);
		return fail_step(why, -ENOMEM, "machine");
	}
	m->cfg = *c;
	m->vm_fd = -1;
	m->events.raise = raise_event;
	m->told.run = tell_events;
	bus_init(&m->pio, "pio");
	bus_init(&m->mmio, "mmio");
	if ((r = check_cpus(m, why)) || (r = create_ram(m, why)) ||
	    (r = create_vm(m, why)))
		goto out;
	r = machine_devices_create(m);
	if (r < 0) {
		fail_step(why, r, "place the devices");
		goto out;
	}
	r = create_vcpus(m, why);
out:
	if (r < 0)
		machine_destroy(m);
	else
		*out = m;
	return r;
}

void machine_destroy(struct machine *m)
{
	if (m->state == MACHINE_RUNNING)
		machine_pause(m);
	for (unsigned i = 0; i < m->nvcpus; i++)
		vcpu_fini(&m->vcpu[i]);
	loop_unpost(m->cfg.loop, &m->told);
	free(m->vcpu);
	vcpu_shared_fini(&m->shared);
	machine_devices_destroy(m);
	if (m->vm_fd >= 0)
		close(m->vm_fd);
	close(m->cfg.kvm_fd);
	gmem_fini(&m->ram);
	free(m);
}

/* ---- loading and reset ---- */

static int load(struct machine *m, struct fail *why)
{
	struct acpi_config acpi = { .cpus = m->cfg.cpus };
	struct boot_entry entry;
	int r;

	acpi.nvirtio = virtio_bus_windows(&m->virtio, acpi.virtio);
	r = boot_load(&m->ram, m->src, &entry, why);

	if (r < 0)
		return r;
	r = acpi_write(&m->ram, &acpi);
	if (r < 0)
		return fail_step(why, r, "write the ACPI tables");
	return vcpu_enter_at(&m->vcpu[0], &entry, why);
}

int machine_load(struct machine *m, const struct boot_source *src,
		 struct fail *why)
{
	int r;

	assert(m->state == MACHINE_NEW);
	m->src = src;
	r = load(m, why);
	if (r == 0)
		go(m, MACHINE_QUIESCED);
	return r;
}

static int reset(struct machine *m, struct fail *why)
{
	int r;

	go(m, MACHINE_QUIESCED);
	m->resets++;
	/* No vCPU runs, so nothing can be added to it. */
	atomic_store(&m->pending, 0);
	r = gmem_clear(&m->ram);
	if (r < 0)
		return fail_step(why, r, "clear RAM");
	for (unsigned i = 0; i < m->ndevices; i++) {
		_locked_(&m->device[i]->lock);
		m->device[i]->ops->reset(m->device[i]);
	}
	for (unsigned i = 0; i < NIRQCHIPS; i++) {
		r = kvm_set_irqchip(m->vm_fd, &m->irqchip[i]);
		if (r < 0)
			return fail_step(why, r, "KVM_SET_IRQCHIP");
	}
	for (unsigned i = 0; i < m->nvcpus; i++) {
		r = vcpu_reset(&m->vcpu[i], why);
		if (r < 0)
			return r;
	}
	return load(m, why);
}

int machine_reset(struct machine *m, struct fail *why)
{
	bool running = m->state == MACHINE_RUNNING;
	int r;

	if (running)
		machine_pause(m);
	r = reset(m, why);
	if (r == 0 && running)
		machine_run(m);
	return r;
}

/* ---- run and stop ---- */

void machine_run(struct machine *m)
{
	go(m, MACHINE_RUNNING);
	for (unsigned i = 0; i < m->ndevices; i++) {
		_locked_(&m->device[i]->lock);
		if (m->device[i]->ops->resume)
			m->device[i]->ops->resume(m->device[i]);
	}
	/* An event that stops the machine was raised before it was paused and
	 * is still to be told: no guest instruction after it. */
	if (machine_event_waits(m))
		return;
	for (unsigned i = 0; i < m->nvcpus; i++)
		vcpu_unpark(&m->vcpu[i]);
}

static void quiesce(struct machine *m)
{
	for (unsigned i = 0; i < m->ndevices; i++) {
		_locked_(&m->device[i]->lock);
		if (m->device[i]->ops->quiesce)
			m->device[i]->ops->quiesce(m->device[i]);
	}
}

void machine_pause(struct machine *m)
{
	go(m, MACHINE_PARKING);
	quiesce(m);
	for (unsigned i = 0; i < m->nvcpus; i++)
		vcpu_request_park(&m->vcpu[i]);
	for (unsigned i = 0; i < m->nvcpus; i++)
		vcpu_wait_parked(&m->vcpu[i]);
	quiesce(m);
	go(m, MACHINE_QUIESCED);
}

/* ---- looking ---- */

uint64_t machine_vcpu_rip(struct machine *m, unsigned id)
{
	struct kvm_regs regs;

	if (m->state != MACHINE_QUIESCED || id >= m->nvcpus ||
	    kvm_get_regs(m->vcpu[id].fd, &regs) < 0)
		return 0;
	return regs.rip;
}

void machine_counters(struct machine *m, struct machine_counters *out)
{
	*out = (struct machine_counters){ .resets = m->resets };
	for (unsigned i = 0; i < m->nvcpus; i++) {
		struct vcpu_counters *c = &m->vcpu[i].counters;

		out->exits += atomic_load(&c->exits);
		out->pio += atomic_load(&c->pio);
		out->mmio += atomic_load(&c->mmio);
		out->signals += atomic_load(&c->signals);
	}
	out->unclaimed = atomic_load(&m->pio.unclaimed.count) +
			 atomic_load(&m->mmio.unclaimed.count);
	out->refused = atomic_load(&m->pio.refused.count) +
		       atomic_load(&m->mmio.refused.count);
}
