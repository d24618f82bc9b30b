/* SPDX-License-Identifier: Apache-2.0 */
/* The table of verbs is sound, and all that is made from it agrees with it. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "util.h"
#include "verbs.h"

static const struct verb_table *const t = &tintype_verbs;
static struct options o;
static struct fail why;

/* ---- a table with nouns; what is said of nouns is tested with it ---- */

/* How the verb of that table was run. */
static char ran[128];

static int run_image(const struct options *got, struct fail *f)
{
	snprintf(ran, sizeof(ran), "%s %s",
		 options_has(got, "from") ? options_find(got, "from")->value
					  : "-",
		 got->noperands ? got->operand[0] : "-");
	return EXIT_CONFLICT;
}

static int help_nouns(const struct options *got, struct fail *f);

static int set_from(void *into, const char *value, struct fail *f)
{
	return fail_set(f, EXIT_USAGE, -EINVAL, "", NULL, "is bad");
}

static const struct option_row image_options[] = {
	{ .name = "from",
	  .letter = 'f',
	  .argument = "FILE",
	  .set = set_from,
	  .help = "what to begin with" },
};

static const struct verb noun_verbs[] = {
	{ .name = "list",
	  .aliases = { "ls" },
	  .summary = "list the VMs",
	  .run = run_image },
	{ .name = "image create",
	  .aliases = { "image new", "mkimage" },
	  .summary = "make an image",
	  .operands = "FILE",
	  .min = 1,
	  .max = 1,
	  .options = image_options,
	  .noptions = ARRAY_SIZE(image_options),
	  .run = run_image },
	{ .name = "image list",
	  .aliases = { "image ls" },
	  .summary = "list the images",
	  .run = run_image },
	{ .name = "key create", .summary = "make a key", .run = run_image },
	{ .name = "help",
	  .summary = "explain a verb",
	  .operands = "[VERB]",
	  .max = 2,
	  .run = help_nouns },
};

static const struct noun test_nouns[] = {
	{ "image", "look after the disks' images" },
	{ "key", "look after keys" },
};

static const struct foreign_verb test_foreign[] = {
	{ "image convert", "image create --from" },
	{ "status", "list" },
};

static const struct verb_table nouns = {
	.verbs = noun_verbs,
	.nverbs = ARRAY_SIZE(noun_verbs),
	.nouns = test_nouns,
	.nnouns = ARRAY_SIZE(test_nouns),
	.foreign = test_foreign,
	.nforeign = ARRAY_SIZE(test_foreign),
};

static int help_nouns(const struct options *got, struct fail *f)
{
	return cli_explain(&nouns, got->noperands ? got->operand[0] : NULL,
			   got->noperands > 1 ? got->operand[1] : NULL, f);
}

/* ---- both tables ---- */

static const struct verb_table *const tables[] = { &tintype_verbs, &nouns };

/* By all that is typed for it. */
static const struct verb *find(const struct verb_table *table,
			       const char *typed)
{
	char words[64], *second;

	snprintf(words, sizeof(words), "%s", typed);
	second = strchr(words, ' ');
	if (second)
		*second++ = '\0';
	return verb_find(table, words, second);
}

/* A noun is no verb, has verbs, and is the first word of each of them. */
static void check_nouns(const struct verb_table *table)
{
	for (unsigned i = 0; i < table->nnouns; i++) {
		const struct noun *n = &table->nouns[i];
		unsigned found = 0;

		for (unsigned k = 0; k < table->nverbs; k++)
			found += verb_word(&table->verbs[k], n) != NULL;
		cr_expect(found, "%s has no verbs", n->name);
		cr_expect_null(verb_find(table, n->name, NULL));
		cr_expect_eq(noun_find(table, n->name), n, "%s", n->name);
		cr_expect_not_null(n->summary);
	}
	for (unsigned i = 0; i < table->nverbs; i++) {
		char word[64];

		snprintf(word, sizeof(word), "%s", table->verbs[i].name);
		if (strtok(word, " ") && strtok(NULL, ""))
			cr_expect_not_null(noun_find(table, word), "%s", word);
	}
}

