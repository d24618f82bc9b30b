/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 64-bit ELF executables: vmlinux and small guests. Segments go to their
 * physical addresses; what lies beyond a segment's file bytes stays as fresh
 * RAM is, zero.
 *
 * All headers are read and judged before the first byte is placed. The file
 * may claim anything; only up to ELF_MAX_SEGMENTS program headers are looked
 * at, and ELF_MAX_NOTES bytes of notes in each: every note is a read or two.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot_image.h"
#include "platform.h"
#include "util.h"

#define ELF_MAX_SEGMENTS 64
/* Linux's have some hundred bytes. A sparse file could claim a terabyte. */
#define ELF_MAX_NOTES KIB(64)
/* xen/include/public/elfnote.h: where PVH enters, in 32-bit mode. */
#define NOTE_PHYS32_ENTRY 18
/* An ELF file has no place to say how much it takes (Linux cuts at 2047, as
 * its bzImage header says); our own limit remains. */
#define ELF_CMDLINE_MAX UINT64_MAX

struct elf {
	const struct blob *b;
	struct fail *why;
	Elf64_Ehdr eh;
	Elf64_Phdr ph[ELF_MAX_SEGMENTS];
	uint64_t pvh_entry; /* when has_pvh */
	bool has_pvh;
};

bool boot_elf_is(const uint8_t *head, uint64_t len)
{
	return len >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
}

static int elf_fail(struct elf *e, const char *what)
{
	return boot_fail(e->why, -ENOEXEC, e->b, BOOT_HINT_KERNEL,
			 "not a kernel: it is %s", what);
}

static int elf_judge_header(struct elf *e)
{
	const Elf64_Ehdr *h = &e->eh;

	if (h->e_ident[EI_CLASS] == ELFCLASS32)
		return elf_fail(e, "a 32-bit ELF file");
	if (h->e_ident[EI_CLASS] != ELFCLASS64 ||
	    h->e_ident[EI_DATA] != ELFDATA2LSB ||
	    h->e_ident[EI_VERSION] != EV_CURRENT)
		return elf_fail(e, "an ELF file of an unknown kind");
	if (h->e_machine != EM_X86_64)
		return elf_fail(e, "an ELF file for another processor");
	if (h->e_type == ET_REL)
		return elf_fail(e, "an object file or a kernel module");
	if (h->e_type == ET_DYN)
		return elf_fail(e, "position-independent (link it with "
				   "-no-pie to a fixed address)");
	if (h->e_type != ET_EXEC)
		return elf_fail(e, "an ELF file, but no executable");
	if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 ||
	    h->e_phnum > ELF_MAX_SEGMENTS)
		return boot_fail(e->why, -ENOEXEC, e->b, BOOT_HINT_KERNEL,
				 "%u program headers of %u bytes; 1 to %u of "
				 "%zu can be loaded",
				 h->e_phnum, h->e_phentsize, ELF_MAX_SEGMENTS,
				 sizeof(Elf64_Phdr));
	return 0;
}

static int elf_read_headers(struct elf *e)
{
	int err;

	/* The class first: a small 32-bit file is shorter than the header. */
	err = boot_read(e->b, 0, &e->eh, MIN(e->b->bytes, sizeof(Elf32_Ehdr)),
			"its ELF header", e->why);
	if (err)
		return err;
	if (e->eh.e_ident[EI_CLASS] == ELFCLASS32)
		return elf_judge_header(e);
	err =
	    boot_read(e->b, 0, &e->eh, sizeof(e->eh), "its ELF header", e->why);
	if (!err)
		err = elf_judge_header(e);
	if (err)
		return err;
	return boot_read(e->b, e->eh.e_phoff, e->ph,
			 e->eh.e_phnum * sizeof(Elf64_Phdr),
			 "its program headers", e->why);
}

static bool is_load(const Elf64_Phdr *p)
{
	return p->p_type == PT_LOAD && (p->p_memsz || p->p_filesz);
}

