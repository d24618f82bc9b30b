/* SPDX-License-Identifier: Apache-2.0 */
/* How large layers become, and how fast they are made. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "imgbench.h"

/* ---- full images ---- */

/* One page in EVERY is not zero, at random places: bytes over what is stored
 * because it must be. */
static void measure_full(char **word)
{
	uint64_t bytes = MIB(number(word[1])), every = number(word[2]);
	uint64_t state = 11, stored = 0, size;
	uint8_t data[PAGE_BYTES];
	struct draft *d;
	int fd;

	d = begin_layer(word[0], NULL, bytes, 0, &fd);
	for (uint64_t p = 0; p < bytes >> PAGE_SHIFT; p++) {
		memset(data, 0, sizeof(data));
		if (rng_below(&state, every) == 0) {
			fill_page(data, p + 1);
			stored += PAGE_BYTES;
		}
		try(draft_put(d, p, data, &why));
	}
	size = end_layer(word[0], "full", d, fd);
	say("over_percent", 100.0 * ((double)size / (double)stored - 1));
}

/* ---- increments ---- */

struct increments {
	const char *dir;
	uint64_t bytes;
	uint32_t dirty;
	bool word; /* one word of each page, else all of it */
};

static void put_change(const struct increments *in, struct draft *d,
		       const struct image *base, uint32_t page, uint64_t *state)
{
	uint8_t data[PAGE_BYTES];
	uint64_t word = rng(state);

	if (in->word) {
		try(image_read(base, page, 1, data, &why));
		memcpy(data + 8 * rng_below(state, PAGE_BYTES / 8), &word,
		       sizeof(word));
	} else {
		fill_page(data, word);
	}
	try(draft_put(d, page, data, &why));
}

static uint64_t increment(const struct increments *in, uint64_t n)
{
	uint32_t pages = (uint32_t)(in->bytes >> PAGE_SHIFT);
	uint32_t *order = rng_order(n, pages);
	char path[PATH_MAX], name[32];
	uint64_t state = n, size;
	struct opened o;
	struct draft *d;
	int fd;

	snprintf(path, sizeof(path), "%s/inc-%" PRIu64, in->dir, n - 1);
	snprintf(name, sizeof(name), "inc-%" PRIu64, n);
	open_image(&o, path);
	d = begin_layer(in->dir, &o.img, in->bytes, 0, &fd);
	for (uint32_t i = 0; i < in->dirty; i++)
		put_change(in, d, &o.img, order[i], &state);
	size = end_layer(in->dir, name, d, fd);
	close_image(&o);
	free(order);
	return size;
}

/* COUNT increments of DIRTY random pages over a full image, in a row: the bytes
 * of the 1st, 8th and last beside those that were dirty. */
static void measure_increments(char **word)
{
	struct increments in = { .dir = word[0],
				 .bytes = MIB(number(word[1])),
				 .dirty = (uint32_t)number(word[2]),
				 .word = !strcmp(word[4], "word") };
	uint64_t count = number(word[3]);
	double dirty = (double)in.dirty * PAGE_BYTES;
	uint8_t data[PAGE_BYTES];
	struct draft *d;
	char name[32];
	int fd;

	d = begin_layer(in.dir, NULL, in.bytes, 0, &fd);
	for (uint64_t p = 0; p < in.bytes >> PAGE_SHIFT; p++) {
		fill_page(data, p + 1);
		try(draft_put(d, p, data, &why));
	}
	end_layer(in.dir, "inc-0", d, fd);
	for (uint64_t n = 1; n <= count; n++) {
		uint64_t size = increment(&in, n);

		if (n != 1 && n != 8 && n != count)
			continue;
		snprintf(name, sizeof(name), "over_percent_%" PRIu64, n);
		say(name, 100.0 * ((double)size / dirty - 1));
		snprintf(name, sizeof(name), "of_dirty_1_in_%" PRIu64, n);
		say(name, dirty / (double)size);
	}
}

/* ---- rates ---- */

enum put { PUT_NEW, PUT_EQUAL, PUT_WORD, PUT_OTHER, PUT_ZERO };

static const char *const put_names[] = { "new", "equal", "word", "other",
					 "zero" };

static void make_page(enum put how, uint64_t page, uint8_t *data)
{
	fill_page(data, how == PUT_OTHER ? ~page : page + 1);
	if (how == PUT_WORD)
		data[page % PAGE_BYTES] ^= 1;
	if (how == PUT_ZERO)
		memset(data, 0, PAGE_BYTES);
}

/* Puts every page; the time of making the pages does not count. */
static void measure_put(const char *dir, uint64_t bytes,
			const struct image *base, enum put how)
{
	uint64_t pages = bytes >> PAGE_SHIFT, put = 0, t;
	static uint8_t data[64][PAGE_BYTES];
	char name[64];
	struct draft *d;
	int fd;

	d = begin_layer(dir, base, bytes, 0, &fd);
	for (uint64_t p = 0; p < pages; p += 64) {
		for (uint64_t i = 0; i < 64; i++)
			make_page(how, p + i, data[i]);
		t = now_ns();
		for (uint64_t i = 0; i < 64; i++)
			try(draft_put(d, p + i, data[i], &why));
		put += now_ns() - t;
	}
	t = now_ns();
	end_layer(dir, how == PUT_NEW ? "rate" : NULL, d, fd);
	snprintf(name, sizeof(name), "put_%s_us", put_names[how]);
	say(name, (double)put / 1e3 / (double)pages);
	snprintf(name, sizeof(name), "seal_%s_ms", put_names[how]);
	say(name, (double)(now_ns() - t) / 1e6);
}

static void measure_rates(char **word)
{
	uint64_t bytes = MIB(number(word[1]));
	char path[PATH_MAX];
	struct opened o;

	measure_put(word[0], bytes, NULL, PUT_NEW);
	snprintf(path, sizeof(path), "%s/rate", word[0]);
	open_image(&o, path);
	for (enum put how = PUT_EQUAL; how <= PUT_ZERO; how++)
		measure_put(word[0], bytes, &o.img, how);
	close_image(&o);
}

const struct measurement size_measurements[] = {
	{ "full", 3, "DIR MIB EVERY", measure_full },
	{ "increments", 5, "DIR MIB DIRTY COUNT random|word",
	  measure_increments },
	{ "rates", 2, "DIR MIB", measure_rates },
	{ 0 },
};
