/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and layers of HOME/store, read from a VM's directory. */
#include "disk_parents.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "util.h"

static int open_store(struct disk_parents *p, const struct vm_dir *d,
		      struct fail *why)
{
	/* A VM's directory is HOME/vms/NAME. */
	_cleanup_close_ int home =
	    openat(d->fd, "../..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = home < 0 ? file_failed(d->name, -errno, "open home", why)
			   : store_open(&p->store, home, false, why);

	return err == -ENOENT ? 0 : err;
}

static int read_manifest(const struct disk_parents *p,
			 const struct object_id *id, struct manifest *m,
			 struct fail *why)
{
	static const char hint[] = "give up the VM by 'tintype rm'; its "
				   "snapshots stay";
	char name[ID_SHORT + 16] = "manifest ";
	int err = p->store ? store_get_manifest(p->store, id, m, why) : -ENOENT;

	if (err != -ENOENT)
		return err;
	object_id_short(name + strlen(name), id);
	return fail_set(why, EXIT_INTEGRITY, err, name, hint,
			"a VM's disks need it, and it is not in the store");
}

int disk_parents_read(struct disk_parents *p, const struct vm_dir *d,
		      const struct disk_roots *r, struct fail *why)
{
	int err;

	*p = (struct disk_parents){ 0 };
	if (!r->nparents)
		return 0;
	err = open_store(p, d, why);
	if (err)
		return err;
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
	store_close(p->store);
	*p = (struct disk_parents){ 0 };
}

int disk_parents_layer(const struct disk_parents *p, const struct object_id *id)
{
	return p->store ? store_find_layer(p->store, id) : -ENOENT;
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
