/* SPDX-License-Identifier: Apache-2.0 */
/* Captures as their taker sees them, and what it leaves behind when either side
 * fails at any edge. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>

#include "fakevm.h"
#include "image.h"
#include "taker.h"
#include "taker_plan.h"
#include "util.h"

static struct fakevm v;
static struct store *store;
static struct taken taken;
static struct fail why;

static void init(void)
{
	_cleanup_close_ int home = -1;

	fakevm_init(&v, 1);
	home = home_open_top(true, &why);
	cr_assert_eq(store_open(&store, home, true, &why), 0, "%s",
		     why.message);
	fakevm_open(&v);
}

static void fini(void)
{
	store_close(store);
	fakevm_fini(&v);
}

TestSuite(taker, .init = init, .fini = fini, .timeout = 120);

static void put(uint8_t tag)
{
	static uint8_t buf[4096];

	memset(buf, tag, sizeof(buf));
	cr_assert_eq(
	    ask(&v.s.rig, DISK_WRITE, tag * UINT64_C(4096), sizeof(buf), buf),
	    0);
	cr_assert_eq(ask(&v.s.rig, DISK_FLUSH, 0, 0, NULL), 0);
	memset(v.memory, tag, sizeof(v.memory));
}

/* The VM's last start found `tag` on the disk. */
static void expect_on_disk(uint8_t tag)
{
	static uint8_t buf[4096];

	cr_assert_eq(
	    ask(&v.s.rig, DISK_READ, tag * UINT64_C(4096), sizeof(buf), buf),
	    0);
	cr_expect_eq(buf[7], tag);
}

static int take(const struct taker_request *r)
{
	why = (struct fail){ .code = EXIT_OK };
	return taker_take(store, &v.dir, r, &taken, &why);
}

static int take_named(const char *name)
{
	return take(&(struct taker_request){ .name = name });
}

static unsigned count(const char *dir)
{
	char path[192];
	const struct dirent *e;
	unsigned n = 0;
	DIR *all;

	snprintf(path, sizeof(path), "%s/%s", v.s.dir.path, dir);
	all = opendir(path);
	cr_assert_not_null(all, "%s", path);
	while ((e = readdir(all)))
		n += e->d_name[0] != '.';
	closedir(all);
	return n;
}

/* The snapshot's disk and memory both have the tag. */
static void expect_content(const char *name, uint8_t tag)
{
	struct ref r = { .keep = 0 };
	struct manifest m = { .kind = 0 };
	struct layer_set *set = NULL;
	uint8_t buf[4096];

	cr_assert_eq(store_get_ref(store, "vm", name, &r, &why), 0, "%s",
		     why.message);
	cr_assert_eq(store_get_manifest(store, &r.manifest, &m, &why), 0);
	cr_assert_eq(store_open_images(store, &m, &set, &why), 0, "%s",
		     why.message);
	for (uint32_t i = 0; i < m.images.n; i++) {
		const struct manifest_image *im = &m.images.item[i];
		struct image img;

		cr_assert_eq(image_open(&img, layer_set_find(set, &im->layer),
					im->root, &why),
			     0);
		if (im->kind == IMAGE_STATE)
			continue;
		cr_assert_eq(image_read(&img, tag, 1, buf, &why), 0);
		cr_expect_eq(buf[9], tag, "%s: %u", im->id, buf[9]);
	}
	layer_set_destroy(set);
	manifest_free(&m);
	ref_free(&r);
}

static struct disk_roots roots(void)
{
	struct disk_roots r;

	cr_assert_eq(disk_roots_read(&r, &v.dir, &why), 0);
	return r;
}

/* ---- that come to their end ---- */

Test(taker, a_capture_has_memory_and_disk)
{
	struct disk_roots r;

	put(3);
	fakevm_serve(&v);
	cr_assert_eq(take_named("a"), 0, "%s: %s", why.object, why.message);
	cr_expect_str_eq(taken.name, "a");
	cr_expect_eq(taken.pause_ns, 1234);
	cr_expect_eq(v.committed, 1);
	expect_content("a", 3);
	/* The new head alone, which lies on what the parent has. */
	cr_expect_eq(count("vms/vm/heads"), 1);
	cr_expect_eq(count("store/layers"), 2);
	r = roots();
	cr_assert_eq(r.nparents, 1);
	cr_expect(object_id_equal(&r.parent[0], &taken.manifest));
	disk_roots_free(&r);
	fakevm_stop(&v);
	fakevm_open(&v);
	expect_on_disk(3);
	swaptest_close(&v.s);
}

