/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs: registers at power-on and at entry, the run loop, and parking.
 *
 * Parking pairs `want_park` with kvm_run's immediate_exit, both set under the
 * vCPU's lock before the signal is sent: wherever the thread is, it either
 * sees the one, or KVM_RUN sees the other, or the signal interrupts it.
 */
#include "vcpu.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpuid.h"
#include "fatal.h"
#include "kvm.h"
#include "log.h"
#include "platform.h"
#include "util.h"

#define MSR_MISC_ENABLE		0x1a0
#define MSR_MTRR_DEF_TYPE	0x2ff
#define MISC_ENABLE_FAST_STRING 1
#define MTRR_ENABLED_WRITE_BACK 0x806

#define CR0_PE	     (1u << 0)
#define CR0_ET	     (1u << 4)
#define CR0_NE	     (1u << 5)
#define CR0_PG	     (1u << 31)
#define CR4_PAE	     (1u << 5)
#define EFER_LME     (1u << 8)
#define EFER_LMA     (1u << 10)
#define RFLAGS_FIXED 2

static int kick_signal(void)
{
	return SIGRTMIN;
}

static void on_kick(int sig)
{
	/* It only has to interrupt KVM_RUN. */
}

/* ---- what all vCPUs share ---- */

static int fail_kvm(struct fail *why, int err, const char *what)
{
	return fail_set(why, EXIT_OWN_FAILURE, err, "kvm",
			"'tintype doctor' tells what this host lacks", "%s: %s",
			what, strerror(-err));
}

static void host_cpuid(uint32_t function, uint32_t out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]),
			   "=d"(out[3])
			 : "0"(function), "2"(0));
}

/* The host's processor by name; zeros where it tells none. */
static void host_brand(uint32_t brand[CPUID_BRAND_WORDS])
{
	uint32_t last[4];

	memset(brand, 0, CPUID_BRAND_WORDS * sizeof(brand[0]));
	host_cpuid(0x80000000, last);
	for (uint32_t i = 0; i < 3 && last[0] >= 0x80000004; i++)
		host_cpuid(0x80000002 + i, brand + 4 * i);
}

/* What a guest can write and KVM keeps, but does not list (it lists what its
 * own users asked for): the MTRRs, machine check banks, VM_CR, and on some
 * hosts OSVW and TSC_AUX. SDM volume 4, APM volume 2. */
static const struct {
	uint32_t first, count;
} unlisted_msrs[] = {
	{ 0x200, 16 },	   /* IA32_MTRR_PHYSBASE0 .. PHYSMASK7 */
	{ 0x250, 1 },	   /* IA32_MTRR_FIX64K_00000 */
	{ 0x258, 2 },	   /* IA32_MTRR_FIX16K_80000, _A0000 */
	{ 0x268, 8 },	   /* IA32_MTRR_FIX4K_C0000 .. F8000 */
	{ 0x2ff, 1 },	   /* IA32_MTRR_DEF_TYPE */
	{ 0x400, 128 },	   /* IA32_MC0_CTL .. MC31_MISC */
	{ 0xc0010114, 1 }, /* VM_CR, of AMD */
	{ 0xc0010140, 2 }, /* OSVW_ID_LENGTH, OSVW_STATUS */
	{ 0xc0000103, 1 }, /* IA32_TSC_AUX */
};
#define UNLISTED_MAX 160

static bool is_listed(const struct kvm_msr_list *l, uint32_t index)
{
	for (uint32_t i = 0; i < l->nmsrs; i++)
		if (l->indices[i] == index)
			return true;
	return false;
}

/* `l` has room for UNLISTED_MAX more. */
static void add_unlisted(struct kvm_msr_list *l)
{
	uint32_t most = l->nmsrs + UNLISTED_MAX;

	for (unsigned i = 0; i < ARRAY_SIZE(unlisted_msrs); i++)
		for (uint32_t j = 0; j < unlisted_msrs[i].count; j++) {
			uint32_t index = unlisted_msrs[i].first + j;

			if (is_listed(l, index))
				continue;
			assert(l->nmsrs < most);
			l->indices[l->nmsrs++] = index;
		}
}

