/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   {"v":1, "parents":[ID..], "heads":{ID: UID}, "next":{ID: UID},
 *    "scratch":false,
 *    "bases":{ID: {"path", "bytes", "mtime_ns", "format"}}}
 */
#include "disk_roots.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "util.h"

static const char name[] = "roots.json", temp[] = "roots.json.tmp";

static int damaged(const struct vm_dir *d, const char *what, struct fail *why)
{
	char hint[160];

	snprintf(hint, sizeof(hint),
		 "its disks' changes are in its heads/; give them up by "
		 "'tintype rm %s'",
		 d->name);
	return fail_set(why, EXIT_INTEGRITY, -EBADMSG, d->name, hint,
			"roots.json is damaged: %s", what);
}

/* ---- reading ---- */

static bool is_uid(const char *s)
{
	return s && strlen(s) == DISK_UID_TEXT - 1 &&
	       strspn(s, "0123456789abcdef") == DISK_UID_TEXT - 1;
}

/* Integers of JSON are signed. */
static bool get_number(const json_t *o, const char *key, uint64_t *v)
{
	const json_t *n = json_object_get(o, key);

	*v = (uint64_t)json_integer_value(n);
	return json_is_integer(n) && json_integer_value(n) >= 0;
}

static int read_base(struct disk_root *r, const json_t *o)
{
	const char *path = json_string_value(json_object_get(o, "path"));
	const char *format = json_string_value(json_object_get(o, "format"));

	const json_t *mtime = json_object_get(o, "mtime_ns");

	if (!path || !format || !get_number(o, "bytes", &r->bytes) ||
	    !json_is_integer(mtime) ||
	    (strcmp(format, "raw") && strcmp(format, "qcow2")))
		return -EBADMSG;
	/* Only compared: before 1970 and after 2262 it looks negative. */
	r->mtime_ns = (uint64_t)json_integer_value(mtime);
	r->qcow2 = format[0] == 'q';
	r->path = strdup(path);
	return r->path ? 0 : -ENOMEM;
}

/* The uid that `from` has for the disk, if any; counted off `left`. */
static int read_uid(char uid[DISK_UID_TEXT], const json_t *from, const char *id,
		    size_t *left)
{
	const json_t *text = json_object_get(from, id);

	if (!text)
		return 0;
	if (!is_uid(json_string_value(text)))
		return -EBADMSG;
	memcpy(uid, json_string_value(text), DISK_UID_TEXT);
	--*left;
	return 0;
}

static int read_disks(struct disk_roots *r, json_t *doc)
{
	const json_t *heads = json_object_get(doc, "heads");
	const json_t *next = json_object_get(doc, "next");
	json_t *bases = json_object_get(doc, "bases"), *base;
	const char *id;
	size_t left = json_object_size(heads) + json_object_size(next);

	if (!json_is_object(heads) || !json_is_object(next) ||
	    !json_is_object(bases))
		return -EBADMSG;
	r->root = calloc(json_object_size(bases) + 1, sizeof(*r->root));
	if (!r->root)
		return -ENOMEM;
	json_object_foreach(bases, id, base)
	{
		struct disk_root *x = &r->root[r->n++];
		int err = -EBADMSG;

		if (config_name_valid(id) && strlen(id) <= CONFIG_DISK_ID_MAX)
			err = read_base(x, base);
		if (err)
			return err;
		memcpy(x->id, id, strlen(id) + 1);
		if (read_uid(x->uid, heads, id, &left) ||
		    read_uid(x->next, next, id, &left))
			return -EBADMSG;
	}
	return left ? -EBADMSG : 0; /* a head of no base */
}

static int read_parents(struct disk_roots *r, const json_t *all)
{
	size_t n = json_array_size(all);

	if (!json_is_array(all))
		return -EBADMSG;
	r->parent = calloc(n + 1, sizeof(*r->parent));
	if (!r->parent)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const char *id = json_string_value(json_array_get(all, i));

		if (!id || !object_id_parse(&r->parent[i], id))
			return -EBADMSG;
		r->nparents++;
	}
	return 0;
}

