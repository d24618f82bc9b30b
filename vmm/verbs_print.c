/* SPDX-License-Identifier: Apache-2.0 */
/* Help texts, made from the table of verbs. */
#include "verbs.h"

#define HELP_COLUMN 28

static void print_line(const char *word, const char *summary, FILE *f)
{
	fprintf(f, "  %-11s %s\n", word, summary);
}

/* Those after a noun, or those of one word. */
static void print_verbs(const struct verb_table *t, const struct noun *n,
			FILE *f)
{
	for (unsigned i = 0; i < t->nverbs; i++)
		if (verb_word(&t->verbs[i], n))
			print_line(verb_word(&t->verbs[i], n),
				   t->verbs[i].summary, f);
}

void verbs_print_overview(const struct verb_table *t, FILE *f)
{
	fputs("usage: tintype VERB [OPTIONS] [OPERANDS]\n\n", f);
	print_verbs(t, NULL, f);
	if (t->nnouns)
		fputs("\nThese have verbs of their own:\n\n", f);
	for (unsigned i = 0; i < t->nnouns; i++)
		print_line(t->nouns[i].name, t->nouns[i].summary, f);
	fputs("\n'tintype help VERB' explains one of them; 'man tintype' is "
	      "the manual.\nStart with 'tintype run': it boots a demo guest.\n",
	      f);
}

void noun_print_help(const struct verb_table *t, const struct noun *n, FILE *f)
{
	fprintf(f, "usage: tintype %s VERB [OPTIONS] [OPERANDS]\n\n%s.\n\n",
		n->name, n->summary);
	print_verbs(t, n, f);
	fprintf(f, "\n'tintype help %s VERB' explains one of them.\n", n->name);
}

void verb_print_synopsis(const struct verb *v, FILE *f)
{
	fprintf(f, "tintype %s", v->name);
	if (v->noptions)
		fputs(" [OPTIONS]", f);
	if (v->operands)
		fprintf(f, " %s", v->operands);
	if (v->rest)
		fprintf(f, " [-- %s]", v->rest);
}

/* "-m, --memory SIZE"; the printed length. */
static int print_option(const struct option_row *r, FILE *f)
{
	int n =
	    r->letter ? fprintf(f, "  -%c, ", r->letter) : fprintf(f, "      ");

	n += fprintf(f, "--%s", r->name);
	if (r->argument)
		n += fprintf(f, r->optional ? "[=%s]" : " %s", r->argument);
	return n;
}

void verb_print_help(const struct verb *v, FILE *f)
{
	fputs("usage: ", f);
	verb_print_synopsis(v, f);
	fprintf(f, "\n\n%s.\n", v->summary);
	if (v->noptions)
		fputs("\n", f);
	for (unsigned i = 0; i < v->noptions; i++) {
		int n = print_option(&v->options[i], f);

		if (n >= HELP_COLUMN)
			n = fprintf(f, "\n") - 1;
		fprintf(f, "%*s%s\n", HELP_COLUMN - n, "", v->options[i].help);
	}
	if (v->aliases[0]) {
		fputs("\nAliases:", f);
		for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
			fprintf(f, "%s %s", a ? "," : "", v->aliases[a]);
		fputs("\n", f);
	}
}
