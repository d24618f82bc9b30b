/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CPU's own memory and its trap frames; inside the library only.
 */
#ifndef GUEST_CPU_H
#define GUEST_CPU_H

#include "guest.h"

/* As entry.S pushes it. */
struct trap_frame {
	uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
	int64_t vector; /* less 128 */
	uint64_t error, rip, cs, rflags, rsp, ss;
};

struct cpu {
	uint64_t gdt[8];
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdtr;
	uint16_t pad[3];
	uint32_t tss[LAYOUT_TSS_BYTES / 4];
	uint32_t index;
	volatile uint32_t running;
	struct trap_frame *frame; /* of the at_cpl0 being served */
	void (*volatile work)(void *);
	void *arg;
	volatile uint64_t wakes;
};

_Static_assert(offsetof(struct cpu, gdtr) == CPU_GDTR, "entry.S loads it");

/* The stacks are in the CPU's own, aligned memory. */
static inline struct cpu *cpu_this(void)
{
	return (struct cpu *)((uintptr_t)__builtin_frame_address(0) &
			      ~(uintptr_t)(CPU_BYTES - 1));
}

void trap_handle(struct trap_frame *f);
/* For exceptions and NMIs, or an interrupt whose handler wants its frame and
 * sends the EOI itself: `fn` runs at CPL 0 and may change where it goes on. */
void trap_set_handler(unsigned vector, void (*fn)(struct trap_frame *));
void guest_start(void) __attribute__((noreturn));
void smp_ap_start(void) __attribute__((noreturn));
void boot_info_read(void);
void mem_init(void);
uint64_t timer_measure_tsc_khz(void); /* by the LAPIC timer; 10 ms */

/* CPL 0 only */
void console_write_cpl0(const char *s, size_t n);
void lapic_eoi_cpl0(void);
uint32_t lapic_read_cpl0(uint32_t reg);
void lapic_write_cpl0(uint32_t reg, uint32_t v);

extern char guest_volatile[], guest_end[];

#endif
