/* SPDX-License-Identifier: Apache-2.0 */
/* Heads found again after any end: docs/capture-protocol.md, "Recovery of a
 * VM's directory". */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "dirtest.h"
#include "layer_writer.h"
#include "util.h"

#define DISK "disk0"

static struct dirtest t;

static void init(void)
{
	dirtest_init(&t, 2);
}

static void fini(void)
{
	dirtest_fini(&t);
}

TestSuite(recover, .init = init, .fini = fini, .timeout = 60);

static void point_both(const struct made *m)
{
	struct made other = dirtest_head(&t, "disk1", NULL, LEFT_FLUSHED, 9);

	dirtest_point(&t, DISK, m);
	dirtest_point(&t, "disk1", &other);
}

/* Opens; what that leaves is what the next one leaves. */
static void recover(void)
{
	_cleanup_free_ char *once = NULL, *twice = NULL;

	cr_assert_eq(dirtest_open(&t), 0, "%s", t.why.message);
	once = dirtest_listing(&t);
	dirtest_close(&t);
	cr_assert_eq(dirtest_open(&t), 0, "%s", t.why.message);
	twice = dirtest_listing(&t);
	cr_assert_str_eq(once, twice);
}

static void expect_head(unsigned disk, const struct made *m)
{
	uint8_t uid[UID_BYTES];
	struct head_info info;

	cr_assert_eq(disk_uid_parse(uid, m->uid), 0);
	cr_assert_eq(head_read_info(t.files[disk].head, "head", &info, NULL),
		     0);
	cr_assert_eq(memcmp(uid, info.uid, UID_BYTES), 0, "another head");
}

/* Nothing was changed. */
static void refused(enum exit_code code, const char *what)
{
	_cleanup_free_ char *before = dirtest_listing(&t), *after = NULL;

	cr_assert_neq(dirtest_open(&t), 0);
	cr_assert_eq(t.why.code, code, "%s", t.why.message);
	cr_assert_not_null(strstr(t.why.message, what), "%s", t.why.message);
	after = dirtest_listing(&t);
	cr_assert_str_eq(before, after);
}

/* ---- one disk ---- */

Test(recover, next_head_that_is_empty_is_unlinked_when_the_old_is_unsealed)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_EMPTY, 0);
	struct made c = dirtest_head(&t, DISK, &a, LEFT_UNSYNCED, 3);

	point_both(&a);
	recover();
	expect_head(0, &a);
	cr_assert_eq(t.files[0].nbelow, 0);
	cr_assert_not(dirtest_there(&t, DISK, &b));
	cr_assert_not(dirtest_there(&t, DISK, &c));
	cr_assert_eq(dirtest_tag(&t, 0), 1);
	cr_assert_eq(dirtest_tag(&t, 1), 9);
}

Test(recover, next_head_with_a_commit_lies_on_the_old_one)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_FLUSHED, 2);

	point_both(&a);
	recover();
	expect_head(0, &b);
	cr_assert_eq(t.files[0].nbelow, 1);
	cr_assert_eq(dirtest_tag(&t, 0), 2);
}

/* Nothing was written between two captures that were given up. */
Test(recover, empty_head_in_the_middle_leads_to_the_one_with_a_commit)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_EMPTY, 0);
	struct made c = dirtest_head(&t, DISK, &b, LEFT_FLUSHED, 3);
	struct made d = dirtest_head(&t, DISK, &c, LEFT_EMPTY, 0);

	point_both(&a);
	recover();
	expect_head(0, &c);
	cr_assert_eq(t.files[0].nbelow, 2);
	cr_assert_not(dirtest_there(&t, DISK, &d));
	cr_assert_eq(dirtest_tag(&t, 0), 3);
}

Test(recover, heads_may_name_any_of_the_chain)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_FLUSHED, 2);
	struct made c = dirtest_head(&t, DISK, &b, LEFT_EMPTY, 0);

	point_both(&c);
	recover();
	expect_head(0, &b);
	cr_assert_eq(t.files[0].nbelow, 1);
	cr_assert_not(dirtest_there(&t, DISK, &c));
}

