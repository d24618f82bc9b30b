/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bug of our own ends the process with one line and SIGABRT, also inside the
 * closed sandbox.
 *
 * These take the place of the C library's functions of the same names, which
 * the compiler calls. The library's own allocate memory and map a page before
 * they abort; a vCPU's thread may do neither, and would end with SIGSYS and no
 * word of what was wrong. Here: one write, then one signal.
 */
#include "fatal.h"

#include <assert.h>
#include <signal.h>

#include "log.h"
#include "thread.h"

void __stack_chk_fail(void) __attribute__((noreturn));
void __chk_fail(void) __attribute__((noreturn));

void fatal_abort(void)
{
	thread_raise(SIGABRT);
	/* Who started us had blocked or ignored it: SIGILL, which cannot be. */
	__builtin_trap();
}

void __assert_fail(const char *what, const char *file, unsigned line,
		   const char *function)
{
	log_error("bug", "%s:%u: %s: assertion failed: %s", file, line,
		  function, what);
	fatal_abort();
}

void __stack_chk_fail(void)
{
	log_error("bug", "a function wrote past its stack frame");
	fatal_abort();
}

void __chk_fail(void)
{
	log_error("bug", "a library call would have written past its buffer");
	fatal_abort();
}
