/* SPDX-License-Identifier: Apache-2.0 */
/* Heads and bases made, found by name, and unlinked when nobody names them. */
#include "disk_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fileio.h"
#include "util.h"

/* The first extent of a head's log: room for 2,047 records before it has to
 * be made longer, which takes a sync. */
#define LOG_PAGES 16

static int failed(const struct disk_dir *x, int err, const char *what,
		  struct fail *why)
{
	return file_failed(x->vm->name, err, what, why);
}

/* ---- names ---- */

void disk_uid_text(char text[DISK_UID_TEXT], const uint8_t uid[UID_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < UID_BYTES; i++) {
		text[2 * i] = digits[uid[i] >> 4];
		text[2 * i + 1] = digits[uid[i] & 15];
	}
	text[2 * UID_BYTES] = '\0';
}

int disk_uid_parse(uint8_t uid[UID_BYTES], const char *text)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != 2 * UID_BYTES ||
	    strspn(text, digits) != 2 * UID_BYTES)
		return -EINVAL;
	for (unsigned i = 0; i < UID_BYTES; i++)
		uid[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
				   (strchr(digits, text[2 * i + 1]) - digits));
	return 0;
}

void disk_head_name(char name[DISK_HEAD_TEXT], const char *id, const char *uid)
{
	snprintf(name, DISK_HEAD_TEXT, "%s.%s", id, uid);
}

bool disk_head_name_parse(const char *name, char id[CONFIG_DISK_ID_MAX + 1],
			  char uid[DISK_UID_TEXT])
{
	const char *dot = strrchr(name, '.');
	uint8_t bytes[UID_BYTES];
	size_t n = dot ? (size_t)(dot - name) : 0;

	if (!n || n > CONFIG_DISK_ID_MAX || disk_uid_parse(bytes, dot + 1))
		return false;
	memcpy(id, name, n);
	id[n] = '\0';
	memcpy(uid, dot + 1, DISK_UID_TEXT);
	return true;
}

void disk_base_name(char name[DISK_HEAD_TEXT], const char *id)
{
	snprintf(name, DISK_HEAD_TEXT, "%s.raw", id);
}

/* ---- the directory ---- */

static int take_lock(struct disk_dir *x, struct fail *why)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	x->lock = vm_dir_open(x->vm, "capture.lock", O_RDWR | O_CREAT);
	if (x->lock < 0)
		return failed(x, x->lock, "open capture.lock", why);
	if (fcntl(x->lock, F_OFD_SETLK, &l) == 0)
		return 0;
	return fail_set(why, EXIT_CONFLICT, -EBUSY, x->vm->name,
			"try again when it is done",
			"a capture of it is being made");
}

int disk_dir_lock(struct disk_dir *x, const struct vm_dir *d, bool durable,
		  struct fail *why)
{
	int err;

	*x = (struct disk_dir)DISK_DIR_NONE;
	x->vm = d;
	x->durable = durable;
	err = take_lock(x, why);
	return err ? err : disk_roots_read(&x->roots, d, why);
}

void disk_dir_unlock(struct disk_dir *x)
{
	disk_roots_free(&x->roots);
	cleanup_close(&x->lock);
	cleanup_close(&x->heads);
	cleanup_close(&x->bases);
	*x = (struct disk_dir)DISK_DIR_NONE;
}

/* One of ours below the VM's own, which is private. */
static int open_dir(struct disk_dir *x, const char *name, int *fd,
		    struct fail *why)
{
	if (*fd >= 0)
		return *fd;
	if (mkdirat(x->vm->fd, name, 0700) == 0) {
		if (x->durable && fsync(x->vm->fd))
			return failed(x, -errno, "sync directory", why);
	} else if (errno != EEXIST) {
		return failed(x, -errno, "make directory", why);
	}
	*fd = openat(x->vm->fd, name,
		     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *fd < 0 ? failed(x, -errno, "open directory", why) : *fd;
}

int disk_dir_heads(struct disk_dir *x, struct fail *why)
{
	return open_dir(x, "heads", &x->heads, why);
}

int disk_dir_bases(struct disk_dir *x, struct fail *why)
{
	return open_dir(x, "bases", &x->bases, why);
}

int disk_dir_sync(const struct disk_dir *x, int dir, struct fail *why)
{
	return x->durable && fsync(dir)
		   ? failed(x, -errno, "sync directory", why)
		   : 0;
}

int disk_dir_sync_heads(struct disk_dir *x, struct fail *why)
{
	int fd = disk_dir_heads(x, why);

	return fd < 0 ? fd : disk_dir_sync(x, fd, why);
}

/* A sealed head may have two names. */
int disk_dir_open_own(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
			0600);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_uid == geteuid())
		return fd;
	close(fd);
	return -EPERM;
}