static int elf_judge_segment(struct elf *e, struct gmem *m, unsigned i)
{
	const Elf64_Phdr *p = &e->ph[i];
	char hint[BOOT_HINT_BYTES];
	uint64_t end;

	if (p->p_filesz > p->p_memsz)
		return boot_fail(e->why, -ENOEXEC, e->b, BOOT_HINT_COPY,
				 "segment %u has %#lx bytes in the file, but "
				 "only %#lx in memory",
				 i, p->p_filesz, p->p_memsz);
	if (!range_within(p->p_offset, p->p_filesz, e->b->bytes))
		return boot_fail(e->why, -ENOEXEC, e->b, BOOT_HINT_COPY,
				 "truncated: segment %u (%#lx bytes at %#lx) "
				 "goes past the end of the file",
				 i, p->p_filesz, p->p_offset);
	if (p->p_paddr < PLATFORM_KERNEL)
		return boot_fail(e->why, -ENOEXEC, e->b,
				 "link it at 0x100000 or above",
				 "segment %u at %#lx lies below 1 MiB, where "
				 "the boot parameters are",
				 i, p->p_paddr);
	if (__builtin_add_overflow(p->p_paddr, p->p_memsz, &end))
		end = UINT64_MAX;
	if (!gmem_borrow(m, GPA(p->p_paddr), p->p_memsz))
		return boot_fail(e->why, -ENOMEM, e->b,
				 boot_hint_memory(hint, end),
				 "segment %u (%#lx bytes at %#lx) lies outside "
				 "RAM, which has %#lx bytes",
				 i, p->p_memsz, p->p_paddr, m->bytes);
	/* Both lie in RAM now: no sum can wrap. */
	for (unsigned j = 0; j < i; j++) {
		const Elf64_Phdr *q = &e->ph[j];

		if (is_load(q) && p->p_paddr < q->p_paddr + q->p_memsz &&
		    q->p_paddr < p->p_paddr + p->p_memsz)
			return boot_fail(e->why, -ENOEXEC, e->b, BOOT_HINT_COPY,
					 "segments %u and %u overlap at %#lx",
					 j, i, MAX(p->p_paddr, q->p_paddr));
	}
	return 0;
}

/* The note at *at, which is moved past it; sets has_pvh when it is the one. */
static int elf_read_note(struct elf *e, uint64_t *at, uint64_t end,
			 uint64_t align)
{
	Elf64_Nhdr n;
	char name[4];
	uint64_t desc, next, value = 0;
	int err;

	err = boot_read(e->b, *at, &n, sizeof(n), "a note", e->why);
	if (err)
		return err;
	/* 32-bit sizes at an offset inside the file: no sum can wrap. */
	desc = align_up(*at + sizeof(n) + n.n_namesz, align);
	next = align_up(desc + n.n_descsz, align);
	if (desc + n.n_descsz > end)
		return boot_fail(e->why, -ENOEXEC, e->b, BOOT_HINT_COPY,
				 "the note at %#lx goes past its segment", *at);
	if (n.n_type == NOTE_PHYS32_ENTRY && n.n_namesz == sizeof(name) &&
	    (n.n_descsz == 4 || n.n_descsz == 8)) {
		err = boot_read(e->b, *at + sizeof(n), name, sizeof(name),
				"a note", e->why);
		if (!err)
			err = boot_read(e->b, desc, &value, n.n_descsz,
					"a note", e->why);
		if (err)
			return err;
		if (memcmp(name, "Xen", sizeof(name)) == 0) {
			e->pvh_entry = value;
			e->has_pvh = true;
		}
	}
	*at = next;
	return 0;
}

static int elf_read_notes(struct elf *e, unsigned i)
{
	const Elf64_Phdr *p = &e->ph[i];
	uint64_t at = p->p_offset, end;
	int err = 0;

	if (!range_within(at, p->p_filesz, e->b->bytes))
		return boot_fail(e->why, -ENOEXEC, e->b, BOOT_HINT_COPY,
				 "truncated: the notes (%#lx bytes at %#lx) go "
				 "past the end of the file",
				 p->p_filesz, at);
	if (p->p_filesz > ELF_MAX_NOTES)
		return boot_fail(e->why, -ENOEXEC, e->b, BOOT_HINT_COPY,
				 "%#lx bytes of notes at %#lx are more than "
				 "any kernel has",
				 p->p_filesz, at);
	end = at + p->p_filesz;
	while (!err && !e->has_pvh && at < end &&
	       end - at >= sizeof(Elf64_Nhdr))
		err = elf_read_note(e, &at, end, p->p_align == 8 ? 8 : 4);
	return err;
}

