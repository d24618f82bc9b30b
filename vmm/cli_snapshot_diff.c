/* SPDX-License-Identifier: Apache-2.0 */
/* `snapshot diff`: in what two snapshots differ, image by image. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli_progress.h"
#include "cli_snapshot.h"
#include "cli_state_diff.h"
#include "disk_copy.h"
#include "disk_roots.h"
#include "disk_source.h"
#include "fileio.h"
#include "state_file.h"
#include "util.h"

#define EXIT_SAME      0
#define EXIT_DIFFERENT 1
#define EXIT_TROUBLE   2 /* as `image compare`: 1 is taken */

/* More is of no use to anyone. */
#define MAX_RANGES 100000
#define TEXT_LINES 20

struct diff {
	const struct options *o;
	struct store *s;
	struct snapshot x[2];
	struct layer_set *set; /* of both */
	struct cli_progress p;
	char layers[PATH_MAX]; /* the directory */
	bool different;
	json_t *doc;
};

static int no_memory(struct fail *why)
{
	return fail_set(why, EXIT_FAILED, -ENOMEM, "snapshot diff", NULL,
			"out of memory");
}

/* ---- images ---- */

static const struct manifest_image *image_of(const struct snapshot *x,
					     uint32_t kind, const char *id)
{
	for (uint32_t i = 0; i < x->manifest.images.n; i++) {
		const struct manifest_image *im = &x->manifest.images.item[i];

		if (im->kind == kind && (!id || !strcmp(im->id, id)))
			return im;
	}
	return NULL;
}

/* Whether it is the file that the image lies on. */
static bool is_base(const struct disk_config *c,
		    const struct manifest_image *im)
{
	struct disk_source s = { .fd = -1, .lock = -1 };
	uint8_t stamp[ID_BYTES];
	struct disk_root r;
	bool same = false;

	if (!disk_source_open(&s, c, NULL)) {
		r = (struct disk_root){ .bytes = s.bytes,
					.mtime_ns = s.mtime_ns };
		disk_root_stamp(&r, stamp);
		same = !memcmp(stamp, im->base_stamp, sizeof(stamp));
	}
	disk_source_close(&s);
	return same;
}

/* The path of the file that the image lies on, by the ref's hint; the caller
 * frees it. */
static int find_base(const struct snapshot *x, const struct manifest_image *im,
		     char **path, struct fail *why)
{
	struct vm_config c;
	char object[REF_NAME_TEXT + 80], name[REF_NAME_TEXT];

	config_init(&c);
	*path = NULL;
	if (x->ref.config.n &&
	    !config_from_text(&c, (const char *)x->ref.config.item,
			      x->ref.config.n, NULL))
		for (unsigned i = 0; i < c.ndisks && !*path; i++)
			if (!strcmp(c.disk[i].id, im->id) &&
			    is_base(&c.disk[i], im))
				*path = strdup(c.disk[i].path);
	config_free(&c);
	if (*path)
		return 0;
	cli_snapshot_name(name, x);
	snprintf(object, sizeof(object), "%s: disk %s", name, im->id);
	return fail_set(why, EXIT_NOT_FOUND, -ENOENT, object,
			"put it back where it was, as it was",
			"the file that it lies on is not there, or has "
			"changed");
}

static int open_view(struct diff *d, const struct snapshot *x,
		     const struct manifest_image *im, struct disk_view **v,
		     struct fail *why)
{
	struct disk_view_options o = { .set = d->set,
				       .only_images = true,
				       .root = im->root };
	_cleanup_free_ char *base = NULL;
	char path[PATH_MAX + ID_TEXT + 1], id[ID_TEXT];
	int err = 0;

	object_id_text(id, &im->layer);
	snprintf(path, sizeof(path), "%s/%s", d->layers, id);
	if (im->base == BASE_RAW_FILE)
		err = find_base(x, im, &base, why);
	o.below = base;
	return err ? err : disk_view_open(v, path, &o, why);
}

static int add_range(void *ctx, uint64_t page, uint64_t count)
{
	json_t *ranges = ctx;

	if (json_array_size(ranges) < MAX_RANGES)
		json_array_append_new(
		    ranges, json_pack("{s:I, s:I}", "offset",
				      (json_int_t)(page << PAGE_SHIFT), "bytes",
				      (json_int_t)(count << PAGE_SHIFT)));
	return 0;
}

static bool same_image(const struct manifest_image *a,
		       const struct manifest_image *b)
{
	return a->root == b->root && object_id_equal(&a->layer, &b->layer);
}

