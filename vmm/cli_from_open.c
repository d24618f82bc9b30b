/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot's files, for the VM that goes on from it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli_from.h"
#include "cli_snapshot.h"
#include "util.h"

static int no_memory(const struct vm_dir *d, struct fail *why)
{
	return fail_set(why, EXIT_OWN_FAILURE, -ENOMEM, d->name, NULL,
			"out of memory");
}

static int begin_disks(const struct run_args *a, const struct vm_dir *d,
		       bool durable, const struct manifest *m, struct fail *why)
{
	_cleanup_free_ struct disk_origin *origin =
	    calloc(m->images.n + 1, sizeof(*origin));
	unsigned n = 0;

	if (!origin)
		return no_memory(d, why);
	for (uint32_t i = 0; i < m->images.n; i++) {
		const struct manifest_image *im = &m->images.item[i];

		if (im->kind == IMAGE_DISK)
			origin[n++] = (struct disk_origin){
				.id = im->id,
				.bytes = im->bytes,
				.layer = im->layer,
				.root = im->root,
				.stamp = im->base == BASE_RAW_FILE
					     ? im->base_stamp
					     : NULL,
			};
	}
	return disk_begin_all(&a->config, d, durable, &a->from.manifest, origin,
			      n, a->from.discard, why);
}

/* Of memory and state; those of disks are among them, and harmless. */
static int take_layers(struct store *s, const struct manifest *m,
		       const struct vm_dir *d, struct vm_files *f,
		       struct fail *why)
{
	struct layer_set *set = NULL;
	int err = store_open_images(s, m, &set, why);
	unsigned n = err ? 0 : layer_set_count(set);

	if (!err) {
		f->layer = calloc(n + 1, sizeof(*f->layer));
		err = f->layer ? 0 : no_memory(d, why);
	}
	for (unsigned i = 0; i < n && !err; i++)
		f->layer[f->nlayers++] = layer_take_fd(layer_set_at(set, i));
	layer_set_destroy(set);
	return err;
}

/* A snapshot of disks alone is booted. */
static int fill_restore(struct vm_restore *r, const struct run_args *a,
			const struct manifest *m, struct fail *why)
{
	r->wanted = m->kind & MANIFEST_MEMORY;
	r->manifest = a->from.manifest;
	for (uint32_t i = 0; i < m->images.n; i++) {
		const struct manifest_image *im = &m->images.item[i];

		if (im->kind == IMAGE_MEMORY) {
			r->memory = im->layer;
			r->memory_root = im->root;
		} else if (im->kind == IMAGE_STATE) {
			r->state = im->layer;
			r->state_root = im->root;
			r->state_bytes = im->bytes;
		}
	}
	r->clock = a->from.clock;
	r->force_cpu = a->from.force_cpu;
	r->new_identity = !a->from.keep_identity;
	if (r->new_identity && random_bytes(r->vmgenid, sizeof(r->vmgenid)))
		return fail_set(why, EXIT_OWN_FAILURE, -EIO, "random bytes",
				NULL, "there are none");
	return 0;
}

int from_open(const struct run_args *a, const struct vm_dir *d,
	      struct vm_files *f, struct fail *why)
{
	struct manifest m = { .kind = 0 };
	struct store *s = NULL;
	int err = cli_store_open(&s, why);

	if (err == -ENOENT)
		err = fail_set(why, EXIT_NOT_FOUND, err, a->from.text,
			       "see 'tintype snapshot list'",
			       "is not there any more");
	if (!err)
		err = store_lock(s, STORE_SHARED, why);
	if (!err)
		err = store_get_manifest(s, &a->from.manifest, &m, why);
	if (!err)
		err = begin_disks(a, d, f->disks_stay, &m, why);
	if (!err && (m.kind & MANIFEST_MEMORY))
		err = take_layers(s, &m, d, f, why);
	if (!err)
		err = fill_restore(&f->restore, a, &m, why);
	manifest_free(&m);
	store_close(s);
	return err;
}
