/* SPDX-License-Identifier: Apache-2.0 */
/* Ids, checks and sums: known answers, and text both ways. */
#include <criterion/criterion.h>
#include <string.h>

#include "hash.h"
#include "util.h"

static void init(void)
{
	cr_assert_eq(hash_init(), 0);
}

TestSuite(hash, .init = init);

/* RFC 7693, appendix A is BLAKE2b-512; the 256 bits of "abc" are those of the
 * reference implementation (b2sum -l 256). */
Test(hash, id_of_abc_is_the_known_one)
{
	struct object_id id;
	char text[ID_TEXT];

	hash_id(&id, "abc", 3);
	object_id_text(text, &id);
	cr_assert_str_eq(text, "bddd813c634239723171ef3fee98579b"
			       "94964e3bb1cb3e427262c8c068d52319");
}

Test(hash, check_when_one_bit_differs_does_not_fit)
{
	uint8_t data[64] = { 1, 2, 3 }, check[CHECK_BYTES];

	hash_check(check, data, sizeof(data));
	cr_assert(hash_check_fits(check, data, sizeof(data)));
	for (unsigned bit = 0; bit < 8 * sizeof(data); bit++) {
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_not(hash_check_fits(check, data, sizeof(data)));
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* What Python's hashlib makes of the same key and data. */
Test(hash, keyed_of_abc_is_the_known_one)
{
	struct mac_key key;
	struct object_id mac;
	char text[ID_TEXT];

	for (unsigned i = 0; i < sizeof(key.b); i++)
		key.b[i] = (uint8_t)i;
	hash_keyed(mac.b, &key, "abc", 3);
	object_id_text(text, &mac);
	cr_assert_str_eq(text, "d63a32d3e44738d7907f964316c241ad"
			       "aba0abfeabc32349677578a15a203f7f");
	cr_assert(hash_keyed_fits(mac.b, &key, "abc", 3));
	cr_assert_not(hash_keyed_fits(mac.b, &key, "abd", 3));
	key.b[31] ^= 1;
	cr_assert_not(hash_keyed_fits(mac.b, &key, "abc", 3));
}

Test(hash, sum_when_the_seed_differs_differs)
{
	cr_assert_neq(sum64("abc", 3, 0), sum64("abc", 3, 1));
	/* xxhsum -H3 of "abc" */
	cr_assert_eq(sum64("abc", 3, 0), UINT64_C(0x78af5f94892f3950));
}

Test(hash, id_as_text_comes_back)
{
	struct object_id id, back;
	char text[ID_TEXT], brief[ID_SHORT];

	cr_assert_eq(random_bytes(&id, sizeof(id)), 0);
	object_id_text(text, &id);
	cr_assert(object_id_parse(&back, text));
	cr_assert(object_id_equal(&id, &back));
	cr_assert_not(object_id_is_zero(&id));
	object_id_short(brief, &id);
	cr_assert_eq(strncmp(brief, text, ID_SHORT - 1), 0);
	text[ID_TEXT - 2] = '\0';
	cr_assert_not(object_id_parse(&back, text));
	memset(text, 'G', ID_TEXT - 1);
	cr_assert_not(object_id_parse(&back, text));
}
