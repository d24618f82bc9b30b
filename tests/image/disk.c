/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks in files: found by id and uid, read alike whatever they are in, copied
 * and compared. What is compared is judged by a comparison byte by byte.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_copy.h"
#include "fileio.h"
#include "imgtest.h"
#include "key_file.h"
#include "layer_dir.h"
#include "new_file.h"

#define PAGES 700
#define BYTES (PAGES * PAGE_BYTES - 1536)

static char dir[32];
static struct layer_set *s;

static void init(void)
{
	s = test_set();
	strcpy(dir, "/tmp/tintype-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
}

static void fini(void)
{
	char command[64];

	layer_set_destroy(s);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(disk, .init = init, .fini = fini);

static struct disk_view *view_of(const char *path)
{
	struct disk_view_options o = { .set = s };
	struct disk_view *v;
	int err = disk_view_open(&v, path, &o, &why);

	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	return v;
}

static void read_all(const struct disk_view *v, uint8_t *buf)
{
	struct where w;

	for (uint64_t p = 0; p < disk_view_pages(v); p += w.count) {
		cr_assert_eq(
		    disk_view_locate(v, p, disk_view_pages(v) - p, &w, &why), 0,
		    "%s", why.message);
		cr_assert_gt(w.count, 0);
		cr_assert_eq(
		    disk_view_read(v, p, &w, buf + p * PAGE_BYTES, &why), 0,
		    "%s", why.message);
	}
}

static void write_raw(const char *path, const uint8_t *buf, uint64_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
	for (uint64_t at = 0; at < bytes; at += PAGE_BYTES)
		if (!mem_is_zero(buf + at, MIN(PAGE_BYTES, bytes - at)))
			cr_assert_eq(file_write(fd, at, buf + at,
						MIN(PAGE_BYTES, bytes - at)),
				     0);
	close(fd);
}

static void import(const char *path, const char *raw, const char *parent,
		   uint32_t flags)
{
	struct disk_view *r = view_of(raw), *p = parent ? view_of(parent) : 0;
	struct new_file f = NEW_FILE_NONE;
	struct draft_options o = {
		.name = path,
		.bytes = disk_view_bytes(r),
		.base = p ? disk_view_image(p) : NULL,
		.flags = flags,
		.key = test_key,
	};
	struct object_id id;
	struct draft *d;

	cr_assert_eq(new_file_create(&f, path, 0600, &why), 0, "%s",
		     why.message);
	o.fd = f.fd;
	cr_assert_eq(draft_create(&d, &o, &why), 0);
	cr_assert_eq(disk_import(d, r, p, NULL, &why), 0, "%s", why.message);
	cr_assert_eq(draft_seal(d, &id, &why), 0);
	cr_assert_eq(new_file_commit(&f, &why), 0, "%s", why.message);
	new_file_discard(&f);
	draft_destroy(d);
	disk_view_close(r);
	disk_view_close(p);
}

/* Some pages get other bytes, some become zero. */
static void change(uint8_t *buf, uint64_t *seed)
{
	for (unsigned i = 0; i < 40; i++) {
		uint64_t page = rng_below(seed, PAGES);
		uint64_t n = 1 + rng_below(seed, 12);

		n = MIN(n, PAGES - page);
		switch (rng_below(seed, 3)) {
		case 0:
			memset(buf + page * PAGE_BYTES, 0, n * PAGE_BYTES);
			break;
		case 1:
			for (uint64_t k = 0; k < n; k++)
				fill_page(buf + (page + k) * PAGE_BYTES,
					  rng(seed));
			break;
		default:
			buf[page * PAGE_BYTES + rng_below(seed, 4096)] ^= 1;
		}
	}
	memset(buf + BYTES, 0, PAGES * PAGE_BYTES - BYTES);
}

/* ---- compare, judged byte by byte ---- */

struct ranges {
	bool differs[PAGES];
	uint64_t end; /* of the last one */
};

static int mark(void *ctx, uint64_t page, uint64_t count)
{
	struct ranges *r = ctx;

	cr_assert_gt(page + 1, r->end + (r->end ? 1 : 0), "not joined");
	for (uint64_t i = 0; i < count; i++)
		r->differs[page + i] = true;
	r->end = page + count;
	return 0;
}

static void expect_compare(const char *a, const char *b, const uint8_t *x,
			   const uint8_t *y)
{
	struct disk_view *va = view_of(a), *vb = view_of(b);
	struct ranges r = { .end = 0 };
	struct disk_difference d;
	uint64_t pages = 0, first = 0;

	cr_assert_eq(disk_compare(va, vb, mark, &r, NULL, &d, &why), 0, "%s",
		     why.message);
	for (uint64_t p = 0; p < PAGES; p++) {
		bool differs =
		    memcmp(x + p * PAGE_BYTES, y + p * PAGE_BYTES, PAGE_BYTES);

		cr_assert_eq(r.differs[p], differs, "page %lu", p);
		pages += differs;
	}
	while (pages && x[first] == y[first])
		first++;
	cr_assert_eq(d.pages, pages);
	cr_assert(!pages || d.first == first);
	disk_view_close(va);
	disk_view_close(vb);
}

/* A chain of layers of all kinds, each from a raw file: every one reads as its
 * raw file, any two differ where those do, and the export is the raw file. */
Test(disk, chain_when_imported_reads_compares_and_exports_as_the_raw_files)
{
	static uint8_t raw[5][PAGES * PAGE_BYTES], got[PAGES * PAGE_BYTES];
	char name[5][8], path[5][8], out[8];
	uint64_t seed = 42;

	for (unsigned i = 0; i < 5; i++) {
		int fd;
		struct disk_view *v;

		if (i)
			memcpy(raw[i], raw[i - 1], sizeof(raw[i]));
		change(raw[i], &seed);
		sprintf(name[i], "r%u", i);
		sprintf(path[i], "i%u", i);
		sprintf(out, "o%u", i);
		write_raw(name[i], raw[i], BYTES);
		import(path[i], name[i], i ? path[i - 1] : NULL, i % 4);
		v = view_of(path[i]);
		cr_assert_eq(disk_view_bytes(v), BYTES);
		read_all(v, got);
		cr_assert_arr_eq(got, raw[i], sizeof(got));
		fd = open(out, O_RDWR | O_CREAT, 0600);
		cr_assert_eq(disk_export(fd, out, v, NULL, &why), 0);
		close(fd);
		expect_compare(out, name[i], raw[i], raw[i]);
		disk_view_close(v);
	}
	for (unsigned i = 0; i < 5; i++)
		for (unsigned k = 0; k < 5; k++) {
			expect_compare(path[i], path[k], raw[i], raw[k]);
			expect_compare(path[i], name[k], raw[i], raw[k]);
		}
}

/* What is shared is not read: damage there is not met. */
Test(disk, compare_when_pages_are_shared_does_not_read_them)
{
	static uint8_t raw[PAGES * PAGE_BYTES];
	uint64_t seed = 7;
	uint8_t bad = 0x55;
	int fd;

	for (uint64_t p = 0; p < PAGES; p++)
		fill_page(raw + p * PAGE_BYTES, p + 1);
	memset(raw + BYTES, 0, sizeof(raw) - BYTES);
	write_raw("r", raw, BYTES);
	import("i", "r", NULL, 0);
	fill_page(raw + 300 * PAGE_BYTES, rng(&seed));
	write_raw("r2", raw, BYTES);
	import("i2", "r2", "i", 0);
	for (uint64_t slot = 1; slot < 100; slot++) {
		fd = open("i", O_RDWR);
		cr_assert_eq(file_write(fd, slot << PAGE_SHIFT, &bad, 1), 0);
		close(fd);
	}
	{
		struct disk_view *a = view_of("i"), *b = view_of("i2");
		struct disk_difference d;

		cr_assert_eq(disk_compare(a, b, NULL, NULL, NULL, &d, &why), 0,
			     "%s", why.message);
		cr_assert_eq(d.pages, 1);
		cr_assert_eq(d.first >> PAGE_SHIFT, 300);
		disk_view_close(a);
		disk_view_close(b);
	}
}

/* ---- heads ---- */

static void make_head(const char *path, struct head_info *info,
		      const struct head_below *below, uint64_t block,
		      uint64_t tag)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	uint8_t page[PAGE_BYTES];
	struct head *h;

	info->bytes = BYTES;
	cr_assert_eq(head_create(fd, path, info, 0, &why), 0);
	cr_assert_eq(head_open(&h, fd, path, below, true, &why), 0);
	fill_page(page, tag);
	cr_assert_eq(head_write(h, block << PAGE_SHIFT, page, PAGE_BYTES, &why),
		     0);
	cr_assert_eq(head_flush(h, &why), 0);
	head_close(h);
	close(fd);
}

/* Head on head on layer on raw file: each block is found where it is. */
Test(disk, view_when_heads_lie_on_heads_finds_what_they_lie_on)
{
	static uint8_t raw[PAGES * PAGE_BYTES], got[PAGES * PAGE_BYTES];
	struct head_info info = { .below_kind = BELOW_LAYER };
	struct disk_view *v;
	uint64_t seed = 3;

	change(raw, &seed);
	write_raw("r", raw, BYTES);
	import("base", "r", NULL, 0);
	v = view_of("base");
	info.below_layer = *layer_id(disk_view_image(v)->layer);
	disk_view_close(v);
	make_head("one", &info, &HEAD_BELOW_NOTHING, 5, 1001);
	info.below_kind = BELOW_HEAD;
	memcpy(info.below_uid, info.uid, UID_BYTES);
	make_head("two", &info, &HEAD_BELOW_NOTHING, 6, 1002);
	fill_page(raw + 5 * PAGE_BYTES, 1001);
	fill_page(raw + 6 * PAGE_BYTES, 1002);
	v = view_of("two");
	cr_assert_eq(disk_view_kind(v), DISK_HEAD);
	read_all(v, got);
	cr_assert_arr_eq(got, raw, sizeof(got));
	disk_view_close(v);
	cr_assert_eq(rename("one", "elsewhere"), 0);
	v = view_of("two");
	disk_view_close(v);
	cr_assert_eq(unlink("elsewhere"), 0);
	{
		struct disk_view_options o = { .set = s };

		cr_assert_eq(disk_view_open(&v, "two", &o, &why), -ENOENT);
		cr_assert_eq(why.code, EXIT_INTEGRITY);
		cr_assert_not_null(strstr(why.message, "lies on head "));
	}
}

/* Two headers that name each other. */
Test(disk, view_when_a_head_lies_on_itself_is_refused)
{
	struct head_info info = { .below_kind = BELOW_HEAD };
	struct disk_view_options o = { .set = s };
	struct layer_header h;
	struct disk_view *v;
	int fd;

	make_head("one", &info, &HEAD_BELOW_NOTHING, 5, 1001);
	fd = open("one", O_RDWR);
	cr_assert_eq(file_read(fd, 0, &h, sizeof(h)), 0);
	memcpy(h.below, h.uid, UID_BYTES);
	hash_check(h.check, &h, offsetof(struct layer_header, check));
	cr_assert_eq(file_write(fd, 0, &h, sizeof(h)), 0);
	close(fd);
	cr_assert_eq(disk_view_open(&v, "one", &o, &why), -ELOOP);
}

Test(disk, view_when_a_raw_file_lies_below_reads_it)
{
	static uint8_t raw[PAGES * PAGE_BYTES], got[PAGES * PAGE_BYTES];
	struct disk_view_options o = { .set = s, .below = "r" };
	struct head_info info = { .below_kind = BELOW_NOTHING };
	struct disk_view *v;
	uint64_t seed = 4;

	change(raw, &seed);
	write_raw("r", raw, 300 * PAGE_BYTES - 1024);
	make_head("one", &info, &HEAD_BELOW_NOTHING, 5, 1001);
	v = view_of("one");
	cr_assert(disk_view_wants_below(v));
	disk_view_close(v);
	cr_assert_eq(disk_view_open(&v, "one", &o, &why), 0);
	cr_assert_not(disk_view_wants_below(v));
	read_all(v, got);
	memset(raw + 300 * PAGE_BYTES - 1024, 0,
	       sizeof(raw) - 300 * PAGE_BYTES + 1024);
	fill_page(raw + 5 * PAGE_BYTES, 1001);
	cr_assert_arr_eq(got, raw, sizeof(got));
	disk_view_close(v);
}

/* ---- files ---- */

static unsigned count_files(void)
{
	FILE *f = popen("ls -A | wc -l", "r");
	unsigned n = 0;

	cr_assert_eq(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n;
}

Test(disk, new_file_has_its_name_only_after_the_commit)
{
	struct new_file f = NEW_FILE_NONE, g = NEW_FILE_NONE;

	cr_assert_eq(new_file_create(&f, "x", 0600, &why), 0, "%s",
		     why.message);
	cr_assert_eq(new_file_create(&g, "./x", 0600, &why), 0);
	cr_assert_neq(access("x", F_OK), 0);
	cr_assert_eq(new_file_commit(&f, &why), 0, "%s", why.message);
	cr_assert_eq(access("x", F_OK), 0);
	cr_assert_eq(new_file_commit(&g, &why), -EEXIST);
	cr_assert_eq(why.code, EXIT_CONFLICT);
	new_file_discard(&f);
	new_file_discard(&g);
	cr_assert_eq(count_files(), 1);
	cr_assert_eq(new_file_create(&f, "x", 0600, &why), -EEXIST);
	new_file_discard(&f);
	cr_assert_eq(new_file_create(&f, "no/x", 0600, &why), -ENOENT);
	cr_assert_eq(why.code, EXIT_NOT_FOUND);
	new_file_discard(&f);
	cr_assert_eq(new_file_create(&f, "y/", 0600, &why), -EISDIR);
	new_file_discard(&f);
}

/* As where there is no O_TMPFILE: the file has another name until then. */
Test(disk, new_file_when_it_has_a_name_is_renamed_or_removed)
{
	struct new_file f = NEW_FILE_NONE;

	for (unsigned commit = 0; commit < 2; commit++) {
		cr_assert_eq(new_file_create(&f, "x", 0600, &why), 0);
		close(f.fd);
		strcpy(f.temp, ".tintype-0");
		f.fd = open(f.temp, O_RDWR | O_CREAT | O_EXCL, 0600);
		cr_assert_geq(f.fd, 0);
		if (commit)
			cr_assert_eq(new_file_commit(&f, &why), 0);
		new_file_discard(&f);
		cr_assert_eq(count_files(), commit);
		cr_assert_eq(access("x", F_OK) == 0, commit);
	}
}

Test(disk, layer_dir_follows_no_link_and_opens_no_pipe)
{
	static uint8_t raw[PAGES * PAGE_BYTES];
	struct layer_dir_file f;
	struct layer_dir *d;
	struct disk_view *v;
	struct object_id id;
	char name[ID_TEXT];

	write_raw("r", raw, BYTES);
	cr_assert_eq(mkdir("sub", 0700), 0);
	import("sub/i", "r", NULL, 0);
	v = view_of("sub/i");
	id = *layer_id(disk_view_image(v)->layer);
	disk_view_close(v);
	object_id_text(name, &id);
	cr_assert_eq(symlink("sub/i", "i"), 0);
	cr_assert_eq(symlink("sub/i", name), 0);
	cr_assert_eq(mkfifo("pipe", 0600), 0);
	cr_assert_eq(layer_dir_open(&d, "x", &why), 0);
	cr_assert_eq(layer_dir_find_id(d, &id, &f), -ENOENT);
	layer_dir_close(d);
	cr_assert_eq(rename("sub/i", "any name"), 0);
	cr_assert_eq(layer_dir_open(&d, "x", &why), 0);
	cr_assert_eq(layer_dir_find_id(d, &id, &f), 0);
	cr_assert_str_eq(f.name, "any name");
	cr_assert(f.sealed);
	close(f.fd);
	layer_dir_close(d);
	cr_assert_eq(unlink(name), 0);
	cr_assert_eq(rename("any name", name), 0);
	cr_assert_eq(layer_dir_open(&d, "./x", &why), 0);
	cr_assert_eq(layer_dir_find_id(d, &id, &f), 0);
	cr_assert_str_eq(f.name + 2, name);
	close(f.fd);
	layer_dir_close(d);
}

Test(disk, layer_is_found_behind_another_file_that_has_its_id_as_name)
{
	static uint8_t raw[PAGES * PAGE_BYTES];
	struct layer_dir_file f;
	struct layer_dir *d;
	struct disk_view *v;
	struct object_id id;
	char name[ID_TEXT];

	write_raw("r", raw, BYTES);
	import("any name", "r", NULL, 0);
	v = view_of("any name");
	id = *layer_id(disk_view_image(v)->layer);
	disk_view_close(v);
	object_id_text(name, &id);
	write_raw(name, raw, BYTES);
	cr_assert_eq(layer_dir_open(&d, "x", &why), 0);
	cr_assert_eq(layer_dir_find_id(d, &id, &f), 0);
	cr_assert_str_eq(f.name, "any name");
	close(f.fd);
	layer_dir_close(d);
	/* When there is no other, that one is to be judged. */
	cr_assert_eq(unlink("any name"), 0);
	cr_assert_eq(layer_dir_open(&d, "x", &why), 0);
	cr_assert_eq(layer_dir_find_id(d, &id, &f), 0);
	cr_assert_str_eq(f.name, name);
	close(f.fd);
	layer_dir_close(d);
}

Test(disk, layer_is_not_called_missing_when_files_cannot_be_opened)
{
	struct object_id id = { { 0 } };
	struct layer_dir_file f;
	struct layer_dir *d;
	struct rlimit limit;
	int fd;

	write_raw("r", (uint8_t[PAGE_BYTES]){ 0 }, PAGE_BYTES);
	cr_assert_eq(layer_dir_open(&d, "x", &why), 0);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	fd = dup(0);
	limit.rlim_cur = (rlim_t)fd + 1; /* for the directory itself */
	close(fd);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	cr_assert_eq(layer_dir_find_id(d, &id, &f), -EMFILE);
	layer_dir_close(d);
}

/* ---- keys ---- */

static int key_of(const char *bytes, size_t len, mode_t mode)
{
	struct mac_key key = { 0 };
	int fd = open("key", O_RDWR | O_CREAT | O_TRUNC, 0600), err;

	cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
	cr_assert_eq(fchmod(fd, mode), 0);
	close(fd);
	err = key_file_read(&key, "key", &why);
	cr_assert(err || !memcmp(key.b, bytes, 32));
	return err;
}

Test(disk, key_file_has_32_bytes_that_are_not_for_all)
{
	static const char bytes[40] = "0123456789abcdef0123456789abcdef!";

	cr_assert_eq(key_of(bytes, 32, 0600), 0);
	cr_assert_eq(key_of(bytes, 32, 0640), 0);
	cr_assert_eq(key_of(bytes, 31, 0600), -EINVAL);
	cr_assert_eq(key_of(bytes, 33, 0600), -EINVAL);
	cr_assert_eq(key_of(bytes, 0, 0600), -EINVAL);
	cr_assert_eq(key_of(bytes, 32, 0644), -EACCES);
	cr_assert_eq(why.code, EXIT_DENIED);
	cr_assert_eq(key_file_read(&(struct mac_key){ 0 }, "none", &why),
		     -ENOENT);
	cr_assert_eq(mkfifo("pipe", 0600), 0);
	cr_assert_eq(key_file_read(&(struct mac_key){ 0 }, "pipe", &why),
		     -EINVAL);
	cr_assert_eq(key_file_read(&(struct mac_key){ 0 }, ".", &why), -EINVAL);
}

/* By Python: hashlib.blake2b(b'tintype layer\n\0\0' + bytes(range(16)),
 * key=bytes(range(32)), digest_size=32).hexdigest() */
Test(disk, key_of_a_layer_is_as_the_page_has_it)
{
	uint8_t uid[UID_BYTES], key[LAYER_KEY_BYTES], want[LAYER_KEY_BYTES];
	struct mac_key secret;
	struct object_id hex;

	for (unsigned i = 0; i < 32; i++)
		secret.b[i] = (uint8_t)i;
	for (unsigned i = 0; i < UID_BYTES; i++)
		uid[i] = (uint8_t)i;
	key_file_layer_key(&secret, uid, key);
	cr_assert(object_id_parse(&hex, "61bc97b5c99123caad630071b4817eacc9361e"
					"9c8648dd85e3e07c92a906ace4"));
	memcpy(want, hex.b, sizeof(want));
	cr_assert_arr_eq(key, want, sizeof(key));
}
