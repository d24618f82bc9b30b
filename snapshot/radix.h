/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the tree of a new root: that of an image with some runs replaced. Only
 * nodes on the way to a replaced page are written; all else is shared with the
 * layers where it is.
 */
#ifndef TINTYPE_RADIX_H
#define TINTYPE_RADIX_H

#include "image.h"
#include "layer_writer.h"

/* The next run to put in, in ascending order, without overlaps. Pages and
 * differences whose layer is NULL are the new layer's own. 1, 0 at the end, or
 * -errno. */
typedef int (*radix_next_fn)(void *ctx, struct extent *e, struct fail *why);

/*
 * Writes the nodes to `w`, whose section of nodes has been begun, and fills the
 * root for an image of `bytes`, which is at least base->bytes. 0 or -errno.
 */
int radix_build(struct layer_writer *w, const struct image *base,
		uint64_t bytes, radix_next_fn next, void *ctx,
		struct layer_root *root, struct fail *why);

#endif
