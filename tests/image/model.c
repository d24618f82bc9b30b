/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads, layers and drafts against a plain array of bytes: random operations,
 * every read compared. A disk lies on a chain of up to 64 layers, on a raw file
 * or on none; a large one is looked at through windows. What is there after a
 * reopening without a crash is history.h's. Size: TINTYPE_MODEL_RUNS,
 * TINTYPE_SEED.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "draft.h"
#include "fileio.h"
#include "head.h"
#include "history.h"
#include "imgtest.h"

#define WINDOWS	     4
#define WINDOW_BYTES (64 * PAGE_BYTES)
#define MAX_DEPTH    64
#define IN_FLIGHT    4

struct flight {
	struct head_write w;
	uint8_t *data;
	unsigned window;
};

struct disk {
	uint64_t seed, rng, bytes;
	unsigned windows;
	uint64_t start[WINDOWS], length[WINDOWS]; /* of each, in the disk */
	uint8_t now[WINDOWS][WINDOW_BYTES];
	struct history *history[WINDOWS];

	struct layer_set *set;
	struct image image[MAX_DEPTH]; /* of the chain's layers */
	unsigned depth;
	int raw;
	uint64_t raw_bytes;
	struct head *head;
	int fd;
	struct flight flight[IN_FLIGHT];
	unsigned flights;
};

static struct disk *d;

static struct {
	uint64_t operations, layers, deepest, reopened;
} total;

#define must(err)                                                              \
	cr_assert_eq(err, 0, "seed %lu: %s: %s", d->seed, why.object,          \
		     why.message)

static uint64_t below(uint64_t n)
{
	return rng_below(&d->rng, n);
}

static struct head_below chain_below(void)
{
	return (struct head_below){
		.image = d->depth ? &d->image[d->depth - 1] : NULL,
		.raw_fd = d->raw,
		.raw_bytes = d->raw_bytes,
	};
}

/* ---- compare ---- */

static void expect_window(struct head *h, unsigned w, uint64_t at, uint64_t len,
			  const uint8_t *want, const char *when)
{
	static uint8_t got[WINDOW_BYTES];

	must(head_read(h, d->start[w] + at, got, len, &why));
	for (uint64_t i = 0; memcmp(got, want, len) && i < len; i++)
		cr_assert_eq(got[i], want[i],
			     "seed %lu, %s: window %u, byte 0x%lx of 0x%lx",
			     d->seed, when, w, at + i, d->length[w]);
}

static bool is_in_flight(unsigned window, uint64_t at, uint64_t len)
{
	uint64_t from = d->start[window] + at, to = from + len;

	for (unsigned i = 0; i < d->flights; i++) {
		const struct head_write *w = &d->flight[i].w;

		if (from < (w->block + w->count) << PAGE_SHIFT &&
		    w->block << PAGE_SHIFT < to)
			return true;
	}
	return false;
}

/* All windows and some other place, by that head. */
static void expect_disk(struct head *h, const char *when)
{
	static const uint8_t zero[PAGE_BYTES];
	uint8_t got[PAGE_BYTES];
	uint64_t page = below(MAX(d->bytes >> PAGE_SHIFT, 1));

	for (unsigned w = 0; w < d->windows; w++)
		expect_window(h, w, 0, d->length[w], d->now[w], when);
	for (unsigned w = 0; w < d->windows; w++)
		if (page << PAGE_SHIFT < d->start[w] + d->length[w] &&
		    d->start[w] < (page + 1) << PAGE_SHIFT)
			return;
	if (page << PAGE_SHIFT < d->raw_bytes)
		return;
	must(head_read(h, page << PAGE_SHIFT, got, PAGE_BYTES, &why));
	cr_assert_arr_eq(got, zero, PAGE_BYTES, "seed %lu, %s: page %lu",
			 d->seed, when, page);
}

/* An image is read through an empty head, which knows of the raw file. */
static void expect_chain(const char *when)
{
	struct head_info info = { .bytes = d->bytes };
	struct head_below b = chain_below();
	struct head *h = NULL;
	int fd = memory_file();

	must(head_create(fd, "reader", &info, 0, &why));
	must(head_open(&h, fd, "reader", &b, false, &why));
	expect_disk(h, when);
	head_close(h);
	close(fd);
}

