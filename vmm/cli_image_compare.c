/* SPDX-License-Identifier: Apache-2.0 */
/* `image compare`: whether two images or raw files have the same bytes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "cli_image.h"

#define EXIT_SAME      0
#define EXIT_DIFFERENT 1
#define EXIT_TROUBLE   2 /* as cmp(1): 1 is taken */

/* A document with more would be of no use to anyone. */
#define MAX_RANGES 100000

struct comparison {
	json_t *ranges; /* --json */
	bool cut;
};

static int add_range(void *ctx, uint64_t page, uint64_t count)
{
	struct comparison *c = ctx;

	if (json_array_size(c->ranges) == MAX_RANGES)
		c->cut = true;
	else
		json_array_append_new(
		    c->ranges,
		    json_pack("{s:I, s:I}", "offset",
			      (json_int_t)(page << PAGE_SHIFT), "bytes",
			      (json_int_t)(count << PAGE_SHIFT)));
	return 0;
}

static int tell_json(struct comparison *c, bool same, const uint64_t bytes[2],
		     const struct disk_difference *d, struct fail *why)
{
	json_t *doc = json_pack("{s:b, s:[I, I], s:I}", "same", same, "bytes",
				(json_int_t)bytes[0], (json_int_t)bytes[1],
				"different_pages", (json_int_t)d->pages);

	if (d->pages)
		json_object_set_new(doc, "first_offset",
				    json_integer((json_int_t)d->first));
	json_object_set(doc, "ranges", c->ranges);
	json_object_set_new(doc, "ranges_cut", json_boolean(c->cut));
	return cli_print_json(doc, why);
}

static int tell_text(bool same, const uint64_t bytes[2],
		     const struct disk_difference *d, struct fail *why)
{
	if (same)
		printf("the same\n");
	if (d->pages)
		printf("different: from byte %" PRIu64 " (0x%" PRIx64
		       ") on, in %" PRIu64 " %s of 4096 bytes\n",
		       d->first, d->first, d->pages,
		       d->pages == 1 ? "page" : "pages");
	if (bytes[0] != bytes[1])
		printf("different sizes: %" PRIu64 " and %" PRIu64 " bytes\n",
		       bytes[0], bytes[1]);
	return cli_flush(EXIT_OK, why);
}

static int compare(struct image_verb *v, struct disk_view *const view[2],
		   bool *same, struct fail *why)
{
	struct disk_progress p = image_verb_progress(v);
	struct comparison c = { .ranges = v->json ? json_array() : NULL };
	uint64_t bytes[2] = { disk_view_bytes(view[0]),
			      disk_view_bytes(view[1]) };
	struct disk_difference d;
	int err = disk_compare(view[0], view[1], v->json ? add_range : NULL, &c,
			       &p, &d, why);

	cli_progress_end(&v->progress);
	*same = !d.pages && bytes[0] == bytes[1];
	if (!err)
		err = v->json ? tell_json(&c, *same, bytes, &d, why)
			      : tell_text(*same, bytes, &d, why);
	json_decref(c.ranges);
	return err;
}

int cli_image_compare(const struct options *o, struct fail *why)
{
	struct disk_view *view[2] = { NULL, NULL };
	struct image_verb v;
	bool same = false;
	int err = image_verb_begin(&v, o, o->operand[0], why);

	if (!err)
		err = image_verb_view(&v, o->operand[0], false, &view[0], why);
	/* One may be a copy of the other. */
	if (!err)
		err = image_verb_part(&v, why);
	if (!err)
		err = image_verb_view(&v, o->operand[1], false, &view[1], why);
	if (!err)
		err = compare(&v, view, &same, why);
	if (err == -ECANCELED)
		fail_about(why, "%s", o->operand[0]);
	disk_view_close(view[0]);
	disk_view_close(view[1]);
	image_verb_end(&v);
	if (err)
		return why->code == EXIT_FAILED ? EXIT_TROUBLE : (int)why->code;
	return same ? EXIT_SAME : EXIT_DIFFERENT;
}
