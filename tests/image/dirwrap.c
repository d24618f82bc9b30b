/* SPDX-License-Identifier: Apache-2.0 */
/* See dirwrap.h. */
#include "dirwrap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const dir_kind_names[DIR_KINDS] = {
	[DIR_MKDIR] = "mkdir",	       [DIR_OPEN] = "open",
	[DIR_LINK] = "link",	       [DIR_RENAME] = "rename",
	[DIR_UNLINK] = "unlink",       [DIR_SYNC] = "fsync",
	[DIR_DATA_SYNC] = "fdatasync", [DIR_WRITE] = "write",
	[DIR_RESERVE] = "fallocate",   [DIR_FCNTL] = "fcntl",
	[DIR_MEMORY] = "malloc",
};

int (*dir_before)(const struct dir_call *c);
void (*dir_after)(const struct dir_call *c);

static bool inside;

static bool refused(const struct dir_call *c)
{
	int err;

	if (inside || !dir_before)
		return false;
	inside = true;
	err = dir_before(c);
	inside = false;
	errno = err;
	return err != 0;
}

static void tell(const struct dir_call *c, bool made)
{
	int err = errno;

	if (inside || !dir_after || !made)
		return;
	inside = true;
	dir_after(c);
	inside = false;
	errno = err;
}

/* clang-format off */
#define WRAP(result, name, params, ...)                                        \
	result __real_##name params;                                           \
	result __wrap_##name params;                                           \
	result __wrap_##name params                                            \
	{                                                                      \
		const struct dir_call c = { __VA_ARGS__ };                     \
		result got;                                                    \
                                                                               \
		if (refused(&c))                                               \
			return -1;                                             \
		got = __real_##name CALL;                                      \
		tell(&c, got >= 0);                                            \
		return got;                                                    \
	}

#define CALL (dir, name, mode)
WRAP(int, mkdirat, (int dir, const char *name, mode_t mode),
     .kind = DIR_MKDIR, .fd = dir, .name = name)
#undef CALL
#define CALL (dir, name, to_dir, to, flags)
WRAP(int, linkat,
     (int dir, const char *name, int to_dir, const char *to, int flags),
     .kind = DIR_LINK, .fd = dir, .name = name, .to_fd = to_dir, .to = to)
#undef CALL
#define CALL (dir, name, to_dir, to)
WRAP(int, renameat,
     (int dir, const char *name, int to_dir, const char *to),
     .kind = DIR_RENAME, .fd = dir, .name = name, .to_fd = to_dir, .to = to)
#undef CALL
#define CALL (dir, name, flags)
WRAP(int, unlinkat, (int dir, const char *name, int flags),
     .kind = DIR_UNLINK, .fd = dir, .name = name)
#undef CALL
#define CALL (fd)
WRAP(int, fsync, (int fd), .kind = DIR_SYNC, .fd = fd)
WRAP(int, fdatasync, (int fd), .kind = DIR_DATA_SYNC, .fd = fd)
#undef CALL
#define CALL (fd, buf, len, offset)
WRAP(ssize_t, fd_pwrite,
     (int fd, const void *buf, size_t len, uint64_t offset),
     .kind = DIR_WRITE, .fd = fd)
#undef CALL
#define CALL (fd, mode, offset, len)
WRAP(int, fallocate64, (int fd, int mode, off_t offset, off_t len),
     .kind = DIR_RESERVE, .fd = fd)
#undef CALL
#define WRAP_MEMORY(name, params)                                              \
	void *__real_##name params;                                            \
	void *__wrap_##name params;                                            \
	void *__wrap_##name params                                             \
	{                                                                      \
		const struct dir_call c = { .kind = DIR_MEMORY, .fd = -1 };    \
                                                                               \
		return refused(&c) ? NULL : __real_##name CALL;                \
	}

#define CALL (n)
WRAP_MEMORY(malloc, (size_t n))
#undef CALL
#define CALL (n, size)
WRAP_MEMORY(calloc, (size_t n, size_t size))
#undef CALL
#define CALL (p, n)
WRAP_MEMORY(realloc, (void *p, size_t n))
#undef CALL
#define CALL (p, n, size)
WRAP_MEMORY(reallocarray, (void *p, size_t n, size_t size))
#undef CALL
#define CALL (text)
WRAP_MEMORY(strdup, (const char *text))
#undef CALL
/* clang-format on */

int __real_openat64(int dir, const char *name, int flags, ...);
int __wrap_openat64(int dir, const char *name, int flags, ...);
int __wrap_openat64(int dir, const char *name, int flags, ...)
{
	const struct dir_call c = {
		.kind = DIR_OPEN, .fd = dir, .name = name, .flags = flags
	};
	va_list ap;
	mode_t mode;
	int got;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	if (refused(&c))
		return -1;
	got = __real_openat64(dir, name, flags, mode);
	tell(&c, got >= 0);
	return got;
}

int __real_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...)
{
	const struct dir_call c = { .kind = DIR_FCNTL, .fd = fd, .flags = cmd };
	va_list ap;
	void *arg;
	int got;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (refused(&c))
		return -1;
	got = __real_fcntl64(fd, cmd, arg);
	tell(&c, got >= 0);
	return got;
}
