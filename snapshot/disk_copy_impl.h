/* SPDX-License-Identifier: Apache-2.0 */
/* What copying and comparing share; only disk_co*.c include this. */
#ifndef TINTYPE_DISK_COPY_IMPL_H
#define TINTYPE_DISK_COPY_IMPL_H

#include "disk_copy.h"

#define COPY_PAGES 256 /* that are read at once */

/* 0, or -ECANCELED with `why`. */
int disk_tell_progress(const struct disk_progress *p, uint64_t page,
		       uint64_t pages, struct fail *why);

#endif
