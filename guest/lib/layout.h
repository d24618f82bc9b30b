/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that the guests' assembly, linker script and C share. Addresses and
 * ports of the machine are in platform.h.
 */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

#include "platform.h"

/* The image starts with the vector stubs and the boot CPU's TSS, so that IDT
 * and GDT, which hold addresses in pieces, can be finished at link time. */
#define LAYOUT_STUBS	  PLATFORM_KERNEL
#define LAYOUT_IRQ_STUBS  (LAYOUT_STUBS + 32 * 16)
#define LAYOUT_TSS	  (LAYOUT_IRQ_STUBS + 224 * 8)
#define LAYOUT_TSS_BYTES  104
#define LAYOUT_TRAMPOLINE 0x18000 /* one page; the SIPI vector is 0x18 */

/* GDT. 0x10 and 0x18 are what Linux's 64-bit boot protocol asks for. */
#define SEL_CODE32    0x08
#define SEL_CODE      0x10
#define SEL_DATA      0x18
#define SEL_USER_DATA (0x20 | 3)
#define SEL_USER_CODE (0x28 | 3)
#define SEL_TSS	      0x30

#define GDT_CODE32    0x00cf9b000000ffff
#define GDT_CODE      0x00af9b000000ffff
#define GDT_DATA      0x00cf93000000ffff
#define GDT_USER_DATA 0x00cff3000000ffff
#define GDT_USER_CODE 0x00affb000000ffff

/* A CPU's own memory, aligned to its size so that the stack pointer names it:
 * struct cpu, the IST stack, the CPL 0 stack, the CPL 3 stack. */
#define CPU_BYTES      0x4000
#define CPU_GDTR       0x40 /* offsetof(struct cpu, gdtr) */
#define CPU_IST_TOP    0x1000
#define CPU_KSTACK_TOP 0x2000
#define CPU_USTACK_TOP 0x4000

/* Page table entries. Accessed and dirty are set from the start: the CPU then
 * never writes to the tables, and RAM stays a function of the program. */
#define PTE_TABLE  0x27 /* present, writable, user, accessed */
#define PTE_2M	   0xe7 /* and dirty, large */
#define PTE_2M_DEV 0xff /* and uncached */

#define RFLAGS_START 0x202 /* interrupts on, IOPL 0 */
#define RFLAGS_IF    0x200

#define LAYOUT_MAX_CPUS 1024

#define VECTOR_NMI	2
#define VECTOR_GP	13
#define VECTOR_PF	14
#define VECTOR_UART	0x24
#define VECTOR_POWER	0x25
#define VECTOR_VIRTIO	0x26
#define VECTOR_TIMER	0x40
#define VECTOR_WAKE	0x50 /* leave hlt, look for work */
#define VECTOR_PING	0x51
#define VECTOR_SPURIOUS 0xff

#endif
