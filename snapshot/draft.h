/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer while it is filled page by page: by a capture with RAM, by an import
 * with a raw disk. Nothing of it is durable, or a layer, before it is sealed.
 *
 * A page that is put again replaces the one before. What equals the base, is
 * zero, or differs from a full page of the base in a few bytes is found out and
 * stored as such.
 *
 * Owner: one thread at a time. Memory: the map (blockmap.h), 8 bytes a stored
 * page, 32 a difference.
 */
#ifndef TINTYPE_DRAFT_H
#define TINTYPE_DRAFT_H

#include "image.h"

struct draft;

#define DRAFT_SECOND_MAX MIB(16)

struct draft_options {
	int fd;		  /* empty file; borrowed */
	const char *name; /* for messages */
	uint64_t bytes;	  /* of the image */
	/* What it lies on; at most that large. Its layers outlive the draft. */
	const struct image *base;
	uint32_t flags;	    /* LAYER_COMPRESSED, LAYER_ENCRYPTED */
	const uint8_t *key; /* with LAYER_ENCRYPTED: for this layer alone */
	/* The layer's uid, random, for who makes its key from it or keeps the
	 * key under it; NULL: one is made. */
	const uint8_t *uid;
	/* Do not read the base to compare: what is put is stored in full. */
	bool plain_pages;
	/* What the base has not is a raw file's: zeroes must be said. */
	bool over_raw;
};

int draft_create(struct draft **d, const struct draft_options *o,
		 struct fail *why);
/* Gives up what was not sealed; the file is the caller's. */
void draft_destroy(struct draft *d);

/* 4096 bytes. 0, -EINVAL beyond the image, or what the file system says. */
int draft_put(struct draft *d, uint64_t page, const void *data,
	      struct fail *why);
/* All of the run is zero. */
int draft_put_zero(struct draft *d, uint64_t page, uint64_t count,
		   struct fail *why);

/*
 * A second image in the same layer, root 1: `len` bytes (1 to
 * DRAFT_SECOND_MAX, else -EINVAL), whose size as an image is `len` rounded up
 * to 512, with zeroes. It has no base. Once, before draft_seal; after a failure
 * only draft_destroy may follow.
 */
int draft_put_second(struct draft *d, const void *data, size_t len,
		     struct fail *why);

struct draft_counts {
	uint64_t full, zero, diffs; /* pages of the map as it is now */
	uint64_t stored_pages;	    /* data pages, replaced ones among them */
};
void draft_count(const struct draft *d, struct draft_counts *c);

/* Writes what makes it a layer, and syncs. The draft is done then: only
 * draft_destroy may follow, also after a failure. */
int draft_seal(struct draft *d, struct object_id *id, struct fail *why);

#endif
