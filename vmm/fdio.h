/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read, write, pread and pwrite as two system calls, preadv2 and pwritev2: what
 * runs inside the sandbox moves its bytes by these four. They behave as their
 * namesakes in unistd.h, errno included, on every kind of fd.
 *
 * Any thread; signal handlers too.
 */
#ifndef TINTYPE_FDIO_H
#define TINTYPE_FDIO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

ssize_t fd_read(int fd, void *buf, size_t len);
ssize_t fd_write(int fd, const void *buf, size_t len);

/* EINVAL where an off_t does not hold the offset. */
ssize_t fd_pread(int fd, void *buf, size_t len, uint64_t offset);
ssize_t fd_pwrite(int fd, const void *buf, size_t len, uint64_t offset);

/* Of a gather write that took `done` bytes: copies what it left to `to`, which
 * has room for it. How much that is. */
size_t fd_keep_rest(void *to, const struct iovec *iov, unsigned n, size_t done);

#endif
