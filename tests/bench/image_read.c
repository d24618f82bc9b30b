/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to open an image and to read it. */
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "imgbench.h"

/* ---- reads of one page ---- */

/* Where a page is, so that reading needs no tree. */
struct place {
	int fd;
	uint32_t at;
};

/* What is read: */
enum source_kind {
	SOURCE_IMAGE, /* an image, by the library */
	SOURCE_FILES, /* its files by pread alone, without tree and sums: what
		       * they themselves cost. A full image. */
	SOURCE_RAW,   /* a raw file, by pread */
};

struct source {
	enum source_kind kind;
	const char *path;
	struct opened o;
	int fd;
	struct place *place;
	uint64_t pages, state;
	uint64_t *ns; /* of each turn */
};

static int add_places(void *ctx, const struct extent *e)
{
	struct place *v = ctx;

	for (uint64_t i = 0; i < e->count; i++)
		v[e->page + i] =
		    (struct place){ layer_fd(e->layer), e->at + (uint32_t)i };
	return 0;
}

static void read_one(const struct source *s, uint64_t n)
{
	uint8_t page[PAGE_BYTES];

	switch (s->kind) {
	case SOURCE_IMAGE:
		try(image_read(&s->o.img, n, 1, page, &why));
		break;
	case SOURCE_FILES:
		try(file_read(s->place[n].fd,
			      (uint64_t)s->place[n].at << PAGE_SHIFT, page,
			      PAGE_BYTES));
		break;
	case SOURCE_RAW:
		try(file_read(s->fd, n << PAGE_SHIFT, page, PAGE_BYTES));
		break;
	}
}

/* KIND:PATH, read once: its pages are in the page cache then, and its metadata
 * is there. */
static void open_source(struct source *s, const char *word, uint64_t turns)
{
	static const char *const kinds[] = { "image:", "files:", "raw:" };

	while (s->kind < SOURCE_RAW &&
	       strncmp(word, kinds[s->kind], strlen(kinds[s->kind])))
		s->kind++;
	s->path = strchr(word, ':') ? strchr(word, ':') + 1 : word;
	s->ns = calloc(turns, sizeof(*s->ns));
	if (s->kind == SOURCE_RAW) {
		s->fd = must(file_open(AT_FDCWD, s->path, 0), s->path);
		s->pages = file_size(s->fd) >> PAGE_SHIFT;
	} else {
		open_image(&s->o, s->path);
		s->pages = s->o.img.pages;
		s->place = calloc(s->pages, sizeof(*s->place));
		must(s->place ? 0 : -1, "malloc");
	}
	must(s->ns ? 0 : -1, "malloc");
	if (s->kind == SOURCE_FILES)
		try(image_each_extent(&s->o.img, 0, s->pages, add_places,
				      s->place, &why));
	for (uint64_t i = 0; i < s->pages; i++)
		read_one(s, i);
}

static void close_source(struct source *s)
{
	if (s->kind == SOURCE_RAW)
		close(s->fd);
	else
		close_image(&s->o);
	free(s->place);
	free(s->ns);
}

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void say_source(struct source *s, uint64_t turns, uint64_t reads)
{
	static const char *const kinds[] = { "image", "files", "raw" };
	char name[PATH_MAX + 16];

	qsort(s->ns, turns, sizeof(*s->ns), compare_ns);
	snprintf(name, sizeof(name), "%s:%s", kinds[s->kind], s->path);
	say(name, (double)s->ns[turns / 2] / 1e3 / (double)reads);
	snprintf(name, sizeof(name), "min:%s:%s", kinds[s->kind], s->path);
	say(name, (double)s->ns[0] / 1e3 / (double)reads);
}

/* TURNS times READS random pages of each, one at a time, in turns that are so
 * short that whatever else the machine does hits all alike: the median and the
 * least, in us a read. */
static void read_sources(char **word)
{
	uint64_t turns = number(word[0]), reads = number(word[1]), t;
	unsigned n = 0;
	struct source *s;

	while (word[2 + n])
		n++;
	s = calloc(n, sizeof(*s));
	must(s ? 0 : -1, "malloc");
	for (unsigned i = 0; i < n; i++) {
		/* Not the same pages one after the other: they would be in the
		 * processor's cache. */
		s[i].state = i + 1;
		open_source(&s[i], word[2 + i], turns);
	}
	for (uint64_t k = 0; k < turns; k++)
		for (unsigned i = 0; i < n; i++) {
			t = now_ns();
			for (uint64_t r = 0; r < reads; r++)
				read_one(&s[i],
					 rng_below(&s[i].state, s[i].pages));
			s[i].ns[k] = now_ns() - t;
		}
	for (unsigned i = 0; i < n; i++) {
		qsort(s[i].ns, turns, sizeof(*s[i].ns), compare_ns);
		say_source(&s[i], turns, reads);
		close_source(&s[i]);
	}
	free(s);
}

/* ---- runs ---- */

/* All of it once: the page cache is warm, and so is the metadata. */
static void read_all(const struct image *img)
{
	static uint8_t buf[MIB(1)];
	const uint64_t step = sizeof(buf) >> PAGE_SHIFT;

	for (uint64_t p = 0; p < img->pages; p += step)
		try(image_read(img, p, MIN(step, img->pages - p), buf, &why));
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
	{ "read", -3, "TURNS READS KIND:PATH...", read_sources },
	{ "read-runs", 3, "IMAGE READS PAGES", read_runs },
	{ "open", 1, "IMAGE", open_measured },
	{ 0 },
};
