/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of verbs: what the command line takes. The parser, the help,
 * the man pages and the shell completion are all made from it.
 */
#ifndef TINTYPE_VERBS_H
#define TINTYPE_VERBS_H

#include <stdbool.h>
#include <stdio.h>

#include "fail.h"
#include "options.h"

#define VERB_MAX_ALIASES 3

struct verb {
	const char *name;
	const char *aliases[VERB_MAX_ALIASES]; /* NULL ends them */
	const char *summary;		       /* one line, no full stop */
	const char *operands; /* "VM...", "[VERB]"; NULL: none */
	const char *rest;     /* "INIT-ARGS", what follows "--"; NULL: none */
	unsigned min, max;    /* operands */
	const struct option_row *options;
	unsigned noptions;
	/* The verb. Returns the exit code, with `why` filled when it is a
	 * failure that the user has not been told yet. */
	int (*run)(const struct options *o, struct fail *why);
};

struct verb_table {
	const struct verb *verbs;
	unsigned nverbs;
};

/* What this program can do. Tests have tables of their own. */
extern const struct verb_table tintype_verbs;

/* By name or alias; NULL when there is none. */
const struct verb *verb_find(const struct verb_table *t, const char *name);

/* The parser's table of one verb; points into the verb. */
struct options_table verb_options(const struct verb *v);

/* Parses the words after the verb and checks the number of operands. 0, or
 * -EINVAL with `why`. */
int verb_parse(const struct verb *v, struct options *o, int argc,
	       char *const *argv, struct fail *why);

/* What `help`, `help VERB` and the man pages show. */
void verbs_print_overview(const struct verb_table *t, FILE *f);
void verb_print_synopsis(const struct verb *v, FILE *f);
void verb_print_help(const struct verb *v, FILE *f);

/* "bash", "zsh" or "fish": the completion script. false: no such shell. */
bool verbs_print_completion(const struct verb_table *t, const char *shell,
			    FILE *f);

#endif
