/* SPDX-License-Identifier: Apache-2.0 */
/* `image info`: what a file is, without what it lies on. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_image.h"
#include "fileio.h"
#include "layer_dir.h"
#include "log.h"

struct informing {
	struct image_verb v;
	const char *path;
	struct layer_dir *dir;
	struct layer_header header;
	json_t *doc;
};

static void set_number(json_t *doc, const char *key, uint64_t n)
{
	json_object_set_new(doc, key, json_integer((json_int_t)n));
}

static void set_text(json_t *doc, const char *key, const char *text)
{
	json_object_set_new(doc, key, cli_json_text(text));
}

/* Where it was found, and what is wrong if that is so. */
static int add_found(json_t *doc, int err, struct layer_dir_file *f,
		     const char *path, struct fail *why)
{
	json_object_set_new(doc, "found", json_boolean(!err));
	if (!err) {
		set_text(doc, "file", f->name);
		close(f->fd);
	}
	return err == 0 || err == -ENOENT
		   ? 0
		   : file_failed(path, err, "find what it lies on", why);
}

static int add_layer_id(struct informing *x, json_t *doc,
			const struct object_id *id, struct fail *why)
{
	struct layer_dir_file f;
	char text[ID_TEXT];

	object_id_text(text, id);
	set_text(doc, "id", text);
	return add_found(doc, layer_dir_find_id(x->dir, id, &f), &f, x->path,
			 why);
}

static int add_head_uid(struct informing *x, json_t *doc, const uint8_t *uid,
			struct fail *why)
{
	struct layer_dir_file f;
	char text[UID_TEXT];

	uid_text(text, uid);
	set_text(doc, "uid", text);
	return add_found(doc, layer_dir_find_uid(x->dir, uid, &f), &f, x->path,
			 why);
}

/* ---- a layer ---- */

static int add_roots(struct informing *x, struct layer *l, struct fail *why)
{
	uint64_t n = layer_items(l, SECTION_ROOTS);
	json_t *roots = json_array();
	struct layer_root r;
	int err = 0;

	if (n > MAX_ROOTS)
		set_number(x->doc, "roots_not_shown", n - MAX_ROOTS);
	json_object_set_new(x->doc, "roots", roots);
	for (uint32_t i = 0; i < MIN(n, MAX_ROOTS) && !err; i++) {
		err = layer_root(l, i, &r, why);
		if (!err)
			json_array_append_new(roots,
					      json_pack("{s:I, s:I}", "root",
							(json_int_t)i, "bytes",
							(json_int_t)r.bytes));
	}
	return err;
}

static int add_imports(struct informing *x, struct layer *l, struct fail *why)
{
	uint64_t n = layer_items(l, SECTION_IMPORTS);
	json_t *imports = json_array();
	struct object_id id;
	int err = 0;

	json_object_set_new(x->doc, "imports", imports);
	for (unsigned i = 1; i <= n && !err; i++) {
		json_t *one = json_object();

		err = cli_cancelled(x->path, why);
		if (!err)
			err = layer_import_id(l, i, &id, why);
		if (!err)
			err = add_layer_id(x, one, &id, why);
		json_array_append_new(imports, one);
	}
	return err;
}

static int tell_encrypted(const struct informing *x)
{
	log_warn(x->path,
		 "its size and parent are encrypted: give --key-file to "
		 "see them");
	return 0;
}

static int inform_layer(struct informing *x, int fd, struct fail *why)
{
	char id[ID_TEXT], uid[UID_TEXT];
	uint32_t flags = x->header.flags;
	struct layer *l;
	int err = layer_open(x->v.set, fd, x->path, NULL, &l, why);

	if (err)
		return err;
	object_id_text(id, layer_id(l));
	uid_text(uid, x->header.uid);
	set_text(x->doc, "kind", "layer");
	set_text(x->doc, "id", id);
	set_text(x->doc, "uid", uid);
	set_number(x->doc, "version", x->header.version);
	json_object_set_new(x->doc, "compressed",
			    json_boolean(flags & LAYER_COMPRESSED));
	json_object_set_new(x->doc, "encrypted",
			    json_boolean(flags & LAYER_ENCRYPTED));
	set_number(x->doc, "data_pages", layer_data_pages(l));
	set_number(x->doc, "data_bytes",
		   (uint64_t)layer_data_pages(l) << PAGE_SHIFT);
	set_number(x->doc, "metadata_bytes", layer_meta_bytes(l));
	set_number(x->doc, "differences", layer_items(l, SECTION_DIFFS));
	if (flags & LAYER_ENCRYPTED && !x->v.has_secret)
		return tell_encrypted(x);
	err = add_roots(x, l, why);
	return err ? err : add_imports(x, l, why);
}

/* ---- a head ---- */

static int add_below(struct informing *x, const struct head_info *info,
		     struct fail *why)
{
	json_t *on = json_object();

	json_object_set_new(x->doc, "lies_on", on);
	switch (info->below_kind) {
	case BELOW_NOTHING:
		set_text(on, "kind", "nothing or a raw file");
		break;
	case BELOW_LAYER:
		set_text(on, "kind", "layer");
		set_number(on, "root", info->below_root);
		return add_layer_id(x, on, &info->below_layer, why);
	case BELOW_HEAD:
		set_text(on, "kind", "head");
		return add_head_uid(x, on, info->below_uid, why);
	}
	return 0;
}

