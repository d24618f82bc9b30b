/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the first instruction to CPL 3: the 64-bit entry (RSI = boot_params),
 * the PVH entry (EBX = hvm_start_info), the way up for further CPUs, and the
 * tables they load.
 *
 * Where the hypervisor emulates CPL 0, each instruction here takes half a
 * microsecond; so tables are data, and what needs a loop is left to CPL 3.
 */
#include "layout.h"

#define MSR_EFER 0xc0000080

/* ---- vector stubs: all push {error code, vector - 128}; IRQs' own vector
 * stands in for the error code that they do not have ---- */
	.section .fixed, "ax"
	.code64
	.globl guest_stubs
guest_stubs:
	.set v, 0
	.rept 32
	.balign 16
	.ifeq (0x60227d00 >> v) & 1
	pushq	$0
	.endif
	pushq	$(v - 128)
	jmp	trap_entry
	.set v, v + 1
	.endr
	.balign 16
	.rept 224
	.balign 8
	pushq	$(v - 128)
	jmp	irq_entry
	.set v, v + 1
	.endr
	.balign 8
	.globl guest_tss
guest_tss: /* Intel SDM 3A, 8.7 */
	.long	0
	.quad	guest_boot_cpu + CPU_KSTACK_TOP
	.quad	0, 0, 0
	.quad	guest_boot_cpu + CPU_IST_TOP
	.quad	0, 0, 0, 0, 0, 0, 0
	.word	0, LAYOUT_TSS_BYTES

	.text
irq_entry:
	pushq	(%rsp)
trap_entry:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	mov	%rsp, %rdi
	cld
	call	trap_handle
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

/* ---- entries ---- */

/* What the program wants said before anything else is done. The transmitter
 * is empty after reset, so the first byte needs no look at it. */
	.macro say_early si
	mov	$guest_early, %\si
	mov	$PLATFORM_UART_PORT, %edx
	lodsb
	test	%al, %al
	jz	1f
	out	%al, %dx
1:
	.endm

/* Valid in 32- and 64-bit mode; the upper halves are zero (.bss). */
	.macro build_tables
	movl	$(guest_pdpt + PTE_TABLE), guest_pml4
	movl	$(guest_pd_low + PTE_TABLE), guest_pdpt
	movl	$(guest_pd_dev + PTE_TABLE), guest_pdpt + 3 * 8
	movl	$PTE_2M, guest_pd_low
	movl	$(0x200000 + PTE_2M), guest_pd_low + 8
	movl	$(PLATFORM_IOAPIC + PTE_2M_DEV), guest_pd_dev + 502 * 8
	movl	$(PLATFORM_LAPIC + PTE_2M_DEV), guest_pd_dev + 503 * 8
	.endm

	.globl guest_entry64
guest_entry64:
	mov	%rsi, %rbx
	say_early esi
	build_tables
	mov	$guest_pml4, %eax
	mov	%rax, %cr3
	lgdt	guest_gdtr
	mov	%rbx, guest_boot_params
	jmp	enter

	.code32
	.globl guest_entry_pvh
guest_entry_pvh:
	say_early esi
	mov	%ebx, guest_start_info
	build_tables
	mov	$0x20, %eax			/* PAE */
	mov	%eax, %cr4
	mov	$guest_pml4, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	mov	$0x100, %eax			/* LME */
	xor	%edx, %edx
	wrmsr
	mov	$0x80000031, %eax		/* PG, NE, ET, PE */
	mov	%eax, %cr0
	lgdt	guest_gdtr
	ljmp	$SEL_CODE, $enter

	.code64
enter:
	mov	$guest_boot_cpu, %ebx
	mov	$guest_start, %ecx

/* The common end, for every CPU: RBX its memory, RCX where CPL 3 begins; its
 * GDT is loaded. */
to_cpl3:
	lidt	guest_idtr
	mov	$SEL_DATA, %eax
	mov	%eax, %ss
	mov	$SEL_USER_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	lea	CPU_KSTACK_TOP(%rbx), %rsp
	mov	$SEL_TSS, %edx
	ltr	%dx
	push	%rax
	/* as a call would leave it, for the compiler's alignment */
	add	$(CPU_USTACK_TOP - 8), %rbx
	push	%rbx
	push	$RFLAGS_START
	push	$SEL_USER_CODE
	push	%rcx
	iretq

