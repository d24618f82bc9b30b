/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differences and chunks. The first byte chooses:
 *
 *	0  two pages made of the rest: their patch makes one of the other
 *	1  a patch as it is: applied, or refused, within the page
 *	2  a chunk (4 bytes flags, 4 plain length, 4 stored length, bytes) with
 *a right check: decoded to that length, or refused 3  a chunk that is encoded
 *and decoded, then with one bit wrong
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "need.h"
#include "patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t uid[UID_BYTES], key[LAYER_KEY_BYTES];
static struct codec *codec[LAYER_FLAGS + 1];

static void init(void)
{
	need(hash_init() == 0);
	for (uint32_t flags = 1; flags <= LAYER_FLAGS; flags++)
		if (codec_create(&codec[flags], flags, uid, key))
			codec[flags] = NULL; /* no AES here */
}

/* A copy of just that size, so that a byte too far is seen. */
static uint8_t *exact(const void *data, size_t size)
{
	uint8_t *p = malloc(size + !size);

	need(p);
	if (size)
		memcpy(p, data, size);
	return p;
}

/* Bytes of a page: pieces of {offset, length, value} over one value. */
static void draw_page(uint8_t *page, const uint8_t *data, size_t size)
{
	for (; size >= 4; data += 4, size -= 4) {
		size_t at = (data[0] | data[1] << 8) % PAGE_BYTES;

		memset(page + at, data[3], MIN(data[2], PAGE_BYTES - at));
	}
}

static void round_trip(const uint8_t *data, size_t size)
{
	uint8_t base[PAGE_BYTES] = { 0 }, page[PAGE_BYTES], got[PAGE_BYTES];
	uint8_t *patch = malloc(PATCH_MAX_BYTES);
	size_t half = size ? MIN(data[0] * 4u, size - 1) : 0;
	int len, err;

	need(patch);
	if (size)
		draw_page(base, data + 1, half);
	memcpy(page, base, sizeof(page));
	if (size)
		draw_page(page, data + 1 + half, size - 1 - half);
	len = patch_make(base, page, patch);
	need(len == -E2BIG || (len >= 0 && len <= PATCH_MAX_BYTES));
	need((len == 0) == !memcmp(base, page, sizeof(base)));
	if (len > 0) {
		uint8_t *tight = exact(patch, (size_t)len);

		memcpy(got, base, sizeof(got));
		err = patch_apply(got, tight, (size_t)len);
		need(err == 0 && !memcmp(got, page, sizeof(got)));
		free(tight);
	}
	free(patch);
}

static void apply_hostile(const uint8_t *data, size_t size)
{
	uint8_t *page = calloc(1, PAGE_BYTES), *patch = exact(data, size);
	int err;

	need(page);
	err = patch_apply(page, patch, size);
	need(err == 0 || err == -EBADMSG);
	need(err || (size > 0 && size <= PATCH_MAX_BYTES));
	free(page);
	free(patch);
}

static void decode_hostile(const uint8_t *data, size_t size)
{
	struct chunk c = { .number = 3 };
	uint8_t *stored, *plain;
	int err;

	if (size < 4)
		return;
	memcpy(&c.plain_bytes, data, 4);
	c.plain_bytes = c.plain_bytes % CHUNK_BYTES + 1;
	c.stored_bytes = (uint32_t)MIN(size - 4, CHUNK_BYTES);
	stored = exact(data + 4, c.stored_bytes);
	plain = malloc(c.plain_bytes);
	need(plain);
	hash_check(c.check, stored, c.stored_bytes);
	err = codec_decode(codec[LAYER_COMPRESSED], &c, stored, plain);
	need(err == 0 || err == -EBADMSG);
	need(err || c.stored_bytes <= c.plain_bytes);
	free(stored);
	free(plain);
}

static void encode_decode(const uint8_t *data, size_t size)
{
	struct chunk c = { .number = size };
	uint8_t *plain = calloc(1, CHUNK_BYTES), *stored = malloc(CHUNK_BYTES);
	uint8_t *got = malloc(CHUNK_BYTES);
	uint32_t flags = size ? 1 + data[0] % LAYER_FLAGS : 1;

	need(plain && stored && got);
	if (size > 3 && codec[flags]) {
		size_t bit, len = MIN(size - 3, CHUNK_BYTES);

		memcpy(plain, data + 3, len);
		/* A tail of zeroes: then it is compressed. */
		c.plain_bytes = (uint32_t)MIN(len + data[1] * 64, CHUNK_BYTES);
		c.last = data[2] & 1;
		need(!codec_encode(codec[flags], &c, plain, stored));
		need(c.stored_bytes <= c.plain_bytes);
		need(!codec_decode(codec[flags], &c, stored, got));
		need(!memcmp(got, plain, c.plain_bytes));
		bit = data[2] * 257u % (c.stored_bytes * 8);
		stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
		need(codec_decode(codec[flags], &c, stored, got) == -EBADMSG);
	}
	free(plain);
	free(stored);
	free(got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const run[])(const uint8_t *,
				   size_t) = { round_trip, apply_hostile,
					       decode_hostile, encode_decode };

	if (!codec[LAYER_COMPRESSED])
		init();
	if (size)
		run[data[0] % ARRAY_SIZE(run)](data + 1, size - 1);
	return 0;
}
