/* SPDX-License-Identifier: Apache-2.0 */
/* Files and block devices for disks. */
#include "disk_source.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "head.h"
#include "home.h"
#include "util.h"

static void object_of(char object[256], const struct disk_config *c)
{
	snprintf(object, 256, "disk %s", c->path);
}

/* As other programs have it. */
static bool is_key(const char *path)
{
	return !strncmp(path, "path=", 5) || !strncmp(path, "file=", 5);
}

static int open_failed(int err, const struct disk_config *c, struct fail *why)
{
	enum exit_code code = EXIT_FAILED;
	const char *hint = NULL;
	char object[256];

	object_of(object, c);
	switch (-err) {
	case ENOENT:
	case ENOTDIR:
		code = EXIT_NOT_FOUND;
		hint = is_key(c->path) ? "give the path alone, first"
				       : "make one, e.g. by 'truncate -s 1G "
					 "FILE'";
		break;
	case EACCES:
	case EPERM:
	case EROFS:
	case ETXTBSY:
		code = EXIT_DENIED;
		hint = c->direct ? "only reading is needed without 'direct'"
				 : "it must be readable to you";
		break;
	case EISDIR:
		return fail_set(why, EXIT_USAGE, err, object,
				"give a file or block device",
				"is a directory");
	case EBUSY:
		code = EXIT_CONFLICT;
		hint = "unmount it, or stop what uses it; without 'direct' it "
		       "is only read";
		break;
	case EMFILE:
		hint = "allow more open files: ulimit -n";
		break;
	}
	return fail_set(why, code, err, object, hint, "%s", strerror(-err));
}

int disk_bytes_judge(uint64_t bytes, const char *object, struct fail *why)
{
	if (!bytes)
		return fail_set(why, EXIT_USAGE, -EINVAL, object,
				"give it a size first, e.g. by "
				"'truncate -s 1G FILE'",
				"is empty");
	if (bytes % 512)
		return fail_set(why, EXIT_USAGE, -EINVAL, object,
				"enlarge it by 'truncate -s %512 FILE' if it "
				"is raw; qcow2 wants ',format=qcow2', an image "
				"'tintype image export'",
				"%llu bytes are no whole sectors of 512",
				(unsigned long long)bytes);
	if (bytes > HEAD_MAX_BYTES)
		return fail_set(why, EXIT_USAGE, -EFBIG, object,
				"use at most 64 TiB",
				"%llu bytes are too large for a disk",
				(unsigned long long)bytes);
	return 0;
}

static int look(struct disk_source *s, const struct disk_config *c,
		const struct stat *st, struct fail *why)
{
	char object[256];

	object_of(object, c);
	s->bytes = (uint64_t)st->st_size;
	s->dev = st->st_dev;
	s->ino = st->st_ino;
	s->mtime_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000 +
		      (uint64_t)st->st_mtim.tv_nsec;
	if (S_ISBLK(st->st_mode)) {
		s->device = true;
		s->dev = st->st_rdev;
		s->ino = s->mtime_ns = 0;
		if (ioctl(s->lock, BLKGETSIZE64, &s->bytes) < 0)
			return open_failed(-errno, c, why);
	} else if (S_ISDIR(st->st_mode)) {
		return open_failed(-EISDIR, c, why);
	} else if (!S_ISREG(st->st_mode)) {
		return fail_set(why, EXIT_USAGE, -EINVAL, object,
				"give a file or block device",
				"is neither a file nor a block device");
	}
	if (c->qcow2)
		return s->bytes ? 0 : disk_bytes_judge(0, object, why);
	return disk_bytes_judge(s->bytes, object, why);
}

/* The same file, whatever its path names by now. */
static int open_again(int fd, int flags)
{
	char path[32];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags);
	return again < 0 ? -errno : again;
}

void disk_source_close(struct disk_source *s)
{
	cleanup_close(&s->fd);
	cleanup_close(&s->lock);
	s->fd = s->lock = -1;
}

/* O_NONBLOCK, so that a named pipe cannot hold us up. */
static int flags_of(const struct disk_config *c)
{
	return O_CLOEXEC | O_NONBLOCK | O_NOCTTY |
	       (c->direct ? O_RDWR : O_RDONLY);
}

int disk_source_open(struct disk_source *s, const struct disk_config *c,
		     struct fail *why)
{
	struct stat st;
	int err;

