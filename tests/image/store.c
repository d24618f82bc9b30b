/* SPDX-License-Identifier: Apache-2.0 */
/* The store: what gets a name there, and who may not have one. */
#include "store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imgtest.h"
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

TestSuite(store, .init = init, .fini = fini);

/* ---- the directories ---- */

Test(store, open_when_there_is_none_makes_it_or_says_so)
{
	struct store *other;
	struct stat st;
	int fresh;

	cr_assert_eq(mkdirat(test_home, "fresh", 0700), 0);
	fresh = openat(test_home, "fresh", O_RDONLY | O_DIRECTORY);

	expect(store_open(&other, fresh, false, &why), -ENOENT, EXIT_OK);
	expect(store_open(&other, fresh, true, &why), 0, EXIT_OK);
	store_close(other);
	expect(store_open(&other, fresh, false, &why), 0, EXIT_OK);
	store_close(other);
	cr_assert_eq(fstatat(fresh, "store/refs", &st, 0), 0);
	cr_assert_eq(st.st_mode & 0777, 0700);
	/* Made half-way: no snapshots yet. */
	cr_assert_eq(unlinkat(fresh, "store/refs", AT_REMOVEDIR), 0);
	expect(store_open(&other, fresh, false, &why), -ENOENT, EXIT_OK);
	expect(store_open(&other, fresh, true, &why), 0, EXIT_OK);
	store_close(other);
	close(fresh);
}

Test(store, open_when_others_could_write_is_denied)
{
	static const char *const dirs[] = { "store", "store/layers",
					    "store/manifests", "store/refs" };
	struct store *other;

	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++) {
		cr_assert_eq(fchmodat(test_home, dirs[i], 0770, 0), 0);
		expect(store_open(&other, test_home, true, &why), -EPERM,
		       EXIT_DENIED);
		cr_assert_str_eq(why.object, dirs[i]);
		cr_assert_eq(fchmodat(test_home, dirs[i], 0700, 0), 0);
	}
}

Test(store, what_belongs_to_another_is_refused)
{
	struct object_id id = put_layer(s, 1, NULL);
	struct store *other;
	struct ref r;
	char path[128];

	if (geteuid() != 0)
		cr_skip_test("only root can give files away");
	put_snapshot_of(s, "web", "one", &id, NULL);
	layer_path(path, &id);
	cr_assert_eq(fchownat(test_home, path, 12345, 12345, 0), 0);
	expect(store_find_layer(s, &id), -EPERM, EXIT_OK);
	cr_assert_eq(fchownat(test_home, "store/refs/web@one", 12345, 0, 0), 0);
	expect(store_get_ref(s, "web", "one", &r, &why), -EPERM, EXIT_DENIED);
	cr_assert_eq(fchownat(test_home, "store/lock", 12345, 0, 0), 0);
	expect(store_open(&other, test_home, true, &why), -EPERM, EXIT_DENIED);
	cr_assert_str_eq(why.object, "store/lock");
	cr_assert_eq(fchownat(test_home, "store", 12345, 0, 0), 0);
	expect(store_open(&other, test_home, true, &why), -EPERM, EXIT_DENIED);
	cr_assert_str_eq(why.object, "store");
}

Test(store, open_when_a_part_is_a_link_is_denied)
{
	static const char *const parts[] = { "store", "store/layers",
					     "store/manifests", "store/refs" };
	struct store *other;

	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		cr_assert_eq(renameat(test_home, parts[i], test_home, "away"),
			     0);
		cr_assert_eq(symlinkat("/tmp", test_home, parts[i]), 0);
		cr_assert_lt(store_open(&other, test_home, true, &why), 0);
		cr_assert_eq(why.code, EXIT_DENIED, "%s", why.message);
		cr_assert_str_eq(why.object, parts[i]);
		cr_assert_eq(unlinkat(test_home, parts[i], 0), 0);
		cr_assert_eq(renameat(test_home, "away", test_home, parts[i]),
			     0);
	}
}

/* ---- locks ---- */

static void *unlock_later(void *arg)
{
	usleep(50000);
	cr_assert_eq(store_lock(arg, STORE_UNLOCKED, NULL), 0);
	return NULL;
}