static int read_roots(struct disk_roots *r, json_t *doc)
{
	const json_t *scratch = json_object_get(doc, "scratch");
	int err = -EBADMSG;

	if (json_is_integer(json_object_get(doc, "v")) &&
	    json_is_boolean(scratch))
		err = read_parents(r, json_object_get(doc, "parents"));
	if (!err)
		err = read_disks(r, doc);
	r->scratch = json_is_true(scratch);
	return err;
}

static bool is_newer(const json_t *doc)
{
	const json_t *v = json_object_get(doc, "v");

	return json_is_integer(v) && json_integer_value(v) != 1;
}

int disk_roots_read(struct disk_roots *r, const struct vm_dir *d,
		    struct fail *why)
{
	json_t *doc;
	int err;

	*r = (struct disk_roots){ 0 };
	doc = vm_dir_read_json(d, name);
	if (!doc)
		return faccessat(d->fd, name, F_OK, AT_SYMLINK_NOFOLLOW)
			   ? 0
			   : damaged(d, "no JSON document", why);
	if (is_newer(doc))
		err = fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, d->name,
			       "run it by the version that made them",
			       "its disks were left by a newer version");
	else if ((err = read_roots(r, doc)))
		err = err == -ENOMEM ? fail_set(why, EXIT_FAILED, err, d->name,
						NULL, "out of memory")
				     : damaged(d, "not what was written", why);
	json_decref(doc);
	return err;
}

/* ---- writing ---- */

static int add_json(json_t *heads, json_t *next, json_t *bases,
		    const struct disk_root *x)
{
	int err = 0;

	if (x->uid[0])
		err = json_object_set_new(heads, x->id, json_string(x->uid));
	if (x->next[0])
		err |= json_object_set_new(next, x->id, json_string(x->next));
	err |= json_object_set_new(
	    bases, x->id,
	    json_pack("{s:s, s:I, s:I, s:s}", "path", x->path, "bytes",
		      (json_int_t)x->bytes, "mtime_ns", (json_int_t)x->mtime_ns,
		      "format", x->qcow2 ? "qcow2" : "raw"));
	return err;
}

static int add_parents(json_t *all, const struct disk_roots *r)
{
	char text[ID_TEXT];
	int err = 0;

	for (unsigned i = 0; i < r->nparents; i++) {
		object_id_text(text, &r->parent[i]);
		err |= json_array_append_new(all, json_string(text));
	}
	return err;
}

/* NULL: no memory. Whole or not at all: a head without its base is lost. */
static json_t *to_json(const struct disk_roots *r)
{
	json_t *heads = json_object(), *next = json_object();
	json_t *bases = json_object(), *parents = json_array(), *doc;
	int err = add_parents(parents, r);

	for (unsigned i = 0; i < r->n; i++)
		err |= add_json(heads, next, bases, &r->root[i]);
	doc = json_pack("{s:i, s:o, s:o, s:o, s:b, s:o}", "v", 1, "parents",
			parents, "heads", heads, "next", next, "scratch",
			r->scratch, "bases", bases);
	if (!err)
		return doc;
	json_decref(doc);
	return NULL;
}

/* The VM's own name and that of the directory of all VMs may be new as well.
 * Before roots.json has its name: else a start that is killed in between would
 * leave it to one that has nothing to write. */
