/* SPDX-License-Identifier: Apache-2.0 */
/* Differences of pages: pieces of {offset, length, bytes}. */
#include "patch.h"

#include <errno.h>
#include <string.h>

struct piece {
	uint16_t offset, bytes;
};

/* The first byte from `at` on in which the two differ, or PAGE_BYTES. */
static size_t next_difference(const uint8_t *a, const uint8_t *b, size_t at)
{
	for (; at % 8 && at < PAGE_BYTES; at++)
		if (a[at] != b[at])
			return at;
	for (; at < PAGE_BYTES && !memcmp(a + at, b + at, 8); at += 8)
		;
	while (at < PAGE_BYTES && a[at] == b[at])
		at++;
	return at;
}

/* Where that difference ends: equal bytes that cost less than the head of
 * another piece belong to it. One that is too long for a patch is not followed
 * to its end. */
static size_t end_of_difference(const uint8_t *a, const uint8_t *b, size_t at)
{
	size_t limit = MIN(at + PATCH_MAX_BYTES, PAGE_BYTES), end = at + 1;

	for (size_t i = end; i < limit && i <= end + sizeof(struct piece); i++)
		if (a[i] != b[i])
			end = i + 1;
	return end;
}

int patch_make(const uint8_t *base, const uint8_t *page,
	       uint8_t patch[PATCH_MAX_BYTES])
{
	size_t len = 0, at = next_difference(base, page, 0);

	while (at < PAGE_BYTES) {
		size_t end = end_of_difference(base, page, at);
		struct piece p = { (uint16_t)at, (uint16_t)(end - at) };

		if (len + sizeof(p) + p.bytes > PATCH_MAX_BYTES)
			return -E2BIG;
		memcpy(patch + len, &p, sizeof(p));
		memcpy(patch + len + sizeof(p), page + at, p.bytes);
		len += sizeof(p) + p.bytes;
		at = next_difference(base, page, end);
	}
	return (int)len;
}

int patch_apply(uint8_t *page, const uint8_t *patch, size_t len)
{
	if (len == 0 || len > PATCH_MAX_BYTES)
		return -EBADMSG;
	while (len) {
		struct piece p;

		if (len < sizeof(p))
			return -EBADMSG;
		memcpy(&p, patch, sizeof(p));
		if (p.bytes == 0 || p.bytes > len - sizeof(p) ||
		    !range_within(p.offset, p.bytes, PAGE_BYTES))
			return -EBADMSG;
		memcpy(page + p.offset, patch + sizeof(p), p.bytes);
		patch += sizeof(p) + p.bytes;
		len -= sizeof(p) + p.bytes;
	}
	return 0;
}
