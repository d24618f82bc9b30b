/* SPDX-License-Identifier: Apache-2.0 */
/* Shell completion, made from the table of verbs. */
#include "verbs.h"

#include <string.h>

#include "util.h"

static bool takes_vm(const struct verb *v)
{
	return v->operands && strstr(v->operands, "VM");
}

/* The command that lists those VMs which the verb can be used on. */
static const char *list_of_vms(const struct verb *v)
{
	static const char *const live[] = { "console", "stop", "pause",
					    "resume" };

	for (unsigned i = 0; i < ARRAY_SIZE(live); i++)
		if (!strcmp(v->name, live[i]))
			return "tintype ps --quiet";
	return "tintype ps --all --quiet";
}

static bool takes_file(const struct option_row *r)
{
	return r->argument &&
	       (!strcmp(r->argument, "FILE") || !strcmp(r->argument, "SOCK") ||
		!strcmp(r->argument, "F.json"));
}

/* Every verb's name, or the values of an operand that is none of ours. */
static void print_operand_words(const struct verb_table *t,
				const struct verb *v, FILE *f)
{
	if (!strcmp(v->name, "completion"))
		fputs("bash zsh fish", f);
	else if (!strcmp(v->name, "help"))
		for (unsigned i = 0; i < t->nverbs; i++)
			fprintf(f, "%s%s", i ? " " : "", t->verbs[i].name);
}

static void bash_verb(const struct verb_table *t, const struct verb *v, FILE *f)
{
	fprintf(f, "\t%s", v->name);
	for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
		fprintf(f, "|%s", v->aliases[a]);
	fputs(")\n\t\tcase $prev in\n", f);
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
	print_operand_words(t, v, f);
	fputs("'\n", f);
	if (takes_vm(v))
		fprintf(f, "\t\twords=\"$words $(%s 2>/dev/null)\"\n",
			list_of_vms(v));
	fputs("\t\t;;\n", f);
}

static void print_bash(const struct verb_table *t, FILE *f)
{
	fputs("# bash completion of tintype; made by 'tintype completion "
	      "bash'\n_tintype() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]}\n"
	      "\tlocal prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
	      /* "--option=value" is three words to bash. */
	      "\tif [ \"$cur\" = = ]; then\n\t\tcur=\n"
	      "\telif [ \"$prev\" = = ]; then\n"
	      "\t\tprev=${COMP_WORDS[COMP_CWORD-2]}\n\tfi\n"
	      "\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W '",
	      f);
	for (unsigned i = 0; i < t->nverbs; i++)
		fprintf(f, "%s ", t->verbs[i].name);
	fputs("' -- \"$cur\"))\n\t\treturn\n\tfi\n"
	      "\tcase ${COMP_WORDS[1]} in\n",
	      f);
	for (unsigned i = 0; i < t->nverbs; i++)
		bash_verb(t, &t->verbs[i], f);
	fputs("\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
	      "complete -F _tintype tintype\n",
	      f);
}

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

static void zsh_verb(const struct verb_table *t, const struct verb *v, FILE *f)
{
	fprintf(f, "\t%s", v->name);
	for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
		fprintf(f, "|%s", v->aliases[a]);
	fputs(")\n\t\t_arguments", f);
	for (unsigned i = 0; i < v->noptions; i++)
		zsh_option(&v->options[i], f);
	if (takes_vm(v))
		fprintf(f, " \\\n\t\t\t'*:VM:($(%s 2>/dev/null))'",
			list_of_vms(v));
	else if (v->max) {
		fputs(" \\\n\t\t\t'1:operand:(", f);
		print_operand_words(t, v, f);
		fputs(")'", f);
	}
	fputs("\n\t\t;;\n", f);
}

static void print_zsh(const struct verb_table *t, FILE *f)
{
	fputs("#compdef tintype\n# zsh completion of tintype; made by 'tintype "
	      "completion zsh'\n_tintype() {\n\tlocal -a verbs=(\n",
	      f);
	for (unsigned i = 0; i < t->nverbs; i++) {
		fprintf(f, "\t\t'%s:", t->verbs[i].name);
		print_quoted(t->verbs[i].summary, f);
		fputs("'\n", f);
	}
	fputs("\t)\n\tif (( CURRENT == 2 )); then\n"
	      "\t\t_describe verb verbs\n\t\treturn\n\tfi\n"
	      "\tlocal verb=$words[2]\n\tshift words\n\t(( CURRENT-- ))\n"
	      "\tcase $verb in\n",
	      f);
	for (unsigned i = 0; i < t->nverbs; i++)
		zsh_verb(t, &t->verbs[i], f);
	fputs("\tesac\n}\nif [ \"$funcstack[1]\" = _tintype ]; then\n"
	      "\t_tintype \"$@\"\nelse\n\tcompdef _tintype tintype\nfi\n",
	      f);
}

static void fish_option(const struct verb *v, const struct option_row *r,
			FILE *f)
{
	fprintf(f, "complete -c tintype -n '__fish_seen_subcommand_from %s",
		v->name);
	for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
		fprintf(f, " %s", v->aliases[a]);
	fprintf(f, "' -l %s", r->name);
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

static void fish_operands(const struct verb_table *t, const struct verb *v,
			  FILE *f)
{
	if (!v->max)
		return;
	fprintf(f, "complete -c tintype -n '__fish_seen_subcommand_from %s",
		v->name);
	for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
		fprintf(f, " %s", v->aliases[a]);
	fputs("' -a '", f);
	if (takes_vm(v))
		fprintf(f, "(%s 2>/dev/null)", list_of_vms(v));
	else
		print_operand_words(t, v, f);
	fputs("'\n", f);
}

static void print_fish(const struct verb_table *t, FILE *f)
{
	fputs("# fish completion of tintype; made by 'tintype completion "
	      "fish'\ncomplete -c tintype -f\n",
	      f);
	for (unsigned i = 0; i < t->nverbs; i++) {
		const struct verb *v = &t->verbs[i];

		fprintf(f,
			"complete -c tintype -n __fish_use_subcommand -a %s "
			"-d '",
			v->name);
		print_quoted(v->summary, f);
		fputs("'\n", f);
		for (unsigned o = 0; o < v->noptions; o++)
			fish_option(v, &v->options[o], f);
		fish_operands(t, v, f);
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
