/* SPDX-License-Identifier: Apache-2.0 */
/* See swaptest.h. */
#include "swaptest.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "machine.h"
#include "util.h"

static int nowhere(void *ctx, const struct object_id *id)
{
	return -ENOENT;
}

static void open_layers(struct swaptest *s)
{
	struct dirtest *d = &s->dir;

	s->layers = layer_set_create(NULL, NULL);
	for (unsigned i = 0; i < d->nlayers; i++) {
		struct layer *l;

		cr_assert_eq(layer_open(s->layers, steal_fd(&d->layer[i]),
					"layer", NULL, &l, &d->why),
			     0, "%s", d->why.message);
	}
	cr_assert_eq(layer_link(s->layers, nowhere, NULL, &d->why), 0);
}

static void on_idle(struct disk *d)
{
}

void swaptest_open(struct swaptest *s, enum disk_io_way way)
{
	struct dirtest *d = &s->dir;
	struct disk_set_config c = { .loop = &s->rig.loop,
				     .vm = &d->config,
				     .files = d->files };
	struct machine_disk disks[CONFIG_MAX_DISKS];

	cr_assert_eq(dirtest_open(d), 0, "%s", d->why.message);
	cr_assert_eq(loop_init(&s->rig.loop), 0);
	open_layers(s);
	c.layers = s->layers;
	setenv(DISK_SET_NO_RING, way == DISK_IO_BEST ? "" : "1", true);
	cr_assert_eq(disk_set_create(&s->set, &c, &d->why), 0, "%s",
		     d->why.message);
	/* The set's from now on. */
	for (unsigned i = 0; i < d->config.ndisks; i++) {
		d->files[i].head = -1;
		d->files[i].nbelow = 0;
	}
	disk_set_describe(s->set, &d->config, disks);
	s->rig.disk = disks[0].disk;
	s->rig.disk->lock = &s->rig.lock;
	s->rig.disk->idle = on_idle;
	pthread_mutex_init(&s->rig.lock, NULL);
}

void swaptest_close(struct swaptest *s)
{
	rig_drain(&s->rig);
	disk_set_destroy(s->set);
	layer_set_destroy(s->layers);
	loop_fini(&s->rig.loop);
	dirtest_close(&s->dir);
}

void swaptest_step(struct swaptest *s)
{
	cr_assert_eq(loop_step(&s->rig.loop, 0), 0);
}

/* ---- the taker ---- */

static json_t *chain_of(struct swaptest *s, json_t **plan)
{
	*plan = disk_set_plan(s->set);
	cr_assert_not_null(*plan);
	return json_object_get(json_array_get(*plan, 0), "chain");
}

static const char *text_of(const json_t *chain, size_t i, const char *key)
{
	return json_string_value(
	    json_object_get(json_array_get(chain, i), key));
}

static void make_next(struct swaptest *s, struct disk_dir *x, const char *on)
{
	struct head_info info = { .bytes = DISK_BYTES,
				  .below_kind = BELOW_HEAD };

	cr_assert_eq(disk_uid_parse(info.below_uid, on), 0);
	cr_assert_eq(disk_dir_make_head(x, "disk0", &info, MIB(1), s->uid,
					&s->fds[0], &s->dir.why),
		     0, "%s", s->dir.why.message);
	cr_assert_eq(disk_dir_sync_heads(x, &s->dir.why), 0);
}

void taker_make(struct swaptest *s)
{
	struct disk_dir *x = dirtest_roots(&s->dir);
	json_t *plan, *chain = chain_of(s, &plan);
	size_t n = json_array_size(chain);

	make_next(s, x, text_of(chain, n - 1, "uid"));
	s->nfds = 1;
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(text_of(chain, i, "state"), "sealed"))
			continue;
		s->fds[s->nfds] =
		    disk_dir_open_head(x, "disk0", text_of(chain, i, "uid"),
				       O_RDONLY, &s->dir.why);
		cr_assert_geq(s->fds[s->nfds], 0);
		s->nfds++;
	}
	json_decref(plan);
	dirtest_roots_done(&s->dir);
}

static void keep_chain(struct swaptest *s, struct disk_dir *x)
{
	json_t *plan, *chain = chain_of(s, &plan);
	struct disk_head_ref keep[32];
	size_t n = json_array_size(chain);
	struct disk_root *r = disk_roots_find(&x->roots, "disk0");

	for (size_t i = 0; i < n; i++)
		keep[i] =
		    (struct disk_head_ref){ "disk0", text_of(chain, i, "uid") };
	memcpy(r->uid, keep[n - 1].uid, sizeof(r->uid));
	cr_assert_eq(disk_roots_write(&x->roots, &s->dir.vm, true, &s->dir.why),
		     0);
	disk_dir_heads(x, &s->dir.why);
	disk_dir_trim(x, keep, (unsigned)n);
	json_decref(plan);
}

void taker_keep(struct swaptest *s)
{
	json_t *plan, *chain = chain_of(s, &plan);
	struct made last = { 0 };
	struct object_id id;
	struct disk_dir *x;

	for (size_t i = 0; i < json_array_size(chain); i++) {
		if (strcmp(text_of(chain, i, "state"), "sealed"))
			continue;
		memcpy(last.uid, text_of(chain, i, "uid"), sizeof(last.uid));
		cr_assert(
		    object_id_parse(&last.layer, text_of(chain, i, "layer")));
		id = dirtest_store(&s->dir, "disk0", &last);
	}
	json_decref(plan);
	cr_assert(last.uid[0], "nothing was sealed");
	x = dirtest_roots(&s->dir);
	cr_assert_eq(disk_roots_set_parents(&x->roots, &id, 1), 0);
	disk_set_commit(s->set);
	keep_chain(s, x);
	dirtest_roots_done(&s->dir);
}

/* ---- the engine ---- */

int engine_prepare(struct swaptest *s)
{
	const char *uid = s->uid;

	return disk_set_prepare(s->set, s->fds, s->nfds, &uid, &s->cancel,
				&s->dir.why);
}

int engine_seal(struct swaptest *s)
{
	s->nsealed = disk_set_seal(s->set, s->sealed, &s->cancel, &s->dir.why);
	return s->nsealed < 0 ? s->nsealed : 0;
}

int capture(struct swaptest *s)
{
	int err;

	taker_make(s);
	err = engine_prepare(s);
	if (err)
		return err;
	rig_drain(&s->rig);
	disk_set_swap(s->set);
	err = engine_seal(s);
	if (err)
		disk_set_abandon(s->set);
	else
		disk_set_adopt(s->set);
	swaptest_step(s);
	return err;
}
