/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM_GET_DIRTY_LOG without manual protection: it clears what it tells, in the
 * kernel, page by page. So all that it ever told is kept in `since`.
 */
#include "dirty.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "gmem.h"
#include "kvm.h"
#include "platform.h"
#include "util.h"

#define KVM_PAGE_SHIFT 12

static uint64_t words_of(uint64_t pages)
{
	return (pages + 63) / 64;
}

int dirty_init(struct dirty *d, struct gmem *ram, int vm_fd)
{
	void *p;

	*d = (struct dirty){ .ram = ram, .vm_fd = vm_fd };
	d->pages = ram->bytes >> KVM_PAGE_SHIFT;
	d->words = words_of(d->pages);
	d->bytes = 2 * d->words * sizeof(uint64_t);
	p = mmap(NULL, d->bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	d->since = p;
	d->log = d->since + d->words;
	return 0;
}

void dirty_fini(struct dirty *d)
{
	if (d->since)
		munmap(d->since, d->bytes);
	d->since = NULL;
}

static int set_flags(struct dirty *d, unsigned i, uint32_t flags)
{
	const struct gmem_region *r = &d->ram->region[i];
	struct kvm_userspace_memory_region slot = {
		.slot = i,
		.flags = flags,
		.guest_phys_addr = r->gpa,
		.memory_size = r->bytes,
		.userspace_addr = (uint64_t)(uintptr_t)gmem_borrow(
		    d->ram, GPA(r->gpa), r->bytes),
	};

	return kvm_set_user_memory_region(d->vm_fd, &slot);
}

int dirty_start(struct dirty *d)
{
	int r = 0;

	for (unsigned i = 0; i < d->ram->nregions && !d->on && r == 0; i++)
		r = set_flags(d, i, KVM_MEM_LOG_DIRTY_PAGES);
	if (r < 0 || d->on)
		return r;
	d->on = true;
	memset(d->since, 0xff, d->words * sizeof(uint64_t));
	return 0;
}

/* ORs `pages` bits to those from bit `at` on. */
static void or_bits(uint64_t *to, uint64_t at, const uint64_t *from,
		    uint64_t pages)
{
	unsigned shift = at % 64;

	to += at / 64;
	for (uint64_t i = 0; i < words_of(pages); i++) {
		uint64_t left = pages - i * 64;
		uint64_t w = from[i];

		if (!w)
			continue;
		if (left < 64)
			w &= (UINT64_C(1) << left) - 1;
		to[i] |= w << shift;
		if (shift && w >> (64 - shift))
			to[i + 1] |= w >> (64 - shift);
	}
}

static int take_slot(struct dirty *d, unsigned i)
{
	const struct gmem_region *r = &d->ram->region[i];
	uint64_t pages = r->bytes >> KVM_PAGE_SHIFT;
	struct kvm_dirty_log log = { .slot = i, .dirty_bitmap = d->log };
	int err = kvm_get_dirty_log(d->vm_fd, &log);

	if (err < 0)
		return err;
	or_bits(d->since, r->offset >> KVM_PAGE_SHIFT, d->log, pages);
	return 0;
}

int dirty_take(struct dirty *d)
{
	int r = 0;

	for (unsigned i = 0; i < d->ram->nregions && r == 0; i++)
		r = take_slot(d, i);
	for (uint64_t w = 0; w < d->words; w++)
		d->since[w] |= gmem_take_marks(d->ram, w);
	return r;
}

void dirty_forget(struct dirty *d)
{
	memset(d->since, 0, d->words * sizeof(uint64_t));
}

bool dirty_is(const struct dirty *d, uint64_t page)
{
	return page < d->pages && d->since[page / 64] >> (page % 64) & 1;
}

uint64_t dirty_count(const struct dirty *d)
{
	uint64_t n = 0;

	if (!d->on)
		return d->pages;
	for (uint64_t w = 0; w < d->words; w++)
		n += (uint64_t)__builtin_popcountll(d->since[w]);
	return MIN(n, d->pages);
}