/* ---- further CPUs: copied to LAYOUT_TRAMPOLINE, entered in real mode ---- */
	.section .rodata
	.globl guest_trampoline, guest_trampoline_end
	.code16
guest_trampoline:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	ap_gdtr - guest_trampoline
	mov	$0x31, %eax			/* NE, ET, PE */
	mov	%eax, %cr0
	ljmpl	$SEL_CODE32, $(LAYOUT_TRAMPOLINE + ap32 - guest_trampoline)
	.code32
ap32:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %ss
	mov	$0x20, %eax
	mov	%eax, %cr4
	mov	$guest_pml4, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	mov	$0x100, %eax
	xor	%edx, %edx
	wrmsr
	mov	$0x80000031, %eax
	mov	%eax, %cr0
	ljmp	$SEL_CODE, $ap64
	.balign 4
ap_gdtr:
	.word	guest_gdt_end - guest_gdt - 1
	.long	guest_gdt
guest_trampoline_end:

	.text
	.code64
ap64:
	mov	guest_next_cpu, %rbx		/* written by smp.c */
	lgdt	CPU_GDTR(%rbx)
	mov	$smp_ap_start, %ecx
	jmp	to_cpl3

/* ---- tables ---- */
	.section .rodata
	.balign 8
guest_idt:
	.set v, 0
	.set stub, LAYOUT_STUBS
	.rept 256
	.word	stub & 0xffff
	.word	SEL_CODE
	.if	v == 2 || v == 8 || v == 18
	.byte	1				/* NMI, #DF, #MC: own stack */
	.else
	.byte	0
	.endif
	.byte	0x8e				/* interrupt gate, DPL 0 */
	.word	stub >> 16
	.quad	0
	.if	v < 31
	.set stub, stub + 16
	.elseif	v == 31
	.set stub, LAYOUT_IRQ_STUBS
	.else
	.set stub, stub + 8
	.endif
	.set v, v + 1
	.endr
guest_idt_end:

	/* in .data: ltr marks the TSS busy */
	.data
	.balign 8
	.globl guest_gdt
guest_gdt:
	.quad	0
	.quad	GDT_CODE32
	.quad	GDT_CODE
	.quad	GDT_DATA
	.quad	GDT_USER_DATA
	.quad	GDT_USER_CODE
	.word	LAYOUT_TSS_BYTES - 1
	.word	LAYOUT_TSS & 0xffff
	.byte	(LAYOUT_TSS >> 16) & 0xff
	.byte	0x89
	.byte	0
	.byte	LAYOUT_TSS >> 24
	.quad	0
guest_gdt_end:
	.globl guest_gdtr
guest_gdtr:
	.word	guest_gdt_end - guest_gdt - 1
	.quad	guest_gdt
	.globl guest_idtr
guest_idtr:
	.word	guest_idt_end - guest_idt - 1
	.quad	guest_idt

	/* a program without early words */
	.weak guest_early
guest_early:
	.byte	0

/* XEN_ELFNOTE_PHYS32_ENTRY, xen/include/public/elfnote.h */
	.section .note.Xen, "a", @note
	.balign 4
	.long	4, 4, 18
	.asciz	"Xen"
	.long	guest_entry_pvh

/* ---- memory without a place in the file ---- */
	.section .bss.tables, "aw", @nobits
	.balign 4096
	.globl guest_pml4, guest_pdpt, guest_pd_low, guest_pd_dev
guest_pml4:
	.skip	4096
guest_pdpt:
	.skip	4096
guest_pd_low:
	.skip	4096
guest_pd_dev:
	.skip	4096

	.bss
	.balign 8
	.globl guest_boot_params, guest_start_info, guest_next_cpu
guest_boot_params:
	.quad	0
guest_start_info:
	.quad	0
guest_next_cpu:
	.quad	0

	/* guest.ld aligns it to CPU_BYTES */
	.section .bss.cpu, "aw", @nobits
	.globl guest_boot_cpu
guest_boot_cpu:
	.skip	CPU_BYTES

	.section .note.GNU-stack, "", @progbits