static int shared_lists(struct vcpu_shared *s, struct fail *why)
{
	struct kvm_msr_list probe = { .nmsrs = 0 };
	uint32_t brand[CPUID_BRAND_WORDS];
	int r;

	s->cpuid =
	    calloc(1, sizeof(*s->cpuid) +
			  CPUID_MAX_ENTRIES * sizeof(s->cpuid->entries[0]));
	if (!s->cpuid)
		return fail_kvm(why, -ENOMEM, "CPUID");
	s->cpuid->nent = CPUID_MAX_ENTRIES;
	r = kvm_get_supported_cpuid(s->kvm_fd, s->cpuid);
	if (r < 0)
		return fail_kvm(why, r, "KVM_GET_SUPPORTED_CPUID");
	r = cpuid_shape(
	    s->cpuid, s->cpus,
	    kvm_check_extension(s->kvm_fd, KVM_CAP_TSC_DEADLINE_TIMER));
	if (r < 0)
		return fail_kvm(why, r, "CPUID");
	host_brand(brand);
	cpuid_set_brand(s->cpuid, brand);

	r = kvm_get_msr_index_list(s->kvm_fd, &probe);
	if (r < 0 && r != -E2BIG)
		return fail_kvm(why, r, "KVM_GET_MSR_INDEX_LIST");
	s->msrs = calloc(1, sizeof(*s->msrs) + (probe.nmsrs + UNLISTED_MAX) *
						   sizeof(uint32_t));
	if (!s->msrs)
		return fail_kvm(why, -ENOMEM, "MSR list");
	s->msrs->nmsrs = probe.nmsrs;
	r = kvm_get_msr_index_list(s->kvm_fd, s->msrs);
	if (r < 0)
		return fail_kvm(why, r, "KVM_GET_MSR_INDEX_LIST");
	add_unlisted(s->msrs);
	return 0;
}

int vcpu_shared_init(struct vcpu_shared *s, struct fail *why)
{
	struct sigaction sa = { .sa_handler = on_kick };
	int r = kvm_get_vcpu_mmap_size(s->kvm_fd);

	if (r < (int)sizeof(struct kvm_run))
		return fail_kvm(why, r < 0 ? r : -EINVAL,
				"KVM_GET_VCPU_MMAP_SIZE");
	s->run_bytes = (size_t)r;
	s->xsave_bytes = kvm_xsave_bytes(s->vm_fd);
	if (s->xsave_bytes > VCPU_XSAVE_MAX)
		return fail_kvm(why, -E2BIG, "XSAVE state of this host");
	s->sregs2 = kvm_check_extension(s->vm_fd, KVM_CAP_SREGS2);
	sigaction(kick_signal(), &sa, NULL);
	return shared_lists(s, why);
}

void vcpu_shared_fini(struct vcpu_shared *s)
{
	free(s->cpuid);
	free(s->msrs);
	s->cpuid = NULL;
	s->msrs = NULL;
}

/* ---- power-on state ---- */

/* Of the list, what KVM reads for this vCPU: one by one, since a call ends at
 * the first that it refuses. */
static void find_msrs(struct vcpu *v, struct vcpu_msrs_state *s)
{
	const struct kvm_msr_list *list = v->shared->msrs;

	for (uint32_t i = 0; i < list->nmsrs && s->n < VCPU_MAX_MSRS; i++) {
		uint64_t value;

		if (kvm_get_msr(v->fd, list->indices[i], &value) == 0)
			s->index[s->n++] = list->indices[i];
		else
			log_debug("vcpu", "MSR 0x%x is refused",
				  list->indices[i]);
	}
}

/* Remembers what a vCPU is when KVM has just made it: there is no other way
 * to know all of it when the guest asks for a reset. */
static int remember_power_on(struct vcpu *v, struct fail *why)
{
	v->power_on = calloc(1, sizeof(*v->power_on));
	if (!v->power_on)
		return fail_kvm(why, -ENOMEM, "read the power-on state");
	find_msrs(v, &v->power_on->msrs);
	return vcpu_state_get(&v->kvm, v->power_on, why);
}

/* Linux and KVM's own emulation expect both as firmware would leave them. */
static int set_firmware_msrs(int fd)
{
	int r = kvm_set_msr(fd, MSR_MISC_ENABLE, MISC_ENABLE_FAST_STRING);

	return r ? r
		 : kvm_set_msr(fd, MSR_MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK);
}

int vcpu_reset(struct vcpu *v, struct fail *why)
{
	int r = vcpu_state_set(&v->kvm, v->power_on, why);

	if (r < 0)
		return r;
	r = set_firmware_msrs(v->fd);
	return r < 0 ? fail_kvm(why, r, "reset a vCPU") : 0;
}

/* ---- entry ---- */

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool code64)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = code64,
		.db = !code64,
	};
}