Test(recover, two_heads_with_commits_on_one_are_refused)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);

	dirtest_head(&t, DISK, &a, LEFT_FLUSHED, 2);
	dirtest_head(&t, DISK, &a, LEFT_FLUSHED, 3);
	point_both(&a);
	refused(EXIT_INTEGRITY, "one of two");
}

/* ---- sealed ---- */

Test(recover, sealed_head_that_no_snapshot_has_stays)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_SEALED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_EMPTY, 0);

	point_both(&a);
	recover();
	expect_head(0, &b);
	cr_assert(dirtest_there(&t, DISK, &a));
	cr_assert(t.files[0].on_image);
	cr_assert(object_id_equal(&t.files[0].layer, &a.layer));
	cr_assert_eq(t.files[0].nsealed, 1);
	cr_assert_str_eq(t.files[0].sealed[0].uid, a.uid);
	cr_assert_eq(t.nlayers, 1);
	cr_assert_eq(dirtest_tag(&t, 0), 1);
}

Test(recover, sealed_head_that_a_parent_has_is_the_stores)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_SEALED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_FLUSHED, 2);
	struct object_id parent = dirtest_store(&t, DISK, &a);

	point_both(&a);
	cr_assert_eq(
	    disk_roots_set_parents(&dirtest_roots(&t)->roots, &parent, 1), 0);
	dirtest_roots_done(&t);
	recover();
	expect_head(0, &b);
	cr_assert_not(dirtest_there(&t, DISK, &a));
	cr_assert(object_id_equal(&t.files[0].layer, &a.layer));
	cr_assert_eq(t.files[0].nsealed, 0);
	cr_assert_eq(dirtest_tag(&t, 0), 2);
}

/* The store has the layer, but nothing that keeps it there: the capture did not
 * come to its roots. */
Test(recover, sealed_head_that_is_linked_but_named_by_no_parent_stays)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_SEALED, 1);

	dirtest_head(&t, DISK, &a, LEFT_EMPTY, 0);
	dirtest_store(&t, DISK, &a);
	point_both(&a);
	recover();
	cr_assert(dirtest_there(&t, DISK, &a));
	cr_assert_eq(dirtest_tag(&t, 0), 1);
}

Test(recover, sealed_head_without_another_gets_one)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_SEALED, 1);

	point_both(&a);
	recover();
	cr_assert(t.files[0].on_image);
	cr_assert_eq(dirtest_tag(&t, 0), 1);
}

Test(recover, sealing_that_broke_off_between_two_heads_goes_on)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_SEALED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_FLUSHED, 2);
	struct made c = dirtest_head(&t, DISK, &b, LEFT_FLUSHED, 3);

	point_both(&a);
	recover();
	expect_head(0, &c);
	cr_assert_eq(t.files[0].nbelow, 1);
	cr_assert(t.files[0].on_image);
	cr_assert_eq(dirtest_tag(&t, 0), 3);
}

Test(recover, unsealed_head_below_a_sealed_one_is_refused)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_SEALED, 2);

	point_both(&b);
	refused(EXIT_INTEGRITY, "below a sealed one");
}

/* ---- in the store ---- */

Test(recover, head_on_a_layer_of_the_store_is_found_by_its_id_or_uid)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_SEALED, 1);
	struct object_id parent = dirtest_store(&t, DISK, &a);
	struct made by_id =
	    dirtest_head_on(&t, DISK, &a.layer, LEFT_FLUSHED, 2);
	struct disk_dir *x;

	point_both(&by_id);
	x = dirtest_roots(&t);
	cr_assert_eq(disk_roots_set_parents(&x->roots, &parent, 1), 0);
	dirtest_roots_done(&t);
	recover();
	expect_head(0, &by_id);
	cr_assert_not(dirtest_there(&t, DISK, &a));
	dirtest_close(&t);
	/* "heads" names what is in the store alone: an empty head on it. */
	dirtest_point(&t, DISK, &a);
	recover();
	cr_assert_not(dirtest_there(&t, DISK, &by_id));
	cr_assert_eq(dirtest_tag(&t, 0), 1);
}

