/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a user names a snapshot: VM@NAME; or, of one that there is, the first
 * digits of its id, at least SNAPSHOT_ID_MIN of them.
 *
 * Owner: one thread; not inside the sandbox.
 */
#ifndef TINTYPE_SNAPSHOT_NAME_H
#define TINTYPE_SNAPSHOT_NAME_H

#include "store.h"

#define SNAPSHOT_ID_MIN 4

struct snapshot_name {
	char vm[RECORD_NAME_MAX + 1];
	char name[RECORD_NAME_MAX + 1]; /* "": none was given */
};

/* "VM" or "VM@NAME". EXIT_USAGE. */
int snapshot_name_parse(struct snapshot_name *n, const char *text,
			struct fail *why);
/* Fills in a name, auto-%Y%m%dT%H%M%SZ of now; from the second try on with its
 * number, for who found the one before taken. */
void snapshot_name_make_up(struct snapshot_name *n, unsigned nth);

/* The ref that the text names, which is freed by ref_free. EXIT_NOT_FOUND tells
 * what there is, EXIT_USAGE that an id is not unique. */
int snapshot_find(struct store *s, const char *text, struct ref *r,
		  struct fail *why);

#endif
