/* SPDX-License-Identifier: Apache-2.0 */
/* Disks opened, their heads found again or made. */
#include "disk_open.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "disk_import.h"
#include "disk_roots.h"
#include "fileio.h"
#include "head.h"
#include "util.h"

/* The first extent of a head's log: room for 2,047 records before it has to
 * be made longer, which takes a sync. */
#define LOG_PAGES 16

#define FILE_TEXT (CONFIG_DISK_ID_MAX + DISK_UID_TEXT + 8)

/* What is at hand while a VM's disks are opened. */
struct opening {
	const struct vm_config *c;
	const struct vm_dir *d;
	bool durable;
	int lock, heads, bases; /* capture.lock; directories, -1: none */
	struct disk_roots roots;
	struct fail *why;
};

static int failed(const struct opening *o, int err, const char *what)
{
	return file_failed(o->d->name, err, what, o->why);
}

static bool wants_head(const struct disk_config *c)
{
	return !c->read_only && !c->direct;
}

/* ---- the directory ---- */

static int lock_captures(struct opening *o)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	o->lock = vm_dir_open(o->d, "capture.lock", O_RDWR | O_CREAT);
	if (o->lock < 0)
		return failed(o, o->lock, "open capture.lock");
	if (fcntl(o->lock, F_OFD_SETLK, &l) == 0)
		return 0;
	return fail_set(o->why, EXIT_CONFLICT, -EBUSY, o->d->name,
			"try again when it is done",
			"a capture of it is being made");
}

/* One of ours below the VM's own, which is private. */
static int open_dir(struct opening *o, const char *name, int *fd)
{
	if (*fd >= 0)
		return 0;
	if (mkdirat(o->d->fd, name, 0700) == 0) {
		if (o->durable && fsync(o->d->fd))
			return failed(o, -errno, "sync directory");
	} else if (errno != EEXIST) {
		return failed(o, -errno, "make directory");
	}
	*fd = openat(o->d->fd, name,
		     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd < 0 ? failed(o, -errno, "open directory") : 0;
}

static int sync_dir(const struct opening *o, int dir)
{
	return o->durable && fsync(dir) ? failed(o, -errno, "sync directory")
					: 0;
}

/* Never through a link, and only what is ours. A sealed head may have two
 * names. */
static int open_own(const struct opening *o, int dir, const char *name,
		    int flags)
{
	int fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_uid == geteuid())
		return fd;
	close(fd);
	return -EPERM;
}

static int opening_begin(struct opening *o)
{
	int err = lock_captures(o);

	return err ? err : disk_roots_read(&o->roots, o->d, o->why);
}

static void opening_end(struct opening *o)
{
	disk_roots_free(&o->roots);
	cleanup_close(&o->lock);
	cleanup_close(&o->heads);
	cleanup_close(&o->bases);
}

/* ---- what nobody names goes ---- */

static void head_name(char name[FILE_TEXT], const struct disk_root *r)
{
	snprintf(name, FILE_TEXT, "%s.%s", r->id, r->uid);
}

static void base_name(char name[FILE_TEXT], const struct disk_root *r)
{
	snprintf(name, FILE_TEXT, "%s.raw", r->id);
}

static bool is_named(const struct disk_roots *roots, const char *file)
{
	char name[FILE_TEXT];

	for (unsigned i = 0; i < roots->n; i++) {
		const struct disk_root *r = &roots->root[i];

		head_name(name, r);
		if (r->uid[0] && !strcmp(name, file))
			return true;
		base_name(name, r);
		if (r->qcow2 && !strcmp(name, file))
			return true;
	}
	return false;
}

static void clean(const struct disk_roots *roots, int dir)
{
	int fd =
	    dir < 0 ? -1 : openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *all = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	while (all && (e = readdir(all)))
		if (e->d_name[0] != '.' && !is_named(roots, e->d_name))
			unlinkat(dir, e->d_name, 0);
	if (all)
		closedir(all);
}

/* ---- heads ---- */

