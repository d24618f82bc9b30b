/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's inside, for layer.c and layer_open.c alone. */
#ifndef TINTYPE_LAYER_IMPL_H
#define TINTYPE_LAYER_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "fileio.h"
#include "layer.h"

struct layer {
	struct layer_set *set;
	unsigned number;
	char name[FILE_NAME_TEXT];
	int fd;
	uint64_t file_bytes;
	struct object_id id;
	uint32_t flags;
	uint32_t data_pages;
	uint64_t meta_bytes;
	struct layer_section section[SECTIONS];

	uint8_t (*checks)[CHECK_BYTES]; /* plain: one a page of metadata */
	struct chunk_entry *chunks;	/* encoded: one a chunk of the body */

	struct layer **imports; /* by number less 1; NULL: not there */
	bool linked;		/* imports were looked for */

	/* Checked copies of pages of metadata, made when first used. */
	_Atomic(uint8_t *) *meta;

	/* Encoded layers: the codec and the chunk that was decoded last. */
	pthread_mutex_t decode_lock;
	struct codec *codec;
	uint8_t *chunk_plain;
	uint64_t chunk_held; /* UINT64_MAX: none */
	bool chunk_decoded;  /* one ever was: the key is the layer's */
	uint8_t *chunk_stored;
};

struct layer_set {
	struct layer **layer;
	unsigned count, room;
	/* The layers by id: open addressing, `room` * 2 places, a power of
	 * two; an id is as good as random. */
	struct layer **by_id;
	layer_key_fn key;
	void *key_ctx;
	char unreadable[FILE_NAME_TEXT]; /* "": none */
};

static inline uint64_t layer_meta_pages(const struct layer *l)
{
	return (l->meta_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT;
}

/* The body's length in bytes; it begins at PAGE_BYTES of a plain file. */
static inline uint64_t layer_body_bytes(const struct layer *l)
{
	return ((uint64_t)l->data_pages << PAGE_SHIFT) + l->meta_bytes;
}

/* A failure of the file system on the layer's file; returns err. */
int layer_io_failed(const struct layer *l, int err, const char *verb,
		    uint64_t offset, struct fail *why);

#endif
