/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library for bare-metal 64-bit programs: what a guest needs to print, use
 * its timer and interrupts, its memory and its other CPUs.
 *
 * A program defines guest_main. It runs at CPL 3 with interrupts on and the
 * low 4 MiB mapped; on hypervisors that emulate CPL 0 only this is fast. What
 * needs CPL 0 is a function called through at_cpl0. Nothing separates the two
 * levels but the CPU's rules: all memory is shared and writable.
 *
 * Unless a comment says otherwise, functions are for guest_main's CPU only.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

/* The program. Its result is the VM's exit code. */
int guest_main(void);

/* Optional: the first byte (NUL: none) is printed before any set-up; the
 * program must not print it again. */
extern const char guest_early[];

/* Data that changes by merely running; the RAM hash leaves it out. */
#define GUEST_VOLATILE __attribute__((section(".bss.volatile")))

/* ---- CPL 0: any CPU ---- */

/* Runs fn(a, b, c) at CPL 0 with interrupts off. */
uint64_t at_cpl0(uint64_t (*fn)(uint64_t, uint64_t, uint64_t), uint64_t a,
		 uint64_t b, uint64_t c);
uint32_t port_in(uint16_t port, unsigned bytes); /* 1, 2 or 4 */
void port_out(uint16_t port, unsigned bytes, uint32_t v);
uint64_t mmio_read(uint64_t addr, unsigned bytes); /* 1, 2, 4 or 8 */
void mmio_write(uint64_t addr, unsigned bytes, uint64_t v);
uint64_t msr_read(uint32_t msr);
void msr_write(uint32_t msr, uint64_t v);
/* Executed at CPL 0: some hypervisors show CPL 3 the hardware's own values. */
struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};
struct cpuid cpuid_get(uint32_t leaf, uint32_t subleaf);

/* Handlers run at CPL 0; the EOI is sent after them. */
void irq_set_handler(unsigned vector, void (*fn)(void));
void irq_disable(void); /* for the caller at CPL 3, from its return on */
void irq_wait(void);	/* sleeps until some interrupt was handled */
/* Sleeps until *value differs from `seen`; a handler or another CPU that
 * wakes this one changes it. */
void irq_wait_change(const volatile uint64_t *value, uint64_t seen);

/* ---- console (COM1) ---- */

void put(const char *s, size_t n);     /* "\n" goes out as "\r\n" */
void put_raw(const char *s, size_t n); /* one call to CPL 0 */
/* %s %c %d %u %x, with l, z, a width and 0. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void console_listen(void); /* takes input by interrupt from now on */
int console_get(void);	   /* sleeps until there is a byte */
/* Is there a Ctrl-C that console_get has not returned? Then drops it and what
 * was typed before it. */
bool console_break(void);

/* ---- what the loader said ---- */

const char *boot_cmdline(void);
/* Copies the value of `word=value` or `word="some value"`; false: not there.
 * A bare `word` has the value "". Cut to fit. */
bool boot_option(const char *word, char *value, size_t size);
unsigned boot_cpus(void); /* by the MADT; 1 without */
uint32_t boot_apic_id(unsigned cpu);
struct boot_range {
	uint64_t start, end;
	uint32_t type; /* 1: RAM */
};
unsigned boot_memory(const struct boot_range **ranges); /* in order */

/* ---- memory ---- */

/* Makes an address range accessible, by 2 MiB pages, one GiB at a time; what
 * lies in the gap below 4 GiB uncached. Before smp_start for RAM. */
void mem_map(uint64_t start, uint64_t bytes);
/* n: a power of two, and the alignment in pages. Never given back. NULL: the
 * share set aside for the library is used up. */
void *mem_alloc_pages(unsigned n);
/* The RAM that is neither the program's nor below 1 MiB, mapped. Returns how
 * many ranges. */
unsigned mem_pool(const struct boot_range **ranges);
/* What the hash leaves out: the program's volatile data and all CPUs' stacks.
 */
struct boot_range mem_volatile(void);

/* ---- time ---- */

static inline uint64_t clock_tsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi)::"memory");
	return (uint64_t)hi << 32 | lo;
}
uint64_t clock_tsc_khz(void); /* asked of the hypervisor, else measured */

enum timer_mode { TIMER_PERIODIC, TIMER_ONESHOT, TIMER_DEADLINE };
/* Counts timer_ticks up `hz` times a second; one-shot and deadline timers are
 * armed anew by each interrupt. 0, or -1: no such mode here. */
int timer_start(enum timer_mode mode, uint32_t hz);
void timer_stop(void);
extern volatile uint64_t timer_ticks;

/* ---- interrupts ---- */

void lapic_init(void); /* each CPU once; x2APIC where there is one */
bool lapic_is_x2apic(void);
uint32_t lapic_id(void);
void lapic_send(uint32_t apic_id, uint32_t icr);	      /* any CPU */
void ioapic_route(unsigned gsi, unsigned vector, bool level); /* to this CPU */

/* ---- other CPUs ---- */

/* Starts CPUs 1 to boot_cpus()-1 at CPL 3, where they sleep for work. Returns
 * how many run, this one included; those that do not come are named. */
unsigned smp_start(void);
/* Has a started CPU run fn(arg) at CPL 3. smp_done: has it ended? */
void smp_run(unsigned cpu, void (*fn)(void *), void *arg);
bool smp_done(unsigned cpu);
unsigned smp_this(void); /* any CPU: 0 .. */
struct spinlock {
	uint32_t held;
};
void spin_lock(struct spinlock *l); /* any CPU */
void spin_unlock(struct spinlock *l);
static inline void cpu_relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}

/* ---- the end ---- */

void guest_exit(uint8_t code) __attribute__((noreturn)); /* debug-exit port */
void guest_poweroff(void) __attribute__((noreturn));	 /* ACPI S5 */
void guest_reset(void) __attribute__((noreturn));	 /* reset register */
void guest_panic(const char *why) __attribute__((noreturn)); /* pvpanic */
void guest_triple_fault(void) __attribute__((noreturn));
void guest_ready(void);
/* Prints "power button" and powers off when it is pressed. */
void guest_watch_power_button(void);

/* ---- strings ---- */

void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
/* Decimal or 0x..., the whole string; false: not a number. */
bool parse_u64(const char *s, uint64_t *v);

#endif
