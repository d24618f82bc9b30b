/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to open an image and to read it. */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "imgbench.h"

static void say_rate(uint64_t reads, uint64_t ns)
{
	say("reads_per_s", (double)reads * 1e9 / (double)ns);
	say("us_per_read", (double)ns / 1e3 / (double)reads);
}

/* ---- reads ---- */

/* All of it once: the page cache is warm, and so is the metadata. */
static void read_all(const struct image *img)
{
	static uint8_t buf[MIB(1)];
	const uint64_t step = sizeof(buf) >> PAGE_SHIFT;

	for (uint64_t p = 0; p < img->pages; p += step)
		try(image_read(img, p, MIN(step, img->pages - p), buf, &why));
}

/* READS random pages, one at a time. */
static void read_image(char **word)
{
	uint64_t reads = number(word[1]), state = number(word[2]), t;
	uint8_t page[PAGE_BYTES];
	struct opened o;

	open_image(&o, word[0]);
	read_all(&o.img);
	t = now_ns();
	for (uint64_t i = 0; i < reads; i++)
		try(image_read(&o.img, rng_below(&state, o.img.pages), 1, page,
			       &why));
	say_rate(reads, now_ns() - t);
	close_image(&o);
}

/* The same by pread. */
static void read_raw(char **word)
{
	uint64_t reads = number(word[1]), state = number(word[2]), t;
	int fd = must(open(word[0], O_RDONLY | O_CLOEXEC), word[0]);
	uint64_t pages = file_size(fd) >> PAGE_SHIFT;
	uint8_t page[PAGE_BYTES];

	for (uint64_t i = 0; i < pages; i++)
		try(file_read(fd, i << PAGE_SHIFT, page, PAGE_BYTES));
	t = now_ns();
	for (uint64_t i = 0; i < reads; i++)
		try(file_read(fd, rng_below(&state, pages) << PAGE_SHIFT, page,
			      PAGE_BYTES));
	say_rate(reads, now_ns() - t);
	close(fd);
}

/* Runs of PAGES pages at random places: bytes a second. */
static void read_runs(char **word)
{
	uint64_t reads = number(word[1]), n = number(word[2]), state = 1, t;
	uint8_t *buf = malloc(n << PAGE_SHIFT);
	struct opened o;

	must(buf ? 0 : -1, "malloc");
	open_image(&o, word[0]);
	read_all(&o.img);
	t = now_ns();
	for (uint64_t i = 0; i < reads; i++)
		try(image_read(&o.img, rng_below(&state, o.img.pages - n), n,
			       buf, &why));
	t = now_ns() - t;
	say("mib_per_s", (double)(reads * n) / 256 * 1e9 / (double)t);
	close_image(&o);
	free(buf);
}

/* ---- open ---- */

/* The stored pages of an image, by their order. */
struct stored {
	struct extent *run;
	size_t n, room;
	uint64_t pages;
};

static int add_run(void *ctx, const struct extent *e)
{
	struct stored *s = ctx;

	if (!e->layer)
		return 0;
	if (s->n == s->room) {
		s->room = s->room ? 2 * s->room : 1024;
		s->run = reallocarray(s->run, s->room, sizeof(*s->run));
		must(s->run ? 0 : -1, "realloc");
	}
	s->run[s->n++] = *e;
	s->pages += e->count;
	return 0;
}

static void list_stored(struct stored *s, const char *path)
{
	struct opened o;

	open_image(&o, path);
	try(image_each_extent(&o.img, 0, o.img.pages, add_run, s, &why));
	close_image(&o);
}

static double heap_kb(void)
{
	struct mallinfo2 m = mallinfo2();

	return (double)(m.uordblks + m.hblkhd) / 1024;
}

static double private_kb(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	double kb = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Private_Dirty: %lf kB", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

static void read_some(const struct image *img, const struct stored *s,
		      uint64_t reads, uint64_t *state)
{
	uint8_t page[PAGE_BYTES];

	for (uint64_t i = 0; i < reads; i++) {
		const struct extent *e = &s->run[rng_below(state, s->n)];

		try(image_read(img, e->page + rng_below(state, e->count), 1,
			       page, &why));
	}
}

static void read_stored(const struct image *img, const struct stored *s)
{
	uint8_t page[PAGE_BYTES];

	for (size_t i = 0; i < s->n; i++)
		for (uint64_t p = 0; p < s->run[i].count; p++)
			try(image_read(img, s->run[i].page + p, 1, page, &why));
}

/* Open to the first page read; then memory with none, 1 % and all of the stored
 * pages touched. */
static void open_measured(char **word)
{
	struct stored s = { 0 };
	uint64_t state = 3, t, opened;
	double heap, dirty;
	struct opened o;

	list_stored(&s, word[0]);
	malloc_trim(0);
	heap = heap_kb();
	dirty = private_kb();
	t = now_ns();
	open_image(&o, word[0]);
	opened = now_ns();
	read_some(&o.img, &s, 1, &state);
	say("open_us", (double)(opened - t) / 1e3);
	say("first_read_us", (double)(now_ns() - opened) / 1e3);
	say("open_and_read_ms", (double)(now_ns() - t) / 1e6);
	say("heap_kb_open", heap_kb() - heap);
	say("private_kb_open", private_kb() - dirty);
	read_some(&o.img, &s, s.pages / 100, &state);
	say("heap_kb_1_percent", heap_kb() - heap);
	read_stored(&o.img, &s);
	say("heap_kb_all", heap_kb() - heap);
	say("private_kb_all", private_kb() - dirty);
	close_image(&o);
	free(s.run);
}

const struct measurement read_measurements[] = {
	{ "read", 3, "IMAGE READS SEED", read_image },
	{ "read-raw", 3, "FILE READS SEED", read_raw },
	{ "read-runs", 3, "IMAGE READS PAGES", read_runs },
	{ "open", 1, "IMAGE", open_measured },
	{ 0 },
};
