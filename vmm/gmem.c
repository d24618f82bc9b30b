/* SPDX-License-Identifier: Apache-2.0 */
/* Guest RAM: bounds by subtraction, marks after the store. */
#include "gmem.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "platform.h"
#include "util.h"

int gmem_layout(uint64_t bytes, uint64_t region_max,
		struct gmem_region region[GMEM_MAX_REGIONS])
{
	uint64_t gpa = 0, offset = 0;
	int n = 0;

	if (bytes == 0 || bytes % PAGE_BYTES || region_max % PAGE_BYTES)
		return -EINVAL;
	while (offset < bytes) {
		uint64_t len = bytes - offset;

		if (gpa < PLATFORM_GAP_START)
			len = MIN(len, PLATFORM_GAP_START - gpa);
		if (region_max)
			len = MIN(len, region_max);
		if (n == GMEM_MAX_REGIONS)
			return -E2BIG;
		region[n++] = (struct gmem_region){ gpa, len, offset };
		offset += len;
		gpa += len;
		if (gpa == PLATFORM_GAP_START)
			gpa = PLATFORM_GAP_END;
	}
	return n;
}

static uint64_t mark_words(const struct gmem *m)
{
	return (m->bytes / PAGE_BYTES + 63) / 64;
}

static void *map_zeroed(void *at, size_t len)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	return mmap(at, len, PROT_READ | PROT_WRITE,
		    flags | (at ? MAP_FIXED : 0), -1, 0);
}

int gmem_init(struct gmem *m, const struct gmem_region *region, unsigned n)
{
	void *p;

	memset(m, 0, sizeof(*m));
	if (n == 0 || n > GMEM_MAX_REGIONS)
		return -EINVAL;
	memcpy(m->region, region, n * sizeof(*region));
	m->nregions = n;
	for (unsigned i = 0; i < n; i++)
		m->bytes += region[i].bytes;
	p = map_zeroed(NULL, m->bytes);
	if (p == MAP_FAILED)
		return -errno;
	m->base = p;
	/* Guest RAM has no place in a core dump. Transparent huge pages stay
	 * off by default: the dirty log works on 4 KiB pages anyway. */
	if (madvise(m->base, m->bytes, MADV_DONTDUMP))
		return -errno;
	p = map_zeroed(NULL, mark_words(m) * sizeof(uint64_t));
	if (p == MAP_FAILED)
		return -errno;
	m->marks = p;
	return 0;
}

void gmem_fini(struct gmem *m)
{
	if (m->marks)
		munmap((void *)m->marks, mark_words(m) * sizeof(uint64_t));
	if (m->base)
		munmap(m->base, m->bytes);
	memset(m, 0, sizeof(*m));
}

int gmem_clear(struct gmem *m)
{
	if (map_zeroed(m->base, m->bytes) == MAP_FAILED ||
	    madvise(m->base, m->bytes, MADV_DONTDUMP))
		return -errno;
	for (uint64_t w = 0; w < mark_words(m); w++)
		atomic_store(&m->marks[w], ~UINT64_C(0));
	return 0;
}

/* The offset in RAM space of [a, a + len), or -1. */
static int64_t offset_of(const struct gmem *m, gpa_t a, size_t len)
{
	for (unsigned i = 0; i < m->nregions; i++) {
		const struct gmem_region *r = &m->region[i];
		uint64_t end = r->bytes;

		if (a.v < r->gpa || a.v - r->gpa >= r->bytes)
			continue;
		/* Regions that go on in both spaces are one stretch. */
		for (unsigned j = i + 1;
		     j < m->nregions && m->region[j].gpa == r->gpa + end &&
		     m->region[j].offset == r->offset + end;
		     j++)
			end += m->region[j].bytes;
		if (!range_within(a.v - r->gpa, len, end))
			return -1;
		return (int64_t)(r->offset + (a.v - r->gpa));
	}
	return -1;
}

static void mark(struct gmem *m, uint64_t offset, size_t len)
{
	uint64_t first = offset / PAGE_BYTES;
	uint64_t last = (offset + len - 1) / PAGE_BYTES;

	/* Always a locked OR, even where the bit is set: a plain test could
	 * pass the store that it answers for, and a capture that takes the
	 * mark in between would copy the page without that store. */
	for (uint64_t p = first; p <= last; p++)
		atomic_fetch_or(&m->marks[p / 64], UINT64_C(1) << (p % 64));
}

int gmem_read(const struct gmem *m, gpa_t a, void *dst, size_t len)
{
	int64_t at = len ? offset_of(m, a, len) : 0;

	if (at < 0)
		return -EFAULT;
	if (len)
		memcpy(dst, m->base + at, len);
	return 0;
}

int gmem_write(struct gmem *m, gpa_t a, const void *src, size_t len)
{
	int64_t at = len ? offset_of(m, a, len) : 0;

	if (at < 0)
		return -EFAULT;
	if (len) {
		memcpy(m->base + at, src, len);
		mark(m, (uint64_t)at, len);
	}
	return 0;
}

int gmem_fill(struct gmem *m, gpa_t a, uint8_t byte, size_t len)
{
	int64_t at = len ? offset_of(m, a, len) : 0;

	if (at < 0)
		return -EFAULT;
	if (len) {
		memset(m->base + at, byte, len);
		mark(m, (uint64_t)at, len);
	}
	return 0;
}

/*
 * Empties a stretch of RAM space; what is behind it decides how. Today all of
 * RAM is anonymous. Where a private mapping of a file is (a restored VM),
 * MADV_DONTNEED would bring the file's bytes back: there it has to be
 * map_zeroed over it, and MADV_DONTDUMP, as gmem_clear does.
 */
static int empty(struct gmem *m, uint64_t offset, uint64_t len)
{
	return madvise(m->base + offset, len, MADV_DONTNEED) ? -errno : 0;
}

int gmem_discard(struct gmem *m, gpa_t a, uint64_t len)
{
	int64_t at;
	int err;

	if (a.v % PAGE_BYTES || len % PAGE_BYTES)
		return -EINVAL;
	at = len ? offset_of(m, a, len) : 0;
	if (at < 0)
		return -EFAULT;
	if (!len)
		return 0;
	err = empty(m, (uint64_t)at, len);
	/* After it, and also when it failed half way: KVM's log sees none of
	 * this. */
	mark(m, (uint64_t)at, len);
	return err;
}

void *gmem_borrow(struct gmem *m, gpa_t a, size_t len)
{
	int64_t at = len ? offset_of(m, a, len) : -1;

	return at < 0 ? NULL : m->base + at;
}

void gmem_return(struct gmem *m, gpa_t a, size_t written)
{
	int64_t at = written ? offset_of(m, a, written) : -1;

	if (at >= 0)
		mark(m, (uint64_t)at, written);
}

void gmem_wrote(struct gmem *m, const void *lent, size_t written)
{
	uint64_t at = (uint64_t)((const uint8_t *)lent - m->base);

	assert(range_within(at, written, m->bytes));
	if (written)
		mark(m, at, written);
}

uint64_t gmem_take_marks(struct gmem *m, uint64_t word)
{
	/* Most are zero, and a look is ten times as cheap. */
	if (word >= mark_words(m) || !atomic_load(&m->marks[word]))
		return 0;
	return atomic_exchange(&m->marks[word], 0);
}
