/* SPDX-License-Identifier: Apache-2.0 */
/* The loader, over kernels built here byte by byte: where everything ends up,
 * and one clear refusal for each way a file can be wrong. */
#include <asm/bootparam.h>
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "boot.h"
#include "platform.h"
#include "util.h"

#define BASE MIB(2) /* where the test kernels go */

/* Freed with the test's process. */
static struct gmem make_ram(uint64_t bytes)
{
	struct gmem_region r[GMEM_MAX_REGIONS];
	struct gmem m;
	int n = gmem_layout(bytes, 0, r);

	cr_assert(n > 0);
	cr_assert_eq(gmem_init(&m, r, (unsigned)n), 0);
	return m;
}

static uint64_t get64(const struct gmem *m, uint64_t at)
{
	uint64_t v;

	cr_assert_eq(gmem_read(m, GPA(at), &v, sizeof(v)), 0);
	return v;
}

static struct blob blob_of(const void *data, uint64_t bytes)
{
	return (struct blob){
		.fd = -1, .data = data, .bytes = bytes, .name = "kernel test"
	};
}

static struct boot_source source_of(struct blob kernel)
{
	return (
	    struct boot_source){ .kernel = kernel,
				 .initrd = { .fd = -1, .name = "initrd test" },
				 .cmdline = "console=ttyS0" };
}

static int load(struct gmem *m, const struct boot_source *s,
		struct boot_entry *e, struct fail *why)
{
	memset(e, 0xee, sizeof(*e));
	memset(why, 0, sizeof(*why));
	return boot_load(m, s, e, why);
}

/* Refused, with `err`, a message that has `text` in it, and a hint. */
static void expect_refused(struct gmem *m, const struct boot_source *s, int err,
			   const char *text)
{
	struct boot_entry e;
	struct fail why;
	int got = load(m, s, &e, &why);

	cr_assert_eq(got, err, "%s: got %d: %s", text, got, why.message);
	cr_assert_not_null(strstr(why.message, text), "'%s' is not in '%s'",
			   text, why.message);
	cr_assert(*why.object && *why.hint, "%s", why.message);
	cr_assert_lt(strlen(why.message), sizeof(why.message) - 1, "cut: %s",
		     why.message);
}

static void expect_loads(struct gmem *m, const struct boot_source *s,
			 struct boot_entry *e)
{
	struct fail why;
	int err = load(m, s, e, &why);

	cr_assert_eq(err, 0, "%d: %s", err, why.message);
}

/* Whether the loader wrote to the page. Takes the marks of its word. */
static bool touched(struct gmem *m, uint64_t gpa)
{
	uint64_t page = gpa / PAGE_BYTES;

	return gmem_take_marks(m, page / 64) >> (page % 64) & 1;
}

/* An ELF file: header, program headers, a PVH note, code, data. */
struct elf_file {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[4];
	struct {
		Elf64_Nhdr n;
		char name[4];
		uint32_t desc;
	} note;
	uint8_t code[4096];
	uint8_t data[64];
} __attribute__((packed));

enum { CODE, DATA, NOTE, SPARE };

static struct elf_file elf_file(void)
{
	struct elf_file f = { .eh = {
				  .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64,
					       ELFDATA2LSB, EV_CURRENT },
				  .e_type = ET_EXEC,
				  .e_machine = EM_X86_64,
				  .e_version = EV_CURRENT,
				  .e_entry = BASE + 16,
				  .e_phoff = offsetof(struct elf_file, ph),
				  .e_ehsize = sizeof(Elf64_Ehdr),
				  .e_phentsize = sizeof(Elf64_Phdr),
				  .e_phnum = 2,
			      } };

	f.ph[CODE] = (Elf64_Phdr){ .p_type = PT_LOAD,
				   .p_offset = offsetof(struct elf_file, code),
				   .p_paddr = BASE,
				   .p_filesz = sizeof(f.code),
				   .p_memsz = sizeof(f.code) };
	f.ph[DATA] = (Elf64_Phdr){ .p_type = PT_LOAD,
				   .p_offset = offsetof(struct elf_file, data),
				   .p_paddr = BASE + 0x2000,
				   .p_filesz = sizeof(f.data),
				   .p_memsz = 0x3000 };
	f.ph[NOTE] = (Elf64_Phdr){ .p_type = PT_NOTE,
				   .p_offset = offsetof(struct elf_file, note),
				   .p_filesz = sizeof(f.note),
				   .p_align = 4 };
	f.note.n = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 4, .n_type = 18 };
	memcpy(f.note.name, "Xen", 4);
	f.note.desc = BASE + 32;
	memset(f.code, 0xc0, sizeof(f.code));
	memset(f.data, 0xda, sizeof(f.data));
	return f;
}

static struct boot_source elf_source(const struct elf_file *f)
{
	return source_of(blob_of(f, sizeof(*f)));
}

Test(boot, elf_segments_go_to_their_addresses_and_bss_is_not_touched)
{
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;

	expect_loads(&m, &s, &e);
	cr_assert_eq(get64(&m, BASE + 4088), UINT64_C(0xc0c0c0c0c0c0c0c0));
	cr_assert_eq(get64(&m, BASE + 0x2000 + 56),
		     UINT64_C(0xdadadadadadadada));
	cr_assert_eq(get64(&m, BASE + 0x2000 + 64), 0);
	cr_assert(touched(&m, BASE + 0x2000));
	cr_assert_not(touched(&m, BASE + 0x3000));
}

