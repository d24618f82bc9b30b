/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions of each kind, at CPL 3 and at CPL 0, whose handlers exit: a page
 * that is not there, an address that is none, an undefined instruction, a
 * division by zero. Error code, CR2 and the place are checked.
 */
#include "exact.h"

#define ROUNDS	  40
#define NOT_THERE 0x10000000ull
#define NO_ADDR	  0x8000000000000000ull

static uint64_t last_vector, last_error, last_cr2, hash;
static unsigned skip; /* bytes of the instruction that faults */

static void note(struct trap_frame *f)
{
	uint64_t cr2;

	last_vector = (uint64_t)(f->vector + 128);
	mark_cpl0(last_vector);
	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	last_cr2 = cr2;
	last_error = f->error;
	mark_cpl0(f->error);
	mark_cpl0(last_cr2);
	f->rip += skip;
}

static uint64_t load(uint64_t addr, uint64_t b, uint64_t c)
{
	uint64_t v = 0;

	skip = 3;
	__asm__ volatile(".byte 0x48, 0x8b, 0x07"
			 : "+a"(v)
			 : "D"(addr)
			 : "memory"); /* mov (%rdi), %rax */
	return v;
}

static uint64_t store(uint64_t addr, uint64_t b, uint64_t c)
{
	skip = 3;
	__asm__ volatile(".byte 0x48, 0x89, 0x07" ::"a"(1), "D"(addr)
			 : "memory"); /* mov %rax, (%rdi) */
	return 0;
}

static uint64_t undefined(uint64_t a, uint64_t b, uint64_t c)
{
	skip = 2;
	__asm__ volatile("ud2");
	return 0;
}

static uint64_t divide(uint64_t a, uint64_t b, uint64_t c)
{
	uint32_t lo = 5, hi = 0;

	skip = 2;
	__asm__ volatile(".byte 0xf7, 0xf1" : "+a"(lo), "+d"(hi) : "c"(0));
	return lo;
}

struct fault {
	uint64_t (*fn)(uint64_t, uint64_t, uint64_t);
	uint64_t addr, vector, error;
};

static const struct fault faults[] = {
	{ load, NOT_THERE, 14, 0 }, { store, NOT_THERE, 14, 2 },
	{ load, NO_ADDR, 13, 0 },   { store, NO_ADDR, 13, 0 },
	{ undefined, 0, 6, 0 },	    { divide, 0, 0, 0 },
};

static void run(const struct fault *t, uint64_t addr, bool cpl0)
{
	uint64_t error = t->error;

	last_vector = 99;
	if (cpl0)
		at_cpl0(t->fn, addr, 0, 0);
	else
		t->fn(addr, 0, 0);
	if (t->vector == 14 && !cpl0)
		error |= 4; /* user */
	expect("vector", last_vector, t->vector);
	expect("error code", last_error, error);
	if (t->vector == 14)
		expect("CR2", last_cr2, addr);
	hash = fold(hash, last_vector ^ last_error ^ last_cr2);
}

int guest_main(void)
{
	trap_set_handler(0, note);
	trap_set_handler(6, note);
	trap_set_handler(13, note);
	trap_set_handler(14, note);
	for (uint64_t i = 0; i < ROUNDS; i++)
		for (unsigned j = 0; j < 2 * sizeof(faults) / sizeof(*faults);
		     j++)
			run(&faults[j / 2],
			    faults[j / 2].addr ? faults[j / 2].addr + i * 8 : 0,
			    j & 1);
	return exact_end("faults", hash);
}
