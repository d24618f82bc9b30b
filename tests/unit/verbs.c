/* SPDX-License-Identifier: Apache-2.0 */
/* The table of verbs is sound, and all that is made from it agrees with it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "util.h"
#include "verbs.h"

static const struct verb_table *const t = &tintype_verbs;
static struct options o;
static struct fail why;

/* By all that is typed for it. */
static const struct verb *find(const char *typed)
{
	char words[64], *second;

	snprintf(words, sizeof(words), "%s", typed);
	second = strchr(words, ' ');
	if (second)
		*second++ = '\0';
	return verb_find(t, words, second);
}

static void check_first_word(const char *name)
{
	char word[64];

	snprintf(word, sizeof(word), "%s", name);
	if (strtok(word, " ") && strtok(NULL, ""))
		cr_expect_not_null(noun_find(t, word), "%s: no noun", name);
}

/* A noun is no verb, has verbs, and is the first word of each of them. */
Test(verbs, table_when_it_has_nouns_has_verbs_for_each)
{
	for (unsigned i = 0; i < t->nnouns; i++) {
		const struct noun *n = &t->nouns[i];
		unsigned found = 0;

		for (unsigned k = 0; k < t->nverbs; k++)
			found += verb_word(&t->verbs[k], n) != NULL;
		cr_expect(found, "%s has no verbs", n->name);
		cr_expect_null(verb_find(t, n->name, NULL));
		cr_expect_eq(noun_find(t, n->name), n, "%s", n->name);
		cr_expect_not_null(n->summary);
	}
	for (unsigned i = 0; i < t->nverbs; i++) {
		const struct verb *v = &t->verbs[i];

		check_first_word(v->name);
		for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
			check_first_word(v->aliases[a]);
	}
}

Test(verbs, table_when_read_has_no_name_twice)
{
	for (unsigned i = 0; i < t->nverbs; i++) {
		const struct verb *v = &t->verbs[i];

		cr_expect_eq(find(v->name), v, "%s", v->name);
		for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
			cr_expect_eq(find(v->aliases[a]), v, "%s",
				     v->aliases[a]);
	}
	for (unsigned i = 0; i < t->nforeign; i++) {
		char ours[64];

		cr_expect_null(find(t->foreign[i].theirs), "%s",
			       t->foreign[i].theirs);
		cr_expect_neq(!t->foreign[i].ours, !t->foreign[i].hint, "%s",
			      t->foreign[i].theirs);
		if (!t->foreign[i].ours)
			continue;
		snprintf(ours, sizeof(ours), "%s", t->foreign[i].ours);
		if (strstr(ours, " --"))
			*strstr(ours, " --") = '\0';
		cr_expect_not_null(find(ours), "%s", ours);
	}
	cr_assert_null(verb_find(t, "snapshot", NULL));
	cr_assert_null(verb_find(t, "", NULL));
}

static void check_row(const struct verb *v, unsigned i)
{
	const struct option_row *r = &v->options[i];

	cr_expect_not_null(r->help, "%s --%s", v->name, r->name);
	cr_expect_null(strchr(r->help, '\n'), "%s --%s", v->name, r->name);
	cr_expect_not(r->optional && !r->argument, "%s --%s", v->name, r->name);
	cr_expect_not(r->values && !r->argument, "%s --%s", v->name, r->name);
	cr_expect_neq(r->letter, 'h', "-h is help: %s", v->name);
	for (unsigned k = 0; k < i; k++) {
		cr_expect_str_neq(r->name, v->options[k].name, "%s", v->name);
		cr_expect(!r->letter || r->letter != v->options[k].letter,
			  "%s -%c", v->name, r->letter);
	}
}

Test(verbs, table_when_read_has_sound_rows)
{
	for (unsigned i = 0; i < t->nverbs; i++) {
		const struct verb *v = &t->verbs[i];

		cr_expect_not_null(v->run, "%s", v->name);
		cr_expect_not_null(v->summary, "%s", v->name);
		cr_expect_leq(v->min, v->max, "%s", v->name);
		cr_expect_eq(v->operands != NULL, v->max > 0, "%s", v->name);
		for (unsigned k = 0; k < v->noptions; k++)
			check_row(v, k);
	}
}

