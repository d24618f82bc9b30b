/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk's head costs: writes, flushes, the pause, the sealed layer. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "imgbench.h"

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void say_times(const char *what, uint64_t *ns, size_t n)
{
	char name[64];

	qsort(ns, n, sizeof(*ns), compare_ns);
	snprintf(name, sizeof(name), "%s_us_median", what);
	say(name, (double)ns[n / 2] / 1e3);
	snprintf(name, sizeof(name), "%s_us_p99", what);
	say(name, (double)ns[n - 1 - n / 100] / 1e3);
	snprintf(name, sizeof(name), "%s_us_max", what);
	say(name, (double)ns[n - 1] / 1e3);
}

static struct head *make_head(int fd, const struct head_below *below,
			      uint64_t bytes)
{
	struct head_info info = { .bytes = bytes };
	struct head *h;

	if (below->image) {
		info.below_kind = BELOW_LAYER;
		info.below_layer = *layer_id(below->image->layer);
	}
	try(head_create(fd, "head", &info, 0, &why));
	try(head_open(&h, fd, "head", below, true, &why));
	return h;
}

/* ---- writes ---- */

/* A head, or a raw file. */
struct disk {
	struct head *head;
	int fd;
};

static void write_block(const struct disk *d, uint64_t block, const void *data)
{
	uint64_t at = block << PAGE_SHIFT;

	try(d->head ? head_write(d->head, at, data, PAGE_BYTES, &why)
		    : file_write(d->fd, at, data, PAGE_BYTES));
}

static void flush(const struct disk *d)
{
	try(d->head ? head_flush(d->head, &why) : file_sync(d->fd));
}

/* `n` blocks, and a flush after each `every` and at the end. */
static void write_some(const struct disk *d, const char *what,
		       const uint32_t *block, uint64_t n, uint64_t every)
{
	uint64_t *times = calloc(n, sizeof(*times)), t, begin = now_ns(), end;
	uint8_t data[PAGE_BYTES];
	char name[64];

	must(times ? 0 : -1, "malloc");
	fill_page(data, 1);
	for (uint64_t i = 0; i < n; i++) {
		t = now_ns();
		memcpy(data, &t, sizeof(t));
		write_block(d, block[i], data);
		if (i % every == every - 1)
			flush(d);
		times[i] = now_ns() - t;
	}
	end = now_ns();
	flush(d);
	snprintf(name, sizeof(name), "%s_flush_ms", what);
	say(name, (double)(now_ns() - end) / 1e6);
	snprintf(name, sizeof(name), "%s_per_s", what);
	say(name, (double)n * 1e9 / (double)(end - begin));
	say_times(what, times, n);
	free(times);
}

static void say_amplification(int fd, uint64_t before, uint64_t n)
{
	double bytes = (double)(n << PAGE_SHIFT);

	say("amplification", (double)(file_size(fd) - before) / bytes);
	say("space_amplification", (double)file_space(fd) / bytes);
}

/* COUNT random blocks are written for the first time, then again, with a flush
 * after each EVERY; then the head is sealed. */
static void head_writes(char **word)
{
	uint64_t n = number(word[2]), every = number(word[3]), t;
	struct head_below below = HEAD_BELOW_NOTHING;
	struct disk d = { .fd = new_file(word[1]) };
	struct object_id id;
	struct opened base;
	uint32_t *order;

	open_image(&base, word[0]);
	order = rng_order(5, (uint32_t)base.img.pages);
	below.image = &base.img;
	d.head = make_head(d.fd, &below, base.img.bytes);
	write_some(&d, "first", order, n, every);
	say_amplification(d.fd, 0, n);
	write_some(&d, "again", order, n, every);
	head_freeze(d.head);
	t = now_ns();
	try(head_seal(d.head, &base.img, &id, &why));
	say("seal_ms", (double)(now_ns() - t) / 1e6);
	say("sealed_amplification",
	    (double)file_space(d.fd) / (double)(n << PAGE_SHIFT));
	head_close(d.head);
	close_image(&base);
	close(d.fd);
	free(order);
}

/* The same by pwrite, in a sparse file of PAGES pages and then in what is there
 * already. */
static void raw_writes(char **word)
{
	uint64_t pages = number(word[1]), n = number(word[2]);
	struct disk d = { .fd = new_file(word[0]) };
	uint32_t *order = rng_order(5, (uint32_t)pages);

	must(ftruncate(d.fd, (off_t)(pages << PAGE_SHIFT)), "truncate");
	write_some(&d, "first", order, n, number(word[3]));
	say("space_amplification",
	    (double)file_space(d.fd) / (double)(n << PAGE_SHIFT));
	write_some(&d, "again", order, n, number(word[3]));
	close(d.fd);
	free(order);
}

