/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Garbage in the store. First all that lives is found out, exactly, without a
 * change to anything; one damaged ref, manifest or tree ends it there, for what
 * is not known to be live is not known to be garbage. Then manifests go, then
 * layers: so no manifest ever names a layer that was taken from it. Whatever
 * breaks off half-way, the next one goes on.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "new_file.h"
#include "reach.h"
#include "store_impl.h"
#include "util.h"

struct collection {
	struct store *s;
	struct object_id *live; /* manifests; sorted once all are there */
	size_t nlive, room;
	struct layer_set *set;
	struct reach *reach;
	struct store_collected *n;
	struct fail *why;
};

/* ---- which manifests live ---- */

static int add_live(struct collection *c, const struct object_id *id)
{
	if (array_reserve(&c->live, &c->room, c->nlive + 1, sizeof(*c->live)))
		return file_failed("store", -ENOMEM, "collect garbage in",
				   c->why);
	c->live[c->nlive++] = *id;
	return 0;
}

static int add_ref(void *ctx, const char *vm, const char *name,
		   const struct ref *r, const struct fail *why)
{
	struct collection *c = ctx;

	if (r)
		return add_live(c, &r->manifest);
	if (c->why)
		*c->why = *why;
	return -EBADMSG;
}

/* What a VM's directory names may be long gone, and keeps nothing then. */
static int add_kept(struct collection *c, const struct object_id *id)
{
	char name[ID_TEXT];

	object_id_text(name, id);
	if (faccessat(c->s->manifests, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return add_live(c, id);
	return errno == ENOENT ? 0
			       : file_failed("store/manifests", -errno,
					     "look into", c->why);
}

static int compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, ID_BYTES);
}

static int find_live(struct collection *c, const struct object_id *keep,
		     size_t nkeep)
{
	size_t n = 0;
	int err = store_each_ref(c->s, NULL, add_ref, c, c->why);

	for (size_t i = 0; i < nkeep && !err; i++)
		err = add_kept(c, &keep[i]);
	if (err || !c->nlive)
		return err;
	qsort(c->live, c->nlive, sizeof(*c->live), compare_ids);
	for (size_t i = 1; i < c->nlive; i++)
		if (!object_id_equal(&c->live[n], &c->live[i]))
			c->live[++n] = c->live[i];
	c->nlive = n + 1;
	return 0;
}

/* ---- what they reach ---- */

static int reach_images(struct collection *c, const struct manifest *m)
{
	struct image img;
	int err = 0;

	/* All layers first: links are looked for but once. */
	for (uint32_t i = 0; i < m->images.n && !err; i++)
		err = store_open_image(c->s, c->set, &m->images.item[i], &img,
				       c->why);
	if (!err)
		err = layer_link(c->set, store_find_layer, c->s, c->why);
	for (uint32_t i = 0; i < m->images.n && !err; i++) {
		err = store_open_image(c->s, c->set, &m->images.item[i], &img,
				       c->why);
		if (!err)
			err = reach_add(c->reach, &img, c->why);
	}
	return err;
}

static int reach_all(struct collection *c)
{
	int err = 0;

	c->set = layer_set_create(NULL, NULL);
	c->reach = reach_create();
	if (!c->set || !c->reach)
		return file_failed("store", -ENOMEM, "collect garbage in",
				   c->why);
	for (size_t i = 0; i < c->nlive && !err; i++) {
		struct manifest m = { 0 };

		err = store_get_manifest(c->s, &c->live[i], &m, c->why);
		if (!err)
			err = reach_images(c, &m);
		manifest_free(&m);
	}
	return err;
}

static bool layer_lives(const struct collection *c, const struct object_id *id)
{
	const struct layer *l = layer_set_find(c->set, id);
	struct reach_count count;

	if (!l)
		return false;
	reach_count(c->reach, l, &count);
	return count.reached;
}

static bool manifest_lives(const struct collection *c,
			   const struct object_id *id)
{
	return c->nlive &&
	       bsearch(id, c->live, c->nlive, sizeof(*id), compare_ids);
}

/* ---- removal ---- */

/* A file that has another name still, as a head that was sealed, gives nothing
 * back. */
static int remove_file(struct collection *c, int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) ||
	    unlinkat(dir, name, 0))
		return file_failed(name, -errno, "remove", c->why);
	if (S_ISREG(st.st_mode) && st.st_nlink == 1)
		c->n->bytes += (uint64_t)st.st_blocks * 512;
	return 0;
}

/* The files of one directory; names that are none of ours stay. `lives` NULL:
 * all that have an end do. */
static int sweep(struct collection *c, int dir, const char *path,
		 bool (*lives)(const struct collection *c,
			       const struct object_id *id),
		 unsigned *removed)
{
	struct store_names names;
	struct object_id id;
	int err = store_names_read(&names, dir);

	if (err)
		return file_failed(path, err, "list", c->why);
	for (size_t i = 0; i < names.n && !err; i++) {
		const char *name = names.name[i];

		if (!strncmp(name, NEW_FILE_TEMP, strlen(NEW_FILE_TEMP))) {
			err = remove_file(c, dir, name);
		} else if (lives && object_id_parse(&id, name) &&
			   !lives(c, &id)) {
			err = remove_file(c, dir, name);
			*removed += !err;
		}
	}
	store_names_free(&names);
	if (!err) {
		err = file_sync_dir(dir);
		if (err)
			file_failed(path, err, "sync", c->why);
	}
	return err;
}

static int sweep_all(struct collection *c)
{
	unsigned none = 0;
	/* Refs first, and synced: who removed one may not have come to that,
	 * and it must not come back when its layers are gone. */
	int err = sweep(c, c->s->refs, "store/refs", NULL, &none);

	if (!err)
		err = sweep(c, c->s->manifests, "store/manifests",
			    manifest_lives, &c->n->manifests);
	if (!err)
		err = sweep(c, c->s->layers, "store/layers", layer_lives,
			    &c->n->layers);
	return err;
}

int store_collect(struct store *s, const struct object_id *keep, size_t nkeep,
		  struct store_collected *n, struct fail *why)
{
	struct collection c = { .s = s, .n = n, .why = why };
	int err;

	assert(s->held == STORE_EXCLUSIVE);
	*n = (struct store_collected){ 0 };
	err = find_live(&c, keep, nkeep);
	if (!err)
		err = reach_all(&c);
	if (!err)
		err = sweep_all(&c);
	reach_destroy(c.reach);
	layer_set_destroy(c.set);
	free(c.live);
	return err;
}
