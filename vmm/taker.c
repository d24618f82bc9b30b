/* SPDX-License-Identifier: Apache-2.0 */
/* One capture, edge by edge. */
#include "taker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "snapshot_name.h"
#include "taker_impl.h"
#include "util.h"

/* ---- before it begins ---- */

static int name_taken(const struct taker *t, struct fail *why)
{
	char object[2 * RECORD_NAME_MAX + 2];

	snprintf(object, sizeof(object), "%s@%s", t->d->name, t->out.name);
	return fail_set(why, EXIT_CONFLICT, -EEXIST, object,
			"give another name, or delete that one first",
			"there is such a snapshot already");
}

static bool is_taken(struct taker *t)
{
	struct ref r = { .keep = 0 };
	int err = store_get_ref(t->s, t->d->name, t->out.name, &r, NULL);

	if (!err)
		ref_free(&r);
	/* A damaged one has the name too. */
	return err != -ENOENT;
}

static int choose_name(struct taker *t, struct fail *why)
{
	struct snapshot_name made_up;
	unsigned n = 1;

	if (t->r->name) {
		snprintf(t->out.name, sizeof(t->out.name), "%s", t->r->name);
		return is_taken(t) ? name_taken(t, why) : 0;
	}
	do {
		snapshot_name_make_up(&made_up, n);
		strcpy(t->out.name, made_up.name);
	} while (is_taken(t) && ++n <= 100);
	return n > 100 ? name_taken(t, why) : 0;
}

static int plan(struct taker *t, struct fail *why)
{
	int err = taker_plan_get(&t->plan, t->conn, why);

	if (err == -EPIPE)
		return fail_set(why, EXIT_WRONG_STATE, err, t->d->name,
				"see 'tintype ps --all'", "ended meanwhile");
	if (!err && t->r->disks_only && !t->plan.ndisks)
		return fail_set(why, EXIT_WRONG_STATE, -ENODEV, t->d->name,
				"leave out --disk-only",
				"has no disk that changes");
	return err ? err : taker_trim(&t->dir, &t->plan, why);
}

/* ---- */

/* `restore` finds by it that the guest has not run since: it goes on as the
 * same machine, once. Without it, it gets a new identity, which is no harm. */
static void note_saved(const struct taker *t)
{
	char id[ID_TEXT];
	json_t *doc;

	object_id_text(id, &t->out.manifest);
	doc = json_pack("{s:s}", "manifest", id);
	if (!doc || vm_dir_write_json(t->d, "saved.json", doc))
		log_warn(t->d->name, "write saved.json: it gets a new identity "
				     "when it goes on");
	json_decref(doc);
}

static int still_runs(const struct taker *t, const struct fail *said,
		      struct fail *why)
{
	return fail_set(why, said->code, -EBUSY, t->d->name,
			"it runs on: end it by 'tintype stop'",
			"is saved as %s, but did not end: %s", t->out.name,
			said->message);
}

/* The snapshot is there, whatever comes now. A VM that does not take it for its
 * parent goes on with its old one, and all files stay that it uses. */
static int finish(struct taker *t, struct fail *why)
{
	struct fail said = { .code = EXIT_OK };
	int err;

	if (t->r->end)
		note_saved(t);
	err = t->gone ? -EPIPE : taker_tell_commit(t, &said);
	if (err && !t->gone) {
		if (t->r->end)
			return still_runs(t, &said, why);
		log_warn(t->d->name,
			 "did not take the snapshot as its parent: "
			 "%s",
			 said.message);
		return 0;
	}
	if (taker_clean(t, &said))
		log_warn(t->d->name, "%s: the next snapshot cleans up",
			 said.message);
	return 0;
}

/* With SEALED told the VM is not needed any more. */
static int capture(struct taker *t, struct fail *why)
{
	int err = choose_name(t, why);

	if (!err)
		err = plan(t, why);
	if (!err)
		err = taker_prepare(t, why);
	if (!err)
		err = taker_begin(t, why);
	if (!err)
		err = taker_wait(t, why);
	if (!err)
		err = taker_commit(t, why);
	if (!err)
		return finish(t, why);
	taker_abort(t);
	taker_drop_heads(t);
	return err;
}

static void close_all(struct taker *t)
{
	for (unsigned i = 0; i < t->nlayers; i++)
		cleanup_close(&t->layer[i].fd);
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		cleanup_close(&t->next[i].fd);
	free(t->layer);
	cleanup_close(&t->layer_rw);
	cleanup_close(&t->conn);
	taker_plan_free(&t->plan);
	manifest_free(&t->m);
	disk_dir_unlock(&t->dir);
}

int taker_take(struct store *s, const struct vm_dir *d,
	       const struct taker_request *r, struct taken *out,
	       struct fail *why)
{
	struct taker t = { .s = s,
			   .d = d,
			   .r = r,
			   .dir = DISK_DIR_NONE,
			   .conn = -1,
			   .layer_rw = -1 };
	int err;

	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		t.next[i].fd = -1;
	t.conn = taker_connect(d, why);
	err = t.conn < 0 ? t.conn : disk_dir_lock(&t.dir, d, true, why);
	if (!err)
		err = capture(&t, why);
	*out = t.out;
	close_all(&t);
	return err;
}
