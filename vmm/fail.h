/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A failure that a person will read: what, which object, why, what to do, and
 * the exit code. Functions that can fail for such a reason take a
 * `struct fail *` as their last argument, fill it once, at the place that
 * knows why, and return a negative errno as all others do.
 */
#ifndef TINTYPE_FAIL_H
#define TINTYPE_FAIL_H

/* The exit codes of every verb; `run` and `exec` use the guest's own. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_FOUND = 3,
	EXIT_CONFLICT = 4,
	EXIT_WRONG_STATE = 5,
	EXIT_INTEGRITY = 6,
	EXIT_INCOMPATIBLE = 7,
	EXIT_NO_SPACE = 8,
	EXIT_CANCELLED = 9,
	EXIT_DENIED = 10,
	EXIT_OWN_FAILURE = 125, /* `run`: our failure, not the guest's */
	EXIT_GUEST_CRASH = 134, /* `run`: panic or triple fault, as SIGABRT */
};

struct fail {
	enum exit_code code;
	char object[256];  /* "kernel /boot/vmlinuz", "web", "/dev/kvm" */
	char message[256]; /* why */
	char hint[192];	   /* what to do; may be empty */
};

/*
 * Fills `f` (which may be NULL) and returns `err`, so that a caller writes
 * `return fail_set(f, EXIT_DENIED, -EACCES, "/dev/kvm", "...", "...")`.
 * `hint` may be NULL. Texts that do not fit are cut; bytes that are no UTF-8
 * become '?'.
 */
int fail_set(struct fail *f, enum exit_code code, int err, const char *object,
	     const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

/* Another object, for a caller who knows it better. */
void fail_about(struct fail *f, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* "E_INTEGRITY" and so on, for --json. */
const char *fail_code_name(enum exit_code code);

#endif
