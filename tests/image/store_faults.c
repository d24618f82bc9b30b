/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each call that the store makes fails once: that is told, nothing that was
 * there is harmed, and the same again succeeds.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "dirwrap.h"
#include "storetest.h"

static const struct kind {
	enum dir_kind kind;
	int err;
} kinds[] = {
	{ DIR_MKDIR, ENOSPC },	 { DIR_OPEN, EMFILE },	{ DIR_LINK, EDQUOT },
	{ DIR_RENAME, ENOSPC },	 { DIR_UNLINK, EIO },	{ DIR_SYNC, EIO },
	{ DIR_DATA_SYNC, EIO },	 { DIR_WRITE, ENOSPC }, { DIR_WRITE, EIO },
	{ DIR_RESERVE, ENOSPC }, { DIR_FCNTL, EIO },	{ DIR_FCNTL, EMFILE },
	{ DIR_MEMORY, ENOMEM },
};

static const struct kind *now;
static uint64_t nth, seen, injected;
static bool hit;
static struct store *s;

static int before(const struct dir_call *c)
{
	if (c->kind != now->kind || seen++ != nth)
		return 0;
	hit = true;
	injected++;
	return now->err;
}

static void arm(bool on)
{
	dir_before = on && !hit ? before : NULL;
}

/* The call, and when it fails once more; then it may also say `or`, as what
 * was to be done is done. */