static void uid_text(char text[DISK_UID_TEXT], const uint8_t uid[UID_BYTES])
{
	for (unsigned i = 0; i < UID_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", uid[i]);
}

/* A complete, synced, empty head, then its name. */
static int make_head(struct opening *o, struct disk_root *r, uint64_t bytes,
		     int *fd)
{
	struct head_info info = { .bytes = bytes, .below_kind = BELOW_NOTHING };
	char temp[FILE_TEXT], name[FILE_TEXT];
	int err = open_dir(o, "heads", &o->heads);

	if (err)
		return err;
	snprintf(temp, sizeof(temp), "%s.new", r->id);
	unlinkat(o->heads, temp, 0);
	*fd = open_own(o, o->heads, temp, O_RDWR | O_CREAT | O_EXCL);
	if (*fd < 0)
		return failed(o, *fd, "make a head");
	err = head_create(*fd, temp, &info, LOG_PAGES, o->why);
	if (err) {
		unlinkat(o->heads, temp, 0);
		return err;
	}
	uid_text(r->uid, info.uid);
	head_name(name, r);
	if (renameat(o->heads, temp, o->heads, name))
		return failed(o, -errno, "name a head");
	o->roots.dirty = true;
	return sync_dir(o, o->heads);
}

static int lost(const struct opening *o, const struct disk_root *r,
		const char *what)
{
	char object[256], hint[160];

	snprintf(object, sizeof(object), "%s: disk %s", o->d->name, r->id);
	snprintf(hint, sizeof(hint), "give it up by 'tintype rm %s'",
		 o->d->name);
	return fail_set(o->why, EXIT_INTEGRITY, -EBADMSG, object, hint,
			"the head that has its changes %s", what);
}

static int find_head(struct opening *o, struct disk_root *r, uint64_t bytes,
		     int *fd)
{
	char name[FILE_TEXT], uid[DISK_UID_TEXT];
	struct head_info info;
	int err = open_dir(o, "heads", &o->heads);

	if (err)
		return err;
	head_name(name, r);
	*fd = open_own(o, o->heads, name, O_RDWR);
	if (*fd == -ENOENT)
		return lost(o, r, "is missing");
	if (*fd < 0)
		return failed(o, *fd, "open a head");
	err = head_read_info(*fd, name, &info, o->why);
	if (err)
		return err;
	uid_text(uid, info.uid);
	if (strcmp(uid, r->uid) || info.bytes != bytes ||
	    info.below_kind != BELOW_NOTHING)
		return lost(o, r, "is another disk's");
	return 0;
}

/* ---- one disk ---- */

/* What hides under ro or direct would be taken for lost. */
static int refuse_hidden(const struct opening *o, const struct disk_config *c)
{
	char object[256], hint[160];

	snprintf(object, sizeof(object), "disk %s (%s)", c->path, c->id);
	snprintf(hint, sizeof(hint),
		 "leave out %s, give another id=, or 'tintype rm %s'",
		 c->direct ? "direct" : "ro", o->d->name);
	return fail_set(o->why, EXIT_CONFLICT, -EEXIST, object, hint,
			"has changes of its own from an earlier start, which "
			"would not be seen");
}

/* The raw file that was made of a qcow2 file takes its place. */
static int use_import(struct opening *o, const struct disk_root *r,
		      struct disk_source *s)
{
	char name[FILE_TEXT];
	int err = open_dir(o, "bases", &o->bases);

	if (err)
		return err;
	base_name(name, r);
	close(s->fd);
	s->fd = open_own(o, o->bases, name, O_RDONLY);
	if (s->fd < 0)
		return failed(o, s->fd, "open an imported disk");
	/* A VM that does not stay takes it along, however it ends: its
	 * directory may lie there for long before it is swept. */
	if (!o->durable && unlinkat(o->bases, name, 0))
		return failed(o, -errno, "unname an imported disk");
	err = file_bytes(s->fd, &s->bytes);
	return err ? failed(o, err, "look at an imported disk")
		   : disk_bytes_judge(s->bytes, o->d->name, o->why);
}

static int open_one(struct opening *o, const struct disk_config *c,
		    struct disk_files *f)
{
	struct disk_source s;
	struct disk_root *r = disk_roots_find(&o->roots, c->id);
	int err = disk_source_open(&s, c, o->why);

	if (err)
		return err;
	if ((err = disk_source_lock(&s, c, o->d->name, o->why)) == 0) {
		if (r && r->uid[0] && !wants_head(c))
			err = refuse_hidden(o, c);
		else if (r && (wants_head(c) || c->qcow2))
			err = disk_root_compare(r, o->d, c, &s, o->why);
	}
	if (!err && !r && wants_head(c))
		err = disk_roots_add(&o->roots, c, &s, &r, o->why);
	if (!err && c->qcow2)
		err = use_import(o, r, &s);
	f->base = s.fd;
	f->lock = s.lock;
	f->bytes = s.bytes;
	if (err || !wants_head(c))
		return err;
	return r->uid[0] ? find_head(o, r, s.bytes, &f->head)
			 : make_head(o, r, s.bytes, &f->head);
}

int disk_open_all(const struct vm_config *c, const struct vm_dir *d,
		  bool durable, struct disk_files *files, struct fail *why)
{
	struct opening o = { .c = c,
			     .d = d,
			     .durable = durable,
			     .lock = -1,
			     .heads = -1,
			     .bases = -1,
			     .why = why };
	int err = c->ndisks ? opening_begin(&o) : 0;

	for (unsigned i = 0; i < c->ndisks && !err; i++)
		err = open_one(&o, &c->disk[i], &files[i]);
	if (!err && o.roots.dirty)
		err = disk_roots_write(&o.roots, d, durable, why);
	if (!err) {
		clean(&o.roots, o.heads);
		clean(&o.roots, o.bases);
	}
	opening_end(&o);
	return err;
}

int disk_check_all(const struct vm_config *c, struct fail *why)
{
	int err = 0;

	for (unsigned i = 0; i < c->ndisks && !err; i++) {
		struct disk_source s;

		err = disk_source_open(&s, &c->disk[i], why);
		disk_source_close(&s);
	}
	return err;
}

/* ---- imports ---- */

static int import(struct opening *o, const struct disk_config *c,
		  const struct disk_source *s)
{
	char temp[FILE_TEXT], name[FILE_TEXT], object[256];
	struct disk_root *r;
	int err = open_dir(o, "bases", &o->bases);

	if (!err)
		err = disk_roots_add(&o->roots, c, s, &r, o->why);
	if (err)
		return err;
	snprintf(object, sizeof(object), "disk %s", c->path);
	snprintf(temp, sizeof(temp), "%s.new", c->id);
	unlinkat(o->bases, temp, 0);
	err = disk_import_qcow2(s->fd, o->bases, temp, object, o->why);
	if (err)
		return err;
	base_name(name, r);
	if (renameat(o->bases, temp, o->bases, name))
		return failed(o, -errno, "name an imported disk");
	err = sync_dir(o, o->bases);
	return err ? err
		   : disk_roots_write(&o->roots, o->d, o->durable, o->why);
}

static int import_one(struct opening *o, const struct disk_config *c)
{
	struct disk_source s;
	const struct disk_root *r = disk_roots_find(&o->roots, c->id);
	int err = disk_source_open(&s, c, o->why);

	if (err)
		return err;
	err = disk_source_lock(&s, c, o->d->name, o->why);
	if (!err)
		err = r ? disk_root_compare(r, o->d, c, &s, o->why)
			: import(o, c, &s);
	disk_source_close(&s);
	return err;
}

int disk_import_all(const struct vm_config *c, const struct vm_dir *d,
		    struct fail *why)
{
	struct opening o = { .c = c,
			     .d = d,
			     .durable = true,
			     .lock = -1,
			     .heads = -1,
			     .bases = -1,
			     .why = why };
	bool any = false;
	int err;

	for (unsigned i = 0; i < c->ndisks; i++)
		any |= c->disk[i].qcow2;
	err = any ? opening_begin(&o) : 0;
	for (unsigned i = 0; i < c->ndisks && !err; i++)
		if (c->disk[i].qcow2)
			err = import_one(&o, &c->disk[i]);
	opening_end(&o);
	return err;
}