static int sync_above(const struct vm_dir *d)
{
	static const char *const above[] = { "..", "../.." };
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(above) && !err; i++) {
		_cleanup_close_ int fd =
		    openat(d->fd, above[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		err = fd < 0 || fsync(fd) ? -errno : 0;
	}
	return err;
}

int disk_roots_write(struct disk_roots *r, const struct vm_dir *d, bool durable,
		     struct fail *why)
{
	json_t *doc = to_json(r);
	_cleanup_close_ int fd = -1;
	int err = doc ? vm_dir_write_json(d, temp, doc) : -ENOMEM;

	json_decref(doc);
	if (!err && durable) {
		fd = vm_dir_open(d, temp, O_RDONLY);
		err = fd < 0 ? fd : fsync(fd) ? -errno : sync_above(d);
	}
	if (!err && renameat(d->fd, temp, d->fd, name))
		err = -errno;
	if (!err && durable && fsync(d->fd))
		err = -errno;
	if (err)
		return file_failed(d->name, err, "write roots.json", why);
	r->dirty = false;
	return 0;
}

void disk_roots_free(struct disk_roots *r)
{
	for (unsigned i = 0; i < r->n; i++)
		free(r->root[i].path);
	free(r->root);
	free(r->parent);
	*r = (struct disk_roots){ 0 };
}

/* ---- one of them ---- */

struct disk_root *disk_roots_find(const struct disk_roots *r, const char *id)
{
	for (unsigned i = 0; i < r->n; i++)
		if (!strcmp(r->root[i].id, id))
			return &r->root[i];
	return NULL;
}

int disk_roots_set_parents(struct disk_roots *r, const struct object_id *id,
			   unsigned n)
{
	struct object_id *all = calloc(n + 1, sizeof(*all));
	unsigned kept = 0;

	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		unsigned k = 0;

		while (k < kept && !object_id_equal(&all[k], &id[i]))
			k++;
		all[k] = id[i];
		kept += k == kept;
	}
	free(r->parent);
	r->parent = all;
	r->nparents = kept;
	r->dirty = true;
	return 0;
}

/* The base's path, as roots.json can hold it. */
static int find_path(char **path, const struct disk_config *c, struct fail *why)
{
	char object[256];
	json_t *probe;
	int err;

	*path = realpath(c->path, NULL);
	err = *path ? 0 : -errno;
	probe = *path ? json_string(*path) : NULL;
	json_decref(probe);
	if (probe)
		return 0;
	snprintf(object, sizeof(object), "disk %s", c->path);
	if (err)
		return fail_set(why, EXIT_FAILED, err, object, NULL, "%s",
				strerror(-err));
	cleanup_free(path);
	*path = NULL;
	return fail_set(why, EXIT_USAGE, -EINVAL, object,
			"put it below directories with names in UTF-8",
			"its whole path is not UTF-8");
}

int disk_roots_add(struct disk_roots *r, const struct disk_config *c,
		   const struct disk_source *s, struct disk_root **out,
		   struct fail *why)
{
	struct disk_root *all =
	    reallocarray(r->root, r->n + 1, sizeof(*r->root));
	struct disk_root *x;
	int err;

	if (!all)
		return file_failed(c->id, -ENOMEM, "open", why);
	r->root = all;
	x = &all[r->n];
	*x = (struct disk_root){ .bytes = s->bytes,
				 .mtime_ns = s->mtime_ns,
				 .qcow2 = c->qcow2 };
	memcpy(x->id, c->id, sizeof(x->id));
	err = find_path(&x->path, c, why);
	if (err)
		return err;
	r->n++;
	r->dirty = true;
	*out = x;
	return 0;
}

int disk_root_compare(const struct disk_root *r, const struct vm_dir *d,
		      const struct disk_config *c, const struct disk_source *s,
		      struct fail *why)
{
	_cleanup_free_ char *path = realpath(c->path, NULL);
	const char *what = NULL;
	char object[256], hint[160];

	if (!path)
		what = "cannot be found again";
	else if (strcmp(path, r->path))
		what = "is not the file that this disk began with";
	else if (c->qcow2 != r->qcow2)
		what = "has another format than when this disk began";
	else if (s->bytes != r->bytes)
		what = "has another size than when this disk began";
	else if (s->mtime_ns != r->mtime_ns)
		what = "was changed since this disk began";
	if (!what)
		return 0;
	snprintf(object, sizeof(object), "disk %s (%s)", c->path, c->id);
	snprintf(hint, sizeof(hint),
		 "put it back, or give up the disk's changes by "
		 "'tintype rm %s'",
		 d->name);
	return fail_set(why, EXIT_CONFLICT, -ESTALE, object, hint, "%s", what);
}

void disk_root_stamp(const struct disk_root *r, uint8_t stamp[ID_BYTES])
{
	const uint64_t what[3] = { r->bytes, r->mtime_ns, r->qcow2 };
	struct object_id id;

	hash_id(&id, what, sizeof(what));
	memcpy(stamp, id.b, ID_BYTES);
}
