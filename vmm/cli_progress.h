/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For verbs that may take long: how far they are, on stderr once a second and
 * not before one has passed; and Ctrl-C, which asks them to stop and leave
 * nothing. A second Ctrl-C ends the process at once.
 *
 * Owner: the main thread; one at a time.
 */
#ifndef TINTYPE_CLI_PROGRESS_H
#define TINTYPE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "fail.h"
#include "options.h"

enum progress_mode {
	PROGRESS_AUTO, /* a line that changes, if stderr is a terminal */
	PROGRESS_PLAIN,
	PROGRESS_JSON,
	PROGRESS_NONE,
};

struct cli_progress {
	enum progress_mode mode;
	const char *what; /* "web.img" */
	uint64_t next_ns; /* when to say something again */
	bool shown;	  /* there is a line on the terminal */
};

#define PROGRESS_ROW                                                           \
	{                                                                      \
		.name = "progress", .argument = "MODE",                        \
		.values = "auto plain json none",                              \
		.help = "how far it is, on stderr: auto (the default), "       \
			"plain, json, none"                                    \
	}

/* By the option --progress; from now on SIGINT, SIGTERM and SIGHUP cancel,
 * those that were not ignored. 0, or -EINVAL. */
int cli_progress_begin(struct cli_progress *p, const struct options *o,
		       const char *what, struct fail *why);
/* Bytes that are done, of all (0: not known yet). True when it is to stop; fits
 * the callbacks of snapshot/. */
int cli_progress_tell(void *progress, uint64_t done, uint64_t of);
/* Takes the line away. */
void cli_progress_end(struct cli_progress *p);

/* 0, or -ECANCELED with `why` after one of the signals. */
int cli_cancelled(const char *object, struct fail *why);

#endif
