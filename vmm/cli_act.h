/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verbs that do the same to each of several things: what failed is told, and
 * the others are done all the same. The first failure's code is the verb's.
 * Owner: the main thread.
 */
#ifndef TINTYPE_CLI_ACT_H
#define TINTYPE_CLI_ACT_H

#include "cli.h"

struct acting {
	const struct options *o;
	json_t *done; /* --json: what is printed, an array of names at first */
	/* 0: done; 1: done, and told already; -errno with `why`. */
	int (*act)(struct acting *a, const char *name, struct fail *why);
	uint64_t timeout_s; /* `stop` */
};

/* One of them. All failures but the last are printed as they come; `first` has
 * that, with the first one's code. */
void act_on(struct acting *a, const char *name, struct fail *first);
/* Prints the name of one that was done, or puts it into `done`. */
void act_tell(struct acting *a, const char *name);
/* Prints `done`, and takes it. The exit code, with `first` in `why`. */
int act_finish(struct acting *a, struct fail *first, struct fail *why);

#endif