/* ---- heads ---- */

/* Where the file system cannot promise space, it is not refused. */
static int reserve_space(int fd, uint64_t bytes)
{
	if (!bytes || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0)
		return 0;
	return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
}

int disk_dir_make_head(struct disk_dir *x, const char *id,
		       struct head_info *info, uint64_t reserve,
		       char uid[DISK_UID_TEXT], int *fd, struct fail *why)
{
	char temp[DISK_HEAD_TEXT], name[DISK_HEAD_TEXT];
	int dir = disk_dir_heads(x, why), err;

	if (dir < 0)
		return dir;
	snprintf(temp, sizeof(temp), "%s.new", id);
	unlinkat(dir, temp, 0);
	*fd = disk_dir_open_own(dir, temp, O_RDWR | O_CREAT | O_EXCL);
	if (*fd < 0)
		return failed(x, *fd, "make a head", why);
	err = reserve_space(*fd, reserve);
	if (err)
		failed(x, err, "reserve space for a head", why);
	else
		err = head_create(*fd, temp, info, LOG_PAGES, why);
	if (!err) {
		disk_uid_text(uid, info->uid);
		disk_head_name(name, id, uid);
		if (renameat(dir, temp, dir, name))
			err = failed(x, -errno, "name a head", why);
	}
	if (err) {
		unlinkat(dir, temp, 0);
		cleanup_close(fd);
		*fd = -1;
	}
	return err;
}

int disk_dir_open_head(struct disk_dir *x, const char *id, const char *uid,
		       int flags, struct fail *why)
{
	char name[DISK_HEAD_TEXT];
	int dir = disk_dir_heads(x, why), fd;

	if (dir < 0)
		return dir;
	disk_head_name(name, id, uid);
	fd = disk_dir_open_own(dir, name, flags);
	return fd < 0 ? file_failed(name, fd, "open", why) : fd;
}

void disk_dir_drop_head(struct disk_dir *x, const char *id, const char *uid)
{
	char name[DISK_HEAD_TEXT];

	disk_head_name(name, id, uid);
	if (x->heads >= 0)
		unlinkat(x->heads, name, 0);
}

/* ---- what nobody names goes ---- */

struct trim {
	const struct disk_roots *roots;
	const struct disk_head_ref *keep;
	unsigned n;
};

static bool is_base(const struct trim *t, const char *file)
{
	char name[DISK_HEAD_TEXT];

	for (unsigned i = 0; i < t->roots->n; i++) {
		disk_base_name(name, t->roots->root[i].id);
		if (t->roots->root[i].qcow2 && !strcmp(name, file))
			return true;
	}
	return false;
}

static bool is_head(const struct trim *t, const char *file)
{
	char id[CONFIG_DISK_ID_MAX + 1], uid[DISK_UID_TEXT];
	const struct disk_root *r;
	bool known = false;

	if (!disk_head_name_parse(file, id, uid))
		return false;
	r = disk_roots_find(t->roots, id);
	if (r && (!strcmp(r->uid, uid) || !strcmp(r->next, uid)))
		return true;
	for (unsigned i = 0; i < t->n; i++) {
		if (strcmp(t->keep[i].id, id))
			continue;
		if (!strcmp(t->keep[i].uid, uid))
			return true;
		known = true;
	}
	/* A disk that was not looked at. */
	return r && r->uid[0] && !known;
}

static void trim_dir(const struct trim *t, int dir,
		     bool (*named)(const struct trim *t, const char *file))
{
	int fd =
	    dir < 0 ? -1 : openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *all = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	while (all && (e = readdir(all)))
		if (e->d_name[0] != '.' && !named(t, e->d_name))
			unlinkat(dir, e->d_name, 0);
	if (all)
		closedir(all);
	else
		cleanup_close(&fd);
}

void disk_dir_trim(struct disk_dir *x, const struct disk_head_ref *keep,
		   unsigned n)
{
	const struct trim t = { &x->roots, keep, n };

	trim_dir(&t, x->heads, is_head);
	trim_dir(&t, x->bases, is_base);
}