Test(boot, elf_without_note_enters_in_long_mode)
{
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_params p;
	struct boot_entry e;

	expect_loads(&m, &s, &e);
	cr_assert_eq(e.protocol, BOOT_LINUX64);
	cr_assert_eq(e.rip, BASE + 16);
	cr_assert_eq(e.params, PLATFORM_ZERO_PAGE);
	cr_assert_eq(e.stack, PLATFORM_BOOT_STACK);
	cr_assert_eq(gmem_read(&m, GPA(e.params), &p, sizeof(p)), 0);
	cr_assert_eq(p.hdr.header, 0x53726448);
	cr_assert_eq(p.hdr.boot_flag, 0xaa55);
	cr_assert_eq(p.hdr.type_of_loader, 0xff);
	cr_assert_eq(p.hdr.cmd_line_ptr, PLATFORM_CMDLINE);
	cr_assert_eq(p.hdr.ramdisk_size, 0);
	cr_assert_eq(p.acpi_rsdp_addr, PLATFORM_ACPI);
	cr_assert_eq(p.e820_entries, 3);
	cr_assert_eq(p.e820_table[2].addr, MIB(1));
	cr_assert_eq(p.e820_table[2].size, MIB(7));
}

Test(boot, long_mode_gets_segments_and_an_identity_map)
{
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;
	uint64_t pdpt, pd;

	expect_loads(&m, &s, &e);
	/* Selectors 0x10 and 0x18: long-mode code, writable data. */
	cr_assert_eq(get64(&m, PLATFORM_GDT + 0x10) >> 40 & 0x209f, 0x209b);
	cr_assert_eq(get64(&m, PLATFORM_GDT + 0x18) >> 40 & 0x009f, 0x0093);
	for (uint64_t a = 0; a < GIB(4); a += MIB(2)) {
		pdpt = get64(&m, PLATFORM_PAGETABLES);
		pd = get64(&m, (pdpt & ~UINT64_C(0xfff)) + (a >> 30) * 8);
		cr_assert_eq(pdpt & pd & 3, 3);
		cr_assert_eq(
		    get64(&m, (pd & ~UINT64_C(0xfff)) + (a >> 21 & 511) * 8),
		    a | 0x83);
	}
}

Test(boot, elf_with_note_enters_by_pvh_unless_told_otherwise)
{
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;

	f.eh.e_phnum = 3;
	expect_loads(&m, &s, &e);
	cr_assert_eq(e.protocol, BOOT_PVH);
	cr_assert_eq(e.rip, BASE + 32);
	cr_assert_eq(e.params, PLATFORM_START_INFO);
	cr_assert_eq(e.stack, 0);
	s.protocol = BOOT_LINUX64;
	expect_loads(&m, &s, &e);
	cr_assert_eq(e.protocol, BOOT_LINUX64);
	cr_assert_eq(e.rip, BASE + 16);
	s.protocol = BOOT_PVH;
	f.eh.e_phnum = 2;
	expect_refused(&m, &s, -ENOEXEC, "no PVH entry");
}

Test(boot, pvh_start_info_says_what_xen_specifies)
{
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;
	uint64_t module, map;

	f.eh.e_phnum = 3;
	s.initrd.data = "initrd";
	s.initrd.bytes = 6;
	expect_loads(&m, &s, &e);
	cr_assert_eq(get64(&m, e.params), UINT64_C(0x1336ec578));
	cr_assert_eq(get64(&m, e.params + 8), UINT64_C(1) << 32);
	module = get64(&m, e.params + 16);
	cr_assert_eq(get64(&m, module), MIB(8) - PAGE_BYTES);
	cr_assert_eq(get64(&m, module + 8), 6);
	cr_assert_eq(get64(&m, e.params + 24), PLATFORM_CMDLINE);
	cr_assert_eq(get64(&m, e.params + 32), PLATFORM_ACPI);
	map = get64(&m, e.params + 40);
	cr_assert_eq(get64(&m, e.params + 48), 3);
	cr_assert_eq(get64(&m, map + 24), PLATFORM_LOW_END);
	cr_assert_eq(get64(&m, map + 24 + 16), 2);
	cr_assert_eq(get64(&m, map + 48), MIB(1));
	cr_assert_eq(get64(&m, map + 48 + 8), MIB(7));
	cr_assert_eq(get64(&m, map + 48 + 16), 1);
}

Test(boot, pvh_note_with_8_bytes_among_others_is_found)
{
	static const struct {
		uint32_t namesz, descsz, type;
		char name[4];
		uint64_t desc;
	} notes[] = {
		{ 4, 8, 3, "Xen", 1 },
		{ 4, 8, 18, "GNU", 2 },
		{ 3, 8, 18, "Xen", 3 },
		{ 4, 8, 18, "Xen", BASE + 64 },
	};
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;

	f.eh.e_phnum = 3;
	memcpy(f.code, notes, sizeof(notes));
	f.ph[NOTE].p_offset = f.ph[CODE].p_offset;
	f.ph[NOTE].p_filesz = sizeof(notes);
	expect_loads(&m, &s, &e);
	cr_assert_eq(e.rip, BASE + 64);
}

