/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole reads and writes: a call that was interrupted or came back short goes
 * on. Any thread.
 */
#ifndef TINTYPE_FILEIO_H
#define TINTYPE_FILEIO_H

#include <stddef.h>
#include <stdint.h>

#include "fail.h"

/* A file's name as messages have it; what is longer is cut. */
#define FILE_NAME_TEXT 256

/* As openat, for reading: the reads do not count as access where that is up to
 * us (our own files), so that each is spared a look at the time. The fd, or -1
 * with errno. */
int file_open(int dir, const char *path, int flags);
/* 0 or -errno; -ENODATA when the file ends before `len` bytes were read. */
int file_read(int fd, uint64_t offset, void *buf, size_t len);
/* 0 or -errno; some of it may have been written then. */
int file_write(int fd, uint64_t offset, const void *buf, size_t len);
/* fdatasync. After a failure the kernel has marked the pages clean: what they
 * held must be written again or given up, never synced again. 0 or -errno. */
int file_sync(int fd);
/* fsync of a directory, which makes its names durable; one whose file system
 * has nothing to sync is synced. 0 or -errno. */
int file_sync_dir(int dir);
/* Whether the directory in `dir` is ours alone to write in: 0, or -errno with
 * `why`, which calls it `path`. */
int file_own_dir(int dir, const char *path, struct fail *why);
/* The file's length: 0 or -errno; -EINVAL when it is no regular file. */
int file_bytes(int fd, uint64_t *bytes);

/* Tells that `verb` on the file `name` failed with `err` (which may be -ENOMEM
 * of our own), with the exit code that fits; returns err. */
int file_failed(const char *name, int err, const char *verb, struct fail *why);

#endif
