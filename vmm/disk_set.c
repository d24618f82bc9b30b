/* SPDX-License-Identifier: Apache-2.0 */
/* The engine, if a disk wants it, and the disks over it. */
#include "disk_set.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "disk_chain.h"
#include "disk_store.h"
#include "machine.h"
#include "util.h"

/* For the next head of each disk, while the ring has the present one. */
#define SPARE_FILES CONFIG_MAX_DISKS

static_assert(CONFIG_DISK_ID_MAX <= MACHINE_DISK_ID_MAX, "each id is a name");
static_assert(CONFIG_MAX_DISKS <= DISK_STORES_MAX, "each has its part");

struct disk_set {
	struct disk_io *io;
	struct disk *disk[CONFIG_MAX_DISKS];
	struct disk_chain *chain[CONFIG_MAX_DISKS]; /* NULL: it has no head */
	unsigned n;
	struct layer_set *layers, *own_layers;
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

static int make_head(struct disk_set *s, unsigned i,
		     const struct disk_store_config *store,
		     const struct disk_files *f, struct fail *why)
{
	const struct disk_chain_config c = { .id = store->name,
					     .files = f,
					     .layers = s->layers,
					     .io = s->io,
					     .loop = store->loop };
	struct disk_store_config with = *store;
	int err = disk_chain_open(&s->chain[i], &c, why);

	if (err)
		return err;
	with.settle = disk_chain_settle;
	with.settle_ctx = s->chain[i];
	s->disk[i] = disk_head_create(&with, disk_chain_head(s->chain[i]));
	disk_chain_attach(s->chain[i], s->disk[i]);
	return s->disk[i] ? 0
			  : fail_set(why, EXIT_FAILED, -ENOMEM, store->name,
				     NULL, "out of memory");
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
		return make_head(s, i, &store, f, why);
	s->disk[i] = disk_raw_create(&store, f->base, f->bytes, d->read_only);
	return s->disk[i] ? 0
			  : fail_set(why, EXIT_FAILED, -ENOMEM, d->id, NULL,
				     "out of memory");
}

static int make_set(struct disk_set *s, const struct disk_set_config *c,
		    struct fail *why)
{
	int err;

	s->discard = c->discard;
	s->layers = c->layers;
	if (!s->layers)
		s->layers = s->own_layers = layer_set_create(NULL, NULL);
	err = s->layers ? make_engine(s, c) : -ENOMEM;
	if (err)
		return fail_set(why, EXIT_OWN_FAILURE, err, c->vm->name, NULL,
				"make the disks' engine: %s", strerror(-err));
	for (; s->n < c->vm->ndisks && !err; s->n++)
		err = make_disk(s, c, s->n, why);
	return err;
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
	if (!s)
		return fail_set(why, EXIT_OWN_FAILURE, -ENOMEM, c->vm->name,
				NULL, "out of memory");
	err = make_set(s, c, why);
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
		if (!s->discard && s->disk[i])
			(void)disk_flush_last(s->disk[i]);
		disk_destroy(s->disk[i]);
		/* Nobody will read what is emptied; its name is swept away
		 * later. */
		disk_chain_close(s->chain[i], s->discard);
	}
	disk_io_destroy(s->io);
	layer_set_destroy(s->own_layers);
	free(s);
}

/* ---- capture ---- */

unsigned disk_set_heads(const struct disk_set *s)
{
	unsigned n = 0;

	for (unsigned i = 0; s && i < s->n; i++)
		n += s->chain[i] != NULL;
	return n;
}

json_t *disk_set_plan(const struct disk_set *s)
{
	json_t *plan = json_array();
	int err = 0;

	for (unsigned i = 0; s && i < s->n && !err; i++)
		if (s->chain[i])
			err = json_array_append_new(
			    plan, disk_chain_plan(s->chain[i]));
	if (!err)
		return plan;
	json_decref(plan);
	return NULL;
}

