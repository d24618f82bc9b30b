/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crashes of a disk's heads: at each sync of a random workload every state in
 * which a power cut could leave the files is made, opened and judged by
 * history.h; what recovery itself writes is cut as well. Size:
 * TINTYPE_CRASH_RUNS, TINTYPE_SEED.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"
#include "fileio.h"

static void all_states(void)
{
	powercut_each(&d->cut, d->scratch, on_state, NULL);
}

/* ---- the workload ---- */

/* Short, at a sector's border: else half a sector would be a content. */
static uint64_t some_length(const struct io_call *c)
{
	uint64_t n = 1 + below(c->length);

	return c->offset % SECTOR_BYTES ? n : align_up(n, SECTOR_BYTES);
}

static struct io_fate on_call(const struct io_call *c)
{
	struct io_fate fate = { 0 };

	if (d->faults && c->kind == IO_WRITE && below(10) == 0)
		fate = (struct io_fate){ .err = below(2) ? ENOSPC : EIO,
					 .effect = below(3) == 0 };
	else if (c->kind == IO_WRITE && below(8) == 0)
		fate.at_most = some_length(c);
	if (fate.err)
		total.faults++;
	if (c->kind == IO_SYNC)
		all_states();
	powercut_take(&d->cut, c, &fate);
	return fate;
}

static void close_head(unsigned i)
{
	struct head_counts c;

	if (!d->head[i])
		return;
	head_count(d->head[i], &c);
	total.logs += c.rewritten_logs;
	head_close(d->head[i]);
	d->head[i] = NULL;
}

static struct head *top(void)
{
	return d->head[d->heads - 1];
}

/* What a guest writes: random, zeroes, or what a log looks like. */
static uint8_t *new_data(uint64_t sectors)
{
	uint64_t tag = rng(&d->rng), way = below(8);
	uint8_t *data = calloc(sectors, SECTOR_BYTES);

	cr_assert_not_null(data);
	for (uint64_t i = 0; way > 1 && i < sectors * SECTOR_BYTES; i += 8) {
		uint64_t v = rng(&tag);

		memcpy(data + i, &v, 8);
	}
	if (way == 1)
		(void)!pread(d->fd[d->heads - 1], data, sectors * SECTOR_BYTES,
			     (off_t)(PAGE_BYTES * (1 + below(20))));
	return data;
}

static void some_range(uint64_t *sector, uint64_t *n)
{
	uint64_t most = below(3) ? 8 : 40;

	*sector = below(d->sectors);
	*n = 1 + below(MIN(d->sectors - *sector, most));
	if (below(2)) {
		*sector = align_down(*sector, 8);
		*n = MIN(align_up(*n, 8), d->sectors - *sector);
	}
}

static bool is_in_flight(uint64_t sector, uint64_t n)
{
	for (unsigned i = 0; i < d->flights; i++) {
		const struct head_write *w = &d->flight[i].w;

		if (sector < (w->block + w->count) * 8 &&
		    w->block * 8 < sector + n)
			return true;
	}
	return false;
}

/* One write or zeroing; one that failed is done again. */
static void write_some(bool zero)
{
	uint64_t sector, n;
	uint8_t *data;
	int err;

	some_range(&sector, &n);
	if (is_in_flight(sector, n))
		return;
	data = zero ? NULL : new_data(n);
	history_write(d->history, sector, n, data);
	do {
		err = zero ? head_zero(top(), sector * SECTOR_BYTES,
				       n * SECTOR_BYTES, &why)
			   : head_write(top(), sector * SECTOR_BYTES, data,
					n * SECTOR_BYTES, &why);
	} while (d->faults && err);
	must(err);
	free(data);
}

static void land(struct flight *f)
{
	must(file_write(head_fd(top()), (uint64_t)f->w.slot << PAGE_SHIFT,
			f->data, (size_t)f->w.count << PAGE_SHIFT));
	f->written = true;
}

static void begin_flight(void)
{
	uint64_t block = below(d->sectors / 8);
	uint32_t n =
	    (uint32_t)(1 + below(MIN(d->sectors / 8 - block, UINT64_C(6))));
	struct flight *f = &d->flight[d->flights];
	bool faults = d->faults;

	if (d->flights == IN_FLIGHT || is_in_flight(block * 8, n * 8))
		return;
	must(head_write_begin(top(), block, n, &f->w, &why));
	f->data = new_data(f->w.count * 8);
	f->written = false;
	history_write(d->history, block * 8, f->w.count * 8, f->data);
	d->faults = false;
	if (below(2))
		land(f);
	d->faults = faults;
	d->flights++;
}