/* ---- operations ---- */

static void changed(unsigned w, uint64_t at, uint64_t len)
{
	uint64_t first = at / SECTOR_BYTES;
	uint64_t end = align_up(at + len, SECTOR_BYTES) / SECTOR_BYTES;

	history_write(d->history[w], first, end - first,
		      d->now[w] + first * SECTOR_BYTES);
}

static void some_range(unsigned *w, uint64_t *at, uint64_t *len)
{
	uint64_t align = below(3) ? (below(2) ? PAGE_BYTES : SECTOR_BYTES) : 1;
	uint64_t most = below(8) ? 3 * PAGE_BYTES : WINDOW_BYTES;

	*w = (unsigned)below(d->windows);
	*at = align_down(below(d->length[*w]), align);
	most = MIN(most, d->length[*w] - *at);
	*len = 1 + below(most);
	*len = MIN(align_up(*len, align), d->length[*w] - *at);
}

static void fill_random(uint8_t *p, uint64_t len)
{
	uint64_t state = rng(&d->rng), way = below(6), v = 0;

	for (uint64_t i = 0; i < len; i++) {
		if (i % 8 == 0 && way)
			v = rng(&state);
		p[i] = (uint8_t)(v >> i % 8 * 8);
	}
}

static void write_some(void)
{
	unsigned w;
	uint64_t at, len;

	some_range(&w, &at, &len);
	if (is_in_flight(w, at, len))
		return;
	fill_random(d->now[w] + at, len);
	must(head_write(d->head, d->start[w] + at, d->now[w] + at, len, &why));
	changed(w, at, len);
}

static void zero_some(void)
{
	unsigned w;
	uint64_t at, len;

	some_range(&w, &at, &len);
	if (is_in_flight(w, at, len))
		return;
	memset(d->now[w] + at, 0, len);
	must(head_zero(d->head, d->start[w] + at, len, &why));
	changed(w, at, len);
}

static void read_some(void)
{
	unsigned w;
	uint64_t at, len;

	some_range(&w, &at, &len);
	if (!is_in_flight(w, at, len))
		expect_window(d->head, w, at, len, d->now[w] + at, "a read");
}

static void begin_write(void)
{
	struct flight *f = &d->flight[d->flights];
	unsigned w;
	uint64_t at, len;

	some_range(&w, &at, &len);
	at = align_down(at, PAGE_BYTES);
	len = MIN(align_up(len, PAGE_BYTES),
		  align_down(d->length[w] - at, PAGE_BYTES));
	if (!len || d->flights == IN_FLIGHT || is_in_flight(w, at, len))
		return;
	must(head_write_begin(d->head, (d->start[w] + at) >> PAGE_SHIFT,
			      (uint32_t)(len >> PAGE_SHIFT), &f->w, &why));
	cr_assert(f->w.count && f->w.count <= len >> PAGE_SHIFT);
	f->window = w;
	f->data = malloc((size_t)f->w.count << PAGE_SHIFT);
	cr_assert_not_null(f->data);
	fill_random(f->data, (uint64_t)f->w.count << PAGE_SHIFT);
	d->flights++;
}

static void end_write(void)
{
	struct flight *f = &d->flight[below(MAX(d->flights, 1))];
	uint64_t len = (uint64_t)f->w.count << PAGE_SHIFT, at;
	bool good = below(4);

	if (!d->flights)
		return;
	at = (f->w.block << PAGE_SHIFT) - d->start[f->window];
	if (good) {
		must(file_write(head_fd(d->head),
				(uint64_t)f->w.slot << PAGE_SHIFT, f->data,
				len));
		memcpy(d->now[f->window] + at, f->data, len);
		changed(f->window, at, len);
	}
	must(head_write_end(d->head, &f->w, good, &why));
	free(f->data);
	*f = d->flight[--d->flights];
}

static void end_writes(void)
{
	while (d->flights)
		end_write();
}