Test(store, lock_when_another_collects_waits_and_then_gives_up)
{
	struct store *other;
	pthread_t thread;

	cr_assert_eq(store_open(&other, test_home, false, &why), 0);
	expect(store_lock(other, STORE_SHARED, &why), 0, EXIT_OK);
	expect(store_lock(other, STORE_EXCLUSIVE, &why), -EAGAIN,
	       EXIT_CONFLICT);
	cr_assert_eq(pthread_create(&thread, NULL, unlock_later, s), 0);
	expect(store_lock(other, STORE_EXCLUSIVE, &why), 0, EXIT_OK);
	pthread_join(thread, NULL);
	store_close(other); /* drops it */
	expect(store_lock(s, STORE_EXCLUSIVE, &why), 0, EXIT_OK);
}

/* ---- layers ---- */

Test(store, new_layer_is_empty_nameless_and_has_its_space)
{
	struct stat st;
	int rw, ro;

	expect(store_new_layer(s, MIB(8), &rw, &ro, &why), 0, EXIT_OK);
	cr_assert_eq(fstat(rw, &st), 0);
	cr_assert_eq(st.st_size, 0);
	cr_assert_eq(st.st_nlink, 0);
	cr_assert_geq((uint64_t)st.st_blocks * 512, MIB(8));
	cr_assert_eq(fcntl(ro, F_GETFL) & O_ACCMODE, O_RDONLY);
	cr_assert_eq(same_inode(rw, ro), true);
	close(rw);
	close(ro);
	expect(store_new_layer(s, UINT64_C(1) << 62, &rw, &ro, &why), -EFBIG,
	       EXIT_NO_SPACE);
	cr_assert_neq(why.hint[0], '\0');
}

Test(store, link_when_sealed_gives_the_name)
{
	struct object_id id;
	struct stat st;
	int fd = new_layer(s, 1, NULL, &id);
	char path[128];

	expect(store_find_layer(s, &id), -ENOENT, EXIT_OK);
	expect(store_link_layer(s, fd, -1, NULL, &id, &why), 0, EXIT_OK);
	/* Twice is success: who did it may have died right after. */
	expect(store_link_layer(s, fd, -1, NULL, &id, &why), 0, EXIT_OK);
	expect(store_sync_layers(s, &why), 0, EXIT_OK);
	cr_assert_eq(fstatat(test_home, layer_path(path, &id), &st, 0), 0);
	cr_assert_eq(st.st_mode & 0777, 0400);
	cr_assert_eq(st.st_nlink, 1);
	close(fd);
	fd = store_find_layer(s, &id);
	cr_assert_geq(fd, 0);
	close(fd);
}

Test(store, link_when_somebody_can_write_is_refused)
{
	struct object_id id;
	int rw, ro;
	void *map;

	make_sealed(s, 1, NULL, &rw, &ro, &id);
	expect(store_link_layer(s, ro, -1, NULL, &id, &why), -EAGAIN,
	       EXIT_INTEGRITY);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0);
	cr_assert_neq(map, MAP_FAILED);
	close(rw);
	expect(store_link_layer(s, ro, -1, NULL, &id, &why), -EAGAIN,
	       EXIT_INTEGRITY);
	expect(store_find_layer(s, &id), -ENOENT, EXIT_OK);
	munmap(map, 4096);
	expect(store_link_layer(s, ro, -1, NULL, &id, &why), 0, EXIT_OK);
	close(ro);
}

Test(store, link_when_it_is_another_layer_or_none_is_refused)
{
	struct object_id id, other;
	int fd = new_layer(s, 1, NULL, &id),
	    fd2 = new_layer(s, 2, NULL, &other);
	int rw, ro;

	expect(store_link_layer(s, fd, -1, NULL, &other, &why), -EBADMSG,
	       EXIT_INTEGRITY);
	expect(store_new_layer(s, 0, &rw, &ro, &why), 0, EXIT_OK);
	cr_assert_eq(pwrite(rw, "no layer", 8, 0), 8);
	close(rw);
	cr_assert_lt(store_link_layer(s, ro, -1, NULL, &id, &why), 0);
	cr_assert_eq(why.code, EXIT_INTEGRITY);
	expect(store_find_layer(s, &id), -ENOENT, EXIT_OK);
	expect(store_find_layer(s, &other), -ENOENT, EXIT_OK);
	close(ro);
	close(fd);
	close(fd2);
}