static void end_flight(void)
{
	struct flight *f = &d->flight[below(MAX(d->flights, 1))];
	bool faults = d->faults;

	if (!d->flights)
		return;
	d->faults = false;
	if (!f->written)
		land(f);
	d->faults = faults;
	must(head_write_end(top(), &f->w, true, &why));
	free(f->data);
	*f = d->flight[--d->flights];
}

static int flush_lower(void)
{
	return d->heads == 1 || d->sealed ? 0 : head_flush(d->head[0], &why);
}

static void go_on(void)
{
	for (uint64_t i = below(3); i > 0; i--) {
		if (below(3) == 0)
			write_some(below(3) == 0);
		else if (below(2))
			begin_flight();
		else
			end_flight();
	}
}

/* The process ends here and another one opens the disk, without a power cut:
 * what was not flushed may be older. */
static void reopen(void)
{
	static uint8_t content[MAX_SECTORS * SECTOR_BYTES];
	struct head_below b = raw_below();
	bool faults = d->faults;

	while (d->flights)
		free(d->flight[--d->flights].data);
	d->faults = false;
	close_head(0);
	must(head_open(&d->head[0], d->fd[0], "lower", &b, true, &why));
	must(
	    head_read(d->head[0], 0, content, d->sectors * SECTOR_BYTES, &why));
	expect_allowed(content, "closed and opened");
	history_write(d->history, 0, d->sectors, content);
	d->faults = faults;
}

/* By steps, with other things before each sync and after it. */
static int flush_steps(void)
{
	int next = head_flush_step(top(), 0, &why);

	while (next == 1) {
		go_on();
		if (d->heads == 1 && below(8) == 0) {
			reopen();
			return -EINTR;
		}
		cr_assert_eq(fdatasync(head_fd(top())), 0);
		go_on();
		next = head_flush_step(top(), 0, &why);
	}
	return next;
}

static void flush_disk(void)
{
	int err;

	while (d->flights)
		end_flight();
	history_flush_begins(d->history);
	err = flush_lower();
	if (!err)
		err = below(2) ? flush_steps() : head_flush(top(), &why);
	if (!err)
		history_flush_ended(d->history);
	else if (err != -EINTR) /* which is the end of the process */
		cr_assert(d->faults, "seed %lu: %s: %s", d->seed, why.object,
			  why.message);
}

static void swap_heads(void)
{
	struct head_info info = { .bytes = d->sectors * SECTOR_BYTES };
	struct head_below b = { .head = d->head[0], .raw_fd = -1 };
	bool faults = d->faults;

	if (d->heads > 1)
		return;
	while (d->flights)
		end_flight();
	d->faults = false;
	d->fd[1] = memory_file();
	must(head_create(d->fd[1], "upper", &info, 0, &why));
	must(head_open(&d->head[1], d->fd[1], "upper", &b, true, &why));
	powercut_add(&d->cut, d->fd[1]);
	head_freeze(d->head[0]);
	d->heads = 2;
	d->faults = faults;
}

static void seal_lower(void)
{
	struct head_below b = raw_below();
	struct object_id id;
	struct layer *l = NULL;
	int err;

	if (d->heads == 1 || d->sealed)
		return;
	if (below(2) && flush_lower())
		return;
	err = head_seal(d->head[0], NULL, &id, &why);
	if (err) {
		cr_assert(d->faults, "seed %lu: %s", d->seed, why.message);
		return;
	}
	must(layer_open(d->set, dup(d->fd[0]), "lower", &id, &l, &why));
	must(image_open(&d->image, l, 0, &why));
	b.image = &d->image;
	head_set_below(d->head[1], &b);
	close_head(0);
	d->sealed = true;
}

/* Without a crash the disk is what was last written. */
static void expect_now(void)
{
	static uint8_t content[MAX_SECTORS * SECTOR_BYTES];

	must(head_read(top(), 0, content, d->sectors * SECTOR_BYTES, &why));
	for (uint64_t i = 0; i < d->sectors; i++)
		if (!is_in_flight(i, 1))
			cr_assert_arr_eq(
			    content + i * SECTOR_BYTES,
			    history_now(d->history, i), SECTOR_BYTES,
			    "seed %lu: sector %lu is another", d->seed, i);
}

static void step(void)
{
	uint64_t way = below(100);

	if (way < 45)
		write_some(false);
	else if (way < 57)
		write_some(true);
	else if (way < 67)
		begin_flight();
	else if (way < 75)
		end_flight();
	else if (way < 92)
		flush_disk();
	else if (way < 95 && d->heads == 1)
		reopen();
	else if (way < 98)
		swap_heads();
	else
		seal_lower();
}

/* ---- a run ---- */

