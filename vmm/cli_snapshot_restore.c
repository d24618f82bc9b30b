/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `snapshot restore`: a VM goes on from one of its snapshots, under its own
 * name. A VM that runs is saved and ended first, then a new process takes its
 * place; should that fail, the VM goes on as it was saved.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli_from.h"
#include "cli_progress.h"
#include "cli_snapshot.h"
#include "log.h"
#include "util.h"
#include "verbs.h"

/* How long a VM may take that was told to end. */
#define GONE_MS	     10000
#define SAFETY_TRIES 100

struct restoring {
	const struct options *o;
	struct options_table rows;
	struct ref ref; /* what is restored */
	struct vm_dir d;
	bool discard;
	bool kept; /* of a VM that has ended: nothing would be lost */
	char safety[RECORD_NAME_MAX + 1]; /* its snapshot's name; "": none */
};

/* ---- the VM as it is ---- */

static int wait_gone(const struct restoring *r, struct fail *why)
{
	const struct timespec step = { .tv_nsec = 5000000 };
	int64_t end = now_ms() + GONE_MS;

	while (vm_dir_alive(&r->d)) {
		if (now_ms() > end)
			return fail_set(
			    why, EXIT_CANCELLED, -ETIMEDOUT, r->d.name,
			    "'tintype stop --kill' ends it", "does not end");
		nanosleep(&step, NULL);
	}
	return 0;
}

/* The second one within a second has a number. */
static int take_safety(struct restoring *r, struct store **s,
		       struct taker_request *q, struct fail *why)
{
	char name[RECORD_NAME_MAX + 1];
	struct snapshot_name n;
	struct taken t;
	int err = -EEXIST;

	q->name = name;
	for (unsigned i = 1; i <= SAFETY_TRIES && err == -EEXIST; i++) {
		snapshot_name_make_up(&n, i);
		snprintf(name, sizeof(name), "before-restore-%.48s",
			 n.name + strlen("auto-"));
		err = cli_snapshot_take(s, &r->d, q, &t, why);
	}
	if (!err)
		strcpy(r->safety, t.name);
	return err;
}

static int save_it(struct restoring *r, struct store **s, struct fail *why)
{
	struct cli_progress p;
	char reason[160];
	struct taker_request q = { .end = true,
				   .created_by = "restore",
				   .reason = reason,
				   .progress = cli_progress_tell,
				   .ctx = &p };
	int err = cli_progress_begin(&p, r->o, r->d.name, why);

	snprintf(reason, sizeof(reason), "before restoring %s@%s", r->ref.vm,
		 r->ref.name);
	if (!err)
		err = take_safety(r, s, &q, why);
	cli_progress_end(&p);
	return err;
}

static int end_it(struct restoring *r, struct store **s, struct fail *why)
{
	json_t *result = NULL;
	int err;

	if (r->discard)
		err = cli_call_dir(&r->d, "kill", &result, why);
	else
		err = save_it(r, s, why);
	json_decref(result);
	return err ? err : wait_gone(r, why);
}

/* The snapshot that ended the VM, which has not run since. */
static bool read_saved(const struct restoring *r, struct object_id *id)
{
	json_t *doc =
	    r->d.fd < 0 ? NULL : vm_dir_read_json(&r->d, "saved.json");
	const char *text = json_string_value(json_object_get(doc, "manifest"));
	bool good = text && object_id_parse(id, text);

	json_decref(doc);
	return good;
}

/* Then the guest goes on as the same machine, for this once. */
static bool was_saved(const struct restoring *r)
{
	struct object_id id;

	return read_saved(r, &id) && object_id_equal(&id, &r->ref.manifest);
}

/* All that the VM's disks have is in a snapshot that is still there. */
static bool is_kept(const struct restoring *r, struct store *s)
{
	struct object_id id;
	struct ref ref;
	char text[ID_TEXT];
	int err;

	if (!read_saved(r, &id))
		return false;
	object_id_text(text, &id);
	err = snapshot_find(s, text, &ref, NULL);
	if (!err)
		ref_free(&ref);
	return !err;
}

