/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verbs of two words, by a table of their own: what is tested here is how any
 * table is searched, run, explained and completed.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "util.h"
#include "verbs.h"

static struct options o;
static struct fail why;

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
	{ "image convert", "image create --from", NULL },
	{ "image melt", NULL, "put it into the sun" },
	{ "status", "list", NULL },
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

/* From here on the stream goes to a file, until check_caught compares it. (Not
 * by Criterion's redirection: tests/plain has none.) */
static FILE *caught;
static int caught_from;

static void catch (FILE *f)
{
	caught = tmpfile();
	cr_assert_not_null(caught);
	fflush(f);
	caught_from = dup(fileno(f));
	cr_assert_geq(dup2(fileno(caught), fileno(f)), 0);
}

static void check_caught(FILE *f, const char *want)
{
	char got[4096] = { 0 };

	fflush(f);
	dup2(caught_from, fileno(f));
	close(caught_from);
	rewind(caught);
	cr_assert_lt(fread(got, 1, sizeof(got) - 1, caught), sizeof(got) - 1);
	fclose(caught);
	cr_assert_str_eq(got, want);
}

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
	{ "image", "melt", "image melt", "put it into the sun" },
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
	int code;

	catch (stderr);
	code = dispatch("image", 0, NULL);
	check_caught(stderr, image_help);
	cr_assert_eq(code, EXIT_USAGE);
	cr_assert_eq(why.message[0], '\0');
}

static void check_stdout(int code, const char *want)
{
	check_caught(stdout, want);
	cr_assert_eq(code, EXIT_OK);
}

Test(nouns, dispatch_when_a_nouns_help_is_asked_for_prints_it)
{
	catch (stdout);
	check_stdout(DISPATCH("image", "--help"), image_help);
}

Test(nouns, dispatch_when_help_is_given_a_noun_prints_its_help)
{
	catch (stdout);
	check_stdout(DISPATCH("help", "image"), image_help);
}

Test(nouns, dispatch_when_help_is_given_two_words_explains_the_verb)
{
	catch (stdout);
	check_stdout(DISPATCH("help", "image", "new"),
		     printed(help_of, &noun_verbs[1]));
}

Test(nouns, dispatch_when_a_verbs_help_is_asked_for_prints_it)
{
	const char *text = printed(help_of, &noun_verbs[1]);

	cr_assert_not_null(strstr(text, "usage: tintype image create [OPTIONS] "
					"FILE\n"));
	cr_assert_not_null(strstr(text, "\nAliases: image new, mkimage\n"));
	catch (stdout);
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
	{ "image create scr", "script" },
	{ "image list --f", "" },
	{ "image list scr", "" },
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
