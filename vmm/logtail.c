/* SPDX-License-Identifier: Apache-2.0 */
/* Follows a log that is cut and moved under it. */
#include "logtail.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

#define CHUNK_BYTES 16384

void logtail_init(struct logtail *t, int fd, uint64_t limit)
{
	t->fd = fd;
	t->limit = limit;
	t->at = 0;
	t->ntail = 0;
	t->lost = 0;
}

static void remember(struct logtail *t, const uint8_t *data, size_t len)
{
	size_t keep;

	if (len >= LOGTAIL_BYTES) {
		memcpy(t->tail, data + len - LOGTAIL_BYTES, LOGTAIL_BYTES);
		t->ntail = LOGTAIL_BYTES;
		return;
	}
	keep = MIN(t->ntail, LOGTAIL_BYTES - len);
	memmove(t->tail, t->tail + t->ntail - keep, keep);
	memcpy(t->tail + keep, data, len);
	t->ntail = keep + len;
}

static bool moved(const struct logtail *t)
{
	uint8_t now[LOGTAIL_BYTES];

	return pread(t->fd, now, t->ntail, (off_t)(t->at - t->ntail)) !=
		   (ssize_t)t->ntail ||
	       memcmp(now, t->tail, t->ntail) != 0;
}

/* Where the remembered bytes end in `text`, the last such place; 0: nowhere. */
static size_t find_tail(const struct logtail *t, const uint8_t *text,
			size_t len)
{
	const uint8_t *from = text, *hit;
	size_t end = 0;

	while ((hit = memmem(from, len - (size_t)(from - text), t->tail,
			     t->ntail))) {
		end = (size_t)(hit - text) + t->ntail;
		from = hit + 1;
	}
	return end;
}

/* Less than this of the tail, at the start of the file, is no evidence. */
#define PART_MIN 16

/* The cut went through what we remember: the file starts with its end. */
static size_t find_part(const struct logtail *t, const uint8_t *text,
			size_t len)
{
	for (size_t n = MIN(t->ntail, len); n >= PART_MIN; n--)
		if (!memcmp(text, t->tail + t->ntail - n, n))
			return n;
	return 0;
}

/* What was read last is in the half that was kept, or was dropped with the
 * other: then all that is there is new, and some was lost. */
static int find_place(struct logtail *t)
{
	_cleanup_free_ uint8_t *text = malloc(t->limit);
	ssize_t n = text ? pread(t->fd, text, t->limit, 0) : -1;
	size_t half;

	if (n < 0)
		return text ? -errno : -ENOMEM;
	half = MIN((size_t)n, (size_t)t->limit / 2);
	t->at = find_tail(t, text, half);
	if (!t->at)
		t->at = find_part(t, text, half);
	t->lost += !t->at;
	if (t->ntail > t->at) {
		memmove(t->tail, t->tail + t->ntail - t->at, t->at);
		t->ntail = t->at;
	}
	return 0;
}

int logtail_read(struct logtail *t,
		 int (*put)(void *ctx, const uint8_t *data, size_t len),
		 void *ctx)
{
	uint8_t buf[CHUNK_BYTES];
	int err = moved(t) ? find_place(t) : 0;

	while (!err) {
		ssize_t n = pread(t->fd, buf, sizeof(buf), (off_t)t->at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		err = put(ctx, buf, (size_t)n);
		if (err)
			break;
		remember(t, buf, (size_t)n);
		t->at += (uint64_t)n;
	}
	return err;
}
