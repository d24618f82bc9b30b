/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replaying the log of a head. A batch is applied when the next one is found
 * whole, because that was written after this one's sync; the last one only if
 * the data that it vouches for is there. docs/image-format.md, "Recovery".
 */
#include <errno.h>
#include <string.h>

#include "bits.h"
#include "fileio.h"
#include "head_impl.h"

struct batch {
	struct log_record *v;
	size_t n, room;
	struct log_place start; /* where it begins */
	size_t extents;		/* of the log, before it */
};

struct replay {
	struct head *h;
	struct fail *why;
	uint32_t slots; /* the first one beyond the file */
	struct log_place p;
	uint64_t *seen; /* slots of the log that were followed to */
	struct batch batch[2];
	uint32_t held; /* slot of the page in buf; 0: none */
	struct log_record buf[LOG_PER_PAGE];
};

static int damaged(const struct replay *r, uint64_t offset, const char *what)
{
	return fail_set(r->why, EXIT_INTEGRITY, -EBADMSG, r->h->name,
			"restore the disk from a snapshot",
			"log damaged at 0x%llx: %s", (unsigned long long)offset,
			what);
}

/* ---- reading ---- */

static bool is_slots(const struct replay *r, uint32_t slot, uint32_t count)
{
	return slot && count && range_within(slot, count, r->slots);
}

/* The record at r->p: 1, 0 when the log's extent has no more, or -errno. */
static int read_record(struct replay *r, struct log_record *out)
{
	uint32_t slot = r->p.slot + r->p.record / LOG_PER_PAGE;
	int err;

	if (r->p.record >= r->p.pages * LOG_PER_PAGE)
		return 0;
	if (r->held != slot) {
		err = file_read(r->h->fd, (uint64_t)slot << PAGE_SHIFT, r->buf,
				sizeof(r->buf));
		if (err)
			return file_failed(r->h->name, err, "read", r->why);
		r->held = slot;
	}
	*out = r->buf[r->p.record % LOG_PER_PAGE];
	return 1;
}

/* Well formed, and about blocks of this disk. */
static bool record_fits(const struct replay *r, const struct log_record *x)
{
	uint64_t pages = r->h->map.pages;

	if (x->zero || x->zero2 || (x->type != LOG_MAP && x->flags))
		return false;
	switch (x->type) {
	case LOG_MAP:
		return !(x->flags & ~LOG_SUM_COUNTS) && x->slot && x->count &&
		       range_within(x->slot, x->count, LAYER_MAX_DATA_PAGES) &&
		       range_within(x->block, x->count, pages);
	case LOG_ZERO:
		return !x->slot && !x->sum && x->count &&
		       range_within(x->block, x->count, pages);
	case LOG_NEXT:
		return !x->sum && !x->block && is_slots(r, x->slot, x->count);
	case LOG_COMMIT:
		return !x->slot;
	}
	return false;
}

/* 1 or -errno. */
static int keep(struct replay *r, struct batch *b, const struct log_record *x)
{
	if (array_reserve(&b->v, &b->room, b->n + 1, sizeof(*b->v)))
		return file_failed(r->h->name, -ENOMEM, "read", r->why);
	b->v[b->n++] = *x;
	return 1;
}

/* Adds an extent to the log: 1, 0 when a part of it is there already (a circle
 * is no log), or -errno. */
static int add_extent(struct replay *r, uint32_t slot, uint32_t pages)
{
	struct head *h = r->h;

	for (uint32_t i = 0; i < pages; i++)
		if (bit_test_and_set(r->seen, slot + i))
			return 0;
	if (slot_runs_add(&h->extents, &h->nextents, &h->extents_room, slot,
			  pages))
		return file_failed(h->name, -ENOMEM, "read", r->why);
	r->p.slot = slot;
	r->p.pages = pages;
	r->p.record = 0;
	return 1;
}

/* A whole batch from r->p on: 1 and r->p is behind it; 0: there is none, or an
 * incomplete one, which is the log's end; or -errno. */
static int read_batch(struct replay *r, struct batch *b)
{
	struct log_record x = { .type = LOG_END };
	uint32_t count = 0;
	int got = 1;

	b->n = 0;
	b->start = r->p;
	b->extents = r->h->nextents;
	for (; x.type != LOG_COMMIT; count++) {
		got = read_record(r, &x);
		if (got != 1)
			return got;
		if (!record_fits(r, &x))
			return 0;
		r->p.sum = log_sum(r->p.sum, &x);
		r->p.record++;
		if (x.type == LOG_NEXT)
			got = add_extent(r, x.slot, x.count);
		else if (x.type != LOG_COMMIT)
			got = keep(r, b, &x);
		if (got != 1)
			return got;
	}
	if (x.count != count - 1 || x.block != r->p.commit || x.sum != r->p.sum)
		return 0;
	r->p.commit++;
	r->h->log_records += count;
	return 1;
}

/* ---- applying ---- */

static int apply(struct replay *r, const struct batch *b)
{
	struct head *h = r->h;

	for (size_t i = 0; i < b->n; i++) {
		const struct log_record *x = &b->v[i];
		int err = 0;

		if (x->type == LOG_ZERO)
			err = blockmap_set_zero(&h->map, x->block, x->count);
		for (uint32_t k = 0; x->type == LOG_MAP && k < x->count && !err;
		     k++) {
			struct block block = { .at = x->slot + k,
					       .kind = BLOCK_PAGE };

			err = blockmap_set(&h->map, x->block + k, block);
		}
		if (err)
			return file_failed(h->name, err, "read", r->why);
	}
	return 0;
}