/* ---- eight scattered writes ---- */

/* Where the i-th of eight goes: far apart, no two alike in any level. */
static uint64_t eighth(uint64_t pages, unsigned i)
{
	return pages / 8 * i + pages / 16 + 37 * i + 101;
}

static void eight_by_head(const char *path, const struct opened *base)
{
	struct head_below below = { .image = &base->img, .raw_fd = -1 };
	uint8_t data[PAGE_BYTES];
	struct object_id id;
	struct head *h;
	int fd = new_file(path);

	h = make_head(fd, &below, base->img.bytes);
	for (unsigned i = 0; i < 8; i++) {
		fill_page(data, 1000 + i);
		try(head_write(h, eighth(base->img.pages, i) << PAGE_SHIFT,
			       data, PAGE_BYTES, &why));
	}
	try(head_flush(h, &why));
	head_freeze(h);
	try(head_seal(h, &base->img, &id, &why));
	say("head_bytes", (double)file_size(fd));
	say("head_space", (double)file_space(fd));
	head_close(h);
	close(fd);
}

static void eight_by_draft(const char *dir, const struct opened *base)
{
	uint8_t data[PAGE_BYTES];
	struct draft *d;
	int fd;

	d = begin_layer(dir, &base->img, base->img.bytes, 0, &fd);
	for (unsigned i = 0; i < 8; i++) {
		fill_page(data, 1000 + i);
		try(draft_put(d, eighth(base->img.pages, i), data, &why));
	}
	say("draft_bytes", (double)end_layer(dir, NULL, d, fd));
}

static void measure_eight(char **word)
{
	char path[PATH_MAX];
	struct opened base;

	open_image(&base, word[1]);
	snprintf(path, sizeof(path), "%s/eight", word[0]);
	eight_by_head(path, &base);
	eight_by_draft(word[0], &base);
	close_image(&base);
}

/* ---- the pause ---- */

/* A disk as a machine has one: a head that is written to. */
static uint64_t swap_heads(struct head *volatile *disk, struct head *next)
{
	uint64_t t = now_ns();

	head_freeze(*disk);
	*disk = next;
	return now_ns() - t;
}

static void dirty(struct head *h, const uint32_t *order, uint32_t n)
{
	uint8_t data[PAGE_BYTES];

	fill_page(data, 9);
	for (uint32_t i = 0; i < n; i++)
		try(head_write(h, (uint64_t)order[i] << PAGE_SHIFT, data,
			       PAGE_BYTES, &why));
}

/* ROUNDS times: a head with DIRTY blocks that were not flushed, one prepared to
 * lie on it, the swap; later the other swap, when the first one is sealed. */
static void measure_pause(char **word)
{
	uint64_t rounds = number(word[2]), *freeze, *below, t;
	struct opened base;
	char path[PATH_MAX];
	uint32_t *order;

	open_image(&base, word[1]);
	order = rng_order(5, (uint32_t)base.img.pages);
	freeze = calloc(2 * rounds, sizeof(*freeze));
	must(freeze ? 0 : -1, "malloc");
	below = freeze + rounds;
	snprintf(path, sizeof(path), "%s/pause", word[0]);
	for (uint64_t i = 0; i < rounds; i++) {
		struct head_below on_image = { .image = &base.img,
					       .raw_fd = -1 };
		struct head_below on_head = HEAD_BELOW_NOTHING;
		int fd = new_file(path), fd2;
		struct head *disk, *old, *next;

		old = disk = make_head(fd, &on_image, base.img.bytes);
		must(unlink(path), path);
		fd2 = new_file(path);
		on_head.head = old;
		next = make_head(fd2, &on_head, base.img.bytes);
		dirty(disk, order, (uint32_t)number(word[3]));
		freeze[i] = swap_heads(&disk, next);
		dirty(disk, order, 8);
		t = now_ns();
		head_set_below(disk, &on_image);
		below[i] = now_ns() - t;
		head_close(next);
		head_close(old);
		close(fd);
		close(fd2);
	}
	say_times("freeze", freeze, rounds);
	say_times("set_below", below, rounds);
	close_image(&base);
	free(freeze);
	free(order);
}

const struct measurement head_measurements[] = {
	{ "head-writes", 4, "IMAGE FILE COUNT EVERY", head_writes },
	{ "raw-writes", 4, "FILE PAGES COUNT EVERY", raw_writes },
	{ "eight", 2, "DIR IMAGE", measure_eight },
	{ "pause", 4, "DIR IMAGE ROUNDS DIRTY", measure_pause },
	{ 0 },
};
