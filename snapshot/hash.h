/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three ways in which bytes are vouched for: hashes that nobody can forge
 * (BLAKE2b, unkeyed: ids and checks), keyed hashes that only who has the key
 * can make, and sums against accidents (XXH3-64). Any thread; hash_init once
 * before the first call.
 */
#ifndef TINTYPE_HASH_H
#define TINTYPE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_BYTES    32
#define CHECK_BYTES 16
#define UID_BYTES   16
#define MAC_BYTES   32

/* BLAKE2b-256 of a layer's trailer or of a manifest: its name. */
struct object_id {
	uint8_t b[ID_BYTES];
};

struct mac_key {
	uint8_t b[32];
};

/* Chooses the implementation for this processor. 0 or -EIO. */
int hash_init(void);

void hash_id(struct object_id *id, const void *data, size_t len);
void hash_check(uint8_t check[CHECK_BYTES], const void *data, size_t len);
bool hash_check_fits(const uint8_t check[CHECK_BYTES], const void *data,
		     size_t len);

/* Keyed BLAKE2b-256; the comparison takes the same time wherever they differ.
 */
void hash_keyed(uint8_t mac[MAC_BYTES], const struct mac_key *key,
		const void *data, size_t len);
bool hash_keyed_fits(const uint8_t mac[MAC_BYTES], const struct mac_key *key,
		     const void *data, size_t len);

/* XXH3-64; the seed chains one sum to the next. */
uint64_t sum64(const void *data, size_t len, uint64_t seed);

/* Random bytes by getrandom(2); 0 or -errno. */
int random_bytes(void *buf, size_t len);

bool object_id_equal(const struct object_id *a, const struct object_id *b);
bool object_id_is_zero(const struct object_id *id);

/* 64 hexadecimal digits, lower case; parse takes just that. */
#define ID_TEXT (2 * ID_BYTES + 1)
void object_id_text(char text[ID_TEXT], const struct object_id *id);
bool object_id_parse(struct object_id *id, const char *text);

/* The first 12 digits, for messages. */
#define ID_SHORT 13
void object_id_short(char text[ID_SHORT], const struct object_id *id);

#endif
