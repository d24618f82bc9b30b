/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a head durable. One sync where all blocks of the batch are new: their
 * data is vouched for by sums. Two, data first, where a block has moved away
 * from a slot of the commit before: see docs/image-format.md, "FLUSH".
 */
#include <errno.h>
#include <string.h>

#include "fileio.h"
#include "head_impl.h"

/* So many blocks are read again for their sums; for more, a sync of the data is
 * quicker, and their owner need not wait for it. */
#define SUM_MAX_BLOCKS 1024

/* A log with many more records than the map can need is begun anew. */
#define LOG_SLACK_RECORDS 4096

int head_sync(struct head *h)
{
	int err = file_sync(h->fd);

	if (err)
		h->failed = err;
	return err;
}

static int flush_failed(const struct head *h, int err, struct fail *why)
{
	return file_failed(h->name, err, "flush", why);
}

/* ---- records ---- */

/* v[from] sinks to its place among its children in a heap of `n`. */
static void sink(uint64_t *v, size_t from, size_t n)
{
	for (size_t child; (child = 2 * from + 1) < n; from = child) {
		uint64_t t = v[from];

		child += child + 1 < n && v[child + 1] > v[child];
		if (v[child] <= t)
			return;
		v[from] = v[child];
		v[child] = t;
	}
}

/* In place, whatever the order: the C library's qsort allocates, and asks the
 * system how much memory there is, which a VM's process may not. */
static void heap_sort(uint64_t *v, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sink(v, i, n);
	for (size_t end = n; end-- > 1;) {
		uint64_t t = v[0];

		v[0] = v[end];
		v[end] = t;
		sink(v, 0, end);
	}
}

static bool is_sorted(const struct numbers *a)
{
	size_t i = 1;

	while (i < a->n && a->v[i - 1] <= a->v[i])
		i++;
	return i >= a->n;
}

static int add_record(struct log_records *r, const struct log_record *x)
{
	if (array_reserve(&r->v, &r->room, r->n + 1, sizeof(*r->v)))
		return -ENOMEM;
	r->v[r->n++] = *x;
	return 0;
}

/* Adds a block: to the run before it, or as a record of its own. */
static int add_block(struct log_records *r, uint64_t block, struct block b)
{
	struct log_record *last = r->n ? &r->v[r->n - 1] : NULL;
	struct log_record x = {
		.type = b.kind == BLOCK_PAGE ? LOG_MAP : LOG_ZERO,
		.count = 1,
		.block = block,
		.slot = b.kind == BLOCK_PAGE ? b.at : 0,
	};

	if (last && last->type == x.type &&
	    last->block + last->count == block && last->count < UINT32_MAX &&
	    (x.type == LOG_ZERO || last->slot + last->count == x.slot)) {
		last->count++;
		return 0;
	}
	return add_record(r, &x);
}

/* In order, each once: a block of a batch that failed may be there twice. */
static void sort(struct numbers *a)
{
	size_t n = 0;

	if (!is_sorted(a))
		heap_sort(a->v, a->n);
	for (size_t i = 0; i < a->n; i++)
		if (i == 0 || a->v[i] != a->v[n - 1])
			a->v[n++] = a->v[i];
	a->n = n;
}

static int records_of_batch(struct head *h, struct log_records *r)
{
	int err = 0;

	r->n = 0;
	sort(&h->batch);
	for (size_t i = 0; i < h->batch.n && !err; i++)
		err = add_block(r, h->batch.v[i],
				blockmap_get(&h->map, h->batch.v[i]));
	return err;
}

static int records_of_map(struct head *h, struct log_records *r)
{
	int err = 0;

	r->n = 0;
	for (uint64_t p = blockmap_next(&h->map, 0); p < h->map.pages && !err;
	     p = blockmap_next(&h->map, p + 1))
		err = add_block(r, p, blockmap_get(&h->map, p));
	return err;
}

int log_data_sum(int fd, uint32_t slot, uint32_t count, uint64_t *sum)
{
	_cleanup_free_ uint8_t *buf = malloc(CHUNK_BYTES);

	if (!buf)
		return -ENOMEM;
	*sum = 0;
	while (count) {
		uint32_t n = MIN(count, CHUNK_PAGES);
		int err = file_read(fd, (uint64_t)slot << PAGE_SHIFT, buf,
				    n * PAGE_BYTES);

		if (err)
			return err;
		for (uint32_t i = 0; i < n; i++)
			*sum = sum64(buf + i * PAGE_BYTES, PAGE_BYTES, *sum);
		slot += n;
		count -= n;
	}
	return 0;
}

static int add_sums(const struct head *h, struct log_records *r)
{
	int err = 0;

	for (size_t i = 0; i < r->n && !err; i++) {
		struct log_record *x = &r->v[i];

		if (x->type != LOG_MAP)
			continue;
		x->flags = LOG_SUM_COUNTS;
		err = log_data_sum(h->fd, x->slot, x->count, &x->sum);
	}
	return err;
}

/* ---- states ---- */

static uint8_t other(uint8_t committed)
{
	return committed == BLOCK_COMMITTED_EVEN ? BLOCK_COMMITTED_ODD
						 : BLOCK_COMMITTED_EVEN;
}

static void set_states(struct head *h, const struct numbers *blocks,
		       uint8_t from, uint8_t to)
{
	/* Of a frozen head the map is another thread's to read, and nothing
	 * depends on states any more. */
	for (size_t i = 0; i < blocks->n && !h->frozen; i++) {
		struct block b = blockmap_get(&h->map, blocks->v[i]);

		if (b.state != from)
			continue;
		b.state = to;
		/* It is there: no memory is needed. */
		(void)blockmap_set(&h->map, blocks->v[i], b);
	}
}

