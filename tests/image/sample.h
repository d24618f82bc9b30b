/* SPDX-License-Identifier: Apache-2.0 */
/* A layer with everything in it over a base, to be damaged; and what makes a
 * changed file vouch for itself again. */
#ifndef TINTYPE_SAMPLE_H
#define TINTYPE_SAMPLE_H

#include "imgtest.h"

#define SAMPLE_NAME "sample"

struct sample {
	uint32_t flags;
	int base_fd, fd;
	struct object_id base_id, id;
	uint8_t *file; /* of the layer over the base, in memory */
	uint64_t bytes;
	struct layer_trailer trailer;
	uint64_t meta; /* where in the file metadata, or its chunk, begins */
	uint64_t page_of[64]; /* by data page: an image page that reads it */
};

/* What is in its pages differs with `tag`, where they lie does not. */
void sample_make(struct sample *s, uint32_t flags, uint64_t tag);
void sample_fini(struct sample *s);

/* The sample with a file in its place: opened, linked, every extent walked and
 * every page read. 0 or the first failure, which is in `why`. `want` may be
 * NULL; so may `only`, else just that page is read. */
int sample_try(const struct sample *s, int fd, const struct object_id *want,
	       const uint64_t *only);
/* The same for bytes in memory. */
int sample_try_bytes(const struct sample *s, const void *bytes, uint64_t n);

/* A copy of the file in memory, to be freed. */
uint8_t *sample_copy(const struct sample *s);
/* Makes every hash of a file in memory right, of what it says now: a plain
 * layer's checks too. The header's and trailer's fields are left alone. */
void sample_vouch(uint8_t *file, uint64_t bytes);
struct layer_trailer *trailer_in(uint8_t *file, uint64_t bytes);
/* An item of a plain layer's section. */
void *item_in(uint8_t *file, uint64_t bytes, enum section s, uint64_t at);

/* It was found, it names the layer and the place. */
void expect_damaged(int err, const char *what);

#endif
