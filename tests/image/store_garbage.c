/* SPDX-License-Identifier: Apache-2.0 */
/* What of a store is garbage, and when nothing may be. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storetest.h"

static struct store *s;

static void init(void)
{
	cr_assert_eq(hash_init(), 0);
	store_test_home();
	cr_assert_eq(store_open(&s, test_home, true, &why), 0, "%s: %s",
		     why.object, why.message);
	cr_assert_eq(store_lock(s, STORE_SHARED, &why), 0);
}

static void fini(void)
{
	store_close(s);
	store_test_end();
}

TestSuite(store_garbage, .init = init, .fini = fini);

static struct store_collected collect(const struct object_id *keep, size_t n)
{
	struct store_collected c;

	expect(store_lock(s, STORE_EXCLUSIVE, &why), 0, EXIT_OK);
	expect(store_collect(s, keep, n, &c, &why), 0, EXIT_OK);
	expect(store_lock(s, STORE_SHARED, &why), 0, EXIT_OK);
	return c;
}

Test(store_garbage, collect_keeps_what_refs_reach)
{
	struct object_id base = put_layer(s, 1, NULL), mid, top;
	struct store_collected c;

	mid = put_layer(s, 2, &base);
	top = put_layer(s, 3, &mid);
	put_snapshot_of(s, "web", "mid", &mid, NULL);
	put_snapshot_of(s, "web", "top", &top, NULL);
	c = collect(NULL, 0);
	cr_assert(!c.manifests && !c.layers && !c.bytes);
	expect(store_delete_ref(s, "web", "mid", &why), 0, EXIT_OK);
	c = collect(NULL, 0);
	/* The top one has pages of all three. */
	cr_assert_eq(c.manifests, 1);
	cr_assert_eq(c.layers, 0);
	expect(store_delete_ref(s, "web", "top", &why), 0, EXIT_OK);
	c = collect(NULL, 0);
	cr_assert_eq(c.manifests, 1);
	cr_assert_eq(c.layers, 3);
	cr_assert_gt(c.bytes, 0);
	cr_assert_eq(count_files("store/layers"), 0);
	cr_assert_eq(count_files("store/manifests"), 0);
	c = collect(NULL, 0);
	cr_assert(!c.manifests && !c.layers && !c.bytes);
}

Test(store_garbage, collect_removes_a_layer_whose_pages_were_all_replaced)
{
	/* The same page in both: nothing of the lower one is reached. */
	struct object_id base = put_layer(s, 5, NULL), top;
	struct layer_set *set;
	struct manifest m = { 0 };
	struct store_collected c;

	top = put_layer_at(s, 5, 77, &base);
	put_snapshot_of(s, "web", "top", &top, NULL);
	c = collect(NULL, 0);
	cr_assert_eq(c.layers, 1);
	expect(store_find_layer(s, &base), -ENOENT, EXIT_OK);
	/* It is still whole. */
	store_test_manifest(&m, &top, NULL);
	expect(store_open_images(s, &m, &set, &why), 0, EXIT_OK);
	expect_page(set, &top, 5, 77);
	layer_set_destroy(set);
	manifest_free(&m);
}

Test(store_garbage, collect_keeps_what_running_vms_have_as_parents)
{
	struct object_id m = put_snapshot(s, "web", "one", 1, NULL, NULL);
	struct object_id keep[2] = { m, { { 9, 9, 9 } } }; /* no such */
	struct store_collected c;

	expect(store_delete_ref(s, "web", "one", &why), 0, EXIT_OK);
	c = collect(keep, 2);
	cr_assert(!c.manifests && !c.layers);
	c = collect(&keep[1], 1);
	cr_assert(c.manifests == 1 && c.layers == 1);
}

Test(store_garbage, collect_removes_what_was_left_half_way)
{
	struct object_id layer = put_layer(s, 1, NULL);
	struct store_collected c;

	put_snapshot(s, "web", "one", 2, NULL, NULL);
	make_large("store/refs/.tintype-0123456789abcdef", 10);
	make_large("store/manifests/.tintype-0123456789abcdef", 10);
	make_large("store/layers/somebody's", 10);
	c = collect(NULL, 0);
	cr_assert_eq(c.layers, 1);
	expect(store_find_layer(s, &layer), -ENOENT, EXIT_OK);
	cr_assert_eq(count_files("store/refs"), 1);
	cr_assert_eq(count_files("store/manifests"), 1);
	/* What is none of ours stays. */
	cr_assert_eq(count_files("store/layers"), 2);
}

Test(store_garbage, collect_counts_no_bytes_of_a_file_with_another_name)
{
	struct object_id id;
	int fd = named_layer(s, "head", 1, &id);
	struct store_collected c;
	struct stat st;

	expect(store_link_layer(s, fd, test_home, "head", &id, &why), 0,
	       EXIT_OK);
	close(fd);
	c = collect(NULL, 0);
	cr_assert(c.layers == 1 && c.bytes == 0);
	cr_assert_eq(fstatat(test_home, "head", &st, 0), 0);
}

static void expect_nothing_collected(const char *object)
{
	unsigned layers = count_files("store/layers"),
		 manifests = count_files("store/manifests");
	struct store_collected c;

	expect(store_lock(s, STORE_EXCLUSIVE, &why), 0, EXIT_OK);
	cr_assert_lt(store_collect(s, NULL, 0, &c, &why), 0);
	cr_assert_eq(why.code, EXIT_INTEGRITY, "%s: %s", why.object,
		     why.message);
	cr_assert(strstr(why.object, object), "%s", why.object);
	cr_assert_eq(count_files("store/layers"), layers);
	cr_assert_eq(count_files("store/manifests"), manifests);
}

Test(store_garbage, collect_when_a_ref_is_damaged_removes_nothing)
{
	put_layer(s, 9, NULL);
	put_snapshot(s, "web", "one", 1, NULL, NULL);
	flip_byte("store/refs/web@one", 30);
	expect_nothing_collected("web@one");
}

Test(store_garbage, collect_when_a_ref_has_a_strange_name_removes_nothing)
{
	put_layer(s, 9, NULL);
	make_large("store/refs/web@one@two", 10);
	expect_nothing_collected("web@one@two");
}

Test(store_garbage, collect_when_a_manifest_is_damaged_removes_nothing)
{
	struct object_id m = put_snapshot(s, "web", "one", 1, NULL, NULL);
	char path[128];

	put_layer(s, 9, NULL);
	flip_byte(manifest_path(path, &m), 50);
	expect_nothing_collected("manifest");
	cr_assert_eq(unlinkat(test_home, path, 0), 0);
	expect_nothing_collected("manifest");
}

Test(store_garbage, collect_when_a_layer_is_gone_or_damaged_removes_nothing)
{
	struct object_id base = put_layer(s, 1, NULL), top;
	char path[128];

	top = put_layer(s, 2, &base);
	put_layer(s, 9, NULL);
	put_snapshot_of(s, "web", "one", &top, NULL);
	/* A node: behind two pages of the file and the one of data. */
	flip_byte(layer_path(path, &top), 2 * PAGE_BYTES + 3);
	expect_nothing_collected("layer");
	flip_byte(path, 2 * PAGE_BYTES + 3);
	cr_assert_eq(unlinkat(test_home, layer_path(path, &base), 0), 0);
	expect_nothing_collected("layer");
}
