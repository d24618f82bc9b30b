/* SPDX-License-Identifier: Apache-2.0 */
/* The option parser takes what its table says and names what it refuses. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "util.h"

static int set_word(void *into, const char *value, struct fail *why)
{
	if (value && !strcmp(value, "bad"))
		return fail_set(why, EXIT_USAGE, -EINVAL, "", "use good",
				"not good");
	strcat(into, value ? value : "-");
	strcat(into, ";");
	return 0;
}

static const struct option_row rows[] = {
	{ .name = "memory",
	  .letter = 'm',
	  .argument = "SIZE",
	  .set = set_word },
	{ .name = "all", .letter = 'a', .set = set_word },
	{ .name = "quiet", .letter = 'q' },
	{ .name = "wait",
	  .letter = 'w',
	  .argument = "S",
	  .optional = true,
	  .set = set_word },
	{ .name = "disk",
	  .argument = "PATH",
	  .repeatable = true,
	  .set = set_word },
};
static const struct options_table table = { rows, ARRAY_SIZE(rows), false,
					    "verb" };
static const struct options_table with_rest = { rows, ARRAY_SIZE(rows), true,
						"verb" };

static struct options o;
static struct fail why;

/* Splits `line` at blanks and parses it. */
static int parse(const struct options_table *t, const char *line)
{
	static char text[512], *argv[80];
	int argc = 0;

	snprintf(text, sizeof(text), "%s", line);
	for (char *s = strtok(text, " "); s; s = strtok(NULL, " "))
		argv[argc++] = s;
	why = (struct fail){ .code = EXIT_OK };
	return options_parse(&o, t, argc, argv, &why);
}

static void assert_refused(const char *line, const char *object,
			   const char *message, const char *hint)
{
	cr_assert_eq(parse(&table, line), -EINVAL, "%s", line);
	cr_expect_eq(why.code, EXIT_USAGE, "%s", line);
	cr_expect_str_eq(why.object, object, "%s", line);
	cr_expect_str_eq(why.message, message, "%s", line);
	cr_expect_str_eq(why.hint, hint, "%s", line);
}

Test(options, parse_when_every_form_is_used_finds_each_value)
{
	static const char *const forms[] = {
		"--memory 5M", "--memory=5M", "-m 5M",	 "-m5M",
		"-am5M",       "-qam 5M",     "x -m 5M",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
		cr_assert_eq(parse(&table, forms[i]), 0, "%s", forms[i]);
		cr_expect_str_eq(options_find(&o, "memory")->value, "5M", "%s",
				 forms[i]);
	}
}

Test(options, parse_when_flags_are_clustered_sets_each)
{
	cr_assert_eq(parse(&table, "-aq one --all two"), 0);
	cr_assert(options_has(&o, "all"));
	cr_assert(options_has(&o, "quiet"));
	cr_assert_not(options_has(&o, "memory"));
	cr_assert_eq(o.noperands, 2);
	cr_assert_str_eq(o.operand[0], "one");
	cr_assert_str_eq(o.operand[1], "two");
}

Test(options, parse_when_an_argument_is_optional_takes_it_only_joined)
{
	cr_assert_eq(parse(&table, "--wait 5"), 0);
	cr_assert_null(options_find(&o, "wait")->value);
	cr_assert_eq(o.noperands, 1);
	cr_assert_eq(parse(&table, "--wait=5"), 0);
	cr_assert_str_eq(options_find(&o, "wait")->value, "5");
	cr_assert_eq(parse(&table, "-w"), 0);
	cr_assert_null(options_find(&o, "wait")->value);
}

Test(options, parse_when_two_dashes_come_ends_the_options)
{
	cr_assert_eq(parse(&table, "a -- --all -q"), 0);
	cr_assert(o.has_rest);
	cr_assert_eq(o.noperands, 3);
	cr_assert_str_eq(o.operand[1], "--all");
	cr_assert_eq(parse(&with_rest, "a -- --all -- b"), 0);
	cr_assert_eq(o.noperands, 1);
	cr_assert_eq(o.nrest, 3);
	cr_assert_str_eq(o.rest[0], "--all");
	cr_assert_str_eq(o.rest[1], "--");
}