static void swap(struct numbers *a, struct numbers *b)
{
	struct numbers t = *a;

	*a = *b;
	*b = t;
}

/* The batch is that of the next commit: its slots are not to be overwritten. */
static void begin_batch(struct head *h)
{
	h->batch.n = h->batch_leaving.n = 0;
	swap(&h->batch, &h->pending);
	swap(&h->batch_leaving, &h->leaving);
	h->batch_moved = h->moved;
	h->moved = false;
	h->batch_state = other(h->batch_state);
	set_states(h, &h->batch, BLOCK_FRESH, h->batch_state);
}

/* Adds what is in `from`; replace() has made the room. */
static void take_back(struct numbers *to, struct numbers *from)
{
	if (!to->n)
		swap(to, from);
	for (size_t i = 0; i < from->n; i++)
		numbers_add(to, from->v[i]);
	from->n = 0;
}

/* The batch waits for the next try, with what came since. A write that failed
 * may have been made all the same: its blocks stay as they are, so that no
 * slot of them is overwritten before a commit is durable. */
static int undo_batch(struct head *h, int err)
{
	h->stage = FLUSH_IDLE;
	take_back(&h->pending, &h->batch);
	take_back(&h->leaving, &h->batch_leaving);
	h->batch_state = other(h->batch_state);
	h->moved |= h->batch_moved;
	h->unsynced = true;
	return err;
}

/* The commit is durable. `firm`: so was its data before it. */
static void end_batch(struct head *h, bool firm)
{
	set_states(h, &h->last, other(h->batch_state), BLOCK_STABLE);
	h->last.n = 0;
	if (firm)
		set_states(h, &h->batch, h->batch_state, BLOCK_STABLE);
	else
		swap(&h->last, &h->batch);
	for (size_t i = 0; i < h->batch_leaving.n; i++)
		slots_give(h, (uint32_t)h->batch_leaving.v[i], 1);
	h->batch.n = h->batch_leaving.n = 0;
	h->counts.commits++;
	h->stage = FLUSH_IDLE;
}

/* ---- the flush ---- */

static bool log_is_long(const struct head *h)
{
	return h->log_records > LOG_SLACK_RECORDS + 4 * h->map.used;
}

/* Rare: all of it at once, since no block may become fresh meanwhile. */
static int begin_log_anew(struct head *h)
{
	int err = head_sync(h);

	if (!err)
		err = records_of_map(h, &h->records);
	if (!err)
		err = log_rewrite(h, h->records.v, h->records.n);
	if (!err)
		end_batch(h, true);
	return err;
}

/* The log's part, after the data's sync or, without one, at once. */
static int write_log(struct head *h)
{
	int err = h->batch_moved ? 0 : add_sums(h, &h->records);

	if (!err)
		err = log_append(h, h->records.v, h->records.n);
	if (err)
		return undo_batch(h, err);
	h->stage = FLUSH_LOG;
	return 1;
}

static int begin(struct head *h)
{
	int err;

	if (!h->unsynced && !h->pending.n)
		return 0;
	h->unsynced = false;
	if (!h->pending.n) {
		h->stage = FLUSH_PLAIN;
		return 1;
	}
	begin_batch(h);
	if (log_is_long(h) || h->root_unsure) {
		err = begin_log_anew(h);
		/* Where there is no room for another, the old one goes on. */
		if (!err || h->failed || h->root_unsure)
			return err ? undo_batch(h, err) : 0;
	}
	/* Now: a block that is written again before the log is has another
	 * slot by then, whose data no sync has covered. */
	err = records_of_batch(h, &h->records);
	if (err)
		return undo_batch(h, err);
	/* Making the log longer syncs the file: the data is to be there by
	 * then, so that it takes no time. */
	h->batch_moved |=
	    h->batch.n > SUM_MAX_BLOCKS || !log_has_room(h, h->records.n);
	if (!h->batch_moved)
		return write_log(h);
	h->stage = FLUSH_DATA;
	return 1;
}

static int step(struct head *h)
{
	switch (h->stage) {
	case FLUSH_IDLE:
		return begin(h);
	case FLUSH_DATA:
		return write_log(h);
	case FLUSH_LOG:
		end_batch(h, h->batch_moved);
		return 0;
	case FLUSH_PLAIN:
		h->stage = FLUSH_IDLE;
		return 0;
	}
	return -EINVAL;
}

int head_flush_step(struct head *h, int result, struct fail *why)
{
	int next;

	if (!h->writable)
		return flush_failed(h, -EROFS, why);
	if (result)
		h->failed = result;
	if (h->failed)
		return flush_failed(h, h->failed, why);
	next = step(h);
	return next < 0 ? flush_failed(h, next, why) : next;
}

int head_flush(struct head *h, struct fail *why)
{
	int next = head_flush_step(h, 0, why);

	while (next == 1)
		next = head_flush_step(h, file_sync(h->fd), why);
	return next;
}

int head_commit_empty(struct head *h, struct fail *why)
{
	int err = h->failed;

	if (!err && (!h->writable || h->stage != FLUSH_IDLE))
		err = -EROFS;
	/* A longer log would take slots, which are the owner's. */
	if (!err && !log_has_room(h, 0))
		err = -EBUSY;
	if (!err)
		err = log_append(h, NULL, 0);
	if (!err)
		err = head_sync(h);
	return err ? flush_failed(h, err, why) : 0;
}
