/* SPDX-License-Identifier: Apache-2.0 */
/* See dirtest.h. */
#include "dirtest.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "disk_chain.h"
#include "util.h"

/* ---- the home ---- */

static void add_disk(struct dirtest *t, unsigned i)
{
	struct disk_config *d = &t->config.disk[i];
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/base%u", t->path, i);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(ftruncate(fd, DISK_BYTES), 0);
	close(fd);
	d->path = strdup(path);
	snprintf(d->id, sizeof(d->id), "disk%u", i);
}

static void drop_heads(struct dirtest *t)
{
	struct disk_dir *x = dirtest_roots(t);

	cr_assert_geq(disk_dir_heads(x, &t->why), 0);
	for (unsigned i = 0; i < x->roots.n; i++) {
		struct disk_root *r = &x->roots.root[i];

		disk_dir_drop_head(x, r->id, r->uid);
		r->uid[0] = '\0';
	}
	x->roots.dirty = true;
	dirtest_roots_done(t);
}

void dirtest_init(struct dirtest *t, unsigned disks)
{
	const char *tmp = getenv("TMPDIR");
	_cleanup_close_ int vms = -1;

	memset(t, 0, sizeof(*t));
	snprintf(t->path, sizeof(t->path), "%s/tintype-dir-XXXXXX",
		 tmp ? tmp : "/tmp");
	cr_assert_not_null(mkdtemp(t->path));
	setenv("TINTYPE_HOME", t->path, true);
	vms = home_open(true, &t->why);
	cr_assert_geq(vms, 0, "%s", t->why.message);
	cr_assert_eq(home_claim(vms, "vm", true, &t->vm, &t->why), 0);
	config_init(&t->config);
	t->config.ndisks = disks;
	for (unsigned i = 0; i < disks; i++)
		add_disk(t, i);
	cr_assert_eq(dirtest_open(t), 0, "%s", t->why.message);
	dirtest_close(t);
	drop_heads(t);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	return remove(path);
}