int vcpu_enter_at(struct vcpu *v, const struct boot_entry *e, struct fail *why)
{
	bool long_mode = e->protocol == BOOT_LINUX64;
	struct kvm_segment data = flat(0x18, 3, false);
	struct kvm_sregs2 s = v->power_on->sregs;
	struct kvm_regs regs = {
		.rflags = RFLAGS_FIXED,
		.rip = e->rip,
		.rsp = e->stack,
	};
	int r;

	s.cs = flat(0x10, 11, long_mode);
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = (struct kvm_segment){
		.limit = 0x67, .selector = 0x20, .type = 11, .present = 1
	};
	s.gdt.base = PLATFORM_GDT;
	s.gdt.limit = 0x2f;
	s.idt.base = 0;
	s.idt.limit = 0;
	s.cr0 = CR0_PE | CR0_ET | CR0_NE;
	if (long_mode) {
		s.cr0 |= CR0_PG;
		s.cr3 = PLATFORM_PAGETABLES;
		s.cr4 = CR4_PAE;
		s.efer = EFER_LME | EFER_LMA;
		regs.rsi = e->params;
	} else {
		regs.rbx = e->params;
	}
	if ((r = vcpu_items[VCPU_SREGS].set(&v->kvm, &s, NULL)) ||
	    (r = kvm_set_regs(v->fd, &regs)))
		return fail_kvm(why, r, "set the entry registers");
	return 0;
}

/* ---- life ---- */

static int set_cpuid(struct vcpu *v)
{
	/* One list serves all: nothing but the id differs. */
	cpuid_set_apic_id(v->shared->cpuid, v->id);
	return kvm_set_cpuid2(v->fd, v->shared->cpuid);
}

int vcpu_init(struct vcpu *v, struct vcpu_shared *s, unsigned id,
	      struct fail *why)
{
	void *p;
	int r;

	*v = (struct vcpu){
		.shared = s, .id = id, .want_park = true, .parked = true
	};
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->changed, NULL);
	v->fd = kvm_create_vcpu(s->vm_fd, id);
	if (v->fd < 0)
		return fail_kvm(why, v->fd, "KVM_CREATE_VCPU");
	p = mmap(NULL, s->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd,
		 0);
	if (p == MAP_FAILED)
		return fail_kvm(why, -errno, "map kvm_run");
	v->run = p;
	if ((r = set_cpuid(v)) < 0)
		return fail_kvm(why, r, "KVM_SET_CPUID2");
	v->kvm = (struct vcpu_kvm){ .fd = v->fd,
				    .xsave_bytes = s->xsave_bytes,
				    .sregs2 = s->sregs2 };
	if ((r = remember_power_on(v, why)) < 0)
		return r;
	if ((r = set_firmware_msrs(v->fd)) < 0)
		return fail_kvm(why, r, "KVM_SET_MSRS");
	return 0;
}

void vcpu_fini(struct vcpu *v)
{
	if (v->started) {
		pthread_mutex_lock(&v->lock);
		v->quit = true;
		pthread_cond_broadcast(&v->changed);
		pthread_mutex_unlock(&v->lock);
		pthread_join(v->thread, NULL);
	}
	if (v->run)
		munmap(v->run, v->shared->run_bytes);
	if (v->fd >= 0)
		close(v->fd);
	free(v->power_on);
	pthread_cond_destroy(&v->changed);
	pthread_mutex_destroy(&v->lock);
	*v = (struct vcpu){ .fd = -1 };
}

/* ---- exits ---- */

static void exit_pio(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	atomic_fetch_add_explicit(&v->counters.pio, 1, memory_order_relaxed);
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_IN)
			bus_read(v->shared->pio, run->io.port, data,
				 run->io.size);
		else
			bus_write(v->shared->pio, run->io.port, data,
				  run->io.size);
	}
}

/* KVM cuts MMIO into pieces of up to 8 bytes, of any length: the bus takes
 * powers of two. */
static void exit_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint64_t addr = run->mmio.phys_addr;
	uint8_t *data = run->mmio.data;
	uint32_t left = MIN(run->mmio.len, 8u);

	atomic_fetch_add_explicit(&v->counters.mmio, 1, memory_order_relaxed);
	while (left) {
		uint32_t part = left >= 8   ? 8
				: left >= 4 ? 4
				: left >= 2 ? 2
					    : 1;

		if (run->mmio.is_write)
			bus_write(v->shared->mmio, addr, data, part);
		else
			bus_read(v->shared->mmio, addr, data, part);
		addr += part;
		data += part;
		left -= part;
	}
}