Test(store, link_when_the_name_has_something_else_is_refused)
{
	struct object_id id;
	int fd = new_layer(s, 1, NULL, &id), bad;
	char path[128];

	bad =
	    openat(test_home, layer_path(path, &id), O_CREAT | O_WRONLY, 0600);
	cr_assert_eq(write(bad, "garbage", 7), 7);
	close(bad);
	cr_assert_lt(store_link_layer(s, fd, -1, NULL, &id, &why), 0);
	cr_assert_eq(why.code, EXIT_INTEGRITY, "%s", why.message);
	close(fd);
}

Test(store, link_of_a_named_file_is_of_that_file)
{
	struct object_id id, other;
	int fd = named_layer(s, "head", 1, &id);
	int fd2 = named_layer(s, "other", 2, &other);

	/* Somebody has put another one in its place. */
	cr_assert_eq(renameat(test_home, "head", test_home, "away"), 0);
	cr_assert_eq(renameat(test_home, "other", test_home, "head"), 0);
	expect(store_link_layer(s, fd, test_home, "head", &id, &why), -EBADMSG,
	       EXIT_INTEGRITY);
	expect(store_find_layer(s, &id), -ENOENT, EXIT_OK);
	expect(store_link_layer(s, fd, test_home, "away", &id, &why), 0,
	       EXIT_OK);
	expect(store_link_layer(s, fd, test_home, "away", &id, &why), 0,
	       EXIT_OK);
	cr_assert_eq(unlinkat(test_home, "away", 0), 0);
	close(fd);
	fd = store_find_layer(s, &id);
	cr_assert_geq(fd, 0);
	close(fd);
	close(fd2);
}

Test(store, layer_that_is_no_regular_file_is_refused)
{
	struct object_id id = { { 1 } };
	char path[128];

	cr_assert_eq(symlinkat("/etc/passwd", test_home, layer_path(path, &id)),
		     0);
	expect(store_find_layer(s, &id), -EPERM, EXIT_OK);
	cr_assert_eq(unlinkat(test_home, path, 0), 0);
	cr_assert_eq(mkfifoat(test_home, path, 0600), 0);
	expect(store_find_layer(s, &id), -EPERM, EXIT_OK);
}

Test(store, images_of_a_manifest_are_opened_with_all_they_lie_on)
{
	struct object_id base = put_layer(s, 1, NULL), id;
	struct layer_set *set;
	struct manifest m = { 0 };
	struct image img;
	uint8_t got[PAGE_BYTES], want[PAGE_BYTES];

	id = put_layer(s, 2, &base);
	store_test_manifest(&m, &id, NULL);
	expect(store_open_images(s, &m, &set, &why), 0, EXIT_OK);
	cr_assert_eq(layer_set_count(set), 2);
	cr_assert_eq(image_open(&img, layer_set_find(set, &id), 0, &why), 0);
	for (uint64_t tag = 1; tag <= 2; tag++) {
		cr_assert_eq(image_read(&img, tag, 1, got, &why), 0);
		fill_page(want, tag);
		cr_assert_arr_eq(got, want, PAGE_BYTES);
	}
	layer_set_destroy(set);
	m.images.item[0].bytes += 512;
	expect(store_open_images(s, &m, &set, &why), -EBADMSG, EXIT_INTEGRITY);
	m.images.item[0].bytes -= 512;
	m.images.item[0].root = 7;
	cr_assert_lt(store_open_images(s, &m, &set, &why), 0);
	m.images.item[0].root = 0;
	m.images.item[0].layer.b[0] ^= 1;
	expect(store_open_images(s, &m, &set, &why), -ENOENT, EXIT_INTEGRITY);
	manifest_free(&m);
}

/* ---- manifests ---- */

Test(store, manifest_comes_back)
{
	struct object_id layer = put_layer(s, 1, NULL), id, again;
	struct manifest m = { 0 }, back = { 0 };

	store_test_manifest(&m, &layer, NULL);
	expect(store_put_manifest(s, &m, &id, &why), 0, EXIT_OK);
	expect(store_put_manifest(s, &m, &again, &why), 0, EXIT_OK);
	cr_assert(object_id_equal(&id, &again));
	expect(store_get_manifest(s, &id, &back, &why), 0, EXIT_OK);
	cr_assert_eq(back.taken_ns, m.taken_ns);
	cr_assert_eq(back.images.n, 1);
	manifest_free(&back);
	manifest_free(&m);
	id.b[0] ^= 1;
	expect(store_get_manifest(s, &id, &back, &why), -ENOENT,
	       EXIT_INTEGRITY);
}

