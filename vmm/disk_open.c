/* SPDX-License-Identifier: Apache-2.0 */
/* Disks opened, their heads found again or made. */
#include "disk_open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "disk_dir.h"
#include "disk_import.h"
#include "disk_parents.h"
#include "disk_recover.h"
#include "fileio.h"
#include "layer.h"
#include "util.h"

/* What is at hand while a VM's disks are opened. */
struct opening {
	const struct vm_config *c;
	struct disk_dir dir;
	struct disk_parents parents;
	struct disk_chain_found chain[CONFIG_MAX_DISKS];
	struct disk_head_ref *keep;
	size_t nkeep, keep_room;
	struct fail *why;
};

static int failed(const struct opening *o, int err, const char *what)
{
	return file_failed(o->dir.vm->name, err, what, o->why);
}

static bool wants_head(const struct disk_config *c)
{
	return !c->read_only && !c->direct;
}

static int opening_begin(struct opening *o, const struct vm_dir *d,
			 bool durable)
{
	int err = disk_dir_lock(&o->dir, d, durable, o->why);

	return err ? err
		   : disk_parents_read(&o->parents, d, &o->dir.roots, o->why);
}

static void opening_end(struct opening *o)
{
	disk_dir_unlock(&o->dir);
	disk_parents_free(&o->parents);
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		disk_chain_free(&o->chain[i]);
	free(o->keep);
}

/* ---- heads ---- */

static int keep(struct opening *o, const char *id, const char *uid)
{
	if (array_reserve(&o->keep, &o->keep_room, o->nkeep + 1,
			  sizeof(*o->keep)))
		return failed(o, -ENOMEM, "open disks");
	o->keep[o->nkeep++] = (struct disk_head_ref){ id, uid };
	return 0;
}

static int first_head(struct opening *o, struct disk_root *r, uint64_t bytes,
		      struct disk_chain_found *c)
{
	struct head_info info = { .bytes = bytes, .below_kind = BELOW_NOTHING };
	_cleanup_close_ int fd = -1;
	int err =
	    disk_dir_make_head(&o->dir, r->id, &info, 0, r->uid, &fd, o->why);

	if (err)
		return err;
	memcpy(c->uid[c->n++], r->uid, sizeof(r->uid));
	o->dir.roots.dirty = true;
	return disk_dir_sync_heads(&o->dir, o->why);
}

static int open_chain(struct opening *o, const struct disk_config *d,
		      struct disk_chain_found *c, struct disk_files *f)
{
	int err = 0;

	for (unsigned i = 0; i < c->n && !err; i++) {
		int fd = disk_dir_open_head(&o->dir, d->id, c->uid[i], O_RDWR,
					    o->why);

		if (fd < 0)
			return fd;
		if (i + 1 < c->n)
			f->below[f->nbelow++] = fd;
		else
			f->head = fd;
		err = keep(o, d->id, c->uid[i]);
	}
	for (unsigned i = 0; i < c->nsealed && !err; i++)
		err = keep(o, d->id, c->sealed[i].uid);
	f->on_image = c->on_image;
	f->layer = c->layer;
	f->root = c->root;
	if (err || !c->nsealed)
		return err;
	f->sealed = calloc(c->nsealed, sizeof(*f->sealed));
	if (!f->sealed)
		return failed(o, -ENOMEM, "open disks");
	memcpy(f->sealed, c->sealed, c->nsealed * sizeof(*f->sealed));
	f->nsealed = c->nsealed;
	return 0;
}

static int open_heads(struct opening *o, unsigned i, struct disk_root *r,
		      struct disk_files *f)
{
	struct disk_chain_found *c = &o->chain[i];
	int err = r->uid[0] ? disk_recover_chain(&o->dir, &o->parents, r,
						 f->bytes, c, o->why)
			    : first_head(o, r, f->bytes, c);

	return err ? err : open_chain(o, &o->c->disk[i], c, f);
}