Test(boot, elf_cut_anywhere_is_refused)
{
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;
	struct fail why;

	f.eh.e_phnum = 3;
	for (uint64_t n = 0; n < sizeof(f); n++) {
		s.kernel.bytes = n;
		cr_assert_eq(load(&m, &s, &e, &why), -ENOEXEC, "%lu", n);
		cr_assert(*why.message && *why.hint, "%lu", n);
	}
}

/* One field of the file is set; the loader must refuse with the text. */
struct elf_case {
	size_t at, bytes;
	uint64_t value;
	int err;
	const char *text;
};

#define EH(f) offsetof(Elf64_Ehdr, f), sizeof(((Elf64_Ehdr *)0)->f)
#define PH(i, f)                                                               \
	offsetof(struct elf_file, ph) + (i) * sizeof(Elf64_Phdr) +             \
	    offsetof(Elf64_Phdr, f),                                           \
	    sizeof(((Elf64_Phdr *)0)->f)
#define NT(f)                                                                  \
	offsetof(struct elf_file, note.n.f),                                   \
	    sizeof(((struct elf_file *)0)->note.n.f)

static const struct elf_case elf_cases[] = {
	{ 4, 1, ELFCLASS32, -ENOEXEC, "32-bit ELF" },
	{ 4, 1, 9, -ENOEXEC, "unknown kind" },
	{ 5, 1, ELFDATA2MSB, -ENOEXEC, "unknown kind" },
	{ EH(e_machine), EM_AARCH64, -ENOEXEC, "another processor" },
	{ EH(e_type), ET_REL, -ENOEXEC, "kernel module" },
	{ EH(e_type), ET_DYN, -ENOEXEC, "position-independent" },
	{ EH(e_type), ET_CORE, -ENOEXEC, "no executable" },
	{ EH(e_phentsize), 0, -ENOEXEC, "program headers" },
	{ EH(e_phentsize), 32, -ENOEXEC, "program headers" },
	{ EH(e_phentsize), 0xffff, -ENOEXEC, "program headers" },
	{ EH(e_phnum), 0, -ENOEXEC, "program headers" },
	{ EH(e_phnum), 65, -ENOEXEC, "program headers" },
	{ EH(e_phnum), PN_XNUM, -ENOEXEC, "program headers" },
	{ EH(e_phoff), UINT64_MAX, -ENOEXEC, "truncated: its program" },
	{ EH(e_phoff), UINT64_MAX - 100, -ENOEXEC, "truncated: its program" },
	{ EH(e_entry), 0, -ENOEXEC, "in no loaded segment" },
	{ EH(e_entry), BASE + 4096, -ENOEXEC, "in no loaded segment" },
	/* In the BSS: nothing is there to run. */
	{ EH(e_entry), BASE + 0x2000 + 64, -ENOEXEC, "in no loaded segment" },
	{ EH(e_entry), UINT64_MAX, -ENOEXEC, "in no loaded segment" },
	{ PH(CODE, p_type), PT_NULL, -ENOEXEC, "in no loaded segment" },
	{ PH(DATA, p_filesz), 0x3001, -ENOEXEC, "only 0x3000 in memory" },
	{ PH(DATA, p_memsz), 63, -ENOEXEC, "only 0x3f in memory" },
	{ PH(DATA, p_offset), UINT64_MAX, -ENOEXEC, "truncated: segment 1" },
	{ PH(DATA, p_offset), UINT64_MAX - 63, -ENOEXEC, "truncated" },
	{ PH(DATA, p_memsz), MIB(6), -ENOMEM, "outside RAM" },
	{ PH(DATA, p_memsz), UINT64_MAX, -ENOMEM, "outside RAM" },
	/* Ends at 2^64, and wraps to 0. */
	{ PH(DATA, p_memsz), -(BASE + 0x2000), -ENOMEM, "outside RAM" },
	{ PH(DATA, p_paddr), MIB(8), -ENOMEM, "outside RAM" },
	{ PH(DATA, p_paddr), MIB(8) - 0x1000, -ENOMEM, "outside RAM" },
	{ PH(DATA, p_paddr), UINT64_MAX, -ENOMEM, "outside RAM" },
	{ PH(DATA, p_paddr), PLATFORM_ZERO_PAGE, -ENOEXEC, "below 1 MiB" },
	{ PH(DATA, p_paddr), 0, -ENOEXEC, "below 1 MiB" },
	{ PH(DATA, p_paddr), MIB(1) - 1, -ENOEXEC, "below 1 MiB" },
	{ PH(DATA, p_paddr), BASE, -ENOEXEC, "overlap at" },
	{ PH(DATA, p_paddr), BASE + 4095, -ENOEXEC, "overlap at" },
	{ PH(DATA, p_paddr), BASE - 0x2fff, -ENOEXEC, "overlap at" },
	{ PH(NOTE, p_offset), UINT64_MAX, -ENOEXEC, "truncated: the notes" },
	{ PH(NOTE, p_filesz), UINT64_MAX, -ENOEXEC, "truncated: the notes" },
	{ NT(n_namesz), 5, -ENOEXEC, "past its segment" },
	{ NT(n_namesz), UINT32_MAX, -ENOEXEC, "past its segment" },
	{ NT(n_descsz), UINT32_MAX, -ENOEXEC, "past its segment" },
	{ offsetof(struct elf_file, note.desc), 4, 0x10, -ENOEXEC,
	  "in no loaded segment" },
};

