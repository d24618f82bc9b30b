/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer file made from any bytes: what vouches for the file (checks, table,
 * trailer, id) is right, what it says is the bytes'. One thread.
 *
 * The description, little-endian; what is missing at its end is zero:
 *
 *	flags     1  bits 0, 1: the layer's; BUILD_* below
 *	pages     1  data pages, modulo 33
 *	changes   1  how many changes there are, modulo 9
 *	counts    8  two bytes each: nodes, diffs, imports, roots, modulo
 *	             BUILD_MAX_* + 1
 *	imports   1 each: known layer 0, 1, ..., LAYERFILE_SELF; else one that
 *	             is not there
 *	diffs    16 each, roots 32 each, nodes 8 each: as they are in the file
 *	sums      8 each, with BUILD_OWN_SUMS; else the sums are right
 *	changes  12 each: struct change
 *	patches      2 bytes length, and the beginning of data page 1
 *	chunks       encoded layers, for each: 1 byte how (enum chunk_how), and
 *	             2 bytes and what they speak of where it says so
 */
#ifndef TINTYPE_FUZZ_LAYERFILE_H
#define TINTYPE_FUZZ_LAYERFILE_H

#include "codec.h"
#include "layer_format.h"

enum {
	BUILD_OWN_SUMS = 4,
	BUILD_DRAFT = 8, /* for the target: fill a draft over the image */
};

#define BUILD_MAX_PAGES	  32
#define BUILD_MAX_NODES	  1024
#define BUILD_MAX_DIFFS	  256
#define BUILD_MAX_IMPORTS 64
#define BUILD_MAX_ROOTS	  8
#define BUILD_MAX_CHANGES 8

#define LAYERFILE_SELF 7 /* the layer that was made before, by the caller */

/* What is overwritten before the hashes are made; in the file: after. */
enum change_where {
	CHANGE_HEADER,
	CHANGE_TRAILER,
	CHANGE_TABLE,
	CHANGE_FILE,
	CHANGE_WHERES
};

struct change {
	uint8_t where, width; /* modulo CHANGE_WHERES; 1 << modulo 4 bytes */
	uint16_t offset;      /* modulo what is there */
	uint64_t value;
};

enum chunk_how {
	CHUNK_RAW,
	CHUNK_PACKED,
	CHUNK_BENT,  /* packed; 16 bytes are mixed into it at that offset */
	CHUNK_GIVEN, /* so many bytes of the description */
	CHUNK_HOWS
};
#define CHUNK_LONG 0x80 /* and 64 KiB more of what is given */

struct layerfile_context {
	const struct object_id *known;
	unsigned nknown;
	const struct object_id *self; /* NULL: not there either */
	const uint8_t *key;
};

struct layerfile {
	uint8_t *file; /* static: until the next one is made */
	size_t bytes;
	const uint8_t *body; /* plain, `data_pages` pages to begin with */
	uint32_t flags;	     /* of the description */
	uint32_t data_pages;
	bool true_to_body; /* nothing hides or replaces the body's bytes */
	bool wants_self;   /* imports LAYERFILE_SELF */
};

void layerfile_make(struct layerfile *f, const struct layerfile_context *x,
		    const uint8_t *data, size_t size);

/* Changes one field of one item of a description (`size` bytes, without the
 * target's own), as chosen by `random`; false: there is none. */
bool layerfile_mutate(uint8_t *data, size_t size, uint64_t random);

#endif
