/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a log that a ringlog writes meanwhile: when that is full it moves its
 * newer half to the front and cuts the rest, in place. So the last bytes that
 * were read are kept, and when they are no longer where they were, they are
 * looked for again.
 *
 * Owner: one thread.
 */
#ifndef TINTYPE_LOGTAIL_H
#define TINTYPE_LOGTAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOGTAIL_BYTES 4096

struct logtail {
	int fd;		/* not owned */
	uint64_t limit; /* the ringlog's */
	uint64_t at;	/* the next byte to read */
	uint8_t tail[LOGTAIL_BYTES];
	size_t ntail;  /* how many of the last bytes read it holds */
	unsigned lost; /* how often the place was not found again */
};

void logtail_init(struct logtail *t, int fd, uint64_t limit);

/* Hands all that is new to `put`, in pieces; returns when there is no more. 0,
 * or -errno, or what `put` returned when that is not 0. */
int logtail_read(struct logtail *t,
		 int (*put)(void *ctx, const uint8_t *data, size_t len),
		 void *ctx);

#endif
