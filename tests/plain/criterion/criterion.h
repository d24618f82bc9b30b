/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of Criterion as our tests use, for builds with ThreadSanitizer:
 * Criterion maps memory where that has its shadow, and ends before the first
 * test. Each test runs in a process of its own here too, one after another,
 * and the results are TAP.
 */
#ifndef TINTYPE_PLAIN_CRITERION_H
#define TINTYPE_PLAIN_CRITERION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plain_options {
	void (*init)(void);
	void (*fini)(void);
	double timeout; /* left to meson */
};

struct plain_test {
	const char *suite, *name; /* name NULL: the suite's options */
	void (*run)(void);
	struct plain_options options;
	struct plain_test *next;
};

void plain_add(struct plain_test *t);
void plain_check(bool fatal, bool ok, const char *file, int line,
		 const char *what, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
void plain_skip(const char *fmt, ...)
	__attribute__((format(printf, 1, 2), noreturn));

#define PLAIN_ADD(id, ...)                                                     \
	static struct plain_test id = { __VA_ARGS__ };                         \
	__attribute__((constructor)) static void id##_add(void)                \
	{                                                                      \
		plain_add(&id);                                                \
	}                                                                      \
	struct plain_test

#define TestSuite(S, ...)                                                      \
	PLAIN_ADD(S##_suite, .suite = #S, .options = { __VA_ARGS__ })

#define Test(S, N, ...)                                                        \
	static void S##_##N##_impl(void);                                      \
	PLAIN_ADD(S##_##N##_test, .suite = #S, .name = #N,                     \
		  .run = S##_##N##_impl, .options = { __VA_ARGS__ });          \
	static void S##_##N##_impl(void)

#define PLAIN_CHECK(fatal, ok, what, ...)                                      \
	plain_check(fatal, !!(ok), __FILE__, __LINE__, what, "" __VA_ARGS__)
#define PLAIN_STR(a, op, b) (strcmp(a, b) op 0)

#define cr_skip_test(...) plain_skip("" __VA_ARGS__)

#define cr_assert(c, ...)	PLAIN_CHECK(true, c, #c, __VA_ARGS__)
#define cr_assert_not(c, ...)	PLAIN_CHECK(true, !(c), "!" #c, __VA_ARGS__)
#define cr_assert_null(p, ...)	cr_assert_eq(p, NULL, __VA_ARGS__)
#define cr_assert_not_null(p, ...) cr_assert_neq(p, NULL, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)                                                \
	PLAIN_CHECK(true, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)                                               \
	PLAIN_CHECK(true, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)                                                \
	PLAIN_CHECK(true, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)                                                \
	PLAIN_CHECK(true, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)                                               \
	PLAIN_CHECK(true, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)                                               \
	PLAIN_CHECK(true, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)                                            \
	PLAIN_CHECK(true, PLAIN_STR(a, ==, b), #a " equals " #b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)                                           \
	PLAIN_CHECK(true, PLAIN_STR(a, !=, b), #a " differs " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...)                                         \
	PLAIN_CHECK(true, memcmp(a, b, n) == 0, #a " equals " #b, __VA_ARGS__)

#define cr_expect(c, ...)	PLAIN_CHECK(false, c, #c, __VA_ARGS__)
#define cr_expect_not(c, ...)	PLAIN_CHECK(false, !(c), "!" #c, __VA_ARGS__)
#define cr_expect_null(p, ...)	cr_expect_eq(p, NULL, __VA_ARGS__)
#define cr_expect_not_null(p, ...) cr_expect_neq(p, NULL, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)                                                \
	PLAIN_CHECK(false, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...)                                               \
	PLAIN_CHECK(false, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_expect_lt(a, b, ...)                                                \
	PLAIN_CHECK(false, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...)                                                \
	PLAIN_CHECK(false, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...)                                               \
	PLAIN_CHECK(false, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...)                                               \
	PLAIN_CHECK(false, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...)                                            \
	PLAIN_CHECK(false, PLAIN_STR(a, ==, b), #a " equals " #b, __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...)                                           \
	PLAIN_CHECK(false, PLAIN_STR(a, !=, b), #a " differs " #b, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...)                                         \
	PLAIN_CHECK(false, memcmp(a, b, n) == 0, #a " equals " #b, __VA_ARGS__)

#endif