Test(options, parse_when_a_value_looks_like_an_option_takes_it)
{
	cr_assert_eq(parse(&table, "--memory --all"), 0);
	cr_assert_str_eq(options_find(&o, "memory")->value, "--all");
	cr_assert_not(options_has(&o, "all"));
	cr_assert_eq(parse(&table, "-"), 0);
	cr_assert_str_eq(o.operand[0], "-");
	cr_assert_eq(parse(&table, "--memory="), 0);
	cr_assert_str_eq(options_find(&o, "memory")->value, "");
}

Test(options, parse_when_wrong_names_the_option_and_the_remedy)
{
	assert_refused("--memry 5M", "verb: --memry", "unknown option",
		       "did you mean --memory?");
	assert_refused("--meomry=5M", "verb: --meomry=5M", "unknown option",
		       "did you mean --memory?");
	assert_refused("--xyzzy", "verb: --xyzzy", "unknown option",
		       "see 'tintype help verb'");
	assert_refused("-x", "verb: -x", "unknown option",
		       "see 'tintype help verb'");
	assert_refused("--mem 5M", "verb: --mem", "unknown option",
		       "see 'tintype help verb'");
	assert_refused("--memory", "verb: --memory", "its argument is missing",
		       "use --memory SIZE");
	assert_refused("-am", "verb: --memory", "its argument is missing",
		       "use --memory SIZE");
	assert_refused("--all=yes", "verb: --all=yes", "takes no argument",
		       "give it without a value");
	assert_refused("-m 1 --memory 2", "verb: --memory", "given twice",
		       "give it once");
}

Test(options, parse_when_a_flag_comes_twice_is_content)
{
	cr_assert_eq(parse(&table, "--all -a --disk a --disk b"), 0);
	cr_assert_str_eq(options_find(&o, "disk")->value, "b");
}

Test(options, parse_when_there_are_too_many_is_refused)
{
	char line[512] = "";

	for (unsigned i = 0; i <= OPTIONS_MAX_USES; i++)
		strcat(line, "-a ");
	cr_assert_eq(parse(&table, line), -EINVAL);
	cr_assert_str_eq(why.message, "too many options");
	for (size_t i = 0; line[i]; i++)
		if (line[i] == '-')
			line[i] = 'x';
	cr_assert_eq(parse(&table, line), -EINVAL);
	cr_assert_str_eq(why.message, "too many operands");
}

Test(options, apply_when_all_is_well_keeps_the_order)
{
	char got[64] = "";

	cr_assert_eq(parse(&table, "--disk a -q --wait --disk=b -m 1"), 0);
	cr_assert_eq(options_apply(&o, &table, got, &why), 0);
	cr_assert_str_eq(got, "a;-;b;1;");
}

Test(options, apply_when_a_setter_refuses_names_option_and_value)
{
	char got[64] = "";

	cr_assert_eq(parse(&table, "--memory bad"), 0);
	cr_assert_eq(options_apply(&o, &table, got, &why), -EINVAL);
	cr_assert_str_eq(why.object, "verb: --memory bad");
	cr_assert_str_eq(why.message, "not good");
	cr_assert_str_eq(why.hint, "use good");
}

static const char *word_of(void *ctx, unsigned i)
{
	const char *const *words = ctx;

	return words[i];
}

Test(options, nearest_when_words_are_long_or_far_finds_none)
{
	const char *words[] = { "pause", "ps", "resume",
				"a-word-of-more-than-thirty-two-letters",
				NULL };
	char longest[400];

	memset(longest, 'p', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	cr_assert_null(options_nearest(longest, word_of, words));
	cr_assert_null(options_nearest("", word_of, words));
	cr_assert_null(options_nearest("x", word_of, words));
	cr_assert_null(options_nearest("banana", word_of, words));
	cr_assert_str_eq(options_nearest("puase", word_of, words), "pause");
	cr_assert_str_eq(options_nearest("resum", word_of, words), "resume");
}