/* ---- layers ---- */

/* The sealed head in heads/ that is this layer; else what the store has. */
static int find_layer(void *ctx, const struct object_id *id)
{
	struct opening *o = ctx;
	char name[DISK_HEAD_TEXT];

	for (unsigned i = 0; i < o->c->ndisks; i++) {
		const struct disk_chain_found *c = &o->chain[i];

		for (unsigned k = 0; k < c->nsealed; k++) {
			if (!object_id_equal(&c->sealed[k].id, id))
				continue;
			disk_head_name(name, o->c->disk[i].id,
				       c->sealed[k].uid);
			return disk_dir_open_own(o->dir.heads, name, O_RDONLY);
		}
	}
	return disk_parents_layer(&o->parents, id);
}

static int open_layer(struct opening *o, struct layer_set *set,
		      const char *disk, const struct object_id *id)
{
	char object[256], name[ID_SHORT + 8] = "layer ";
	struct layer *l;
	int fd;

	if (layer_set_find(set, id))
		return 0;
	object_id_short(name + strlen(name), id);
	fd = find_layer(o, id);
	if (fd >= 0)
		return layer_open(set, fd, name, id, &l, o->why);
	snprintf(object, sizeof(object), "%s: disk %s", o->dir.vm->name, disk);
	return fail_set(o->why, EXIT_INTEGRITY, fd, object,
			"restore the store from a copy", "lies on %s: %s", name,
			fd == -ENOENT ? "which is not in the store"
				      : strerror(-fd));
}

static int take_layers(struct opening *o, struct layer_set *set, int **layer,
		       unsigned *n)
{
	unsigned count = layer_set_count(set);
	int *all = reallocarray(*layer, *n + count + 1, sizeof(*all));

	if (!all)
		return failed(o, -ENOMEM, "open layers");
	*layer = all;
	for (unsigned i = 0; i < count; i++)
		all[(*n)++] = layer_take_fd(layer_set_at(set, i));
	return 0;
}

static int open_layers(struct opening *o, const struct disk_files *f,
		       int **layer, unsigned *n)
{
	struct layer_set *set = layer_set_create(NULL, NULL);
	int err = set ? 0 : failed(o, -ENOMEM, "open layers");

	for (unsigned i = 0; i < o->c->ndisks && !err; i++)
		if (f[i].on_image)
			err = open_layer(o, set, o->c->disk[i].id, &f[i].layer);
	if (!err)
		err = layer_link(set, find_layer, o, o->why);
	if (!err)
		err = take_layers(o, set, layer, n);
	layer_set_destroy(set);
	return err;
}

/* ---- one disk ---- */

/* What hides under ro or direct would be taken for lost. */
static int refuse_hidden(const struct opening *o, const struct disk_config *c)
{
	char object[256], hint[160];

	snprintf(object, sizeof(object), "disk %s (%s)", c->path, c->id);
	snprintf(hint, sizeof(hint),
		 "leave out %s, give another id=, or 'tintype rm %s'",
		 c->direct ? "direct" : "ro", o->dir.vm->name);
	return fail_set(o->why, EXIT_CONFLICT, -EEXIST, object, hint,
			"has changes of its own from an earlier start, which "
			"would not be seen");
}

/* The raw file that was made of a qcow2 file takes its place. */
static int use_import(struct opening *o, const struct disk_root *r,
		      struct disk_source *s)
{
	char name[DISK_HEAD_TEXT];
	int bases = disk_dir_bases(&o->dir, o->why), err;

	if (bases < 0)
		return bases;
	disk_base_name(name, r->id);
	close(s->fd);
	s->fd = disk_dir_open_own(bases, name, O_RDONLY);
	if (s->fd < 0)
		return failed(o, s->fd, "open an imported disk");
	err = file_bytes(s->fd, &s->bytes);
	return err ? failed(o, err, "look at an imported disk")
		   : disk_bytes_judge(s->bytes, o->dir.vm->name, o->why);
}