/* What differs between them, into `to`. */
static int compare_images(struct diff *d, const struct manifest_image *a,
			  const struct manifest_image *b, json_t *to,
			  struct fail *why)
{
	const struct disk_progress p = { cli_progress_tell, &d->p };
	struct disk_view *va = NULL, *vb = NULL;
	struct disk_difference n = { 0 };
	json_t *ranges = json_array();
	int err = 0;

	if (!same_image(a, b)) {
		err = open_view(d, &d->x[0], a, &va, why);
		if (!err)
			err = open_view(d, &d->x[1], b, &vb, why);
		if (!err)
			err = disk_compare(va, vb, add_range, ranges, &p, &n,
					   why);
	}
	disk_view_close(va);
	disk_view_close(vb);
	d->different |= n.pages || a->bytes != b->bytes;
	json_object_update_new(
	    to, json_pack("{s:[o, o], s:o, s:o, s:b}", "bytes",
			  cli_number_json(a->bytes), cli_number_json(b->bytes),
			  "different_pages", cli_number_json(n.pages), "ranges",
			  ranges, "ranges_cut",
			  json_array_size(ranges) == MAX_RANGES));
	return err;
}

/* In one of them only; or, as it is no image of either, in none. */
static void tell_missing(struct diff *d, const char *key, json_t *to,
			 const struct manifest_image *a,
			 const struct manifest_image *b)
{
	if (!a && !b)
		return;
	d->different = true;
	json_object_set_new(to, key, json_string(a ? "a" : "b"));
}

/* ---- memory, disks ---- */

static int diff_memory(struct diff *d, struct fail *why)
{
	const struct manifest_image *a = image_of(&d->x[0], IMAGE_MEMORY, NULL),
				    *b = image_of(&d->x[1], IMAGE_MEMORY, NULL);
	json_t *memory = json_object();

	json_object_set_new(d->doc, "memory", memory);
	if (a && b)
		return compare_images(d, a, b, memory, why);
	tell_missing(d, "only_in", memory, a, b);
	return 0;
}

static int diff_disk(struct diff *d, json_t *list, const char *id,
		     struct fail *why)
{
	const struct manifest_image *a = image_of(&d->x[0], IMAGE_DISK, id),
				    *b = image_of(&d->x[1], IMAGE_DISK, id);
	json_t *disk = json_pack("{s:s}", "id", id);

	json_array_append_new(list, disk);
	if (a && b)
		return compare_images(d, a, b, disk, why);
	tell_missing(d, "only_in", disk, a, b);
	return 0;
}

static int diff_disks(struct diff *d, struct fail *why)
{
	json_t *list = json_array();
	int err = 0;

	json_object_set_new(d->doc, "disks", list);
	for (unsigned k = 0; k < 2; k++) {
		const struct manifest *m = &d->x[k].manifest;

		for (uint32_t i = 0; i < m->images.n && !err; i++) {
			const struct manifest_image *im = &m->images.item[i];

			if (im->kind == IMAGE_DISK &&
			    (k == 0 || !image_of(&d->x[0], IMAGE_DISK, im->id)))
				err = diff_disk(d, list, im->id, why);
		}
	}
	return err;
}

/* ---- state ---- */

/* The caller frees *data. */
static int read_state(struct diff *d, const struct manifest_image *im,
		      uint8_t **data, size_t *len, struct fail *why)
{
	struct disk_view *v = NULL;
	int err;

	*data = NULL;
	if (im->bytes > STATE_FILE_MAX)
		return fail_set(why, EXIT_INTEGRITY, -EBADMSG, "state", NULL,
				"is too long");
	err = open_view(d, NULL, im, &v, why);
	if (!err) {
		uint64_t pages = disk_view_pages(v);

		*data = calloc(pages, PAGE_BYTES);
		err = *data
			  ? image_read(disk_view_image(v), 0, pages, *data, why)
			  : no_memory(why);
	}
	disk_view_close(v);
	*len = err ? 0 : state_file_length(*data, im->bytes);
	return err;
}

static int diff_state(struct diff *d, struct fail *why)
{
	const struct manifest_image *a = image_of(&d->x[0], IMAGE_STATE, NULL),
				    *b = image_of(&d->x[1], IMAGE_STATE, NULL);
	_cleanup_free_ uint8_t *x = NULL, *y = NULL;
	struct state_bytes sa, sb;
	json_t *list = json_array();
	int err;

	json_object_set_new(d->doc, "state", list);
	if (!a || !b)
		return 0; /* as the memory, which says it */
	err = read_state(d, a, &x, &sa.len, why);
	if (!err)
		err = read_state(d, b, &y, &sb.len, why);
	if (err)
		return err;
	sa.data = x;
	sb.data = y;
	err = cli_state_diff(list, &sa, &sb, why);
	d->different |= json_array_size(list) > 0;
	return err == -ENOMEM ? no_memory(why) : err;
}

