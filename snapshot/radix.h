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

/*
 * Trees written anew so that they no longer need what lies elsewhere: nodes are
 * copied but for subtrees that stay where they are. A node is written once, for
 * whatever number of roots.
 *
 * Owner: one thread. Memory: up to 96 bytes for each node that is written.
 */
struct radix_rewrite {
	struct layer_writer *writer; /* its section of nodes has been begun */
	/* Whether the subtree below that entry of a node of `l` stays. */
	bool (*stays)(void *ctx, const struct layer *l, unsigned level,
		      uint32_t entry);
	/* Where the run `e` of pages or differences is from now on: sets layer
	 * (NULL: the new one) and at; takes from count what is elsewhere. Its
	 * page means nothing. */
	int (*place)(void *ctx, struct extent *e, struct fail *why);
	void *ctx;
};

struct radix_rewriter;

/* NULL: no memory. */
struct radix_rewriter *radix_rewriter_create(const struct radix_rewrite *o);
void radix_rewriter_destroy(struct radix_rewriter *r);
/* The root of the same image; `stays`: its whole tree does. The image's tree
 * has been walked without an error (walk.h). 0 or -errno. */
int radix_rewrite(struct radix_rewriter *r, const struct image *img, bool stays,
		  struct layer_root *root, struct fail *why);

#endif
