/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies disks into layers and raw files, and compares them. All go through the
 * disk once, in ascending order; what is known to be zero or the same is not
 * read.
 *
 * Owner: one thread. Errors: as disk_view.h for what is read, and what the file
 * system says of what is written; -ECANCELED with `why`. Memory: 2 MiB.
 */
#ifndef TINTYPE_DISK_COPY_H
#define TINTYPE_DISK_COPY_H

#include "disk_view.h"
#include "draft.h"

/* Called now and then with the bytes of the disk that are done and all of them.
 * Not 0 cancels. `fn` may be NULL. */
struct disk_progress {
	int (*fn)(void *ctx, uint64_t done, uint64_t of);
	void *ctx;
};

/* Puts all of the disk into a draft, which is that large and holds nothing yet;
 * `over`: it lies on something. */
int disk_import(struct draft *d, const struct disk_view *from, bool over,
		const struct disk_progress *p, struct fail *why);

/* Writes the disk to a file that is empty; what is zero becomes a hole. `name`
 * is for messages. */
int disk_export(int fd, const char *name, const struct disk_view *from,
		const struct disk_progress *p, struct fail *why);
/* The same for a file that cannot seek. */
int disk_stream(int fd, const char *name, const struct disk_view *from,
		const struct disk_progress *p, struct fail *why);

struct disk_difference {
	uint64_t first; /* byte */
	uint64_t pages; /* of the larger one; 0: the same */
};

/*
 * Compares two disks; what the smaller one has not counts as zero. `range` is
 * called for each run of pages that differ, joined as far as they can be, and
 * ends it when it returns not 0; may be NULL. Pages that both have from one
 * place of one file are not read. (To compare copies of a layer with each
 * other, open them in two sets: a set has each layer once.)
 */
int disk_compare(const struct disk_view *a, const struct disk_view *b,
		 int (*range)(void *ctx, uint64_t page, uint64_t count),
		 void *ctx, const struct disk_progress *p,
		 struct disk_difference *diff, struct fail *why);

#endif
