/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a kernel, its initrd, command line, memory map and ACPI tables into
 * guest RAM and says how the first vCPU enters it. Kernel files are hostile
 * input: sizes are checked by subtraction, every byte goes through gmem.
 *
 * Protocols: Linux's 64-bit boot protocol (Documentation/x86/boot.rst) for
 * bzImage, and for ELF files without a PVH note; PVH
 * (xen/include/public/arch-x86/hvm/start_info.h) for ELF files with the note
 * XEN_ELFNOTE_PHYS32_ENTRY.
 *
 * Owner: the machine's thread, while no vCPU runs.
 */
#ifndef TINTYPE_BOOT_H
#define TINTYPE_BOOT_H

#include <stdint.h>

#include "fail.h"
#include "gmem.h"

/* Bytes in a file (read with pread, never mapped: it may be truncated under
 * us) or in memory. */
struct blob {
	int fd; /* -1: `data`; not owned */
	const void *data;
	uint64_t bytes;
	const char *name; /* for messages: "kernel /boot/vmlinuz" */
};

/* Exactly `len` bytes, or -EIO (short), or -errno. */
int blob_read(const struct blob *b, uint64_t at, void *dst, uint64_t len);

enum boot_protocol {
	BOOT_AUTO,    /* as the file asks: PVH note, else 64-bit */
	BOOT_LINUX64, /* long mode, RSI = boot_params */
	BOOT_PVH,     /* 32-bit protected mode, EBX = hvm_start_info */
};

struct boot_source {
	struct blob kernel;
	struct blob initrd; /* bytes 0: none */
	const char *cmdline;
	enum boot_protocol protocol;
};

/* How the first vCPU starts; the vCPU code sets its registers by it. */
struct boot_entry {
	enum boot_protocol protocol; /* LINUX64 or PVH */
	uint64_t rip;
	uint64_t params; /* RSI or RBX */
	uint64_t stack;	 /* RSP; 0 for PVH */
};

/*
 * Loads it all (the ACPI tables are written by acpi_write before or after).
 * Also writes the code at PLATFORM_RESET_VECTOR, and for LINUX64 the GDT and
 * the identity page tables of 4 GiB that PLATFORM_GDT and PLATFORM_PAGETABLES
 * name. 0, or -errno with `why` filled:
 * no kernel, truncated, overlapping or outside RAM, command line too long,
 * initrd that does not fit.
 */
int boot_load(struct gmem *m, const struct boot_source *src,
	      struct boot_entry *entry, struct fail *why);

/* The memory map the guest is told, as E820 entries in ascending order.
 * Returns how many. */
enum { BOOT_E820_RAM = 1, BOOT_E820_RESERVED = 2 };
struct e820 {
	uint64_t addr, bytes;
	uint32_t type;
};
#define BOOT_MAX_E820 (GMEM_MAX_REGIONS + 4)
unsigned boot_e820(const struct gmem *m, struct e820 out[BOOT_MAX_E820]);

#endif
