/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instructions that only CPL 0 may execute; for functions that run under
 * at_cpl0 or in an interrupt.
 */
#ifndef GUEST_CPL0_H
#define GUEST_CPL0_H

#include <stdint.h>

static inline void cpl0_outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline void cpl0_outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline uint8_t cpl0_inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t cpl0_inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint64_t cpl0_rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}

static inline void cpl0_wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v),
			 "d"((uint32_t)(v >> 32))
			 : "memory");
}

/* Sleeps until an interrupt has been handled. Called with interrupts off, so
 * that none is lost between the caller's look and the sleep: sti holds them
 * back for one instruction. */
static inline void cpl0_sleep(void)
{
	__asm__ volatile("sti\n\thlt\n\tcli" ::: "memory");
}

static inline void __attribute__((noreturn)) cpl0_halt(void)
{
	for (;;)
		__asm__ volatile("cli\n\thlt" ::: "memory");
}

#endif
