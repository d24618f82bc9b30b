/* SPDX-License-Identifier: Apache-2.0 */
/* The engine, if a disk wants it, and the disks over it. */
#include "disk_set.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "disk_store.h"
#include "machine.h"
#include "util.h"

/* For the heads that come with captures, while the ring is in use. */
#define SPARE_FILES 32

static_assert(CONFIG_DISK_ID_MAX <= MACHINE_DISK_ID_MAX, "each id is a name");
static_assert(CONFIG_MAX_DISKS <= DISK_STORES_MAX, "each has its part");

struct disk_set {
	struct disk_io *io;
	struct disk *disk[CONFIG_MAX_DISKS];
	unsigned n;
	/* To be emptied in the end. */
	const struct disk_files *files;
	bool discard;
};

static int make_engine(struct disk_set *s, const struct disk_set_config *c)
{
	const char *asked = getenv(DISK_SET_NO_RING);
	int fds[2 * CONFIG_MAX_DISKS];
	struct disk_io_config io = {
		.loop = c->loop,
		.way = asked && *asked ? DISK_IO_NO_RING : DISK_IO_BEST,
		.fds = fds,
		.spare = SPARE_FILES,
	};

	for (unsigned i = 0; i < c->vm->ndisks; i++) {
		fds[io.nfds++] = c->files[i].base;
		if (c->files[i].head >= 0)
			fds[io.nfds++] = c->files[i].head;
	}
	return disk_io_create(&s->io, &io);
}

static int make_head(struct disk **out, const struct disk_store_config *store,
		     const struct disk_config *d, const struct disk_files *f,
		     struct fail *why)
{
	const struct head_below below = { .raw_fd = f->base,
					  .raw_bytes = f->bytes };
	struct head *h;
	char name[CONFIG_NAME_MAX + 16];
	int err;

	snprintf(name, sizeof(name), "disk %s", d->id);
	err = head_open(&h, f->head, name, &below, true, why);
	if (err)
		return err;
	*out = disk_head_create(store, h);
	return *out ? 0
		    : fail_set(why, EXIT_FAILED, -ENOMEM, name, NULL,
			       "out of memory");
}

static int make_disk(struct disk_set *s, const struct disk_set_config *c,
		     unsigned i, struct fail *why)
{
	const struct disk_config *d = &c->vm->disk[i];
	const struct disk_files *f = &c->files[i];
	const struct disk_store_config store = { .name = d->id,
						 .loop = c->loop,
						 .io = s->io,
						 .disks = c->vm->ndisks };

	if (f->head >= 0)
		return make_head(&s->disk[i], &store, d, f, why);
	s->disk[i] = disk_raw_create(&store, f->base, f->bytes, d->read_only);
	return s->disk[i] ? 0
			  : fail_set(why, EXIT_FAILED, -ENOMEM, d->id, NULL,
				     "out of memory");
}

int disk_set_create(struct disk_set **out, const struct disk_set_config *c,
		    struct fail *why)
{
	struct disk_set *s;
	int err;

	*out = NULL;
	if (!c->vm->ndisks)
		return 0;
	s = calloc(1, sizeof(*s));
	err = s ? make_engine(s, c) : -ENOMEM;
	if (err) {
		free(s);
		return fail_set(why, EXIT_OWN_FAILURE, err, c->vm->name, NULL,
				"make the disks' engine: %s", strerror(-err));
	}
	s->files = c->files;
	s->discard = c->discard;
	for (; s->n < c->vm->ndisks && !err; s->n += !err)
		err = make_disk(s, c, s->n, why);
	if (err)
		disk_set_destroy(s);
	else
		*out = s;
	return err;
}

void disk_set_destroy(struct disk_set *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n; i++) {
		/* A failure is told by the disk; the VM has its end. */
		if (!s->discard)
			(void)disk_flush_last(s->disk[i]);
		disk_destroy(s->disk[i]);
	}
	disk_io_destroy(s->io);
	/* Nobody will read them. Their names are swept away later. */
	for (unsigned i = 0; i < s->n && s->discard; i++)
		if (s->files[i].head >= 0)
			(void)!ftruncate(s->files[i].head, 0);
	free(s);
}

void disk_set_describe(const struct disk_set *s, const struct vm_config *vm,
		       struct machine_disk *out)
{
	for (unsigned i = 0; i < vm->ndisks; i++) {
		const struct disk_config *d = &vm->disk[i];

		out[i] = (struct machine_disk){
			.id = d->id,
			.disk = s->disk[i],
			.serial = d->serial[0] ? d->serial : NULL,
			.bytes_a_second = d->bps,
			.ops_a_second = d->iops,
		};
	}
}
