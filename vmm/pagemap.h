/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc/self/pagemap tells of a process's pages, from the kernel's
 * Documentation/admin-guide/mm/pagemap.rst; older headers lack the ioctl
 * (Linux 6.7), older kernels answer it with ENOTTY.
 */
#ifndef TINTYPE_PAGEMAP_H
#define TINTYPE_PAGEMAP_H

#include <linux/fs.h>
#include <linux/ioctl.h>
#include <linux/types.h>
#include <stdint.h>

#ifndef PAGEMAP_SCAN
struct page_region {
	__u64 start, end, categories;
};

struct pm_scan_arg {
	__u64 size, flags;
	__u64 start, end, walk_end;
	__u64 vec, vec_len, max_pages;
	__u64 category_inverted, category_mask, category_anyof_mask;
	__u64 return_mask;
};

#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)

#define PAGE_IS_FILE	(1 << 2)
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_SWAPPED (1 << 4)
#endif

/* What reading gives of each page: 8 bytes, of which these bits. */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_FILE	(UINT64_C(1) << 61) /* or shared */

#endif
