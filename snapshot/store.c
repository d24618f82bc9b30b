/* SPDX-License-Identifier: Apache-2.0 */
/* The store's directories and locks, and what its other parts share. */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "store_impl.h"
#include "util.h"

#define LOCK_WAIT_MS 10000
#define LOCK_LOOK_MS 10

/* ---- directories ---- */

static int open_dir(int at, const char *name, const char *path, int *out,
		    struct fail *why)
{
	_cleanup_close_ int fd =
	    openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int err;

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return fail_set(why, EXIT_DENIED, -errno, path,
				"remove it from the home",
				"is a link or no directory");
	if (fd < 0)
		return file_failed(path, -errno, "open", why);
	err = file_own_dir(fd, path, why);
	if (!err)
		*out = steal_fd(&fd);
	return err;
}

static int make_dir(int at, const char *name, const char *path,
		    struct fail *why)
{
	if (mkdirat(at, name, 0700) && errno != EEXIST)
		return file_failed(path, -errno, "create", why);
	return 0;
}

struct part {
	const char *name, *path;
	size_t at;
};
static const struct part parts[] = {
	{ "layers", "store/layers", offsetof(struct store, layers) },
	{ "manifests", "store/manifests", offsetof(struct store, manifests) },
	/* Last: a store that has refs has all of it. */
	{ "refs", "store/refs", offsetof(struct store, refs) },
};

static int open_lock(struct store *s, bool create, struct fail *why)
{
	struct stat st;

	s->lock_fd = openat(s->dir, "lock",
			    O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK |
				(create ? O_CREAT : 0),
			    0600);
	if (s->lock_fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (s->lock_fd < 0 || fstat(s->lock_fd, &st))
		return file_failed("store/lock", -errno, "open", why);
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return fail_set(why, EXIT_DENIED, -EPERM, "store/lock", NULL,
				"is no file of yours");
	return 0;
}

static int open_parts(struct store *s, bool create, struct fail *why)
{
	int err = open_lock(s, create, why);

	for (unsigned i = 0; i < ARRAY_SIZE(parts) && !err; i++) {
		const struct part *p = &parts[i];

		if (create)
			err = make_dir(s->dir, p->name, p->path, why);
		if (!err)
			err = open_dir(s->dir, p->name, p->path,
				       (int *)((char *)s + p->at), why);
	}
	return err;
}

/* Also when all was there: who made it may have died before this. */
static int sync_parts(const struct store *s, int home, struct fail *why)
{
	int err = file_sync_dir(s->dir);

	if (!err)
		err = file_sync_dir(home);
	return err ? file_failed("store", err, "sync", why) : 0;
}

int store_open(struct store **out, int home, bool create, struct fail *why)
{
	struct store *s = calloc(1, sizeof(*s));
	int err = 0;

	if (!s)
		return file_failed("store", -ENOMEM, "open", why);
	s->dir = s->layers = s->manifests = s->refs = s->lock_fd = -1;
	if (create)
		err = make_dir(home, "store", "store", why);
	if (!err)
		err = open_dir(home, "store", "store", &s->dir, why);
	if (!err)
		err = open_parts(s, create, why);
	if (!err && create)
		err = sync_parts(s, home, why);
	if (err)
		store_close(s);
	else
		*out = s;
	return err;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	cleanup_close(&s->dir);
	cleanup_close(&s->layers);
	cleanup_close(&s->manifests);
	cleanup_close(&s->refs);
	cleanup_close(&s->lock_fd);
	free(s);
}

/* ---- locks ---- */

static int try_lock(const struct store *s, short type, unsigned byte)
{
	struct flock l = { .l_type = type,
			   .l_whence = SEEK_SET,
			   .l_start = byte,
			   .l_len = 1 };

	return fcntl(s->lock_fd, F_OFD_SETLK, &l) ? -errno : 0;
}

int store_lock_byte(struct store *s, short type, unsigned byte,
		    struct fail *why)
{
	const struct timespec look = { .tv_nsec = LOCK_LOOK_MS * 1000000 };
	int64_t end = now_ms() + LOCK_WAIT_MS;
	int err = try_lock(s, type, byte);

	while ((err == -EAGAIN || err == -EACCES) && now_ms() < end) {
		nanosleep(&look, NULL);
		err = try_lock(s, type, byte);
	}
	if (err == -EAGAIN || err == -EACCES)
		return fail_set(why, EXIT_CONFLICT, err, "store",
				"try again when that is done",
				"another tintype works in it");
	return err ? file_failed("store/lock", err, "lock", why) : 0;
}

int store_lock(struct store *s, enum store_lock how, struct fail *why)
{
	static const short types[] = {
		[STORE_UNLOCKED] = F_UNLCK,
		[STORE_SHARED] = F_RDLCK,
		[STORE_EXCLUSIVE] = F_WRLCK,
	};
	int err = store_lock_byte(s, types[how], 0, why);

	if (!err)
		s->held = how;
	return err;
}

/* ---- files ---- */

void store_object(char text[STORE_OBJECT_TEXT], const char *kind,
		  const struct object_id *id)
{
	char hex[ID_SHORT];

	object_id_short(hex, id);
	snprintf(text, STORE_OBJECT_TEXT, "%s %s", kind, hex);
}

int store_open_file(int dir, const char *name)
{
	_cleanup_close_ int fd =
	    file_open(dir, name, O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return errno == ELOOP ? -EPERM : -errno;
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return -EPERM;
	return steal_fd(&fd);
}

int store_read_file(int dir, const char *name, size_t max, uint8_t **data,
		    size_t *len)
{
	_cleanup_close_ int fd = store_open_file(dir, name);
	_cleanup_free_ uint8_t *buf = NULL;
	uint64_t bytes;
	int err = fd < 0 ? fd : file_bytes(fd, &bytes);

	if (err)
		return err;
	if (bytes > max)
		return -EFBIG;
	buf = malloc(bytes + 1);
	err = buf ? file_read(fd, 0, buf, bytes) : -ENOMEM;
	if (err)
		return err;
	*data = buf;
	*len = bytes;
	buf = NULL;
	return 0;
}

/* ---- names ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(struct store_names *names, const char *name)
{
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	if (array_reserve(&names->name, &names->room, names->n + 1,
			  sizeof(*names->name)))
		return -ENOMEM;
	names->name[names->n] = strdup(name);
	if (!names->name[names->n])
		return -ENOMEM;
	names->n++;
	return 0;
}

int store_names_read(struct store_names *names, int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int err = d ? 0 : -errno;

	*names = (struct store_names){ 0 };
	if (!d) {
		cleanup_close(&fd);
		return err;
	}
	while (!err && (errno = 0, e = readdir(d)))
		err = add_name(names, e->d_name);
	if (!err)
		err = -errno;
	closedir(d);
	if (err)
		store_names_free(names);
	else if (names->n)
		qsort(names->name, names->n, sizeof(*names->name),
		      compare_names);
	return err;
}

void store_names_free(struct store_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->name[i]);
	free(names->name);
	*names = (struct store_names){ 0 };
}
