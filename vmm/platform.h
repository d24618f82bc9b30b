/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine as the guest sees it: every fixed address, port and interrupt,
 * in one place, for the VMM, the ACPI tables and the guest programs alike.
 * Plain numbers only, so that assembly may include it.
 */
#ifndef TINTYPE_PLATFORM_H
#define TINTYPE_PLATFORM_H

/* RAM runs from 0 to the gap and goes on above 4 GiB. */
#define PLATFORM_GAP_START 0xc0000000
#define PLATFORM_GAP_END   0x100000000

/* Below 1 MiB: what the loader leaves there for the guest. The low 640 KiB
 * are usable RAM once the guest has read it; 0x9fc00-0xfffff is reserved. */
#define PLATFORM_GDT	      0x00001000 /* boot GDT, one page */
#define PLATFORM_ZERO_PAGE    0x00002000 /* Linux boot_params, one page */
#define PLATFORM_START_INFO   0x00003000 /* PVH hvm_start_info, one page */
#define PLATFORM_PAGETABLES   0x00004000 /* 6 pages: identity map of 4 GiB */
#define PLATFORM_BOOT_STACK   0x00010000 /* grows down, for 64-bit ELF guests */
#define PLATFORM_CMDLINE      0x00020000
#define PLATFORM_CMDLINE_MAX  0x10000
#define PLATFORM_LOW_END      0x0009fc00 /* end of the usable low RAM */
#define PLATFORM_ACPI	      0x000e0000 /* RSDP first, then the tables */
#define PLATFORM_ACPI_END     0x000f0000
#define PLATFORM_VMGENID      0x000f0000 /* 16 bytes, 8-byte aligned */
#define PLATFORM_VMCLOCK      0x000f1000 /* one page, for guests to map */
#define PLATFORM_RESET_VECTOR 0x000ffff0 /* real mode: resets the machine */
#define PLATFORM_KERNEL	      0x00100000 /* kernels are loaded from here up */

/* PIO */
#define PLATFORM_UART_PORT    0x3f8
#define PLATFORM_EXIT_PORT    0xf4  /* 4 bytes; a write ends the VM with it */
#define PLATFORM_PVPANIC_PORT 0x505 /* 1 byte */
#define PLATFORM_RTC_PORT     0x70  /* 2 bytes: index, data */
#define PLATFORM_I8042_PORT   0x64  /* only the reset command 0xfe */
/* The power block: devices/power.c, and the GED's _EVT method. */
#define PLATFORM_POWER_PORT    0x600
#define PLATFORM_POWER_BYTES   16
#define PLATFORM_POWER_EVENTS  0x600 /* 4 bytes, read: pending, and clears */
#define PLATFORM_POWER_SLEEP   0x604 /* 1 byte, ACPI SLEEP_CONTROL_REG */
#define PLATFORM_POWER_STATUS  0x605 /* 1 byte, ACPI SLEEP_STATUS_REG */
#define PLATFORM_POWER_RESET   0x606 /* 1 byte, ACPI RESET_REG */
#define PLATFORM_POWER_READY   0x608 /* 1 byte, a write says "I am ready" */
#define PLATFORM_RESET_VALUE   1
#define PLATFORM_SLEEP_TYPE_S5 5
/* Bits of PLATFORM_POWER_EVENTS */
#define PLATFORM_EVENT_POWER_BUTTON 1
#define PLATFORM_EVENT_VMGENID	    2

/* Interrupt lines (GSI = IOAPIC pin) */
#define PLATFORM_UART_GSI   4
#define PLATFORM_POWER_GSI  5 /* the GED's, edge */
#define PLATFORM_VIRTIO_GSI 6 /* first of the virtio-mmio ones, edge */
#define PLATFORM_GSI_END    24

/* MMIO, all inside the gap */
#define PLATFORM_VIRTIO_MMIO  0xd0000000 /* first of the virtio-mmio windows */
#define PLATFORM_VIRTIO_BYTES 0x1000
#define PLATFORM_IOAPIC	      0xfec00000
#define PLATFORM_LAPIC	      0xfee00000
/* Three pages that KVM on Intel wants for real mode, one for its identity map
 * (KVM_SET_TSS_ADDR, KVM_SET_IDENTITY_MAP_ADDR). */
#define PLATFORM_KVM_IDENTITY 0xfffbc000
#define PLATFORM_KVM_TSS      0xfffbd000

#endif