Test(boot, elf_with_one_field_wrong_is_refused_and_says_which)
{
	struct gmem m = make_ram(MIB(8));

	for (unsigned i = 0; i < ARRAY_SIZE(elf_cases); i++) {
		const struct elf_case *c = &elf_cases[i];
		struct elf_file f = elf_file();
		struct boot_source s = elf_source(&f);

		/* The notes matter to PVH, the ELF entry without them. */
		if (c->at >= offsetof(struct elf_file, ph[NOTE]))
			f.eh.e_phnum = 3;
		memcpy((uint8_t *)&f + c->at, &c->value, c->bytes);
		expect_refused(&m, &s, c->err, c->text);
	}
}

Test(boot, elf_refused_has_touched_no_page)
{
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);

	f.ph[DATA].p_memsz = MIB(6);
	expect_refused(&m, &s, -ENOMEM, "outside RAM");
	for (uint64_t w = 0; w < MIB(8) / PAGE_BYTES / 64; w++)
		cr_assert_eq(gmem_take_marks(&m, w), 0);
}

Test(boot, elf_segment_that_touches_another_or_is_empty_is_fine)
{
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;

	f.eh.e_phnum = 4;
	f.ph[DATA].p_paddr = BASE + 4096;
	f.ph[SPARE] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_paddr = 1 };
	expect_loads(&m, &s, &e);
}

Test(boot, elf_segment_in_the_gap_is_refused_above_it_is_loaded)
{
	struct gmem m = make_ram(GIB(4));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;

	f.ph[DATA].p_paddr = PLATFORM_GAP_START - 0x1000;
	expect_refused(&m, &s, -ENOMEM, "outside RAM");
	f.ph[DATA].p_paddr = PLATFORM_VIRTIO_MMIO;
	expect_refused(&m, &s, -ENOMEM, "outside RAM");
	f.ph[DATA].p_paddr = PLATFORM_GAP_END;
	expect_loads(&m, &s, &e);
	cr_assert_eq(get64(&m, PLATFORM_GAP_END), UINT64_C(0xdadadadadadadada));
	/* The identity map ends at 4 GiB. */
	f.eh.e_entry = PLATFORM_GAP_END;
	expect_refused(&m, &s, -ENOEXEC, "below 4 GiB");
}

Test(boot, elf_notes_without_end_are_walked_once)
{
	static uint32_t notes[3 * 4096];
	struct gmem m = make_ram(MIB(8));
	static struct {
		struct elf_file f;
		uint32_t notes[3 * 4096];
	} __attribute__((packed)) f;
	struct boot_source s = source_of(blob_of(&f, sizeof(f)));
	struct boot_entry e;

	f.f = elf_file();
	memcpy(f.notes, notes, sizeof(notes));
	f.f.eh.e_phnum = 3;
	f.f.ph[NOTE].p_offset = sizeof(f.f);
	f.f.ph[NOTE].p_filesz = sizeof(f.notes);
	expect_loads(&m, &s, &e);
	cr_assert_eq(e.protocol, BOOT_LINUX64);
}

Test(boot, elf_with_a_sparse_terabyte_of_notes_is_refused)
{
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	int fd = memfd_create("sparse", 0);
	struct boot_source s = source_of(
	    (struct blob){ .fd = fd, .bytes = GIB(1024), .name = "sparse" });

	f.eh.e_phnum = 3;
	f.ph[NOTE].p_offset = PAGE_BYTES * 4;
	f.ph[NOTE].p_filesz = GIB(1024) - f.ph[NOTE].p_offset;
	cr_assert_eq(write(fd, &f, sizeof(f)), sizeof(f));
	cr_assert_eq(ftruncate(fd, (off_t)GIB(1024)), 0);
	expect_refused(&m, &s, -ENOEXEC, "bytes of notes");
	close(fd);
}

/* A bzImage: boot sector, one setup sector, then the kernel part. */
#define BZ_SETUP  1024
#define BZ_KERNEL 8192

struct bz_file {
	uint8_t before[0x1f1];
	struct setup_header h;
	uint8_t after[BZ_SETUP - 0x1f1 - sizeof(struct setup_header)];
	uint8_t kernel[BZ_KERNEL];
} __attribute__((packed));

static struct bz_file bz_file(void)
{
	struct bz_file f = { .h = {
				 .setup_sects = 1,
				 .syssize = BZ_KERNEL / 16,
				 .boot_flag = 0xaa55,
				 .jump = 0x6aeb,
				 .header = 0x53726448,
				 .version = 0x020f,
				 .loadflags = LOADED_HIGH | KASLR_FLAG,
				 .initrd_addr_max = 0x7fffffff,
				 .kernel_alignment = MIB(2),
				 .relocatable_kernel = 1,
				 .xloadflags = XLF_KERNEL_64,
				 .cmdline_size = 2047,
				 .pref_address = BASE,
				 .init_size = MIB(1),
			     } };

