/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consolidation: one new layer with a new root for each of some images, with
 * the same content, which needs none of the victims, layers that are to go. It
 * serves space and contiguity. What stays is shared: pages of layers that are
 * kept are referred to, and so are whole subtrees that need no victim.
 *
 *   compact_begin -> compact_step until 0 -> compact_finish
 *        compact_abort at any time before compact_finish, also after a failure
 *
 * Pages that lie in victims are copied once, whatever number of roots has them,
 * in the order of the first root that has them: its runs become as long as they
 * can be. So the root that is to be fast comes first, and of snapshots the
 * newest. A page's sum is checked on the way: damage is not carried over.
 *
 * A difference that needs a victim, by itself or by its base, stays one: its
 * base is copied as a page, or referred to, and its patch is copied. Written as
 * a full page it would take 4096 bytes for the 528 at most that it replaces,
 * and where its base lives on, nothing would become free for that. Patches are
 * packed in the order in which they lie in their layers, by the rule by which
 * they were packed there (the next that does not fit begins a page), which
 * makes no more pages of a part of such a sequence than of the whole. So what
 * is written for pages, differences and patches is never more than what it
 * replaces. (Two limits: another writer may have packed better, by a seventh of
 * the patches; and where the layer of a difference is kept but its base is
 * not, the kept layer has the patch as well.)
 *
 * Nothing of the new layer is one before compact_finish. After a failure or an
 * abort the file is cut to nothing.
 *
 * Owner: one thread; the layers outlive it. Errors: as layer.h for what is
 * read, the file system's for what is written; -E2BIG: more than 65535 imports.
 *
 * Peak memory: as walk.h for all roots together; 4 bytes for each data page of
 * a victim that has a live one, and for each difference of a layer that has one
 * that needs a victim; 8 for each page copied; 40 for each difference; up to 96
 * for each node written; 32 for each root; 400 KiB. For 1 GiB of full pages in
 * one image: 3.5 MiB.
 */
#ifndef TINTYPE_COMPACT_H
#define TINTYPE_COMPACT_H

#include "image.h"

struct compact;

struct compact_options {
	int fd;		  /* empty file; borrowed */
	const char *name; /* for messages */
	const struct layer_set *set;
	/* Borrowed until the end; in the new layer they have the same order. */
	const struct image *roots;
	unsigned nroots; /* at least one */
	/* A bit for each layer's number (bits.h); NULL: all, which makes the
	 * new layer self-contained. Borrowed. */
	const uint64_t *victims;
	uint32_t flags;	    /* LAYER_COMPRESSED, LAYER_ENCRYPTED */
	const uint8_t *key; /* with LAYER_ENCRYPTED: a new one */
};

int compact_begin(struct compact **c, const struct compact_options *o,
		  struct fail *why);
/* Copies about `budget` pages (not 0), or walks as many times 64 nodes. 1:
 * there is more, 0: all is copied, or -errno: only compact_abort may follow. */
int compact_step(struct compact *c, unsigned budget, struct fail *why);

struct compact_counts {
	uint64_t pages;	    /* copied, bases among them */
	uint64_t diffs;	    /* carried over */
	unsigned roots;	    /* walked */
	uint64_t out_pages; /* data pages of the new layer so far */
};
void compact_count(const struct compact *c, struct compact_counts *n);

/* After a step gave 0: writes nodes and all else, about 2 % of the data, and
 * syncs. Ends `c` in any case. */
int compact_finish(struct compact *c, struct object_id *id, struct fail *why);
void compact_abort(struct compact *c);

#endif
