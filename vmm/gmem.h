/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM: the only way from a guest-physical address to bytes.
 *
 * All RAM of a VM is one host mapping, "RAM space", numbered from 0 without
 * the gap; regions say where its parts appear to the guest. A page's number in
 * RAM space is its number in a memory image.
 *
 * KVM's dirty log does not see our own stores: every write through this file
 * sets a mark, which a capture ORs to KVM's log.
 *
 * Owner: created and destroyed by the machine's thread; all else may be called
 * from any thread. Two threads writing the same bytes race as two CPUs would.
 */
#ifndef TINTYPE_GMEM_H
#define TINTYPE_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A struct, so that nobody dereferences or adds to it by accident. */
typedef struct {
	uint64_t v;
} gpa_t;

#define GPA(x) ((gpa_t){ (x) })

#define GMEM_MAX_REGIONS 16

struct gmem_region {
	uint64_t gpa;	 /* page aligned */
	uint64_t bytes;	 /* whole pages */
	uint64_t offset; /* where it starts in RAM space */
};

struct gmem {
	uint8_t *base; /* RAM space in this process; private to gmem.c */
	uint64_t bytes;
	unsigned nregions;
	struct gmem_region region[GMEM_MAX_REGIONS]; /* by ascending gpa */
	_Atomic uint64_t *marks; /* one bit a page of RAM space */
};

/*
 * Lays `bytes` of RAM (whole pages, not 0) around the gap below 4 GiB, in
 * regions of at most `region_max` bytes (0: no limit). Returns how many
 * regions, or -E2BIG when GMEM_MAX_REGIONS do not suffice, -EINVAL.
 */
int gmem_layout(uint64_t bytes, uint64_t region_max,
		struct gmem_region region[GMEM_MAX_REGIONS]);

/*
 * Maps zeroed private RAM for the regions given, reserving no memory for it;
 * it stays out of core dumps. -ENOMEM when the address space or the
 * overcommit limit refuses. On failure `m` may still be passed to gmem_fini.
 */
int gmem_init(struct gmem *m, const struct gmem_region *region, unsigned n);
void gmem_fini(struct gmem *m);

/* All of RAM becomes zero again and every page is marked dirty. The vCPUs are
 * parked. 0 or -errno. */
int gmem_clear(struct gmem *m);

/* 0, or -EFAULT (and nothing done) unless the whole range lies in one
 * stretch of RAM; stretches that touch in guest-physical space count as one
 * only if they also touch in RAM space. len 0 is 0 for any address. */
int gmem_read(const struct gmem *m, gpa_t a, void *dst, size_t len);
int gmem_write(struct gmem *m, gpa_t a, const void *src, size_t len);
int gmem_fill(struct gmem *m, gpa_t a, uint8_t byte, size_t len);

/*
 * Lends guest bytes to host I/O; NULL outside RAM or for len 0. They stay
 * valid until the machine is destroyed, but are the guest's: read each once.
 * gmem_return marks the first `written` bytes dirty, after the write is done;
 * 0 if they were only read.
 */
void *gmem_borrow(struct gmem *m, gpa_t a, size_t len);
void gmem_return(struct gmem *m, gpa_t a, size_t written);

/* gmem_return for who has kept only the pointer that was lent, or one into it.
 */
void gmem_wrote(struct gmem *m, const void *lent, size_t written);

/*
 * The guest needs the content of these pages no more: they read zero from now
 * on, hold no memory of the host until they are touched again, and are marked
 * dirty. 0; -EINVAL unless address and length are whole pages; -EFAULT as
 * above; or -errno of the kernel, and then some may have been discarded. What
 * was borrowed stays valid. It takes about 1 us for each page that held memory,
 * and 5 for a page alone: the caller bounds `len`.
 */
int gmem_discard(struct gmem *m, gpa_t a, uint64_t len);

/* Our own marks of 64 pages of RAM space, taken and cleared in one step, for
 * the capture engine; 0 beyond the end. */
uint64_t gmem_take_marks(struct gmem *m, uint64_t word);

#endif
