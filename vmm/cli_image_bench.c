/* SPDX-License-Identifier: Apache-2.0 */
/* `image bench`: how fast an image is read, by the way that a disk is read. */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "cli_image.h"
#include "fileio.h"

#define MAX_READS	(UINT64_C(1) << 24)
#define MAX_BLOCK_PAGES 4096

struct benchmark {
	struct image_verb v;
	const char *path;
	struct disk_view *view;

	uint64_t reads, block_bytes, seed;
	bool sequential;

	uint64_t open_ns, all_ns;
	uint32_t *ns; /* of each read, in order of time when it is over */
	uint64_t heap_open, heap_read; /* bytes */
};

/* splitmix64: the same reads for the same seed, everywhere. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t heap_bytes(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

/* ---- options ---- */

static int bad_option(struct fail *why, const char *name, const char *value,
		      const char *hint)
{
	char object[sizeof(why->object)];

	snprintf(object, sizeof(object), "--%s %s", name, value);
	return fail_set(why, EXIT_USAGE, -EINVAL, object, hint,
			"is not possible");
}

/* A number, which stays as it is when the option is not given. */
static int get_number(const struct options *o, const char *name,
		      uint64_t *number, struct fail *why)
{
	const struct option_use *use = options_find(o, name);

	if (!use || !config_parse_count(use->value, number))
		return 0;
	return bad_option(why, name, use->value, "give a number");
}

static int get_options(struct benchmark *b, const struct options *o,
		       struct fail *why)
{
	const struct option_use *reads = options_find(o, "reads");
	const struct option_use *block = options_find(o, "block");
	int err = get_number(o, "reads", &b->reads, why);

	if (!err)
		err = get_number(o, "seed", &b->seed, why);
	if (err)
		return err;
	if (!b->reads || b->reads > MAX_READS)
		return bad_option(why, "reads", reads->value,
				  "give a number from 1 to 16777216");
	if (block && (config_parse_size(block->value, &b->block_bytes) ||
		      !b->block_bytes || b->block_bytes % PAGE_BYTES ||
		      b->block_bytes > MAX_BLOCK_PAGES * PAGE_BYTES))
		return bad_option(why, "block", block->value,
				  "give a multiple of 4K, up to 16M");
	b->sequential = options_has(o, "sequential");
	return 0;
}

/* ---- reads ---- */

static int read_block(const struct disk_view *v, uint64_t page, uint64_t count,
		      uint8_t *buf, struct fail *why)
{
	while (count) {
		struct where w;
		int err = disk_view_locate(v, page, count, &w, why);

		if (!err)
			err = disk_view_read(v, page, &w, buf, why);
		if (err)
			return err;
		page += w.count;
		count -= w.count;
		buf += w.count << PAGE_SHIFT;
	}
	return 0;
}

static int read_blocks(struct benchmark *b, uint8_t *buf, struct fail *why)
{
	uint64_t block_pages = b->block_bytes >> PAGE_SHIFT;
	uint64_t blocks = disk_view_pages(b->view) / block_pages;
	uint64_t state = b->seed, begin = now_ns(), before = begin;

	if (!blocks)
		return fail_set(why, EXIT_USAGE, -EINVAL, b->path,
				"give a smaller --block",
				"is smaller than one block");
	for (uint64_t i = 0; i < b->reads; i++) {
		uint64_t n = b->sequential ? i : next_random(&state);
		uint64_t now;
		int err = read_block(b->view, n % blocks * block_pages,
				     block_pages, buf, why);

		if (!err && i % 1024 == 0)
			err = cli_cancelled(b->path, why);
		if (err)
			return err;
		/* One look at the clock a read: from the end of one to that
		 * of the next. */
		now = now_ns();
		b->ns[i] = (uint32_t)MIN(now - before, UINT32_MAX);
		before = now;
	}
	b->all_ns = MAX(before - begin, 1);
	return 0;
}

