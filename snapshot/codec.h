/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a chunk of an encoded layer is stored: compressed, encrypted or both
 * (docs/image-format.md, "Table"). One codec a layer; one thread at a time.
 */
#ifndef TINTYPE_CODEC_H
#define TINTYPE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layer_format.h"

#define LAYER_KEY_BYTES 32

struct codec;

/* `key` is copied to memory that is neither swapped nor dumped; NULL where
 * LAYER_ENCRYPTED is not among `flags`. 0, -ENOMEM, or -EOPNOTSUPP when this
 * processor has no AES-NI. */
int codec_create(struct codec **c, uint32_t flags, const uint8_t uid[UID_BYTES],
		 const uint8_t key[LAYER_KEY_BYTES]);
void codec_destroy(struct codec *c);

struct chunk {
	uint64_t number;
	bool last; /* of its layer */
	uint32_t plain_bytes;
	uint32_t stored_bytes;
	uint8_t check[CHECK_BYTES];
};

/* Encodes chunk->plain_bytes into `stored` (CHUNK_BYTES bytes); sets
 * stored_bytes and check. A chunk is encoded once: its nonce is its number.
 * 0 or -ENOMEM. */
int codec_encode(struct codec *c, struct chunk *chunk, const void *plain,
		 void *stored);

/* The reverse; `plain` has room for plain_bytes. -EBADMSG when the check does
 * not fit or the bytes are no chunk of that length: nothing of `plain` may be
 * used then. */
int codec_decode(struct codec *c, const struct chunk *chunk, const void *stored,
		 void *plain);

#endif
