/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing the log of a head: batches of records, each ended by a commit whose
 * sum covers the batch and, through its seed, all before it.
 * docs/image-format.md, "Log".
 */
#include <errno.h>
#include <string.h>

#include "fileio.h"
#include "head_impl.h"

/* An extent that the log goes on in, at least; the first one may be smaller. */
#define LOG_EXTENT_PAGES 16
/* At most: 4 MiB of records. */
#define LOG_EXTENT_MAX_PAGES 1024

uint64_t log_seed(const struct layer_header *header, uint64_t generation)
{
	return sum64(header->uid, UID_BYTES, generation);
}

uint64_t log_sum(uint64_t sum, const struct log_record *r)
{
	size_t len = r->type == LOG_COMMIT ? offsetof(struct log_record, sum)
					   : sizeof(*r);

	return sum64(r, len, sum);
}

int log_write_root(int fd, uint64_t generation, const struct slot_run *first)
{
	struct log_root r = {
		.generation = generation,
		.slot = first->slot,
		.pages = first->count,
	};

	memcpy(r.magic, LOGROOT_MAGIC, sizeof(r.magic));
	hash_check(r.check, &r, offsetof(struct log_root, check));
	return file_write(fd, LOG_ROOT_OFFSET(generation % 2), &r, sizeof(r));
}

/* ---- append ---- */

/* A batch on its way to the file. */
struct append {
	struct head *h;
	struct log_place p;
	uint64_t offset; /* where buf[0] goes */
	uint32_t count;	 /* records so far */
	size_t left;	 /* to come, without those of the log itself */
	size_t fill;
	struct log_record buf[LOG_PER_PAGE];
};

static uint64_t place_offset(const struct log_place *p)
{
	return ((uint64_t)p->slot << PAGE_SHIFT) +
	       p->record * sizeof(struct log_record);
}

static int write_out(struct append *a)
{
	int err = a->fill ? file_write(a->h->fd, a->offset, a->buf,
				       a->fill * sizeof(a->buf[0]))
			  : 0;

	a->fill = 0;
	a->offset = place_offset(&a->p);
	return err;
}

static int put(struct append *a, const struct log_record *r)
{
	a->buf[a->fill++] = *r;
	a->p.sum = log_sum(a->p.sum, r);
	a->p.record++;
	a->count++;
	return a->fill == LOG_PER_PAGE ? write_out(a) : 0;
}

/* Zeroes, durable before anything refers to them: stale bytes in an extent
 * could be a guest's, and be taken for records. */
static int new_extent(struct head *h, uint32_t pages, struct slot_run *run)
{
	static const uint8_t zeroes[LOG_EXTENT_PAGES * PAGE_BYTES];
	int err = slots_take_end(h, pages, run);

	if (err)
		return err;
	for (uint32_t i = 0, n; i < pages && !err; i += n) {
		n = MIN(pages - i, LOG_EXTENT_PAGES);
		err = file_write(h->fd, (uint64_t)(run->slot + i) << PAGE_SHIFT,
				 zeroes, n * PAGE_BYTES);
	}
	if (!err)
		err = head_sync(h);
	if (!err)
		err = slot_runs_add(&h->extents, &h->nextents, &h->extents_room,
				    run->slot, run->count);
	if (err)
		slots_give(h, run->slot, run->count);
	return err;
}

/* In the extent's last record the log goes on elsewhere. The new extent stays
 * the log's also when the batch fails: none is used twice. */
static int next_extent(struct append *a)
{
	struct slot_run run;
	struct log_record next = { .type = LOG_NEXT };
	/* One sync for all that is to come. */
	uint64_t pages = a->left / LOG_PER_PAGE + LOG_EXTENT_PAGES;
	int err =
	    new_extent(a->h, (uint32_t)MIN(pages, LOG_EXTENT_MAX_PAGES), &run);

	if (err)
		return err;
	next.slot = run.slot;
	next.count = run.count;
	err = put(a, &next);
	if (!err)
		err = write_out(a);
	a->p.slot = run.slot;
	a->p.pages = run.count;
	a->p.record = 0;
	a->offset = place_offset(&a->p);
	return err;
}