static int inform_head(struct informing *x, int fd, struct fail *why)
{
	struct head_below below = HEAD_BELOW_NOTHING;
	struct head_counts n;
	struct head_info info;
	struct head *h = NULL;
	char uid[UID_TEXT];
	int err = head_read_info(fd, x->path, &info, why);

	if (!err)
		err = head_open(&h, fd, x->path, &below, false, why);
	if (err)
		return err;
	head_count(h, &n);
	head_close(h);
	uid_text(uid, info.uid);
	set_text(x->doc, "kind", "head");
	set_text(x->doc, "uid", uid);
	set_number(x->doc, "version", x->header.version);
	set_number(x->doc, "bytes", info.bytes);
	set_number(x->doc, "blocks", n.blocks);
	set_number(x->doc, "file_pages", n.file_pages);
	set_number(x->doc, "log_records", n.log_records);
	set_number(x->doc, "commits", n.commits);
	set_number(x->doc, "dropped_records", n.dropped);
	return add_below(x, &info, why);
}

/* ---- */

static int add_file(struct informing *x, int fd, struct fail *why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return file_failed(x->path, -errno, "read", why);
	set_text(x->doc, "file", x->path);
	set_number(x->doc, "file_bytes", (uint64_t)st.st_size);
	set_number(x->doc, "allocated_bytes", (uint64_t)st.st_blocks * 512);
	return 0;
}

static int inform(struct informing *x, struct fail *why)
{
	enum disk_kind kind;
	_cleanup_close_ int fd = disk_file_open(x->path, &kind, why);
	int err = fd < 0 ? fd : layer_dir_open(&x->dir, x->path, why);

	/* What is no image fails here, with words. */
	if (!err)
		err = layer_read_header(fd, x->path, &x->header, why);
	if (!err)
		err = add_file(x, fd, why);
	if (err)
		return err;
	return kind == DISK_HEAD ? inform_head(x, fd, why)
				 : inform_layer(x, steal_fd(&fd), why);
}

/* ---- for people ---- */

/* The only item of that list, or NULL. */
static json_t *only_item(const json_t *doc, const char *list)
{
	json_t *items = json_object_get(doc, list);

	return json_array_size(items) == 1 ? json_array_get(items, 0) : NULL;
}

static void put_size(json_t *text, const json_t *bytes)
{
	uint64_t n = (uint64_t)json_integer_value(bytes);
	char size[CLI_SIZE_TEXT];

	cli_size_text(size, n);
	json_object_set_new(text, "size",
			    json_sprintf("%" PRIu64 " (%s)", n, size));
}

static void put_parent(json_t *text, const json_t *import)
{
	const char *file = json_string_value(json_object_get(import, "file"));
	const char *id = json_string_value(json_object_get(import, "id"));

	json_object_set_new(text, "parent",
			    file ? cli_json_text(file)
				 : json_sprintf("%s (not there)", id));
}

/* What is asked most comes first; what only matters to a program is left to
 * --json. */
static void print_text(json_t *doc)
{
	static const char *const left_out[] = {
		"uid",
		"version",
		"data_pages",
		"metadata_bytes",
		"differences",
		"file_pages",
		"log_records",
		"commits",
		"dropped_records",
	};
	json_t *text = json_object(), *root = only_item(doc, "roots");
	json_t *import = only_item(doc, "imports");
	json_t *bytes = json_object_get(root ? root : doc, "bytes");

	if (bytes)
		put_size(text, bytes);
	json_object_del(doc, root ? "roots" : "bytes");
	if (import) {
		put_parent(text, import);
		json_object_del(doc, "imports");
	}
	for (unsigned i = 0; i < ARRAY_SIZE(left_out); i++)
		json_object_del(doc, left_out[i]);
	json_object_update(text, doc);
	cli_print_tree(text);
	json_decref(text);
}

/* ---- */

/* The trailer is not encrypted: for what it says any key will do. */
static int any_key(void *ctx, const uint8_t uid[UID_BYTES],
		   uint8_t key[LAYER_KEY_BYTES])
{
	memset(key, 0, LAYER_KEY_BYTES);
	return 0;
}

static int use_any_key(struct image_verb *v, struct fail *why)
{
	layer_set_destroy(v->set);
	v->set = layer_set_create(any_key, NULL);
	return v->set ? 0 : file_failed("image info", -ENOMEM, "open", why);
}

int cli_image_info(const struct options *o, struct fail *why)
{
	struct informing x = { .path = o->operand[0], .doc = json_object() };
	int err = image_verb_begin(&x.v, o, x.path, why);

	if (!err && !x.v.has_secret)
		err = use_any_key(&x.v, why);
	if (!err)
		err = inform(&x, why);
	if (!err && x.v.json) {
		err = cli_print_json(json_incref(x.doc), why);
	} else if (!err) {
		print_text(x.doc);
		err = cli_flush(EXIT_OK, why);
	}
	json_decref(x.doc);
	layer_dir_close(x.dir);
	image_verb_end(&x.v);
	return err ? (int)why->code : EXIT_OK;
}
