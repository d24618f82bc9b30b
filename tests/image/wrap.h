/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the image library asks of the system, seen and bent by a test: programs
 * that link wrap.c are linked with --wrap for each of these calls, so that the
 * product itself has no indirection. A hook is asked before each call and told
 * of it afterwards; calls that are made inside of a hook are not seen.
 */
#ifndef TINTYPE_WRAP_H
#define TINTYPE_WRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum io_kind { IO_READ, IO_WRITE, IO_SYNC, IO_TRUNCATE, IO_PUNCH, IO_KINDS };
extern const char *const io_kind_names[IO_KINDS];

struct io_call {
	enum io_kind kind;
	int fd;
	const void *buf;	 /* IO_WRITE */
	uint64_t offset, length; /* IO_TRUNCATE: offset is the new end */
};

/* What becomes of a call. */
struct io_fate {
	int err;	  /* errno it fails with; 0: it is made */
	uint64_t at_most; /* 0: all of it */
	bool effect;	  /* it fails, and yet it was made */
};

/* NULL: every call is made. */
extern struct io_fate (*io_hook)(const struct io_call *c);
/* True: this allocation fails. NULL: none does. */
extern bool (*alloc_hook)(void);

#endif
