/* SPDX-License-Identifier: Apache-2.0 */
/* A directory's layers and heads, found by what their files say. */
#include "layer_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct entry {
	struct object_id id; /* of a sealed one */
	uint8_t uid[UID_BYTES];
	bool sealed;
	char *name;
};

struct layer_dir {
	int fd;
	char *prefix;	     /* "": the working directory; "x/" */
	struct entry *entry; /* by id */
	size_t n, room;
	bool scanned;
	char *unreadable; /* the first one; NULL: none */
};

int layer_dir_open(struct layer_dir **out, const char *path, struct fail *why)
{
	const char *slash = strrchr(path, '/');
	struct layer_dir *d = calloc(1, sizeof(*d));
	int err = 0;

	if (!d)
		return file_failed(path, -ENOMEM, "open", why);
	d->fd = -1;
	d->prefix = strndup(path, slash ? (size_t)(slash + 1 - path) : 0);
	if (d->prefix)
		d->fd = open(slash ? d->prefix : ".",
			     O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0)
		err = file_failed(path, d->prefix ? -errno : -ENOMEM,
				  "open its directory", why);
	if (err)
		layer_dir_close(d);
	else
		*out = d;
	return err;
}

void layer_dir_close(struct layer_dir *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n; i++)
		free(d->entry[i].name);
	free(d->entry);
	free(d->prefix);
	free(d->unreadable);
	cleanup_close(&d->fd);
	free(d);
}

