/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM directories: made, claimed, found, swept; the order of locking and
 * unlinking that makes this safe against others doing the same is in home.h.
 */
#include "home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "fileio.h"
#include "util.h"

/* What a VM's directory may hold of one life of the VM; and what it keeps from
 * one to the next: its disks. */
static const char *const files_of_a_life[] = {
	"agent.sock",	"config.json",	"console.log",
	"console.sock", "control.sock", "saved.json",
	"state.json",	"vmm.log",	"vsock.sock",
};
static const char *const files_kept[] = { "roots.json.tmp", "roots.json",
					  "capture.lock", "uid.json" };
/* Directories of regular files, nothing else. */
static const char *const dirs_kept[] = { "heads", "bases" };

/* What the lock file of a VM says that is not to be kept. An empty one may be
 * a claim that is just being made: it is never swept. */
static const char lock_sweep[] = "sweep\n";

#define CLAIM_TRIES 16
#define MADE_UP	    "auto-"
#define MADE_UP_MAX 1000

static int open_beneath(int dir, const char *name, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
		.mode = flags & O_CREAT ? 0600 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));

	if (fd >= 0)
		return fd;
	/* Before Linux 5.6: one component, and it is no symlink. */
	if (errno == ENOSYS && !strchr(name, '/'))
		fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

/* ---- the home ---- */

static int path_in(char *buf, size_t len, const char *base, const char *tail,
		   struct fail *why)
{
	int n = snprintf(buf, len, "%s%s", base, tail);

	if (n < 0 || (size_t)n >= len)
		return fail_set(why, EXIT_USAGE, -ENAMETOOLONG, base,
				"set TINTYPE_HOME to a shorter path",
				"path too long");
	if (base[0] != '/')
		return fail_set(why, EXIT_USAGE, -EINVAL, base,
				"set TINTYPE_HOME to a path that begins with /",
				"the home must be an absolute path");
	return 0;
}

int home_path(char *buf, size_t len, struct fail *why)
{
	const char *home = getenv("TINTYPE_HOME");
	const char *xdg = getenv("XDG_DATA_HOME"), *user = getenv("HOME");

	if (home && *home)
		return path_in(buf, len, home, "", why);
	if (geteuid() == 0)
		return path_in(buf, len, "/var/lib/tintype", "", why);
	if (xdg && *xdg == '/')
		return path_in(buf, len, xdg, "/tintype", why);
	if (user && *user)
		return path_in(buf, len, user, "/.local/share/tintype", why);
	return fail_set(why, EXIT_USAGE, -EINVAL, "home",
			"set TINTYPE_HOME to a directory of yours",
			"neither TINTYPE_HOME nor HOME is set");
}

/* Makes each missing part of the path, private. */
static int make_path(const char *path)
{
	char part[PATH_MAX];

	for (const char *s = path + 1;; s++) {
		if (*s && *s != '/')
			continue;
		memcpy(part, path, (size_t)(s - path));
		part[s - path] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
		if (!*s)
			return 0;
	}
}

static int home_error(int err, const char *path, struct fail *why)
{
	enum exit_code code = EXIT_FAILED;
	const char *hint = "set TINTYPE_HOME to a directory of yours";

	if (err == -EACCES || err == -EPERM || err == -EROFS) {
		code = EXIT_DENIED;
	} else if (err == -ENOSPC || err == -EDQUOT) {
		code = EXIT_NO_SPACE;
		hint = "make room there, or set TINTYPE_HOME to another place";
	} else if (err == -EMFILE || err == -ENFILE) {
		hint = "allow more open files: ulimit -n";
	} else if (err == -EFBIG) {
		hint = "allow larger files: ulimit -f";
	}
	return fail_set(why, code, err, path, hint, "%s", strerror(-err));
}

