/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One disk's head, and what it lies on: frozen heads, an image, a raw file.
 *
 * Owner: the thread that builds the VM, then the I/O thread, but for what says
 * another. 0 or -errno with `why`.
 */
#ifndef TINTYPE_DISK_CHAIN_H
#define TINTYPE_DISK_CHAIN_H

#include "disk_open.h"
#include "head.h"

struct disk_chain;

struct disk_chain_config {
	const char *id;			/* outlives the chain */
	const struct disk_files *files; /* base is borrowed */
	struct layer_set *layers;	/* outlives the chain */
};

/* Takes over the fds of the heads: files->head and files->below. */
int disk_chain_open(struct disk_chain **out, const struct disk_chain_config *c,
		    struct fail *why);
/* `empty`: its heads' files are cut to nothing. The head in use is closed by
 * its disk. NULL: nothing. */
void disk_chain_close(struct disk_chain *c, bool empty);

struct head *disk_chain_head(const struct disk_chain *c);

#endif
