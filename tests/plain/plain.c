/* SPDX-License-Identifier: Apache-2.0 */
/* Runs each test in a child and tells its end as TAP: see criterion.h here. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEST_OK = 0, TEST_FAILED = 1, TEST_SKIPPED = 77 };

static struct plain_test *tests, **last = &tests;
static _Atomic bool failed; /* in a child: some check did not hold */
static char *reason;	    /* of a skip; shared with the children */
#define REASON_BYTES 256

void plain_add(struct plain_test *t)
{
	*last = t;
	last = &t->next;
}

void plain_check(bool fatal, bool ok, const char *file, int line,
		 const char *what, const char *fmt, ...)
{
	va_list ap;

	if (ok)
		return;
	failed = true;
	flockfile(stderr);
	fprintf(stderr, "# %s:%d: %s: ", file, line, what);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	funlockfile(stderr);
	if (fatal)
		_exit(TEST_FAILED);
}

void plain_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, REASON_BYTES, fmt, ap);
	va_end(ap);
	_exit(TEST_SKIPPED);
}

static const struct plain_options *suite_of(const struct plain_test *t)
{
	static const struct plain_options none;

	for (const struct plain_test *s = tests; s; s = s->next)
		if (!s->name && strcmp(s->suite, t->suite) == 0)
			return &s->options;
	return &none;
}

static void call(void (*fn)(void))
{
	if (fn)
		fn();
}

static int run(const struct plain_test *t)
{
	const struct plain_options *suite = suite_of(t);
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		call(suite->init);
		call(t->options.init);
		t->run();
		call(t->options.fini);
		call(suite->fini);
		/* Not _exit: the sanitizer has its word at exit. */
		exit(failed ? TEST_FAILED : TEST_OK);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return TEST_FAILED;
	if (WIFSIGNALED(status))
		fprintf(stderr, "# signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : TEST_FAILED;
}

int main(void)
{
	unsigned n = 0, bad = 0;

	reason = mmap(NULL, REASON_BYTES, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (reason == MAP_FAILED)
		return 1;
	for (struct plain_test *t = tests; t; t = t->next)
		n += t->name != NULL;
	printf("1..%u\n", n);
	for (struct plain_test *t = tests; t; t = t->next) {
		int end = t->name ? run(t) : TEST_OK;

		if (!t->name)
			continue;
		bad += end != TEST_OK && end != TEST_SKIPPED;
		printf("%s - %s::%s",
		       end == TEST_OK || end == TEST_SKIPPED ? "ok" : "not ok",
		       t->suite, t->name);
		if (end == TEST_SKIPPED)
			printf(" # SKIP %s", reason);
		printf("\n");
	}
	return bad > 0;
}