static int compare_ns(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int measure(struct benchmark *b, struct fail *why)
{
	_cleanup_free_ uint8_t *buf = malloc(b->block_bytes);
	uint64_t heap, t;
	int err;

	b->ns = calloc(b->reads, sizeof(*b->ns));
	if (!buf || !b->ns)
		return file_failed(b->path, -ENOMEM, "read", why);
	heap = heap_bytes();
	t = now_ns();
	err = image_verb_view(&b->v, b->path, false, &b->view, why);
	b->open_ns = now_ns() - t;
	b->heap_open = heap_bytes() - heap;
	if (!err)
		err = read_blocks(b, buf, why);
	b->heap_read = heap_bytes() - heap;
	if (!err)
		qsort(b->ns, b->reads, sizeof(*b->ns), compare_ns);
	return err;
}

/* ---- results ---- */

static const char *const kind_names[] = {
	[DISK_RAW] = "raw file",
	[DISK_LAYER] = "layer",
	[DISK_HEAD] = "head",
};

static int tell_json(const struct benchmark *b, struct fail *why)
{
	const uint32_t *ns = b->ns;
	double s = (double)b->all_ns / 1e9, n = (double)b->reads;
	json_t *doc = json_pack(
	    "{s:o, s:s, s:I, s:I, s:I, s:b, s:I, s:f, s:f, s:I, s:I, s:I}",
	    "file", cli_json_text(b->path), "kind",
	    kind_names[disk_view_kind(b->view)], "bytes",
	    (json_int_t)disk_view_bytes(b->view), "reads", (json_int_t)b->reads,
	    "block_bytes", (json_int_t)b->block_bytes, "sequential",
	    b->sequential, "seed", (json_int_t)b->seed, "reads_per_s", n / s,
	    "bytes_per_s", n * (double)b->block_bytes / s, "open_ns",
	    (json_int_t)b->open_ns, "heap_bytes_open", (json_int_t)b->heap_open,
	    "heap_bytes_read", (json_int_t)b->heap_read);
	json_t *read =
	    json_pack("{s:I, s:I, s:I, s:I}", "min", (json_int_t)ns[0],
		      "median", (json_int_t)ns[b->reads / 2], "p99",
		      (json_int_t)ns[b->reads - 1 - b->reads / 100], "max",
		      (json_int_t)ns[b->reads - 1]);

	if (doc)
		json_object_set_new(doc, "read_ns", read);
	return cli_print_json(doc, why);
}

static int tell_text(const struct benchmark *b, struct fail *why)
{
	char block[CLI_SIZE_TEXT], opened[CLI_SIZE_TEXT], read[CLI_SIZE_TEXT];
	const uint32_t *ns = b->ns;
	double s = (double)b->all_ns / 1e9, n = (double)b->reads;

	cli_size_text(block, b->block_bytes);
	cli_size_text(opened, b->heap_open);
	cli_size_text(read, b->heap_read);
	printf("reads:   %" PRIu64 " of %s, %s\n", b->reads, block,
	       b->sequential ? "sequential" : "random");
	printf("rate:    %.0f IOPS, %.0f MiB/s\n", n / s,
	       n * (double)b->block_bytes / s / (double)MIB(1));
	printf("a read:  min %.2f, median %.2f, p99 %.2f, max %.2f us\n",
	       ns[0] / 1e3, ns[b->reads / 2] / 1e3,
	       ns[b->reads - 1 - b->reads / 100] / 1e3, ns[b->reads - 1] / 1e3);
	printf("to open: %.2f ms\n", (double)b->open_ns / 1e6);
	printf("memory:  %s when opened, %s when read\n", opened, read);
	return cli_flush(EXIT_OK, why);
}

int cli_image_bench(const struct options *o, struct fail *why)
{
	struct benchmark b = { .path = o->operand[0],
			       .reads = 100000,
			       .block_bytes = PAGE_BYTES,
			       .seed = 1 };
	int err = image_verb_begin(&b.v, o, b.path, why);

	if (!err)
		err = get_options(&b, o, why);
	if (!err)
		err = measure(&b, why);
	if (!err)
		err = b.v.json ? tell_json(&b, why) : tell_text(&b, why);
	disk_view_close(b.view);
	image_verb_end(&b.v);
	free(b.ns);
	return err ? (int)why->code : EXIT_OK;
}
