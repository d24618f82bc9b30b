/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of the 1 MiB of code and constants that the start walks through, the running
 * VM uses a tenth. Only segments that are never written are touched: a page of
 * theirs is the file's own, and dropping it from the mapping loses nothing.
 */
#include "footprint.h"

#include <elf.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>

#include "util.h"

/* The program's own ELF header, mapped with its first segment (by the linker).
 */
extern const Elf64_Ehdr __ehdr_start;

void footprint_trim(void)
{
	const uint64_t head = (uint64_t)&__ehdr_start;
	const Elf64_Phdr *p = (const void *)(head + __ehdr_start.e_phoff);
	uint64_t base =
	    0; /* where the program was put, less where it is linked */

	malloc_trim(0);
	for (unsigned i = 0; i < __ehdr_start.e_phnum; i++, p++) {
		uint64_t at, end;

		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_offset == 0)
			base = head - p->p_vaddr;
		if (p->p_flags & PF_W)
			continue;
		at = align_down(base + p->p_vaddr, PAGE_BYTES);
		end = align_up(base + p->p_vaddr + p->p_memsz, PAGE_BYTES);
		/* Without it the pages just stay. */
		madvise((void *)at, end - at, MADV_DONTNEED);
	}
}
