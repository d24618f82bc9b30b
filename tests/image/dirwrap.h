/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store asks of directories and files, seen and bent by a test, as
 * wrap.h is for the content of files: programs that link dirwrap.c are linked
 * with --wrap for each of these calls. Calls that are made inside of a hook are
 * not seen.
 */
#ifndef TINTYPE_DIRWRAP_H
#define TINTYPE_DIRWRAP_H

enum dir_kind {
	DIR_MKDIR,
	DIR_OPEN,
	DIR_LINK,
	DIR_RENAME,
	DIR_UNLINK,
	DIR_SYNC,      /* fsync */
	DIR_DATA_SYNC, /* fdatasync */
	DIR_WRITE,
	DIR_RESERVE, /* fallocate */
	DIR_FCNTL,
	DIR_MEMORY, /* malloc and its like */
	DIR_KINDS
};
extern const char *const dir_kind_names[DIR_KINDS];

/* `fd`: the directory, or the file; `to` of link and rename. */
struct dir_call {
	enum dir_kind kind;
	int fd;
	const char *name;
	int to_fd;
	const char *to;
	int flags; /* of open; the command of fcntl */
};

/* Asked before each call: 0, or the errno that it fails with. */
extern int (*dir_before)(const struct dir_call *c);
/* Told of each that has succeeded. */
extern void (*dir_after)(const struct dir_call *c);

#endif
