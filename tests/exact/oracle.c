/* SPDX-License-Identifier: Apache-2.0 */
/* Full copies of RAM, compared page by page, against log and marks. */
#include "oracle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm.h"
#include "machine_impl.h"
#include "util.h"

static uint64_t *reported; /* one bit a page of RAM space */
static uint64_t words;

static void log_on(struct machine *m, unsigned slot,
		   const struct gmem_region *r)
{
	struct kvm_userspace_memory_region u = {
		.slot = slot,
		.flags = KVM_MEM_LOG_DIRTY_PAGES,
		.guest_phys_addr = r->gpa,
		.memory_size = r->bytes,
		.userspace_addr = (uint64_t)(uintptr_t)gmem_borrow(
		    &m->ram, GPA(r->gpa), r->bytes),
	};

	if (kvm_set_user_memory_region(m->vm_fd, &u))
		abort();
}

/* A slot's bits begin in the middle of a word of RAM space, perhaps. */
static void report(uint64_t first, const uint64_t *bits, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (bits[i / 64] >> i % 64 & 1)
			reported[(first + i) / 64] |= 1ull << (first + i) % 64;
}

static void get_log(struct machine *m, unsigned slot,
		    const struct gmem_region *r)
{
	uint64_t n = r->bytes / PAGE_BYTES;
	_cleanup_free_ uint64_t *bits = calloc((n + 63) / 64, 8);
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bits };

	if (!bits || ioctl(m->vm_fd, KVM_GET_DIRTY_LOG, &log))
		abort();
	report(r->offset / PAGE_BYTES, bits, n);
}

static void collect(struct machine *m)
{
	memset(reported, 0, words * 8);
	for (unsigned i = 0; i < m->ram.nregions; i++)
		get_log(m, i, &m->ram.region[i]);
	for (uint64_t w = 0; w < words; w++)
		reported[w] |= gmem_take_marks(&m->ram, w);
}

void oracle_begin(struct machine *m, const struct exact_job *j)
{
	words = (m->ram.bytes / PAGE_BYTES + 63) / 64;
	reported = calloc(words, 8);
	if (!reported)
		abort();
	for (unsigned i = 0; i < m->ram.nregions; i++)
		log_on(m, i, &m->ram.region[i]);
	collect(m);
	exact_ram_take(m, j->ram, NULL, NULL);
}

static void check(void *ctx, uint64_t page)
{
	const struct exact_job *j = ctx;

	j->run->changed++;
	if (!(reported[page / 64] >> page % 64 & 1))
		exact_fail(j->run, "point %llu: page %llu changed unreported",
			   (unsigned long long)j->run->npoints,
			   (unsigned long long)page);
}

uint64_t oracle_take(struct machine *m, const struct exact_job *j)
{
	uint64_t h;

	collect(m);
	h = exact_ram_take(m, j->ram, check, (void *)j);
	if (j->run->error[0])
		_exit(1);
	return h;
}
