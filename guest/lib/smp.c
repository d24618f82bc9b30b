/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other CPUs: started one after the other by INIT and SIPI (Intel SDM 3A,
 * 9.4), each then sleeps at CPL 0 until it is given a function to run at CPL
 * 3.
 */
#include "cpl0.h"
#include "cpu.h"

#define ICR_INIT      0x4500
#define ICR_SIPI      0x4600
#define ICR_FIXED     0x4000
#define START_SECONDS 20 /* far beyond any start; only a lost CPU waits it */

extern const char guest_trampoline[], guest_trampoline_end[]; /* entry.S */
extern uint64_t guest_next_cpu;
extern const uint64_t guest_gdt[8];

static struct cpu *cpus[LAYOUT_MAX_CPUS] GUEST_VOLATILE;

unsigned smp_this(void)
{
	return cpu_this()->index;
}

void spin_lock(struct spinlock *l)
{
	while (__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE))
		cpu_relax();
}

void spin_unlock(struct spinlock *l)
{
	__atomic_store_n(&l->held, 0, __ATOMIC_RELEASE);
}

/* A GDT with its own TSS descriptor: ltr refuses one that is in use. */
static void cpu_init(struct cpu *c, unsigned index)
{
	uint64_t tss = (uint64_t)c->tss, base = (uint64_t)c;

	memset(c, 0, sizeof(*c));
	memcpy(c->gdt, guest_gdt, sizeof(c->gdt));
	c->gdt[SEL_TSS / 8] = (LAYOUT_TSS_BYTES - 1) | (tss & 0xffffff) << 16 |
			      0x89ull << 40 | (tss >> 24 & 0xff) << 56;
	c->gdt[SEL_TSS / 8 + 1] = tss >> 32;
	c->gdtr.limit = sizeof(c->gdt) - 1;
	c->gdtr.base = (uint64_t)c->gdt;
	base += CPU_KSTACK_TOP;
	memcpy(&c->tss[1], &base, 8);
	base += CPU_IST_TOP - CPU_KSTACK_TOP;
	memcpy(&c->tss[9], &base, 8);
	c->tss[25] = LAYOUT_TSS_BYTES << 16;
	c->index = index;
}

static uint64_t wait_for_work(uint64_t cpu, uint64_t b, uint64_t c)
{
	struct cpu *self = (struct cpu *)cpu;

	while (!self->work)
		cpl0_sleep();
	return 0;
}

void smp_ap_start(void)
{
	struct cpu *self = cpu_this();

	lapic_init();
	self->running = 1;
	for (;;) {
		at_cpl0(wait_for_work, (uint64_t)self, 0, 0);
		self->work(self->arg);
		__atomic_store_n(&self->work, NULL, __ATOMIC_RELEASE);
		lapic_send(boot_apic_id(0), ICR_FIXED | VECTOR_WAKE);
	}
}

static bool cpu_start(unsigned i)
{
	struct cpu *c = mem_alloc_pages(CPU_BYTES / 4096);
	uint64_t start;

	if (!c)
		return false;
	cpu_init(c, i);
	cpus[i] = c;
	guest_next_cpu = (uint64_t)c;
	lapic_send(boot_apic_id(i), ICR_INIT);
	lapic_send(boot_apic_id(i), ICR_SIPI | LAYOUT_TRAMPOLINE >> 12);
	start = clock_tsc();
	while (!c->running) {
		if (clock_tsc() - start >
		    clock_tsc_khz() * 1000 * START_SECONDS)
			return false;
		cpu_relax();
	}
	return true;
}

/* Sent to a CPU only to end its sleep. */
static void wake_handle(void)
{
	cpu_this()->wakes++;
}

unsigned smp_start(void)
{
	static unsigned running GUEST_VOLATILE;
	const struct boot_range *pool;

	if (running)
		return running;
	mem_pool(&pool);
	lapic_init();
	irq_set_handler(VECTOR_WAKE, wake_handle);
	memcpy((void *)LAYOUT_TRAMPOLINE, guest_trampoline,
	       (size_t)(guest_trampoline_end - guest_trampoline));
	cpus[0] = cpu_this();
	running = 1;
	for (unsigned i = 1; i < boot_cpus(); i++) {
		if (!cpu_start(i)) {
			print("CPU %u (APIC id %u) did not start\n", i,
			      boot_apic_id(i));
			break;
		}
		running++;
	}
	return running;
}

void smp_run(unsigned cpu, void (*fn)(void *), void *arg)
{
	struct cpu *c = cpus[cpu];

	c->arg = arg;
	__atomic_store_n(&c->work, fn, __ATOMIC_RELEASE);
	lapic_send(boot_apic_id(cpu), ICR_FIXED | VECTOR_WAKE);
}

bool smp_done(unsigned cpu)
{
	return !__atomic_load_n(&cpus[cpu]->work, __ATOMIC_ACQUIRE);
}