/* A VM that does not stay takes it along, however it ends: its directory may
 * lie there for long before it is swept. */
static int unname_import(struct opening *o, const char *id)
{
	char name[DISK_HEAD_TEXT];

	disk_base_name(name, id);
	return unlinkat(o->dir.bases, name, 0)
		   ? failed(o, -errno, "unname an imported disk")
		   : 0;
}

/* The disk's file, locked, and its root (NULL: it needs none). What was opened
 * is the caller's, also after a failure. */
static int open_base(struct opening *o, const struct disk_config *c,
		     struct disk_source *s, struct disk_root **r)
{
	int err = disk_source_open(s, c, o->why);

	*r = disk_roots_find(&o->dir.roots, c->id);
	if (err)
		return err;
	if ((err = disk_source_lock(s, c, o->dir.vm->name, o->why)) == 0) {
		if (*r && (*r)->uid[0] && !wants_head(c))
			err = refuse_hidden(o, c);
		else if (*r && (wants_head(c) || c->qcow2))
			err = disk_root_compare(*r, o->dir.vm, c, s, o->why);
	}
	if (!err && !*r && wants_head(c))
		err = disk_roots_add(&o->dir.roots, c, s, r, o->why);
	return !err && c->qcow2 ? use_import(o, *r, s) : err;
}

static int open_one(struct opening *o, unsigned i, struct disk_files *f)
{
	const struct disk_config *c = &o->c->disk[i];
	struct disk_source s = { .fd = -1, .lock = -1 };
	struct disk_root *r;
	int err = open_base(o, c, &s, &r);

	f->base = s.fd;
	f->lock = s.lock;
	f->bytes = s.bytes;
	if (!err && c->qcow2 && !o->dir.durable)
		err = unname_import(o, c->id);
	return err || !wants_head(c) ? err : open_heads(o, i, r, f);
}

int disk_open_all(const struct vm_config *c, const struct vm_dir *d,
		  bool durable, struct disk_files *files, int **layer,
		  unsigned *nlayers, struct fail *why)
{
	struct opening o = { .c = c, .dir = DISK_DIR_NONE, .why = why };
	int err = c->ndisks ? opening_begin(&o, d, durable) : 0;

	if (!err && c->ndisks)
		err = disk_recover_roots(&o.dir, &o.parents, why);
	for (unsigned i = 0; i < c->ndisks && !err; i++)
		err = open_one(&o, i, &files[i]);
	if (!err)
		err = open_layers(&o, files, layer, nlayers);
	if (!err && o.dir.roots.dirty)
		err = disk_roots_write(&o.dir.roots, d, durable, why);
	if (!err && c->ndisks)
		disk_dir_trim(&o.dir, o.keep, (unsigned)o.nkeep);
	opening_end(&o);
	return err;
}

void disk_files_free(struct disk_files *f)
{
	free(f->sealed);
	f->sealed = NULL;
	f->nsealed = 0;
}

int disk_check_all(const struct vm_config *c, struct fail *why)
{
	int err = 0;

	for (unsigned i = 0; i < c->ndisks && !err; i++) {
		struct disk_source s;

		err = disk_source_open(&s, &c->disk[i], why);
		disk_source_close(&s);
	}
	return err;
}

/* ---- a VM that begins with a snapshot's disks ---- */

static bool head_is_empty(struct opening *o, const struct disk_root *r)
{
	_cleanup_close_ int fd =
	    disk_dir_open_head(&o->dir, r->id, r->uid, O_RDONLY, NULL);
	struct head_counts n = { .blocks = 1 };
	struct head *h;

	if (fd >= 0 &&
	    !head_open(&h, fd, r->id, &HEAD_BELOW_NOTHING, false, NULL)) {
		head_count(h, &n);
		head_close(h);
	}
	return !n.blocks;
}

