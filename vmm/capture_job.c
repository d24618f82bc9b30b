/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the writer does for a capture: takes the files, and fills and seals
 * them. Each page of RAM is copied once and looked at in the copy; a page that
 * is not there is not touched: without a parent it is zero, else it is as the
 * parent has it.
 */
#include "capture_impl.h"

#include <errno.h>
#include <string.h>

#include "fdio.h"
#include "gmem.h"
#include "pagemap.h"

static struct capture *capture_of(struct writer_job *j)
{
	return container_of(j, struct capture, job);
}

static int cancelled(struct capture *c)
{
	return fail_set(&c->job_fail, EXIT_CANCELLED, -ECANCELED, c->cfg.name,
			NULL, "the capture was given up");
}

/* ---- files ---- */

static int prepare(struct capture *c)
{
	unsigned own = c->memory_too ? 2 : 0;
	int r = fd_receive(c->conn, c->fds, c->nfds, &c->job.cancel);

	if (r < 0)
		return fail_set(&c->job_fail, EXIT_FAILED, r, c->cfg.name, NULL,
				"the capture's files did not come: %s",
				strerror(-r));
	if (own) {
		c->layer_rw = c->fds[0];
		c->layer_ro = c->fds[1];
	}
	r = disk_set_prepare(c->cfg.disks, c->fds + own, c->nfds - own, c->uids,
			     &c->job.cancel, &c->job_fail);
	if (r < 0 || !own)
		return r;
	r = dirty_start(&c->dirty);
	return r < 0
		   ? fail_set(&c->job_fail, EXIT_OWN_FAILURE, r, c->cfg.name,
			      NULL, "switch the dirty log on: %s", strerror(-r))
		   : 0;
}

void capture_job_prepare(struct writer_job *j)
{
	struct capture *c = capture_of(j);

	c->err = prepare(c);
}

/* ---- memory ---- */

/* So many pages are looked up and copied before anything else is looked at. */
#define BATCH 512

/* Of [page, page + n): which are there, or may be. */
static void find_there(const struct capture *c, const struct gmem *ram,
		       uint64_t page, unsigned n, bool there[BATCH])
{
	uint64_t map[BATCH];
	uint64_t first = ((uint64_t)(uintptr_t)ram->base >> PAGE_SHIFT) + page;
	ssize_t got = -1;

	if (c->cfg.pagemap >= 0)
		got = fd_pread(c->cfg.pagemap, map, n * sizeof(*map),
			       first * sizeof(*map));
	for (unsigned i = 0; i < n; i++)
		there[i] = got != (ssize_t)(n * sizeof(*map)) ||
			   map[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED);
}

/* What the snapshot must say of a page that changed: its bytes if it is there;
 * if it is not, it was given back, and is zero. */
static int put_page(struct capture *c, struct draft *d, const uint8_t *ram,
		    uint64_t page, bool there)
{
	uint8_t copy[PAGE_BYTES];

	atomic_fetch_add(&c->copied_pages, 1);
	if (!there)
		return draft_put_zero(d, page, 1, &c->job_fail);
	memcpy(copy, ram + (page << PAGE_SHIFT), sizeof(copy));
	return draft_put(d, page, copy, &c->job_fail);
}

static int put_batch(struct capture *c, struct draft *d, uint64_t page,
		     unsigned n)
{
	const struct gmem *ram = machine_ram(c->cfg.machine);
	bool full = !c->memory.layer;
	bool there[BATCH];
	int r = 0;

	find_there(c, ram, page, n, there);
	for (unsigned i = 0; i < n && r == 0; i++)
		if (dirty_is(&c->dirty, page + i) && (there[i] || !full))
			r = put_page(c, d, ram->base, page + i, there[i]);
	return r;
}

uint64_t capture_changed_most(struct capture *c)
{
	const struct gmem *ram = machine_ram(c->cfg.machine);
	bool there[BATCH];
	uint64_t n = 0;

	if (c->memory.layer && dirty_take(&c->dirty) == 0)
		return dirty_count(&c->dirty);
	for (uint64_t at = 0; at < c->dirty.pages; at += BATCH) {
		unsigned part =
		    (unsigned)MIN(c->dirty.pages - at, (uint64_t)BATCH);

		find_there(c, ram, at, part, there);
		for (unsigned i = 0; i < part; i++)
			n += there[i];
	}
	return n;
}

static int put_memory(struct capture *c, struct draft *d)
{
	int r = 0;

	for (uint64_t at = 0; at < c->dirty.pages && r == 0; at += BATCH) {
		if (atomic_load(&c->job.cancel))
			return cancelled(c);
		r = put_batch(
		    c, d, at,
		    (unsigned)MIN(c->dirty.pages - at, (uint64_t)BATCH));
	}
	return r;
}

static int put_state(struct capture *c, struct draft *d)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	int r = machine_saved_encode(c->saved, &data, &len, &c->job_fail);

	return r < 0 ? r : draft_put_second(d, data, len, &c->job_fail);
}

/* All that it imports is in the set: the base's layers. */
static int no_other_layer(void *ctx, const struct object_id *id)
{
	return -ENOENT;
}

/* From here on it can be read, also as the next one's base. */
static int open_memory(struct capture *c)
{
	struct layer *l;
	int r = layer_open(c->cfg.layers, steal_fd(&c->layer_ro), "memory",
			   &c->layer, &l, &c->job_fail);

	if (r == 0)
		r = layer_link(c->cfg.layers, no_other_layer, NULL,
			       &c->job_fail);
	return r ? r : image_open(&c->next, l, 0, &c->job_fail);
}

static int seal_memory(struct capture *c)
{
	const struct draft_options o = {
		.fd = c->layer_rw,
		.name = "memory",
		.bytes = c->dirty.pages << PAGE_SHIFT,
		.base = c->memory.layer ? &c->memory : NULL,
	};
	struct draft *d;
	int r = draft_create(&d, &o, &c->job_fail);

	if (r < 0)
		return r;
	r = put_memory(c, d);
	if (r == 0)
		r = put_state(c, d);
	if (r == 0) {
		draft_count(d, &c->counts);
		r = draft_seal(d, &c->layer, &c->job_fail);
	}
	draft_destroy(d);
	cleanup_close(&c->layer_rw);
	c->layer_rw = -1;
	return r < 0 ? r : open_memory(c);
}

/* Disks first: a FLUSH of the guest may wait for their heads. */
void capture_job_seal(struct writer_job *j)
{
	struct capture *c = capture_of(j);

	c->nsealed =
	    disk_set_seal(c->cfg.disks, c->sealed, &j->cancel, &c->job_fail);
	c->err = MIN(c->nsealed, 0);
	if (c->err == 0 && c->memory_too)
		c->err = seal_memory(c);
}
