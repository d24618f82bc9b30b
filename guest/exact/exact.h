/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs of guest/exact share. Each does a few hundred exits, checks
 * itself, and ends by exact_end; tests/exact stops, saves and restores them at
 * every exit. A "trace" program is a function of its code alone: no time, no
 * second CPU, no peer.
 */
#ifndef GUEST_EXACT_H
#define GUEST_EXACT_H

#include "cpl0.h"
#include "cpu.h"

/* Ports without a device. What is written here is part of the trace. */
#define EXACT_PORT 0x1e0
/* The range of RAM that changes by merely running, in pages: first, end. */
#define EXACT_FIRST 0x1e4
#define EXACT_END   0x1e8
/* Written when KVM's clock says that the guest was stopped. */
#define EXACT_STOPPED 0x1ec

static inline void mark_cpl0(uint64_t v)
{
	cpl0_outl(EXACT_PORT, (uint32_t)(v ^ v >> 32));
}

void mark(uint64_t v); /* any CPU, CPL 3 */

/* At CPL 0: takes the interrupts that are pending. The exits are for hosts that
 * emulate CPL 0 and look for interrupts only when they enter the guest. */
static inline void take_interrupts(void)
{
	__asm__ volatile("sti\n\t"
			 "outl %%eax, %%dx\n\t"
			 "outl %%eax, %%dx\n\t"
			 "nop\n\t"
			 "cli" ::"a"(0x571),
			 "d"(EXACT_PORT)
			 : "memory");
}

/* One more value into a hash of what was seen. */
static inline uint64_t fold(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9fb21c651e98df25;
	return h ^ h >> 29;
}

/* Remembers and prints (the first few) that `got` is not `want`. */
void expect(const char *what, uint64_t got, uint64_t want);

/* Prints the hash, or how many surprises there were; what guest_main returns.
 */
int exact_end(const char *name, uint64_t hash);

/* The number behind word= on the command line. */
uint64_t exact_number(const char *word, uint64_t otherwise);

#endif
