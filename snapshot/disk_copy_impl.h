/* SPDX-License-Identifier: Apache-2.0 */
/* What copying and comparing share; only disk_co*.c include this. */
#ifndef TINTYPE_DISK_COPY_IMPL_H
#define TINTYPE_DISK_COPY_IMPL_H

#include "disk_copy.h"

#define COPY_PAGES 256 /* that are read at once */

/* 0, or -ECANCELED with `why`. */
int disk_tell_progress(const struct disk_progress *p, uint64_t page,
		       uint64_t pages, struct fail *why);

/*
 * How many pages to locate at once, after `ask` that were passed over. To find
 * where a run ends takes time for each of its pages: who then reads COPY_PAGES
 * of a long one, and asks again for all the rest, would take time by the
 * square. So one asks for COPY_PAGES after data, and for more and more while
 * there is nothing to read.
 */
uint64_t next_ask(uint64_t ask, uint64_t max);

#endif