Test(verbs, table_when_it_is_run_sets_every_option)
{
	const struct verb *v = verb_find(t, "run", NULL);

	for (unsigned i = 0; i < v->noptions; i++)
		cr_expect_not_null(v->options[i].set, "--%s",
				   v->options[i].name);
}

/* MAN_PAGES is docs/man/meson.build's list. */
Test(verbs, table_when_compared_has_a_man_page_for_each)
{
	static const char pages[] = " " MAN_PAGES " ";
	char page[VERB_PAGE_MAX], word[VERB_PAGE_MAX + 2];
	unsigned found = 0, listed = 0;

	for (const char *s = strchr(pages + 1, ' '); s; s = strchr(s + 1, ' '))
		listed++;
	for (unsigned i = 0; i < t->nverbs; i++) {
		verb_page(&t->verbs[i], page);
		snprintf(word, sizeof(word), " %s ", page);
		cr_expect_not_null(strstr(pages, word), "%s has no page",
				   t->verbs[i].name);
		found++;
	}
	for (unsigned i = 0; i < t->nnouns; i++) {
		snprintf(word, sizeof(word), " %s ", t->nouns[i].name);
		cr_expect_not_null(strstr(pages, word), "%s has no page",
				   t->nouns[i].name);
		found++;
	}
	cr_assert_eq(found + 1, listed, "a page without a verb");
}

/* What `print` writes, as a string. */
static char *printed(void (*print)(FILE *f, const void *arg), const void *arg)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	cr_assert_not_null(f);
	print(f, arg);
	fclose(f);
	return text;
}

static void help_of(FILE *f, const void *arg)
{
	verb_print_help(arg, f);
}

static void completion_of(FILE *f, const void *arg)
{
	cr_assert(verbs_print_completion(t, arg, f), "%s", (const char *)arg);
}

Test(verbs, help_when_printed_names_every_option)
{
	for (unsigned i = 0; i < t->nverbs; i++) {
		char *text = printed(help_of, &t->verbs[i]), word[64];

		for (unsigned k = 0; k < t->verbs[i].noptions; k++) {
			snprintf(word, sizeof(word), "--%s",
				 t->verbs[i].options[k].name);
			cr_expect_not_null(strstr(text, word), "%s: %s",
					   t->verbs[i].name, word);
		}
		for (char *l = strtok(text, "\n"); l; l = strtok(NULL, "\n"))
			cr_expect_leq(strlen(l), 100, "too wide: %s", l);
		free(text);
	}
}

Test(verbs, completion_when_printed_names_every_verb_and_option)
{
	static const char *const shells[] = { "bash", "zsh", "fish" };

	for (unsigned s = 0; s < ARRAY_SIZE(shells); s++) {
		char *text = printed(completion_of, shells[s]);

		for (unsigned i = 0; i < t->nverbs; i++) {
			cr_expect_not_null(strstr(text, t->verbs[i].name));
			for (unsigned k = 0; k < t->verbs[i].noptions; k++)
				cr_expect_not_null(
				    strstr(text, t->verbs[i].options[k].name),
				    "%s: %s", shells[s],
				    t->verbs[i].options[k].name);
		}
		free(text);
	}
	cr_assert_not(verbs_print_completion(t, "tcsh", stdout));
}

static int parse(const char *verb, unsigned argc, const char *const *argv)
{
	why = (struct fail){ .code = EXIT_OK };
	return verb_parse(verb_find(t, verb, NULL), &o, (int)argc,
			  (char *const *)(uintptr_t)argv, &why);
}

#define PARSE(verb, ...)                                                       \
	parse(verb, ARRAY_SIZE(((const char *[]){ __VA_ARGS__ })),             \
	      (const char *[]){ __VA_ARGS__ })

Test(verbs, parse_when_operands_are_wrong_says_which)
{
	cr_assert_eq(PARSE("inspect", "a", "b"), -EINVAL);
	cr_assert_str_eq(why.object, "inspect: b");
	cr_assert_eq(parse("inspect", 0, NULL), -EINVAL);
	cr_assert_str_eq(why.message, "operand missing: VM");
	cr_assert_eq(PARSE("run", "vmlinuz"), -EINVAL);
	cr_assert_str_eq(why.object, "run: vmlinuz");
	cr_assert_eq(PARSE("stop", "a", "b", "--kill"), 0);
	cr_assert_eq(o.noperands, 2);
}

