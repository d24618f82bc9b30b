/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest of a snapshot that was sealed. What the VM says of its layers is
 * not believed: their sizes are read from them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fileio.h"
#include "taker_impl.h"
#include "util.h"
#include "version.h"

/* Roots of the memory's layer; a disk's layer has the disk as root 0. */
enum { ROOT_MEMORY, ROOT_STATE };

int taker_add_figure(struct manifest *m, const char *name, uint64_t value)
{
	struct manifest_figure f = { .value = value }, *all;

	if (m->figures.n == MANIFEST_MAX_FIGURES ||
	    strlen(name) >= sizeof(f.name) || record_name_check(name))
		return 0;
	for (uint32_t i = 0; i < m->figures.n; i++)
		if (!strcmp(m->figures.item[i].name, name))
			return 0;
	strcpy(f.name, name);
	all = reallocarray(m->figures.item, m->figures.n + 1, sizeof(f));
	if (!all)
		return -ENOMEM;
	all[m->figures.n++] = f;
	m->figures.item = all;
	return 0;
}

static int read_bytes(const struct taker_layer *from, uint32_t root,
		      uint64_t *bytes, struct fail *why)
{
	struct layer_set *set = layer_set_create(NULL, NULL);
	int fd = fcntl(from->fd, F_DUPFD_CLOEXEC, 0), err;
	struct layer_root r;
	struct layer *l;

	if (!set || fd < 0) {
		err = file_failed("new layer", set ? -errno : -ENOMEM, "read",
				  why);
		cleanup_close(&fd);
	} else {
		err = layer_open(set, fd, "new layer", &from->id, &l, why);
		if (!err)
			err = layer_root(l, root, &r, why);
	}
	*bytes = err ? 0 : r.bytes;
	layer_set_destroy(set);
	return err;
}

/* `want`: how large it must be; 0: that is not known. */
static int add_image(struct taker *t, enum manifest_image_kind kind,
		     const char *id, const struct taker_layer *from,
		     uint32_t root, uint64_t want, struct fail *why)
{
	struct manifest_image *im = &t->m.images.item[t->m.images.n];
	int err;

	*im = (struct manifest_image){ .kind = kind,
				       .root = root,
				       .layer = from->id };
	strcpy(im->id, id);
	err = read_bytes(from, root, &im->bytes, why);
	if (!err && want && im->bytes != want)
		err = fail_set(why, EXIT_INTEGRITY, -EBADMSG, t->d->name,
			       "take the snapshot again",
			       "the image of %s has %llu bytes instead of %llu",
			       id, (unsigned long long)im->bytes,
			       (unsigned long long)want);
	t->m.images.n += !err;
	return err;
}

/* What the disk has nothing of its own for is in the file that it began with.
 */
static int add_disk(struct taker *t, const struct taker_layer *from,
		    struct fail *why)
{
	const struct taker_disk *d = &t->plan.disk[from->disk];
	const struct disk_root *r = disk_roots_find(&t->dir.roots, d->id);
	struct manifest_image *im;
	int err = add_image(t, IMAGE_DISK, d->id, from, 0, d->bytes, why);

	if (err)
		return err;
	im = &t->m.images.item[t->m.images.n - 1];
	im->base = BASE_RAW_FILE;
	im->base_bytes = r->bytes;
	disk_root_stamp(r, im->base_stamp);
	return 0;
}

static int add_images(struct taker *t, struct fail *why)
{
	int err = 0;

	t->m.images.item = calloc(t->nlayers + 1, sizeof(*t->m.images.item));
	if (!t->m.images.item)
		return file_failed(t->d->name, -ENOMEM, "describe", why);
	for (unsigned i = 0; i < t->nlayers && !err; i++) {
		const struct taker_layer *l = &t->layer[i];

		if (l->newest)
			err = add_disk(t, l, why);
		if (l->disk >= 0)
			continue;
		err = add_image(t, IMAGE_MEMORY, "memory", l, ROOT_MEMORY,
				t->plan.ram_bytes, why);
		if (!err)
			err = add_image(t, IMAGE_STATE, "state", l, ROOT_STATE,
					0, why);
	}
	return err;
}

/* ---- the VM, whatever its name ---- */

static const char uid_file[] = "uid.json";

static int make_uid(struct taker *t)
{
	char text[DISK_UID_TEXT];
	json_t *doc;
	int err = random_bytes(t->m.vm_uid, UID_BYTES);

	if (err)
		return err;
	disk_uid_text(text, t->m.vm_uid);
	doc = json_pack("{s:s}", "uid", text);
	err = doc ? vm_dir_write_json(t->d, uid_file, doc) : -ENOMEM;
	json_decref(doc);
	return err;
}

/* Made by the first capture; of a damaged one it is made anew. */
static int get_uid(struct taker *t, struct fail *why)
{
	json_t *doc = vm_dir_read_json(t->d, uid_file);
	const char *text = json_string_value(json_object_get(doc, "uid"));
	int err = text ? disk_uid_parse(t->m.vm_uid, text) : -EINVAL;

	json_decref(doc);
	if (err || mem_is_zero(t->m.vm_uid, UID_BYTES))
		err = make_uid(t);
	return err ? file_failed(t->d->name, err, "write uid.json of", why) : 0;
}

int taker_describe(struct taker *t, struct fail *why)
{
	struct timespec now;
	int err;

	clock_gettime(CLOCK_REALTIME, &now);
	t->m.taken_ns =
	    (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	strcpy(t->m.engine, "tintype " TINTYPE_VERSION);
	t->m.parent = t->plan.parent;
	t->m.kind = t->r->disks_only ? 0 : MANIFEST_MEMORY;
	t->m.consistency = CONSISTENT_CRASH;
	t->m.owner_uid = geteuid();
	err = get_uid(t, why);
	return err ? err : add_images(t, why);
}
