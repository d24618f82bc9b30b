/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page as a few replaced bytes of another (docs/image-format.md,
 * "Difference"). Pure functions on memory; any thread.
 */
#ifndef TINTYPE_PATCH_H
#define TINTYPE_PATCH_H

#include <stddef.h>
#include <stdint.h>

#include "layer_format.h"

/* The patch that makes `page` of `base`, into `patch` (PATCH_MAX_BYTES). Its
 * length: 0 when the two are equal, -E2BIG when it would not be worth it. */
int patch_make(const uint8_t *base, const uint8_t *page,
	       uint8_t patch[PATCH_MAX_BYTES]);

/* Applies hostile bytes: 0, or -EBADMSG with `page` half changed. */
int patch_apply(uint8_t *page, const uint8_t *patch, size_t len);

#endif