/* ---- run: defaults, file, flags, init's arguments ---- */

static struct run_args a;

static int resolve(const char *text, unsigned argc, const char *const *argv)
{
	int err = parse("run", argc, argv);

	run_args_free(&a);
	run_args_init(&a);
	return err ? err
		   : run_resolve(&a, &o, text, text ? strlen(text) : 0, &why);
}

#define RESOLVE(text, ...)                                                     \
	resolve(text, ARRAY_SIZE(((const char *[]){ __VA_ARGS__ })),           \
		(const char *[]){ __VA_ARGS__ })

static void init(void)
{
	run_args_init(&a);
}

static void fini(void)
{
	run_args_free(&a);
}

TestSuite(run_args, .init = init, .fini = fini);

Test(run_args, resolve_when_file_and_flags_differ_takes_the_flags)
{
	cr_assert_eq(RESOLVE("{\"cpus\":2,\"memory\":\"1G\"}", "--cpus", "3",
			     "--config", "x"),
		     0);
	cr_assert_eq(a.config.cpus, 3);
	cr_assert_eq(a.config.memory_bytes, GIB(1));
	cr_assert_str_eq(a.config_path, "x");
}

Test(run_args, resolve_when_a_value_is_wrong_says_it_exactly)
{
	cr_assert_eq(RESOLVE(NULL, "--memory", "12Q"), -EINVAL);
	cr_assert_str_eq(why.object, "run: --memory 12Q");
	cr_assert_str_eq(why.message, "not a size");
	cr_assert_str_eq(why.hint, "use e.g. 512M or 2G");
	cr_assert_eq(why.code, EXIT_USAGE);
}

static const struct {
	const char *cmdline, *want;
} init_args[] = {
	{ NULL, "-- a b c" },
	{ "quiet", "quiet -- a b c" },
	{ "quiet -- x", "quiet -- x a b c" },
	{ "-- x", "-- x a b c" },
	{ "not--this", "not--this -- a b c" },
};

Test(run_args, resolve_when_init_args_are_given_appends_them)
{
	for (unsigned i = 0; i < ARRAY_SIZE(init_args); i++) {
		int err = init_args[i].cmdline
			      ? RESOLVE(NULL, "--cmdline", init_args[i].cmdline,
					"--", "a", "b c")
			      : RESOLVE(NULL, "--", "a", "b c");

		cr_assert_eq(err, 0);
		cr_expect_str_eq(a.config.cmdline, init_args[i].want);
	}
}

Test(run_args, resolve_when_init_args_are_too_long_is_refused)
{
	char *word = malloc(CONFIG_CMDLINE_MAX);

	cr_assert_not_null(word);
	memset(word, 'a', CONFIG_CMDLINE_MAX - 1);
	word[CONFIG_CMDLINE_MAX - 1] = '\0';
	cr_assert_neq(RESOLVE(NULL, "--", word, word), 0);
	cr_assert_eq(why.code, EXIT_USAGE);
	free(word);
}

Test(run_args, resolve_when_options_exclude_each_other_is_refused)
{
	cr_expect_neq(RESOLVE(NULL, "--initrd", "i"), 0);
	cr_expect_neq(RESOLVE(NULL, "--wait-ready"), 0);
	cr_expect_neq(RESOLVE(NULL, "--detach", "--wait-ready=0"), 0);
	cr_expect_neq(RESOLVE(NULL, "--detach", "--wait-ready=x"), 0);
	cr_expect_neq(RESOLVE(NULL, "--detach", "--serial", "stdio"), 0);
	cr_expect_neq(
	    RESOLVE(NULL, "--serial=socket=a", "--share-console", "b"), 0);
	cr_expect_eq(RESOLVE(NULL, "--detach", "--wait-ready=5"), 0);
	cr_expect_eq(a.wait_ready_s, 5);
	cr_expect_eq(a.config.serial, SERIAL_NONE);
}