static void close_all(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

static int not_as_planned(const int *fds, unsigned nfds, struct fail *why)
{
	close_all(fds, nfds);
	return fail_set(why, EXIT_USAGE, -EINVAL, "disks", NULL,
			"%u files were handed over, and others are wanted",
			nfds);
}

static void drop_next(struct disk_set *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->chain[i])
			disk_chain_drop_next(s->chain[i]);
}

int disk_set_prepare(struct disk_set *s, const int *fds, unsigned nfds,
		     const char *const *uid, const atomic_bool *cancel,
		     struct fail *why)
{
	unsigned want = 0;
	int err = 0;

	for (unsigned i = 0; s && i < s->n; i++)
		want += s->chain[i] ? disk_chain_wants(s->chain[i]) : 0;
	if (want != nfds)
		return not_as_planned(fds, nfds, why);
	for (unsigned i = 0; s && i < s->n; i++) {
		struct disk_chain *c = s->chain[i];

		if (!c)
			continue;
		want = disk_chain_wants(c);
		if (!err && atomic_load(cancel))
			err = fail_set(why, EXIT_CANCELLED, -ECANCELED, "disks",
				       NULL, "cancelled");
		if (!err)
			err = disk_chain_prepare(c, fds, *uid, why);
		else
			close_all(fds, want);
		fds += want;
		uid++;
	}
	if (err)
		drop_next(s);
	return err;
}

void disk_set_swap(struct disk_set *s)
{
	for (unsigned i = 0; s && i < s->n; i++)
		if (s->chain[i])
			disk_chain_swap(s->chain[i]);
}

/* All of them, whatever the first says: their flushes wait for it. */
static int settle_all(struct disk_set *s, struct fail *why)
{
	int first = 0;

	for (unsigned i = 0; s && i < s->n; i++) {
		int err = 0;

		if (s->chain[i])
			err = disk_chain_settle_now(s->chain[i],
						    first ? NULL : why);
		first = first ? first : err;
	}
	return first;
}

int disk_set_seal(struct disk_set *s, struct disk_sealed *out,
		  const atomic_bool *cancel, struct fail *why)
{
	int err = settle_all(s, why);
	unsigned n = 0;

	for (unsigned i = 0; s && i < s->n && !err; i++)
		if (s->chain[i])
			err =
			    disk_chain_seal(s->chain[i], out, &n, cancel, why);
	return err ? err : (int)n;
}

void disk_set_adopt(struct disk_set *s)
{
	for (unsigned i = 0; s && i < s->n; i++)
		if (s->chain[i])
			disk_chain_adopt(s->chain[i]);
}

void disk_set_abandon(struct disk_set *s)
{
	for (unsigned i = 0; s && i < s->n; i++)
		if (s->chain[i])
			disk_chain_abandon(s->chain[i]);
}

void disk_set_commit(struct disk_set *s)
{
	for (unsigned i = 0; s && i < s->n; i++)
		if (s->chain[i])
			disk_chain_commit(s->chain[i]);
}

/* ---- restore ---- */

int disk_set_replace(struct disk_set *s, const int *fds, unsigned nfds,
		     struct layer_set *layers, struct fail *why)
{
	int err = 0;

	if (disk_set_heads(s) != nfds)
		return not_as_planned(fds, nfds, why);
	for (unsigned i = 0; s && i < s->n; i++) {
		if (!s->chain[i])
			continue;
		if (!err)
			err =
			    disk_chain_replace(s->chain[i], *fds, layers, why);
		else
			close(*fds);
		fds++;
	}
	if (err)
		drop_next(s);
	return err;
}

void disk_set_take(struct disk_set *s)
{
	for (unsigned i = 0; s && i < s->n; i++)
		if (s->chain[i])
			disk_chain_take(s->chain[i]);
}

int disk_set_settle(struct disk_set *s, struct fail *why)
{
	return settle_all(s, why);
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
