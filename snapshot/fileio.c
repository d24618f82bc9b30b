/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes over pread and pwrite. */
#include "fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fdio.h"

int file_open(int dir, const char *path, int flags)
{
	int fd = openat(dir, path, flags | O_RDONLY | O_CLOEXEC | O_NOATIME);

	if (fd >= 0 || errno != EPERM)
		return fd;
	return openat(dir, path, flags | O_RDONLY | O_CLOEXEC);
}

int file_read(int fd, uint64_t offset, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = fd_pread(fd, p, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int file_write(int fd, uint64_t offset, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = fd_pwrite(fd, p, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int file_sync(int fd)
{
	/* EINTR is a failure like all others: see the header. */
	return fdatasync(fd) ? -errno : 0;
}

int file_sync_dir(int dir)
{
	return fsync(dir) && errno != EINVAL ? -errno : 0;
}

int file_own_dir(int dir, const char *path, struct fail *why)
{
	struct stat st;

	if (fstat(dir, &st) < 0)
		return file_failed(path, -errno, "look at", why);
	if (st.st_uid != geteuid())
		return fail_set(why, EXIT_DENIED, -EPERM, path,
				"set TINTYPE_HOME to a directory of yours",
				"belongs to user %u, not to you", st.st_uid);
	if (st.st_mode & 022)
		return fail_set(why, EXIT_DENIED, -EPERM, path,
				"chmod it to 700", "others may write to it");
	return 0;
}

int file_bytes(int fd, uint64_t *bytes)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < 0)
		return -EINVAL;
	*bytes = (uint64_t)st.st_size;
	return 0;
}

int file_failed(const char *name, int err, const char *verb, struct fail *why)
{
	enum exit_code code = EXIT_FAILED;
	const char *hint = NULL;

	switch (-err) {
	case EMFILE:
		hint = "raise the limit with 'ulimit -n'";
		break;
	case ENOMEM:
		return fail_set(why, EXIT_NO_SPACE, err, name, NULL,
				"out of memory");
	case ENODATA:
		return fail_set(why, EXIT_INTEGRITY, err, name, NULL,
				"%s: the file is shorter than it was", verb);
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		code = EXIT_NO_SPACE;
		break;
	case EACCES:
	case EPERM:
	case EROFS:
		code = EXIT_DENIED;
		break;
	case ENOENT:
	case ENOTDIR:
		code = EXIT_NOT_FOUND;
		break;
	}
	return fail_set(why, code, err, name, hint, "%s: %s", verb,
			strerror(-err));
}
