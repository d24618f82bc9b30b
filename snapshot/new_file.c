/* SPDX-License-Identifier: Apache-2.0 */
/* Files without a name until they are done: O_TMPFILE and linkat. */
#include "new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "hash.h"
#include "util.h"

static int exists(const struct new_file *f, struct fail *why)
{
	return fail_set(why, EXIT_CONFLICT, -EEXIST, f->path,
			"give another name, or remove it first", "exists");
}

/* Opens the directory, and keeps the name in it. */
static int part_path(struct new_file *f, const char *path)
{
	const char *slash = strrchr(path, '/'),
		   *name = slash ? slash + 1 : path;
	char dir[PATH_MAX];

	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EISDIR;
	if (strlen(name) > NAME_MAX || name - path >= PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(f->name, name);
	snprintf(dir, sizeof(dir), "%.*s", (int)(name - path), path);
	f->dir = open(*dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return f->dir < 0 ? -errno : 0;
}

/* A name that nobody else has. */
static int make_temp(struct new_file *f)
{
	uint64_t random;
	int err = random_bytes(&random, sizeof(random));

	if (!err)
		snprintf(f->temp, sizeof(f->temp), NEW_FILE_TEMP "%016" PRIx64,
			 random);
	return err;
}

/* Without a name, or with a temporary one. */
static int open_file(struct new_file *f, mode_t mode)
{
	int err;

	f->fd = openat(f->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	/* How those say it that cannot: the last one a kernel before 3.11. */
	if (f->fd >= 0 ||
	    (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
		return f->fd < 0 ? -errno : 0;
	err = make_temp(f);
	if (err)
		return err;
	f->fd = openat(f->dir, f->temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC,
		       mode);
	if (f->fd >= 0)
		return 0;
	err = -errno;
	f->temp[0] = '\0';
	return err;
}

int new_file_create(struct new_file *f, const char *path, unsigned mode,
		    struct fail *why)
{
	struct stat st;
	int err;

	snprintf(f->path, sizeof(f->path), "%s", path);
	err = part_path(f, path);
	if (err == -ENOENT)
		return fail_set(why, EXIT_NOT_FOUND, err, path, "make it first",
				"the directory is not there");
	/* Before any work is done for it; the commit is what is sure. */
	if (!err && !fstatat(f->dir, f->name, &st, AT_SYMLINK_NOFOLLOW))
		return exists(f, why);
	if (!err)
		err = open_file(f, mode);
	return err ? file_failed(path, err, "create", why) : 0;
}

int new_file_create_in(struct new_file *f, int dir, const char *name,
		       const char *path, unsigned mode, struct fail *why)
{
	int err;

	snprintf(f->path, sizeof(f->path), "%s", path);
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->dir = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = f->dir < 0 ? -errno : open_file(f, mode);
	return err ? file_failed(path, err, "create", why) : 0;
}

int new_file_link(int fd, int dir, const char *name)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW))
		return 0;
	/* Without /proc: only with a capability. */
	if (errno == ENOENT && !linkat(fd, "", dir, name, AT_EMPTY_PATH))
		return 0;
	return -errno;
}

/* Where there are no links, a rename that replaces nothing. */
static int link_named(struct new_file *f)
{
	if (!linkat(f->dir, f->temp, f->dir, f->name, 0))
		unlinkat(f->dir, f->temp, 0);
	else if (errno == EEXIST ||
		 renameat2(f->dir, f->temp, f->dir, f->name, RENAME_NOREPLACE))
		return -errno;
	f->temp[0] = '\0';
	return 0;
}

int new_file_commit(struct new_file *f, struct fail *why)
{
	int err = file_sync(f->fd);

	if (!err)
		err = f->temp[0] ? link_named(f)
				 : new_file_link(f->fd, f->dir, f->name);
	if (err == -EEXIST)
		return exists(f, why);
	if (!err) {
		err = file_sync_dir(f->dir);
		if (err)
			unlinkat(f->dir, f->name, 0);
	}
	return err ? file_failed(f->path, err, "create", why) : 0;
}

/* A rename needs a name to begin with. */
static int name_temp(struct new_file *f)
{
	int err;

	if (f->temp[0])
		return 0;
	err = make_temp(f);
	if (!err)
		err = new_file_link(f->fd, f->dir, f->temp);
	if (err)
		f->temp[0] = '\0';
	return err;
}

int new_file_replace(struct new_file *f, struct fail *why)
{
	int err = file_sync(f->fd);

	if (!err)
		err = name_temp(f);
	if (!err && renameat(f->dir, f->temp, f->dir, f->name))
		err = -errno;
	if (!err) {
		f->temp[0] = '\0';
		err = file_sync_dir(f->dir);
	}
	return err ? file_failed(f->path, err, "replace", why) : 0;
}

void new_file_discard(struct new_file *f)
{
	if (f->temp[0])
		unlinkat(f->dir, f->temp, 0);
	f->temp[0] = '\0';
	cleanup_close(&f->fd);
	cleanup_close(&f->dir);
	f->fd = f->dir = -1;
}
