/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shell completion, made from the table of verbs.
 *
 * Each script first completes the word that names a verb or a noun, then the
 * one after a noun, and then, by the whole name, what follows it. After `help`
 * only the first two.
 */
#include "verbs.h"

#include <string.h>

#include "util.h"

static bool takes_vm(const struct verb *v)
{
	return v->operands && strstr(v->operands, "VM");
}

/* The command that lists those VMs, or snapshots, which the verb can be used
 * on. */
static const char *list_of_vms(const struct verb *v)
{
	static const char *const live[] = { "console", "stop", "pause",
					    "resume" };

	for (unsigned i = 0; i < ARRAY_SIZE(live); i++)
		if (!strcmp(v->name, live[i]))
			return "tintype ps --quiet";
	if (strstr(v->operands, "VM@SNAP"))
		return "tintype snapshot list --quiet";
	return "tintype ps --all --quiet";
}

static bool takes_file(const struct option_row *r)
{
	return r->argument &&
	       (!strcmp(r->argument, "FILE") || !strcmp(r->argument, "SOCK") ||
		!strcmp(r->argument, "IMAGE") ||
		!strcmp(r->argument, "PATH,...") ||
		!strcmp(r->argument, "F.json"));
}

static bool operand_is_file(const struct verb *v)
{
	return v->operands &&
	       (strstr(v->operands, "FILE") || strstr(v->operands, "IMAGE"));
}

/* The values of an operand that is none of ours. */
static const char *operand_words(const struct verb *v)
{
	return strcmp(v->name, "completion") ? "" : "bash zsh fish";
}

/* What can stand after the noun, or first. */
static void print_words(const struct verb_table *t, const struct noun *n,
			FILE *f)
{
	for (unsigned i = 0; i < t->nverbs; i++)
		if (verb_word(&t->verbs[i], n))
			fprintf(f, "%s ", verb_word(&t->verbs[i], n));
	for (unsigned i = 0; !n && i < t->nnouns; i++)
		fprintf(f, "%s ", t->nouns[i].name);
}

/* A verb's names as a branch of bash's and zsh's `case`. */
static void print_pattern(const struct verb *v, FILE *f)
{
	fprintf(f, "\t'%s'", v->name);
	for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
		fprintf(f, "|'%s'", v->aliases[a]);
	fputs(")\n", f);
}

/* ---- bash ---- */

static void bash_verb(const struct verb *v, FILE *f)
{
	print_pattern(v, f);
	fputs("\t\tcase $prev in\n", f);
	for (unsigned i = 0; i < v->noptions; i++) {
		const struct option_row *r = &v->options[i];

		if (!r->argument || r->optional)
			continue;
		fprintf(f, "\t\t--%s", r->name);
		if (r->letter)
			fprintf(f, "|-%c", r->letter);
		fputs(") ", f);
		if (takes_file(r))
			fputs("compopt -o filenames 2>/dev/null; "
			      "COMPREPLY=($(compgen -f -- \"$cur\")); "
			      "return;;\n",
			      f);
		else
			fprintf(f,
				"COMPREPLY=($(compgen -W '%s' -- \"$cur\")); "
				"return;;\n",
				r->values ? r->values : "");
	}
	fputs("\t\tesac\n\t\twords='", f);
	for (unsigned i = 0; i < v->noptions; i++)
		fprintf(f, "--%s ", v->options[i].name);
	fprintf(f, "%s'\n", operand_words(v));
	if (takes_vm(v))
		fprintf(f, "\t\twords=\"$words $(%s 2>/dev/null)\"\n",
			list_of_vms(v));
	if (operand_is_file(v))
		fputs("\t\tfiles=1\n", f);
	fputs("\t\t;;\n", f);
}

static void bash_noun(const struct verb_table *t, const struct noun *n, FILE *f)
{
	fprintf(f,
		"\t%s)\n\t\tif [ \"$COMP_CWORD\" -eq $((at + 1)) ]; then\n"
		"\t\t\tCOMPREPLY=($(compgen -W '",
		n->name);
	print_words(t, n, f);
	fprintf(f,
		"' -- \"$cur\"))\n\t\t\treturn\n\t\tfi\n"
		"\t\tverb=\"%s ${COMP_WORDS[at+1]}\"\n\t\t;;\n",
		n->name);
}

