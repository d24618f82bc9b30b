/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots read from the store, and as JSON: for all verbs of `snapshot`. */
#include "cli_snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fileio.h"
#include "util.h"

int cli_store_open(struct store **s, struct fail *why)
{
	_cleanup_close_ int home = -1;

	if (hash_init())
		return fail_set(why, EXIT_FAILED, -EIO, "hash", NULL,
				"cannot be initialised");
	cli_raise_file_limit();
	home = home_open_top(false, why);
	return home < 0 ? home : store_open(s, home, false, why);
}

/* ---- reading ---- */

static uint64_t layer_bytes(struct store *s, const struct object_id *id)
{
	_cleanup_close_ int fd = store_find_layer(s, id);
	struct stat st;

	return fd < 0 || fstat(fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

/* Memory and state lie in one layer, which counts once. */
static uint64_t own_bytes(struct store *s, const struct manifest *m)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < m->images.n; i++) {
		const struct object_id *id = &m->images.item[i].layer;
		uint32_t before = 0;

		while (!object_id_equal(&m->images.item[before].layer, id))
			before++;
		if (before == i)
			bytes += layer_bytes(s, id);
	}
	return bytes;
}

int cli_snapshot_load(struct snapshot *x, struct store *s, struct fail *why)
{
	int err = store_get_manifest(s, &x->ref.manifest, &x->manifest, why);

	strcpy(x->name.vm, x->ref.vm);
	strcpy(x->name.name, x->ref.name);
	x->whole = !err;
	if (!err)
		x->bytes = own_bytes(s, &x->manifest);
	return err;
}

void cli_snapshot_free(struct snapshot *x)
{
	ref_free(&x->ref);
	manifest_free(&x->manifest);
}

static struct snapshot *add(struct snapshots *all)
{
	struct snapshot *x = NULL;

	if (!array_reserve(&all->item, &all->room, all->n + 1,
			   sizeof(struct snapshot *)))
		x = calloc(1, sizeof(*x));
	if (x)
		all->item[all->n++] = x;
	return x;
}

struct name_of {
	struct snapshots *all;
	struct store *s;
};

/* The ref is the store's, and read once more: only that is ours to keep. */
static int add_ref(void *ctx, const char *vm, const char *name,
		   const struct ref *r, const struct fail *why)
{
	struct name_of *of = ctx;
	struct snapshot *x = add(of->all);
	int err;

	if (!x)
		return -ENOMEM;
	snprintf(x->name.vm, sizeof(x->name.vm), "%s", vm);
	snprintf(x->name.name, sizeof(x->name.name), "%s", name);
	if (!r) {
		x->why = *why;
		return 0;
	}
	err = store_get_ref(of->s, vm, name, &x->ref, &x->why);
	if (!err)
		(void)cli_snapshot_load(x, of->s, &x->why);
	/* Deleted since: it is not there. */
	if (err == -ENOENT)
		free(of->all->item[--of->all->n]);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct snapshot *x = *(struct snapshot *const *)a,
			      *y = *(struct snapshot *const *)b;
	int order = strcmp(x->name.vm, y->name.vm);
	uint64_t t = x->manifest.taken_ns, u = y->manifest.taken_ns;

	if (!order)
		order = t < u ? -1 : t > u;
	return order ? order : strcmp(x->name.name, y->name.name);
}

static void find_parents(struct snapshots *all)
{
	for (size_t i = 0; i < all->n; i++) {
		struct snapshot *x = all->item[i];

		if (object_id_is_zero(&x->manifest.parent))
			continue;
		for (size_t j = 0; j < all->n && !x->nparent; j++)
			if (object_id_equal(&all->item[j]->ref.manifest,
					    &x->manifest.parent))
				x->nparent = (unsigned)j + 1;
	}
}

int cli_snapshots_read(struct snapshots *all, struct store *s, const char *vm,
		       struct fail *why)
{
	struct name_of of = { all, s };
	int err;

	*all = (struct snapshots){ .item = NULL };
	err = store_each_ref(s, vm, add_ref, &of, why);
	if (err == -ENOMEM)
		return file_failed("snapshots", err, "list", why);
	if (err)
		return err;
	if (all->n)
		qsort(all->item, all->n, sizeof(struct snapshot *), compare);
	find_parents(all);
	return 0;
}

/* Without recursion: a chain may be as long as anybody likes. Children are
 * pushed last first, so that they come in their order. */
