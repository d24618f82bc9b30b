/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between boot.c and the loaders of one file format each: what a loader is
 * given, what it has found out and placed when it returns. Nobody else
 * includes this.
 */
#ifndef TINTYPE_BOOT_IMAGE_H
#define TINTYPE_BOOT_IMAGE_H

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stdint.h>

#include "boot.h"

struct boot_image {
	enum boot_protocol protocol; /* LINUX64 or PVH */
	uint64_t entry;		     /* guest-physical */
	/* [start, end): all that the kernel occupies, or will occupy before it
	 * has read its memory map. The initrd stays out of it. */
	uint64_t start, end;
	uint64_t initrd_end;  /* the initrd must end here or below */
	uint64_t cmdline_max; /* characters, without the NUL */
	/* What goes into the zero page; LINUX64 only. */
	struct setup_header hdr;
};

/* `fail_set` for what is wrong with a file, or with it in this VM. */
#define boot_fail(why, err, blob, hint, ...)                                   \
	fail_set(why, EXIT_INCOMPATIBLE, err, (blob)->name, hint, __VA_ARGS__)

#define BOOT_HINT_KERNEL "give an uncompressed 64-bit vmlinux or a bzImage"
#define BOOT_HINT_COPY	 "get the file again: it is damaged or incomplete"

/* blob_read, with `why` filled; `what` names the part: "its ELF header". */
int boot_read(const struct blob *b, uint64_t at, void *dst, uint64_t len,
	      const char *what, struct fail *why);

/* The same straight into guest RAM, where all of it must lie (-EFAULT). */
int boot_place(struct gmem *m, uint64_t gpa, const struct blob *b, uint64_t at,
	       uint64_t len, const char *what, struct fail *why);

/* The hint for what must lie below `end`: how much --memory that takes. What
 * cannot be had by more memory gets BOOT_HINT_KERNEL. Returns `hint`. */
#define BOOT_HINT_BYTES 80
const char *boot_hint_memory(char hint[BOOT_HINT_BYTES], uint64_t end);

/* Where the RAM that begins at 0 ends: below or at the gap. */
uint64_t boot_low_ram_end(const struct gmem *m);

/* `head` is the first `len` bytes of the file. */
bool boot_elf_is(const uint8_t *head, uint64_t len);
bool boot_bzimage_is(const uint8_t *head, uint64_t len);

/* Check the file, place the kernel and fill `img`. 0 or -errno with `why`. */
int boot_elf_load(struct gmem *m, const struct boot_source *src,
		  struct boot_image *img, struct fail *why);
int boot_bzimage_load(struct gmem *m, const struct boot_source *src,
		      struct boot_image *img, struct fail *why);

/* What the kernel finds on entry. `initrd` is its address, unused when the
 * source has none. 0 or gmem's error. */
int boot_write_pvh(struct gmem *m, const struct boot_source *src,
		   uint64_t initrd);

#endif