static int elf_judge(struct elf *e, struct gmem *m)
{
	int err = 0;

	for (unsigned i = 0; !err && i < e->eh.e_phnum; i++) {
		if (is_load(&e->ph[i]))
			err = elf_judge_segment(e, m, i);
		else if (e->ph[i].p_type == PT_NOTE)
			err = elf_read_notes(e, i);
	}
	return err;
}

/* Code must come from the file, and be reached by the identity map, or by 32
 * bits for PVH: below 4 GiB either way. */
static bool elf_has_code_at(const struct elf *e, uint64_t a)
{
	for (unsigned i = 0; i < e->eh.e_phnum; i++) {
		const Elf64_Phdr *p = &e->ph[i];

		if (is_load(p) && a >= p->p_paddr &&
		    a - p->p_paddr < p->p_filesz)
			return a < GIB(4);
	}
	return false;
}

static int elf_choose_entry(struct elf *e, enum boot_protocol asked,
			    struct boot_image *img)
{
	img->protocol = asked;
	if (asked == BOOT_AUTO)
		img->protocol = e->has_pvh ? BOOT_PVH : BOOT_LINUX64;
	if (img->protocol == BOOT_PVH && !e->has_pvh)
		return boot_fail(e->why, -ENOEXEC, e->b,
				 "try --boot=linux64, or build the kernel "
				 "with CONFIG_PVH",
				 "it has no PVH entry (no Xen note of type "
				 "%u)",
				 NOTE_PHYS32_ENTRY);
	img->entry = img->protocol == BOOT_PVH ? e->pvh_entry : e->eh.e_entry;
	if (!elf_has_code_at(e, img->entry))
		return boot_fail(e->why, -ENOEXEC, e->b, BOOT_HINT_COPY,
				 "its entry point %#lx lies in no loaded "
				 "segment below 4 GiB",
				 img->entry);
	return 0;
}

static int elf_place(struct elf *e, struct gmem *m, struct boot_image *img)
{
	img->start = UINT64_MAX;
	for (unsigned i = 0; i < e->eh.e_phnum; i++) {
		const Elf64_Phdr *p = &e->ph[i];
		char what[32];
		int err;

		if (!is_load(p))
			continue;
		snprintf(what, sizeof(what), "segment %u", i);
		err = boot_place(m, p->p_paddr, e->b, p->p_offset, p->p_filesz,
				 what, e->why);
		if (err)
			return err;
		img->start = MIN(img->start, p->p_paddr);
		img->end = MAX(img->end, p->p_paddr + p->p_memsz);
	}
	return 0;
}

/* The zero page's header, for a kernel that brings none: what the kernel's own
 * PVH start fills in for itself. */
static void elf_fill_header(struct boot_image *img)
{
	img->hdr.boot_flag = 0xaa55;
	img->hdr.header = 0x53726448; /* "HdrS" */
	img->hdr.version = 0x020c;
	img->hdr.loadflags = LOADED_HIGH;
	img->cmdline_max = ELF_CMDLINE_MAX;
	img->initrd_end = PLATFORM_GAP_START;
}

int boot_elf_load(struct gmem *m, const struct boot_source *src,
		  struct boot_image *img, struct fail *why)
{
	struct elf e = { .b = &src->kernel, .why = why };
	int err;

	err = elf_read_headers(&e);
	if (!err)
		err = elf_judge(&e, m);
	if (!err)
		err = elf_choose_entry(&e, src->protocol, img);
	if (!err)
		err = elf_place(&e, m, img);
	if (!err)
		elf_fill_header(img);
	return err;
}
