/* SPDX-License-Identifier: Apache-2.0 */
/* `image check`: whether images are whole; all that is damaged is named. */
#include <errno.h>
#include <limits.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_image.h"
#include "fileio.h"
#include "image_check.h"
#include "layer_dir.h"

struct checking {
	struct image_verb v;
	struct image_check *check;
	json_t *images;	     /* --json */
	json_t *damages;     /* of this image */
	const char *path;    /* of this image */
	bool damaged, named; /* this image; what was told names it */
	struct fail last;    /* that was told */
	enum exit_code code; /* of the first failure */
};

static int tell_damage(void *ctx, const struct fail *damage)
{
	struct checking *c = ctx;

	c->damaged = true;
	/* What keeps imports from being linked keeps the roots from being
	 * read. */
	if (!strcmp(damage->message, c->last.message) &&
	    !strcmp(damage->object, c->last.object))
		return 0;
	c->last = *damage;
	c->named |= !strcmp(damage->object, c->path);
	if (!c->code)
		c->code = damage->code;
	cli_progress_end(&c->v.progress);
	if (c->v.json)
		json_array_append_new(c->damages,
				      json_pack("{s:s, s:s, s:s, s:s}", "code",
						fail_code_name(damage->code),
						"object", damage->object,
						"message", damage->message,
						"hint", damage->hint));
	else
		cli_print_fail(damage, false);
	return 0;
}

static int tell_pages(void *ctx, uint64_t done, uint64_t of)
{
	struct checking *c = ctx;

	return cli_progress_tell(&c->v.progress, done << PAGE_SHIFT,
				 of << PAGE_SHIFT);
}

/* A new set: what was checked before does not count for what comes. */
static int begin_set(struct checking *c, struct fail *why)
{
	struct image_check_options o = {
		.data = options_has(c->v.o, "data"),
		.damage = tell_damage,
		.progress = tell_pages,
		.ctx = c,
	};

	image_check_destroy(c->check);
	c->check = NULL;
	if (image_verb_anew(&c->v, why))
		return -ENOMEM;
	c->check = image_check_create(c->v.set, &o);
	return c->check ? 0 : file_failed("check", -ENOMEM, "check", why);
}

/* What was not told as damage on the way. */
static int check_image(struct checking *c, const struct image *img)
{
	struct fail why = { .code = EXIT_OK };
	bool before = c->damaged;
	int err;

	c->damaged = false;
	err = image_check(c->check, img, &why);
	if (err && err != -ECANCELED && !c->damaged)
		tell_damage(c, &why);
	c->damaged |= before;
	return err == -ECANCELED ? err : 0;
}

/* Whether the set has that file's layer from another file. */
static bool is_copy(const struct layer *l, const struct stat *file)
{
	struct stat st;

	return fstat(layer_fd(l), &st) < 0 || st.st_dev != file->st_dev ||
	       st.st_ino != file->st_ino;
}

/* Opens it from that file, and all that it needs; tells what it cannot. */
static struct layer *open_layer(struct checking *c, int fd, const char *path)
{
	struct fail why = { .code = EXIT_OK };
	struct layer_dir *dir = NULL;
	struct layer *l = NULL;
	struct stat st = { 0 };
	enum disk_kind kind;
	unsigned first;
	int err;

	fstat(fd, &st);
	first = layer_set_count(c->v.set);
	err = layer_open(c->v.set, fd, path, NULL, &l, &why);
	if (!err && is_copy(l, &st)) {
		first = 0;
		fd = disk_file_open(path, &kind, &why);
		err = fd < 0 ? fd : begin_set(c, &why);
		if (!err)
			err = layer_open(c->v.set, fd, path, NULL, &l, &why);
	}
	if (!err)
		err = layer_dir_open(&dir, path, &why);
	if (err || layer_dir_link(dir, c->v.set, first, &why))
		tell_damage(c, &why);
	layer_dir_close(dir);
	return err ? NULL : l;
}

