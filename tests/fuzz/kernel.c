/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel loader over any bytes: it never crashes, never writes outside
 * guest RAM (which lies between guard pages here), writes below 1 MiB only its
 * own structures, and gives either an entry point inside RAM or a reason.
 *
 * Input: the file, then four bytes of options: how it is read and by which
 * protocol, pages of initrd, characters of command line in two bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "boot.h"
#include "platform.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_BYTES    MIB(8)
#define OPTION_BYTES 4
enum {
	OPTION_PROTOCOL = 3, /* mask; 3 is taken for 0 */
	OPTION_FILE = 4,     /* from a file, not from memory */
	OPTION_SHRUNK = 8,   /* the file is shorter than was said */
};

static struct gmem ram;
static uint8_t initrd[256 * PAGE_BYTES];
static char cmdline[UINT16_MAX + 1];
static int file = -1;

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz-kernel: %s\n", what);
	abort();
}

static bool guard(uint8_t *at)
{
	return mmap(at, PAGE_BYTES, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		    0) == at;
}

/* False when there was no room for inaccessible pages around the RAM; it then
 * stays, so that the next one goes elsewhere. */
static bool init_ram(void)
{
	struct gmem_region r[GMEM_MAX_REGIONS];
	int n = gmem_layout(RAM_BYTES, 0, r);
	uint8_t *p;

	need(n > 0 && gmem_init(&ram, r, (unsigned)n) == 0, "cannot make RAM");
	p = gmem_borrow(&ram, GPA(0), 1);
	return guard(p - PAGE_BYTES) && guard(p + RAM_BYTES);
}

static void init(void)
{
	unsigned tries = 0;

	while (!init_ram())
		need(++tries < 1000, "no room for guard pages");
	file = memfd_create("kernel", MFD_CLOEXEC);
	need(file >= 0, "cannot make a file");
	memset(cmdline, 'x', sizeof(cmdline));
}

static bool may_touch_low(uint64_t gpa)
{
	return (gpa >= PLATFORM_GDT &&
		gpa < PLATFORM_PAGETABLES + 6 * PAGE_BYTES) ||
	       (gpa >= PLATFORM_CMDLINE &&
		gpa < PLATFORM_CMDLINE + PLATFORM_CMDLINE_MAX) ||
	       gpa == align_down(PLATFORM_RESET_VECTOR, PAGE_BYTES);
}

static void check_low_marks(void)
{
	for (uint64_t w = 0; w < PLATFORM_KERNEL / PAGE_BYTES / 64; w++) {
		uint64_t marks = gmem_take_marks(&ram, w);

		for (unsigned i = 0; i < 64; i++)
			if (marks >> i & 1)
				need(may_touch_low((w * 64 + i) * PAGE_BYTES),
				     "a page below 1 MiB that is not its own");
	}
}

static void prepare(struct boot_source *s, const uint8_t *data, size_t size,
		    uint8_t how)
{
	static const enum boot_protocol protocols[] = { BOOT_AUTO, BOOT_LINUX64,
							BOOT_PVH, BOOT_AUTO };

	s->protocol = protocols[how & OPTION_PROTOCOL];
	s->kernel = (struct blob){
		.fd = -1, .data = data, .bytes = size, .name = "kernel"
	};
	if (!(how & OPTION_FILE))
		return;
	need(ftruncate(file, 0) == 0 &&
		 pwrite(file, data, size, 0) == (ssize_t)size,
	     "cannot write the file");
	s->kernel.fd = file;
	s->kernel.data = NULL;
	if (how & OPTION_SHRUNK)
		need(ftruncate(file, (off_t)(size - size / 4)) == 0,
		     "cannot shrink the file");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_source s = { .cmdline = cmdline };
	struct boot_entry e;
	struct fail why = { .message = "" };
	uint16_t len;
	int err;

	if (file < 0)
		init();
	if (size < OPTION_BYTES)
		return -1;
	size -= OPTION_BYTES;
	prepare(&s, data, size, data[size]);
	s.initrd = (struct blob){ .fd = -1,
				  .data = initrd,
				  .bytes = data[size + 1] * PAGE_BYTES,
				  .name = "initrd" };
	memcpy(&len, data + size + 2, sizeof(len));
	cmdline[len] = '\0';
	need(gmem_clear(&ram) == 0, "cannot clear RAM");
	for (uint64_t w = 0; w < RAM_BYTES / PAGE_BYTES / 64; w++)
		gmem_take_marks(&ram, w);

	err = boot_load(&ram, &s, &e, &why);
	if (err) {
		need(err < 0, "a positive error");
		need(*why.object && *why.message, "an error without reason");
	} else {
		need(e.rip >= PLATFORM_KERNEL && e.rip < RAM_BYTES,
		     "an entry point outside RAM");
		need(e.protocol == BOOT_PVH || e.protocol == BOOT_LINUX64,
		     "no protocol");
	}
	check_low_marks();
	cmdline[len] = 'x';
	return 0;
}