/* Whether the data that the batch vouches for is there: 1, 0 or -errno. */
static int data_is_there(struct replay *r, const struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct log_record *x = &b->v[i];
		uint64_t sum;
		int err;

		if (x->type != LOG_MAP)
			continue;
		if (!is_slots(r, x->slot, x->count))
			return 0;
		if (!(x->flags & LOG_SUM_COUNTS))
			continue;
		err = log_data_sum(r->h->fd, x->slot, x->count, &sum);
		if (err)
			return file_failed(r->h->name, err, "read", r->why);
		if (sum != x->sum)
			return 0;
	}
	return 1;
}

static void leave_out(struct replay *r, const struct batch *b)
{
	r->h->nextents = b->extents;
	r->p = b->start;
	r->h->counts.dropped = b->n;
	r->h->counts.commits--;
}

static int replay(struct replay *r)
{
	unsigned now = 0;
	bool have = false;
	int got, err;

	while ((got = read_batch(r, &r->batch[now])) == 1) {
		err = have ? apply(r, &r->batch[!now]) : 0;
		if (err)
			return err;
		have = true;
		now = !now;
	}
	if (got < 0)
		return got;
	/* batch[now] is no whole one; the one before it is the last. */
	r->p = r->batch[now].start;
	r->h->nextents = r->batch[now].extents;
	r->h->counts.commits = r->p.commit - 1;
	if (!have)
		return 0;
	got = data_is_there(r, &r->batch[!now]);
	if (got == 1)
		return apply(r, &r->batch[!now]);
	if (got == 0)
		leave_out(r, &r->batch[!now]);
	return got;
}

/* ---- slots ---- */

/* Slots of a run that the map or the log has; none may be there already. */
static int mark_run(struct replay *r, uint64_t *used, uint32_t slot,
		    uint64_t count)
{
	/* Only now: what a later record replaced may be cut off. */
	if (count > UINT32_MAX || !is_slots(r, slot, (uint32_t)count))
		return damaged(r, (uint64_t)slot << PAGE_SHIFT,
			       "a block beyond the file's end");
	for (uint32_t i = 0; i < count; i++)
		if (bit_test_and_set(used, slot + i))
			return damaged(r, (uint64_t)(slot + i) << PAGE_SHIFT,
				       "a slot is used twice");
	return 0;
}

static int mark_all(struct replay *r, uint64_t *used)
{
	const struct blockmap *m = &r->h->map;
	int err = 0;
	uint64_t n;

	for (size_t i = 0; i < r->h->nextents && !err; i++)
		err = mark_run(r, used, r->h->extents[i].slot,
			       r->h->extents[i].count);
	for (uint64_t p = blockmap_next(m, 0); p < m->pages && !err;
	     p = blockmap_next(m, p + n)) {
		struct block b = blockmap_get(m, p);

		n = blockmap_run(m, p, m->pages - p);
		if (b.kind == BLOCK_PAGE)
			err = mark_run(r, used, b.at, n);
	}
	return err;
}

static int find_free(struct replay *r)
{
	_cleanup_free_ uint64_t *used = bits_create(r->slots);
	struct head *h = r->h;
	int err = used ? mark_all(r, used)
		       : file_failed(h->name, -ENOMEM, "read", r->why);

	h->end = r->slots;
	while (!err && h->end > 1 && !bit_get(used, h->end - 1))
		h->end--;
	for (uint32_t s = 1; s < h->end && !err; s++)
		if (!bit_get(used, s))
			slots_give(h, s, 1);
	return err;
}

/* ---- */

/* The log root with the higher generation of those that are valid. */
static int find_root(struct replay *r)
{
	struct head *h = r->h;

	for (unsigned i = 0; i < 2; i++) {
		struct log_root root;
		int err =
		    file_read(h->fd, LOG_ROOT_OFFSET(i), &root, sizeof(root));

		if (err)
			return file_failed(h->name, err, "read", r->why);
		if (memcmp(root.magic, LOGROOT_MAGIC, sizeof(root.magic)) ||
		    !hash_check_fits(root.check, &root,
				     offsetof(struct log_root, check)) ||
		    root.generation <= h->generation ||
		    root.generation % 2 != i)
			continue;
		if (!is_slots(r, root.slot, root.pages))
			return damaged(r, LOG_ROOT_OFFSET(i),
				       "begins beyond the file's end");
		h->generation = root.generation;
		r->p.slot = root.slot;
		r->p.pages = root.pages;
	}
	if (!h->generation)
		return damaged(r, LOG_ROOT_OFFSET(0), "no log root");
	r->p.commit = 1;
	r->p.sum = log_seed(&h->header, h->generation);
	return add_extent(r, r->p.slot, r->p.pages) == 1 ? 0 : -ENOMEM;
}

int log_recover(struct head *h, struct fail *why)
{
	struct replay r = { .h = h, .why = why };
	uint64_t bytes;
	int err = file_bytes(h->fd, &bytes);

	if (err)
		return file_failed(h->name, err, "read", why);
	r.slots = (uint32_t)MIN(bytes >> PAGE_SHIFT, LAYER_MAX_DATA_PAGES);
	r.seen = bits_create(r.slots);
	err =
	    r.seen ? find_root(&r) : file_failed(h->name, -ENOMEM, "read", why);
	if (!err)
		err = replay(&r);
	if (!err)
		err = find_free(&r);
	h->log = r.p;
	free(r.batch[0].v);
	free(r.batch[1].v);
	free(r.seen);
	return err;
}
