/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux bzImage, entered by the 64-bit protocol (Documentation/x86/boot.rst,
 * protocol 2.12 or later, XLF_KERNEL_64): a setup part, of which only the
 * header matters here, then the compressed kernel with its 64-bit entry 0x200
 * bytes in.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "boot_image.h"
#include "platform.h"
#include "util.h"

#define HDR_AT	     offsetof(struct boot_params, hdr)
#define HDR_MAGIC    0x53726448 /* "HdrS" */
#define HDR_MAGIC_AT 0x202
/* The header ends as many bytes behind 0x202 as the byte at 0x201 says: the
 * distance of the short jump that is there. */
#define HDR_JUMP_AT 0x201
#define ENTRY64	    0x200
#define SECTOR	    512
#define VERSION_MIN 0x020c

bool boot_bzimage_is(const uint8_t *head, uint64_t len)
{
	uint32_t magic;

	if (len < HDR_MAGIC_AT + sizeof(magic))
		return false;
	memcpy(&magic, head + HDR_MAGIC_AT, sizeof(magic));
	return magic == HDR_MAGIC;
}

static int bad(const struct blob *b, struct fail *why, const char *what)
{
	return boot_fail(why, -ENOEXEC, b, BOOT_HINT_KERNEL, "bzImage: %s",
			 what);
}

static int read_header(const struct blob *b, struct setup_header *h,
		       struct fail *why)
{
	uint8_t jump;
	uint64_t end;
	int err;

	memset(h, 0, sizeof(*h));
	err = boot_read(b, HDR_JUMP_AT, &jump, 1, "its setup header", why);
	if (err)
		return err;
	end = HDR_MAGIC_AT + jump;
	/* What protocol 2.12 has must be there; what later ones add past the
	 * structure that we know is for loaders that know it. */
	if (end < HDR_AT + offsetof(struct setup_header, handover_offset))
		return bad(b, why, "its setup header is too short");
	return boot_read(b, HDR_AT, h, MIN(end - HDR_AT, sizeof(*h)),
			 "its setup header", why);
}

static int judge_header(const struct blob *b, const struct setup_header *h,
			struct fail *why)
{
	if (h->boot_flag != 0xaa55)
		return bad(b, why, "its boot sector has no signature");
	if (h->version < VERSION_MIN)
		return boot_fail(why, -ENOEXEC, b,
				 "give a kernel of Linux 3.8 or later",
				 "bzImage: boot protocol %u.%02u is older than "
				 "2.12",
				 h->version >> 8, h->version & 0xff);
	if (!(h->loadflags & LOADED_HIGH))
		return bad(b, why, "it is a zImage, loaded below 1 MiB");
	if (!(h->xloadflags & XLF_KERNEL_64))
		return bad(b, why, "a 32-bit kernel, without a 64-bit entry");
	if (h->kernel_alignment == 0 ||
	    (h->kernel_alignment & (h->kernel_alignment - 1)))
		return bad(b, why, "kernel_alignment is no power of two");
	return 0;
}

/*
 * Where to load it: where it prefers. There is no second choice worth having:
 * RAM begins at 0 without holes, so what does not fit there fits nowhere
 * higher, and a kernel that was loaded lower moves itself up to there.
 */
static int choose_address(const struct blob *b, const struct setup_header *h,
			  uint64_t *load, struct fail *why)
{
	uint64_t at = MAX(h->pref_address, PLATFORM_KERNEL);

	if (at >= PLATFORM_GAP_START)
		return boot_fail(why, -ENOEXEC, b, BOOT_HINT_KERNEL,
				 "bzImage: its preferred address %#lx is not "
				 "below 3 GiB",
				 at);
	if (h->relocatable_kernel)
		at = align_up(at, h->kernel_alignment);
	else if (at != h->pref_address)
		return bad(b, why,
			   "it cannot be moved and wants to be loaded "
			   "below 1 MiB");
	*load = at;
	return 0;
}

/* The compressed kernel: all of the file behind the setup part. */
static int find_payload(const struct blob *b, const struct setup_header *h,
			uint64_t *at, uint64_t *bytes, struct fail *why)
{
	/* 0 stands for 4, says the protocol. */
	unsigned sectors = h->setup_sects ? h->setup_sects : 4;
	uint64_t claimed = (uint64_t)h->syssize * 16;

	*at = (sectors + 1) * SECTOR;
	*bytes = *at < b->bytes ? b->bytes - *at : 0;
	/* syssize counts units of 16 bytes, the last of which may be short. */
	if (*bytes <= ENTRY64 || align_up(*bytes, 16) < claimed)
		return boot_fail(why, -ENOEXEC, b, BOOT_HINT_COPY,
				 "truncated: %#lx bytes of kernel behind the "
				 "setup part, %#lx are needed",
				 *bytes, MAX(claimed, ENTRY64 + 1));
	return 0;
}

int boot_bzimage_load(struct gmem *m, const struct boot_source *src,
		      struct boot_image *img, struct fail *why)
{
	const struct blob *b = &src->kernel;
	struct setup_header *h = &img->hdr;
	uint64_t at, bytes, load, need;
	char hint[BOOT_HINT_BYTES];
	int err;

	if (src->protocol == BOOT_PVH)
		return boot_fail(why, -ENOEXEC, b,
				 "give the vmlinux that it was made from, or "
				 "leave --boot out",
				 "a bzImage has no PVH entry");
	err = read_header(b, h, why);
	if (!err)
		err = judge_header(b, h, why);
	if (!err)
		err = find_payload(b, h, &at, &bytes, why);
	if (!err)
		err = choose_address(b, h, &load, why);
	if (err)
		return err;
	need = MAX(bytes, h->init_size);
	if (!range_within(load, need, boot_low_ram_end(m)))
		return boot_fail(why, -ENOMEM, b,
				 boot_hint_memory(hint, load + need),
				 "bzImage: it needs RAM from %#lx to %#lx, but "
				 "RAM ends at %#lx",
				 load, load + need, boot_low_ram_end(m));
	err = boot_place(m, load, b, at, bytes, "its kernel part", why);
	if (err)
		return err;
	img->protocol = BOOT_LINUX64;
	img->entry = load + ENTRY64;
	img->start = load;
	img->end = load + need;
	img->initrd_end = (uint64_t)h->initrd_addr_max + 1;
	img->cmdline_max = h->cmdline_size;
	h->code32_start = (uint32_t)load;
	h->vid_mode = 0xffff; /* "normal" */
	h->setup_data = 0;
	return 0;
}
