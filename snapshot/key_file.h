/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret in a file, from which each layer gets a key of its own
 * (docs/image-format.md, "Encryption"). Any thread; hash_init comes first.
 */
#ifndef TINTYPE_KEY_FILE_H
#define TINTYPE_KEY_FILE_H

#include "codec.h"
#include "fail.h"
#include "hash.h"

/* Reads the 32 bytes. 0, or -errno with `why`: also when other users can read
 * or write the file. */
int key_file_read(struct mac_key *secret, const char *path, struct fail *why);

/* The key of the layer with that uid: a layer_key_fn, whose ctx is a const
 * struct mac_key. Always 0. */
int key_file_layer_key(void *secret, const uint8_t uid[UID_BYTES],
		       uint8_t key[LAYER_KEY_BYTES]);

#endif