	memset(f.kernel, 0xbb, sizeof(f.kernel));
	return f;
}

static struct boot_source bz_source(const struct bz_file *f)
{
	return source_of(blob_of(f, sizeof(*f)));
}

Test(boot, bzimage_is_entered_by_the_64_bit_protocol)
{
	struct gmem m = make_ram(MIB(8));
	struct bz_file f = bz_file();
	struct boot_source s = bz_source(&f);
	struct boot_params p;
	struct boot_entry e;

	f.h.setup_data = 0x1234;
	expect_loads(&m, &s, &e);
	cr_assert_eq(e.protocol, BOOT_LINUX64);
	cr_assert_eq(e.rip, BASE + 0x200);
	cr_assert_eq(e.params, PLATFORM_ZERO_PAGE);
	cr_assert_eq(get64(&m, BASE + BZ_KERNEL - 8),
		     UINT64_C(0xbbbbbbbbbbbbbbbb));
	cr_assert_eq(get64(&m, BASE + BZ_KERNEL), 0);
	cr_assert_eq(gmem_read(&m, GPA(e.params), &p, sizeof(p)), 0);
	cr_assert_eq(p.hdr.version, 0x020f);
	cr_assert_eq(p.hdr.loadflags, LOADED_HIGH | KASLR_FLAG);
	cr_assert_eq(p.hdr.type_of_loader, 0xff);
	cr_assert_eq(p.hdr.code32_start, BASE);
	cr_assert_eq(p.hdr.setup_data, 0);
	cr_assert_eq(p.hdr.init_size, MIB(1));
	cr_assert_eq(p.hdr.cmd_line_ptr, PLATFORM_CMDLINE);
	cr_assert_eq(p.acpi_rsdp_addr, PLATFORM_ACPI);
	cr_assert_eq(p.sentinel, 0);
}

Test(boot, bzimage_setup_sectors_0_means_4)
{
	struct gmem m = make_ram(MIB(8));
	struct bz_file f = bz_file();
	struct boot_source s = bz_source(&f);
	struct boot_entry e;

	f.h.setup_sects = 0;
	expect_refused(&m, &s, -ENOEXEC, "truncated");
	f.h.syssize = (BZ_KERNEL - 3 * 512) / 16;
	expect_loads(&m, &s, &e);
	cr_assert_eq(get64(&m, BASE + BZ_KERNEL - 3 * 512), 0);
}

Test(boot, bzimage_copies_only_the_header_it_says_it_has)
{
	struct gmem m = make_ram(MIB(8));
	struct bz_file f = bz_file();
	struct boot_source s = bz_source(&f);
	struct boot_params p;
	struct boot_entry e;

	memset(f.before, 0xff, sizeof(f.before));
	memset(f.after, 0xff, sizeof(f.after));
	f.h.kernel_info_offset = 0x55;
	f.h.handover_offset = 0x66;
	f.h.jump = 0x62eb; /* ends before handover_offset: protocol 2.10's */
	expect_loads(&m, &s, &e);
	cr_assert_eq(gmem_read(&m, GPA(e.params), &p, sizeof(p)), 0);
	cr_assert_eq(p.hdr.init_size, MIB(1));
	cr_assert_eq(p.hdr.handover_offset, 0);
	cr_assert_eq(p.hdr.kernel_info_offset, 0);
	f.h.jump = 0xffeb;
	expect_loads(&m, &s, &e);
	cr_assert_eq(gmem_read(&m, GPA(e.params), &p, sizeof(p)), 0);
	cr_assert_eq(p.hdr.kernel_info_offset, 0x55);
	cr_assert_eq(p.edd_mbr_sig_buffer[0], 0);
	cr_assert_eq(p._pad7[0], 0);
	cr_assert_eq(p.screen_info.orig_x, 0);
	f.h.jump = 0x61eb;
	expect_refused(&m, &s, -ENOEXEC, "header is too short");
}

Test(boot, bzimage_cut_anywhere_is_refused)
{
	struct gmem m = make_ram(MIB(8));
	struct bz_file f = bz_file();
	struct boot_source s = bz_source(&f);
	struct boot_entry e;
	struct fail why;

	/* syssize counts 16 bytes: within the last unit it cannot tell. */
	for (uint64_t n = 0; n <= sizeof(f) - 16; n++) {
		s.kernel.bytes = n;
		cr_assert_eq(load(&m, &s, &e, &why), -ENOEXEC, "%lu", n);
		cr_assert(*why.message && *why.hint, "%lu", n);
	}
}

#define HD(f)                                                                  \
	offsetof(struct bz_file, h) + offsetof(struct setup_header, f),        \
	    sizeof(((struct setup_header *)0)->f)

