/* SPDX-License-Identifier: Apache-2.0 */
/* The bounded log: never above its limit, always the newest output. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ringlog.h"
#include "util.h"

static FILE *file;
static struct ringlog r;

static void setup(void)
{
	file = tmpfile();
	cr_assert_eq(ringlog_init(&r, fileno(file), 64), 0);
}

static void teardown(void)
{
	fclose(file);
}

TestSuite(ringlog, .init = setup, .fini = teardown);

static const char *content(void)
{
	static char buf[4096];
	ssize_t n = pread(fileno(file), buf, sizeof(buf) - 1, 0);

	cr_assert_geq(n, 0);
	buf[n] = 0;
	return buf;
}

static void append(const char *s)
{
	cr_assert_eq(ringlog_append(&r, s, strlen(s)), 0);
}

Test(ringlog, appends_while_it_fits)
{
	append("one\n");
	append("two\n");
	cr_assert_str_eq(content(), "one\ntwo\n");
}

Test(ringlog, goes_on_with_what_the_file_holds)
{
	struct ringlog again;

	append("one\n");
	cr_assert_eq(ringlog_init(&again, fileno(file), 64), 0);
	cr_assert_eq(ringlog_append(&again, "two\n", 4), 0);
	cr_assert_str_eq(content(), "one\ntwo\n");
}

Test(ringlog, keeps_the_newer_half_from_the_start_of_a_line)
{
	for (int i = 0; i < 8; i++)
		append("1234567\n"); /* 64 bytes: full */
	append("new\n");
	cr_assert_str_eq(content(), "1234567\n1234567\n1234567\nnew\n");
}

Test(ringlog, line_longer_than_half_is_cut)
{
	append("0123456789012345678901234567890123456789012345678901234567890");
	append("abcdef");
	cr_assert_str_eq(content(), "90123456789012345678901234567890abcdef");
}

Test(ringlog, piece_longer_than_half_keeps_its_end)
{
	char big[1000];

	memset(big, 'x', sizeof(big));
	big[999] = '!';
	append("old\n");
	cr_assert_eq(ringlog_append(&r, big, sizeof(big)), 0);
	cr_assert_leq(strlen(content()), 64);
	cr_assert_eq(content()[strlen(content()) - 1], '!');
}

Test(ringlog, stays_within_its_limit_whatever_comes)
{
	struct stat st;

	for (unsigned i = 0; i < 5000; i++) {
		char piece[100];

		memset(piece, i % 7 ? 'a' : '\n', sizeof(piece));
		cr_assert_eq(ringlog_append(&r, piece, i * 31 % 100), 0);
		cr_assert_eq(fstat(r.fd, &st), 0);
		cr_assert_leq(st.st_size, 64);
		cr_assert_eq((uint64_t)st.st_size, r.bytes);
	}
}

Test(ringlog, file_that_is_too_long_already_is_brought_within)
{
	char big[300];
	struct stat st;

	memset(big, 'b', sizeof(big));
	cr_assert_eq(pwrite(r.fd, big, sizeof(big), 0), 300);
	cr_assert_eq(ringlog_init(&r, r.fd, 64), 0);
	append("x");
	cr_assert_eq(fstat(r.fd, &st), 0);
	cr_assert_leq(st.st_size, 64);
}

Test(ringlog, file_cut_short_by_another_is_survived)
{
	for (int i = 0; i < 8; i++)
		append("1234567\n");
	cr_assert_eq(ftruncate(r.fd, 0), 0);
	append("new\n");
	cr_assert_str_eq(content(), "new\n");
}

Test(ringlog, pipe_is_refused_and_a_write_error_is_told)
{
	struct ringlog bad;
	int fd[2], ro;

	cr_assert_eq(pipe(fd), 0);
	cr_assert_eq(ringlog_init(&bad, fd[1], 64), -EINVAL);
	ro = open("/proc/self/exe", O_RDONLY);
	cr_assert_eq(ringlog_init(&bad, ro, 1u << 30), 0);
	cr_assert_eq(ringlog_append(&bad, "x", 1), -EBADF);
}