/* A regular file that is there under that name itself, or -errno. */
static int open_file(const struct layer_dir *d, const char *name)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	/* To open a device may do something. */
	if (fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	fd = file_open(d->fd, name, O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? steal_fd(&fd) : -ENOENT;
}

/* ---- scan ---- */

static int add(struct layer_dir *d, const struct entry *e)
{
	if (array_reserve(&d->entry, &d->room, d->n + 1, sizeof(*d->entry)))
		return -ENOMEM;
	d->entry[d->n] = *e;
	d->entry[d->n].name = strdup(e->name);
	if (!d->entry[d->n].name)
		return -ENOMEM;
	d->n++;
	return 0;
}

/* Nothing that a file says of itself: it may be the one that is looked for. */
static bool says_nothing(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM ||
	       err == -EIO;
}

/* What the file says: 1, 0 when it is neither a layer nor a head, or -errno. */
static int read_entry(int fd, struct entry *e)
{
	struct layer_header h;
	int got = layer_read_header(fd, "", &h, NULL);

	if (!got)
		got = layer_is_sealed(fd, &h, &e->id);
	if (got < 0)
		return says_nothing(got) ? got : 0;
	e->sealed = got;
	memcpy(e->uid, h.uid, UID_BYTES);
	return 1;
}

/* A file that cannot be read is none that we find; so is what is no layer. */
static int look_at(struct layer_dir *d, char *name)
{
	_cleanup_close_ int fd = open_file(d, name);
	struct entry e = { .name = name };
	int got;

	if (fd == -EACCES && !d->unreadable &&
	    asprintf(&d->unreadable, "%s%s", d->prefix, name) < 0) {
		d->unreadable = NULL;
		return -ENOMEM;
	}
	if (fd < 0)
		return says_nothing(fd) ? fd : 0;
	got = read_entry(fd, &e);
	return got > 0 ? add(d, &e) : got;
}

static int by_id(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return memcmp(x->id.b, y->id.b, ID_BYTES);
}

static int scan(struct layer_dir *d)
{
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int err = 0;

	if (!dir) {
		err = -errno;
		cleanup_close(&fd);
		return err;
	}
	while (!err && (e = readdir(dir)))
		if (e->d_type == DT_REG || e->d_type == DT_UNKNOWN)
			err = look_at(d, e->d_name);
	closedir(dir);
	if (d->n)
		qsort(d->entry, d->n, sizeof(*d->entry), by_id);
	d->scanned = !err;
	return err;
}

const char *layer_dir_unreadable(const struct layer_dir *d)
{
	return d->unreadable;
}

/* ---- find ---- */

static int give(const struct layer_dir *d, const char *name, bool sealed,
		struct layer_dir_file *f)
{
	int fd = open_file(d, name);

	if (fd < 0)
		return fd;
	f->fd = fd;
	f->sealed = sealed;
	snprintf(f->name, sizeof(f->name), "%s%s", d->prefix, name);
	return 0;
}

/* By the name that is the id: whether the file says the same, or -errno. */
static int find_named(const struct layer_dir *d, const struct object_id *id,
		      const char *name, struct layer_dir_file *f)
{
	struct entry e = { .sealed = false };
	int err = give(d, name, true, f), got;

	if (err)
		return err;
	got = read_entry(f->fd, &e);
	if (got < 0)
		close(f->fd);
	return got < 0 ? got : e.sealed && object_id_equal(&e.id, id);
}

int layer_dir_find_id(struct layer_dir *d, const struct object_id *id,
		      struct layer_dir_file *f)
{
	const struct entry key = { .id = *id }, *e = NULL;
	char name[ID_TEXT];
	int got, err;

	object_id_text(name, id);
	got = find_named(d, id, name, f);
	if (got == 1)
		return 0;
	if (got && got != -ENOENT)
		return got;
	err = d->scanned ? 0 : scan(d);
	if (!err && d->n)
		e = bsearch(&key, d->entry, d->n, sizeof(*e), by_id);
	/* When there is no other, what has the name is damaged. */
	if (!err && !(e && e->sealed))
		return got ? -ENOENT : 0;
	if (!got)
		close(f->fd);
	return err ? err : give(d, e->name, true, f);
}

int layer_dir_find_uid(struct layer_dir *d, const uint8_t uid[UID_BYTES],
		       struct layer_dir_file *f)
{
	int err = d->scanned ? 0 : scan(d);

	for (size_t i = 0; i < d->n && !err; i++)
		if (!memcmp(d->entry[i].uid, uid, UID_BYTES))
			return give(d, d->entry[i].name, d->entry[i].sealed, f);
	return err ? err : -ENOENT;
}

/* ---- link ---- */

static int open_import(struct layer_dir *d, struct layer_set *s,
		       const struct object_id *id, struct fail *why)
{
	struct layer_dir_file f;
	char name[ID_TEXT];
	struct layer *l;
	int err;

	if (layer_set_find(s, id))
		return 0;
	err = layer_dir_find_id(d, id, &f);
	if (!err)
		return layer_open(s, f.fd, f.name, id, &l, why);
	object_id_text(name, id);
	return err == -ENOENT ? 0 : file_failed(name, err, "open", why);
}

static int open_imports(struct layer_dir *d, struct layer_set *s,
			struct layer *l, struct fail *why)
{
	uint64_t n = layer_items(l, SECTION_IMPORTS);
	int first = 0;

	for (unsigned k = 1; k <= n; k++) {
		struct object_id id;
		int err = layer_import_id(l, k, &id, first ? NULL : why);

		if (err)
			return first ? first : err;
		err = open_import(d, s, &id, first ? NULL : why);
		first = first ? first : err;
	}
	return first;
}

/* They are all in the set already, or are not to be had. */
static int find_none(void *ctx, const struct object_id *id)
{
	return -ENOENT;
}

int layer_dir_link(struct layer_dir *d, struct layer_set *s, unsigned first,
		   struct fail *why)
{
	int failed = 0, err;

	for (unsigned i = first; i < layer_set_count(s); i++) {
		err =
		    open_imports(d, s, layer_set_at(s, i), failed ? NULL : why);
		failed = failed ? failed : err;
	}
	if (d->unreadable)
		layer_set_unreadable(s, d->unreadable);
	/* It fails where that did, or for layers before `first`. */
	(void)layer_link(s, find_none, NULL, NULL);
	return failed;
}