/* Whatever ends or resets the machine parks this vCPU before its next guest
 * instruction, on its own account: the machine will do the same, later. */
static void stop_for(struct vcpu *v, enum guest_event what, uint32_t value)
{
	vcpu_request_park(v);
	guest_event_raise(v->shared->events, what, value);
}

static void dispatch(struct vcpu *v)
{
	atomic_fetch_add_explicit(&v->counters.exits, 1, memory_order_relaxed);
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		exit_pio(v);
		break;
	case KVM_EXIT_MMIO:
		exit_mmio(v);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_SHUTDOWN:
		stop_for(v, GUEST_TRIPLE_FAULT, v->id);
		break;
	default:
		stop_for(v, GUEST_VCPU_FAILED,
			 GUEST_FAILED(v->id, v->run->exit_reason));
		break;
	}
}

/* True when KVM_RUN may be called again. */
static bool run_once(struct vcpu *v, int *r)
{
	*r = kvm_run(v->fd);
	if (*r == 0) {
		dispatch(v);
		if (v->shared->exited)
			v->shared->exited(v->shared->exited_ctx, v);
		return true;
	}
	if (*r == -EINTR) {
		atomic_fetch_add_explicit(&v->counters.signals, 1,
					  memory_order_relaxed);
		return true;
	}
	/* EAGAIN: an application processor that waits for its SIPI was woken */
	if (*r == -EAGAIN)
		return true;
	log_error("vcpu", "run vCPU %u: %s", v->id, strerror(-*r));
	stop_for(v, GUEST_VCPU_FAILED, GUEST_FAILED_RUN(v->id, -*r));
	return false;
}

static bool wants_park(struct vcpu *v)
{
	_locked_(&v->lock);
	return v->want_park;
}

/* Guest instructions, until somebody wants it parked; then without any more
 * of them until nothing is half way. */
static void run_guest(struct vcpu *v)
{
	bool alive = true;
	int r = 0;

	while (alive && !wants_park(v))
		alive = run_once(v, &r);
	/* immediate_exit is set since want_park is. */
	do
		alive = alive && run_once(v, &r);
	while (alive && r != -EINTR);
}

static void *vcpu_thread(void *arg)
{
	struct thread_id self = thread_learn();
	struct vcpu *v = arg;
	int r = v->shared->confine ? v->shared->confine() : 0;

	if (r < 0) {
		log_error("vcpu", "confine vCPU %u: %s", v->id, strerror(-r));
		fatal_abort(); /* never a guest without its sandbox */
	}
	pthread_mutex_lock(&v->lock);
	v->tid = self;
	for (;;) {
		v->parked = true;
		pthread_cond_broadcast(&v->changed);
		while (v->want_park && !v->quit)
			pthread_cond_wait(&v->changed, &v->lock);
		if (v->quit)
			break;
		v->run->immediate_exit = 0;
		v->parked = false;
		pthread_mutex_unlock(&v->lock);
		run_guest(v);
		pthread_mutex_lock(&v->lock);
	}
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

/* Kernel threads of KVM aside, a vCPU thread needs little of its stack. */
#define VCPU_STACK_BYTES KIB(128)

int vcpu_start(struct vcpu *v)
{
	pthread_attr_t attr;
	const int own[] = { kick_signal(), SIGSEGV, SIGBUS,
			    SIGILL,	   SIGFPE,  SIGABRT };
	sigset_t all, old;
	int r;

	/* All signals but the kick and its own faults, whose handler restores
	 * the terminal, are the I/O thread's. */
	sigfillset(&all);
	for (unsigned i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(&all, own[i]);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, VCPU_STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&v->thread, &attr, vcpu_thread, v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	v->started = r == 0;
	return -r;
}

void vcpu_request_park(struct vcpu *v)
{
	_locked_(&v->lock);
	if (v->want_park)
		return;
	v->want_park = true;
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	/* One that has not come so far as to have an id sees want_park. */
	if (v->tid.thread && !pthread_equal(v->thread, pthread_self()))
		thread_signal(v->tid, kick_signal());
}

void vcpu_wait_parked(struct vcpu *v)
{
	_locked_(&v->lock);
	while (!(v->want_park && v->parked))
		pthread_cond_wait(&v->changed, &v->lock);
}

void vcpu_unpark(struct vcpu *v)
{
	_locked_(&v->lock);
	v->want_park = false;
	pthread_cond_broadcast(&v->changed);
}