int home_open_top(bool create, struct fail *why)
{
	char path[PATH_MAX];
	_cleanup_close_ int home = -1;
	int err = home_path(path, sizeof(path), why);

	if (err)
		return err;
	home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (home < 0 && errno == ENOENT && create) {
		err = make_path(path);
		if (err)
			return home_error(err, path, why);
		home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (home < 0)
		return !create && errno == ENOENT
			   ? -ENOENT
			   : home_error(-errno, path, why);
	err = file_own_dir(home, path, why);
	return err ? err : steal_fd(&home);
}

int home_open(bool create, struct fail *why)
{
	static const char below[] = "/vms";
	char path[PATH_MAX];
	_cleanup_close_ int home = -1, vms = -1;
	int err = home_path(path, sizeof(path) - strlen(below), why);

	if (err)
		return err;
	home = home_open_top(create, why);
	if (home < 0)
		return home;
	strcat(path, below);
	if (create && mkdirat(home, "vms", 0700) < 0 && errno != EEXIST)
		return home_error(-errno, path, why);
	vms = open_beneath(home, "vms", O_RDONLY | O_DIRECTORY);
	if (vms < 0)
		return !create && vms == -ENOENT ? -ENOENT
						 : home_error(vms, path, why);
	err = file_own_dir(vms, path, why);
	return err ? err : steal_fd(&vms);
}

/* ---- one VM's directory ---- */

void vm_dir_close(struct vm_dir *d)
{
	cleanup_close(&d->fd);
	cleanup_close(&d->lock);
	d->fd = d->lock = -1;
}

int vm_dir_open(const struct vm_dir *d, const char *file, int flags)
{
	_cleanup_close_ int fd = open_beneath(d->fd, file, flags);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink > 1)
		return -EPERM;
	return steal_fd(&fd);
}

static int lock_op(int fd, int op, short type, struct flock *l)
{
	*l = (struct flock){ .l_type = type, .l_whence = SEEK_SET };
	return fcntl(fd, op, l) < 0 ? -errno : 0;
}

static bool lock_held(int fd)
{
	struct flock l;

	return lock_op(fd, F_OFD_GETLK, F_WRLCK, &l) == 0 &&
	       l.l_type != F_UNLCK;
}

bool vm_dir_alive(const struct vm_dir *d)
{
	return d->lock >= 0 && lock_held(d->lock);
}

static int dir_error(int err, const char *name, struct fail *why)
{
	if (err == -ENOENT)
		return fail_set(why, EXIT_NOT_FOUND, err, name,
				"see 'tintype ps --all'", "no such VM");
	if (err == -ELOOP || err == -ENOTDIR)
		return fail_set(why, EXIT_DENIED, err, name,
				"remove it from the home",
				"its directory is a link or no directory");
	return home_error(err, name, why);
}

/* Opens the directory and its lock file (`flags` may create that). */
static int open_dir(int vms, const char *name, int flags, struct vm_dir *d,
		    struct fail *why)
{
	int err;

	d->fd = d->lock = -1;
	if (!config_name_valid(name))
		return fail_set(why, EXIT_NOT_FOUND, -ENOENT, name,
				"see 'tintype ps --all'", "no such VM");
	memcpy(d->name, name, strlen(name) + 1);
	d->fd = open_beneath(vms, name, O_RDONLY | O_DIRECTORY);
	if (d->fd < 0)
		return dir_error(d->fd, name, why);
	err = file_own_dir(d->fd, name, why);
	if (err)
		return err;
	d->lock = vm_dir_open(d, "lock", O_RDWR | flags);
	if (d->lock < 0 && !(d->lock == -ENOENT && !flags))
		return dir_error(d->lock, name, why);
	return 0;
}

int home_find(int vms, const char *name, struct vm_dir *d, struct fail *why)
{
	int err = open_dir(vms, name, 0, d, why);

	if (err)
		vm_dir_close(d);
	return err;
}

bool home_alive(int vms, const char *name)
{
	struct vm_dir d;
	bool alive;

	if (home_find(vms, name, &d, NULL))
		return false;
	alive = vm_dir_alive(&d);
	vm_dir_close(&d);
	return alive;
}

/* The lock is ours: is its file still the one that has the name? */
static bool still_linked(const struct vm_dir *d)
{
	struct stat st;

	return fstat(d->lock, &st) == 0 && st.st_nlink == 1;
}

static void end_life(const struct vm_dir *d)
{
	for (unsigned i = 0; i < ARRAY_SIZE(files_of_a_life); i++)
		unlinkat(d->fd, files_of_a_life[i], 0);
}