static const struct elf_case bz_cases[] = {
	{ HD(boot_flag), 0, -ENOEXEC, "no signature" },
	{ HD(header), 0, -ENOEXEC, "boot sector without Linux's" },
	{ HD(version), 0x020b, -ENOEXEC, "protocol 2.11 is older" },
	{ HD(version), 0, -ENOEXEC, "protocol 0.00 is older" },
	{ HD(loadflags), 0, -ENOEXEC, "zImage" },
	{ HD(xloadflags), 0, -ENOEXEC, "32-bit kernel" },
	{ HD(kernel_alignment), 0, -ENOEXEC, "no power of two" },
	{ HD(kernel_alignment), 0x300000, -ENOEXEC, "no power of two" },
	{ HD(syssize), BZ_KERNEL / 16 + 1, -ENOEXEC, "truncated" },
	{ HD(syssize), UINT32_MAX, -ENOEXEC, "truncated" },
	{ HD(setup_sects), 255, -ENOEXEC, "truncated" },
	{ HD(init_size), MIB(7), -ENOMEM, "needs RAM from" },
	{ HD(init_size), UINT32_MAX, -ENOMEM, "needs RAM from" },
	{ HD(pref_address), MIB(8), -ENOMEM, "needs RAM from" },
	{ HD(pref_address), PLATFORM_GAP_START, -ENOEXEC, "not below 3 GiB" },
	{ HD(pref_address), UINT64_MAX, -ENOEXEC, "not below 3 GiB" },
	{ HD(kernel_alignment), UINT64_C(1) << 31, -ENOMEM, "needs RAM from" },
	{ HD(cmdline_size), 3, -E2BIG, "13 characters are too long" },
};

Test(boot, bzimage_with_one_field_wrong_is_refused_and_says_which)
{
	struct gmem m = make_ram(MIB(8));

	for (unsigned i = 0; i < ARRAY_SIZE(bz_cases); i++) {
		const struct elf_case *c = &bz_cases[i];
		struct bz_file f = bz_file();
		struct boot_source s = bz_source(&f);

		memcpy((uint8_t *)&f + c->at, &c->value, c->bytes);
		expect_refused(&m, &s, c->err, c->text);
	}
}

Test(boot, bzimage_that_prefers_low_memory_is_moved_if_it_can_be)
{
	struct gmem m = make_ram(MIB(8));
	struct bz_file f = bz_file();
	struct boot_source s = bz_source(&f);
	struct boot_entry e;

	f.h.pref_address = 0x1000;
	expect_loads(&m, &s, &e);
	cr_assert_eq(e.rip, MIB(2) + 0x200);
	f.h.relocatable_kernel = 0;
	expect_refused(&m, &s, -ENOEXEC, "cannot be moved");
}

Test(boot, bzimage_asked_to_boot_by_pvh_is_refused)
{
	struct gmem m = make_ram(MIB(8));
	struct bz_file f = bz_file();
	struct boot_source s = bz_source(&f);

	s.protocol = BOOT_PVH;
	expect_refused(&m, &s, -ENOEXEC, "no PVH entry");
}

Test(boot, hint_says_how_much_memory_it_takes)
{
	struct gmem m = make_ram(MIB(8));
	struct bz_file f = bz_file();
	struct boot_source s = bz_source(&f);
	struct boot_entry e;
	struct fail why;

	f.h.init_size = MIB(60) + 1;
	cr_assert_eq(load(&m, &s, &e, &why), -ENOMEM);
	cr_assert_not_null(strstr(why.hint, "--memory 63M"), "%s", why.hint);
}

/* An initrd of the given size in a VM of 8 MiB with the bzImage above. */
static uint64_t initrd_at(struct bz_file *f, uint64_t bytes)
{
	struct gmem m = make_ram(MIB(8));
	struct boot_source s = bz_source(f);
	struct boot_params p;
	struct boot_entry e;
	_cleanup_free_ uint8_t *data = malloc(bytes);

	memset(data, 0x1d, bytes);
	s.initrd.data = data;
	s.initrd.bytes = bytes;
	expect_loads(&m, &s, &e);
	cr_assert_eq(gmem_read(&m, GPA(e.params), &p, sizeof(p)), 0);
	cr_assert_eq(p.hdr.ramdisk_size, bytes);
	cr_assert_eq(p.ext_ramdisk_image, 0);
	cr_assert_eq(get64(&m, p.hdr.ramdisk_image) & 0xff, 0x1d);
	cr_assert_eq(get64(&m, p.hdr.ramdisk_image + bytes - 8) >> 56, 0x1d);
	return p.hdr.ramdisk_image;
}

Test(boot, initrd_goes_as_high_as_it_may)
{
	struct bz_file f = bz_file();

	cr_assert_eq(initrd_at(&f, 100), MIB(8) - PAGE_BYTES);
	cr_assert_eq(initrd_at(&f, PAGE_BYTES + 1), MIB(8) - 2 * PAGE_BYTES);
	cr_assert_eq(initrd_at(&f, MIB(5)), MIB(3));
	f.h.initrd_addr_max = MIB(7) - 1;
	cr_assert_eq(initrd_at(&f, PAGE_BYTES), MIB(7) - PAGE_BYTES);
	f.h.initrd_addr_max = MIB(7) - 2;
	cr_assert_eq(initrd_at(&f, PAGE_BYTES), MIB(7) - 2 * PAGE_BYTES);
}

