/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every exception and interrupt, and the one system call: hlt at CPL 3, which
 * faults there, stands for "call the function in RAX at CPL 0".
 */
#include "cpl0.h"
#include "cpu.h"

#define OPCODE_HLT 0xf4

typedef uint64_t cpl0_fn(uint64_t, uint64_t, uint64_t);

static void (*handlers[256])(void);
static void (*trap_handlers[256])(struct trap_frame *);

static bool at_cpl3(void)
{
	uint16_t cs;

	__asm__("mov %%cs, %0" : "=r"(cs));
	return cs & 3;
}

uint64_t at_cpl0(uint64_t (*fn)(uint64_t, uint64_t, uint64_t), uint64_t a,
		 uint64_t b, uint64_t c)
{
	uint64_t result = (uint64_t)fn;

	if (!at_cpl3())
		return fn(a, b, c);
	__asm__ volatile("hlt"
			 : "+a"(result)
			 : "D"(a), "S"(b), "d"(c)
			 : "memory");
	return result;
}

static bool trap_is_call(const struct trap_frame *f, unsigned vector)
{
	return vector == VECTOR_GP && (f->cs & 3) &&
	       *(const uint8_t *)f->rip == OPCODE_HLT;
}

/* An exception that nobody expects ends the guest. */
static void __attribute__((noreturn))
trap_report(const struct trap_frame *f, unsigned vector)
{
	uint64_t cr2;

	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	print("\nguest: exception %u, error 0x%lx, at 0x%lx (CPL %u), "
	      "address 0x%lx, stack 0x%lx, CPU %u\n",
	      vector, f->error, f->rip, (unsigned)(f->cs & 3), cr2, f->rsp,
	      smp_this());
	guest_panic("unexpected exception");
}

void trap_handle(struct trap_frame *f)
{
	unsigned vector = (unsigned)(f->vector + 128);

	if (trap_is_call(f, vector)) {
		f->rip++;
		cpu_this()->frame = f;
		f->rax = ((cpl0_fn *)f->rax)(f->rdi, f->rsi, f->rdx);
		return;
	}
	if (trap_handlers[vector]) {
		trap_handlers[vector](f);
		return;
	}
	if (handlers[vector])
		handlers[vector]();
	else if (vector < 32)
		trap_report(f, vector);
	if (vector >= 32 && vector != VECTOR_SPURIOUS)
		lapic_eoi_cpl0();
}

void irq_set_handler(unsigned vector, void (*fn)(void))
{
	handlers[vector & 255] = fn;
}

void trap_set_handler(unsigned vector, void (*fn)(struct trap_frame *))
{
	trap_handlers[vector & 255] = fn;
}

static uint64_t irq_disable_cpl0(uint64_t a, uint64_t b, uint64_t c)
{
	cpu_this()->frame->rflags &= ~(uint64_t)RFLAGS_IF;
	return 0;
}

void irq_disable(void)
{
	at_cpl0(irq_disable_cpl0, 0, 0, 0);
}

static uint64_t irq_wait_cpl0(uint64_t a, uint64_t b, uint64_t c)
{
	cpl0_sleep();
	return 0;
}

void irq_wait(void)
{
	at_cpl0(irq_wait_cpl0, 0, 0, 0);
}

static uint64_t irq_wait_change_cpl0(uint64_t value, uint64_t seen, uint64_t c)
{
	while (*(const volatile uint64_t *)value == seen)
		cpl0_sleep();
	return 0;
}

void irq_wait_change(const volatile uint64_t *value, uint64_t seen)
{
	at_cpl0(irq_wait_change_cpl0, (uint64_t)value, seen, 0);
}

/* ---- single privileged instructions ---- */

static uint64_t port_in_cpl0(uint64_t port, uint64_t bytes, uint64_t c)
{
	uint16_t w;

	switch (bytes) {
	case 1:
		return cpl0_inb((uint16_t)port);
	case 2:
		__asm__ volatile("inw %1, %0" : "=a"(w) : "d"((uint16_t)port));
		return w;
	default:
		return cpl0_inl((uint16_t)port);
	}
}

uint32_t port_in(uint16_t port, unsigned bytes)
{
	return (uint32_t)at_cpl0(port_in_cpl0, port, bytes, 0);
}

static uint64_t port_out_cpl0(uint64_t port, uint64_t bytes, uint64_t v)
{
	switch (bytes) {
	case 1:
		cpl0_outb((uint16_t)port, (uint8_t)v);
		break;
	case 2:
		__asm__ volatile("outw %0, %1" ::"a"((uint16_t)v),
				 "d"((uint16_t)port));
		break;
	default:
		cpl0_outl((uint16_t)port, (uint32_t)v);
	}
	return 0;
}

void port_out(uint16_t port, unsigned bytes, uint32_t v)
{
	at_cpl0(port_out_cpl0, port, bytes, v);
}

static uint64_t mmio_read_cpl0(uint64_t addr, uint64_t bytes, uint64_t c)
{
	switch (bytes) {
	case 1:
		return *(volatile uint8_t *)addr;
	case 2:
		return *(volatile uint16_t *)addr;
	case 4:
		return *(volatile uint32_t *)addr;
	default:
		return *(volatile uint64_t *)addr;
	}
}

uint64_t mmio_read(uint64_t addr, unsigned bytes)
{
	return at_cpl0(mmio_read_cpl0, addr, bytes, 0);
}

static uint64_t mmio_write_cpl0(uint64_t addr, uint64_t bytes, uint64_t v)
{
	switch (bytes) {
	case 1:
		*(volatile uint8_t *)addr = (uint8_t)v;
		break;
	case 2:
		*(volatile uint16_t *)addr = (uint16_t)v;
		break;
	case 4:
		*(volatile uint32_t *)addr = (uint32_t)v;
		break;
	default:
		*(volatile uint64_t *)addr = v;
	}
	return 0;
}

void mmio_write(uint64_t addr, unsigned bytes, uint64_t v)
{
	at_cpl0(mmio_write_cpl0, addr, bytes, v);
}

static uint64_t msr_read_cpl0(uint64_t msr, uint64_t b, uint64_t c)
{
	return cpl0_rdmsr((uint32_t)msr);
}

uint64_t msr_read(uint32_t msr)
{
	return at_cpl0(msr_read_cpl0, msr, 0, 0);
}

static uint64_t msr_write_cpl0(uint64_t msr, uint64_t v, uint64_t c)
{
	cpl0_wrmsr((uint32_t)msr, v);
	return 0;
}

void msr_write(uint32_t msr, uint64_t v)
{
	at_cpl0(msr_write_cpl0, msr, v, 0);
}

static uint64_t cpuid_cpl0(uint64_t leaf, uint64_t subleaf, uint64_t out)
{
	struct cpuid *r = (struct cpuid *)out;

	__asm__ volatile("cpuid"
			 : "=a"(r->eax), "=b"(r->ebx), "=c"(r->ecx),
			   "=d"(r->edx)
			 : "a"((uint32_t)leaf), "c"((uint32_t)subleaf));
	return 0;
}

struct cpuid cpuid_get(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;

	at_cpl0(cpuid_cpl0, leaf, subleaf, (uint64_t)&r);
	return r;
}