static int is_file(const struct dirent *e)
{
	return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

/* What cannot be removed keeps the directory, which the caller tells. */
static void remove_dir(const struct vm_dir *d, const char *name)
{
	_cleanup_close_ int fd =
	    open_beneath(d->fd, name, O_RDONLY | O_DIRECTORY);
	struct dirent **files = NULL;
	int n = fd < 0 ? 0 : scandirat(fd, ".", &files, is_file, NULL);

	for (int i = 0; i < n; i++) {
		unlinkat(fd, files[i]->d_name, 0);
		free(files[i]);
	}
	free(files);
	if (fd >= 0)
		unlinkat(d->fd, name, AT_REMOVEDIR);
}

/* roots.json before the heads: without it they are nobody's, and a removal
 * that breaks off half-way leaves nothing that could be taken for a disk. The
 * lock goes last. */
static void remove_all(const struct vm_dir *d)
{
	end_life(d);
	for (unsigned i = 0; i < ARRAY_SIZE(files_kept); i++)
		unlinkat(d->fd, files_kept[i], 0);
	for (unsigned i = 0; i < ARRAY_SIZE(dirs_kept); i++)
		remove_dir(d, dirs_kept[i]);
	unlinkat(d->fd, "lock", 0);
}

/* 0: locked and linked; -EAGAIN: lost a race, try again; -EBUSY: it lives. */
static int try_claim(int vms, const char *name, struct vm_dir *d,
		     struct fail *why)
{
	bool made = mkdirat(vms, name, 0700) == 0;
	struct flock l;
	int err;

	if (!made && errno != EEXIST)
		return home_error(-errno, name, why);
	err = open_dir(vms, name, O_CREAT, d, why);
	if (err == -ENOENT)
		return -EAGAIN;
	/* No room for its lock: nothing of it stays. */
	if (err && made)
		unlinkat(vms, name, AT_REMOVEDIR);
	if (err)
		return err;
	err = lock_op(d->lock, F_OFD_SETLK, F_WRLCK, &l);
	if (err == -EAGAIN || err == -EACCES)
		return -EBUSY;
	if (err)
		return home_error(err, name, why);
	return still_linked(d) ? 0 : -EAGAIN;
}

static int claim_name(int vms, const char *name, struct vm_dir *d,
		      struct fail *why)
{
	int err = -EAGAIN;

	for (unsigned i = 0; i < CLAIM_TRIES && err == -EAGAIN; i++) {
		err = try_claim(vms, name, d, why);
		if (err)
			vm_dir_close(d);
	}
	if (err == -EAGAIN)
		return fail_set(why, EXIT_CONFLICT, err, name, "try again",
				"others keep removing it");
	return err;
}

/* auto-20260131T235959Z. By hand: gmtime_r would read the time zone's file, and
 * this is on the way to the guest's first byte. Days to a date: the years begin
 * in March, so that a leap day is their last. */
void home_made_up_name(char *buf, size_t len, time_t now)
{
	uint64_t s = (uint64_t)now % 86400, days = (uint64_t)now / 86400;
	uint64_t z = days + 719468, era = z / 146097, doe = z % 146097;
	uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	uint64_t mp = (5 * doy + 2) / 153, day = doy - (153 * mp + 2) / 5 + 1;
	uint64_t month = mp < 10 ? mp + 3 : mp - 9;
	uint64_t year = yoe + era * 400 + (month <= 2);

	snprintf(buf, len, MADE_UP "%04u%02u%02uT%02u%02u%02uZ", (unsigned)year,
		 (unsigned)month, (unsigned)day, (unsigned)(s / 3600),
		 (unsigned)(s / 60 % 60), (unsigned)(s % 60));
}

static int claim_made_up(int vms, struct vm_dir *d, struct fail *why)
{
	char base[48], name[CONFIG_NAME_MAX + 1];
	int err = -EBUSY;

	home_made_up_name(base, sizeof(base), time(NULL));
	for (unsigned i = 1; i <= MADE_UP_MAX && err == -EBUSY; i++) {
		snprintf(name, sizeof(name), i == 1 ? "%s" : "%s-%u", base, i);
		/* Not a dead one's directory either: it may be kept. */
		if (mkdirat(vms, name, 0700) == 0)
			err = claim_name(vms, name, d, why);
		else if (errno != EEXIST)
			return home_error(-errno, name, why);
	}
	/* Gone only if it is empty: no lock could be made in it. */
	if (err && err != -EBUSY)
		unlinkat(vms, name, AT_REMOVEDIR);
	if (err == -EBUSY)
		fail_set(why, EXIT_CONFLICT, err, base, "give one with --name",
			 "made-up names are used up");
	return err;
}

/* The lock is held: nobody else claims it until the name is gone. */
static int remove_claimed(int vms, const struct vm_dir *d, struct fail *why)
{
	remove_all(d);
	if (unlinkat(vms, d->name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno == ENOTEMPTY || errno == EEXIST)
		return fail_set(why, EXIT_FAILED, -errno, d->name,
				"remove what you put there",
				"files that are not ours are in its directory");
	return home_error(-errno, d->name, why);
}

int home_claim(int vms, const char *name, bool keep, struct vm_dir *d,
	       struct fail *why)
{
	int err =
	    name ? claim_name(vms, name, d, why) : claim_made_up(vms, d, why);

	if (name && err == -EBUSY)
		return fail_set(why, EXIT_CONFLICT, err, name,
				"stop it first, or give another --name",
				"a VM of this name is running");
	if (err)
		return err;
	end_life(d);
	if (ftruncate(d->lock, 0) < 0 ||
	    (!keep &&
	     pwrite(d->lock, lock_sweep, sizeof(lock_sweep) - 1, 0) < 0)) {
		err = home_error(-errno, d->name, why);
		/* One that is kept may have disks from before. */
		if (!keep)
			(void)remove_claimed(vms, d, NULL);
		vm_dir_close(d);
	}
	return err;
}

/* ---- ending ---- */

int home_remove(int vms, const char *name, struct fail *why)
{
	struct vm_dir d;
	struct flock l;
	int err = open_dir(vms, name, O_CREAT, &d, why);

	if (!err && lock_op(d.lock, F_OFD_SETLK, F_WRLCK, &l))
		err = fail_set(why, EXIT_WRONG_STATE, -EBUSY, name,
			       "stop it first: 'tintype stop' (or stop --kill)",
			       "is running");
	if (!err && still_linked(&d))
		err = remove_claimed(vms, &d, why);
	vm_dir_close(&d);
	return err;
}

static bool to_be_swept(const struct vm_dir *d)
{
	char first;

	return pread(d->lock, &first, 1, 0) == 1 && first == lock_sweep[0];
}

static void sweep_one(int vms, struct vm_dir *d)
{
	struct flock l;

	if (!to_be_swept(d) || lock_op(d->lock, F_OFD_SETLK, F_WRLCK, &l))
		return;
	/* Claimed, kept and ended since we looked? It tells now. */
	if (still_linked(d) && to_be_swept(d))
		(void)remove_claimed(vms, d, NULL);
}

static int is_made_up(const struct dirent *e)
{
	return !strncmp(e->d_name, MADE_UP, strlen(MADE_UP)) &&
	       config_name_valid(e->d_name);
}

static void sweep_name(int vms, const char *name)
{
	struct vm_dir d;

	if (home_find(vms, name, &d, NULL))
		return;
	if (d.lock >= 0 && !lock_held(d.lock))
		sweep_one(vms, &d);
	vm_dir_close(&d);
}

void home_sweep(int vms, unsigned spare, unsigned look)
{
	struct dirent **names = NULL;
	int found = scandirat(vms, ".", &names, is_made_up, NULL);
	unsigned n = (unsigned)MAX(found, 0);
	/* Not always the same ones, which may all be alive. */
	unsigned from = n ? (unsigned)getpid() % n : 0;

	for (unsigned i = 0; n > spare && i < MIN(n, look); i++)
		sweep_name(vms, names[(from + i) % n]->d_name);
	for (unsigned i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

static int is_vm_name(const struct dirent *e)
{
	return config_name_valid(e->d_name);
}

int home_each(int vms, int (*fn)(void *ctx, struct vm_dir *d), void *ctx)
{
	struct dirent **names = NULL;
	int n = scandirat(vms, ".", &names, is_vm_name, alphasort);
	int stop = 0;

	for (int i = 0; i < n; i++) {
		struct vm_dir d;

		if (!stop && home_find(vms, names[i]->d_name, &d, NULL) == 0) {
			stop = fn(ctx, &d);
			vm_dir_close(&d);
		}
		free(names[i]);
	}
	free(names);
	return stop;
}

/* ---- files ---- */

/* No file of a VM is longer. */
#define JSON_MAX_BYTES (2 * CONFIG_MAX_BYTES)

json_t *vm_dir_read_json(const struct vm_dir *d, const char *file)
{
	_cleanup_close_ int fd = vm_dir_open(d, file, O_RDONLY);
	char text[JSON_MAX_BYTES];
	ssize_t n;

	if (fd < 0)
		return NULL;
	n = pread(fd, text, sizeof(text), 0);
	return n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
}

/* In one write: who reads meanwhile sees nothing or all of it. */
int vm_dir_write_json(const struct vm_dir *d, const char *file,
		      const json_t *doc)
{
	_cleanup_free_ char *text = json_dumps(doc, JSON_INDENT(2));
	_cleanup_close_ int fd = -1;
	size_t len;
	ssize_t n;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	text[len++] = '\n'; /* a line; the NUL is not written */
	/* Nobody could read it. */
	if (len > JSON_MAX_BYTES)
		return -EFBIG;
	fd = vm_dir_open(d, file, O_WRONLY | O_CREAT | O_TRUNC);
	if (fd < 0)
		return fd;
	n = write(fd, text, len);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -ENOSPC;
}
