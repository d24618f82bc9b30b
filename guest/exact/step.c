/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single steps (RFLAGS.TF) over instructions that exit, at CPL 0, and over
 * plain ones at CPL 3: the trap after an IN is pending while that exit is
 * served. Each instruction traps once, at its end; KVM's emulator loses the
 * traps after an OUT, which real CPUs do not: each round has as many as the
 * first.
 */
#include "exact.h"

#define ROUNDS 40
#define DR6_BS (1u << 14)
#define TF     0x100

static uint64_t steps, hash;

static void on_step(struct trap_frame *f)
{
	uint64_t dr6;

	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	__asm__ volatile("mov %0, %%dr6" ::"r"(0xffff0ff0ull));
	steps++;
	mark_cpl0(f->rip);
	expect("DR6.BS", dr6 & DR6_BS, DR6_BS);
	hash = fold(hash, f->rip);
}

/* Traps after each but the popf that begins it. */
#define STEPS_CPL0 7
#define STEPS_LOST 2
static uint64_t step_cpl0(uint64_t v, uint64_t b, uint64_t c)
{
	__asm__ volatile("pushf\n\t"
			 "orl $0x100, (%%rsp)\n\t"
			 "popf\n\t"
			 "outl %%eax, %%dx\n\t"
			 "inl %%dx, %%eax\n\t"
			 "nop\n\t"
			 "outl %%eax, %%dx\n\t"
			 "pushf\n\t"
			 "andl $~0x100, (%%rsp)\n\t"
			 "popf\n\t"
			 "nop"
			 : "+a"(v)
			 : "d"(EXACT_PORT)
			 : "memory", "cc");
	return v;
}

#define STEPS_CPL3 5
static uint64_t step_cpl3(uint64_t v)
{
	__asm__ volatile("pushf\n\t"
			 "orl $0x100, (%%rsp)\n\t"
			 "popf\n\t"
			 "add $3, %0\n\t"
			 "imul %0, %0\n\t"
			 "pushf\n\t"
			 "andl $~0x100, (%%rsp)\n\t"
			 "popf\n\t"
			 "nop"
			 : "+r"(v)::"memory", "cc");
	return v;
}

int guest_main(void)
{
	uint64_t before, first = 0;

	trap_set_handler(1, on_step);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		before = steps;
		hash = fold(hash, at_cpl0(step_cpl0, i, 0, 0));
		if (!i)
			first = steps - before;
		expect("steps at CPL 0", steps - before, first);
		before = steps;
		hash = fold(hash, step_cpl3(i));
		expect("steps at CPL 3", steps - before, STEPS_CPL3);
	}
	expect("all steps at CPL 0",
	       first == STEPS_CPL0 || first == STEPS_CPL0 - STEPS_LOST, 1);
	return exact_end("step", hash);
}