/* Whether the VM's disk is the snapshot's still: it was saved and stopped, or a
 * start from it came to nothing. */
static int find_same(struct opening *o, struct disk_root *r,
		     const struct disk_origin *from, bool *same)
{
	struct disk_chain_found c = { .n = 0 };
	int err = disk_recover_chain(&o->dir, &o->parents, r, from->bytes, &c,
				     o->why);

	*same = !err && c.n == 1 && !c.nsealed && c.on_image &&
		c.root == from->root &&
		object_id_equal(&c.layer, &from->layer) && head_is_empty(o, r);
	disk_chain_free(&c);
	return err;
}

static int check_base(struct opening *o, const char *object,
		      const struct disk_root *r, const struct disk_source *s,
		      const struct disk_origin *from)
{
	char hint[160];
	uint8_t stamp[ID_BYTES];

	snprintf(hint, sizeof(hint),
		 "give the file as it was (cp -p keeps it so): --disk "
		 "PATH,id=%s",
		 r->id);
	if (s->bytes != from->bytes)
		return fail_set(o->why, EXIT_CONFLICT, -ESTALE, object, hint,
				"has %llu bytes, the snapshot's disk %llu",
				(unsigned long long)s->bytes,
				(unsigned long long)from->bytes);
	disk_root_stamp(r, stamp);
	if (from->stamp && memcmp(stamp, from->stamp, sizeof(stamp)))
		return fail_set(o->why, EXIT_CONFLICT, -ESTALE, object, hint,
				"is not the file that the snapshot's disk lies "
				"on, or has changed since");
	return 0;
}

static int refuse_lost(const struct opening *o, const char *object)
{
	return fail_set(o->why, EXIT_CONFLICT, -EEXIST, object,
			"give the VM another name, or --discard to lose that",
			"%s has changes of its own on this disk",
			o->dir.vm->name);
}

static int begin_one(struct opening *o, const struct disk_config *c,
		     const struct disk_origin *from, bool discard)
{
	struct head_info info = { .bytes = from->bytes,
				  .below_kind = BELOW_LAYER,
				  .below_root = from->root,
				  .below_layer = from->layer };
	struct disk_source s = { .fd = -1, .lock = -1 };
	_cleanup_close_ int fd = -1;
	struct disk_root *r;
	bool same = false;
	char object[256];
	int err = open_base(o, c, &s, &r);

	disk_source_close(&s);
	if (err)
		return err;
	snprintf(object, sizeof(object), "disk %s (%s)", c->path, c->id);
	if (!wants_head(c))
		return fail_set(o->why, EXIT_CONFLICT, -EINVAL, object,
				"leave out ro and direct",
				"cannot go on from the snapshot's");
	err = check_base(o, object, r, &s, from);
	if (!err && r->uid[0] && !discard)
		err = find_same(o, r, from, &same);
	if (err || same)
		return err;
	if (r->uid[0] && !discard)
		return refuse_lost(o, object);
	r->next[0] = '\0';
	o->dir.roots.dirty = true;
	return disk_dir_make_head(&o->dir, c->id, &info, 0, r->uid, &fd,
				  o->why);
}

static const struct disk_config *find_disk(const struct vm_config *c,
					   const char *id)
{
	for (unsigned i = 0; i < c->ndisks; i++)
		if (!strcmp(c->disk[i].id, id))
			return &c->disk[i];
	return NULL;
}

static int begin_disks(struct opening *o, const struct disk_origin *origin,
		       unsigned n, bool discard)
{
	int err =
	    discard ? 0 : disk_recover_roots(&o->dir, &o->parents, o->why);

	if (discard)
		o->dir.roots.scratch = false;
	for (unsigned i = 0; i < n && !err; i++) {
		const struct disk_config *c = find_disk(o->c, origin[i].id);

		err = c ? begin_one(o, c, &origin[i], discard)
			: fail_set(o->why, EXIT_USAGE, -EINVAL, o->dir.vm->name,
				   "give it by --disk PATH,id=",
				   "the snapshot has a disk %s, and no file is "
				   "given that it lies on",
				   origin[i].id);
	}
	return err;
}