static void some_operation(void)
{
	switch (below(6)) {
	case 0:
		zero_some();
		break;
	case 1:
		read_some();
		break;
	case 2:
		begin_write();
		break;
	case 3:
		end_write();
		break;
	default:
		write_some();
	}
}

static void flush(void)
{
	int next;

	end_writes();
	for (unsigned w = 0; w < d->windows; w++)
		history_flush_begins(d->history[w]);
	next = head_flush_step(d->head, 0, &why);
	while (next == 1) {
		for (uint64_t i = below(4); i > 0; i--)
			some_operation();
		next = head_flush_step(d->head, file_sync(d->fd), &why);
	}
	must(next);
	for (unsigned w = 0; w < d->windows; w++)
		history_flush_ended(d->history[w]);
}

static void reopen(void)
{
	struct head_below b = chain_below();

	end_writes();
	head_close(d->head);
	must(head_open(&d->head, d->fd, "head", &b, true, &why));
	for (unsigned w = 0; w < d->windows; w++) {
		must(head_read(d->head, d->start[w], d->now[w], d->length[w],
			       &why));
		cr_assert_eq(history_wrong(d->history[w], d->now[w]),
			     UINT64_MAX, "seed %lu: opened again", d->seed);
		changed(w, 0, d->length[w]);
	}
	total.reopened++;
}

/* ---- layers ---- */

static void add_layer(int fd, const struct object_id *id)
{
	struct layer *l = open_layer(d->set, fd);

	cr_assert(object_id_equal(layer_id(l), id));
	must(image_open(&d->image[d->depth++], l, 0, &why));
	total.layers++;
	total.deepest = MAX(total.deepest, d->depth);
}

static void all_is_durable(void)
{
	for (unsigned w = 0; w < d->windows; w++) {
		if (d->history[w])
			history_destroy(d->history[w]);
		d->history[w] =
		    history_create(d->length[w] / SECTOR_BYTES, d->now[w]);
	}
}

static void new_head(const struct head_below *b)
{
	struct head_info info = { .bytes = d->bytes };

	d->fd = memory_file();
	must(head_create(d->fd, "head", &info, (uint32_t)below(4), &why));
	must(head_open(&d->head, d->fd, "head", b, true, &why));
}

/* The head is frozen under a new one, written over, sealed and replaced. */
static void snapshot(void)
{
	const struct image *base = d->depth ? &d->image[d->depth - 1] : NULL;
	struct head *old = d->head;
	struct head_below b = { .head = old, .raw_fd = -1 };
	struct object_id id;
	int fd = d->fd;

	if (d->depth == MAX_DEPTH)
		return;
	end_writes();
	new_head(&b);
	head_freeze(old);
	expect_disk(d->head, "over a frozen head");
	if (below(2))
		must(head_flush(old, &why));
	must(head_seal(old, base, &id, &why));
	add_layer(fd, &id);
	expect_chain("sealed");
	all_is_durable();
	for (uint64_t i = below(4); i > 0; i--)
		some_operation();
	b = chain_below();
	head_set_below(d->head, &b);
	head_close(old);
	close(fd);
}

/* A page as the model will have it: another, zero, or a little different. */
static void put_page(struct draft *draft, unsigned w, uint64_t at)
{
	uint64_t page = (d->start[w] + at) >> PAGE_SHIFT;
	uint64_t len = MIN(PAGE_BYTES, d->length[w] - at);
	uint8_t data[PAGE_BYTES] = { 0 };

	if (below(5) == 0) {
		memset(d->now[w] + at, 0, len);
		must(draft_put_zero(draft, page, 1, &why));
		return;
	}
	if (below(3) == 0)
		fill_random(d->now[w] + at, len);
	else if (below(3))
		d->now[w][at + below(len)] ^= 0xff;
	memcpy(data, d->now[w] + at, len);
	must(draft_put(draft, page, data, &why));
}

/* The disk's content of now, changed by a draft over its chain: the head is
 * given up for a new one over the draft's layer. */
