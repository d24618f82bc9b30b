/* SPDX-License-Identifier: Apache-2.0 */
/* The map of a layer in the making, against a plain array. */
#include <criterion/criterion.h>
#include <string.h>

#include "blockmap.h"
#include "imgtest.h"

#define PAGES 5000

static struct blockmap map;
static struct block model[PAGES];

static void set_one(uint64_t *state)
{
	uint64_t page = rng_below(state, PAGES);
	struct block b = { .at = (uint32_t)page + 7,
			   .kind = (uint8_t)rng_below(state, BLOCK_HOLE + 1) };

	if (b.kind != BLOCK_PAGE && b.kind != BLOCK_DIFF)
		b.at = 0;
	cr_assert_eq(blockmap_set(&map, page, b), 0);
	model[page] = b;
}

static void set_zero(uint64_t *state)
{
	uint64_t page = rng_below(state, PAGES);
	uint64_t count = rng_below(state, PAGES - page + 1);

	cr_assert_eq(blockmap_set_zero(&map, page, count), 0);
	for (uint64_t i = 0; i < count; i++)
		model[page + i] = (struct block){ .kind = BLOCK_ZERO };
}

static void compare(void)
{
	uint64_t used = 0, n;

	for (uint64_t p = 0; p < PAGES; p++) {
		struct block b = blockmap_get(&map, p);

		cr_assert_eq(memcmp(&b, &model[p], sizeof(b)), 0, "page %lu",
			     p);
		used += b.kind != BLOCK_NONE;
	}
	cr_assert_eq(map.used, used);
	/* Runs cover all, and each is of one kind. */
	for (uint64_t p = 0; p < PAGES; p += n) {
		n = blockmap_run(&map, p, PAGES - p);
		cr_assert(n && n <= PAGES - p);
		for (uint64_t i = 1; i < n; i++)
			cr_assert_eq(model[p + i].kind, model[p].kind);
	}
}

Test(blockmap, set_and_set_zero_at_random_equal_an_array)
{
	uint64_t state = 5;

	cr_assert_eq(blockmap_init(&map, PAGES), 0);
	for (unsigned i = 0; i < 400; i++) {
		if (rng_below(&state, 40) == 0)
			set_zero(&state);
		else
			set_one(&state);
		compare();
	}
	blockmap_fini(&map);
}

/* A log's record may claim as many, and a hostile one does. */
Test(blockmap, zero_run_of_tebibytes_takes_no_memory_a_page)
{
	cr_assert_eq(blockmap_init(&map, UINT64_C(1) << 30), 0);
	cr_assert_eq(blockmap_set_zero(&map, 3, (UINT64_C(1) << 30) - 5), 0);
	cr_assert_eq(blockmap_run(&map, 3, map.pages), map.pages - 5);
	cr_assert_eq(map.leaf[5], map.leaf[70000]);
	blockmap_fini(&map);
}
