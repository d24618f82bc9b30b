/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's life, ended at each of its calls: by a kill, or by a power cut
 * that loses any of what was not synced. What was told to be done is there,
 * what is there is whole, and a collection leaves just that.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dirwrap.h"
#include "namecut.h"
#include "storetest.h"

/* What may be found of a snapshot: between these two. */
struct expectation {
	const char *name;
	bool may_be, may_not_be;
	uint64_t least, most; /* sequence */
	struct object_id manifest;
	uint64_t tags; /* bit n: page n is filled by tag n */
};

static struct expectation life[] = {
	{ .name = "a", .may_not_be = true },
	{ .name = "b", .may_not_be = true },
	{ .name = "c", .may_not_be = true },
};

static struct object_id kept; /* as a running VM's parent */
static bool keeps, has_store;
static uint64_t state, states, moments;

/* ---- the judge ---- */

static void expect_whole(struct store *s, const struct object_id *id,
			 const struct expectation *x)
{
	struct manifest m = { 0 };
	struct layer_set *set;

	cr_assert_eq(store_get_manifest(s, id, &m, &why), 0, "%s: %s",
		     why.object, why.message);
	cr_assert_eq(store_open_images(s, &m, &set, &why), 0, "%s: %s",
		     why.object, why.message);
	for (uint64_t tag = 1; x->tags >> tag; tag++)
		if (x->tags >> tag & 1)
			expect_page(set, &m.images.item[0].layer, tag, tag);
	layer_set_destroy(set);
	manifest_free(&m);
}

static void judge_one(struct store *s, const struct expectation *x)
{
	struct ref r;
	int err = store_get_ref(s, "web", x->name, &r, &why);

	if (err == -ENOENT) {
		cr_assert(x->may_not_be, "%s is not there", x->name);
		return;
	}
	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	cr_assert(x->may_be, "%s is there", x->name);
	cr_assert(r.sequence >= x->least && r.sequence <= x->most,
		  "%s: sequence %lu", x->name, r.sequence);
	expect_whole(s, &r.manifest, x);
	ref_free(&r);
}

static void judge_all(struct store *s)
{
	for (unsigned i = 0; i < ARRAY_SIZE(life); i++)
		judge_one(s, &life[i]);
	if (keeps)
		expect_whole(s, &kept, &life[1]);
}

static struct store_collected collect(struct store *s)
{
	struct store_collected n;

	cr_assert_eq(store_lock(s, STORE_EXCLUSIVE, &why), 0);
	cr_assert_eq(store_collect(s, &kept, keeps, &n, &why), 0, "%s: %s",
		     why.object, why.message);
	return n;
}

static void judge_collected(struct store *s)
{
	struct store_collected n;

	collect(s);
	judge_all(s);
	n = collect(s);
	cr_assert(!n.manifests && !n.layers && !n.bytes);
}

static void judge(int home)
{
	struct store *s;
	int err = store_open(&s, home, false, &why);

	states++;
	if (err == -ENOENT) {
		cr_assert(!has_store);
		/* Whoever comes next makes it. */
		err = store_open(&s, home, true, &why);
	}
	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	judge_all(s);
	judge_collected(s);
	store_close(s);
}

static int before(const struct dir_call *c)
{
	switch (c->kind) {
	case DIR_MKDIR:
	case DIR_LINK:
	case DIR_RENAME:
	case DIR_UNLINK:
	case DIR_SYNC:
		namecut_each(&state, judge);
		moments++;
		return 0;
	case DIR_OPEN:
	case DIR_DATA_SYNC:
	case DIR_WRITE:
	case DIR_RESERVE:
	case DIR_FCNTL:
	case DIR_MEMORY:
	case DIR_KINDS:
		return 0;
	}
	return 0;
}

/* ---- the life ---- */

static struct store *s;

static struct object_id take(unsigned i, uint64_t tag,
			     const struct object_id *base)
{
	struct expectation *x = &life[i];
	struct object_id layer;

	cr_assert_eq(store_lock(s, STORE_SHARED, &why), 0);
	x->may_be = true;
	x->least = x->most = 1;
	x->tags |= UINT64_C(1) << tag;
	layer = put_layer(s, tag, base);
	x->manifest = put_snapshot_of(s, "web", x->name, &layer, NULL);
	x->may_not_be = false;
	return layer;
}

static void replace(unsigned i)
{
	struct expectation *x = &life[i];
	struct ref r = { .vm = "web",
			 .manifest = x->manifest,
			 .sequence = x->most + 1 };

	snprintf(r.name, sizeof(r.name), "%s", x->name);
	x->most++;
	cr_assert_eq(store_put_ref(s, &r, true, &why), 0, "%s", why.message);
	x->least++;
}

static void drop(unsigned i)
{
	life[i].may_not_be = true;
	cr_assert_eq(store_delete_ref(s, "web", life[i].name, &why), 0, "%s",
		     why.message);
	life[i].may_be = false;
}

/* Somebody was killed before the sync; the collection is the next one's. */
static void drop_half_way(unsigned i)
{
	int refs =
	    openat(test_home, "store/refs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[16];

	snprintf(name, sizeof(name), "web@%s", life[i].name);
	life[i].may_not_be = true;
	cr_assert_eq(unlinkat(refs, name, 0), 0);
	close(refs);
	collect(s);
	life[i].may_be = false;
}

static void live(void)
{
	struct object_id layer;

	cr_assert_eq(store_open(&s, test_home, true, &why), 0, "%s",
		     why.message);
	has_store = true;
	layer = take(0, 1, NULL);
	life[1].tags = life[0].tags;
	take(1, 2, &layer);
	replace(1);
	replace(1);
	drop(0);
	collect(s);
	/* A VM was last equal to it. */
	kept = life[1].manifest;
	keeps = true;
	drop(1);
	collect(s);
	keeps = false;
	collect(s);
	take(2, 5, NULL);
	drop_half_way(2);
	store_close(s);
}

Test(store_crash, at_each_call_leaves_what_was_told)
{
	state = test_size("TINTYPE_SEED", 1);
	cr_assert_eq(hash_init(), 0);
	store_test_home();
	namecut_begin(test_home);
	dir_before = before;
	dir_after = namecut_take;
	live();
	dir_before = NULL;
	dir_after = NULL;
	namecut_each(&state, judge);
	namecut_end();
	store_test_end();
	cr_assert_gt(moments, 50);
	test_say("store crashes: %lu moments, %lu states", moments, states);
}
