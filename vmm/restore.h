/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine that goes on from a snapshot instead of a boot.
 *
 * Owner: the I/O thread.
 */
#ifndef TINTYPE_RESTORE_H
#define TINTYPE_RESTORE_H

#include "image.h"
#include "machine.h"

struct restore {
	/* Their layers are open; state.bytes: rounded up, as all images. */
	struct image memory, state;
	struct machine_restore how;
	bool force_cpu;
	const struct boot_source *src; /* for later resets */
};

/*
 * Pages that differ from the snapshot then, as a new identity does, are marked.
 * Into a NEW machine, which is QUIESCED then. All metadata and all of the state
 * is judged before the machine is touched; memory is read in full, each page
 * compared with its sum. EXIT_INTEGRITY, EXIT_INCOMPATIBLE. After a failure the
 * machine can only be destroyed.
 */
int restore_new(struct machine *m, const struct restore *r, struct fail *why);

#endif
