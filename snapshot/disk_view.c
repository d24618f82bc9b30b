/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One way to read raw files, layers and heads.
 *
 *   head -> head -> ... -> image -> raw file
 *
 * A view has any end of that: no head, no image, no raw file. A frozen head
 * that was sealed since is a layer, found by the same uid.
 */
#include "disk_view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fileio.h"
#include "layer_dir.h"

/* Heads wait for their sealing one after the other: more than two are rare. */
#define MAX_HEADS 64

struct disk_view {
	char name[FILE_NAME_TEXT];
	enum disk_kind kind;
	uint64_t bytes, pages;
	bool bottom_open; /* below it all is nothing, or a raw file */

	struct head *head[MAX_HEADS]; /* each lies on the next */
	int head_fd[MAX_HEADS];
	unsigned nheads;
	struct image image;
	bool has_image;
	int raw; /* -1: none */
	uint64_t raw_bytes;
};

/* ---- files ---- */

/* The length of a file or block device. 0 or -errno. */
static int file_length(int fd, uint64_t *bytes)
{
	off_t end = lseek(fd, 0, SEEK_END);

	*bytes = (uint64_t)end;
	return end < 0 ? -errno : 0;
}

static int open_regular(const char *path, struct fail *why)
{
	/* O_NONBLOCK: a pipe cannot hold us up. */
	_cleanup_close_ int fd =
	    file_open(AT_FDCWD, path, O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return file_failed(path, -errno, "open", why);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return fail_set(
		    why, EXIT_USAGE, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
		    path, "give the file of a disk", "is %s",
		    S_ISDIR(st.st_mode) ? "a directory"
					: "neither a file nor a block device");
	return steal_fd(&fd);
}

/* Whether it is a head, in a file that has the header of one. */
static int tell_head(int fd, const char *path, enum disk_kind *kind,
		     struct fail *why)
{
	struct layer_header h;
	struct object_id id;
	int got = layer_read_header(fd, path, &h, why);

	*kind = DISK_LAYER;
	if (got || !h.bytes)
		return got;
	got = layer_is_sealed(fd, &h, &id);
	if (got < 0)
		return file_failed(path, got, "read", why);
	if (!got)
		*kind = DISK_HEAD;
	return 0;
}

int disk_file_open(const char *path, enum disk_kind *kind, struct fail *why)
{
	_cleanup_close_ int fd = open_regular(path, why);
	char magic[sizeof(LAYER_MAGIC) - 1];
	int err;

	if (fd < 0)
		return fd;
	*kind = DISK_RAW;
	err = file_read(fd, 0, magic, sizeof(magic));
	if (err && err != -ENODATA)
		return file_failed(path, err, "read", why);
	if (!err && !memcmp(magic, LAYER_MAGIC, sizeof(magic)))
		err = tell_head(fd, path, kind, why);
	else
		err = 0;
	return err ? err : steal_fd(&fd);
}

int disk_file_no_image(int fd, const char *path, struct fail *why)
{
	struct layer_header h;
	int err = layer_read_header(fd, path, &h, why);

	return err ? err
		   : fail_set(why, EXIT_CONFLICT, -EBUSY, path,
			      "stop what writes to it, and try again",
			      "changed while it was opened");
}

/* ---- open ---- */

struct opening {
	struct disk_view *v;
	const struct disk_view_options *o;
	struct layer_dir *dir; /* of the view's file */
	struct fail *why;
};

/* A layer that was a head, and lay on nothing. */
static bool was_at_bottom(const struct layer *l)
{
	struct layer_header h;

	return !layer_read_header(layer_fd(l), "", &h, NULL) && h.bytes &&
	       h.below_kind == BELOW_NOTHING;
}

/* The image of a root; the fd is taken. */
static int open_layer(const struct opening *x, int fd, const char *name,
		      const struct object_id *want, uint32_t root)
{
	unsigned first = layer_set_count(x->o->set);
	struct layer *l;
	int err = layer_open(x->o->set, fd, name, want, &l, x->why);

	if (!err)
		err = layer_dir_link(x->dir, x->o->set, first, x->why);
	if (!err)
		err = image_open(&x->v->image, l, root, x->why);
	x->v->has_image = !err;
	for (unsigned i = first; i < layer_set_count(x->o->set); i++)
		x->v->bottom_open |= was_at_bottom(layer_set_at(x->o->set, i));
	return err;
}

static int not_there(const struct opening *x, int err, const char *name,
		     const char *what, const uint8_t *id)
{
	const char *unreadable = layer_dir_unreadable(x->dir);
	char hex[13];

	for (unsigned i = 0; i < 6; i++)
		sprintf(hex + 2 * i, "%02x", id[i]);
	if (err != -ENOENT)
		return file_failed(name, err, "find what it lies on", x->why);
	if (unreadable)
		return fail_set(x->why, EXIT_DENIED, err, name,
				"make that file readable",
				"lies on %s %s, which is not there, or is %s: "
				"Permission denied",
				what, hex, unreadable);
	return fail_set(x->why, EXIT_INTEGRITY, err, name,
			"put it beside this one",
			"lies on %s %s, which is "
			"not there",
			what, hex);
}

static int open_head(const struct opening *x, int fd, const char *name);

/* What that head lies on. */
static int open_below(const struct opening *x, const struct head_info *info,
		      const char *name)
{
	struct layer_dir_file f;
	int err;

	switch (info->below_kind) {
	case BELOW_NOTHING:
		x->v->bottom_open = true;
		return 0;
	case BELOW_LAYER:
		err = layer_dir_find_id(x->dir, &info->below_layer, &f);
		if (err)
			return not_there(x, err, name, "layer",
					 info->below_layer.b);
		return open_layer(x, f.fd, f.name, &info->below_layer,
				  info->below_root);
	case BELOW_HEAD:
		err = layer_dir_find_uid(x->dir, info->below_uid, &f);
		if (err)
			return not_there(x, err, name, "head", info->below_uid);
		return f.sealed ? open_layer(x, f.fd, f.name, NULL, 0)
				: open_head(x, f.fd, f.name);
	}
	return -EINVAL;
}

/* Opens what it lies on, and then itself; the fd is taken. */
static int open_head(const struct opening *x, int fd, const char *name)
{
	struct disk_view *v = x->v;
	struct head_below below = HEAD_BELOW_NOTHING;
	unsigned n = v->nheads;
	struct head_info info;
	int err;

	if (n == MAX_HEADS) {
		close(fd);
		return fail_set(x->why, EXIT_INTEGRITY, -ELOOP, v->name, NULL,
				"lies on more than %u heads, or on itself",
				MAX_HEADS);
	}
	v->head_fd[v->nheads++] = fd;
	err = head_read_info(fd, name, &info, x->why);
	if (!err && n == 0)
		v->bytes = info.bytes;
	if (!err)
		err = open_below(x, &info, name);
	if (err)
		return err;
	if (n + 1 < v->nheads)
		below.head = v->head[n + 1];
	else if (v->has_image)
		below.image = &v->image;
	below.raw_fd = v->raw;
	below.raw_bytes = v->raw_bytes;
	return head_open(&v->head[n], fd, name, &below, false, x->why);
}

static int open_raw(struct disk_view *v, const char *path, struct fail *why)
{
	int err;

	v->raw = open_regular(path, why);
	if (v->raw < 0)
		return v->raw;
	err = file_length(v->raw, &v->raw_bytes);
	return err ? file_failed(path, err, "open", why) : 0;
}

static int open_image(struct opening *x, int fd, const char *path)
{
	struct disk_view *v = x->v;
	int err = x->o->below ? open_raw(v, x->o->below, x->why) : 0;

	if (!err && v->kind == DISK_HEAD && x->o->root)
		err = fail_set(x->why, EXIT_NOT_FOUND, -ENOENT, path, NULL,
			       "has no root %u: a head has only root 0",
			       x->o->root);
	if (!err)
		err = layer_dir_open(&x->dir, path, x->why);
	if (err) {
		close(fd);
		return err;
	}
	if (v->kind == DISK_HEAD) {
		err = open_head(x, fd, path);
	} else {
		err = open_layer(x, fd, path, NULL, x->o->root);
		v->bytes = v->image.bytes;
	}
	layer_dir_close(x->dir);
	return err;
}

int disk_view_open(struct disk_view **out, const char *path,
		   const struct disk_view_options *o, struct fail *why)
{
	struct disk_view *v = calloc(1, sizeof(*v));
	struct opening x = { .v = v, .o = o, .why = why };
	int fd, err = 0;

	if (!v)
		return file_failed(path, -ENOMEM, "open", why);
	snprintf(v->name, sizeof(v->name), "%s", path);
	v->raw = -1;
	fd = o->set ? disk_file_open(path, &v->kind, why)
		    : open_regular(path, why);
	if (fd < 0) {
		err = fd;
	} else if (v->kind != DISK_RAW) {
		err = open_image(&x, fd, path);
	} else if (o->only_images) {
		err = disk_file_no_image(fd, path, why);
		close(fd);
	} else {
		v->raw = fd;
		err = file_length(fd, &v->bytes);
		v->raw_bytes = v->bytes;
		if (err)
			file_failed(path, err, "open", why);
	}
	v->pages = (v->bytes + PAGE_BYTES - 1) >> PAGE_SHIFT;
	if (err)
		disk_view_close(v);
	else
		*out = v;
	return err;
}

void disk_view_close(struct disk_view *v)
{
	if (!v)
		return;
	for (unsigned i = 0; i < v->nheads; i++) {
		head_close(v->head[i]);
		close(v->head_fd[i]);
	}
	cleanup_close(&v->raw);
	free(v);
}

const char *disk_view_name(const struct disk_view *v)
{
	return v->name;
}

enum disk_kind disk_view_kind(const struct disk_view *v)
{
	return v->kind;
}

uint64_t disk_view_bytes(const struct disk_view *v)
{
	return v->bytes;
}

uint64_t disk_view_pages(const struct disk_view *v)
{
	return v->pages;
}

int disk_view_raw_fd(const struct disk_view *v)
{
	return v->raw;
}

const struct image *disk_view_image(const struct disk_view *v)
{
	return v->has_image ? &v->image : NULL;
}

bool disk_view_wants_below(const struct disk_view *v)
{
	return v->bottom_open && v->raw < 0;
}

/* ---- read ---- */

/* The page of the next byte of data at or after that page's first, and whether
 * it is in the page itself; where the file system cannot tell, all is data. */
static uint64_t next_data(int fd, uint64_t page, int whence)
{
	off_t at = lseek(fd, (off_t)(page << PAGE_SHIFT), whence);

	if (at < 0)
		return errno == ENXIO ? UINT64_MAX : page;
	if (whence == SEEK_HOLE)
		at += PAGE_BYTES - 1;
	return (uint64_t)at >> PAGE_SHIFT;
}

static void locate_raw(const struct disk_view *v, uint64_t page,
		       struct where *w)
{
	uint64_t offset = page << PAGE_SHIFT, data, hole;

	w->kind = WHERE_ZERO;
	if (v->raw < 0 || offset >= v->raw_bytes)
		return;
	data = next_data(v->raw, page, SEEK_DATA);
	if (data > page) {
		w->count = MIN(w->count, data - page);
		return;
	}
	hole = next_data(v->raw, page, SEEK_HOLE);
	if (hole > page)
		w->count = MIN(w->count, hole - page);
	w->count = MIN(w->count,
		       (v->raw_bytes - offset + PAGE_BYTES - 1) >> PAGE_SHIFT);
	w->kind = WHERE_FILE;
	w->fd = v->raw;
	w->offset = offset;
	w->bytes = MIN(w->count << PAGE_SHIFT, v->raw_bytes - offset);
}

static int locate_image(const struct disk_view *v, uint64_t page,
			struct where *w, struct fail *why)
{
	int err = image_extent(&v->image, page, &w->extent, why);

	if (err)
		return err;
	w->count = MIN(w->count, w->extent.count);
	w->extent.count = w->count;
	w->kind = w->extent.layer ? WHERE_IMAGE : WHERE_ZERO;
	if (w->extent.kind == EXTENT_NOTHING)
		locate_raw(v, page, w);
	return 0;
}

int disk_view_locate(const struct disk_view *v, uint64_t page, uint64_t max,
		     struct where *w, struct fail *why)
{
	if (!max || !range_within(page, max, v->pages))
		return -EINVAL;
	if (v->nheads) {
		int err = head_locate(v->head[0], page, max, w, why);

		/* It does not ask where the raw file has holes. */
		if (!err && w->kind == WHERE_FILE && w->fd == v->raw)
			locate_raw(v, page, w);
		return err;
	}
	*w = (struct where){ .count = max, .fd = -1 };
	if (v->has_image)
		return locate_image(v, page, w, why);
	locate_raw(v, page, w);
	return 0;
}

void where_cut(struct where *w, uint64_t count)
{
	w->count = count;
	w->extent.count = count;
	w->bytes = MIN(w->bytes, count << PAGE_SHIFT);
}

int disk_view_read(const struct disk_view *v, uint64_t page,
		   const struct where *w, void *buf, struct fail *why)
{
	uint64_t len = w->count << PAGE_SHIFT;
	uint64_t left = v->bytes - (page << PAGE_SHIFT);
	int err = 0;

	switch (w->kind) {
	case WHERE_ZERO:
		memset(buf, 0, len);
		return 0;
	case WHERE_IMAGE:
		err = image_read_extent(&w->extent, buf, why);
		break;
	case WHERE_FILE:
		memset((char *)buf + w->bytes, 0, len - w->bytes);
		err = file_read(w->fd, w->offset, buf, w->bytes);
		if (err)
			file_failed(v->name, err, "read", why);
		break;
	}
	if (left < len)
		memset((char *)buf + left, 0, len - left);
	return err;
}
