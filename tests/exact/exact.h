/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proofs that a VM is captured and resumed exactly, over the guests of
 * guest/exact. A run is one guest from its start to its end, stopped at some of
 * its exits; a stop is a point. The process that looks on never opens KVM: each
 * machine lives in a child of its own, and what it was goes through memory that
 * they share.
 *
 *   steady  one process, stopped at every exit, goes on
 *   relay   at every point saved, encoded, and gone on with in a new process
 *   random  the same, at moments that have nothing to do with exits
 *   free    never stopped
 */
#ifndef TINTYPE_TESTS_EXACT_H
#define TINTYPE_TESTS_EXACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest_event.h"

struct machine;

/* ---- what is run ---- */

struct exact_case {
	const char *name, *guest, *cmdline;
	bool trace; /* every point is a function of the guest's code */
	unsigned cpus;
	uint64_t memory, region_max; /* 0: 16 MiB, no limit */
	bool rng, balloon, disk, net, vsock;
	bool reads_irr;	 /* sees that a line was raised, though it takes none */
	bool ram_varies; /* in the end, by its peer: not compared */
	/* A finding that is not explained yet: only tried when it is asked for
	 * by its name. */
	const char *finding;
	const char *moment_finding; /* the same, of random moments alone */
	unsigned stride; /* exits a point, 0: 1: where a restore resets
			  * connections, they need some to be made */
};

extern const struct exact_case exact_cases[];
extern const unsigned exact_ncases;
#define EXACT_MAX_CASES 64
const struct exact_case *exact_find(const char *name); /* NULL: none */

/* ---- what was seen ---- */

/* What a point consists of; each has a hash of its own, to name what differs.
 */
enum exact_part {
	PART_EXIT, /* what the guest did, and what it was answered */
	PART_MP_STATE,
	PART_REGS,
	PART_SREGS,
	PART_XSAVE,
	PART_XCRS,
	PART_DEBUGREGS,
	PART_LAPIC,
	PART_EVENTS,
	PART_MSRS,
	PART_PIC,
	PART_IOAPIC,
	PART_DEVICES,
	PART_RAM,
	PARTS
};
extern const char *const exact_part_names[PARTS];

/* Moments that are hard to resume in. */
enum exact_moment {
	SEEN_TIMER_ARMED,
	SEEN_TIMER_EXPIRED,
	SEEN_IRQ_PENDING,
	SEEN_IRQ_IN_SERVICE,
	SEEN_IRQ_INJECTED,
	SEEN_NMI_PENDING,
	SEEN_NMI_MASKED,
	SEEN_WAIT_FOR_SIPI,
	SEEN_HALTED,
	SEEN_EXCEPTION,
	SEEN_SHADOW_STI,
	SEEN_SHADOW_MOV_SS,
	SEEN_SINGLE_STEP,
	SEEN_REP_HALF_WAY,
	SEEN_SECOND_EXIT,
	SEEN_BREAKPOINT_ARMED,
	SEEN_VECTOR_REGISTERS,
	SEEN_REAL_MODE,
	SEEN_PVCLOCK,
	SEEN_REMOTE_IRR,
	SEEN_PIC_IN_SERVICE,
	SEEN_UART_THRE,
	SEEN_DISK_IN_FLIGHT,
	SEEN_NOT_TAKEN,
	SEEN_TSC_DEADLINE,
	SEEN_GUEST_STOPPED,
	SEEN_MTRRS,
	SEEN_VSOCK_CONNECTED,
	MOMENTS
};
struct exact_moment_row {
	const char *name, *why_not; /* where it may be missing */
};
extern const struct exact_moment_row exact_moments[MOMENTS];

struct exact_point {
	uint64_t chain; /* over all points up to this one */
	uint64_t part[PARTS];
};

#define EXACT_MAX_POINTS 16384
#define EXACT_STATE_MAX	 (4u << 20)
#define EXACT_TEXT_MAX	 1024

/* RAM as of a point; all shared. A page's hash is 0 while it is zero. */
struct exact_ram {
	uint8_t *bytes;
	uint64_t *hash; /* one a page of RAM space */
	uint64_t npages;
};

/* One run, shared between the parent and the children. */
struct exact_run {
	uint64_t npoints;
	struct exact_point point[EXACT_MAX_POINTS];
	uint64_t seen[MOMENTS];
	bool ended;
	enum guest_event event;
	uint32_t value;
	uint64_t volatile_first, volatile_end; /* pages */
	uint64_t exits, hop_ns; /* hop_ns: of all, from fork to exit */
	uint64_t changed;	/* pages, by the dirty oracle */
	size_t state_len;
	char error[EXACT_TEXT_MAX]; /* "": none */
	uint8_t state[EXACT_STATE_MAX];
};

/* ---- what a machine in a child does ---- */

/* Where a run's machine gets its host's side from; the parent's, who passes it
 * on from child to child. */
struct exact_host {
	int console; /* a memfd, appended to */
	uint8_t *disk;
	int net, vsock;		       /* -1: none */
	_Atomic uint32_t *connections; /* of the vsock, now */
};
#define EXACT_DISK_BYTES (256u << 10)

struct exact_mutation; /* mutate.h */

struct exact_job {
	const struct exact_case *c;
	const struct exact_host *host;
	struct exact_run *run;
	struct exact_ram *ram;
	bool restore;	 /* begin with run->state and ram */
	uint64_t points; /* stop after so many; UINT64_MAX: at the end */
	enum { STOP_NEVER, STOP_EXITS, STOP_TIMES } stop; /* a point */
	uint64_t seed; /* STOP_TIMES: for how long it runs */
	bool save;     /* in the end: run->state and ram */
	bool poison;   /* the machine, before it is restored */
	bool dirty;    /* check the dirty log at each point */
	const uint8_t *vmgenid;
	struct exact_mutation *mutation; /* shared; NULL: none */
};

/* Does it in a new process; 0, or -1 with run->error. */
int exact_do(const struct exact_job *j);
/* Seconds after which a machine hangs; 0: never. */
extern unsigned exact_hang_s;

/* Does it here; for a child. */
void exact_work(const struct exact_job *j);

/* ---- pieces ---- */

void exact_fail(struct exact_run *run, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Reads the machine, which is stopped, by KVM's own calls: nothing of the code
 * that is to be proven right. */
void exact_look(struct machine *m, struct exact_point *p,
		uint64_t seen[MOMENTS]);
/* Fills registers, MSRs, APICs, devices with legal values that differ. */
void exact_poison(struct machine *m);
/* Brings `ram` up to what the machine has; calls `changed` (or NULL) for each
 * page that differed. The hash of all. */
uint64_t exact_ram_take(struct machine *m, struct exact_ram *ram,
			void (*changed)(void *ctx, uint64_t page), void *ctx);
void exact_ram_give(struct machine *m, const struct exact_ram *ram);
/* Without pages first <= n < end. */
uint64_t exact_ram_hash(const struct exact_ram *ram, uint64_t first,
			uint64_t end);

static inline uint64_t exact_fold(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9fb21c651e98df25;
	return h ^ h >> 29;
}

/* The MSRs that can be read here, and for each a value that it takes besides
 * its own. Found once, in a child. */
#define EXACT_MAX_MSRS 1024
struct exact_msrs {
	uint32_t n;
	struct {
		uint32_t index;
		bool timed;    /* a function of time */
		bool writable; /* takes `other` */
		uint64_t other;
	} msr[EXACT_MAX_MSRS];
};
extern struct exact_msrs *exact_msrs; /* shared */
int exact_msrs_find(void);

void *exact_shared(size_t bytes); /* zeroed, seen by all children */

#endif
