/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of a VM's RAM have changed since its last snapshot: KVM's dirty
 * log, which sees the guest's and KVM's own writes, and gmem's marks, which see
 * ours.
 *
 *   off ── dirty_start ──► on: `since` is all of RAM
 *   on ── dirty_take ──► what has changed is added to `since`
 *   on ── dirty_forget ──► `since` is empty, or what the caller knows
 *
 * Nothing but dirty_forget takes a page out of `since`: a capture that fails
 * loses none.
 *
 * Owner: one thread at a time. 0 or -errno of KVM.
 */
#ifndef TINTYPE_DIRTY_H
#define TINTYPE_DIRTY_H

#include <stdbool.h>
#include <stdint.h>

struct gmem;

struct dirty {
	struct gmem *ram;
	int vm_fd;
	uint64_t pages, words;
	uint64_t *since; /* one bit a page of RAM space */
	uint64_t *log;	 /* what KVM says of one slot */
	uint64_t bytes;	 /* of both together, which are one mapping */
	bool on;
};

/* Memory is reserved, not taken. */
int dirty_init(struct dirty *d, struct gmem *ram, int vm_fd);
void dirty_fini(struct dirty *d);

/* Every slot's log is switched on; the machine may run. Does nothing when it is
 * on. */
int dirty_start(struct dirty *d);
/* Takes KVM's log and the marks. What is written meanwhile is found by this
 * call or the next. */
int dirty_take(struct dirty *d);
/* RAM is now what a snapshot has: dirty_take was called, and nothing has run
 * since. */
void dirty_forget(struct dirty *d);

bool dirty_is(const struct dirty *d, uint64_t page);
uint64_t dirty_count(const struct dirty *d);

#endif