Test(taker, captures_follow_each_other)
{
	struct manifest m = { .kind = 0 };
	struct taken first;

	put(3);
	fakevm_serve(&v);
	cr_assert_eq(take_named("a"), 0, "%s", why.message);
	first = taken;
	cr_assert_eq(take_named("b"), 0, "%s", why.message);
	cr_assert_eq(store_get_manifest(store, &taken.manifest, &m, &why), 0);
	cr_expect(object_id_equal(&m.parent, &first.manifest));
	cr_expect_eq(m.kind, MANIFEST_MEMORY);
	cr_expect_eq(m.figures.n, 2);
	manifest_free(&m);
	expect_content("a", 3);
	expect_content("b", 3);
	cr_expect_eq(count("vms/vm/heads"), 1);
	fakevm_stop(&v);
}

Test(taker, a_vm_keeps_its_uid)
{
	struct manifest m[2] = { { .kind = 0 } };

	fakevm_serve(&v);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(take_named(i ? "b" : "a"), 0, "%s", why.message);
		cr_assert_eq(
		    store_get_manifest(store, &taken.manifest, &m[i], &why), 0);
	}
	cr_expect_arr_eq(m[0].vm_uid, m[1].vm_uid, UID_BYTES);
	manifest_free(&m[0]);
	manifest_free(&m[1]);
	fakevm_stop(&v);
}

Test(taker, disks_alone_keep_the_memory_s_parent)
{
	struct disk_roots r;

	put(3);
	fakevm_serve(&v);
	cr_assert_eq(take_named("a"), 0, "%s", why.message);
	cr_assert_eq(
	    take(&(struct taker_request){ .name = "b", .disks_only = true }), 0,
	    "%s", why.message);
	expect_content("b", 3);
	r = roots();
	cr_assert_eq(r.nparents, 2);
	cr_expect(object_id_equal(&r.parent[1], &taken.manifest));
	disk_roots_free(&r);
	fakevm_stop(&v);
}

Test(taker, a_name_is_made_up)
{
	fakevm_serve(&v);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(take_named(NULL), 0, "%s", why.message);
		cr_expect_eq(strncmp(taken.name, "auto-", 5), 0);
	}
	cr_expect_eq(count("store/refs"), 3);
	fakevm_stop(&v);
}

Test(taker, the_end_of_the_vm_is_waited_for)
{
	json_t *saved;
	char id[ID_TEXT];

	put(3);
	fakevm_serve(&v);
	cr_assert_eq(take(&(struct taker_request){ .name = "a", .end = true }),
		     0, "%s", why.message);
	saved = vm_dir_read_json(&v.dir, "saved.json");
	object_id_text(id, &taken.manifest);
	cr_expect_str_eq(json_string_value(json_object_get(saved, "manifest")),
			 id);
	json_decref(saved);
	fakevm_stop(&v);
	fakevm_open(&v);
	expect_on_disk(3);
	swaptest_close(&v.s);
}

/* ---- refused ---- */

Test(taker, a_name_that_is_taken_is_refused_before_anything_is_done)
{
	fakevm_serve(&v);
	cr_assert_eq(take_named("a"), 0, "%s", why.message);
	cr_expect_eq(take_named("a"), -EEXIST);
	cr_expect_eq(why.code, EXIT_CONFLICT);
	cr_expect_eq(v.begun, 1);
	fakevm_stop(&v);
}

Test(taker, two_takers_are_one_too_many)
{
	struct disk_dir other;

	fakevm_serve(&v);
	cr_assert_eq(disk_dir_lock(&other, &v.dir, true, &why), 0);
	cr_expect_lt(take_named("a"), 0);
	cr_expect_eq(why.code, EXIT_CONFLICT);
	disk_dir_unlock(&other);
	cr_expect_eq(take_named("a"), 0);
	fakevm_stop(&v);
}

Test(taker, a_vm_that_does_not_run_is_refused)
{
	swaptest_close(&v.s);
	vm_dir_close(&v.s.dir.vm);
	cr_expect_lt(take_named("a"), 0);
	cr_expect_eq(why.code, EXIT_WRONG_STATE);
}

static int stop_at_once(void *ctx, uint64_t done, uint64_t of)
{
	return 1;
}