static int append(struct append *a, const struct log_record *r)
{
	int err = 0;

	if (a->p.record + 1 == a->p.pages * LOG_PER_PAGE)
		err = next_extent(a);
	return err ? err : put(a, r);
}

bool log_has_room(const struct head *h, size_t n)
{
	/* The last record of an extent says where the log goes on. */
	return n + 2 <= h->log.pages * LOG_PER_PAGE - h->log.record;
}

int log_append(struct head *h, const struct log_record *records, size_t n)
{
	struct append a = { .h = h, .p = h->log };
	struct log_record commit = { .type = LOG_COMMIT };
	int err = 0;

	a.offset = place_offset(&a.p);
	for (size_t i = 0; i < n && !err; i++) {
		a.left = n - i;
		err = append(&a, &records[i]);
	}
	a.left = 0;
	/* Its count must be right, and making room adds a record. */
	if (!err && a.p.record + 1 == a.p.pages * LOG_PER_PAGE)
		err = next_extent(&a);
	commit.count = a.count;
	commit.block = a.p.commit;
	commit.sum = log_sum(a.p.sum, &commit);
	if (!err)
		err = put(&a, &commit);
	if (!err)
		err = write_out(&a);
	if (err)
		return err;
	a.p.commit++;
	h->log = a.p;
	h->log_records += a.count;
	return 0;
}

/* ---- begin anew ---- */

/* All of `records` and a commit in one fresh extent, with room to go on. */
static int write_fresh(struct head *h, struct slot_run *run,
		       const struct log_record *records, size_t n)
{
	static const uint8_t zeroes[PAGE_BYTES];
	uint64_t pages = n / LOG_PER_PAGE + LOG_EXTENT_PAGES;
	int err = slots_take_end(h, (uint32_t)MIN(pages, UINT32_MAX), run);

	if (err)
		return err;
	for (uint32_t i = 0; i < run->count && !err; i++)
		err = file_write(h->fd, (uint64_t)(run->slot + i) << PAGE_SHIFT,
				 zeroes, sizeof(zeroes));
	h->log = (struct log_place){
		.slot = run->slot,
		.pages = run->count,
		.sum = log_seed(&h->header, h->generation + 1),
		.commit = 1,
	};
	if (!err)
		err = log_append(h, records, n);
	return err ? err : head_sync(h);
}

/* The old log goes on where it was. */
static int keep_old(struct head *h, const struct log_place *old,
		    uint64_t records, int err)
{
	h->log = *old;
	h->log_records = records;
	return err;
}

int log_rewrite(struct head *h, const struct log_record *records, size_t n)
{
	struct log_place old = h->log;
	uint64_t old_records = h->log_records;
	struct slot_run run = { 0 };
	int err = write_fresh(h, &run, records, n);

	if (err) {
		slots_give(h, run.slot, run.count);
		return keep_old(h, &old, old_records, err);
	}
	err = log_write_root(h->fd, h->generation + 1, &run);
	if (err) {
		/* Perhaps it was made: the new log stays as it is, unused. */
		h->root_unsure = true;
		(void)slot_runs_add(&h->extents, &h->nextents, &h->extents_room,
				    run.slot, run.count);
		return keep_old(h, &old, old_records, err);
	}
	err = head_sync(h);
	if (err)
		return err;
	for (size_t i = 0; i < h->nextents; i++)
		slots_give(h, h->extents[i].slot, h->extents[i].count);
	h->nextents = 0;
	h->generation++;
	h->log_records = n + 1;
	h->root_unsure = false;
	h->counts.rewritten_logs++;
	return slot_runs_add(&h->extents, &h->nextents, &h->extents_room,
			     run.slot, run.count);
}
