/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug registers: breakpoints on execution, writes and accesses are set, kept
 * across exits and hit, at CPL 3 and at CPL 0; DR0 to DR3, DR6 and DR7 keep
 * what was written to them. A host may be blind for some: then for all rounds.
 */
#include "exact.h"

#define ROUNDS		       40
#define DR7_FIXED	       0x400ull
#define DR7_ON(n)	       (1ull << (2 * (n)))
#define DR7_WRITE	       1ull
#define DR7_RW		       3ull
#define LEN_8		       2ull
#define LEN_4		       3ull
#define DR7_KIND(n, kind, len) (((kind) | (len) << 2) << (16 + 4 * (n)))
#define RF		       0x10000ull

struct debugregs {
	uint64_t dr[4], dr7;
};

static volatile uint64_t watched[4] __attribute__((aligned(64)));
static uint64_t hits[4], hash;

static void on_debug(struct trap_frame *f)
{
	uint64_t dr6;

	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	mark_cpl0(dr6);
	for (unsigned i = 0; i < 4; i++)
		hits[i] += dr6 >> i & 1;
	hash = fold(hash, dr6 & 0xf);
	__asm__ volatile("mov %0, %%dr6" ::"r"(0xffff0ff0ull));
	f->rflags |= RF; /* an execution breakpoint is a fault */
}

static uint64_t set(uint64_t regs, uint64_t b, uint64_t c)
{
	const struct debugregs *r = (const struct debugregs *)regs;

	__asm__ volatile("mov %0, %%dr7" ::"r"(DR7_FIXED));
	__asm__ volatile("mov %0, %%dr0" ::"r"(r->dr[0]));
	__asm__ volatile("mov %0, %%dr1" ::"r"(r->dr[1]));
	__asm__ volatile("mov %0, %%dr2" ::"r"(r->dr[2]));
	__asm__ volatile("mov %0, %%dr3" ::"r"(r->dr[3]));
	mark_cpl0(1);
	__asm__ volatile("mov %0, %%dr7" ::"r"(r->dr7));
	mark_cpl0(2);
	return 0;
}

static uint64_t get(uint64_t regs, uint64_t b, uint64_t c)
{
	struct debugregs *r = (struct debugregs *)regs;

	__asm__ volatile("mov %%dr0, %0" : "=r"(r->dr[0]));
	__asm__ volatile("mov %%dr1, %0" : "=r"(r->dr[1]));
	mark_cpl0(3);
	__asm__ volatile("mov %%dr2, %0" : "=r"(r->dr[2]));
	__asm__ volatile("mov %%dr3, %0" : "=r"(r->dr[3]));
	__asm__ volatile("mov %%dr7, %0" : "=r"(r->dr7));
	return 0;
}

static uint64_t __attribute__((noinline))
stop_here(uint64_t a, uint64_t b, uint64_t c)
{
	__asm__ volatile("nop");
	return a;
}

static void round(uint64_t i, const struct debugregs *want)
{
	struct debugregs got;

	mark(i);
	stop_here(0, 0, 0);
	at_cpl0(stop_here, 0, 0, 0);
	mark(i);
	watched[0] = i;
	mark(i);
	hash = fold(hash, watched[1]);
	*(volatile uint32_t *)&watched[2] = (uint32_t)i;
	at_cpl0(get, (uint64_t)&got, 0, 0);
	for (unsigned j = 0; j < 4; j++)
		expect("DR", got.dr[j], want->dr[j]);
	expect("DR7", got.dr7, want->dr7);
}

int guest_main(void)
{
	struct debugregs r = {
		.dr = { (uint64_t)stop_here, (uint64_t)&watched[0],
			(uint64_t)&watched[1], (uint64_t)&watched[2] },
		.dr7 = DR7_FIXED | DR7_ON(0) | DR7_ON(1) | DR7_ON(2) |
		       DR7_ON(3) | DR7_KIND(1, DR7_WRITE, LEN_8) |
		       DR7_KIND(2, DR7_RW, LEN_8) |
		       DR7_KIND(3, DR7_WRITE, LEN_4),
	};

	trap_set_handler(1, on_debug);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		at_cpl0(set, (uint64_t)&r, 0, 0);
		round(i, &r);
	}
	for (unsigned i = 0; i < 4; i++) {
		expect("hits in some rounds", hits[i] % ROUNDS, 0);
		print("debug: DR%u hit %lu times a round\n", i,
		      hits[i] / ROUNDS);
	}
	r.dr7 = DR7_FIXED;
	at_cpl0(set, (uint64_t)&r, 0, 0);
	return exact_end("debug", hash);
}