static void check_names(const struct verb_table *table)
{
	for (unsigned i = 0; i < table->nverbs; i++) {
		const struct verb *v = &table->verbs[i];

		cr_expect_eq(find(table, v->name), v, "%s", v->name);
		for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
			cr_expect_eq(find(table, v->aliases[a]), v, "%s",
				     v->aliases[a]);
	}
	for (unsigned i = 0; i < table->nforeign; i++) {
		char ours[64];

		snprintf(ours, sizeof(ours), "%s", table->foreign[i].ours);
		if (strstr(ours, " --"))
			*strstr(ours, " --") = '\0';
		cr_expect_not_null(find(table, ours), "%s", ours);
		cr_expect_null(find(table, table->foreign[i].theirs), "%s",
			       table->foreign[i].theirs);
	}
}

Test(verbs, table_when_read_has_no_name_twice)
{
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
		check_names(tables[i]);
		check_nouns(tables[i]);
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

static void noun_help_of(FILE *f, const void *arg)
{
	noun_print_help(&nouns, arg, f);
}

static void overview_of(FILE *f, const void *arg)
{
	verbs_print_overview(arg, f);
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

/* ---- nouns ---- */

static int dispatch(const char *first, unsigned argc, const char *const *argv)
{
	why = (struct fail){ .code = EXIT_OK };
	ran[0] = '\0';
	return cli_dispatch(&nouns, first, (int)argc,
			    (char *const *)(uintptr_t)argv, &why);
}

#define DISPATCH(first, ...)                                                   \
	dispatch(first, ARRAY_SIZE(((const char *[]){ __VA_ARGS__ })),         \
		 (const char *[]){ __VA_ARGS__ })

Test(nouns, find_when_two_words_are_given_wants_both)
{
	cr_expect_eq(verb_find(&nouns, "image", "ls"), &noun_verbs[2]);
	cr_expect_eq(verb_find(&nouns, "ls", "image"), &noun_verbs[0]);
	cr_expect_eq(verb_find(&nouns, "key", "create"), &noun_verbs[3]);
	cr_expect_null(verb_find(&nouns, "image", NULL));
	cr_expect_null(verb_find(&nouns, "create", "image"));
	cr_expect_null(verb_find(&nouns, "image create", NULL));
	cr_expect_null(verb_find(&nouns, "imag", "e create"));
	cr_expect_null(verb_find(&nouns, "key", "ls"));
}

Test(nouns, page_when_a_verb_has_two_words_is_one)
{
	char page[VERB_PAGE_MAX];

	verb_page(&noun_verbs[1], page);
	cr_expect_str_eq(page, "image-create");
	verb_page(&noun_verbs[0], page);
	cr_expect_str_eq(page, "list");
}

Test(nouns, dispatch_when_a_verb_is_named_runs_it_with_the_words_after_it)
{
	cr_expect_eq(DISPATCH("image", "create", "--from", "a", "b"),
		     EXIT_CONFLICT);
	cr_expect_str_eq(ran, "a b");
	cr_expect_eq(DISPATCH("image", "new", "c"), EXIT_CONFLICT);
	cr_expect_str_eq(ran, "- c");
	cr_expect_eq(DISPATCH("mkimage", "d"), EXIT_CONFLICT);
	cr_expect_str_eq(ran, "- d");
	cr_expect_eq(dispatch("ls", 0, NULL), EXIT_CONFLICT);
	cr_expect_str_eq(ran, "- -");
}

Test(nouns, dispatch_when_the_words_are_wrong_names_both_words)
{
	struct options_table table = verb_options(&noun_verbs[1]);

	cr_expect_eq(DISPATCH("image", "create", "a", "b"), EXIT_USAGE);
	cr_expect_str_eq(why.object, "image create: b");
	cr_expect_str_eq(why.hint, "see 'tintype help image create'");
	cr_expect_eq(DISPATCH("image", "new", "--form=x"), EXIT_USAGE);
	cr_expect_str_eq(why.object, "image create: --form=x");
	cr_expect_str_eq(why.hint, "did you mean --from?");
	cr_expect_eq(DISPATCH("image", "new", "a", "--from", "x"),
		     EXIT_CONFLICT);
	cr_expect_neq(verb_parse(&noun_verbs[1], &o, 0, NULL, &why), 0);
	o.use[0] = (struct option_use){ &image_options[0], "x" };
	o.nuses = 1;
	cr_expect_eq(options_apply(&o, &table, NULL, &why), -EINVAL);
	cr_expect_str_eq(why.object, "image create: --from x");
	cr_expect_str_eq(ran, "x a");
}

static const struct {
	const char *first, *second, *object, *hint;
} unknown[] = {
	{ "image", "crate", "image crate", "did you mean 'image create'?" },
	{ "image", "lost", "image lost", "did you mean 'image list'?" },
	{ "image", "xyzzy", "image xyzzy", "see 'tintype help image'" },
	{ "image", "image", "image image", "see 'tintype help image'" },
	{ "image", "convert", "image convert",
	  "did you mean 'image create --from'?" },
	{ "image", "--from", "image --from", "see 'tintype help image'" },
	{ "image", "", "image ", "see 'tintype help image'" },
	{ "key", "lost", "key lost", "see 'tintype help key'" },
	{ "imgae", "create", "imgae", "did you mean 'image'?" },
	{ "ky", NULL, "ky", "did you mean 'key'?" },
	{ "lost", NULL, "lost", "did you mean 'list'?" },
	{ "create", NULL, "create", "see 'tintype help'" },
	{ "status", "x", "status", "did you mean 'list'?" },
};

Test(nouns, dispatch_when_a_word_is_unknown_says_what_was_meant)
{
	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
		const char *second = unknown[i].second;

		cr_expect_eq(
		    dispatch(unknown[i].first, second ? 1 : 0, &second),
		    EXIT_USAGE);
		cr_expect_str_eq(why.object, unknown[i].object);
		cr_expect_str_eq(why.message, "unknown verb");
		cr_expect_str_eq(why.hint, unknown[i].hint, "%s: %s",
				 why.object, why.hint);
		if (second && second[0] == '-')
			continue; /* an option to `help` */
		cr_expect_eq(
		    DISPATCH("help", unknown[i].first, second ? second : "x"),
		    EXIT_USAGE);
		cr_expect_str_eq(why.hint, unknown[i].hint, "%s: %s",
				 why.object, why.hint);
	}
}

Test(nouns, unknown_when_words_are_long_is_cut)
{
	char word[1000];

	memset(word, 'x', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	cr_assert_eq(verb_unknown(&nouns, "image", word, &why), -EINVAL);
	cr_assert_str_eq(why.hint, "see 'tintype help image'");
	cr_assert_eq(verb_unknown(&nouns, word, word, &why), -EINVAL);
}

Test(nouns, overview_when_printed_has_each_noun_once)
{
	cr_assert_str_eq(
	    printed(overview_of, &nouns),
	    "usage: tintype VERB [OPTIONS] [OPERANDS]\n\n"
	    "  list        list the VMs\n"
	    "  help        explain a verb\n\n"
	    "These have verbs of their own:\n\n"
	    "  image       look after the disks' images\n"
	    "  key         look after keys\n\n"
	    "'tintype help VERB' explains one of them; 'man tintype' is "
	    "the manual.\n"
	    "Start with 'tintype run': it boots a demo guest.\n");
}

static const char image_help[] =
    "usage: tintype image VERB [OPTIONS] [OPERANDS]\n\n"
    "look after the disks' images.\n\n"
    "  create      make an image\n"
    "  list        list the images\n\n"
    "'tintype help image VERB' explains one of them.\n";

Test(nouns, help_when_of_a_noun_lists_its_verbs)
{
	cr_assert_str_eq(printed(noun_help_of, &test_nouns[0]), image_help);
}

Test(nouns, dispatch_when_a_noun_is_alone_is_wrong_usage)
{
	cr_redirect_stderr();
	cr_assert_eq(dispatch("image", 0, NULL), EXIT_USAGE);
	cr_assert_eq(why.message[0], '\0');
	fflush(stderr);
	cr_assert_stderr_eq_str(image_help);
}

static void check_stdout(int code, const char *want)
{
	cr_assert_eq(code, EXIT_OK);
	fflush(stdout);
	cr_assert_stdout_eq_str(want);
}

Test(nouns, dispatch_when_a_nouns_help_is_asked_for_prints_it)
{
	cr_redirect_stdout();
	check_stdout(DISPATCH("image", "--help"), image_help);
}

Test(nouns, dispatch_when_help_is_given_a_noun_prints_its_help)
{
	cr_redirect_stdout();
	check_stdout(DISPATCH("help", "image"), image_help);
}

Test(nouns, dispatch_when_help_is_given_two_words_explains_the_verb)
{
	cr_redirect_stdout();
	check_stdout(DISPATCH("help", "image", "new"),
		     printed(help_of, &noun_verbs[1]));
}

Test(nouns, dispatch_when_a_verbs_help_is_asked_for_prints_it)
{
	const char *text = printed(help_of, &noun_verbs[1]);

	cr_assert_not_null(strstr(text, "usage: tintype image create [OPTIONS] "
					"FILE\n"));
	cr_assert_not_null(strstr(text, "\nAliases: image new, mkimage\n"));
	cr_redirect_stdout();
	check_stdout(DISPATCH("image", "create", "a", "-h"), text);
}

Test(nouns, dispatch_when_help_is_given_too_much_says_so)
{
	cr_assert_eq(DISPATCH("help", "list", "image"), EXIT_USAGE);
	cr_assert_str_eq(why.object, "help: image");
	cr_assert_eq(DISPATCH("help", "image", "list", "x"), EXIT_USAGE);
	cr_assert_str_eq(why.object, "help: x");
	cr_assert_str_eq(why.message, "one operand too many");
}

/* ---- completion of nouns, by the shells themselves ---- */

static const struct {
	const char *words; /* the last of them is completed */
	const char *want;  /* sorted */
} completions[] = {
	{ "''", "help image key list" },
	{ "im", "image" },
	{ "image ''", "create list" },
	{ "image cr", "create" },
	{ "image create --f", "--from" },
	{ "image new --f", "--from" },
	{ "mkimage --f", "--from" },
	{ "image list --f", "" },
	{ "image --f", "" },
	{ "key ''", "create" },
	{ "key create --f", "" },
	{ "list ''", "" },
	{ "help im", "image" },
	{ "help image ''", "create list" },
	{ "help image create --f", "" },
	{ "help list ''", "" },
};

/* Reads the script from $0 and completes the words of $@. */
static const struct {
	const char *shell, *complete;
} completers[] = {
	{ "bash", ". \"$0\"; COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)); "
		  "_tintype; printf \"%s\\n\" \"${COMPREPLY[@]}\"" },
	{ "fish", "source $argv[1]; complete -C \"$argv[2..]\"" },
};

static void check_completion(const char *shell, const char *complete,
			     const char *words, const char *want)
{
	char command[512], got[256] = "";
	FILE *f;

	snprintf(command, sizeof(command),
		 "%s -c '%s' ./script tintype %s | cut -f1 | sort -u | "
		 "paste -sd' ' -",
		 shell, complete, words);
	f = popen(command, "r");
	cr_assert_not_null(f);
	cr_expect_not_null(fgets(got, sizeof(got), f));
	pclose(f);
	got[strcspn(got, "\n")] = '\0';
	cr_expect_str_eq(got, want, "%s: %s: %s", shell, words, got);
}

static bool has_shell(const char *shell)
{
	char command[64];

	snprintf(command, sizeof(command), "command -v %s > /dev/null", shell);
	return system(command) == 0;
}

Test(nouns, completion_when_asked_knows_the_second_word)
{
	char dir[] = "/tmp/tintype-XXXXXX";

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(completers); i++) {
		const char *shell = completers[i].shell;
		FILE *f = fopen("script", "w");

		cr_assert_not_null(f);
		cr_assert(verbs_print_completion(&nouns, shell, f));
		fclose(f);
		for (unsigned k = 0;
		     has_shell(shell) && k < ARRAY_SIZE(completions); k++)
			check_completion(shell, completers[i].complete,
					 completions[k].words,
					 completions[k].want);
	}
	cr_expect_eq(unlink("script"), 0);
	cr_expect_eq(rmdir(dir), 0);
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
