/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds layers in a directory: by their id, whatever their files are called,
 * and heads by their uid. A file whose name is the id in full is looked for
 * first; only when it is not there, or says something else, all regular files
 * of the directory are looked at, once (16 us each). Symbolic links are not
 * followed.
 *
 * What is found is what the file says; layer_open and head_open judge it.
 *
 * Owner: one thread. Memory: 64 bytes a layer or head, and its name.
 */
#ifndef TINTYPE_LAYER_DIR_H
#define TINTYPE_LAYER_DIR_H

#include "fileio.h"
#include "layer.h"

struct layer_dir;

struct layer_dir_file {
	int fd; /* read-only; the caller's */
	bool sealed;
	char name[FILE_NAME_TEXT]; /* with the directory, for messages */
};

/* The directory in which the file `path` is. */
int layer_dir_open(struct layer_dir **d, const char *path, struct fail *why);
void layer_dir_close(struct layer_dir *d);

/* A file of the directory that could not be opened when it was gone through,
 * and may be what was not found: NULL when there was none. */
const char *layer_dir_unreadable(const struct layer_dir *d);

/* 0, -ENOENT (it is not there), or -errno; `f` is only filled with 0. */
int layer_dir_find_id(struct layer_dir *d, const struct object_id *id,
		      struct layer_dir_file *f);
int layer_dir_find_uid(struct layer_dir *d, const uint8_t uid[UID_BYTES],
		       struct layer_dir_file *f);

/*
 * As layer_link: opens what the layers of the set import, from number `first`
 * on, and theirs, each named by its file. One that is not there is no failure
 * before something needs it. After a failure it goes on, so that all is linked
 * that can be; the first one is returned.
 */
int layer_dir_link(struct layer_dir *d, struct layer_set *s, unsigned first,
		   struct fail *why);

#endif