/* Disks that are not given this time need those of before. */
static int add_parent(struct opening *o, const struct object_id *id)
{
	const struct disk_roots *r = &o->dir.roots;
	_cleanup_free_ struct object_id *all =
	    calloc(r->nparents + 1, sizeof(*all));

	if (!all)
		return failed(o, -ENOMEM, "write roots.json");
	for (unsigned i = 0; i < r->nparents; i++)
		all[i] = r->parent[i];
	all[r->nparents] = *id;
	return disk_roots_set_parents(&o->dir.roots, all, r->nparents + 1)
		   ? failed(o, -ENOMEM, "write roots.json")
		   : 0;
}

int disk_begin_all(const struct vm_config *c, const struct vm_dir *d,
		   bool durable, const struct object_id *manifest,
		   const struct disk_origin *origin, unsigned n, bool discard,
		   struct fail *why)
{
	struct opening o = { .c = c, .dir = DISK_DIR_NONE, .why = why };
	int err = opening_begin(&o, d, durable);

	if (!err)
		err = begin_disks(&o, origin, n, discard);
	if (!err && o.dir.heads >= 0)
		err = disk_dir_sync_heads(&o.dir, why);
	if (!err)
		err = add_parent(&o, manifest);
	if (!err)
		err = disk_roots_write(&o.dir.roots, d, durable, why);
	opening_end(&o);
	return err;
}

/* ---- imports ---- */

static int import(struct opening *o, const struct disk_config *c,
		  const struct disk_source *s)
{
	char temp[DISK_HEAD_TEXT], name[DISK_HEAD_TEXT], object[256];
	struct disk_root *r;
	int bases = disk_dir_bases(&o->dir, o->why), err;

	err =
	    bases < 0 ? bases : disk_roots_add(&o->dir.roots, c, s, &r, o->why);
	if (err)
		return err;
	snprintf(object, sizeof(object), "disk %s", c->path);
	snprintf(temp, sizeof(temp), "%s.new", c->id);
	unlinkat(bases, temp, 0);
	err = disk_import_qcow2(s->fd, bases, temp, object, o->why);
	if (err)
		return err;
	disk_base_name(name, r->id);
	if (renameat(bases, temp, bases, name))
		return failed(o, -errno, "name an imported disk");
	err = disk_dir_sync(&o->dir, bases, o->why);
	return err ? err
		   : disk_roots_write(&o->dir.roots, o->dir.vm, o->dir.durable,
				      o->why);
}

static int import_one(struct opening *o, const struct disk_config *c)
{
	struct disk_source s;
	const struct disk_root *r = disk_roots_find(&o->dir.roots, c->id);
	int err = disk_source_open(&s, c, o->why);

	if (err)
		return err;
	err = disk_source_lock(&s, c, o->dir.vm->name, o->why);
	if (!err)
		err = r ? disk_root_compare(r, o->dir.vm, c, &s, o->why)
			: import(o, c, &s);
	disk_source_close(&s);
	return err;
}

int disk_import_all(const struct vm_config *c, const struct vm_dir *d,
		    struct fail *why)
{
	struct opening o = { .c = c, .dir = DISK_DIR_NONE, .why = why };
	bool any = false;
	int err;

	for (unsigned i = 0; i < c->ndisks; i++)
		any |= c->disk[i].qcow2;
	err = any ? disk_dir_lock(&o.dir, d, true, why) : 0;
	for (unsigned i = 0; i < c->ndisks && !err; i++)
		if (c->disk[i].qcow2)
			err = import_one(&o, &c->disk[i]);
	opening_end(&o);
	return err;
}
