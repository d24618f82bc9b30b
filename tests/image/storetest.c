/* SPDX-License-Identifier: Apache-2.0 */
/* See storetest.h. */
#include "storetest.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

int test_home = -1;
static char home_path[256];

void store_test_home(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(home_path, sizeof(home_path), "%s/store-XXXXXX",
		 tmp ? tmp : "/tmp");
	cr_assert(mkdtemp(home_path));
	test_home = open(home_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(test_home, 0);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	return remove(path);
}

void store_test_end(void)
{
	close(test_home);
	nftw(home_path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- files ---- */

const char *layer_path(char path[128], const struct object_id *id)
{
	char text[ID_TEXT];

	object_id_text(text, id);
	snprintf(path, 128, "store/layers/%s", text);
	return path;
}

const char *manifest_path(char path[128], const struct object_id *id)
{
	char text[ID_TEXT];

	object_id_text(text, id);
	snprintf(path, 128, "store/manifests/%s", text);
	return path;
}

unsigned count_files(const char *path)
{
	int fd = openat(test_home, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(fd);
	unsigned n = 0;

	cr_assert(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

void flip_byte(const char *path, uint64_t at)
{
	int fd;
	uint8_t b;

	cr_assert_eq(fchmodat(test_home, path, 0600, 0), 0);
	fd = openat(test_home, path, O_RDWR | O_CLOEXEC);
	cr_assert_geq(fd, 0, "%s", path);
	cr_assert_eq(pread(fd, &b, 1, (off_t)at), 1);
	b ^= 0x10;
	cr_assert_eq(pwrite(fd, &b, 1, (off_t)at), 1);
	close(fd);
}

void make_large(const char *path, uint64_t bytes)
{
	int fd = openat(test_home, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0, "%s", path);
	cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
	close(fd);
}

bool same_inode(int a, int b)
{
	struct stat x, y;

	return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* ---- layers ---- */

static void open_base(struct store *s, const struct object_id *id,
		      struct layer_set *set, struct image *img)
{
	struct layer *l;

	cr_assert_eq(
	    layer_open(set, store_find_layer(s, id), "base", id, &l, &why), 0,
	    "%s", why.message);
	cr_assert_eq(layer_link(set, store_find_layer, s, &why), 0);
	cr_assert_eq(image_open(img, l, 0, &why), 0);
}

static void fill(struct store *s, int fd, uint64_t page, uint64_t tag,
		 const struct object_id *base, struct object_id *id)
{
	struct draft_options o = { .fd = fd, .name = "new", .bytes = MIB(1) };
	struct layer_set *set = layer_set_create(NULL, NULL);
	uint8_t data[PAGE_BYTES];
	struct image img;
	struct draft *d;

	if (base) {
		open_base(s, base, set, &img);
		o.base = &img;
	}
	fill_page(data, tag);
	cr_assert_eq(draft_create(&d, &o, &why), 0, "%s", why.message);
	cr_assert_eq(draft_put(d, page, data, &why), 0);
	cr_assert_eq(draft_seal(d, id, &why), 0, "%s", why.message);
	draft_destroy(d);
	layer_set_destroy(set);
}

void store_test_fill(struct store *s, int rw, uint64_t tag,
		     struct object_id *id)
{
	fill(s, rw, tag, tag, NULL, id);
}

void make_sealed(struct store *s, uint64_t tag, const struct object_id *base,
		 int *rw, int *ro, struct object_id *id)
{
	cr_assert_eq(store_new_layer(s, 0, rw, ro, &why), 0, "%s", why.message);
	fill(s, *rw, tag, tag, base, id);
}

int new_layer(struct store *s, uint64_t tag, const struct object_id *base,
	      struct object_id *id)
{
	int rw, ro;

	make_sealed(s, tag, base, &rw, &ro, id);
	close(rw);
	return ro;
}

int named_layer(struct store *s, const char *name, uint64_t tag,
		struct object_id *id)
{
	int fd = openat(test_home, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
			0600);

	cr_assert_geq(fd, 0);
	fill(s, fd, tag, tag, NULL, id);
	close(fd);
	fd = openat(test_home, name, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	return fd;
}

struct object_id put_layer_at(struct store *s, uint64_t page, uint64_t tag,
			      const struct object_id *base)
{
	struct object_id id;
	int rw, ro;

	cr_assert_eq(store_new_layer(s, 0, &rw, &ro, &why), 0);
	fill(s, rw, page, tag, base, &id);
	close(rw);
	cr_assert_eq(store_link_layer(s, ro, -1, NULL, &id, &why), 0, "%s: %s",
		     why.object, why.message);
	cr_assert_eq(store_sync_layers(s, &why), 0);
	close(ro);
	return id;
}

struct object_id put_layer(struct store *s, uint64_t tag,
			   const struct object_id *base)
{
	return put_layer_at(s, tag, tag, base);
}

void expect_page(struct layer_set *set, const struct object_id *layer,
		 uint64_t page, uint64_t tag)
{
	uint8_t got[PAGE_BYTES], want[PAGE_BYTES];
	struct image img;

	cr_assert_eq(image_open(&img, layer_set_find(set, layer), 0, &why), 0);
	cr_assert_eq(image_read(&img, page, 1, got, &why), 0, "%s: %s",
		     why.object, why.message);
	fill_page(want, tag);
	cr_assert_arr_eq(got, want, PAGE_BYTES);
}

/* ---- snapshots ---- */

void store_test_manifest(struct manifest *m, const struct object_id *layer,
			 const struct object_id *parent)
{
	static uint64_t taken = UINT64_C(1700000000000000000);

	*m = (struct manifest){
		.taken_ns = taken++,
		.engine = "a test",
		.vm_uid = { 1 },
		.consistency = CONSISTENT_CRASH,
		.owner_uid = geteuid(),
	};
	if (parent)
		m->parent = *parent;
	m->images.item = calloc(1, sizeof(*m->images.item));
	m->images.n = 1;
	m->images.item[0] = (struct manifest_image){
		.kind = IMAGE_DISK,
		.id = "root",
		.bytes = MIB(1),
		.layer = *layer,
	};
}

struct object_id put_snapshot_of(struct store *s, const char *vm,
				 const char *name,
				 const struct object_id *layer,
				 const struct object_id *parent)
{
	struct ref r = { .sequence = 1 };
	struct manifest m;
	int err;

	store_test_manifest(&m, layer, parent);
	snprintf(r.vm, sizeof(r.vm), "%s", vm);
	snprintf(r.name, sizeof(r.name), "%s", name);
	err = store_put_manifest(s, &m, &r.manifest, &why);
	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	err = store_put_ref(s, &r, false, &why);
	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	manifest_free(&m);
	return r.manifest;
}

struct object_id put_snapshot(struct store *s, const char *vm, const char *name,
			      uint64_t tag, const struct object_id *base,
			      const struct object_id *parent)
{
	struct object_id layer = put_layer(s, tag, base);

	return put_snapshot_of(s, vm, name, &layer, parent);
}
