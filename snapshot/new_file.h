/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that has its name only when it is complete and durable:
 *
 *   new_file_create -> write to fd -> new_file_commit
 *                      new_file_discard at any time, also after a failure
 *
 * Until then it has no name at all, so that it goes with the process, whatever
 * ends that; where the file system cannot do so, it has one that begins with
 * NEW_FILE_TEMP, which a process that is killed leaves. Nothing is ever
 * replaced, but by new_file_replace.
 *
 * Any thread, each file by one at a time.
 */
#ifndef TINTYPE_NEW_FILE_H
#define TINTYPE_NEW_FILE_H

#include <limits.h>

#include "fileio.h"

#define NEW_FILE_TEMP ".tintype-"

struct new_file {
	int fd; /* for reading and writing; empty at first */
	int dir;
	char name[NAME_MAX + 1];
	char temp[32]; /* "": none */
	char path[FILE_NAME_TEXT];
};
#define NEW_FILE_NONE                                                          \
	{                                                                      \
		.fd = -1, .dir = -1                                            \
	}

/* `f` is NEW_FILE_NONE; `mode` as open(2) has it. 0, or -errno with `why`:
 * -EEXIST when the name is taken. */
int new_file_create(struct new_file *f, const char *path, unsigned mode,
		    struct fail *why);

/* The same in an open directory, which is borrowed during the call; whether the
 * name is taken is found out at the end. `path` is for messages. */
int new_file_create_in(struct new_file *f, int dir, const char *name,
		       const char *path, unsigned mode, struct fail *why);

/* Syncs the file, gives it its name and syncs the directory. 0, or -errno with
 * `why`, and the name is not there, or another's. */
int new_file_commit(struct new_file *f, struct fail *why);

/* The same, in the place of what has the name now: after a crash the name is
 * the one's or the other's. After a failure it may be either, too. */
int new_file_replace(struct new_file *f, struct fail *why);

/* Gives the open file `fd`, which may have no name, another one: 0 or -errno;
 * -EEXIST: the name is taken. Nothing is synced. */
int new_file_link(int fd, int dir, const char *name);

/* Closes it; without a commit nothing is left. */
void new_file_discard(struct new_file *f);

#endif