/* New records: a write and mostly a zeroing of every other block, or of one. */
static void add_records(struct head *h, bool many)
{
	uint8_t data[PAGE_BYTES];

	for (uint64_t i = 0; i < d->sectors / 8; i += 2) {
		fill_page(data, rng(&d->rng));
		must(head_write(h, i << PAGE_SHIFT, data, PAGE_BYTES, &why));
		must(head_flush(h, &why));
		if (below(4))
			must(head_zero(h, i << PAGE_SHIFT, PAGE_BYTES, &why));
		if (!many)
			break;
	}
	must(head_flush(h, &why));
}

/* Fills the log: till shortly before it is begun anew, or somewhere about the
 * end of its first extent, or hardly. */
static void age_log(struct head *h)
{
	uint64_t short_of = below(25), until = below(140);
	unsigned way = (unsigned)below(4);
	struct head_counts c;

	/* All blocks are the head's: no more records are allowed for. */
	for (uint64_t b = 0; way < 2 && b < d->sectors / 8; b++)
		must(head_write(h, b << PAGE_SHIFT, "x", 1, &why));
	must(head_flush(h, &why));
	for (uint64_t n = way == 3 ? below(3) : UINT64_MAX; n > 0; n--) {
		head_count(h, &c);
		if (way < 2)
			until = 4096 + 4 * c.blocks - short_of;
		if (c.log_records >= until)
			return;
		add_records(h, c.log_records + 200 < until);
	}
}

static void make_raw(void)
{
	uint8_t page[PAGE_BYTES];

	d->raw = -1;
	if (below(2))
		return;
	d->raw = memory_file();
	d->raw_bytes = (1 + below(d->sectors)) * SECTOR_BYTES;
	for (uint64_t at = 0; at < d->raw_bytes; at += PAGE_BYTES) {
		fill_page(page, rng(&d->rng));
		must(file_write(d->raw, at, page,
				MIN(PAGE_BYTES, d->raw_bytes - at)));
	}
}

static void begin_run(uint64_t seed)
{
	static uint8_t content[MAX_SECTORS * SECTOR_BYTES];
	struct head_info info = { 0 };
	struct head_below b;

	d->seed = d->rng = seed;
	d->sectors = 8 + below(below(2) ? 60 : MAX_SECTORS - 8);
	info.bytes = d->sectors * SECTOR_BYTES;
	make_raw();
	b = raw_below();
	d->heads = 1;
	d->set = layer_set_create(NULL, NULL);
	d->fd[0] = memory_file();
	must(head_create(d->fd[0], "lower", &info, (uint32_t)below(3), &why));
	must(head_open(&d->head[0], d->fd[0], "lower", &b, true, &why));
	age_log(d->head[0]);
	must(head_flush(d->head[0], &why));
	must(head_read(d->head[0], 0, content, info.bytes, &why));
	d->history = history_create(d->sectors, content);
	d->cut = (struct powercut){ .rng = rng(&d->rng), .random_states = 8 };
	powercut_add(&d->cut, d->fd[0]);
	for (unsigned i = 0; i < CUT_FILES; i++)
		d->scratch[i] = memory_file();
}

static void end_run(void)
{
	d->faults = false;
	swap_heads();
	flush_disk();
	seal_lower();
	while (d->flights)
		end_flight();
	io_hook = NULL;
	all_states();
	expect_now();
	for (unsigned i = 0; i < CUT_FILES; i++) {
		close_head(i);
		close(d->fd[i]);
		close(d->scratch[i]);
	}
	if (d->raw >= 0)
		close(d->raw);
	layer_set_destroy(d->set);
	history_destroy(d->history);
	powercut_fini(&d->cut);
}

static void run(uint64_t seed, bool faults)
{
	struct disk disk = { 0 };
	uint64_t steps;

	d = &disk;
	begin_run(seed);
	d->faults = faults;
	steps = 20 + below(60);
	io_hook = on_call;
	while (steps--) {
		step();
		expect_now();
	}
	end_run();
}

static void run_many(bool faults)
{
	uint64_t runs = test_size("TINTYPE_CRASH_RUNS", 6);
	uint64_t seed = test_size("TINTYPE_SEED", 1);

	for (uint64_t i = 0; i < runs; i++)
		run(2 * (seed + i) + faults, faults);
	test_say("crash%s: %lu runs %lu states %lu cut-again %lu failed-calls "
		 "%lu logs-anew",
		 faults ? "-with-failures" : "", runs, total.states,
		 total.recoveries, total.faults, total.logs);
}

Test(crash, power_cut_at_any_moment_keeps_what_was_flushed)
{
	run_many(false);
}

Test(crash, power_cut_after_failed_writes_keeps_what_was_flushed)
{
	run_many(true);
}
