/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparing disks. In the order of what it costs: a subtree that both have is
 * passed over whole, a run in the same place too, zeroes are not read twice,
 * and what is left is read and compared.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "disk_copy_impl.h"
#include "fileio.h"

struct comparing {
	const struct disk_view *a, *b;
	uint64_t pages; /* of the larger one */
	uint64_t ask;	/* how many to locate */
	int (*range)(void *ctx, uint64_t page, uint64_t count);
	void *ctx;
	struct disk_difference *diff;
	uint64_t run_page, run_count; /* that differs, not told yet */
	struct fail *why;
	uint8_t *buf; /* for both */
	/* The last two layers that were asked about. */
	const struct layer *x, *y;
	bool same;
};

/* ---- what is shared ---- */

/* One layer in one file, perhaps opened twice. A copy of the file is another:
 * whether it is a good one is for the comparison to find out. */
static bool same_layer(struct comparing *c, const struct layer *x,
		       const struct layer *y)
{
	struct stat a, b;

	if (x == y || !x || !y)
		return x == y;
	if (c->x == x && c->y == y)
		return c->same;
	c->x = x;
	c->y = y;
	c->same = object_id_equal(layer_id(x), layer_id(y)) &&
		  !fstat(layer_fd(x), &a) && !fstat(layer_fd(y), &b) &&
		  a.st_dev == b.st_dev && a.st_ino == b.st_ino;
	return c->same;
}

/* How many pages from `page` on are one subtree of both; 0: none. */
static int count_shared(struct comparing *c, uint64_t page, uint64_t *shared)
{
	const struct image *a = disk_view_image(c->a);
	const struct image *b = disk_view_image(c->b);
	uint64_t left;

	*shared = 0;
	if (!a || !b || disk_view_kind(c->a) != DISK_LAYER ||
	    disk_view_kind(c->b) != DISK_LAYER)
		return 0;
	if (page >= MIN(a->pages, b->pages))
		return 0;
	left = MIN(a->pages, b->pages) - page;
	for (unsigned v = MIN(a->level, b->level) + 1; v-- > 0;) {
		uint64_t span = UINT64_C(1) << (NODE_SHIFT * (v + 1));
		struct subtree x, y;
		int err;

		if (page % span)
			continue;
		err = image_subtree(a, page, v, &x, c->why);
		if (!err)
			err = image_subtree(b, page, v, &y, c->why);
		if (err)
			return err;
		if (x.layer && x.node.at == y.node.at &&
		    x.node.more == y.node.more &&
		    same_layer(c, x.layer, y.layer)) {
			*shared = MIN(span, left);
			return 0;
		}
	}
	return 0;
}

static bool same_place(struct comparing *c, const struct where *x,
		       const struct where *y)
{
	if (x->kind != y->kind)
		return false;
	switch (x->kind) {
	case WHERE_ZERO:
		return true;
	case WHERE_FILE:
		return x->fd == y->fd && x->offset == y->offset;
	case WHERE_IMAGE:
		return x->extent.kind == y->extent.kind &&
		       x->extent.at == y->extent.at &&
		       same_layer(c, x->extent.layer, y->extent.layer);
	}
	return false;
}

/* ---- what differs ---- */

static int end_run(struct comparing *c)
{
	int stop = c->run_count && c->range
		       ? c->range(c->ctx, c->run_page, c->run_count)
		       : 0;

	c->run_count = 0;
	return stop;
}

static int add_page(struct comparing *c, uint64_t page, const uint8_t *x,
		    const uint8_t *y)
{
	int stop = 0;
	unsigned at = 0;

	if (c->diff->pages++ == 0) {
		while (x[at] == y[at])
			at++;
		c->diff->first = (page << PAGE_SHIFT) + at;
	}
	if (c->run_page + c->run_count != page)
		stop = end_run(c);
	if (!c->run_count)
		c->run_page = page;
	c->run_count++;
	return stop;
}

static int compare_run(struct comparing *c, uint64_t page,
		       const struct where *wa, const struct where *wb)
{
	uint8_t *x = c->buf, *y = c->buf + COPY_PAGES * PAGE_BYTES;
	int err = disk_view_read(c->a, page, wa, x, c->why);

	if (!err)
		err = disk_view_read(c->b, page, wb, y, c->why);
	for (uint64_t i = 0; i < wa->count && !err; i++) {
		if (memcmp(x, y, PAGE_BYTES))
			err = add_page(c, page + i, x, y);
		x += PAGE_BYTES;
		y += PAGE_BYTES;
	}
	return err;
}

/* ---- */

/* Beyond the end of a disk all is zero. */
static int locate(const struct disk_view *v, uint64_t page, uint64_t max,
		  struct where *w, struct fail *why)
{
	uint64_t pages = disk_view_pages(v);

	*w = (struct where){ .kind = WHERE_ZERO, .count = max, .fd = -1 };
	if (page >= pages)
		return 0;
	return disk_view_locate(v, page, MIN(max, pages - page), w, why);
}

/* The next pages that are alike in how they are compared: their number. */
static int compare_next(struct comparing *c, uint64_t page, uint64_t *count)
{
	struct where wa, wb;
	int err = count_shared(c, page, count);

	if (err || *count)
		return err;
	c->ask = MIN(c->ask, c->pages - page);
	err = locate(c->a, page, c->ask, &wa, c->why);
	if (!err)
		err = locate(c->b, page, wa.count, &wb, c->why);
	if (err)
		return err;
	*count = MIN(wa.count, wb.count);
	if (same_place(c, &wa, &wb)) {
		c->ask = next_ask(c->ask, UINT64_MAX);
		return 0;
	}
	c->ask = COPY_PAGES;
	*count = MIN(*count, COPY_PAGES);
	where_cut(&wa, *count);
	where_cut(&wb, *count);
	return compare_run(c, page, &wa, &wb);
}

int disk_compare(const struct disk_view *a, const struct disk_view *b,
		 int (*range)(void *ctx, uint64_t page, uint64_t count),
		 void *ctx, const struct disk_progress *p,
		 struct disk_difference *diff, struct fail *why)
{
	struct comparing c = {
		.a = a,
		.b = b,
		.pages = MAX(disk_view_pages(a), disk_view_pages(b)),
		.ask = COPY_PAGES,
		.range = range,
		.ctx = ctx,
		.diff = diff,
		.why = why,
	};
	_cleanup_free_ uint8_t *buf = malloc(2 * COPY_PAGES * PAGE_BYTES);
	uint64_t page = 0, count;
	int err = 0;

	*diff = (struct disk_difference){ 0 };
	c.buf = buf;
	if (!buf)
		return file_failed(disk_view_name(a), -ENOMEM, "compare", why);
	while (page < c.pages && !err) {
		err = disk_tell_progress(p, page, c.pages, why);
		if (!err)
			err = compare_next(&c, page, &count);
		if (!err)
			page += count;
	}
	return err ? err : end_run(&c);
}