Test(boot, initrd_goes_below_a_kernel_that_fills_the_top)
{
	struct bz_file f = bz_file();

	f.h.pref_address = MIB(4);
	f.h.init_size = MIB(4);
	cr_assert_eq(initrd_at(&f, 100), MIB(4) - PAGE_BYTES);
	cr_assert_eq(initrd_at(&f, MIB(3)), MIB(1));
}

Test(boot, initrd_that_does_not_fit_is_refused)
{
	static const uint64_t sizes[] = { MIB(5) + 1, MIB(8), GIB(8),
					  UINT64_MAX };
	struct gmem m = make_ram(MIB(8));
	struct bz_file f = bz_file();
	struct boot_source s = bz_source(&f);

	s.initrd.data = "";
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		s.initrd.bytes = sizes[i];
		expect_refused(&m, &s, -ENOMEM, "do not fit below 0x800000");
	}
	s.initrd.bytes = 100;
	f.h.initrd_addr_max = 0;
	expect_refused(&m, &s, -ENOMEM, "do not fit below 0x1 ");
	f.h.initrd_addr_max = MIB(1);
	expect_refused(&m, &s, -ENOMEM, "do not fit below 0x100001 ");
}

Test(boot, initrd_that_shrank_under_us_is_refused)
{
	struct gmem m = make_ram(MIB(8));
	struct bz_file f = bz_file();
	struct boot_source s = bz_source(&f);

	s.initrd.fd = memfd_create("initrd", 0);
	cr_assert_eq(ftruncate(s.initrd.fd, 10000), 0);
	s.initrd.bytes = 10001;
	expect_refused(&m, &s, -EIO, "cannot read all of it");
}

Test(boot, cmdline_is_there_with_its_end)
{
	struct gmem m = make_ram(MIB(8));
	struct bz_file f = bz_file();
	struct boot_source s = bz_source(&f);
	struct boot_entry e;
	char got[14];

	f.h.cmdline_size = 13;
	expect_loads(&m, &s, &e);
	cr_assert_eq(gmem_read(&m, GPA(PLATFORM_CMDLINE), got, 14), 0);
	cr_assert_str_eq(got, "console=ttyS0");
}

Test(boot, cmdline_longer_than_its_place_is_refused)
{
	static char longest[PLATFORM_CMDLINE_MAX + 1];
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;
	uint8_t after;

	memset(longest, 'x', PLATFORM_CMDLINE_MAX);
	s.cmdline = longest;
	expect_refused(&m, &s, -E2BIG, "too long");
	longest[PLATFORM_CMDLINE_MAX - 1] = '\0';
	expect_loads(&m, &s, &e);
	cr_assert_eq(gmem_read(&m, GPA(PLATFORM_CMDLINE + PLATFORM_CMDLINE_MAX),
			       &after, 1),
		     0);
	cr_assert_eq(after, 0);
}

Test(boot, reset_vector_resets_under_each_protocol)
{
	static const uint8_t want[] = { 0xba, 0x06, 0x06, 0xb0, 0x01,
					0xee, 0xf4, 0xeb, 0xfd };
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;
	uint8_t got[sizeof(want)];

	for (f.eh.e_phnum = 2; f.eh.e_phnum <= 3; f.eh.e_phnum++) {
		struct gmem m = make_ram(MIB(8));

		expect_loads(&m, &s, &e);
		cr_assert_eq(gmem_read(&m, GPA(0xffff0), got, sizeof(got)), 0);
		cr_assert_eq(memcmp(got, want, sizeof(want)), 0);
	}
}

static void expect_e820(uint64_t ram, uint64_t region_max, unsigned n,
			uint64_t high)
{
	struct gmem_region r[GMEM_MAX_REGIONS];
	struct e820 map[BOOT_MAX_E820];
	struct gmem m;
	int nr = gmem_layout(ram, region_max, r);

	cr_assert_eq(gmem_init(&m, r, (unsigned)nr), 0);
	cr_assert_eq(boot_e820(&m, map), n);
	cr_assert_eq(map[0].addr, 0);
	cr_assert_eq(map[0].bytes, PLATFORM_LOW_END);
	cr_assert_eq(map[0].type, BOOT_E820_RAM);
	cr_assert_eq(map[1].addr, PLATFORM_LOW_END);
	cr_assert_eq(map[1].bytes, MIB(1) - PLATFORM_LOW_END);
	cr_assert_eq(map[1].type, BOOT_E820_RESERVED);
	cr_assert_eq(map[2].addr, MIB(1));
	cr_assert_eq(map[2].bytes, MIN(ram, PLATFORM_GAP_START) - MIB(1));
	cr_assert_eq(map[2].type, BOOT_E820_RAM);
	if (n == 4) {
		cr_assert_eq(map[3].addr, PLATFORM_GAP_END);
		cr_assert_eq(map[3].bytes, high);
		cr_assert_eq(map[3].type, BOOT_E820_RAM);
	}
	gmem_fini(&m);
}

Test(boot, e820_leaves_the_gap_and_joins_regions)
{
	expect_e820(MIB(2), 0, 3, 0);
	expect_e820(GIB(3), 0, 3, 0);
	expect_e820(GIB(5), 0, 4, GIB(2));
	expect_e820(GIB(5), GIB(1), 4, GIB(2));
	expect_e820(MIB(8), KIB(512), 3, 0);
}

