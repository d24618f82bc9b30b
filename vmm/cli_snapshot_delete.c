/* SPDX-License-Identifier: Apache-2.0 */
/* `snapshot delete`: refs go, then what nothing needs any more. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli_act.h"
#include "cli_snapshot.h"
#include "log.h"
#include "snapshot_keep.h"
#include "util.h"

struct deleting {
	struct acting a;
	struct store *s; /* NULL: there is none */
	unsigned n;
	struct store_collected collected;
};

static int delete_one(struct deleting *d, const struct ref *r, struct fail *why)
{
	char name[REF_NAME_TEXT];
	int err = store_delete_ref(d->s, r->vm, r->name, why);

	if (err)
		return err;
	d->n++;
	snprintf(name, sizeof(name), "%s@%s", r->vm, r->name);
	act_tell(&d->a, name);
	return 0;
}

static size_t find_ref(const struct snapshots *all, const struct ref *r)
{
	for (size_t i = 0; i < all->n; i++)
		if (!strcmp(all->item[i]->name.name, r->name))
			return i;
	return all->n;
}

/* What lies below it. Children before their parent: what is refused half-way
 * leaves a tree. */
static int delete_below(struct deleting *d, const struct snapshots *all,
			const struct ref *r, struct fail *why)
{
	_cleanup_free_ struct snapshot **order = NULL;
	size_t from = find_ref(all, r), n;
	int err;

	if (from == all->n) /* gone since it was found */
		return 0;
	err = cli_snapshots_tree(all, from, &order, &n, why);
	for (size_t i = n; i-- > 1 && !err;)
		err = delete_one(d, &order[i]->ref, why);
	return err;
}

static int delete_children(struct deleting *d, const struct ref *r,
			   struct fail *why)
{
	struct snapshots all;
	int err = cli_snapshots_read(&all, d->s, r->vm, why);

	if (!err)
		err = delete_below(d, &all, r, why);
	cli_snapshots_free(&all);
	return err;
}

static int delete_named(struct acting *a, const char *text, struct fail *why)
{
	struct deleting *d = container_of(a, struct deleting, a);
	struct ref r;
	int err;

	if (!d->s)
		return fail_set(why, EXIT_NOT_FOUND, -ENOENT, text,
				"see 'tintype snapshot list'",
				"no such snapshot");
	err = snapshot_find(d->s, text, &r, why);
	if (err)
		return err;
	if (options_has(a->o, "children"))
		err = delete_children(d, &r, why);
	if (!err)
		err = delete_one(d, &r, why);
	ref_free(&r);
	return err ? err : 1;
}

/* ---- garbage ---- */

static int collect_locked(struct deleting *d, struct fail *why)
{
	_cleanup_close_ int vms = home_open(false, why);
	struct snapshot_keep keep;
	int err;

	if (vms < 0 && vms != -ENOENT)
		return vms;
	err = snapshot_keep_read(&keep, vms, why);
	if (!err)
		err = store_collect(d->s, keep.id, keep.n, &d->collected, why);
	free(keep.id);
	return err;
}

/* The snapshot is deleted whether this is possible now or not. */
static void collect(struct deleting *d)
{
	struct fail why = { .code = EXIT_OK };
	int err = store_lock(d->s, STORE_EXCLUSIVE, &why);

	if (!err)
		err = collect_locked(d, &why);
	if (err)
		log_warn("store",
			 "space is given back by a later deletion only: "
			 "%s: %s",
			 why.object, why.message);
}

/* --json: names alone do not say what became of the space. */
static void wrap(struct deleting *d)
{
	const struct store_collected *n = &d->collected;

	if (d->a.done)
		d->a.done = json_pack(
		    "{s:o, s:{s:i, s:i, s:o}}", "deleted", d->a.done,
		    "collected", "manifests", (int)n->manifests, "layers",
		    (int)n->layers, "bytes", cli_number_json(n->bytes));
}

int cli_snapshot_delete(const struct options *o, struct fail *why)
{
	struct deleting d = { .a = { .o = o, .act = delete_named } };
	struct fail first = { .code = EXIT_OK };
	int err = cli_store_open(&d.s, why), code;

	if (err && err != -ENOENT)
		return (int)why->code;
	if (options_has(o, "json"))
		d.a.done = json_array();
	for (unsigned i = 0; i < o->noperands; i++)
		act_on(&d.a, o->operand[i], &first);
	if (d.n)
		collect(&d);
	wrap(&d);
	code = act_finish(&d.a, &first, why);
	store_close(d.s);
	return code;
}
