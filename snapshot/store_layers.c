/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers in the store. One gets its name when nobody can write to it any more,
 * which the kernel says: it gives a read lease only on a file that is open for
 * writing nowhere.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "image.h"
#include "log.h"
#include "new_file.h"
#include "store_impl.h"
#include "util.h"

int store_find_layer(void *store, const struct object_id *id)
{
	const struct store *s = store;
	char name[ID_TEXT];

	object_id_text(name, id);
	return store_open_file(s->layers, name);
}

/* ---- new ones ---- */

static int no_room(int err, uint64_t bytes, struct fail *why)
{
	char hint[96];

	if (err != -ENOSPC && err != -EDQUOT && err != -EFBIG)
		return file_failed("new layer", err, "reserve", why);
	snprintf(hint, sizeof(hint), "it may need %llu MiB",
		 (unsigned long long)((bytes + MIB(1) - 1) / MIB(1)));
	return fail_set(why, EXIT_NO_SPACE, err, "new layer", hint,
			"no room for it in the store: %s", strerror(-err));
}

/* The space is there, the file is still empty. */
static int reserve_space(int fd, uint64_t bytes, struct fail *why)
{
	int err;

	if (bytes > INT64_MAX)
		return no_room(-EFBIG, bytes, why);
	if (!bytes || !fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes))
		return 0;
	err = -errno;
	/* Some cannot promise space. */
	return err == -EOPNOTSUPP ? 0 : no_room(err, bytes, why);
}

int store_new_layer(struct store *s, uint64_t reserve, int *rw, int *ro,
		    struct fail *why)
{
	char path[32];
	_cleanup_close_ int fd =
	    openat(s->layers, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0400);
	_cleanup_close_ int read_only = -1;
	int err;

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		return fail_set(why, EXIT_INCOMPATIBLE, -EOPNOTSUPP, "store",
				"put TINTYPE_HOME on ext4, xfs, btrfs or tmpfs",
				"its file system has no files without a name");
	if (fd < 0)
		return file_failed("new layer", -errno, "create", why);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	if (read_only < 0)
		return file_failed("new layer", -errno, "open", why);
	err = reserve_space(fd, reserve, why);
	if (err)
		return err;
	*rw = steal_fd(&fd);
	*ro = steal_fd(&read_only);
	return 0;
}

/* ---- linking ---- */

/* Who opens it for writing while we have the lease is told to wait for us; the
 * signal that we get then is one that does nothing. */
static int prove_still(struct store *s, int fd, const char *object,
		       struct fail *why)
{
	int err = fcntl(fd, F_SETSIG, SIGURG) || fcntl(fd, F_SETLEASE, F_RDLCK)
		      ? -errno
		      : 0;

	if (!err) {
		fcntl(fd, F_SETLEASE, F_UNLCK);
		return 0;
	}
	if (err == -EAGAIN || err == -EBUSY)
		return fail_set(why, EXIT_INTEGRITY, err, object,
				"take the snapshot again",
				"somebody can still write to it");
	if (err != -EINVAL && err != -EOPNOTSUPP && err != -ENOLCK)
		return file_failed(object, err, "prove that nobody writes to",
				   why);
	if (!s->no_leases)
		log_warn("store", "its file system has no leases: that nobody "
				  "writes to a new layer is not proved");
	s->no_leases = true;
	return 0;
}

/* Header, trailer and table fit each other, and the id. */
static int judge(int fd, const char *object, const struct object_id *id,
		 struct fail *why)
{
	struct layer_set *set = layer_set_create(NULL, NULL);
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), err;
	struct layer *l;

	if (!set || copy < 0) {
		err = file_failed(object, set ? -errno : -ENOMEM, "read", why);
		cleanup_close(&copy);
	} else {
		err = layer_open(set, copy, object, id, &l, why);
	}
	layer_set_destroy(set);
	return err;
}

static int is_there(struct store *s, const struct object_id *id,
		    const char *object, struct fail *why)
{
	_cleanup_close_ int fd = store_find_layer(s, id);

	if (fd < 0)
		return file_failed(object, fd, "open", why);
	return judge(fd, object, id, why);
}

static bool same_file(int fd, int dir, const char *name)
{
	struct stat a, b;

	return !fstat(fd, &a) && !fstatat(dir, name, &b, AT_SYMLINK_NOFOLLOW) &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* A head has a name, by which it needs no /proc. */
static int link_file(const struct store *s, int fd, int dir, const char *from,
		     const char *name, const char *object, struct fail *why)
{
	int err;

	if (dir < 0)
		err = new_file_link(fd, s->layers, name);
	else
		err = linkat(dir, from, s->layers, name, 0) ? -errno : 0;
	if (err == -EEXIST)
		return err;
	if (err)
		return file_failed(object, err, "link", why);
	if (same_file(fd, s->layers, name))
		return 0;
	unlinkat(s->layers, name, 0);
	return fail_set(why, EXIT_INTEGRITY, -EBADMSG, object, NULL,
			"another file has taken the place of %s", from);
}

int store_link_layer(struct store *s, int fd, int dir, const char *name,
		     const struct object_id *id, struct fail *why)
{
	char object[STORE_OBJECT_TEXT], file[ID_TEXT];
	int err;

	assert(s->held != STORE_UNLOCKED);
	store_object(object, "layer", id);
	object_id_text(file, id);
	err = prove_still(s, fd, object, why);
	if (!err)
		err = judge(fd, object, id, why);
	if (!err)
		err = link_file(s, fd, dir, name, file, object, why);
	return err == -EEXIST ? is_there(s, id, object, why) : err;
}

int store_sync_layers(struct store *s, struct fail *why)
{
	int err = file_sync_dir(s->layers);

	return err ? file_failed("store/layers", err, "sync", why) : 0;
}

/* ---- images ---- */

int store_open_layer(struct store *s, struct layer_set *set,
		     const struct object_id *id, struct layer **l,
		     struct fail *why)
{
	char object[STORE_OBJECT_TEXT];
	int fd;

	*l = layer_set_find(set, id);
	if (*l)
		return 0;
	store_object(object, "layer", id);
	fd = store_find_layer(s, id);
	if (fd == -ENOENT)
		return fail_set(why, EXIT_INTEGRITY, fd, object,
				"restore it from a copy",
				"is not in the store");
	if (fd < 0)
		return file_failed(object, fd, "open", why);
	return layer_open(set, fd, object, id, l, why);
}

int store_open_image(struct store *s, struct layer_set *set,
		     const struct manifest_image *im, struct image *img,
		     struct fail *why)
{
	struct layer *l;
	int err = store_open_layer(s, set, &im->layer, &l, why);

	if (!err)
		err = image_open(img, l, im->root, why);
	if (!err && img->bytes != im->bytes)
		err = fail_set(why, EXIT_INTEGRITY, -EBADMSG, layer_name(l),
			       NULL, "root %u is no image of %llu bytes",
			       im->root, (unsigned long long)im->bytes);
	return err;
}

int store_open_images(struct store *s, const struct manifest *m,
		      struct layer_set **out, struct fail *why)
{
	struct layer_set *set = layer_set_create(NULL, NULL);
	struct image img;
	int err =
	    set ? 0 : file_failed("store", -ENOMEM, "open the images of", why);

	for (uint32_t i = 0; i < m->images.n && !err; i++)
		err = store_open_image(s, set, &m->images.item[i], &img, why);
	if (!err)
		err = layer_link(set, store_find_layer, s, why);
	if (err)
		layer_set_destroy(set);
	else
		*out = set;
	return err;
}
