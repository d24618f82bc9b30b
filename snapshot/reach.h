/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a set of roots reaches of the layers of a set: which layers are garbage,
 * and how much of the others. Exact: all trees are walked, shared parts once.
 *
 * A data page is live when a root has it, as a page or as a difference's base,
 * or when it holds a live difference's patch. A layer is reached when a root is
 * in it, or a node, a live page or a live difference.
 *
 * After a failure nothing may be concluded from what was counted: what is not
 * known to be live is not known to be garbage. Layers may be opened between two
 * roots.
 *
 * Owner: one thread. Errors: as in layer.h. Memory: as walk.h, and a bit for
 * each data page and each difference of the layers that are reached.
 */
#ifndef TINTYPE_REACH_H
#define TINTYPE_REACH_H

#include "layer.h"

struct image;
struct reach;

/* NULL: no memory. */
struct reach *reach_create(void);
void reach_destroy(struct reach *r);

/* All that the root reaches. 0 or -errno. */
int reach_add(struct reach *r, const struct image *root, struct fail *why);

/* The same step by step, for who has to stop or to go on behind damage: 1 for
 * each node, run and difference, 0 at the end; see walk_next. */
void reach_begin(struct reach *r, const struct image *root);
int reach_next(struct reach *r, struct fail *why);
/* Forgets everything. */
void reach_forget(struct reach *r);

/*
 * Garbage is the whole file of a layer that is not reached, and the dead data
 * pages of another: what writing it anew would save but for a few nodes. Pages
 * of an encoded layer count as equal shares of its file. (Free slots of a
 * sealed head are dead pages that may be punched out already.)
 */
struct reach_count {
	bool reached;
	uint64_t pages, diffs; /* live ones */
	uint64_t entries;      /* of nodes, that were followed */
	uint64_t bytes_live, bytes_garbage;
};
void reach_count(const struct reach *r, const struct layer *l,
		 struct reach_count *c);

struct reach_total {
	unsigned layers, garbage_layers;
	uint64_t bytes_live, bytes_garbage;
};
void reach_total(const struct reach *r, const struct layer_set *s,
		 struct reach_total *t);

/* Bits of live data pages, from bit 1 for body page 1 on, and of live
 * differences, from bit 0; NULL: none. Until the next root is added. */
const uint64_t *reach_pages(const struct reach *r, const struct layer *l);
const uint64_t *reach_diffs(const struct reach *r, const struct layer *l);

#endif
