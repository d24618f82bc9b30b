/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded log by pread, pwrite and ftruncate on the one fd it was given. */
#include "ringlog.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fdio.h"
#include "util.h"

#define MOVE_BYTES 16384

int ringlog_init(struct ringlog *r, int fd, uint64_t limit)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*r = (struct ringlog){ fd, (uint64_t)st.st_size, limit };
	return 0;
}

static int write_all(int fd, const uint8_t *data, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = fd_pwrite(fd, data, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

/* Moves [from, bytes) to the front. A crash half way leaves both halves. */
static int move_to_front(struct ringlog *r, uint64_t from)
{
	uint8_t buf[MOVE_BYTES];
	uint64_t to = 0;

	while (from < r->bytes) {
		size_t want = MIN(sizeof(buf), r->bytes - from);
		ssize_t n = fd_pread(r->fd, buf, want, from);
		const uint8_t *start = buf;
		int err;

		if (n < 0)
			return -errno;
		if (n == 0)
			break; /* somebody else cut it short */
		from += (uint64_t)n;
		if (to == 0) {
			const uint8_t *nl = memchr(buf, '\n', (size_t)n);

			if (nl)
				start = nl + 1;
		}
		n -= start - buf;
		err = write_all(r->fd, start, (size_t)n, to);
		if (err)
			return err;
		to += (uint64_t)n;
	}
	r->bytes = to;
	return ftruncate(r->fd, (off_t)to) ? -errno : 0;
}

int ringlog_append(struct ringlog *r, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t keep = r->limit / 2;
	int err;

	if (len > r->limit - keep) {
		p += len - (r->limit - keep);
		len = (size_t)(r->limit - keep);
	}
	if (!range_within(r->bytes, len, r->limit)) {
		err = move_to_front(r, r->bytes - MIN(keep, r->bytes));
		if (err)
			return err;
	}
	err = write_all(r->fd, p, len, r->bytes);
	if (!err)
		r->bytes += len;
	return err;
}
