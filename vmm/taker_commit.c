/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edges 11 to 13 and 15: sealed files get their names, then what refers to them
 * does, each when what it refers to is durable.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "snapshot_name.h"
#include "taker_impl.h"
#include "util.h"

/* A ring of the VM may give a file back a moment late. */
#define LEASE_WAIT_MS 2000
#define LEASE_STEP_NS 5000000

#define NAME_TRIES 100

/* ---- 11: layers ---- */

static void close_writable(struct taker *t)
{
	cleanup_close(&t->layer_rw);
	t->layer_rw = -1;
	for (unsigned i = 0; i < t->plan.ndisks; i++) {
		cleanup_close(&t->next[i].fd);
		t->next[i].fd = -1;
	}
}

static int link_layer(struct taker *t, const struct taker_layer *l,
		      struct fail *why)
{
	const struct timespec step = { .tv_nsec = LEASE_STEP_NS };
	int64_t end = now_ms() + LEASE_WAIT_MS;
	char name[DISK_HEAD_TEXT];
	struct fail late = { .code = EXIT_FAILED };
	int dir = -1, err;

	if (l->disk >= 0) {
		dir = disk_dir_heads(&t->dir, why);
		if (dir < 0)
			return dir;
		disk_head_name(name, t->plan.disk[l->disk].id, l->uid);
	}
	for (;;) {
		err = store_link_layer(t->s, l->fd, dir, name, &l->id, &late);
		if ((err != -EAGAIN && err != -EBUSY) || now_ms() >= end)
			break;
		nanosleep(&step, NULL);
	}
	/* Nothing is to be said of what went well in the end. */
	if (err)
		*why = late;
	return err;
}

static int link_all(struct taker *t, struct fail *why)
{
	int err = 0;

	close_writable(t);
	for (unsigned i = 0; i < t->nlayers && !err; i++)
		err = link_layer(t, &t->layer[i], why);
	return err ? err : store_sync_layers(t->s, why);
}

/* ---- 12: parents ---- */

static int set_parents(struct taker *t, const struct object_id *id, unsigned n,
		       struct fail *why)
{
	if (disk_roots_set_parents(&t->dir.roots, id, n))
		return fail_set(why, EXIT_FAILED, -ENOMEM, t->d->name, NULL,
				"out of memory");
	return disk_roots_write(&t->dir.roots, t->d, true, why);
}

/* ---- 13: the ref ---- */

static void set_text(char *to, size_t room, const char *text)
{
	if (text)
		snprintf(to, room, "%s", text);
}

/* As far as it is known, and fits. */
static int add_config(struct ref *r, const struct vm_dir *d)
{
	json_t *doc = vm_dir_read_json(d, "config.json");
	size_t len = doc ? json_dumpb(doc, NULL, 0, JSON_COMPACT) : 0;

	if (len && len <= REF_MAX_CONFIG) {
		r->config.item = malloc(len);
		if (r->config.item)
			r->config.n = (uint32_t)json_dumpb(
			    doc, (char *)r->config.item, len, JSON_COMPACT);
	}
	json_decref(doc);
	return len && len <= REF_MAX_CONFIG && !r->config.n ? -ENOMEM : 0;
}

static int add_labels(struct ref *r, const struct taker_request *q)
{
	if (!q->nlabels)
		return 0;
	r->labels.item = calloc(q->nlabels, sizeof(*q->label));
	if (!r->labels.item)
		return -ENOMEM;
	memcpy(r->labels.item, q->label, q->nlabels * sizeof(*q->label));
	r->labels.n = q->nlabels;
	return 0;
}

static int fill_ref(struct ref *r, const struct taker *t, struct fail *why)
{
	strcpy(r->vm, t->d->name);
	strcpy(r->name, t->out.name);
	r->manifest = t->out.manifest;
	r->sequence = 1;
	r->expiry_ns = t->r->expiry_ns;
	set_text(r->created_by, sizeof(r->created_by), t->r->created_by);
	set_text(r->reason, sizeof(r->reason), t->r->reason);
	set_text(r->description, sizeof(r->description), t->r->description);
	if (add_labels(r, t->r) || add_config(r, t->d))
		return fail_set(why, EXIT_FAILED, -ENOMEM, t->d->name, NULL,
				"out of memory");
	return 0;
}

/* A name that was made up may be another's by now: then the next one. */
static int put_ref(struct taker *t, struct fail *why)
{
	struct ref r = { .keep = 0 };
	struct snapshot_name made_up;
	int err = fill_ref(&r, t, why);

	for (unsigned i = 2; !err; i++) {
		err = store_put_ref(t->s, &r, false, why);
		if (err != -EEXIST || t->r->name || i > NAME_TRIES)
			break;
		snapshot_name_make_up(&made_up, i);
		strcpy(r.name, made_up.name);
		strcpy(t->out.name, made_up.name);
		err = 0;
	}
	ref_free(&r);
	return err;
}

/* ---- */

static int put_all(struct taker *t, struct fail *why)
{
	unsigned n = t->dir.roots.nparents;
	_cleanup_free_ struct object_id *parents =
	    calloc(n + 1, sizeof(*parents));
	int err;

	if (!parents)
		return fail_set(why, EXIT_FAILED, -ENOMEM, t->d->name, NULL,
				"out of memory");
	if (n)
		memcpy(parents, t->dir.roots.parent, n * sizeof(*parents));
	parents[n] = t->out.manifest;
	err = set_parents(t, parents, n + 1, why);
	if (!err)
		err = put_ref(t, why);
	/* Whatever this says, it is trimmed by the next taker. */
	if (err)
		(void)set_parents(t, parents, n, NULL);
	return err;
}

int taker_commit(struct taker *t, struct fail *why)
{
	int err = store_lock(t->s, STORE_SHARED, why);

	if (!err)
		err = link_all(t, why);
	if (!err)
		err = taker_describe(t, why);
	if (!err)
		err = store_put_manifest(t->s, &t->m, &t->out.manifest, why);
	if (!err)
		err = put_all(t, why);
	(void)store_lock(t->s, STORE_UNLOCKED, NULL);
	return err;
}

/* The VM is as a plan would say now. */
int taker_clean(struct taker *t, struct fail *why)
{
	t->plan.parent = t->out.manifest;
	if (!t->r->disks_only)
		t->plan.memory_parent = t->out.manifest;
	for (unsigned i = 0; i < t->plan.ndisks; i++) {
		struct taker_disk *d = &t->plan.disk[i];

		d->n = 1;
		memcpy(d->chain[0].uid, t->next[i].uid, DISK_UID_TEXT);
		d->chain[0].state = TAKER_HEAD_USED;
	}
	return taker_trim(&t->dir, &t->plan, why);
}
