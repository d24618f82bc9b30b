/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PVH: the hvm_start_info page, by Xen's public header
 * arch-x86/hvm/start_info.h, version 1: the structure itself, then at most one
 * module (the initrd), then the memory map, all in one page.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "boot_image.h"
#include "platform.h"
#include "util.h"

#define START_MAGIC   0x336ec578 /* "xEn3", its top bit set */
#define START_VERSION 1		 /* with a memory map */

struct module {
	uint64_t paddr;
	uint64_t bytes;
	uint64_t cmdline_paddr;
	uint64_t reserved;
};

struct memory {
	uint64_t addr;
	uint64_t bytes;
	uint32_t type; /* as E820's */
	uint32_t reserved;
};

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t modules;
	uint64_t modules_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memory_paddr;
	uint32_t memory_entries;
	uint32_t reserved;
};

struct start_page {
	struct start_info info;
	struct module initrd;
	struct memory memory[BOOT_MAX_E820];
};

static_assert(sizeof(struct module) == 32 && sizeof(struct memory) == 24 &&
		  sizeof(struct start_info) == 56,
	      "as specified");
static_assert(sizeof(struct start_page) <= PAGE_BYTES, "one page");

int boot_write_pvh(struct gmem *m, const struct boot_source *src,
		   uint64_t initrd)
{
	struct start_page p = { .info = {
				    .magic = START_MAGIC,
				    .version = START_VERSION,
				    .cmdline_paddr = PLATFORM_CMDLINE,
				    .rsdp_paddr = PLATFORM_ACPI,
				    .memory_paddr =
					PLATFORM_START_INFO +
					offsetof(struct start_page, memory),
				} };
	struct e820 map[BOOT_MAX_E820];

	if (src->initrd.bytes) {
		p.info.modules = 1;
		p.info.modules_paddr =
		    PLATFORM_START_INFO + offsetof(struct start_page, initrd);
		p.initrd.paddr = initrd;
		p.initrd.bytes = src->initrd.bytes;
	}
	p.info.memory_entries = boot_e820(m, map);
	for (unsigned i = 0; i < p.info.memory_entries; i++)
		p.memory[i] = (struct memory){ map[i].addr, map[i].bytes,
					       map[i].type, 0 };
	return gmem_write(m, GPA(PLATFORM_START_INFO), &p, sizeof(p));
}
