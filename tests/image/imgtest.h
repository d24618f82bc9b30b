/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the image library share: layers in memory files, pages that
 * can be told apart, a small random generator. */
#ifndef TINTYPE_IMGTEST_H
#define TINTYPE_IMGTEST_H

#include "draft.h"
#include "image.h"

/* splitmix64: the same numbers for the same seed, everywhere. */
uint64_t rng(uint64_t *state);
uint64_t rng_below(uint64_t *state, uint64_t n);

/* An empty file in memory; the caller closes it. */
int memory_file(void);
/* A copy of a file, open for reading and writing. */
int copy_file(int fd);

/* A page that tells what it is: every word differs with `tag`. */
void fill_page(uint8_t page[PAGE_BYTES], uint64_t tag);

/* Opens a sealed layer of the file (which is duplicated) into the set; the test
 * fails when that fails. */
struct layer *open_layer(struct layer_set *s, int fd);

/* Fills, by `fill`, and seals a layer over `base` (NULL: nothing), and opens
 * its image. */
struct layer *make_layer(struct layer_set *s, const struct draft_options *o,
			 void (*fill)(struct draft *d, void *ctx), void *ctx,
			 struct image *img);

/* All options of a layer: plain, compressed, encrypted, both. Their key, and a
 * set that knows it. */
#define LAYER_KINDS 4
extern const uint8_t test_key[LAYER_KEY_BYTES];
struct layer_set *test_set(void);

/* A layer made by hand: whatever its nodes say. Data page n has fill_page(n),
 * but `patches`, if any, is the last one. */
struct craft {
	uint32_t flags;
	uint32_t data_pages;
	const uint8_t *patches;
	uint32_t bad_page; /* its sum is wrong; 0: none */
	const struct node_entry *nodes;
	unsigned nnodes;
	const struct layer_diff *diffs;
	unsigned ndiffs;
	struct layer *const *imports;
	unsigned nimports;
	const struct layer_root *roots;
	unsigned nroots;
};
/* Writes it; the file is the caller's. */
int craft_file(const struct craft *c);
/* Writes and opens it. */
struct layer *craft_layer(struct layer_set *s, const struct craft *c);

/*
 * Snapshots of each other at random: each a layer of a random kind over a
 * random earlier one (or none) with a few zero, full and slightly changed
 * pages, some larger than what they lie on; and what they must read as.
 */
#define TREE_MAX   60
#define TREE_PAGES 700
struct tree {
	unsigned n;
	struct image img[TREE_MAX];
	uint64_t sum[TREE_MAX][TREE_PAGES];
};
void make_tree(struct layer_set *s, uint64_t seed, unsigned n, struct tree *t);
/* The image reads as that snapshot of the tree. */
void expect_snapshot(const struct image *img, const struct tree *t, unsigned i);
/* How large a random test is, or with what it begins: a number of the
 * environment. */
uint64_t test_size(const char *variable, uint64_t otherwise);
/* A line "name: 12 things 3 others" about what was done, added to the file that
 * TINTYPE_FIGURES names: Criterion keeps what a test prints. */
void test_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The message of the last failure, for assertions. */
extern struct fail why;

#endif