static void print_bash(const struct verb_table *t, FILE *f)
{
	fputs("# bash completion of tintype; made by 'tintype completion "
	      "bash'\n_tintype() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]}\n"
	      "\tlocal prev=${COMP_WORDS[COMP_CWORD-1]} words= files= at=1\n"
	      /* "--option=value" is three words to bash. */
	      "\tif [ \"$cur\" = = ]; then\n\t\tcur=\n"
	      "\telif [ \"$prev\" = = ]; then\n"
	      "\t\tprev=${COMP_WORDS[COMP_CWORD-2]}\n\tfi\n"
	      "\tif [ \"$COMP_CWORD\" -gt 1 ] && "
	      "[ \"${COMP_WORDS[1]}\" = help ]; then\n\t\tat=2\n\tfi\n"
	      "\tif [ \"$COMP_CWORD\" -eq \"$at\" ]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W '",
	      f);
	print_words(t, NULL, f);
	fputs("' -- \"$cur\"))\n\t\treturn\n\tfi\n"
	      "\tlocal verb=${COMP_WORDS[at]}\n\tcase $verb in\n",
	      f);
	for (unsigned i = 0; i < t->nnouns; i++)
		bash_noun(t, &t->nouns[i], f);
	fputs("\tesac\n\tif [ \"$at\" -eq 2 ]; then\n\t\treturn\n\tfi\n"
	      "\tcase $verb in\n",
	      f);
	for (unsigned i = 0; i < t->nverbs; i++)
		bash_verb(&t->verbs[i], f);
	fputs("\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	      "\tif [ -n \"$files\" ]; then\n"
	      "\t\tcompopt -o filenames 2>/dev/null\n"
	      "\t\tCOMPREPLY+=($(compgen -f -- \"$cur\"))\n\tfi\n}\n"
	      "complete -F _tintype tintype\n",
	      f);
}

/* ---- zsh ---- */

/* Inside '...' of a shell: our own table holds no backslash. */
static void print_quoted(const char *s, FILE *f)
{
	for (; *s; s++)
		if (*s == '\'')
			fputs("'\\''", f);
		else
			fputc(*s, f);
}

/* zsh's _arguments: brackets and colons in a description are escaped. */
static void print_zsh_text(const char *s, FILE *f)
{
	for (; *s; s++) {
		if (strchr("[]:", *s))
			fputc('\\', f);
		if (*s == '\'')
			fputs("'\\''", f);
		else
			fputc(*s, f);
	}
}

static void zsh_option(const struct option_row *r, FILE *f)
{
	fprintf(f, " \\\n\t\t\t'--%s%s[", r->name,
		!r->argument  ? ""
		: r->optional ? "=-"
			      : "=");
	print_zsh_text(r->help, f);
	fputs("]", f);
	if (r->argument) {
		fprintf(f, "%s%s:", r->optional ? "::" : ":", r->argument);
		if (takes_file(r))
			fputs("_files", f);
		else if (r->values)
			fprintf(f, "(%s)", r->values);
	}
	fputs("'", f);
}

static void zsh_verb(const struct verb *v, FILE *f)
{
	print_pattern(v, f);
	fputs("\t\t_arguments", f);
	for (unsigned i = 0; i < v->noptions; i++)
		zsh_option(&v->options[i], f);
	if (takes_vm(v))
		fprintf(f, " \\\n\t\t\t'*:VM:($(%s 2>/dev/null))'",
			list_of_vms(v));
	else if (operand_is_file(v))
		fputs(" \\\n\t\t\t'*:FILE:_files'", f);
	else if (v->max)
		fprintf(f, " \\\n\t\t\t'1:operand:(%s)'", operand_words(v));
	fputs("\n\t\t;;\n", f);
}

/* 'create:make an image', for _describe. */
static void zsh_word(const char *word, const char *summary, FILE *f)
{
	fprintf(f, "\t\t'%s:", word);
	print_quoted(summary, f);
	fputs("'\n", f);
}

static void zsh_words(const struct verb_table *t, const struct noun *n, FILE *f)
{
	fputs("\tverbs=(\n", f);
	for (unsigned i = 0; i < t->nverbs; i++)
		if (verb_word(&t->verbs[i], n))
			zsh_word(verb_word(&t->verbs[i], n),
				 t->verbs[i].summary, f);
	for (unsigned i = 0; !n && i < t->nnouns; i++)
		zsh_word(t->nouns[i].name, t->nouns[i].summary, f);
	fputs("\t)\n"
	      "\tif (( CURRENT == 2 )); then\n"
	      "\t\t_describe verb verbs\n\t\treturn\n\tfi\n",
	      f);
}

static void print_zsh(const struct verb_table *t, FILE *f)
{
	fputs("#compdef tintype\n# zsh completion of tintype; made by 'tintype "
	      "completion zsh'\n_tintype() {\n"
	      "\tlocal verb helping=\n\tlocal -a verbs\n"
	      "\tif (( CURRENT > 2 )) && [ \"$words[2]\" = help ]; then\n"
	      "\t\thelping=1\n\t\tshift words\n\t\t(( CURRENT-- ))\n\tfi\n",
	      f);
	zsh_words(t, NULL, f);
	fputs("\tverb=$words[2]\n\tshift words\n\t(( CURRENT-- ))\n"
	      "\tcase $verb in\n",
	      f);
	for (unsigned i = 0; i < t->nnouns; i++) {
		fprintf(f, "\t%s)\n", t->nouns[i].name);
		zsh_words(t, &t->nouns[i], f);
		fputs("\tverb=\"$verb $words[2]\"\n\tshift words\n"
		      "\t(( CURRENT-- ))\n\t;;\n",
		      f);
	}
	fputs("\tesac\n\tif [ -n \"$helping\" ]; then\n\t\treturn\n\tfi\n"
	      "\tcase $verb in\n",
	      f);
	for (unsigned i = 0; i < t->nverbs; i++)
		zsh_verb(&t->verbs[i], f);
	fputs("\tesac\n}\nif [ \"$funcstack[1]\" = _tintype ]; then\n"
	      "\t_tintype \"$@\"\nelse\n\tcompdef _tintype tintype\nfi\n",
	      f);
}

/* ---- fish ---- */

/* Begins a rule that holds once the verb was typed. */
static void fish_verb(const struct verb *v, FILE *f)
{
	fprintf(f, "complete -c tintype -n '__tintype_verb \"%s\"", v->name);
	for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
		fprintf(f, " \"%s\"", v->aliases[a]);
	fputs("'", f);
}

static void fish_option(const struct verb *v, const struct option_row *r,
			FILE *f)
{
	fish_verb(v, f);
	fprintf(f, " -l %s", r->name);
	if (r->letter)
		fprintf(f, " -s %c", r->letter);
	if (r->argument && !r->optional)
		fputs(takes_file(r) ? " -r -F" : " -x", f);
	if (r->values)
		fprintf(f, " -a '%s'", r->values);
	fputs(" -d '", f);
	print_quoted(r->help, f);
	fputs("'\n", f);
}

static void fish_operands(const struct verb *v, FILE *f)
{
	fish_verb(v, f);
	if (takes_vm(v))
		fprintf(f, " -a '(%s 2>/dev/null)'\n", list_of_vms(v));
	else if (operand_is_file(v))
		fputs(" -F\n", f);
	else
		fprintf(f, " -a '%s'\n", operand_words(v));
}

/* A word that can stand after the noun, or first. */
static void fish_word(const struct noun *n, const char *word,
		      const char *summary, FILE *f)
{
	fprintf(f, "complete -c tintype -n '__tintype_at%s%s' -a %s -d '",
		n ? " " : "", n ? n->name : "", word);
	print_quoted(summary, f);
	fputs("'\n", f);
}

static void fish_words(const struct verb_table *t, const struct noun *n,
		       FILE *f)
{
	for (unsigned i = 0; i < t->nverbs; i++)
		if (verb_word(&t->verbs[i], n))
			fish_word(n, verb_word(&t->verbs[i], n),
				  t->verbs[i].summary, f);
}

static void print_fish(const struct verb_table *t, FILE *f)
{
	fputs("# fish completion of tintype; made by 'tintype completion "
	      "fish'\n"
	      "function __tintype_at -d 'whether these words come before'\n"
	      "\tset -l words (commandline -opc)\n\tset -e words[1]\n"
	      "\tif test \"$words[1]\" = help\n\t\tset -e words[1]\n\tend\n"
	      "\ttest \"$words\" = \"$argv\"\nend\n"
	      "function __tintype_verb -d 'whether it is one of these verbs'\n"
	      "\tset -l words (commandline -opc)\n"
	      "\tcontains -- \"$words[2]\" $argv\n"
	      "\tor contains -- \"$words[2] $words[3]\" $argv\nend\n"
	      "complete -c tintype -f\n",
	      f);
	fish_words(t, NULL, f);
	for (unsigned i = 0; i < t->nnouns; i++) {
		fish_word(NULL, t->nouns[i].name, t->nouns[i].summary, f);
		fish_words(t, &t->nouns[i], f);
	}
	for (unsigned i = 0; i < t->nverbs; i++) {
		const struct verb *v = &t->verbs[i];

		for (unsigned o = 0; o < v->noptions; o++)
			fish_option(v, &v->options[o], f);
		if (v->max)
			fish_operands(v, f);
	}
}

static const struct {
	const char *shell;
	void (*print)(const struct verb_table *t, FILE *f);
} shells[] = {
	{ "bash", print_bash },
	{ "zsh", print_zsh },
	{ "fish", print_fish },
};

bool verbs_print_completion(const struct verb_table *t, const char *shell,
			    FILE *f)
{
	for (unsigned i = 0; i < ARRAY_SIZE(shells); i++)
		if (!strcmp(shells[i].shell, shell)) {
			shells[i].print(t, f);
			return true;
		}
	return false;
}
