/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads an argument vector by a table of options. Long options as --name VALUE
 * or --name=VALUE, letters as -n VALUE, -nVALUE or clustered flags (-aq);
 * operands may stand between options; "--" ends the options.
 *
 * Nothing is copied: the results point into the table and the vector.
 * Errors are exact: which option, what was given, why not, what to give.
 */
#ifndef TINTYPE_OPTIONS_H
#define TINTYPE_OPTIONS_H

#include <stdbool.h>

#include "fail.h"

struct option_row {
	const char *name;     /* without the dashes */
	char letter;	      /* 0: none */
	const char *argument; /* "SIZE"; NULL: a flag */
	bool optional;	      /* the argument may be left out (--name=VALUE) */
	bool repeatable;      /* may be given more than once */
	const char *values;   /* "auto linux64 pvh", for completion; or NULL */
	const char *help;     /* one line, no full stop */
	/* Puts one value into the verb's arguments; NULL where the verb asks
	 * by options_value. 0, or -errno with the message and hint filled: the
	 * caller names the option. */
	int (*set)(void *into, const char *value, struct fail *why);
};

#define OPTIONS_MAX_USES     64
#define OPTIONS_MAX_OPERANDS 64

struct option_use {
	const struct option_row *row;
	const char *value; /* NULL: a flag, or an argument left out */
};

struct options {
	struct option_use use[OPTIONS_MAX_USES];
	unsigned nuses;
	const char *operand[OPTIONS_MAX_OPERANDS];
	unsigned noperands;
	char *const *rest; /* what followed "--", when `keep_rest` */
	unsigned nrest;
	bool has_rest; /* there was a "--" */
};

struct options_table {
	const struct option_row *rows;
	unsigned nrows;
	bool keep_rest;	  /* what follows "--" is not operands but the rest */
	const char *verb; /* for messages */
};

/* 0, or -EINVAL with `why` (EXIT_USAGE). */
int options_parse(struct options *o, const struct options_table *t, int argc,
		  char *const *argv, struct fail *why);

/* Calls each used row's `set`, in the order given. */
int options_apply(const struct options *o, const struct options_table *t,
		  void *into, struct fail *why);

/* The last use of the option, or NULL. `name` is one of the table's. */
const struct option_use *options_find(const struct options *o,
				      const char *name);
bool options_has(const struct options *o, const char *name);

/* The word that `given` was probably meant to be, or NULL: at most two
 * letters inserted, removed, changed or swapped. */
const char *options_nearest(const char *given,
			    const char *(*word)(void *ctx, unsigned i),
			    void *ctx);

#endif
