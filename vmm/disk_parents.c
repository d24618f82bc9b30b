/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and layers of HOME/store, read from a VM's directory. */
#include "disk_parents.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "layer.h"
#include "util.h"

/* A VM's directory is HOME/vms/NAME. */
#define STORE "../../store"

static int open_in_store(const struct disk_parents *p, const char *dir,
			 const struct object_id *id)
{
	char path[ID_TEXT + 16], text[ID_TEXT];
	int fd;

	if (p->store < 0)
		return -ENOENT;
	object_id_text(text, id);
	snprintf(path, sizeof(path), "%s/%s", dir, text);
	fd = file_open(p->store, path, O_NOFOLLOW | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int read_manifest(const struct disk_parents *p,
			 const struct object_id *id, struct manifest *m,
			 struct fail *why)
{
	_cleanup_close_ int fd = open_in_store(p, "manifests", id);
	_cleanup_free_ uint8_t *data = NULL;
	char name[32] = "manifest ";
	uint64_t bytes;
	int err;

	object_id_short(name + strlen(name), id);
	err = fd < 0 ? fd : file_bytes(fd, &bytes);
	if (!err && bytes > RECORD_MAX_BYTES)
		err = -EBADMSG;
	data = err ? NULL : malloc(bytes + 1);
	if (!err)
		err = data ? file_read(fd, 0, data, bytes) : -ENOMEM;
	if (!err)
		return manifest_decode(m, data, bytes, id, NULL, why);
	if (err == -ENOENT || err == -EBADMSG)
		return fail_set(why, EXIT_INTEGRITY, err, name,
				"give up the VM by 'tintype rm'; its other "
				"snapshots stay",
				err == -ENOENT ? "a VM's disks need it, and it "
						 "is not in the store"
					       : "is too long");
	return file_failed(name, err, "read", why);
}

int disk_parents_read(struct disk_parents *p, const struct vm_dir *d,
		      const struct disk_roots *r, struct fail *why)
{
	int err = 0;

	*p = (struct disk_parents)DISK_PARENTS_NONE;
	p->store = openat(d->fd, STORE,
			  O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (p->store < 0 && errno != ENOENT)
		return file_failed("store", -errno, "open", why);
	p->manifest = calloc(r->nparents + 1, sizeof(*p->manifest));
	if (!p->manifest)
		return file_failed(d->name, -ENOMEM, "read parents", why);
	for (unsigned i = 0; i < r->nparents && !err; i++) {
		err = read_manifest(p, &r->parent[i], &p->manifest[i], why);
		p->n += !err;
	}
	return err;
}

void disk_parents_free(struct disk_parents *p)
{
	for (unsigned i = 0; i < p->n; i++)
		manifest_free(&p->manifest[i]);
	free(p->manifest);
	cleanup_close(&p->store);
	*p = (struct disk_parents)DISK_PARENTS_NONE;
}

int disk_parents_layer(const struct disk_parents *p, const struct object_id *id)
{
	return open_in_store(p, "layers", id);
}

/* ---- images ---- */

/* The next image of that disk, from the latest manifest on; `at` counts. */
static const struct manifest_image *next_image(const struct disk_parents *p,
					       const char *disk, size_t *at)
{
	size_t seen = 0;

	for (unsigned k = p->n; k-- > 0;) {
		const struct manifest *m = &p->manifest[k];

		for (size_t i = 0; i < m->images.n; i++) {
			const struct manifest_image *x = &m->images.item[i];

			if (x->kind != IMAGE_DISK || strcmp(x->id, disk) ||
			    seen++ < *at)
				continue;
			++*at;
			return x;
		}
	}
	return NULL;
}

const struct manifest_image *disk_parents_image(const struct disk_parents *p,
						const char *disk)
{
	size_t at = 0;

	return next_image(p, disk, &at);
}

static bool layer_has_uid(const struct disk_parents *p,
			  const struct object_id *id,
			  const uint8_t uid[UID_BYTES])
{
	_cleanup_close_ int fd = disk_parents_layer(p, id);
	struct layer_header h;

	return fd >= 0 && layer_read_header(fd, "", &h, NULL) == 0 &&
	       !memcmp(h.uid, uid, UID_BYTES);
}

const struct manifest_image *disk_parents_by_uid(const struct disk_parents *p,
						 const char *disk,
						 const uint8_t uid[UID_BYTES])
{
	const struct manifest_image *x;

	for (size_t at = 0; (x = next_image(p, disk, &at));)
		if (layer_has_uid(p, &x->layer, uid))
			return x;
	return NULL;
}

bool disk_parents_has(const struct disk_parents *p, const char *disk,
		      const struct object_id *layer)
{
	const struct manifest_image *x;

	for (size_t at = 0; (x = next_image(p, disk, &at));)
		if (object_id_equal(&x->layer, layer))
			return true;
	return false;
}