#define attempt(call, or)                                                      \
	do {                                                                   \
		int err_;                                                      \
                                                                               \
		memset(&why, 0, sizeof(why));                                  \
		arm(true);                                                     \
		err_ = (call);                                                 \
		arm(false);                                                    \
		if (!err_)                                                     \
			break;                                                 \
		cr_assert(hit, "%s: %s: %s", #call, why.object, why.message);  \
		cr_assert_lt(err_, 0);                                         \
		cr_assert(why.code &&why.object[0] && why.message[0],          \
			  "%s, %s %lu: %d", #call, dir_kind_names[now->kind],  \
			  nth, err_);                                          \
		err_ = (call);                                                 \
		cr_assert(!err_ || ((or) && err_ == (or)),                     \
			  "%s, %s %lu: %s: %s", #call,                         \
			  dir_kind_names[now->kind], nth, why.object,          \
			  why.message);                                        \
	} while (0)

static struct object_id take_layer(uint64_t tag)
{
	struct object_id id;
	int rw, ro;

	attempt(store_new_layer(s, MIB(1), &rw, &ro, &why), 0);
	store_test_fill(s, rw, tag, &id);
	close(rw);
	attempt(store_link_layer(s, ro, -1, NULL, &id, &why), 0);
	attempt(store_sync_layers(s, &why), 0);
	close(ro);
	return id;
}

static void take(const char *name, uint64_t tag)
{
	struct object_id layer = take_layer(tag);
	struct ref r = { .vm = "web", .sequence = 1 };
	struct manifest m;

	strcpy(r.name, name);
	store_test_manifest(&m, &layer, NULL);
	attempt(store_put_manifest(s, &m, &r.manifest, &why), 0);
	attempt(store_put_ref(s, &r, false, &why), 0);
	r.sequence++;
	/* Its rename may have been made. */
	attempt(store_put_ref(s, &r, true, &why), -ESTALE);
	manifest_free(&m);
}

static void look(const char *name, uint64_t tag)
{
	struct layer_set *set;
	struct manifest m;
	struct ref r;

	attempt(store_get_ref(s, "web", name, &r, &why), 0);
	cr_assert_eq(r.sequence, 2);
	attempt(store_get_manifest(s, &r.manifest, &m, &why), 0);
	attempt(store_open_images(s, &m, &set, &why), 0);
	expect_page(set, &m.images.item[0].layer, tag, tag);
	layer_set_destroy(set);
	manifest_free(&m);
	ref_free(&r);
}

static void collect(unsigned layers)
{
	struct store_collected n;

	attempt(store_lock(s, STORE_EXCLUSIVE, &why), 0);
	attempt(store_collect(s, NULL, 0, &n, &why), 0);
	cr_assert_leq(n.layers, layers); /* less, when it was begun before */
	attempt(store_lock(s, STORE_SHARED, &why), 0);
}

static void live(void)
{
	attempt(store_open(&s, test_home, true, &why), 0);
	attempt(store_lock(s, STORE_SHARED, &why), 0);
	take("a", 1);
	take("b", 2);
	look("a", 1);
	attempt(store_delete_ref(s, "web", "a", &why), -ENOENT);
	collect(1);
	look("b", 2);
	cr_assert_eq(count_files("store/refs"), 1);
	cr_assert_eq(count_files("store/manifests"), 1);
	cr_assert_eq(count_files("store/layers"), 1);
	store_close(s);
}

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

Test(store_faults, each_call_that_fails_is_told_and_harms_nothing)
{
	cr_assert_eq(hash_init(), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		now = &kinds[i];
		nth = 0;
		do {
			unsigned fds = open_fds();

			seen = 0;
			hit = false;
			store_test_home();
			live();
			store_test_end();
			cr_assert_eq(open_fds(), fds, "%s %lu",
				     dir_kind_names[now->kind], nth);
			nth++;
		} while (hit);
		cr_assert_gt(nth, 1, "%s", dir_kind_names[now->kind]);
	}
	test_say("store faults: %lu injected", injected);
}

/* ---- what some file systems cannot do ---- */

static int without_leases(const struct dir_call *c)
{
	return c->kind == DIR_FCNTL && c->flags == F_SETLEASE ? EINVAL : 0;
}

Test(store_faults, link_where_there_are_no_leases_succeeds)
{
	struct object_id id;
	int fd;

	cr_assert_eq(hash_init(), 0);
	store_test_home();
	cr_assert_eq(store_open(&s, test_home, true, &why), 0);
	cr_assert_eq(store_lock(s, STORE_SHARED, &why), 0);
	fd = new_layer(s, 1, NULL, &id);
	dir_before = without_leases;
	cr_assert_eq(store_link_layer(s, fd, -1, NULL, &id, &why), 0);
	dir_before = NULL;
	close(fd);
	store_close(s);
	store_test_end();
}

static int without_nameless(const struct dir_call *c)
{
	return c->kind == DIR_OPEN && (c->flags & O_TMPFILE) == O_TMPFILE
		   ? EOPNOTSUPP
		   : 0;
}

/* Papers then have temporary names meanwhile; layers cannot. */
Test(store_faults, store_where_every_file_has_a_name_takes_no_layers)
{
	struct object_id layer, id, again;
	struct ref r = { .vm = "web", .name = "a", .sequence = 1 };
	struct manifest m;
	int rw, ro;

	cr_assert_eq(hash_init(), 0);
	store_test_home();
	cr_assert_eq(store_open(&s, test_home, true, &why), 0);
	cr_assert_eq(store_lock(s, STORE_SHARED, &why), 0);
	layer = put_layer(s, 1, NULL);
	dir_before = without_nameless;
	cr_assert_eq(store_new_layer(s, 0, &rw, &ro, &why), -EOPNOTSUPP);
	cr_assert_eq(why.code, EXIT_INCOMPATIBLE);
	store_test_manifest(&m, &layer, NULL);
	cr_assert_eq(store_put_manifest(s, &m, &id, &why), 0);
	cr_assert_eq(store_put_manifest(s, &m, &again, &why), 0);
	r.manifest = id;
	cr_assert_eq(store_put_ref(s, &r, false, &why), 0);
	cr_assert_eq(store_put_ref(s, &r, false, &why), -EEXIST);
	r.sequence++;
	cr_assert_eq(store_put_ref(s, &r, true, &why), 0);
	dir_before = NULL;
	cr_assert_eq(count_files("store/manifests"), 1);
	cr_assert_eq(count_files("store/refs"), 1);
	manifest_free(&m);
	store_close(s);
	store_test_end();
}
