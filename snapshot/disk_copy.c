/* SPDX-License-Identifier: Apache-2.0 */
/* From a disk to a layer, and to a raw file. */
#include "disk_copy.h"

#include <errno.h>
#include <string.h>

#include "disk_copy_impl.h"
#include "fileio.h"

/* 64 MiB: how many zeroes are written between two looks at whether to stop. */
#define PIECE_PAGES 16384

int disk_tell_progress(const struct disk_progress *p, uint64_t page,
		       uint64_t pages, struct fail *why)
{
	if (!p || !p->fn ||
	    !p->fn(p->ctx, page << PAGE_SHIFT, pages << PAGE_SHIFT))
		return 0;
	return fail_set(why, EXIT_CANCELLED, -ECANCELED, "", NULL, "cancelled");
}

uint64_t next_ask(uint64_t ask, uint64_t max)
{
	return ask > max / 4 ? max : ask * 4;
}

/* What is done with each run: `data` NULL: zero. */
typedef int (*run_fn)(void *ctx, uint64_t page, uint64_t count,
		      const uint8_t *data, struct fail *why);

/* Runs of zeroes have at most max_zero pages, for what takes time for them. */
static int each_run(const struct disk_view *from, run_fn fn, void *ctx,
		    uint64_t max_zero, const struct disk_progress *p,
		    struct fail *why)
{
	_cleanup_free_ uint8_t *buf = malloc(COPY_PAGES * PAGE_BYTES);
	uint64_t pages = disk_view_pages(from), page = 0;
	uint64_t ask = COPY_PAGES;
	struct where w;
	int err = buf ? 0 : -ENOMEM;

	if (err)
		return file_failed(disk_view_name(from), err, "read", why);
	while (page < pages && !err) {
		err = disk_tell_progress(p, page, pages, why);
		ask = MIN(ask, pages - page);
		if (!err)
			err = disk_view_locate(from, page, ask, &w, why);
		if (err)
			break;
		if (w.kind != WHERE_ZERO) {
			where_cut(&w, MIN(w.count, COPY_PAGES));
			err = disk_view_read(from, page, &w, buf, why);
		}
		if (!err)
			err = fn(ctx, page, w.count,
				 w.kind == WHERE_ZERO ? NULL : buf, why);
		page += w.count;
		ask =
		    w.kind == WHERE_ZERO ? next_ask(ask, max_zero) : COPY_PAGES;
	}
	return err ? err : disk_tell_progress(p, pages, pages, why);
}

/* ---- to a layer ---- */

struct import {
	struct draft *draft;
	bool over;
};

static int import_run(void *ctx, uint64_t page, uint64_t count,
		      const uint8_t *data, struct fail *why)
{
	const struct import *x = ctx;
	int err = 0;

	if (!data)
		return x->over ? draft_put_zero(x->draft, page, count, why) : 0;
	for (uint64_t i = 0; i < count && !err; i++)
		err = draft_put(x->draft, page + i, data + i * PAGE_BYTES, why);
	return err;
}

int disk_import(struct draft *d, const struct disk_view *from, bool over,
		const struct disk_progress *p, struct fail *why)
{
	struct import x = { d, over };

	return each_run(from, import_run, &x, over ? PIECE_PAGES : UINT64_MAX,
			p, why);
}

/* ---- to a raw file ---- */

struct sink {
	int fd;
	const char *name;
	uint64_t bytes; /* of the disk */
};

/* The bytes of those pages that the disk has. */
static size_t bytes_of(const struct sink *s, uint64_t page, uint64_t count)
{
	return MIN(count << PAGE_SHIFT, s->bytes - (page << PAGE_SHIFT));
}

static int export_run(void *ctx, uint64_t page, uint64_t count,
		      const uint8_t *data, struct fail *why)
{
	const struct sink *s = ctx;
	uint64_t i = 0, end;
	int err = 0;

	while (data && i < count && !err) {
		bool zero = mem_is_zero(data + i * PAGE_BYTES, PAGE_BYTES);

		end = i + 1;
		while (end < count &&
		       mem_is_zero(data + end * PAGE_BYTES, PAGE_BYTES) == zero)
			end++;
		if (!zero)
			err = file_write(s->fd, (page + i) << PAGE_SHIFT,
					 data + i * PAGE_BYTES,
					 bytes_of(s, page + i, end - i));
		i = end;
	}
	return err ? file_failed(s->name, err, "write", why) : 0;
}

int disk_export(int fd, const char *name, const struct disk_view *from,
		const struct disk_progress *p, struct fail *why)
{
	struct sink s = { fd, name, disk_view_bytes(from) };

	if (ftruncate(fd, (off_t)s.bytes) < 0)
		return file_failed(name, -errno, "write", why);
	return each_run(from, export_run, &s, UINT64_MAX, p, why);
}

/* ---- to a stream ---- */

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int stream_run(void *ctx, uint64_t page, uint64_t count,
		      const uint8_t *data, struct fail *why)
{
	static const uint8_t zero[16 * PAGE_BYTES];
	const struct sink *s = ctx;
	size_t len = bytes_of(s, page, count), n;
	int err = 0;

	if (data)
		err = write_all(s->fd, data, len);
	for (; !data && len && !err; len -= n) {
		n = MIN(len, sizeof(zero));
		err = write_all(s->fd, zero, n);
	}
	return err ? file_failed(s->name, err, "write", why) : 0;
}

int disk_stream(int fd, const char *name, const struct disk_view *from,
		const struct disk_progress *p, struct fail *why)
{
	struct sink s = { fd, name, disk_view_bytes(from) };

	return each_run(from, stream_run, &s, PIECE_PAGES, p, why);
}
