/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the trees of one image after the other, from their roots down in
 * ascending order of pages, and judges all that docs/image-format.md says of
 * nodes, runs and differences ("a tree is checked"). What an image shares with
 * those before it is walked once: each entry of each layer's nodes is followed
 * once, so that no file can make a walk longer than its layers are.
 *
 *   walk_init -> { walk_begin -> walk_next until 0 } for each image ->
 * walk_fini
 *
 * Checking, counting what is live and consolidating are loops around walk_next.
 *
 * Damage does not end a walk: after -EBADMSG or -ENOENT (a layer that is not
 * there) the next call goes on behind it. A walk that was left in the middle,
 * or that met damage, leaves marks of what it did not see whole: walk_forget
 * before the next image.
 *
 * Flags are for a question about subtrees ("does it need that layer?"): who
 * asks raises one at a step, and all entries above get it, in later images too.
 *
 * Owner: one thread. Errors: as in layer.h. Memory: 2 bits for each entry of
 * the nodes of a layer that is met, for each level at which it is met (there
 * are 5, of which an image of 1 TiB uses 4); layers keep what was read of them.
 */
#ifndef TINTYPE_WALK_H
#define TINTYPE_WALK_H

#include "image.h"

#define WALK_LEVELS (NODE_MAX_LEVEL + 1)

enum walk_kind {
	WALK_NODE,  /* a node is entered, perhaps not for the first time */
	WALK_PAGES, /* a run of data pages */
	WALK_DIFF,  /* one difference */
};

struct walk_step {
	enum walk_kind kind;
	struct layer *layer; /* where it is */
	uint32_t at, count;  /* entries of the node; body pages; its number */
	uint64_t page;	     /* of the image */
	struct layer_diff diff; /* WALK_DIFF: within bounds, and its base's */
	struct layer *base;	/* layer */
};

struct walk_frame {
	struct layer *layer;
	const struct node_entry *node;
	uint32_t at;
	unsigned n, i; /* entries of the node; the next one */
	unsigned next; /* where that one may begin at the earliest */
	uint64_t page; /* the first that the node covers */
	bool flagged;
};

struct walk_marks {
	struct {
		uint64_t *seen, *flagged;
	} of[WALK_LEVELS];
	uint64_t entries; /* how many were followed */
};

struct walk {
	struct walk_marks *marks; /* by the layer's number */
	size_t nmarks;
	struct image img;
	bool fresh; /* the image's top is still to be entered */
	bool flagged;
	unsigned level; /* of the node that we are in; above the top: none */
	struct walk_frame frame[WALK_LEVELS]; /* by level */
	struct walk_step diffs; /* those of the run that are still to come */
};

void walk_init(struct walk *w);
void walk_fini(struct walk *w);

void walk_begin(struct walk *w, const struct image *img);
/* The next step of this image that no image before had: 1, 0 at the end, or
 * -errno. */
int walk_next(struct walk *w, struct walk_step *step, struct fail *why);

/* Raises the flag of the last step, and of all that is above it. */
void walk_flag(struct walk *w);
/* After its end: whether the image has a flagged step, also one that an image
 * before brought. */
bool walk_image_flagged(const struct walk *w);
/* The same for what lies below that entry, which was followed, of a node of
 * that level. */
bool walk_entry_flagged(const struct walk *w, const struct layer *l,
			unsigned level, uint32_t entry);

/* How many entries of the layer's nodes were followed. */
uint64_t walk_entries(const struct walk *w, const struct layer *l);
/* Forgets all marks and flags. */
void walk_forget(struct walk *w);

#endif