Test(recover, layer_that_is_nowhere_is_named)
{
	static const struct object_id none = { { 0xab, 0xcd } };
	struct made a = dirtest_head_on(&t, DISK, &none, LEFT_FLUSHED, 1);

	point_both(&a);
	refused(EXIT_INTEGRITY, "layer abcd");
}

Test(recover, parent_that_is_nowhere_is_named)
{
	static const struct object_id none = { { 0xab, 0xcd } };
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);

	point_both(&a);
	disk_roots_set_parents(&dirtest_roots(&t)->roots, &none, 1);
	dirtest_roots_done(&t);
	refused(EXIT_INTEGRITY, "is not in the store");
	cr_assert_str_eq(t.why.object, "manifest abcd00000000");
}

/* ---- next, scratch ---- */

static void set_next(const char *disk, const struct made *m)
{
	struct disk_dir *x = dirtest_roots(&t);
	struct disk_root *r = disk_roots_find(&x->roots, disk);

	memcpy(r->next, m->uid, sizeof(r->next));
	x->roots.dirty = true;
	dirtest_roots_done(&t);
}

Test(recover, next_without_a_commit_is_dropped)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made n = dirtest_head(&t, DISK, NULL, LEFT_EMPTY, 0);
	struct made n1 = dirtest_head(&t, "disk1", NULL, LEFT_EMPTY, 0);

	point_both(&a);
	set_next(DISK, &n);
	set_next("disk1", &n1);
	recover();
	expect_head(0, &a);
	cr_assert_eq(dirtest_tag(&t, 1), 9);
	cr_assert_not(dirtest_there(&t, DISK, &n));
	cr_assert_not(dirtest_there(&t, "disk1", &n1));
}

/* Cut between the syncs of two disks. */
Test(recover, next_counts_for_all_disks_when_one_has_a_commit)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made n = dirtest_head(&t, DISK, NULL, LEFT_EMPTY, 0);
	struct made n1 = dirtest_head(&t, "disk1", NULL, LEFT_FLUSHED, 7);

	point_both(&a);
	set_next(DISK, &n);
	set_next("disk1", &n1);
	recover();
	expect_head(0, &n);
	expect_head(1, &n1);
	cr_assert_eq(dirtest_tag(&t, 0), 0);
	cr_assert_eq(dirtest_tag(&t, 1), 7);
	cr_assert_not(dirtest_there(&t, DISK, &a));
}

static void forget(const char *disk)
{
	struct disk_dir *x = dirtest_roots(&t);

	disk_roots_find(&x->roots, disk)->uid[0] = '\0';
	x->roots.dirty = true;
	dirtest_roots_done(&t);
}

static void set_scratch(const struct object_id *parent)
{
	struct disk_dir *x = dirtest_roots(&t);

	x->roots.scratch = true;
	cr_assert_eq(disk_roots_set_parents(&x->roots, parent, 1), 0);
	dirtest_roots_done(&t);
}

Test(recover, scratch_takes_the_disks_of_the_parents)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_SEALED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_FLUSHED, 2);
	struct object_id parent = dirtest_store(&t, DISK, &a);

	t.config.ndisks = 1;
	dirtest_point(&t, DISK, &b);
	forget("disk1");
	set_scratch(&parent);
	recover();
	cr_assert_not(dirtest_there(&t, DISK, &b));
	cr_assert_eq(dirtest_tag(&t, 0), 1);
	cr_assert_not(dirtest_roots(&t)->roots.scratch);
	dirtest_roots_done(&t);
}

Test(recover, scratch_without_a_snapshot_of_the_disk_is_refused)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_SEALED, 1);
	struct object_id parent = dirtest_store(&t, DISK, &a);

	point_both(&a);
	set_scratch(&parent);
	cr_assert_neq(dirtest_open(&t), 0);
	cr_assert_eq(t.why.code, EXIT_INTEGRITY);
	cr_assert_str_eq(t.why.object, "vm: disk disk1");
}