static void draft_over(void)
{
	static uint8_t chain[WINDOW_BYTES];
	struct draft_options o = {
		.fd = memory_file(),
		.name = "draft",
		.bytes = d->bytes,
		.base = d->depth ? &d->image[d->depth - 1] : NULL,
		.flags = (uint32_t)below(LAYER_KINDS),
		.key = test_key,
		.plain_pages = below(4) == 0,
		.over_raw = d->raw >= 0,
	};
	struct head_below b = chain_below();
	struct draft *draft;
	struct object_id id;

	end_writes();
	head_close(d->head);
	close(d->fd);
	new_head(&b); /* reads what the chain has */
	must(draft_create(&draft, &o, &why));
	for (unsigned w = 0; w < d->windows; w++) {
		must(
		    head_read(d->head, d->start[w], chain, d->length[w], &why));
		memcpy(d->now[w], chain, d->length[w]);
		for (uint64_t i = below(40); i > 0; i--)
			put_page(draft, w,
				 align_down(below(d->length[w]), PAGE_BYTES));
	}
	must(draft_seal(draft, &id, &why));
	draft_destroy(draft);
	add_layer(o.fd, &id);
	close(o.fd);
	expect_chain("a draft");
	b = chain_below();
	head_set_below(d->head, &b);
	all_is_durable();
}

/* ---- a run ---- */

static void choose_disk(void)
{
	bool big = below(8) == 0;

	d->bytes =
	    big ? (UINT64_C(1) << 40) - below(9) * SECTOR_BYTES
		: (1 + below(WINDOW_BYTES / SECTOR_BYTES)) * SECTOR_BYTES;
	d->windows = big ? WINDOWS : 1;
	for (unsigned w = 0; w < d->windows; w++) {
		d->length[w] = big ? WINDOW_BYTES : d->bytes;
		/* Leaves, nodes, the end of the disk. */
		d->start[w] =
		    w * (d->bytes / WINDOWS >> PAGE_SHIFT << PAGE_SHIFT);
		if (big && w == WINDOWS - 1)
			d->start[w] = align_down(d->bytes, PAGE_BYTES) -
				      WINDOW_BYTES + PAGE_BYTES;
		d->length[w] = MIN(d->length[w], d->bytes - d->start[w]);
	}
}

static void choose_raw(void)
{
	d->raw = -1;
	if (below(2))
		return;
	d->raw = memory_file();
	d->raw_bytes = 1 + below(d->length[0]);
	fill_random(d->now[0], d->raw_bytes);
	must(file_write(d->raw, 0, d->now[0], d->raw_bytes));
}

static void end_run(void)
{
	end_writes();
	expect_disk(d->head, "at the end");
	snapshot();
	expect_disk(d->head, "at the very end");
	end_writes();
	head_close(d->head);
	close(d->fd);
	if (d->raw >= 0)
		close(d->raw);
	layer_set_destroy(d->set);
	for (unsigned w = 0; w < d->windows; w++)
		history_destroy(d->history[w]);
}

static void run(uint64_t seed)
{
	static struct disk disk;
	struct head_below b;
	uint64_t steps, deep;

	d = &disk;
	memset(d, 0, sizeof(*d));
	d->seed = d->rng = seed;
	choose_disk();
	choose_raw();
	d->set = test_set();
	b = chain_below();
	new_head(&b);
	all_is_durable();
	steps = 20 + below(300);
	deep = below(4) ? 60 : 4;
	for (; steps > 0; steps--, total.operations++) {
		if (below(deep) == 0)
			snapshot();
		else if (below(deep) == 0 && d->depth < MAX_DEPTH)
			draft_over();
		else if (below(8) == 0)
			flush();
		else if (below(20) == 0)
			reopen();
		else
			some_operation();
	}
	end_run();
}

Test(model, random_operations_give_what_an_array_of_bytes_gives)
{
	uint64_t runs = test_size("TINTYPE_MODEL_RUNS", 60);
	uint64_t seed = test_size("TINTYPE_SEED", 1);

	for (uint64_t i = 0; i < runs; i++)
		run(seed + i);
	test_say("model: %lu runs %lu operations %lu layers %lu deepest "
		 "%lu reopened",
		 runs, total.operations, total.layers, total.deepest,
		 total.reopened);
}