static int check_layer(struct checking *c, int fd, const char *path)
{
	struct layer *l = open_layer(c, fd, path);
	uint64_t n = l ? layer_items(l, SECTION_ROOTS) : 0, bad = 0;
	struct fail why = { .code = EXIT_OK };
	struct image img;
	int err = 0;

	for (uint32_t i = 0; i < n && !err; i++) {
		err = cli_cancelled(path, NULL);
		if (err)
			break;
		if (image_open(&img, l, i, &why) == 0)
			err = check_image(c, &img);
		else if (bad++ < MAX_ROOTS)
			tell_damage(c, &why);
	}
	if (err || bad <= MAX_ROOTS)
		return err;
	fail_set(&why, EXIT_INTEGRITY, -EBADMSG, path, NULL,
		 "%" PRIu64 " more roots are damaged", bad - MAX_ROOTS);
	return tell_damage(c, &why);
}

/* Its log is checked when it is opened. */
static int check_head(struct checking *c, const char *path)
{
	struct disk_view_options o = { .set = c->v.set };
	struct fail why = { .code = EXIT_OK };
	struct disk_view *view;
	const struct image *img;
	int err = 0;

	if (disk_view_open(&view, path, &o, &why)) {
		tell_damage(c, &why);
		return 0;
	}
	img = disk_view_image(view);
	if (img)
		err = check_image(c, img);
	disk_view_close(view);
	return err;
}

static int check_file(struct checking *c, const char *path)
{
	struct fail why = { .code = EXIT_OK };
	enum disk_kind kind;
	int fd = disk_file_open(path, &kind, &why);

	if (fd >= 0 && kind == DISK_LAYER)
		return check_layer(c, fd, path);
	if (fd >= 0 && kind == DISK_RAW)
		disk_file_no_image(fd, path, &why);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && kind == DISK_HEAD)
		return check_head(c, path);
	tell_damage(c, &why);
	return 0;
}

/* The verdict; damage elsewhere is this image's too. */
static void tell_image(struct checking *c)
{
	char line[PATH_MAX + 64];
	struct fail why;

	if (c->v.json) {
		json_array_append_new(
		    c->images,
		    json_pack("{s:o, s:b, s:O}", "file", cli_json_text(c->path),
			      "whole", !c->damaged, "damages", c->damages));
	} else if (!c->damaged) {
		snprintf(line, sizeof(line), "%s: whole%s", c->path,
			 options_has(c->v.o, "data")
			     ? ""
			     : " (data not read: --data)");
		cli_print_line(line);
	} else if (!c->named) {
		fail_set(&why, EXIT_INTEGRITY, -EBADMSG, c->path, NULL,
			 "not whole: needs %s", c->last.object);
		cli_print_fail(&why, false);
	}
}

static int check_one(struct checking *c, const char *path)
{
	int err;

	c->path = path;
	c->damaged = c->named = false;
	c->last = (struct fail){ .code = EXIT_OK };
	c->damages = json_array();
	c->v.progress.what = path;
	err = check_file(c, path);
	cli_progress_end(&c->v.progress);
	if (!err)
		tell_image(c);
	json_decref(c->damages);
	return err;
}

/* As they are written; to take one for two costs time, no more. */
static bool same_directory(const char *a, const char *b)
{
	const char *x = strrchr(a, '/'), *y = strrchr(b, '/');

	if (!x || !y)
		return x == y;
	return x - a == y - b && !memcmp(a, b, (size_t)(x - a));
}

static int check_all(struct checking *c, struct fail *why)
{
	const char *const *operand = c->v.o->operand;
	unsigned n = c->v.o->noperands;
	int err = begin_set(c, why);

	if (err)
		return err;
	c->images = c->v.json ? json_array() : NULL;
	for (unsigned i = 0; i < n && !err; i++) {
		/* Imports are those of the directory, elsewhere copies. */
		if (i && !same_directory(operand[i - 1], operand[i]))
			err = begin_set(c, why);
		if (!err)
			err = check_one(c, operand[i]);
	}
	if (err == -ECANCELED)
		return cli_cancelled("image check", why);
	if (err)
		return err;
	return c->v.json ? cli_print_json(json_incref(c->images), why)
			 : cli_flush(EXIT_OK, why);
}

int cli_image_check(const struct options *o, struct fail *why)
{
	struct checking c = { .check = NULL };
	int err = image_verb_begin(&c.v, o, o->operand[0], why);

	if (!err)
		err = check_all(&c, why);
	image_check_destroy(c.check);
	json_decref(c.images);
	image_verb_end(&c.v);
	return err ? (int)why->code : (int)c.code;
}