Test(store, manifest_that_is_damaged_is_refused)
{
	struct object_id layer = put_layer(s, 1, NULL), id;
	struct manifest m = { 0 }, back = { 0 };
	char path[128];

	store_test_manifest(&m, &layer, NULL);
	expect(store_put_manifest(s, &m, &id, &why), 0, EXIT_OK);
	flip_byte(manifest_path(path, &id), 40);
	expect(store_get_manifest(s, &id, &back, &why), -EBADMSG,
	       EXIT_INTEGRITY);
	expect(store_put_manifest(s, &m, &id, &why), -EBADMSG, EXIT_INTEGRITY);
	make_large(path, RECORD_MAX_BYTES + 1);
	expect(store_get_manifest(s, &id, &back, &why), -EBADMSG,
	       EXIT_INTEGRITY);
	expect(store_put_manifest(s, &m, &id, &why), -EBADMSG, EXIT_INTEGRITY);
	manifest_free(&m);
}

/* ---- refs ---- */

Test(store, ref_comes_back)
{
	struct object_id m = put_snapshot(s, "web", "one", 1, NULL, NULL);
	struct ref r;

	expect(store_get_ref(s, "web", "one", &r, &why), 0, EXIT_OK);
	cr_assert(object_id_equal(&r.manifest, &m));
	ref_free(&r);
}

Test(store, ref_when_there_is_one_is_a_conflict)
{
	struct object_id m = put_snapshot(s, "web", "one", 1, NULL, NULL);
	struct ref r = {
		.vm = "web", .name = "one", .manifest = m, .sequence = 1
	};

	expect(store_put_ref(s, &r, false, &why), -EEXIST, EXIT_CONFLICT);
	cr_assert_str_eq(why.object, "web@one");
}

Test(store, ref_is_replaced_by_the_next_only)
{
	struct object_id m = put_snapshot(s, "web", "one", 1, NULL, NULL);
	struct ref r = { .vm = "web",
			 .name = "one",
			 .manifest = m,
			 .sequence = 2,
			 .description = "second" };
	struct ref back;

	expect(store_put_ref(s, &r, true, &why), 0, EXIT_OK);
	expect(store_put_ref(s, &r, true, &why), -ESTALE, EXIT_CONFLICT);
	expect(store_get_ref(s, "web", "one", &back, &why), 0, EXIT_OK);
	cr_assert_str_eq(back.description, "second");
	ref_free(&back);
	strcpy(r.name, "two");
	expect(store_put_ref(s, &r, true, &why), -ENOENT, EXIT_NOT_FOUND);
	cr_assert_eq(count_files("store/refs"), 1);
}

Test(store, ref_when_not_found_names_those_there)
{
	char name[64];
	struct ref r;

	expect(store_get_ref(s, "web", "none", &r, &why), -ENOENT,
	       EXIT_NOT_FOUND);
	cr_assert(strstr(why.message, "none of this VM"), "%s", why.message);
	put_snapshot(s, "web", "one", 1, NULL, NULL);
	put_snapshot(s, "web", "two", 2, NULL, NULL);
	put_snapshot(s, "web2", "three", 3, NULL, NULL);
	expect(store_get_ref(s, "web", "none", &r, &why), -ENOENT,
	       EXIT_NOT_FOUND);
	cr_assert_str_eq(why.hint, "it has: one, two");
	/* More than fit. */
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "with-a-long-name-%02u", i);
		put_snapshot(s, "web", name, 1, NULL, NULL);
	}
	expect(store_get_ref(s, "web", "none", &r, &why), -ENOENT,
	       EXIT_NOT_FOUND);
	cr_assert(strstr(why.hint, ", ..."), "%s", why.hint);
}

