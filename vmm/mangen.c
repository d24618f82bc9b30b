/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Build-time: joins a verb's row of the table (NAME, SYNOPSIS, OPTIONS) and its
 * hand-written part (docs/man/PAGE.scd: DESCRIPTION first) to a page for scdoc
 * on stdout. PAGE is the verb with a dash for a space: image-create. `mangen
 * tintype FILE` makes the page of the whole program, `mangen image FILE` that
 * of a noun: these list verbs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verbs.h"

/* scdoc's own signs. */
static void print_escaped(const char *s)
{
	for (; *s; s++) {
		if (strchr("*_\\~<>#", *s))
			putchar('\\');
		putchar(*s);
	}
}

struct page {
	const char *name;	 /* "image-create" */
	const struct verb *verb; /* or NULL */
	const struct noun *noun; /* neither: the whole program */
};

static void print_head(const struct page *p)
{
	const char *dash = p->verb || p->noun ? "-" : "";
	const char *name = *dash ? p->name : "";
	const struct verb *v = p->verb;

	printf("tintype%s%s(1) \"tintype\"\n\n# NAME\n\n", dash, name);
	printf("tintype%s%s - ", dash, name);
	print_escaped(v		? v->summary
		      : p->noun ? p->noun->summary
				: "a minimal KVM hypervisor");
	printf("\n\n# SYNOPSIS\n\n");
	if (!v) {
		printf("*tintype%s%s* _VERB_ [_OPTIONS_] [_OPERANDS_]\n\n",
		       *dash ? " " : "", name);
		return;
	}
	printf("*tintype %s*", v->name);
	if (v->noptions)
		printf(" [_OPTIONS_]");
	if (v->operands)
		printf(" %s", v->operands);
	if (v->rest)
		printf(" [*--* %s]", v->rest);
	printf("\n\n");
}

static void print_options(const struct verb *v)
{
	if (!v->noptions)
		return;
	printf("# OPTIONS\n\n");
	for (unsigned i = 0; i < v->noptions; i++) {
		const struct option_row *r = &v->options[i];

		if (r->letter)
			printf("*-%c*, ", r->letter);
		printf("*--%s*", r->name);
		if (r->argument)
			printf(r->optional ? "[=_%s_]" : " _%s_", r->argument);
		printf("\n\t");
		print_escaped(r->help);
		printf(".%s\n\n", r->repeatable ? " May be repeated" : "");
	}
}

/* Of that noun; NULL: all. */
static void print_verbs(const struct noun *n)
{
	printf("# VERBS\n\n");
	for (unsigned i = 0; i < tintype_verbs.nverbs; i++) {
		const struct verb *v = &tintype_verbs.verbs[i];
		char page[VERB_PAGE_MAX];

		if (n && !verb_word(v, n))
			continue;
		verb_page(v, page);
		printf("*%s*\n\t", v->name);
		print_escaped(v->summary);
		printf(". See *tintype-%s*(1).", page);
		for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
			printf(a ? ", *%s*" : " Also *%s*", v->aliases[a]);
		printf("%s\n\n", v->aliases[0] ? "." : "");
	}
}

static void print_tail(const struct page *p)
{
	printf("# SEE ALSO\n\n%s\n",
	       p->verb || p->noun ? "*tintype*(1)" : "*tintype-run*(1)");
}

/* The table's part goes between DESCRIPTION and what follows it. */
static int join(const struct page *p, FILE *f)
{
	char line[1024];
	unsigned sections = 0;

	print_head(p);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "# ", 2) && ++sections == 2) {
			if (p->verb)
				print_options(p->verb);
			else
				print_verbs(p->noun);
		}
		fputs(line, stdout);
	}
	printf("\n");
	print_tail(p);
	if (sections < 2) {
		fprintf(stderr, "mangen: a page wants DESCRIPTION and at least "
				"one section after it\n");
		return EXIT_FAILURE;
	}
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static const struct verb *verb_of_page(const char *page)
{
	char own[VERB_PAGE_MAX];

	for (unsigned i = 0; i < tintype_verbs.nverbs; i++) {
		verb_page(&tintype_verbs.verbs[i], own);
		if (!strcmp(own, page))
			return &tintype_verbs.verbs[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct page p = { .name = argv[1] };
	FILE *f;

	if (argc != 3) {
		fprintf(stderr, "usage: mangen PAGE FILE\n");
		return EXIT_FAILURE;
	}
	p.verb = verb_of_page(p.name);
	p.noun = noun_find(&tintype_verbs, p.name);
	f = fopen(argv[2], "r");
	if (!f || (!p.verb && !p.noun && strcmp(p.name, "tintype"))) {
		fprintf(stderr, "mangen: %s\n",
			f ? "no such verb" : "no such file");
		return EXIT_FAILURE;
	}
	return join(&p, f);
}
