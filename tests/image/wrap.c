/* SPDX-License-Identifier: Apache-2.0 */
/* See wrap.h. The names are those that the C library's headers make of the
 * calls for files of 64 bits; reads and writes are the library's own. */
#include "wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

const char *const io_kind_names[IO_KINDS] = {
	[IO_READ] = "pread",	  [IO_WRITE] = "pwrite",
	[IO_SYNC] = "fdatasync",  [IO_TRUNCATE] = "ftruncate",
	[IO_PUNCH] = "fallocate",
};

struct io_fate (*io_hook)(const struct io_call *c);
bool (*alloc_hook)(void);

static struct io_fate ask(const struct io_call *c)
{
	struct io_fate (*hook)(const struct io_call *) = io_hook;
	struct io_fate fate = { 0 };

	if (!hook)
		return fate;
	io_hook = NULL;
	fate = hook(c);
	io_hook = hook;
	return fate;
}

/* The length that is asked for, or 0 when the call is not made. */
static size_t length_of(const struct io_fate *f, size_t len)
{
	if (f->err && !f->effect)
		return 0;
	return f->at_most && f->at_most < len ? f->at_most : len;
}

static ssize_t end(const struct io_fate *f, ssize_t result)
{
	if (!f->err)
		return result;
	errno = f->err;
	return -1;
}

ssize_t __real_fd_pread(int fd, void *buf, size_t len, uint64_t offset);
ssize_t __wrap_fd_pread(int fd, void *buf, size_t len, uint64_t offset);
ssize_t __real_fd_pwrite(int fd, const void *buf, size_t len, uint64_t offset);
ssize_t __wrap_fd_pwrite(int fd, const void *buf, size_t len, uint64_t offset);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_ftruncate64(int fd, off_t length);
int __wrap_ftruncate64(int fd, off_t length);
int __real_fallocate64(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len);
void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

ssize_t __wrap_fd_pread(int fd, void *buf, size_t len, uint64_t offset)
{
	struct io_call c = { .kind = IO_READ, .fd = fd };
	struct io_fate f;

	c.offset = (uint64_t)offset;
	c.length = len;
	f = ask(&c);
	len = length_of(&f, len);
	return end(&f, len ? __real_fd_pread(fd, buf, len, offset) : 0);
}

ssize_t __wrap_fd_pwrite(int fd, const void *buf, size_t len, uint64_t offset)
{
	struct io_call c = { .kind = IO_WRITE, .fd = fd, .buf = buf };
	struct io_fate f;

	c.offset = (uint64_t)offset;
	c.length = len;
	f = ask(&c);
	len = length_of(&f, len);
	return end(&f, len ? __real_fd_pwrite(fd, buf, len, offset) : 0);
}

int __wrap_fdatasync(int fd)
{
	struct io_call c = { .kind = IO_SYNC, .fd = fd };
	struct io_fate f = ask(&c);

	return (int)end(&f, f.err ? 0 : __real_fdatasync(fd));
}

int __wrap_ftruncate64(int fd, off_t length)
{
	struct io_call c = { .kind = IO_TRUNCATE, .fd = fd };
	struct io_fate f;

	c.offset = (uint64_t)length;
	f = ask(&c);
	return (int)end(&f, f.err ? 0 : __real_ftruncate64(fd, length));
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len)
{
	struct io_call c = { .kind = IO_PUNCH, .fd = fd };
	struct io_fate f;

	c.offset = (uint64_t)offset;
	c.length = (uint64_t)len;
	f = ask(&c);
	return (int)end(&f,
			f.err ? 0 : __real_fallocate64(fd, mode, offset, len));
}

/* ---- memory ---- */

static bool refused(void)
{
	bool (*hook)(void) = alloc_hook;
	bool refuse;

	if (!hook)
		return false;
	alloc_hook = NULL;
	refuse = hook();
	alloc_hook = hook;
	if (refuse)
		errno = ENOMEM;
	return refuse;
}

void *__wrap_malloc(size_t n)
{
	return refused() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refused() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return refused() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return refused() ? NULL : __real_reallocarray(p, n, size);
}