/* ---- text ---- */

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "-";
}

static void print_more(size_t n)
{
	if (n > TEXT_LINES)
		printf("  and %zu more: see --json\n", n - TEXT_LINES);
}

static void print_state(const json_t *list)
{
	size_t n = json_array_size(list);

	if (n)
		printf("state: %zu values differ\n", n);
	for (size_t i = 0; i < MIN(n, (size_t)TEXT_LINES); i++) {
		const json_t *o = json_array_get(list, i);
		const json_t *index = json_object_get(o, "index");
		char at[24] = "", line[512];

		if (index)
			snprintf(at, sizeof(at), "[%d]",
				 (int)json_integer_value(index));
		snprintf(line, sizeof(line), "  %s %s.%s%s: %s -> %s",
			 text_of(o, "instance"), text_of(o, "section"),
			 text_of(o, "field"), at, text_of(o, "a"),
			 text_of(o, "b"));
		cli_print_line(line);
	}
	print_more(n);
}

static void print_image(const char *what, const char *id, const json_t *o)
{
	const json_t *ranges = json_object_get(o, "ranges");
	json_int_t pages =
	    json_integer_value(json_object_get(o, "different_pages"));
	size_t n = json_array_size(ranges);

	if (json_object_get(o, "only_in"))
		printf("%s%s: only in %s\n", what, id, text_of(o, "only_in"));
	if (pages)
		printf("%s%s: %lld pages of 4096 bytes differ\n", what, id,
		       (long long)pages);
	for (size_t i = 0; i < MIN(n, (size_t)TEXT_LINES); i++) {
		const json_t *r = json_array_get(ranges, i);
		json_int_t at =
		    json_integer_value(json_object_get(r, "offset"));

		printf("  0x%llx to 0x%llx\n", (unsigned long long)at,
		       (unsigned long long)(at +
					    json_integer_value(
						json_object_get(r, "bytes")) -
					    1));
	}
	print_more(n);
}

static int print(const struct diff *d, struct fail *why)
{
	const json_t *disk;
	size_t i;

	json_object_set_new(d->doc, "same", json_boolean(!d->different));
	if (options_has(d->o, "json"))
		return cli_print_json(json_incref(d->doc), why);
	if (!d->different)
		printf("the same\n");
	print_state(json_object_get(d->doc, "state"));
	print_image("memory", "", json_object_get(d->doc, "memory"));
	json_array_foreach(json_object_get(d->doc, "disks"), i, disk)
	    print_image("disk ", text_of(disk, "id"), disk);
	return cli_flush(EXIT_OK, why);
}

/* ---- */

static int open_all(struct diff *d, struct fail *why)
{
	static const char below[] = "/store/layers";
	int err = home_path(d->layers, sizeof(d->layers) - sizeof(below), why);

	if (err)
		return err;
	strcat(d->layers, below);
	err = cli_store_open(&d->s, why);
	if (err == -ENOENT)
		err =
		    fail_set(why, EXIT_NOT_FOUND, err, d->o->operand[0],
			     "see 'tintype snapshot list'", "no such snapshot");
	if (!err)
		err = store_lock(d->s, STORE_SHARED, why);
	for (unsigned i = 0; i < 2 && !err; i++) {
		err = snapshot_find(d->s, d->o->operand[i], &d->x[i].ref, why);
		if (!err)
			err = cli_snapshot_load(&d->x[i], d->s, why);
	}
	d->doc = json_object();
	d->set = layer_set_create(NULL, NULL);
	return err || (d->doc && d->set) ? err : no_memory(why);
}

int cli_snapshot_diff(const struct options *o, struct fail *why)
{
	struct diff d = { .o = o };
	int err = cli_progress_begin(&d.p, o, o->operand[0], why);

	if (!err)
		err = open_all(&d, why);
	if (!err)
		err = diff_state(&d, why);
	if (!err)
		err = diff_memory(&d, why);
	if (!err)
		err = diff_disks(&d, why);
	cli_progress_end(&d.p);
	if (!err)
		err = print(&d, why);
	json_decref(d.doc);
	layer_set_destroy(d.set);
	cli_snapshot_free(&d.x[0]);
	cli_snapshot_free(&d.x[1]);
	store_close(d.s);
	if (err)
		return why->code == EXIT_FAILED ? EXIT_TROUBLE : (int)why->code;
	return d.different ? EXIT_DIFFERENT : EXIT_SAME;
}
