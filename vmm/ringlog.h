/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log file that holds the newest output and never more than its limit: when
 * it would pass it, its newer half is moved to the front, from the start of a
 * line where there is one.
 *
 * Owner: one thread at a time.
 */
#ifndef TINTYPE_RINGLOG_H
#define TINTYPE_RINGLOG_H

#include <stddef.h>
#include <stdint.h>

struct ringlog {
	int fd; /* read/write, a regular file; not owned */
	uint64_t bytes, limit;
};

/* Goes on with what the file holds already. `limit` is at least 2. 0, or
 * -errno. */
int ringlog_init(struct ringlog *r, int fd, uint64_t limit);

/* 0; or -errno, with as much appended as could be written. */
int ringlog_append(struct ringlog *r, const void *data, size_t len);

#endif