Test(taker, a_cancelled_capture_is_aborted)
{
	fakevm_serve(&v);
	v.trouble = FAKE_LONG;
	v.at = "capture-wait";
	cr_expect_eq(take(&(struct taker_request){ .name = "a",
						   .progress = stop_at_once }),
		     -ECANCELED);
	cr_expect_eq(why.code, EXIT_CANCELLED);
	cr_expect_eq(v.aborted, 1);
	cr_expect_eq(count("vms/vm/heads"), 1);
	cr_expect_eq(count("store/refs"), 0);
	v.at = NULL;
	cr_assert_eq(take_named("a"), 0, "%s", why.message);
	fakevm_stop(&v);
}

/* ---- the VM fails ---- */

/* Then nothing is there but what was, and the next capture is a good one. */
static void check_trouble(enum fake_trouble what, const char *verb,
			  enum exit_code code)
{
	bool dies = what == FAKE_DIE || what == FAKE_DIE_AFTER;

	put(3);
	fakevm_serve(&v);
	v.trouble = what;
	v.at = verb;
	cr_assert_lt(take_named("a"), 0);
	cr_expect_eq(why.code, code, "%d: %s", why.code, why.message);
	cr_expect_eq(count("store/refs"), 0);
	v.at = NULL;
	if (dies || v.leak >= 0) {
		fakevm_stop(&v);
		fakevm_open(&v);
		expect_on_disk(3);
		fakevm_serve(&v);
	}
	cr_assert_eq(take_named("a"), 0, "%s: %s", why.object, why.message);
	expect_content("a", 3);
	cr_expect_eq(count("vms/vm/heads"), 1);
	fakevm_stop(&v);
	fakevm_open(&v);
	expect_on_disk(3);
	swaptest_close(&v.s);
}

#define TROUBLE(name, what, verb, code)                                        \
	Test(taker, name)                                                      \
	{                                                                      \
		check_trouble(what, verb, code);                               \
	}
TROUBLE(plan_refused, FAKE_REFUSE, "capture-plan", EXIT_NO_SPACE)
TROUBLE(begin_refused, FAKE_REFUSE, "capture-begin", EXIT_NO_SPACE)
TROUBLE(wait_refused, FAKE_REFUSE, "capture-wait", EXIT_NO_SPACE)
TROUBLE(vm_dies_at_plan, FAKE_DIE, "capture-plan", EXIT_WRONG_STATE)
TROUBLE(vm_dies_at_begin, FAKE_DIE, "capture-begin", EXIT_WRONG_STATE)
TROUBLE(vm_dies_when_begun, FAKE_DIE_AFTER, "capture-begin", EXIT_WRONG_STATE)
TROUBLE(vm_dies_before_sealed, FAKE_DIE, "capture-wait", EXIT_WRONG_STATE)
TROUBLE(somebody_can_write, FAKE_WRITER, "capture-wait", EXIT_INTEGRITY)
TROUBLE(another_id_is_told, FAKE_OTHER_ID, "capture-wait", EXIT_INTEGRITY)
TROUBLE(a_layer_is_missing, FAKE_MISSING, "capture-wait", EXIT_INCOMPATIBLE)

/* A ring of the kernel's gives files back when it gets to it. */
Test(taker, a_file_that_is_given_back_late_is_waited_for)
{
	put(3);
	v.trouble = FAKE_LATE;
	v.at = "capture-wait";
	fakevm_serve(&v);
	cr_assert_eq(take_named("a"), 0, "%s: %s", why.object, why.message);
	cr_expect(!*why.message); /* it would be printed */
	expect_content("a", 3);
	fakevm_stop(&v);
}

/* From SEALED on the VM is not needed. */
Test(taker, vm_dies_when_sealed)
{
	put(3);
	fakevm_serve(&v);
	v.trouble = FAKE_DIE_AFTER;
	v.at = "capture-wait";
	cr_assert_eq(take_named("a"), 0, "%s: %s", why.object, why.message);
	expect_content("a", 3);
	cr_expect_eq(count("vms/vm/heads"), 1);
	fakevm_stop(&v);
	v.at = NULL;
	fakevm_open(&v);
	expect_on_disk(3);
	swaptest_close(&v.s);
}

/* The snapshot stays, and so does all that the VM goes on with. */
Test(taker, commit_refused)
{
	put(3);
	fakevm_serve(&v);
	v.trouble = FAKE_REFUSE;
	v.at = "capture-commit";
	cr_assert_eq(take_named("a"), 0);
	expect_content("a", 3);
	v.at = NULL;
	cr_assert_eq(take_named("b"), 0, "%s: %s", why.object, why.message);
	expect_content("b", 3);
	fakevm_stop(&v);
	fakevm_open(&v);
	expect_on_disk(3);
	swaptest_close(&v.s);
}

