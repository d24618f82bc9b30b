/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a snapshot for the tests of `snapshot`, as a capture would leave one:
 *
 *   mksnapshot HOME VM@NAME PAGE PARENT|- [WORD...]
 *
 * Memory of a MiB over that of the parent (VM@NAME), in which page PAGE is new,
 * and a state. Prints the manifest's id. Words: disks (no memory, one disk),
 * pinned, held, immutable, DESCRIPTION=text, KEY=VALUE of a label, CONFIG=json.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "draft.h"
#include "snapshot_name.h"
#include "store.h"
#include "util.h"

static struct fail why;

static void check(int err)
{
	if (err >= 0)
		return;
	fprintf(stderr, "mksnapshot: %s: %s\n", why.object, why.message);
	exit(1);
}

struct snapshot {
	struct store *s;
	bool disks;
	struct ref ref;
	struct manifest m;
	struct manifest parent; /* if its id is not zero */
};

static void get_parent(struct snapshot *x, const char *text)
{
	struct ref r;

	if (!strcmp(text, "-"))
		return;
	check(snapshot_find(x->s, text, &r, &why));
	x->m.parent = r.manifest;
	check(store_get_manifest(x->s, &r.manifest, &x->parent, &why));
	ref_free(&r);
}

static void read_word(struct snapshot *x, char *word)
{
	static struct ref_label label;
	char *value = strchr(word, '=');

	if (!strcmp(word, "disks")) {
		x->disks = true;
	} else if (!strcmp(word, "pinned")) {
		x->ref.keep |= REF_PINNED;
	} else if (!strcmp(word, "held")) {
		x->ref.keep |= REF_HELD;
	} else if (!strcmp(word, "immutable")) {
		x->m.immutable_until_ns = UINT64_C(4000000000000000000);
	} else if (!strncmp(word, "DESCRIPTION=", 12)) {
		snprintf(x->ref.description, sizeof(x->ref.description), "%s",
			 value + 1);
	} else if (!strncmp(word, "CONFIG=", 7)) {
		x->ref.config.item = (uint8_t *)value + 1;
		x->ref.config.n = (uint32_t)strlen(value + 1);
	} else if (value) {
		*value = '\0';
		snprintf(label.key, sizeof(label.key), "%s", word);
		snprintf(label.value, sizeof(label.value), "%s", value + 1);
		x->ref.labels.item = &label;
		x->ref.labels.n = 1;
	}
}

static void fill(struct snapshot *x, int fd, uint64_t page,
		 struct object_id *id)
{
	struct draft_options o = { .fd = fd, .name = "new", .bytes = MIB(1) };
	struct layer_set *set = NULL;
	uint8_t data[PAGE_BYTES];
	struct image base;
	struct draft *d;

	if (x->parent.images.n) {
		check(store_open_images(x->s, &x->parent, &set, &why));
		check(image_open(
		    &base, layer_set_find(set, &x->parent.images.item[0].layer),
		    0, &why));
		o.base = &base;
	}
	check(random_bytes(data, sizeof(data)));
	check(draft_create(&d, &o, &why));
	check(draft_put(d, page, data, &why));
	if (!x->disks)
		check(draft_put_second(d, "state of a test", 15, &why));
	check(draft_seal(d, id, &why));
	draft_destroy(d);
	layer_set_destroy(set);
}

static void put_layer(struct snapshot *x, uint64_t page, struct object_id *id)
{
	int rw, ro;

	check(store_new_layer(x->s, MIB(1), &rw, &ro, &why));
	fill(x, rw, page, id);
	close(rw);
	check(store_link_layer(x->s, ro, -1, NULL, id, &why));
	check(store_sync_layers(x->s, &why));
	close(ro);
}

static void put(struct snapshot *x, const struct object_id *layer)
{
	struct manifest_image images[2] = {
		{ .kind = x->disks ? IMAGE_DISK : IMAGE_MEMORY,
		  .id = "main",
		  .bytes = MIB(1),
		  .layer = *layer },
		{ .kind = IMAGE_STATE,
		  .id = "state",
		  .bytes = 512,
		  .root = 1,
		  .layer = *layer },
	};
	struct manifest_figure figure = { "pause_ns", 1500000 };
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	x->m.taken_ns =
	    (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	strcpy(x->m.engine, "mksnapshot");
	x->m.vm_uid[0] = 1;
	x->m.kind = x->disks ? 0 : MANIFEST_MEMORY;
	x->m.consistency = CONSISTENT_CRASH;
	x->m.owner_uid = getuid();
	x->m.images.item = images;
	x->m.images.n = x->disks ? 1 : 2;
	x->m.figures.item = &figure;
	x->m.figures.n = 1;
	check(store_put_manifest(x->s, &x->m, &x->ref.manifest, &why));
	x->ref.sequence = 1;
	check(store_put_ref(x->s, &x->ref, false, &why));
}

int main(int argc, char **argv)
{
	static struct snapshot x;
	struct snapshot_name name;
	char text[ID_TEXT];
	struct object_id layer;
	int home;

	if (argc < 5)
		return 2;
	check(hash_init());
	check(home = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	check(store_open(&x.s, home, true, &why));
	check(store_lock(x.s, STORE_SHARED, &why));
	check(snapshot_name_parse(&name, argv[2], &why));
	if (!*name.name)
		snapshot_name_make_up(&name, 1);
	strcpy(x.ref.vm, name.vm);
	strcpy(x.ref.name, name.name);
	get_parent(&x, argv[4]);
	for (int i = 5; i < argc; i++)
		read_word(&x, argv[i]);
	put_layer(&x, strtoull(argv[3], NULL, 10), &layer);
	put(&x, &layer);
	object_id_text(text, &x.ref.manifest);
	puts(text);
	manifest_free(&x.parent);
	store_close(x.s);
	return 0;
}
