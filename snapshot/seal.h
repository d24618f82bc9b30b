/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of every layer: the tree over what it holds, its sections in their
 * order, table and trailer, one sync. For drafts and heads alike.
 */
#ifndef TINTYPE_SEAL_H
#define TINTYPE_SEAL_H

#include "blockmap.h"
#include "layer_writer.h"

struct seal {
	struct layer_writer *writer; /* its data pages are written */
	const struct image *base;    /* what the map lies on */
	uint64_t bytes;		     /* of the image */
	const struct blockmap *map;
	const struct blockmap *second; /* on nothing; NULL: there is none */
	uint64_t second_bytes;
	/* Puts a sum for each data page into the section of sums. */
	int (*sums)(void *ctx, struct layer_writer *w, struct fail *why);
	/* Puts the differences that the map speaks of; NULL: none. */
	int (*diffs)(void *ctx, struct layer_writer *w, struct fail *why);
	void *ctx;
};

/* layer_writer_meta has been called. The new layer's root 0 is the image,
 * root 1 the second one. */
int seal_layer(const struct seal *s, struct object_id *id, struct fail *why);

#endif