/* ---- hostile ---- */

static void overwrite(const struct made *m, off_t at, const void *data,
		      size_t len)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/vms/vm/heads/" DISK ".%s", t.path,
		 m->uid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert_eq(pwrite(fd, data, len, at), (ssize_t)len);
	close(fd);
}

Test(recover, head_that_is_damaged_is_not_taken_for_nothing)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_FLUSHED, 2);

	point_both(&a);
	overwrite(&b, 60, "damage", 6);
	refused(EXIT_INTEGRITY, "damaged");
}

Test(recover, file_under_another_heads_name_is_refused)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1), b = a;
	char from[160], to[160];

	b.uid[0] = b.uid[0] == '0' ? '1' : '0';
	snprintf(from, sizeof(from), "%s/vms/vm/heads/" DISK ".%s", t.path,
		 a.uid);
	snprintf(to, sizeof(to), "%s/vms/vm/heads/" DISK ".%s", t.path, b.uid);
	cr_assert_eq(rename(from, to), 0);
	point_both(&b);
	refused(EXIT_INTEGRITY, "another one");
}

Test(recover, head_of_another_size_is_refused)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	const char *path = t.config.disk[0].path;
	struct disk_root *r;
	struct disk_dir *x;
	struct stat st;

	point_both(&a);
	cr_assert_eq(truncate(path, 2 * DISK_BYTES), 0);
	cr_assert_eq(stat(path, &st), 0);
	x = dirtest_roots(&t);
	r = disk_roots_find(&x->roots, DISK);
	r->bytes = 2 * DISK_BYTES;
	r->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000 +
		      (uint64_t)st.st_mtim.tv_nsec;
	x->roots.dirty = true;
	dirtest_roots_done(&t);
	refused(EXIT_INTEGRITY, "another disk's");
}

Test(recover, heads_that_lie_on_each_other_are_refused)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_FLUSHED, 2);
	struct layer_header h;
	char path[160];
	int fd;

	/* By who can write to the directory: an honest uid is made after that
	 * of what it lies on. */
	snprintf(path, sizeof(path), "%s/vms/vm/heads/" DISK ".%s", t.path,
		 a.uid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_eq(pread(fd, &h, sizeof(h), 0), (ssize_t)sizeof(h));
	h.below_kind = BELOW_HEAD;
	cr_assert_eq(disk_uid_parse(h.below, b.uid), 0);
	layer_header_seal(&h);
	cr_assert_eq(pwrite(fd, &h, sizeof(h), 0), (ssize_t)sizeof(h));
	close(fd);
	point_both(&a);
	refused(EXIT_INTEGRITY, "itself");
}

/* ---- a disk that is not given; a new VM on a snapshot ---- */

Test(recover, disk_that_is_not_given_keeps_its_chain)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made b = dirtest_head(&t, "disk1", NULL, LEFT_FLUSHED, 2);
	struct made c = dirtest_head(&t, "disk1", &b, LEFT_FLUSHED, 3);

	dirtest_point(&t, DISK, &a);
	dirtest_point(&t, "disk1", &b);
	t.config.ndisks = 1;
	recover();
	dirtest_close(&t);
	cr_assert(dirtest_there(&t, "disk1", &b));
	cr_assert(dirtest_there(&t, "disk1", &c));
	t.config.ndisks = 2;
	recover();
	cr_assert_eq(dirtest_tag(&t, 1), 3);
}

static struct disk_origin origin;
static struct object_id begin_parent;

static int begin(bool discard)
{
	return disk_begin_all(&t.config, &t.vm, true, &begin_parent, &origin, 1,
			      discard, &t.why);
}

/* A snapshot whose disk has 1 in block 0, and a VM that has nothing. */
static void make_origin(void)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_SEALED, 1);

	begin_parent = dirtest_store(&t, DISK, &a);
	origin = (struct disk_origin){ .id = DISK,
				       .bytes = DISK_BYTES,
				       .layer = a.layer };
	forget(DISK);
	forget("disk1");
}

