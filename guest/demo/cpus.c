/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on CPUs: all of them at work, interrupts between them, and how fast
 * they execute.
 */
#include "demo.h"

#define BURST	      100000 /* between looks at the clock */
#define DEFAULT_COUNT 1000000
#define DEFAULT_PINGS 1000
#define SPEED_NATIVE  20000000
#define SPEED_SLOW    20000

/* A CPU's job: count up to `end`, or until told to stop. */
struct job {
	uint64_t count, end;
	uint32_t apic_id;
};

static struct job jobs[LAYOUT_MAX_CPUS] GUEST_VOLATILE;
static volatile bool stop GUEST_VOLATILE;

static void job_run(struct job *j)
{
	volatile uint64_t *count = &j->count;

	while (*count < j->end && !stop)
		++*count;
}

static void job_start(void *arg)
{
	struct job *j = arg;

	j->apic_id = lapic_id();
	job_run(j);
}

static void jobs_wait(unsigned cpus)
{
	for (unsigned i = 1; i < cpus; i++)
		while (!smp_done(i))
			cpu_relax();
}

/* Without an end, the first CPU calls the end after a tenth of a second. */
static void jobs_run(unsigned cpus, uint64_t end)
{
	uint64_t start;

	stop = false;
	for (unsigned i = 0; i < cpus; i++)
		jobs[i] = (struct job){ 0, end, 0 };
	for (unsigned i = 1; i < cpus; i++)
		smp_run(i, job_start, &jobs[i]);
	if (end != UINT64_MAX) {
		job_start(&jobs[0]);
	} else {
		jobs[0].apic_id = lapic_id();
		jobs[0].end = BURST;
		start = clock_tsc();
		for (; clock_tsc() - start < clock_tsc_khz() * 100;
		     jobs[0].end = jobs[0].count + BURST)
			job_run(&jobs[0]);
		stop = true;
	}
	jobs_wait(cpus);
}

static int cmd_cpus(unsigned argc, char **argv)
{
	uint64_t end = demo_deterministic ? DEFAULT_COUNT : UINT64_MAX;
	unsigned cpus;

	if (!demo_number(argc, argv, 1, UINT64_MAX - 1, end, &end))
		return DEMO_USAGE;
	cpus = smp_start();
	jobs_run(cpus, end);
	for (unsigned i = 0; i < cpus; i++)
		print("CPU %u: APIC id %u, counted %lu\n", i, jobs[i].apic_id,
		      jobs[i].count);
	print("cpus: %u of %u ran\n", cpus, boot_cpus());
	return cpus == boot_cpus() ? 0 : DEMO_FAILED;
}

/* ---- ping: an interrupt to a CPU, and one back ---- */

static volatile uint64_t pongs GUEST_VOLATILE;

static void ping_handle(void)
{
	if (smp_this() == 0) {
		pongs++;
		return;
	}
	lapic_send(boot_apic_id(0), VECTOR_PING);
}

static void ping(unsigned cpu)
{
	uint64_t seen = pongs;

	lapic_send(boot_apic_id(cpu), VECTOR_PING);
	irq_wait_change(&pongs, seen);
}

static int cmd_ping(unsigned argc, char **argv)
{
	uint64_t rounds, start;
	unsigned cpus = smp_start();

	if (!demo_number(argc, argv, 1, UINT32_MAX, DEFAULT_PINGS, &rounds))
		return DEMO_USAGE;
	if (cpus < 2) {
		print("ping: there is no other CPU\n");
		return DEMO_FAILED;
	}
	irq_set_handler(VECTOR_PING, ping_handle);
	for (unsigned i = 1; i < cpus; i++) {
		start = clock_tsc();
		for (uint64_t n = 0; n < rounds; n++)
			ping(i);
		print("CPU %u: %lu pings answered", i, rounds);
		if (!demo_deterministic && rounds)
			print(", %lu us each",
			      demo_microseconds(clock_tsc() - start) / rounds);
		print("\n");
	}
	return 0;
}

/* ---- speed: two instructions a round ---- */

static uint64_t rounds_run(uint64_t rounds, uint64_t b, uint64_t c)
{
	uint64_t start = clock_tsc();

	__asm__ volatile("1:\tdec %0\n\tjnz 1b" : "+r"(rounds));
	return clock_tsc() - start;
}

static void speed_print(unsigned cpl, uint64_t instructions, uint64_t cycles)
{
	uint64_t us = demo_microseconds(cycles), tenths;

	tenths = us ? instructions * 10 / us : 0;
	print("CPL %u: %lu.%lu million instructions/s\n", cpl, tenths / 10,
	      tenths % 10);
}

static int cmd_speed(unsigned argc, char **argv)
{
	speed_print(3, SPEED_NATIVE * 2, rounds_run(SPEED_NATIVE, 0, 0));
	speed_print(0, SPEED_SLOW * 2, at_cpl0(rounds_run, SPEED_SLOW, 0, 0));
	return 0;
}

const struct command cpu_commands[] = {
	{ "cpus", "[COUNT]", "have all CPUs count, up to COUNT or 0.1 s",
	  cmd_cpus, 0, 1, false },
	{ "ping", "[ROUNDS]", "interrupts to each CPU and back", cmd_ping, 0, 1,
	  false },
	{ "speed", "", "instructions a second at CPL 3 and CPL 0", cmd_speed, 0,
	  0, true },
	{ NULL, NULL, NULL, NULL, 0, 0, false },
};
