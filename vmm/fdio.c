/* SPDX-License-Identifier: Apache-2.0 */
/* One buffer is a vector of one, and the offset -1 the file's own position. */
#include "fdio.h"

#include <errno.h>
#include <string.h>

#include "util.h"

#define OWN_POSITION (-1)

#ifdef TINTYPE_INSTRUMENTED
/* These the sanitizers know: they check the buffer. */
#define preadv2(fd, v, n, at, flags)                                           \
	((at) < 0 ? readv(fd, v, n) : preadv(fd, v, n, at))
#define pwritev2(fd, v, n, at, flags)                                          \
	((at) < 0 ? writev(fd, v, n) : pwritev(fd, v, n, at))
#endif

ssize_t fd_read(int fd, void *buf, size_t len)
{
	struct iovec v = { buf, len };

	return preadv2(fd, &v, 1, OWN_POSITION, 0);
}

ssize_t fd_write(int fd, const void *buf, size_t len)
{
	struct iovec v = { (void *)buf, len };

	return pwritev2(fd, &v, 1, OWN_POSITION, 0);
}

static int bad_offset(void)
{
	errno = EINVAL;
	return -1;
}

ssize_t fd_pread(int fd, void *buf, size_t len, uint64_t offset)
{
	struct iovec v = { buf, len };

	if (offset > INT64_MAX)
		return bad_offset();
	return preadv2(fd, &v, 1, (off_t)offset, 0);
}

ssize_t fd_pwrite(int fd, const void *buf, size_t len, uint64_t offset)
{
	struct iovec v = { (void *)buf, len };

	if (offset > INT64_MAX)
		return bad_offset();
	return pwritev2(fd, &v, 1, (off_t)offset, 0);
}

size_t fd_keep_rest(void *to, const struct iovec *iov, unsigned n, size_t done)
{
	size_t kept = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t skip = MIN(done, iov[i].iov_len);
		size_t len = iov[i].iov_len - skip;

		done -= skip;
		memcpy((uint8_t *)to + kept, (uint8_t *)iov[i].iov_base + skip,
		       len);
		kept += len;
	}
	return kept;
}
