/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines and failures as people read them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fail.h"
#include "log.h"

static int fd;

static void setup(void)
{
	fd = memfd_create("log", MFD_CLOEXEC);
	cr_assert(fd >= 0);
	log_setup(fd, LOG_INFO);
}

static const char *logged(void)
{
	static char text[8192];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	cr_assert(n >= 0);
	text[n] = 0;
	return text;
}

TestSuite(log, .init = setup);

Test(log, line_names_object_and_reason)
{
	log_error("uart0", "write %d byte: %s", 1, "Broken pipe");
	cr_assert_str_eq(logged(), "tintype: uart0: write 1 byte: Broken "
				   "pipe\n");
}

Test(log, messages_above_the_level_are_dropped)
{
	log_debug("x", "not this");
	log_info("x", "this");
	cr_assert_str_eq(logged(), "tintype: x: this\n");
}

Test(log, long_line_is_cut_and_ends_in_a_newline)
{
	char big[2000];

	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	log_warn("x", "%s", big);
	cr_assert_lt(strlen(logged()), 600);
	cr_assert_eq(logged()[strlen(logged()) - 1], '\n');
	cr_assert_eq(strchr(logged(), '\n'), logged() + strlen(logged()) - 1);
}

Test(log, guest_mistakes_are_logged_a_few_times_and_counted_always)
{
	struct log_limit l = { 0 };
	unsigned lines = 0;

	for (int i = 0; i < 1000; i++)
		log_guest(&l, "pio", "again");
	for (const char *s = logged(); *s; s++)
		lines += *s == '\n';
	cr_assert_eq(lines, LOG_LIMIT_LINES);
	cr_assert_eq(l.count, 1000);
	cr_assert_not_null(strstr(logged(), "again (further ones are only "
					    "counted)\n"));
}

Test(log, guest_mistakes_are_only_counted_by_default)
{
	struct log_limit l = { 0 };

	log_setup(fd, LOG_WARN);
	log_guest(&l, "pio", "again");
	cr_assert_str_eq(logged(), "");
	cr_assert_eq(l.count, 1);
}

Test(fail, record_holds_what_why_and_what_to_do)
{
	struct fail f;

	cr_assert_eq(fail_set(&f, EXIT_DENIED, -EACCES, "/dev/kvm", "join kvm",
			      "permission %s", "denied"),
		     -EACCES);
	cr_assert_eq(f.code, EXIT_DENIED);
	cr_assert_str_eq(f.object, "/dev/kvm");
	cr_assert_str_eq(f.message, "permission denied");
	cr_assert_str_eq(f.hint, "join kvm");
	cr_assert_eq(fail_set(NULL, EXIT_DENIED, -EIO, "x", NULL, "y"), -EIO);
}

Test(fail, long_texts_are_cut)
{
	char big[1000];
	struct fail f;

	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	fail_set(&f, EXIT_FAILED, -EIO, big, big, "%s", big);
	cr_assert_eq(strlen(f.object), sizeof(f.object) - 1);
	cr_assert_eq(strlen(f.message), sizeof(f.message) - 1);
	cr_assert_eq(strlen(f.hint), sizeof(f.hint) - 1);
}

Test(fail, every_exit_code_has_a_name_of_its_own)
{
	const enum exit_code codes[] = {
		EXIT_OK,	  EXIT_FAILED,	     EXIT_USAGE,
		EXIT_NOT_FOUND,	  EXIT_CONFLICT,     EXIT_WRONG_STATE,
		EXIT_INTEGRITY,	  EXIT_INCOMPATIBLE, EXIT_NO_SPACE,
		EXIT_CANCELLED,	  EXIT_DENIED,	     EXIT_OWN_FAILURE,
		EXIT_GUEST_CRASH,
	};
	const unsigned n = sizeof(codes) / sizeof(codes[0]);

	for (unsigned i = 0; i < n; i++)
		for (unsigned j = i + 1; j < n; j++)
			cr_assert_str_neq(fail_code_name(codes[i]),
					  fail_code_name(codes[j]));
	cr_assert_str_eq(fail_code_name((enum exit_code)99), "E_FAILED");
}

Test(log, failure_with_bytes_that_are_no_utf8_is_text)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "plain", "plain" },
		{ "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
		  "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xff\xfe", "??" },
		{ "a\x80z", "a?z" },
		{ "\xc0\xaf", "??" },		/* overlong */
		{ "\xe0\x9f\xbf", "???" },	/* overlong */
		{ "\xed\xa0\x80", "???" },	/* a surrogate */
		{ "\xf4\x90\x80\x80", "????" }, /* beyond Unicode */
		{ "cut \xf0\x9f\x98", "cut ???" },
		{ "cut \xe2\x82", "cut ??" },
		{ "cut \xc3", "cut ?" },
	};
	struct fail f;

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		fail_set(&f, EXIT_FAILED, -EIO, t[i].in, t[i].in, "%s",
			 t[i].in);
		cr_expect_str_eq(f.object, t[i].out);
		cr_expect_str_eq(f.message, t[i].out);
		cr_expect_str_eq(f.hint, t[i].out);
	}
}

Test(log, failure_cut_within_a_character_stays_text)
{
	char name[2 * sizeof(((struct fail *)0)->object) + 1];
	struct fail f;

	for (size_t i = 0; i + 1 < sizeof(name); i += 2)
		memcpy(name + i, "\xc3\xa9", 3);
	fail_set(&f, EXIT_FAILED, -EIO, name, NULL, "none");
	cr_assert_eq(strlen(f.object), sizeof(f.object) - 1);
	cr_assert_eq(f.object[sizeof(f.object) - 2], '?');
}
