/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a disk or other image, whatever file they are in: a raw file, a
 * layer or a head, with all that it lies on. Only read; heads are recovered in
 * memory.
 *
 * A layer's imports, and what a head lies on, are found in the directory of its
 * file (layer_dir.h).
 *
 * Owner: one thread. Errors: as layer.h and head.h.
 */
#ifndef TINTYPE_DISK_VIEW_H
#define TINTYPE_DISK_VIEW_H

#include "head.h"

enum disk_kind { DISK_RAW, DISK_LAYER, DISK_HEAD };

/*
 * Opens a file for reading and tells by its header what it is; what has none is
 * raw. It is a regular file or a block device. The fd, or -errno with `why`.
 */
int disk_file_open(const char *path, enum disk_kind *kind, struct fail *why);
/* Tells why a file that was found to be raw is no image, or that it has become
 * one since. Never 0. */
int disk_file_no_image(int fd, const char *path, struct fail *why);

struct disk_view;

struct disk_view_options {
	/* Takes the layers; outlives the view. NULL: whatever the file begins
	 * with, it is raw. */
	struct layer_set *set;
	bool only_images;  /* refuse a raw file */
	uint32_t root;	   /* of a layer */
	const char *below; /* the raw file below an image; NULL: none */
};

int disk_view_open(struct disk_view **v, const char *path,
		   const struct disk_view_options *o, struct fail *why);
void disk_view_close(struct disk_view *v);

const char *disk_view_name(const struct disk_view *v);
enum disk_kind disk_view_kind(const struct disk_view *v);
uint64_t disk_view_bytes(const struct disk_view *v);
uint64_t disk_view_pages(const struct disk_view *v); /* rounded up */
/* The file of a raw disk, or that below an image; -1: none. */
int disk_view_raw_fd(const struct disk_view *v);
/* The image that a layer has, or that a head lies on; NULL: none. */
const struct image *disk_view_image(const struct disk_view *v);
/* There may be a raw file below that was not given: the disk began as a head on
 * nothing or on a raw file, and the file does not say which. */
bool disk_view_wants_below(const struct disk_view *v);

/* The run from `page` on, at most `max` pages; both within the view. */
int disk_view_locate(const struct disk_view *v, uint64_t page, uint64_t max,
		     struct where *w, struct fail *why);
/* Reads a run that disk_view_locate gave, or the first pages of it (count and
 * extent cut alike); data is compared with its sums. What is beyond the view's
 * last byte is zero. */
int disk_view_read(const struct disk_view *v, uint64_t page,
		   const struct where *w, void *buf, struct fail *why);
/* The first `count` pages of a run. */
void where_cut(struct where *w, uint64_t count);

#endif
