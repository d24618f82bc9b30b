/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks whole images: all that docs/image-format.md wants refused when "a tree
 * is checked", from the root down to each patch, and, if asked, all data
 * against its sums. An image that passes can be read from end to end.
 *
 * One context serves many images of a set in a row: what an image shares with
 * one that was found good is not looked at again; a data page is read once,
 * whatever number of images has it. What is damaged is told for each image that
 * has it, once an image.
 *
 * Owner: one thread. Memory: as reach.h, and another bit for each data page and
 * difference that is reached; 270 KiB.
 */
#ifndef TINTYPE_IMAGE_CHECK_H
#define TINTYPE_IMAGE_CHECK_H

#include "image.h"

struct image_check;

struct image_check_options {
	/* Also every data page against its sum: reads all that is stored. */
	bool data;
	/* Called for each damage, and 0 goes on, so that all is told; anything
	 * else ends it and is returned. NULL: the first damage ends it. */
	int (*damage)(void *ctx, const struct fail *damage);
	/* Called between steps with the data pages that were compared and that
	 * are to be, both 0 while nodes are walked. Not 0 cancels. May be NULL.
	 */
	int (*progress)(void *ctx, uint64_t done, uint64_t of);
	void *ctx;
};

/* NULL: no memory. */
struct image_check *image_check_create(const struct layer_set *s,
				       const struct image_check_options *o);
void image_check_destroy(struct image_check *c);

/*
 * 0: the image is whole. -EBADMSG damaged, -ENOENT a layer is not there, -EIO
 * it cannot be read: `why` is the first damage. -ECANCELED: stopped. Any other
 * error is none of the image's: nothing is known about it then.
 */
int image_check(struct image_check *c, const struct image *img,
		struct fail *why);

#endif
