/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes by libsodium, sums by xxHash, ids as text. */
#include "hash.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

_Static_assert(ID_BYTES == crypto_generichash_blake2b_BYTES, "BLAKE2b-256");
_Static_assert(CHECK_BYTES >= crypto_generichash_blake2b_BYTES_MIN,
	       "the shortest BLAKE2b");
_Static_assert(sizeof(((struct mac_key *)0)->b) ==
		   crypto_generichash_blake2b_KEYBYTES,
	       "BLAKE2b's key");

int hash_init(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

void hash_id(struct object_id *id, const void *data, size_t len)
{
	crypto_generichash_blake2b(id->b, sizeof(id->b), data, len, NULL, 0);
}

void hash_check(uint8_t check[CHECK_BYTES], const void *data, size_t len)
{
	crypto_generichash_blake2b(check, CHECK_BYTES, data, len, NULL, 0);
}

bool hash_check_fits(const uint8_t check[CHECK_BYTES], const void *data,
		     size_t len)
{
	uint8_t real[CHECK_BYTES];

	hash_check(real, data, len);
	return memcmp(real, check, CHECK_BYTES) == 0;
}

void hash_keyed(uint8_t mac[MAC_BYTES], const struct mac_key *key,
		const void *data, size_t len)
{
	crypto_generichash_blake2b(mac, MAC_BYTES, data, len, key->b,
				   sizeof(key->b));
}

bool hash_keyed_fits(const uint8_t mac[MAC_BYTES], const struct mac_key *key,
		     const void *data, size_t len)
{
	uint8_t real[MAC_BYTES];

	hash_keyed(real, key, data, len);
	return sodium_memcmp(real, mac, MAC_BYTES) == 0;
}

uint64_t sum64(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}

int random_bytes(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

bool object_id_equal(const struct object_id *a, const struct object_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool object_id_is_zero(const struct object_id *id)
{
	return sodium_is_zero(id->b, sizeof(id->b));
}

void object_id_text(char text[ID_TEXT], const struct object_id *id)
{
	sodium_bin2hex(text, ID_TEXT, id->b, sizeof(id->b));
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool object_id_parse(struct object_id *id, const char *text)
{
	if (strlen(text) != 2 * ID_BYTES)
		return false;
	for (unsigned i = 0; i < ID_BYTES; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		id->b[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

void object_id_short(char text[ID_SHORT], const struct object_id *id)
{
	char all[ID_TEXT];

	object_id_text(all, id);
	snprintf(text, ID_SHORT, "%.*s", ID_SHORT - 1, all);
}
