/* SPDX-License-Identifier: Apache-2.0 */
/* RAM between machines: only pages that a machine holds are looked at. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "exact.h"
#include "gmem.h"
#include "machine.h"
#include "util.h"

#define PRESENT_OR_SWAPPED (3ull << 62)
#define PIECE		   4096 /* entries of pagemap at once */

static bool is_zero(const uint8_t *p)
{
	return p[0] == 0 && memcmp(p, p + 1, PAGE_BYTES - 1) == 0;
}

static uint64_t page_hash(const uint8_t *p, uint64_t page)
{
	uint64_t h = is_zero(p) ? 0 : XXH3_64bits_withSeed(p, PAGE_BYTES, page);

	return h;
}

struct taking {
	struct exact_ram *ram;
	void (*changed)(void *ctx, uint64_t page);
	void *ctx;
};

static void take_page(const struct taking *t, uint64_t page, const uint8_t *now)
{
	uint8_t *old = t->ram->bytes + page * PAGE_BYTES;

	/* What is zero in both is never touched. */
	if (!t->ram->hash[page] && is_zero(now))
		return;
	if (t->ram->hash[page] && !memcmp(old, now, PAGE_BYTES))
		return;
	memcpy(old, now, PAGE_BYTES);
	t->ram->hash[page] = page_hash(old, page);
	if (t->changed)
		t->changed(t->ctx, page);
}

/* A page that the machine does not hold is zero. */
static void lost_page(const struct taking *t, uint64_t page)
{
	static const uint8_t zero[PAGE_BYTES];

	if (t->ram->hash[page])
		take_page(t, page, zero);
}

static void take_region(int pagemap, const struct gmem_region *r,
			const uint8_t *base, const struct taking *t)
{
	static uint64_t entry[PIECE];
	uint64_t first = r->offset / PAGE_BYTES;

	for (uint64_t at = 0; at < r->bytes / PAGE_BYTES; at += PIECE) {
		uint64_t n = MIN(r->bytes / PAGE_BYTES - at, (uint64_t)PIECE);
		off_t off = (off_t)(((uintptr_t)base / PAGE_BYTES + at) * 8);

		if (pread(pagemap, entry, n * 8, off) != (ssize_t)(n * 8))
			abort();
		for (uint64_t i = 0; i < n; i++)
			if (entry[i] & PRESENT_OR_SWAPPED)
				take_page(t, first + at + i,
					  base + (at + i) * PAGE_BYTES);
			else
				lost_page(t, first + at + i);
	}
}

uint64_t exact_ram_take(struct machine *m, struct exact_ram *ram,
			void (*changed)(void *ctx, uint64_t page), void *ctx)
{
	struct taking t = { ram, changed, ctx };
	struct gmem *g = machine_ram(m);
	static int pagemap = -1;

	if (pagemap < 0)
		pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	for (unsigned i = 0; i < g->nregions; i++) {
		const struct gmem_region *r = &g->region[i];

		take_region(pagemap, r, gmem_borrow(g, GPA(r->gpa), r->bytes),
			    &t);
	}
	return exact_ram_hash(ram, 0, 0);
}

void exact_ram_give(struct machine *m, const struct exact_ram *ram)
{
	struct gmem *g = machine_ram(m);

	for (unsigned i = 0; i < g->nregions; i++) {
		const struct gmem_region *r = &g->region[i];
		uint8_t *to = gmem_borrow(g, GPA(r->gpa), r->bytes);
		uint64_t first = r->offset / PAGE_BYTES;

		for (uint64_t p = 0; p < r->bytes / PAGE_BYTES; p++)
			if (ram->hash[first + p])
				memcpy(to + p * PAGE_BYTES,
				       ram->bytes + (first + p) * PAGE_BYTES,
				       PAGE_BYTES);
	}
}

uint64_t exact_ram_hash(const struct exact_ram *ram, uint64_t first,
			uint64_t end)
{
	uint64_t h = 0;

	for (uint64_t p = 0; p < ram->npages; p++)
		if (p < first || p >= end)
			h ^= ram->hash[p];
	return h;
}
