/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a manifest or a ref: refused with an object and a reason and
 * nothing left behind, or written again byte for byte. The first byte chooses:
 * bit 0, a ref; bit 1, length and authentication are put right before, so that
 * records of any length are met and the key is used.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "manifest.h"
#include "ref.h"
#include "util.h"

enum { IS_REF = 1, REPAIRED = 2 };

static const struct mac_key key = { .b = "a key for tests, and only tests" };

static void repair(uint8_t *file, size_t len)
{
	static const uint8_t head[] = { 0xff, 0xff, 1, 0, 40, 0, 0, 0, 1 };
	size_t before = len - RECORD_AUTH_BYTES;
	uint32_t bytes = (uint32_t)before;
	uint8_t *auth = file + before;

	if (len < RECORD_HEAD_BYTES + RECORD_AUTH_BYTES)
		return;
	memcpy(file + 12, &bytes, sizeof(bytes));
	memset(auth, 0, RECORD_AUTH_BYTES);
	memcpy(auth, head, sizeof(head));
	hash_keyed(auth + RECORD_AUTH_BYTES - MAC_BYTES, &key, file, before);
}

static void check_fail(const struct fail *why, const void *obj, size_t size)
{
	assert(why->code == EXIT_INTEGRITY || why->code == EXIT_INCOMPATIBLE);
	assert(why->object[0] && strncmp(why->message, "byte ", 5) == 0);
	assert(mem_is_zero(obj, size));
}

static void as_manifest(const uint8_t *file, size_t len,
			const struct mac_key *k)
{
	struct fail why = { .code = EXIT_OK };
	struct object_id id;
	struct manifest m;
	uint8_t *again;
	size_t n;

	if (manifest_decode(&m, file, len, NULL, k, &why)) {
		check_fail(&why, &m, sizeof(m));
		return;
	}
	assert(manifest_encode(&m, k, &again, &n, &id, &why) == 0);
	assert(n == len && memcmp(again, file, len) == 0);
	manifest_free(&m);
	assert(manifest_decode(&m, again, n, &id, k, &why) == 0);
	manifest_free(&m);
	free(again);
}

static void as_ref(const uint8_t *file, size_t len, const struct mac_key *k)
{
	struct fail why = { .code = EXIT_OK };
	uint8_t *again;
	struct ref r;
	size_t n;

	if (ref_decode(&r, file, len, k, &why)) {
		check_fail(&why, &r, sizeof(r));
		return;
	}
	assert(ref_encode(&r, k, &again, &n, &why) == 0);
	assert(n == len && memcmp(again, file, len) == 0);
	ref_free(&r);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct mac_key *k;
	uint8_t *file;

	if (size < 1 || hash_init())
		return 0;
	file = malloc(size);
	if (!file)
		return 0;
	memcpy(file, data + 1, size - 1);
	k = data[0] & REPAIRED ? &key : NULL;
	if (k)
		repair(file, size - 1);
	if (data[0] & IS_REF)
		as_ref(file, size - 1, k);
	else
		as_manifest(file, size - 1, k);
	free(file);
	return 0;
}
