/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments and control registers: GDT, LDT, task register, segment bases and
 * selectors, CR0, CR2, CR4, CR8, flags, set and read back across exits.
 */
#include "exact.h"

#define ROUNDS	   60
#define CR0_MP	   2
#define CR4_PCE	   0x100
#define CR4_OSFXSR 0x200
#define MSR_FS	   0xc0000100
#define MSR_GS	   0xc0000101
#define FLAGS	   0x200cd5 /* all that a program may change, and ID */

static uint64_t gdt[10];
static uint64_t ldt[4] = { 0, GDT_DATA, GDT_USER_DATA, 0 };
static struct {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed)) gdtr, idtr, was;

static uint64_t tables(uint64_t i, uint64_t b, uint64_t c)
{
	uint16_t sel = 0, tr = 0;
	uint64_t h = 0, l = (uint64_t)ldt;

	__asm__ volatile("sgdt %0" : "=m"(was));
	memcpy(gdt, (void *)was.base, 64);
	gdt[8] = (sizeof(ldt) - 1) | (l & 0xffffff) << 16 | 0x82ull << 40 |
		 (l >> 24 & 0xff) << 56;
	gdt[9] = l >> 32;
	gdtr.limit = sizeof(gdt) - 1;
	gdtr.base = (uint64_t)gdt;
	__asm__ volatile("lgdt %0" ::"m"(gdtr));
	mark_cpl0(i);
	__asm__ volatile("lldt %w0" ::"r"(0x40));
	mark_cpl0(i);
	__asm__ volatile("mov %0, %%fs" ::"r"(0xc)); /* the LDT's entry 1 */
	__asm__ volatile("sldt %0" : "=m"(sel));
	__asm__ volatile("str %0" : "=m"(tr));
	__asm__ volatile("sidt %0" : "=m"(idtr));
	__asm__ volatile("sgdt %0" : "=m"(gdtr));
	mark_cpl0(sel);
	h = fold(fold(fold(h, sel), tr), idtr.limit);
	h = fold(fold(h, gdtr.base - (uint64_t)gdt), idtr.base);
	__asm__ volatile("mov %%fs, %0" : "=r"(l));
	h = fold(h, l & 0xffff);
	__asm__ volatile("mov %0, %%fs" ::"r"(0));
	__asm__ volatile("lldt %w0" ::"r"(0));
	__asm__ volatile("lgdt %0" ::"m"(was));
	return h;
}

static uint64_t control(uint64_t i, uint64_t b, uint64_t c)
{
	uint64_t cr0, cr4, cr8 = i & 15, v, h = 0;

	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr0" ::"r"(cr0 ^ (i & 1 ? CR0_MP : 0)));
	__asm__ volatile(
	    "mov %0, %%cr4" ::"r"(cr4 ^ (i & 2 ? CR4_OSFXSR : CR4_PCE)));
	__asm__ volatile("mov %0, %%cr8" ::"r"(cr8));
	__asm__ volatile("mov %0, %%cr2" ::"r"(i * 0x1234567));
	mark_cpl0(i);
	__asm__ volatile("mov %%cr0, %0" : "=r"(v));
	h = fold(h, v);
	__asm__ volatile("mov %%cr4, %0" : "=r"(v));
	h = fold(h, v);
	__asm__ volatile("mov %%cr8, %0" : "=r"(v));
	expect("CR8", v, cr8);
	mark_cpl0(h);
	__asm__ volatile("mov %%cr2, %0" : "=r"(v));
	expect("CR2", v, i * 0x1234567);
	cr8 = 0;
	__asm__ volatile("mov %0, %%cr8" ::"r"(cr8));
	__asm__ volatile("mov %0, %%cr4" ::"r"(cr4));
	__asm__ volatile("mov %0, %%cr0" ::"r"(cr0));
	return h;
}

/* At CPL 3, where the bases count. */
static uint64_t bases(uint64_t i)
{
	static uint64_t words[8] = { 11, 22, 33, 44, 55, 66, 77, 88 };
	uint64_t a = 0, b = 0, flags = (i * 0x5155 & FLAGS) | RFLAGS_START;

	msr_write(MSR_FS, (uint64_t)&words[i & 7]);
	msr_write(MSR_GS, (uint64_t)&words[(i + 3) & 7]);
	mark(i);
	__asm__ volatile("mov %%fs:0, %0" : "=r"(a));
	__asm__ volatile("mov %%gs:0, %0" : "=r"(b));
	expect("FS", a, words[i & 7]);
	expect("GS", b, words[(i + 3) & 7]);
	__asm__ volatile("push %1\n\tpopf\n\tpushf\n\tpop %0\n\tcld"
			 : "=r"(a)
			 : "r"(flags & ~0x100ull)
			 : "memory", "cc");
	return fold(a, b);
}

int guest_main(void)
{
	uint64_t hash = 0;

	for (uint64_t i = 0; i < ROUNDS; i++) {
		hash = fold(hash, at_cpl0(tables, i, 0, 0));
		hash = fold(hash, at_cpl0(control, i, 0, 0));
		hash = fold(hash, bases(i));
	}
	return exact_end("segments", hash);
}
