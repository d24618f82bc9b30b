/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts between two CPUs: each answers the other's, to one, to itself, to
 * all others; and an NMI. None is lost, none comes twice.
 */
#include "exact.h"

#define ROUNDS	   60
#define ICR_FIXED  0x4000
#define ICR_NMI	   0x4400
#define ICR_SELF   0x44000
#define ICR_OTHERS 0xc4000
#define PONG	   0x52
#define SELF	   0x53

static volatile uint64_t pings, pongs, selves, nmis;
static volatile bool stop;

/* On CPU 1. */
static void on_ping(void)
{
	pings++;
	mark_cpl0(0x100 | pings);
	lapic_send(boot_apic_id(0), ICR_FIXED | PONG);
}

static void on_pong(void)
{
	pongs++;
	mark_cpl0(0x200 | pongs);
}

static void on_self(void)
{
	selves++;
	mark_cpl0(0x300 | selves);
}

static void on_nmi(struct trap_frame *f)
{
	nmis++;
	mark_cpl0(0x400 | nmis);
}

static void listen(void *arg)
{
	while (!stop)
		cpu_relax();
}

static void round(uint64_t i)
{
	uint64_t seen = pongs;

	lapic_send(boot_apic_id(1),
		   (i & 1 ? ICR_OTHERS : ICR_FIXED) | VECTOR_PING);
	mark(i);
	irq_wait_change(&pongs, seen);
	expect("pings", pings, i + 1);
	lapic_send(lapic_id(), ICR_SELF | SELF);
	expect("to itself", selves, i + 1);
	lapic_send(boot_apic_id(1), ICR_NMI);
	while (nmis < i + 1)
		cpu_relax();
}

int guest_main(void)
{
	uint64_t hash = 0;

	expect("CPUs", smp_start(), 2);
	irq_set_handler(VECTOR_PING, on_ping);
	irq_set_handler(PONG, on_pong);
	irq_set_handler(SELF, on_self);
	trap_set_handler(VECTOR_NMI, on_nmi);
	smp_run(1, listen, NULL);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		round(i);
		hash = fold(hash, pings + pongs + selves + nmis);
	}
	stop = true;
	while (!smp_done(1))
		cpu_relax();
	return exact_end("ipi", hash);
}
