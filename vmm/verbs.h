/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of verbs: what the command line takes. The parser, the help,
 * the man pages and the shell completion are all made from it.
 *
 * A verb is one word, or two of which the first is a noun: "image create". No
 * noun is itself a verb.
 */
#ifndef TINTYPE_VERBS_H
#define TINTYPE_VERBS_H

#include <stdbool.h>
#include <stdio.h>

#include "fail.h"
#include "options.h"

#define VERB_MAX_ALIASES 3

struct verb {
	const char *name;		       /* "run", "image create" */
	const char *aliases[VERB_MAX_ALIASES]; /* in full; NULL ends them */
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

struct noun {
	const char *name;
	const char *summary; /* one line, no full stop */
};

/* What other programs call what we have under another name. */
struct foreign_verb {
	const char *theirs; /* "kill", "image convert" */
	const char *ours;   /* begins with a verb's name: "stop --kill"; */
	const char *hint;   /* or NULL, and what to do instead */
};

struct verb_table {
	const struct verb *verbs;
	unsigned nverbs;
	const struct noun *nouns;
	unsigned nnouns;
	const struct foreign_verb *foreign;
	unsigned nforeign;
};

/* What this program can do. Tests have tables of their own. */
extern const struct verb_table tintype_verbs;

/* NULL when there is none. */
const struct noun *noun_find(const struct verb_table *t, const char *word);

/* By name or alias. `second` is the word that follows, or NULL; it is part of
 * the name when `first` is a noun. NULL when there is none. */
const struct verb *verb_find(const struct verb_table *t, const char *first,
			     const char *second);

/* What is typed for the verb after the noun, or as the first word when `n` is
 * NULL; NULL when the verb has no place there. */
const char *verb_word(const struct verb *v, const struct noun *n);

/* Fills `why`, with the verb that was probably meant, and returns -EINVAL.
 * `second` is not NULL when `first` is a noun. */
int verb_unknown(const struct verb_table *t, const char *first,
		 const char *second, struct fail *why);

/* The parser's table of one verb; points into the verb. */
struct options_table verb_options(const struct verb *v);

/* Parses the words after the verb and checks the number of operands. 0, or
 * -EINVAL with `why`. */
int verb_parse(const struct verb *v, struct options *o, int argc,
	       char *const *argv, struct fail *why);

/* "image-create": the name where it is to be one word, as of a man page. */
#define VERB_PAGE_MAX 64
void verb_page(const struct verb *v, char page[VERB_PAGE_MAX]);

/* What `help`, `help NOUN`, `help VERB` and the man pages show. */
void verbs_print_overview(const struct verb_table *t, FILE *f);
void noun_print_help(const struct verb_table *t, const struct noun *n, FILE *f);
void verb_print_synopsis(const struct verb *v, FILE *f);
void verb_print_help(const struct verb *v, FILE *f);

/* "bash", "zsh" or "fish": the completion script. false: no such shell. */
bool verbs_print_completion(const struct verb_table *t, const char *shell,
			    FILE *f);

#endif
