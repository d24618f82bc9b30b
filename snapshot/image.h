/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image: an address space of pages as a root of a sealed layer has it, read
 * through the radix tree of docs/image-format.md. The cost of a read depends on
 * the image's size, never on the number of layers.
 *
 * An image is a value that borrows its layer. Any thread; errors as in layer.h.
 */
#ifndef TINTYPE_IMAGE_H
#define TINTYPE_IMAGE_H

#include "layer.h"

struct image {
	struct layer *layer; /* NULL: an image of nothing */
	uint32_t root;
	uint64_t bytes, pages; /* pages: bytes, rounded up */
	unsigned level;
	struct node_entry top;
	bool empty; /* has no node */
};

enum extent_kind {
	EXTENT_NOTHING, /* zero in RAM, what is below in a disk */
	EXTENT_ZERO,
	EXTENT_PAGES, /* body pages at, at + 1, ... of layer */
	EXTENT_DIFFS, /* differences at, at + 1, ... of layer */
};

/* `count` pages from `page` on that are alike and follow each other. */
struct extent {
	uint64_t page, count;
	enum extent_kind kind;
	struct layer *layer; /* NULL for nothing and zero */
	uint32_t at;
};

/* The image of that root. 0 or -errno. */
int image_open(struct image *img, struct layer *l, uint32_t root,
	       struct fail *why);
/* An image of nothing, of that size. */
void image_init_empty(struct image *img, uint64_t bytes);

/* The run that holds `page`, from `page` on, within the image; it may go on in
 * the next extent. `page` is within the image. */
int image_extent(const struct image *img, uint64_t page, struct extent *e,
		 struct fail *why);

/*
 * Reads whole pages; nothing and zero read as zero. Data is compared with its
 * sums. -EINVAL when the range is not within the image.
 */
int image_read(const struct image *img, uint64_t page, uint64_t count,
	       void *buf, struct fail *why);
/* The same for a part of an extent: `e` may have been cut by the caller. */
int image_read_extent(const struct extent *e, void *buf, struct fail *why);

/*
 * All extents of [page, page + count) in order, each as long as it can be:
 * runs are joined across leaves, which is what mapping wants. `fn` returns 0 to
 * go on; anything else ends it and is returned.
 */
typedef int (*extent_fn)(void *ctx, const struct extent *e);
int image_each_extent(const struct image *img, uint64_t page, uint64_t count,
		      extent_fn fn, void *ctx, struct fail *why);

/* Entry `i` of the leaf at `node_at` of `l`, from `skip` pages into it on:
 * fills all of `e` but its page, and checks all that can be checked there. */
int image_run(struct extent *e, struct layer *l, uint32_t node_at, unsigned i,
	      const struct node_entry *run, unsigned skip, struct fail *why);

/* A subtree as an entry of its parent, or a hole. */
struct subtree {
	uint64_t count;		/* a hole: how many pages from there on */
	struct layer *layer;	/* NULL: a hole; the one that holds the node */
	struct node_entry node; /* more and at count */
};

/* The node of that level (at most the image's) which covers `page`. */
int image_subtree(const struct image *img, uint64_t page, unsigned level,
		  struct subtree *sub, struct fail *why);

/* True when `b` goes on where `a` ends, in kind and in place. */
bool extent_follows(const struct extent *a, const struct extent *b);

#endif