static size_t walk_tree(const struct snapshots *all, size_t from,
			struct snapshot **order, size_t *stack)
{
	size_t n = 0, top = 0;

	if (from < all->n)
		stack[top++] = from;
	for (size_t i = all->n; from == all->n && i-- > 0;)
		if (!all->item[i]->nparent)
			stack[top++] = i;
	while (top) {
		size_t at = stack[--top];

		order[n++] = all->item[at];
		for (size_t i = all->n; i-- > 0;) {
			if (all->item[i]->nparent != at + 1)
				continue;
			all->item[i]->depth = all->item[at]->depth + 1;
			stack[top++] = i;
		}
	}
	return n;
}

int cli_snapshots_tree(const struct snapshots *all, size_t from,
		       struct snapshot ***order, size_t *n, struct fail *why)
{
	_cleanup_free_ size_t *stack = calloc(all->n + 1, sizeof(*stack));

	*n = 0;
	*order = calloc(all->n + 1, sizeof(**order));
	if (!stack || !*order)
		return file_failed("snapshots", -ENOMEM, "list", why);
	*n = walk_tree(all, from, *order, stack);
	return 0;
}

void cli_snapshots_free(struct snapshots *all)
{
	for (size_t i = 0; i < all->n; i++) {
		cli_snapshot_free(all->item[i]);
		free(all->item[i]);
	}
	free(all->item);
	*all = (struct snapshots){ .item = NULL };
}

/* ---- JSON ---- */

json_t *cli_number_json(uint64_t n)
{
	return json_integer((json_int_t)MIN(n, (uint64_t)INT64_MAX));
}

void cli_time_text(char text[CLI_TIME_TEXT], uint64_t ns)
{
	time_t t = (time_t)(ns / 1000000000);
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, CLI_TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

json_t *cli_time_json(uint64_t ns)
{
	char text[CLI_TIME_TEXT];

	if (!ns)
		return json_null();
	cli_time_text(text, ns);
	return json_string(text);
}

json_t *cli_id_json(const struct object_id *id)
{
	char text[ID_TEXT];

	if (object_id_is_zero(id))
		return json_null();
	object_id_text(text, id);
	return json_string(text);
}

static json_t *labels_json(const struct ref *r)
{
	json_t *doc = json_object();

	for (uint32_t i = 0; i < r->labels.n; i++)
		json_object_set_new(doc, r->labels.item[i].key,
				    json_string(r->labels.item[i].value));
	return doc;
}

static const char *consistency_name(uint32_t c)
{
	static const char *const names[] = {
		[CONSISTENT_CRASH] = "crash",
		[CONSISTENT_FILES] = "files",
		[CONSISTENT_APPS] = "applications",
	};

	return names[c]; /* the manifest's reader has judged it */
}

void cli_snapshot_name(char text[REF_NAME_TEXT], const struct snapshot *x)
{
	if (*x->name.vm)
		snprintf(text, REF_NAME_TEXT, "%s@%s", x->name.vm,
			 x->name.name);
	else
		snprintf(text, REF_NAME_TEXT, "%s", x->why.object);
	cli_clean(text);
}

json_t *cli_snapshot_json(const struct snapshot *x)
{
	const struct manifest *m = &x->manifest;
	const struct ref *r = &x->ref;
	char name[REF_NAME_TEXT];

	cli_snapshot_name(name, x);
	if (!x->whole)
		return json_pack(
		    "{s:s, s:b, s:s, s:s}", "name", name, "damaged", 1, "code",
		    fail_code_name(x->why.code), "message", x->why.message);
	return json_pack(
	    "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:b, s:s, s:o, s:b, "
	    "s:b, s:o, s:o, s:o, s:s, s:o}",
	    "name", name, "vm", r->vm, "snapshot", r->name, "id",
	    cli_id_json(&r->manifest), "parent", cli_id_json(&m->parent),
	    "taken", cli_time_json(m->taken_ns), "taken_ns",
	    cli_number_json(m->taken_ns), "memory", m->kind & MANIFEST_MEMORY,
	    "live", m->kind & MANIFEST_LIVE, "consistency",
	    consistency_name(m->consistency), "stored_bytes",
	    cli_number_json(x->bytes), "pinned", r->keep & REF_PINNED, "held",
	    r->keep & REF_HELD, "held_until", cli_time_json(r->hold_until_ns),
	    "immutable_until", cli_time_json(m->immutable_until_ns), "expiry",
	    cli_time_json(r->expiry_ns), "description", r->description,
	    "labels", labels_json(r));
}
