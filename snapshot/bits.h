/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of small numbers as arrays of bits: what of a layer was seen. The caller
 * knows how many there are; nothing is checked here. Any thread; changing one
 * set is for one thread.
 */
#ifndef TINTYPE_BITS_H
#define TINTYPE_BITS_H

#include "util.h"

/* For numbers below `n`, all out. NULL: no memory; free() ends it. */
static inline uint64_t *bits_create(uint64_t n)
{
	return calloc(n / 64 + 1, sizeof(uint64_t));
}

static inline bool bit_get(const uint64_t *bits, uint64_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static inline void bit_set(uint64_t *bits, uint64_t i)
{
	bits[i / 64] |= UINT64_C(1) << (i % 64);
}

/* Puts it in; true when it had been there. */
static inline bool bit_test_and_set(uint64_t *bits, uint64_t i)
{
	bool had = bit_get(bits, i);

	bit_set(bits, i);
	return had;
}

/* The first number from `from` on that is in `in` and not in `out` (which may
 * be NULL), or `n`. */
static inline uint64_t bits_next(const uint64_t *in, const uint64_t *out,
				 uint64_t from, uint64_t n)
{
	uint64_t mask = ~UINT64_C(0) << (from % 64);

	for (uint64_t w = from / 64; w * 64 < n; w++) {
		uint64_t have = in[w] & ~(out ? out[w] : 0) & mask;

		if (have)
			return MIN(w * 64 + (uint64_t)__builtin_ctzll(have), n);
		mask = ~UINT64_C(0);
	}
	return n;
}

/* How many below `n` are in `in` and not in `out` (which may be NULL): neither
 * has one from `n` on. */
static inline uint64_t bits_count(const uint64_t *in, const uint64_t *out,
				  uint64_t n)
{
	uint64_t count = 0;

	for (uint64_t w = 0; w * 64 < n; w++)
		count +=
		    (uint64_t)__builtin_popcountll(in[w] & ~(out ? out[w] : 0));
	return count;
}

#endif
