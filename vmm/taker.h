/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The taker: makes one snapshot of one running VM, as docs/capture-protocol.md
 * has it. The VM writes what the snapshot holds; whatever gets a name or an
 * fsync of a directory is done here.
 *
 * When taker_take has failed there is no snapshot, the guest runs on, and no
 * file is left that the VM does not use or the next taker, or the collector,
 * does not take away.
 *
 * Owner: one thread, not in the sandbox; SIGPIPE may do what it likes.
 */
#ifndef TINTYPE_TAKER_H
#define TINTYPE_TAKER_H

#include "home.h"
#include "store.h"

struct taker_request {
	const char *name; /* of the snapshot; NULL: made up */
	bool disks_only;  /* no memory, no state */
	bool end;	  /* the VM ends with it */
	const char *description, *created_by, *reason; /* NULL: none */
	const struct ref_label *label;
	unsigned nlabels;
	uint64_t expiry_ns; /* since 1970; 0: none */
	/* Called now and then with the bytes of memory that are done, and of
	 * all; not 0 cancels: EXIT_CANCELLED. May be NULL. */
	int (*progress)(void *ctx, uint64_t done, uint64_t of);
	void *ctx;
};

struct taken {
	char name[RECORD_NAME_MAX + 1];
	struct object_id manifest;
	uint64_t pause_ns; /* how long the guest stood still */
};

/*
 * Takes it. EXIT_CONFLICT: the name is taken, or another capture of that VM is
 * being made; EXIT_WRONG_STATE: the VM does not run, or ended meanwhile;
 * EXIT_NO_SPACE; and what the VM says. The store's lock is dropped.
 */
int taker_take(struct store *s, const struct vm_dir *d,
	       const struct taker_request *r, struct taken *out,
	       struct fail *why);

#endif