	*s = (struct disk_source){ .fd = -1, .lock = -1 };
	if (stat(c->path, &st) < 0)
		return open_failed(-errno, c, why);
	if (S_ISDIR(st.st_mode))
		return open_failed(-EISDIR, c, why);
	s->lock = open(c->path, flags_of(c));
	if (s->lock < 0)
		return open_failed(-errno, c, why);
	err = fstat(s->lock, &st) < 0 ? open_failed(-errno, c, why)
				      : look(s, c, &st, why);
	if (!err) {
		s->fd = open_again(s->lock, flags_of(c));
		err = s->fd < 0 ? open_failed(s->fd, c, why) : 0;
	}
	if (err)
		disk_source_close(s);
	return err;
}

/* ---- locks ---- */

/* Any lock of the whole file meets these. QEMU has locks of its own at byte 100
 * and on, of a kind that one of ours there would be taken for; qemu-img reads
 * what we import. */
#define LOCK_BYTES 100

struct holder {
	const struct disk_source *source;
	const char *self;
	char name[CONFIG_NAME_MAX + 1];
};

static bool is_same(const struct disk_source *s, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	if (s->device)
		return S_ISBLK(st.st_mode) && st.st_rdev == s->dev;
	return st.st_dev == s->dev && st.st_ino == s->ino;
}

/* Its config.json names its disks. A relative path may be another's: then
 * nobody is named. */
static int look_at_vm(void *ctx, struct vm_dir *d)
{
	struct holder *h = ctx;
	struct vm_config c;
	json_t *doc;
	bool found = false;

	if (!strcmp(d->name, h->self) || !vm_dir_alive(d))
		return 0;
	doc = vm_dir_read_json(d, "config.json");
	config_init(&c);
	if (doc && config_from_json(&c, doc, NULL) == 0)
		for (unsigned i = 0; i < c.ndisks; i++)
			found |= is_same(h->source, c.disk[i].path);
	config_free(&c);
	json_decref(doc);
	if (found)
		memcpy(h->name, d->name, sizeof(h->name));
	return found;
}

static int lock_conflict(const struct disk_source *s,
			 const struct disk_config *c, const char *self,
			 struct fail *why)
{
	struct holder h = { .source = s, .self = self };
	_cleanup_close_ int vms = home_open(false, NULL);
	char object[256], hint[160];

	object_of(object, c);
	if (vms >= 0)
		home_each(vms, look_at_vm, &h);
	snprintf(hint, sizeof(hint), "stop %s%s%s%s",
		 h.name[0] ? "VM " : "what uses it", h.name,
		 c->direct ? ", or leave out 'direct'" : "",
		 c->direct ? "" : ": it writes to the file");
	return fail_set(why, EXIT_CONFLICT, -EBUSY, object, hint, "%s%s%s",
			h.name[0] ? "is used by VM " : "is used by another",
			h.name,
			c->direct ? "" : ", which may write to it (direct)");
}

/* A device that is mounted is not written to. The ring of a VM that was killed
 * holds its claim for a moment longer than the lock. */
#define CLAIM_TRIES   100
#define CLAIM_WAIT_NS 10000000

static int claim_device(struct disk_source *s, const struct disk_config *c,
			struct fail *why)
{
	const struct timespec wait = { .tv_nsec = CLAIM_WAIT_NS };

	close(steal_fd(&s->fd));
	for (unsigned i = 0; i < CLAIM_TRIES; i++) {
		s->fd = open_again(s->lock, flags_of(c) | O_EXCL);
		if (s->fd != -EBUSY)
			break;
		nanosleep(&wait, NULL);
	}
	return s->fd < 0 ? open_failed(s->fd, c, why) : 0;
}

/* Until the lock was ours, another could write to it. */
static int locked(struct disk_source *s, const struct disk_config *c,
		  struct fail *why)
{
	struct stat st;
	int err = fstat(s->lock, &st) < 0 ? open_failed(-errno, c, why)
					  : look(s, c, &st, why);

	if (!err && s->device && c->direct)
		err = claim_device(s, c, why);
	return err;
}

int disk_source_lock(struct disk_source *s, const struct disk_config *c,
		     const char *self, struct fail *why)
{
	struct flock l = { .l_type = c->direct ? F_WRLCK : F_RDLCK,
			   .l_whence = SEEK_SET,
			   .l_len = LOCK_BYTES };
	char object[256];

	if (fcntl(s->lock, F_OFD_SETLK, &l) == 0)
		return locked(s, c, why);
	if (errno == EAGAIN || errno == EACCES)
		return lock_conflict(s, c, self, why);
	object_of(object, c);
	return fail_set(why, EXIT_FAILED, -errno, object,
			"put it on a file system that has locks",
			"cannot be locked: %s", strerror(errno));
}