Test(recover, vm_that_begins_on_a_snapshot_has_its_disks)
{
	make_origin();
	cr_assert_eq(begin(false), 0, "%s", t.why.message);
	recover();
	cr_assert_eq(dirtest_tag(&t, 0), 1);
	cr_assert_eq(dirtest_tag(&t, 1), 0);
}

/* A start that came to nothing is no reason to refuse the next. */
Test(recover, vm_that_changed_nothing_begins_again)
{
	make_origin();
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(begin(false), 0, "%s", t.why.message);
		recover();
		cr_assert_eq(dirtest_tag(&t, 0), 1);
		dirtest_close(&t);
	}
}

Test(recover, vm_with_changes_begins_only_when_they_are_discarded)
{
	struct made a;

	make_origin();
	a = dirtest_head_on(&t, DISK, &origin.layer, LEFT_FLUSHED, 2);
	cr_assert_eq(begin(false), 0, "%s", t.why.message);
	dirtest_point(&t, DISK, &a);
	cr_assert_neq(begin(false), 0);
	cr_assert_eq(t.why.code, EXIT_CONFLICT);
	recover();
	cr_assert_eq(dirtest_tag(&t, 0), 2);
	dirtest_close(&t);
	cr_assert_eq(begin(true), 0, "%s", t.why.message);
	recover();
	cr_assert_eq(dirtest_tag(&t, 0), 1);
	cr_assert(!dirtest_there(&t, DISK, &a));
}

Test(recover, vm_begins_only_over_the_file_of_the_snapshot)
{
	uint8_t stamp[ID_BYTES] = { 1 };

	make_origin();
	origin.stamp = stamp;
	cr_assert_neq(begin(false), 0);
	cr_assert_eq(t.why.code, EXIT_CONFLICT);
	disk_root_stamp(disk_roots_find(&dirtest_roots(&t)->roots, DISK),
			stamp);
	dirtest_roots_done(&t);
	cr_assert_eq(begin(false), 0, "%s", t.why.message);
	origin.id = "other";
	cr_assert_neq(begin(false), 0);
	cr_assert_eq(t.why.code, EXIT_USAGE);
}

/* ---- killed ---- */

static void open_once(void *ctx)
{
	(void)dirtest_open(&t);
}

/* A recovery that dies before any of its system calls is done by the next. */
static void die_and_recover(void (*arrange)(void), uint8_t tag0, uint8_t tag1)
{
	bool killed = true;

	for (unsigned at = 1; killed; at++) {
		arrange();
		killed = killed_at(at, open_once, NULL);
		recover();
		cr_assert_eq(dirtest_tag(&t, 0), tag0, "killed at %u", at);
		cr_assert_eq(dirtest_tag(&t, 1), tag1, "killed at %u", at);
		dirtest_close(&t);
	}
}

static void chain_with_empty_next(void)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made b = dirtest_head(&t, DISK, &a, LEFT_FLUSHED, 2);

	dirtest_head(&t, DISK, &b, LEFT_EMPTY, 0);
	point_both(&a);
}

Test(recover, killed_at_any_call_with_a_chain, .timeout = 300)
{
	die_and_recover(chain_with_empty_next, 2, 9);
}

static void next_is_used(void)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 1);
	struct made n = dirtest_head(&t, DISK, NULL, LEFT_FLUSHED, 4);
	struct made n1 = dirtest_head(&t, "disk1", NULL, LEFT_EMPTY, 0);

	point_both(&a);
	set_next(DISK, &n);
	set_next("disk1", &n1);
}

Test(recover, killed_at_any_call_with_next, .timeout = 300)
{
	die_and_recover(next_is_used, 4, 0);
}

static void sealed_alone(void)
{
	struct made a = dirtest_head(&t, DISK, NULL, LEFT_SEALED, 1);

	point_both(&a);
}

Test(recover, killed_at_any_call_with_a_sealed_head, .timeout = 300)
{
	die_and_recover(sealed_alone, 1, 9);
}
