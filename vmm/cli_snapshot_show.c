/* SPDX-License-Identifier: Apache-2.0 */
/* `snapshot show`: all that is known of one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_snapshot.h"
#include "util.h"

static int not_there(const char *name, struct fail *why)
{
	return fail_set(why, EXIT_NOT_FOUND, -ENOENT, name,
			"see 'tintype snapshot list'", "no such snapshot");
}

static const char *kind_name(uint32_t kind)
{
	static const char *const names[] = {
		[IMAGE_MEMORY] = "memory",
		[IMAGE_DISK] = "disk",
		[IMAGE_STATE] = "state",
	};

	return names[kind]; /* the manifest's reader has judged it */
}

static json_t *images_json(const struct manifest *m)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < m->images.n; i++) {
		const struct manifest_image *im = &m->images.item[i];
		json_t *one = json_pack(
		    "{s:s, s:s, s:o, s:o, s:i}", "kind", kind_name(im->kind),
		    "id", im->id, "bytes", cli_number_json(im->bytes), "layer",
		    cli_id_json(&im->layer), "root", (int)im->root);

		if (im->base == BASE_RAW_FILE)
			json_object_set_new(one, "base_bytes",
					    cli_number_json(im->base_bytes));
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *figures_json(const struct manifest *m)
{
	json_t *doc = json_object();

	for (uint32_t i = 0; i < m->figures.n; i++)
		json_object_set_new(doc, m->figures.item[i].name,
				    cli_number_json(m->figures.item[i].value));
	return doc;
}

/* Of all layers that it may need, others' too. */
static int add_layers(json_t *doc, struct store *s, const struct manifest *m,
		      struct fail *why)
{
	struct layer_set *set;
	uint64_t bytes = 0;
	int err = store_open_images(s, m, &set, why);

	if (err)
		return err;
	for (unsigned i = 0; i < layer_set_count(set); i++) {
		struct stat st;

		if (!fstat(layer_fd(layer_set_at(set, i)), &st))
			bytes += (uint64_t)st.st_blocks * 512;
	}
	json_object_set_new(doc, "layers",
			    cli_number_json(layer_set_count(set)));
	json_object_set_new(doc, "layers_bytes", cli_number_json(bytes));
	layer_set_destroy(set);
	return 0;
}

static void add_text(json_t *doc, const char *key, const char *text)
{
	json_object_set_new(doc, key, cli_json_text(text));
}

static json_t *show_json(const struct snapshot *x)
{
	const struct manifest *m = &x->manifest;
	json_t *doc = cli_snapshot_json(x);

	add_text(doc, "engine", m->engine);
	add_text(doc, "created_by", x->ref.created_by);
	add_text(doc, "reason", x->ref.reason);
	json_object_set_new(doc, "owner", cli_number_json(m->owner_uid));
	json_object_set_new(doc, "sequence", cli_number_json(x->ref.sequence));
	json_object_set_new(doc, "images", images_json(m));
	json_object_set_new(doc, "figures", figures_json(m));
	return doc;
}

/* Anybody's JSON: for programs, which know how to take it. */
static void add_config(json_t *doc, const struct ref *r)
{
	json_t *config =
	    json_loadb((const char *)r->config.item, r->config.n, 0, NULL);

	if (config)
		json_object_set_new(doc, "config", config);
}

static int print(const struct options *o, const struct snapshot *x, json_t *doc,
		 struct fail *why)
{
	if (options_has(o, "json")) {
		add_config(doc, &x->ref);
		return cli_print_json(doc, why);
	}
	cli_print_tree(doc);
	json_decref(doc);
	return cli_flush(EXIT_OK, why);
}

static int show(const struct options *o, struct store *s, struct snapshot *x,
		struct fail *why)
{
	struct fail damage = { .code = EXIT_OK };
	json_t *doc = show_json(x);
	int code;

	/* What is known is shown; that a layer is gone is told behind it. */
	(void)add_layers(doc, s, &x->manifest, &damage);
	code = print(o, x, doc, why);
	if (code || !damage.message[0])
		return code;
	*why = damage;
	return (int)why->code;
}

int cli_snapshot_show(const struct options *o, struct fail *why)
{
	struct snapshot x = { .whole = false };
	struct store *s = NULL;
	int err = cli_store_open(&s, why), code;

	if (err == -ENOENT)
		err = not_there(o->operand[0], why);
	if (!err)
		err = snapshot_find(s, o->operand[0], &x.ref, why);
	if (!err)
		err = cli_snapshot_load(&x, s, why);
	code = err ? (int)why->code : show(o, s, &x, why);
	cli_snapshot_free(&x);
	store_close(s);
	return code;
}