void dirtest_fini(struct dirtest *t)
{
	dirtest_close(t);
	vm_dir_close(&t->vm);
	config_free(&t->config);
	nftw(t->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int dirtest_open(struct dirtest *t)
{
	const struct disk_files none = DISK_FILES_NONE;

	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		t->files[i] = none;
	return disk_open_all(&t->config, &t->vm, true, t->files, &t->layer,
			     &t->nlayers, &t->why);
}

void dirtest_close(struct dirtest *t)
{
	for (unsigned i = 0; i < t->config.ndisks; i++) {
		struct disk_files *f = &t->files[i];

		for (unsigned k = 0; k < f->nbelow; k++)
			cleanup_close(&f->below[k]);
		if (f->bytes) {
			cleanup_close(&f->head);
			cleanup_close(&f->base);
			cleanup_close(&f->lock);
		}
		disk_files_free(f);
		f->bytes = f->nbelow = 0;
	}
	for (unsigned i = 0; i < t->nlayers; i++)
		cleanup_close(&t->layer[i]);
	free(t->layer);
	t->layer = NULL;
	t->nlayers = 0;
}

/* ---- heads ---- */

static struct disk_dir held;

struct disk_dir *dirtest_roots(struct dirtest *t)
{
	cr_assert_eq(disk_dir_lock(&held, &t->vm, true, &t->why), 0, "%s",
		     t->why.message);
	return &held;
}

void dirtest_roots_done(struct dirtest *t)
{
	if (held.roots.dirty)
		cr_assert_eq(
		    disk_roots_write(&held.roots, &t->vm, true, &t->why), 0);
	disk_dir_unlock(&held);
}

void dirtest_point(struct dirtest *t, const char *disk, const struct made *m)
{
	struct disk_dir *x = dirtest_roots(t);
	struct disk_root *r = disk_roots_find(&x->roots, disk);

	cr_assert_not_null(r);
	memcpy(r->uid, m->uid, sizeof(r->uid));
	x->roots.dirty = true;
	dirtest_roots_done(t);
}

static void write_tag(struct head *h, uint8_t tag)
{
	uint8_t block[4096];

	memset(block, tag, sizeof(block));
	cr_assert_eq(head_write(h, 0, block, sizeof(block), NULL), 0);
	cr_assert_eq(
	    head_write(h, tag * UINT64_C(4096), block, sizeof(block), NULL), 0);
}

static void leave(int fd, enum left left, uint8_t tag, struct made *m)
{
	const struct head_below below = HEAD_BELOW_NOTHING;
	struct head *h;

	if (left == LEFT_EMPTY)
		return;
	cr_assert_eq(head_open(&h, fd, "head", &below, true, NULL), 0);
	write_tag(h, tag);
	if (left >= LEFT_FLUSHED)
		cr_assert_eq(head_flush(h, NULL), 0);
	if (left == LEFT_SEALED) {
		head_freeze(h);
		cr_assert_eq(head_seal(h, NULL, &m->layer, NULL), 0);
	}
	head_close(h);
}

static struct made make(struct dirtest *t, const char *disk,
			struct head_info *info, enum left left, uint8_t tag)
{
	struct disk_dir *x = dirtest_roots(t);
	struct made m = { 0 };
	_cleanup_close_ int fd = -1;

	info->bytes = DISK_BYTES;
	cr_assert_eq(disk_dir_make_head(x, disk, info, 0, m.uid, &fd, &t->why),
		     0, "%s", t->why.message);
	leave(fd, left, tag, &m);
	dirtest_roots_done(t);
	return m;
}

struct made dirtest_head(struct dirtest *t, const char *disk,
			 const struct made *below, enum left left, uint8_t tag)
{
	struct head_info info = { 0 };

	if (below) {
		info.below_kind = BELOW_HEAD;
		cr_assert_eq(disk_uid_parse(info.below_uid, below->uid), 0);
	}
	return make(t, disk, &info, left, tag);
}

struct made dirtest_head_on(struct dirtest *t, const char *disk,
			    const struct object_id *layer, enum left left,
			    uint8_t tag)
{
	struct head_info info = { .below_kind = BELOW_LAYER,
				  .below_layer = *layer };

	return make(t, disk, &info, left, tag);
}

static void heads_path(const struct dirtest *t, char path[160],
		       const char *disk, const struct made *m)
{
	snprintf(path, 160, "%s/vms/vm/heads/%s.%s", t->path, disk, m->uid);
}

bool dirtest_there(const struct dirtest *t, const char *disk,
		   const struct made *m)
{
	char path[160];

	heads_path(t, path, disk, m);
	return access(path, F_OK) == 0;
}

/* ---- the store ---- */

static struct object_id put_manifest(struct dirtest *t, struct store *store,
				     const char *disk,
				     const struct object_id *layer)
{
	struct manifest m = {
		.taken_ns = 1,
		.engine = "test",
		.vm_uid = { 1 },
		.consistency = CONSISTENT_CRASH,
	};
	struct manifest_image image = {
		.kind = IMAGE_DISK,
		.bytes = DISK_BYTES,
		.layer = *layer,
		.base = BASE_RAW_FILE,
		.base_bytes = DISK_BYTES,
	};
	struct object_id id;

	snprintf(image.id, sizeof(image.id), "%s", disk);
	m.images.item = &image;
	m.images.n = 1;
	cr_assert_eq(store_put_manifest(store, &m, &id, &t->why), 0, "%s",
		     t->why.message);
	return id;
}

struct object_id dirtest_store(struct dirtest *t, const char *disk,
			       const struct made *m)
{
	_cleanup_close_ int home = open(t->path, O_RDONLY | O_DIRECTORY);
	_cleanup_close_ int fd = -1;
	char name[DISK_HEAD_TEXT];
	struct store *store;
	struct object_id id;
	struct disk_dir *x = dirtest_roots(t);

	cr_assert_eq(store_open(&store, home, true, &t->why), 0, "%s",
		     t->why.message);
	cr_assert_eq(store_lock(store, STORE_SHARED, &t->why), 0);
	fd = disk_dir_open_head(x, disk, m->uid, O_RDONLY, &t->why);
	disk_head_name(name, disk, m->uid);
	cr_assert_eq(
	    store_link_layer(store, fd, x->heads, name, &m->layer, &t->why), 0,
	    "%s", t->why.message);
	cr_assert_eq(store_sync_layers(store, &t->why), 0);
	id = put_manifest(t, store, disk, &m->layer);
	store_close(store);
	dirtest_roots_done(t);
	return id;
}

/* ---- what is there ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

char *dirtest_listing(const struct dirtest *t)
{
	char path[160], *text;
	struct dirent **e;
	size_t len;
	FILE *out = open_memstream(&text, &len), *in;
	int n, c;

	snprintf(path, sizeof(path), "%s/vms/vm/heads", t->path);
	n = scandir(path, &e, NULL, by_name);
	for (int i = 0; i < n; i++) {
		fprintf(out, "%s\n", e[i]->d_name);
		free(e[i]);
	}
	if (n >= 0)
		free(e);
	snprintf(path, sizeof(path), "%s/vms/vm/roots.json", t->path);
	in = fopen(path, "re");
	while (in && (c = fgetc(in)) != EOF)
		fputc(c, out);
	if (in)
		fclose(in);
	fclose(out);
	return text;
}

static int nowhere(void *ctx, const struct object_id *id)
{
	return -ENOENT;
}

/* The layers of the disks, for as long as a test looks at one. */
static struct layer_set *open_set(struct dirtest *t)
{
	struct layer_set *set = layer_set_create(NULL, NULL);

	for (unsigned i = 0; i < t->nlayers; i++) {
		struct layer *l;

		cr_assert_eq(layer_open(set, dup(t->layer[i]), "layer", NULL,
					&l, &t->why),
			     0, "%s", t->why.message);
	}
	cr_assert_eq(layer_link(set, nowhere, NULL, &t->why), 0);
	return set;
}

uint8_t dirtest_tag(struct dirtest *t, unsigned disk)
{
	static uint8_t buf[DISK_BYTES];

	dirtest_read(t, disk, buf);
	return buf[0];
}

void dirtest_read(struct dirtest *t, unsigned disk, uint8_t *buf)
{
	struct layer_set *set = open_set(t);
	struct disk_files f = t->files[disk];
	struct loop loop;
	struct disk_io_config io = { .loop = &loop, .way = DISK_IO_NO_RING };
	struct disk_chain_config c = {
		.id = "disk", .files = &f, .layers = set, .loop = &loop
	};
	struct disk_chain *chain;
	struct head *h;

	cr_assert_eq(loop_init(&loop), 0);
	cr_assert_eq(disk_io_create(&c.io, &io), 0);
	f.head = dup(f.head);
	for (unsigned i = 0; i < f.nbelow; i++)
		f.below[i] = dup(f.below[i]);
	cr_assert_eq(disk_chain_open(&chain, &c, &t->why), 0, "%s",
		     t->why.message);
	h = disk_chain_head(chain);
	cr_assert_eq(head_read(h, 0, buf, DISK_BYTES, &t->why), 0, "%s",
		     t->why.message);
	head_close(h);
	disk_chain_close(chain, false);
	disk_io_destroy(c.io);
	loop_fini(&loop);
	layer_set_destroy(set);
}

/* ---- killed ---- */

static bool trace_until(pid_t child, unsigned at)
{
	unsigned calls = 0;
	bool entry = true;
	int status;

	for (;;) {
		cr_assert_eq(waitpid(child, &status, 0), child);
		if (WIFEXITED(status)) {
			cr_assert_eq(WEXITSTATUS(status), 0);
			return false;
		}
		cr_assert(WIFSTOPPED(status), "signal %d", WTERMSIG(status));
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			calls += entry;
			if (entry && calls == at)
				return true;
			entry = !entry;
		}
		cr_assert_eq(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
	}
}

bool killed_at(unsigned at, void (*fn)(void *ctx), void *ctx)
{
	pid_t child = fork();
	int status;
	bool killed;

	cr_assert_geq(child, 0);
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		fn(ctx);
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	ptrace(PTRACE_SETOPTIONS, child, NULL,
	       PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	ptrace(PTRACE_SYSCALL, child, NULL, NULL);
	killed = trace_until(child, at);
	if (killed) {
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
	}
	return killed;
}
