/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all boot protocols share: bytes from a file, the memory map, the place
 * of the initrd, the zero page, and long mode's tables.
 *
 * Order: the kernel is checked and placed by the loader of its format; the
 * initrd goes as high as it may, clear of the kernel; then the structures
 * below 1 MiB. Where each of those lies is platform.h.
 */
#include "boot.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "boot_image.h"
#include "fdio.h"
#include "platform.h"
#include "util.h"

/* Enough for every magic in the table below. */
#define HEAD_BYTES 1024

static_assert(sizeof(struct boot_params) == PAGE_BYTES, "the zero page");

int blob_read(const struct blob *b, uint64_t at, void *dst, uint64_t len)
{
	uint8_t *to = dst;

	if (!range_within(at, len, b->bytes))
		return -EIO;
	if (b->fd < 0) {
		if (len)
			memcpy(to, (const uint8_t *)b->data + at, len);
		return 0;
	}
	while (len > 0) {
		ssize_t n = fd_pread(b->fd, to, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		to += n;
		at += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int boot_read(const struct blob *b, uint64_t at, void *dst, uint64_t len,
	      const char *what, struct fail *why)
{
	int err;

	if (!range_within(at, len, b->bytes))
		return boot_fail(why, -ENOEXEC, b, BOOT_HINT_COPY,
				 "truncated: %s (%#lx bytes at %#lx) goes past "
				 "the end of the file, which has %#lx bytes",
				 what, len, at, b->bytes);
	err = blob_read(b, at, dst, len);
	if (err)
		return boot_fail(why, err, b, BOOT_HINT_COPY,
				 "cannot read %s (%#lx bytes at %#lx): %s",
				 what, len, at, strerror(-err));
	return 0;
}

int boot_place(struct gmem *m, uint64_t gpa, const struct blob *b, uint64_t at,
	       uint64_t len, const char *what, struct fail *why)
{
	void *to;
	int err;

	if (len == 0)
		return 0;
	to = gmem_borrow(m, GPA(gpa), len);
	if (!to)
		return boot_fail(why, -EFAULT, b, NULL,
				 "%s (%#lx bytes) does not lie in RAM at %#lx",
				 what, len, gpa);
	err = boot_read(b, at, to, len, what, why);
	/* Also after an error: some of it may have been written. */
	gmem_return(m, GPA(gpa), len);
	return err;
}

const char *boot_hint_memory(char hint[BOOT_HINT_BYTES], uint64_t end)
{
	if (end > PLATFORM_GAP_START)
		return BOOT_HINT_KERNEL;
	snprintf(hint, BOOT_HINT_BYTES,
		 "give the VM more memory: --memory %luM at least",
		 (end + MIB(1) - 1) / MIB(1));
	return hint;
}

uint64_t boot_low_ram_end(const struct gmem *m)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < m->nregions; i++) {
		if (m->region[i].gpa != end || end >= PLATFORM_GAP_START)
			break;
		end += m->region[i].bytes;
	}
	return MIN(end, PLATFORM_GAP_START);
}

/* Appends [start, end), joined to the entry before it where they touch. */
static void e820_add(struct e820 *out, unsigned *n, uint64_t start,
		     uint64_t end, uint32_t type)
{
	struct e820 *last = *n ? &out[*n - 1] : NULL;

	if (start >= end)
		return;
	if (last && last->type == type && last->addr + last->bytes == start) {
		last->bytes += end - start;
		return;
	}
	assert(*n < BOOT_MAX_E820);
	out[(*n)++] = (struct e820){ start, end - start, type };
}

unsigned boot_e820(const struct gmem *m, struct e820 out[BOOT_MAX_E820])
{
	unsigned n = 0;

	e820_add(out, &n, 0, MIN(boot_low_ram_end(m), PLATFORM_LOW_END),
		 BOOT_E820_RAM);
	e820_add(out, &n, PLATFORM_LOW_END, PLATFORM_KERNEL,
		 BOOT_E820_RESERVED);
	for (unsigned i = 0; i < m->nregions; i++) {
		const struct gmem_region *r = &m->region[i];

		e820_add(out, &n, MAX(r->gpa, PLATFORM_KERNEL),
			 r->gpa + r->bytes, BOOT_E820_RAM);
	}
	return n;
}

/* What people hand over instead of a kernel. */
static const struct {
	uint16_t at;
	uint8_t len;
	const char *magic;
	const char *what;
	const char *hint;
} not_kernels[] = {
	{ 0, 2, "\x1f\x8b", "it is gzip data", "unpack it: gunzip" },
	{ 0, 6,
	  "\xfd"
	  "7zXZ\0",
	  "it is xz data", "unpack it: unxz" },
	{ 0, 4, "\x28\xb5\x2f\xfd", "it is zstd data", "unpack it: unzstd" },
	{ 0, 3, "BZh", "it is bzip2 data", "unpack it: bunzip2" },
	{ 0, 4, "\x02\x21\x4c\x18", "it is lz4 data", "unpack it: unlz4" },
	{ 0, 4, "\x04\x22\x4d\x18", "it is lz4 data", "unpack it: unlz4" },
	{ 0, 4,
	  "\x89"
	  "LZO",
	  "it is lzop data", "unpack it: lzop -d" },
	{ 0, 3, "\x5d\0\0", "it is lzma data", "unpack it: unlzma" },
	{ 56, 4, "ARM\x64", "it is an Image for arm64", BOOT_HINT_KERNEL },
	{ 56, 4, "RSC\x05", "it is an Image for RISC-V", BOOT_HINT_KERNEL },
	{ 4, 4, "zimg", "it is a compressed EFI image, not for x86",
	  BOOT_HINT_KERNEL },
	{ 0, 4, "\x27\x05\x19\x56", "it is a U-Boot image", BOOT_HINT_KERNEL },
	{ 0, 2, "MZ", "it is a PE (EFI) program without Linux's setup header",
	  BOOT_HINT_KERNEL },
	{ 0, 6, "070701", "it is a cpio archive", "is it the initrd?" },
	{ 0, 4, "QFI\xfb", "it is a qcow2 disk image", BOOT_HINT_KERNEL },
	{ 0, 7, "!<arch>", "it is an archive or a package",
	  "unpack it and give the vmlinuz in it" },
	{ 510, 2, "\x55\xaa",
	  "it is a boot sector without Linux's setup header",
	  BOOT_HINT_KERNEL },
};

static int no_kernel(const struct blob *b, const uint8_t *head, uint64_t len,
		     struct fail *why)
{
	for (unsigned i = 0; i < ARRAY_SIZE(not_kernels); i++) {
		if (!range_within(not_kernels[i].at, not_kernels[i].len, len) ||
		    memcmp(head + not_kernels[i].at, not_kernels[i].magic,
			   not_kernels[i].len) != 0)
			continue;
		return boot_fail(why, -ENOEXEC, b, not_kernels[i].hint,
				 "not a kernel: %s", not_kernels[i].what);
	}
	return boot_fail(why, -ENOEXEC, b, BOOT_HINT_KERNEL,
			 "not a kernel: neither an ELF file nor a bzImage");
}

static int load_kernel(struct gmem *m, const struct boot_source *src,
		       struct boot_image *img, struct fail *why)
{
	const struct blob *b = &src->kernel;
	uint8_t head[HEAD_BYTES];
	uint64_t len = MIN(b->bytes, sizeof(head));
	int err;

	if (len == 0)
		return boot_fail(why, -ENOEXEC, b, BOOT_HINT_KERNEL,
				 "not a kernel: it is empty");
	err = boot_read(b, 0, head, len, "its first bytes", why);
	if (err)
		return err;
	if (boot_elf_is(head, len))
		return boot_elf_load(m, src, img, why);
	if (boot_bzimage_is(head, len))
		return boot_bzimage_load(m, src, img, why);
	return no_kernel(b, head, len, why);
}

static int write_cmdline(struct gmem *m, const struct boot_source *src,
			 const struct boot_image *img, struct fail *why)
{
	uint64_t len = strlen(src->cmdline);
	uint64_t max = MIN(img->cmdline_max, PLATFORM_CMDLINE_MAX - 1);

	if (len > max)
		return fail_set(why, EXIT_USAGE, -E2BIG, "command line",
				"shorten --cmdline",
				"%lu characters are too long: %s takes %lu",
				len, src->kernel.name, max);
	return gmem_write(m, GPA(PLATFORM_CMDLINE), src->cmdline, len + 1);
}

/* The highest page-aligned place below `end` that is clear of the kernel and
 * of the first MiB; 0 when there is none. */
static uint64_t place_below(uint64_t end, uint64_t bytes,
			    const struct boot_image *img)
{
	uint64_t at;

	if (bytes > end)
		return 0;
	at = align_down(end - bytes, PAGE_BYTES);
	if (at < img->end && end > img->start) {
		if (bytes > img->start)
			return 0;
		at = MIN(at, align_down(img->start - bytes, PAGE_BYTES));
	}
	return at >= PLATFORM_KERNEL ? at : 0;
}

static int load_initrd(struct gmem *m, const struct blob *b,
		       const struct boot_image *img, uint64_t *at,
		       struct fail *why)
{
	uint64_t end = MIN(img->initrd_end, boot_low_ram_end(m));
	bool capped = end < boot_low_ram_end(m);

	*at = 0;
	if (b->bytes == 0)
		return 0;
	*at = place_below(end, b->bytes, img);
	if (*at == 0)
		return boot_fail(why, -ENOMEM, b,
				 capped ? "give a smaller initrd"
					: "give the VM more memory (--memory) "
					  "or a smaller initrd",
				 "%#lx bytes do not fit below %#lx beside the "
				 "kernel at %#lx-%#lx",
				 b->bytes, end, img->start, img->end);
	return boot_place(m, *at, b, 0, b->bytes, "all of it", why);
}

static int write_zero_page(struct gmem *m, const struct boot_source *src,
			   const struct boot_image *img, uint64_t initrd)
{
	struct boot_params p = { .hdr = img->hdr };
	struct e820 map[BOOT_MAX_E820];
	unsigned n = boot_e820(m, map);

	p.hdr.type_of_loader = 0xff; /* none that has a number */
	p.hdr.cmd_line_ptr = PLATFORM_CMDLINE;
	if (src->initrd.bytes) {
		/* It lies below the gap, so both fit. */
		p.hdr.ramdisk_image = (uint32_t)initrd;
		p.hdr.ramdisk_size = (uint32_t)src->initrd.bytes;
	}
	p.acpi_rsdp_addr = PLATFORM_ACPI;
	static_assert(BOOT_MAX_E820 <= E820_MAX_ENTRIES_ZEROPAGE, "E820");
	for (unsigned i = 0; i < n; i++) {
		p.e820_table[i].addr = map[i].addr;
		p.e820_table[i].size = map[i].bytes;
		p.e820_table[i].type = map[i].type;
	}
	p.e820_entries = (uint8_t)n;
	return gmem_write(m, GPA(PLATFORM_ZERO_PAGE), &p, sizeof(p));
}

/*
 * What a BIOS has at its reset vector. Linux on a hardware-reduced machine
 * reboots by EFI, and failing that by a jump there in real mode; it asks
 * neither ACPI nor the keyboard controller (6.1, arch/x86/kernel/reboot.c).
 */
static int write_reset_vector(struct gmem *m)
{
	static const uint8_t code[] = {
		0xba,
		PLATFORM_POWER_RESET & 0xff,
		PLATFORM_POWER_RESET >> 8, /* mov dx, PLATFORM_POWER_RESET */
		0xb0,
		PLATFORM_RESET_VALUE, /* mov al, PLATFORM_RESET_VALUE */
		0xee,		      /* out dx, al */
		0xf4,		      /* hlt */
		0xeb,
		0xfd, /* jmp to the hlt */
	};

	return gmem_write(m, GPA(PLATFORM_RESET_VECTOR), code, sizeof(code));
}

/* Selectors 0x10 and 0x18, flat, as the 64-bit protocol asks. */
static int write_gdt(struct gmem *m)
{
	static const uint64_t gdt[] = {
		0, 0, UINT64_C(0x00af9b000000ffff), /* code: long mode, DPL 0 */
		UINT64_C(0x00cf93000000ffff),	    /* data: writable, DPL 0 */
	};

	return gmem_write(m, GPA(PLATFORM_GDT), gdt, sizeof(gdt));
}

/* PML4, PDPT, then four page directories of 2 MiB pages. */
static int write_page_tables(struct gmem *m)
{
	enum { PRESENT = 1, WRITE = 2, LARGE = 0x80, ENTRIES = 512, PDS = 4 };
	const size_t bytes = (2 + PDS) * PAGE_BYTES;
	const uint64_t pdpt = PLATFORM_PAGETABLES + PAGE_BYTES;
	uint64_t *t = gmem_borrow(m, GPA(PLATFORM_PAGETABLES), bytes);

	if (!t)
		return -EFAULT;
	t[0] = pdpt | PRESENT | WRITE;
	for (uint64_t i = 0; i < PDS; i++)
		t[ENTRIES + i] =
		    (pdpt + (i + 1) * PAGE_BYTES) | PRESENT | WRITE;
	for (uint64_t i = 0; i < PDS * ENTRIES; i++)
		t[2 * ENTRIES + i] = i * MIB(2) | PRESENT | WRITE | LARGE;
	gmem_return(m, GPA(PLATFORM_PAGETABLES), bytes);
	return 0;
}

static int write_params(struct gmem *m, const struct boot_source *src,
			const struct boot_image *img, uint64_t initrd)
{
	int err = write_reset_vector(m);

	if (err)
		return err;
	if (img->protocol == BOOT_PVH)
		return boot_write_pvh(m, src, initrd);
	err = write_zero_page(m, src, img, initrd);
	if (!err)
		err = write_gdt(m);
	return err ? err : write_page_tables(m);
}

int boot_load(struct gmem *m, const struct boot_source *src,
	      struct boot_entry *entry, struct fail *why)
{
	struct boot_image img = { .entry = 0 };
	uint64_t initrd;
	int err;

	if (boot_low_ram_end(m) <= PLATFORM_KERNEL)
		return fail_set(why, EXIT_OWN_FAILURE, -ENOMEM, "memory",
				"give the VM more memory (--memory)",
				"%#lx bytes at 0 are too few for any kernel",
				boot_low_ram_end(m));
	err = load_kernel(m, src, &img, why);
	if (err)
		return err;
	err = load_initrd(m, &src->initrd, &img, &initrd, why);
	if (err)
		return err;
	err = write_cmdline(m, src, &img, why);
	if (err)
		return err;
	/* Below 1 MiB, where RAM is, as was seen above. */
	err = write_params(m, src, &img, initrd);
	if (err)
		return boot_fail(why, err, &src->kernel, NULL,
				 "cannot write its boot parameters: %s",
				 strerror(-err));
	*entry =
	    (struct boot_entry){ .protocol = img.protocol, .rip = img.entry };
	if (img.protocol == BOOT_PVH) {
		entry->params = PLATFORM_START_INFO;
	} else {
		entry->params = PLATFORM_ZERO_PAGE;
		entry->stack = PLATFORM_BOOT_STACK;
	}
	return 0;
}