Test(boot, load_over_split_regions_is_the_same)
{
	struct gmem_region r[GMEM_MAX_REGIONS];
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;
	struct gmem m;
	int n = gmem_layout(MIB(4), MIB(1), r);

	cr_assert_eq(gmem_init(&m, r, (unsigned)n), 0);
	f.ph[DATA].p_paddr = MIB(3) - 32;
	expect_loads(&m, &s, &e);
	cr_assert_eq(get64(&m, MIB(3) + 24), UINT64_C(0xdadadadadadadada));
}

Test(boot, memory_below_1_mib_is_too_little_for_any_kernel)
{
	struct gmem m = make_ram(MIB(1));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);

	expect_refused(&m, &s, -ENOMEM, "too few");
}

/* What people hand over instead of a kernel, by its first bytes. */
static const struct {
	size_t at;
	const char *bytes;
	size_t len;
	const char *text;
} strangers[] = {
	{ 0, "\x1f\x8b\x08", 3, "gzip" },
	{ 0, "\xfd\x37zXZ\0", 6, "xz" },
	{ 0, "\x28\xb5\x2f\xfd", 4, "zstd" },
	{ 0, "BZh9", 4, "bzip2" },
	{ 0, "\x02\x21\x4c\x18", 4, "lz4" },
	{ 0, "\x5d\0\0\0", 4, "lzma" },
	{ 0, "\x89LZO", 4, "lzop" },
	{ 56, "ARM\x64", 4, "arm64" },
	{ 56, "RSC\x05", 4, "RISC-V" },
	{ 4, "zimg", 4, "compressed EFI" },
	{ 0, "MZ", 2, "PE (EFI)" },
	{ 0, "\x27\x05\x19\x56", 4, "U-Boot" },
	{ 0, "070701", 6, "cpio" },
	{ 0, "QFI\xfb", 4, "qcow2" },
	{ 0, "!<arch>\n", 8, "archive" },
	{ 510, "\x55\xaa", 2, "boot sector" },
	{ 0, "#!/bin/sh", 9, "neither an ELF file nor a bzImage" },
	{ 0, "", 0, "neither an ELF file nor a bzImage" },
};

Test(boot, file_that_is_no_kernel_is_called_by_its_name)
{
	struct gmem m = make_ram(MIB(8));

	for (unsigned i = 0; i < ARRAY_SIZE(strangers); i++) {
		uint8_t f[2048] = { 0 };
		struct boot_source s = source_of(blob_of(f, sizeof(f)));

		memcpy(f + strangers[i].at, strangers[i].bytes,
		       strangers[i].len);
		expect_refused(&m, &s, -ENOEXEC, strangers[i].text);
	}
}

Test(boot, empty_file_is_refused)
{
	struct gmem m = make_ram(MIB(8));
	struct boot_source s = source_of(blob_of(NULL, 0));

	expect_refused(&m, &s, -ENOEXEC, "it is empty");
}

Test(boot, kernel_from_a_file_loads_as_from_memory)
{
	struct gmem m = make_ram(MIB(8));
	struct elf_file f = elf_file();
	struct boot_source s = elf_source(&f);
	struct boot_entry e;

	s.kernel.data = NULL;
	s.kernel.fd = memfd_create("kernel", 0);
	cr_assert_eq(write(s.kernel.fd, &f, sizeof(f)), (ssize_t)sizeof(f));
	expect_loads(&m, &s, &e);
	cr_assert_eq(get64(&m, BASE + 4088), UINT64_C(0xc0c0c0c0c0c0c0c0));
	/* It shrinks between the judging of its size and the reading. */
	cr_assert_eq(ftruncate(s.kernel.fd, sizeof(f) - 1), 0);
	expect_refused(&m, &s, -EIO, "cannot read segment 1");
	cr_assert_eq(ftruncate(s.kernel.fd, 20), 0);
	expect_refused(&m, &s, -EIO, "cannot read its first bytes");
}

Test(boot, file_that_cannot_be_read_gives_the_reason)
{
	struct gmem m = make_ram(MIB(8));
	struct boot_source s = source_of(blob_of(NULL, 4096));

	s.kernel.fd = open("/", O_RDONLY | O_DIRECTORY);
	cr_assert_geq(s.kernel.fd, 0);
	expect_refused(&m, &s, -EISDIR, "Is a directory");
}

Test(boot, blob_reads_exactly_or_fails)
{
	struct blob b = blob_of("0123456789", 10);
	char got[11] = "";

	cr_assert_eq(blob_read(&b, 3, got, 7), 0);
	cr_assert_str_eq(got, "3456789");
	cr_assert_eq(blob_read(&b, 10, got, 0), 0);
	cr_assert_eq(blob_read(&b, 3, got, 8), -EIO);
	cr_assert_eq(blob_read(&b, 11, got, 0), -EIO);
	cr_assert_eq(blob_read(&b, UINT64_MAX, got, 2), -EIO);
	cr_assert_eq(blob_read(&b, 1, got, UINT64_MAX), -EIO);
}