/* ---- the taker fails ---- */

/* What a fork has of the VM's: a taker has nothing to write to heads by. */
static void close_heads(void)
{
	char path[32], to[256];

	for (int fd = 3; fd < 64; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, to, sizeof(to) - 1);
		to[MAX(n, 0)] = '\0';
		if (strstr(to, "/heads/"))
			close(fd);
	}
}

static void take_it(void *ctx)
{
	close_heads();
	_exit(take_named("a") ? 1 : 0);
}

/* Killed at each of its system calls: the snapshot is whole or not there, and
 * the next capture is a good one. */
Test(taker, killed_anywhere_leaves_nothing_half, .timeout = 600)
{
	unsigned at = 1, kept = 0;
	bool killed = true;

	put(3);
	for (; killed; at += 3) {
		char name[16];

		snprintf(name, sizeof(name), "n%u", at);
		fakevm_serve(&v);
		killed = killed_at(at, take_it, NULL);
		if (store_get_ref(store, "vm", "a", &(struct ref){ .keep = 0 },
				  NULL) == 0) {
			expect_content("a", 3);
			cr_assert_eq(store_delete_ref(store, "vm", "a", &why),
				     0);
			kept++;
		}
		cr_assert_eq(take_named(name), 0, "%u: %s: %s", at, why.object,
			     why.message);
		expect_content(name, 3);
		cr_assert_eq(count("vms/vm/heads"), 1, "%u", at);
		fakevm_stop(&v);
		fakevm_open(&v);
	}
	cr_expect_gt(at, 100);
	cr_expect_gt(kept, 0);
	expect_on_disk(3);
	swaptest_close(&v.s);
}

/* ---- what a VM may say ---- */

static int read_plan(const char *text)
{
	json_t *doc = json_loads(text, 0, NULL);
	struct taker_plan p;
	int err;

	cr_assert_not_null(doc, "%s", text);
	err = taker_plan_read(&p, doc, &why);
	taker_plan_free(&p);
	json_decref(doc);
	return err;
}

#define UID0 "00000000000000000000000000000000"
#define UID1 "11111111111111111111111111111111"
#define PLAN(ram, disks)                                                       \
	"{\"v\":[1],\"parent\":null,\"memory_parent\":null,\"ram\":" ram       \
	",\"state_bytes\":9,\"disks\":[" disks "]}"
#define RAM		 "{\"bytes\":8192,\"changed_pages\":2}"
#define DISK(chain)	 "{\"id\":\"d\",\"bytes\":4096,\"chain\":[" chain "]}"
#define HEAD(uid, state) "{\"uid\":\"" uid "\",\"state\":\"" state "\"}"

Test(taker, plans_are_judged)
{
	static const char *const bad[] = {
		"{}",
		PLAN("7", ""),
		PLAN("{\"bytes\":8192,\"changed_pages\":3}", ""),
		PLAN("{\"bytes\":-1,\"changed_pages\":0}", ""),
		PLAN(RAM, "7"),
		PLAN(RAM, DISK("")),
		PLAN(RAM, DISK(HEAD(UID0, "frozen"))),
		PLAN(RAM, DISK(HEAD("../../x", "head"))),
		PLAN(RAM, DISK(HEAD(UID0, "sealed") "," HEAD(UID1, "head"))),
		PLAN(RAM, DISK(HEAD(UID0, "head") "," HEAD(UID1, "head"))),
		PLAN(RAM, DISK(HEAD(UID0, "frozen") "," HEAD(UID0, "head"))),
		PLAN(RAM,
		     DISK(HEAD(UID0, "head")) "," DISK(HEAD(UID1, "head"))),
		"{\"v\":[2],\"parent\":null,\"memory_parent\":null,\"ram\":" RAM
		",\"state_bytes\":9,\"disks\":[]}",
	};

	swaptest_close(&v.s);
	cr_expect_eq(read_plan(PLAN(RAM, "")), 0);
	cr_expect_eq(read_plan(PLAN("null", "")), 0);
	cr_expect_eq(read_plan(PLAN(RAM, DISK(HEAD(UID0, "frozen") "," HEAD(
					     UID1, "head")))),
		     0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(read_plan(bad[i]), -EPROTO, "%s", bad[i]);
}