Test(store, ref_by_a_name_that_is_none_is_refused)
{
	static const char *const bad[] = { "",		 ".",	 "..",
					   "a/b",	 "../x", "a@b",
					   ".tintype-x", "-a",	 "a b" };
	struct ref r;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		expect(store_get_ref(s, "web", bad[i], &r, &why), -EINVAL,
		       EXIT_USAGE);
		expect(store_get_ref(s, bad[i], "one", &r, &why), -EINVAL,
		       EXIT_USAGE);
		expect(store_delete_ref(s, bad[i], "one", &why), -EINVAL,
		       EXIT_USAGE);
	}
}

Test(store, ref_that_was_copied_over_another_is_refused)
{
	struct ref r;

	put_snapshot(s, "web", "one", 1, NULL, NULL);
	cr_assert_eq(linkat(test_home, "store/refs/web@one", test_home,
			    "store/refs/web@two", 0),
		     0);
	expect(store_get_ref(s, "web", "two", &r, &why), -EBADMSG,
	       EXIT_INTEGRITY);
	cr_assert_str_eq(why.object, "web@two");
}

struct seen {
	char text[1024];
	unsigned stop_after;
};

static int see(void *ctx, const char *vm, const char *name, const struct ref *r,
	       const struct fail *fail)
{
	struct seen *seen = ctx;
	size_t at = strlen(seen->text);

	cr_assert_neq(r == NULL, fail == NULL);
	snprintf(seen->text + at, sizeof(seen->text) - at, "%s@%s%s ", vm, name,
		 r ? "" : "!");
	return seen->stop_after && --seen->stop_after == 0 ? 7 : 0;
}

Test(store, each_ref_comes_in_order_damaged_ones_too)
{
	struct seen seen = { .text = "" };

	put_snapshot(s, "web", "two", 1, NULL, NULL);
	put_snapshot(s, "db", "one", 1, NULL, NULL);
	put_snapshot(s, "web", "one", 2, NULL, NULL);
	flip_byte("store/refs/web@one", 30);
	make_large("store/refs/no-ref", 10);
	make_large("store/refs/.tintype-0123", 10);
	expect(store_each_ref(s, NULL, see, &seen, &why), 0, EXIT_OK);
	cr_assert_str_eq(seen.text, "db@one @no-ref! web@one! web@two ");
	seen = (struct seen){ .stop_after = 1 };
	expect(store_each_ref(s, "web", see, &seen, &why), 7, EXIT_OK);
	cr_assert_str_eq(seen.text, "web@one! ");
}

static void expect_kept(struct ref *r, const char *what)
{
	cr_assert_eq(store_put_ref(s, r, r->sequence > 1, &why), 0, "%s",
		     why.message);
	r->sequence++;
	expect(store_delete_ref(s, r->vm, r->name, &why), -EPERM, EXIT_DENIED);
	cr_assert(strstr(why.message, what), "%s", why.message);
}

Test(store, ref_that_is_kept_is_not_deleted)
{
	struct object_id m = put_snapshot(s, "web", "one", 1, NULL, NULL);
	struct ref r = { .vm = "web",
			 .name = "one",
			 .manifest = m,
			 .sequence = 2,
			 .keep = REF_PINNED };

	expect_kept(&r, "pinned");
	r.keep = REF_HELD;
	expect_kept(&r, "held");
	r.keep = 0;
	r.hold_until_ns = UINT64_MAX;
	expect_kept(&r, "held");
	r.hold_until_ns = 1; /* long ago */
	cr_assert_eq(store_put_ref(s, &r, true, &why), 0);
	expect(store_delete_ref(s, "web", "one", &why), 0, EXIT_OK);
	expect(store_delete_ref(s, "web", "one", &why), -ENOENT,
	       EXIT_NOT_FOUND);
}

Test(store, ref_of_an_immutable_manifest_is_not_deleted)
{
	struct object_id layer = put_layer(s, 1, NULL), id;
	struct manifest m = { 0 };
	struct ref r = { .vm = "web", .name = "one", .sequence = 1 };
	char path[128];

	store_test_manifest(&m, &layer, NULL);
	m.immutable_until_ns = UINT64_MAX;
	expect(store_put_manifest(s, &m, &id, &why), 0, EXIT_OK);
	manifest_free(&m);
	r.manifest = id;
	expect_kept(&r, "immutable");
	/* Of one that cannot be read nothing is lost. */
	flip_byte(manifest_path(path, &id), 40);
	expect(store_delete_ref(s, "web", "one", &why), 0, EXIT_OK);
}