/* ---- a new process ---- */

static int resolve(struct restoring *r, struct run_args *a, struct fail *why)
{
	const struct options *o = r->o;
	int err;

	run_args_init(a);
	a->detach = a->from.own = true;
	a->from.discard = r->discard || r->kept;
	a->from.keep_identity = was_saved(r) && !options_has(o, "new-identity");
	err = from_resolve(a, o, &r->rows, o->operand[0], why);
	a->json = options_has(o, "json");
	return err;
}

/* As it was saved, to the last bit: nobody need know that it was away. */
static void go_back(const struct restoring *r, struct fail *why)
{
	static const struct options none;
	struct fail again = { .code = EXIT_OK };
	char text[2 * RECORD_NAME_MAX + 2];
	struct run_args a;
	int err;

	snprintf(text, sizeof(text), "%s@%s", r->d.name, r->safety);
	run_args_init(&a);
	a.detach = a.from.own = a.from.keep_identity = a.from.discard = true;
	a.quiet = true;
	err = from_resolve(&a, &none, &r->rows, text, &again);
	if (!err)
		err = run_start(&a, &again);
	if (!a.is_child)
		snprintf(why->hint, sizeof(why->hint),
			 err ? "it is saved as %s"
			     : "it goes on as before, "
			       "from %s",
			 text);
	run_args_free(&a);
}

static int replace(struct restoring *r, struct run_args *a, struct fail *why)
{
	bool alive = vm_dir_alive(&r->d);
	struct store *s = NULL;
	int code;

	if (alive && end_it(r, &s, why)) {
		store_close(s);
		return (int)why->code;
	}
	store_close(s);
	/* What it had is in the other snapshot. */
	a->from.discard |= alive;
	code = run_start(a, why);
	if (a->is_child)
		return code;
	if (code && *r->safety)
		go_back(r, why);
	else if (*r->safety && !options_has(r->o, "quiet"))
		fprintf(stderr, "tintype: %s: what it was before is %s@%s\n",
			r->d.name, r->d.name, r->safety);
	return code;
}

/* All layers are there, and their metadata is what it was. */
static int check_layers(const struct restoring *r, struct store *s,
			struct fail *why)
{
	struct layer_set *set = NULL;
	struct manifest m = { .kind = 0 };
	int err = store_get_manifest(s, &r->ref.manifest, &m, why);

	if (!err)
		err = store_open_images(s, &m, &set, why);
	layer_set_destroy(set);
	manifest_free(&m);
	return err;
}

static int find(struct restoring *r, struct fail *why)
{
	const char *text = r->o->operand[0];
	struct store *s = NULL;
	_cleanup_close_ int vms = -1;
	int err = cli_store_open(&s, why);

	if (err == -ENOENT)
		err =
		    fail_set(why, EXIT_NOT_FOUND, err, text,
			     "see 'tintype snapshot list'", "no such snapshot");
	if (!err)
		err = snapshot_find(s, text, &r->ref, why);
	if (!err)
		err = check_layers(r, s, why);
	if (!err) {
		vms = home_open(true, why);
		err = MIN(vms, 0);
	}
	/* One that was removed comes back. */
	if (!err && !home_find(vms, r->ref.vm, &r->d, NULL))
		r->kept = is_kept(r, s);
	store_close(s);
	return err;
}

int cli_snapshot_restore(const struct options *o, struct fail *why)
{
	struct restoring r = {
		.o = o,
		.rows = verb_options(
		    verb_find(&tintype_verbs, "snapshot", "restore")),
		.d = VM_DIR_NONE,
		.discard = options_has(o, "discard"),
	};
	struct run_args a;
	int code;

	if (find(&r, why)) {
		code = (int)why->code;
	} else {
		/* All that can be refused is, before the VM is touched. */
		code = resolve(&r, &a, why) ? (int)why->code
					    : replace(&r, &a, why);
		run_args_free(&a);
	}
	vm_dir_close(&r.d);
	ref_free(&r.ref);
	return code;
}
