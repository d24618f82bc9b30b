/* SPDX-License-Identifier: Apache-2.0 */
/* What the taker and the VM say to each other from edge 1 on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "taker_impl.h"
#include "util.h"

/* So soon a wish to stop is heard. */
#define WAIT_MS 200

/* The guest stands still while its memory is copied; how long it may be drained
 * and saved for is the VM's to say. */
#define MAX_PAUSE_US 10000

/* One more word about a VM that is gone. */
static int call(struct taker *t, const char *verb, json_t *args,
		json_t **result, struct fail *why)
{
	int err = control_call(t->conn, verb, args, result, TAKER_CALL_MS, why);

	json_decref(args);
	if (err == -EPIPE) {
		t->gone = true;
		fail_set(why, EXIT_WRONG_STATE, err, t->d->name,
			 "see 'tintype ps --all'", "ended meanwhile");
	}
	return err;
}

/* ---- begin ---- */

static json_t *begin_args(const struct taker *t, unsigned nfds)
{
	json_t *disks = json_array();

	for (unsigned i = 0; i < t->plan.ndisks; i++)
		json_array_append_new(
		    disks, json_pack("{s:s, s:s}", "id", t->plan.disk[i].id,
				     "next_uid", t->next[i].uid));
	return json_pack("{s:i, s:s, s:i, s:i, s:i, s:o, s:i}", "v", 1, "mode",
			 t->r->disks_only ? "disks" : "stop", "max_pause_us",
			 MAX_PAUSE_US, "bandwidth_bytes", 0, "flags", 0,
			 "disks", disks, "fds", (int)nfds);
}

/* In the order that the protocol has. */
static unsigned list_fds(const struct taker *t, int *fds)
{
	unsigned n = 0, at = 0;

	if (t->layer_rw >= 0) {
		fds[n++] = t->layer_rw;
		fds[n++] = t->layer[at++].fd;
	}
	for (unsigned i = 0; i < t->plan.ndisks; i++) {
		fds[n++] = t->next[i].fd;
		for (unsigned k = 0; k < t->plan.disk[i].n; k++, at++)
			if (t->plan.disk[i].chain[k].state != TAKER_HEAD_SEALED)
				fds[n++] = t->layer[at].fd;
	}
	return n;
}

int taker_begin(struct taker *t, struct fail *why)
{
	_cleanup_free_ int *fds =
	    calloc(t->nlayers + CONFIG_MAX_DISKS + 2, sizeof(*fds));
	unsigned n = fds ? list_fds(t, fds) : 0;
	json_t *args = fds ? begin_args(t, n) : NULL;
	int err;

	if (!args)
		return fail_set(why, EXIT_FAILED, -ENOMEM, t->d->name, NULL,
				"out of memory");
	/* A VM that says no changes nothing; one that says nothing may have. */
	err = control_call_fds(t->conn, "capture-begin", args, fds, n, NULL,
			       TAKER_CALL_MS, why);
	json_decref(args);
	t->begun = err != -EREMOTEIO;
	t->gone = err == -EPIPE;
	return err;
}

/* ---- wait ---- */

/* A disk may be called "memory": its heads are known by their uid, and looked
 * for first. */
static struct taker_layer *find_layer(struct taker *t, const char *of,
				      const char *uid)
{
	for (unsigned i = t->nlayers; i-- > 0;) {
		struct taker_layer *l = &t->layer[i];
		const char *id =
		    l->disk < 0 ? "memory" : t->plan.disk[l->disk].id;

		if (object_id_is_zero(&l->id) && !strcmp(id, of) &&
		    (l->disk < 0 || !strcmp(l->uid, uid)))
			return l;
	}
	return NULL;
}

/* Each layer that was asked for, and no other. */
static bool read_layers(struct taker *t, const json_t *all)
{
	const json_t *o;
	size_t i;

	json_array_foreach(all, i, o)
	{
		const char *of = json_string_value(json_object_get(o, "of"));
		const char *uid = json_string_value(json_object_get(o, "uid"));
		const char *id = json_string_value(json_object_get(o, "id"));
		struct taker_layer *l =
		    of && id ? find_layer(t, of, uid ? uid : "") : NULL;

		if (!l || !object_id_parse(&l->id, id))
			return false;
	}
	for (unsigned n = 0; n < t->nlayers; n++)
		if (object_id_is_zero(&t->layer[n].id))
			return false;
	return true;
}

static int read_sealed(struct taker *t, json_t *result, struct fail *why)
{
	json_t *counts = json_object_get(result, "counts"), *value;
	uint64_t held;
	const char *name;
	int err;

	if (!read_layers(t, json_object_get(result, "layers")) ||
	    !taker_get_number(result, "pause_ns", INT64_MAX, &t->out.pause_ns))
		return taker_misunderstood("capture-wait", why);
	err = taker_add_figure(&t->m, "pause_ns", t->out.pause_ns);
	if (!err && taker_get_number(result, "held_ns", INT64_MAX, &held) &&
	    held)
		err = taker_add_figure(&t->m, "held_ns", held);
	json_object_foreach(counts, name, value)
	{
		if (!err && json_is_integer(value) &&
		    json_integer_value(value) >= 0)
			err = taker_add_figure(
			    &t->m, name, (uint64_t)json_integer_value(value));
	}
	return err ? fail_set(why, EXIT_FAILED, err, t->d->name, NULL,
			      "out of memory")
		   : 0;
}

static int tell_progress(struct taker *t, const json_t *result,
			 struct fail *why)
{
	uint64_t done, todo;

	taker_get_number(result, "copied_pages", INT64_MAX, &done);
	taker_get_number(result, "todo_pages", INT64_MAX - done, &todo);
	if (!t->r->progress || !t->r->progress(t->r->ctx, done * PAGE_BYTES,
					       (done + todo) * PAGE_BYTES))
		return 0;
	return fail_set(why, EXIT_CANCELLED, -ECANCELED, t->d->name, NULL,
			"cancelled");
}

int taker_wait(struct taker *t, struct fail *why)
{
	char state[32] = "";
	int err = 0;

	while (!err && strcmp(state, "sealed")) {
		json_t *result = NULL;
		const char *now;

		err =
		    call(t, "capture-wait",
			 json_pack("{s:s, s:i}", "state", state, "ms", WAIT_MS),
			 &result, why);
		now = json_string_value(json_object_get(result, "state"));
		if (!err && (!now || !strcmp(now, "idle")))
			err = taker_misunderstood("capture-wait", why);
		if (!err)
			snprintf(state, sizeof(state), "%s", now);
		if (!err && !strcmp(state, "sealed"))
			err = read_sealed(t, result, why);
		/* What is sealed may still be given up. */
		if (!err)
			err = tell_progress(t, result, why);
		json_decref(result);
	}
	return err;
}

/* ---- the end ---- */

void taker_abort(struct taker *t)
{
	if (t->begun && !t->gone)
		(void)call(t, "capture-abort", NULL, NULL, NULL);
}

int taker_tell_commit(struct taker *t, struct fail *why)
{
	char id[ID_TEXT];
	int err;

	object_id_text(id, &t->out.manifest);
	err = call(t, "capture-commit",
		   json_pack("{s:s, s:b}", "manifest", id, "end", t->r->end),
		   NULL, why);
	if (!err && t->r->end)
		(void)control_wait_end(t->conn, TAKER_CALL_MS);
	return err;
}
