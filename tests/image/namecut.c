/* SPDX-License-Identifier: Apache-2.0 */
/* See namecut.h. */
#include "namecut.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imgtest.h"
#include "util.h"

#define MAX_DIRS  8
#define MAX_NAMES 32
#define MAX_OPS	  64
#define NAME_ROOM 80

/* One content of a file; never freed before the end. */
struct object {
	uint64_t ino;
	uint8_t *data;
	size_t len;
	bool synced;
};

struct name {
	char text[NAME_ROOM];
	int object; /* or of a directory: -1 - its number */
};

struct dir {
	uint64_t ino;
	struct name name[MAX_NAMES];
	unsigned n;
};

/* What was done to a directory and is not synced. */
struct op {
	unsigned dir;
	enum dir_kind kind; /* LINK: a new name; UNLINK; RENAME */
	char from[NAME_ROOM], to[NAME_ROOM];
	int object;
};

static struct {
	struct dir dir[MAX_DIRS];
	unsigned ndirs;
	struct op op[MAX_OPS];
	unsigned nops;
	struct object *object;
	size_t nobjects, room;
} cut;

/* ---- what there is ---- */

static int dir_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -1;
	for (unsigned i = 0; i < cut.ndirs; i++)
		if (cut.dir[i].ino == st.st_ino)
			return (int)i;
	return -1;
}

static int add_object(uint64_t ino, int fd, bool synced)
{
	struct object *o;
	struct stat st;

	cr_assert_eq(array_reserve(&cut.object, &cut.room, cut.nobjects + 1,
				   sizeof(*cut.object)),
		     0);
	o = &cut.object[cut.nobjects];
	cr_assert_eq(fstat(fd, &st), 0);
	*o = (struct object){ .ino = ino,
			      .len = (size_t)st.st_size,
			      .synced = synced };
	o->data = malloc(o->len + 1);
	cr_assert_eq(pread(fd, o->data, o->len, 0), (ssize_t)o->len);
	return (int)cut.nobjects++;
}

static int find_object(int dir, const char *name)
{
	struct stat st;
	int fd, object;

	cr_assert_eq(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	for (size_t i = cut.nobjects; i-- > 0;)
		if (cut.object[i].ino == st.st_ino)
			return (int)i;
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	object = add_object(st.st_ino, fd, false);
	close(fd);
	return object;
}

/* ---- what is done ---- */

static void add_op(int dir, enum dir_kind kind, const char *from,
		   const char *to, int object)
{
	struct op *o = &cut.op[cut.nops];

	if (dir < 0)
		return;
	cr_assert_lt(cut.nops, MAX_OPS);
	*o = (struct op){ (unsigned)dir, kind, "", "", object };
	snprintf(o->from, NAME_ROOM, "%s", from);
	snprintf(o->to, NAME_ROOM, "%s", to);
	cut.nops++;
}

static void take_mkdir(const struct dir_call *c)
{
	struct stat st;

	cr_assert_lt(cut.ndirs, MAX_DIRS);
	cr_assert_eq(fstatat(c->fd, c->name, &st, 0), 0);
	add_op(dir_of(c->fd), DIR_LINK, "", c->name, -1 - (int)cut.ndirs);
	cut.dir[cut.ndirs++].ino = st.st_ino;
}

/* Only who makes an empty file by open gives it a name at once. */
static void take_open(const struct dir_call *c)
{
	int dir = dir_of(c->fd);
	bool known = false;

	if (!(c->flags & O_CREAT) || dir < 0)
		return;
	for (unsigned i = 0; i < cut.dir[dir].n; i++)
		known |= !strcmp(cut.dir[dir].name[i].text, c->name);
	if (!known)
		add_op(dir, DIR_LINK, "", c->name, find_object(c->fd, c->name));
}

static struct name *find_name(struct dir *d, const char *text)
{
	for (unsigned i = 0; i < d->n; i++)
		if (!strcmp(d->name[i].text, text))
			return &d->name[i];
	return NULL;
}

static void remove_name(struct dir *d, const char *text)
{
	struct name *name = find_name(d, text);

	if (name)
		*name = d->name[--d->n];
}

static void apply(struct dir *d, const struct op *o)
{
	if (o->kind != DIR_LINK)
		remove_name(d, o->from);
	if (o->kind == DIR_UNLINK)
		return;
	remove_name(d, o->to);
	cr_assert_lt(d->n, MAX_NAMES);
	strcpy(d->name[d->n].text, o->to);
	d->name[d->n++].object = o->object;
}

static void sync_dir(int dir)
{
	unsigned left = 0;

	for (unsigned i = 0; i < cut.nops; i++)
		if ((int)cut.op[i].dir == dir)
			apply(&cut.dir[dir], &cut.op[i]);
		else
			cut.op[left++] = cut.op[i];
	cut.nops = left;
}

void namecut_take(const struct dir_call *c)
{
	struct stat st;

	switch (c->kind) {
	case DIR_MKDIR:
		take_mkdir(c);
		return;
	case DIR_OPEN:
		take_open(c);
		return;
	case DIR_LINK:
		add_op(dir_of(c->to_fd), DIR_LINK, "", c->to,
		       find_object(c->to_fd, c->to));
		return;
	case DIR_RENAME:
		add_op(dir_of(c->to_fd), DIR_RENAME, c->name, c->to,
		       find_object(c->to_fd, c->to));
		return;
	case DIR_UNLINK:
		add_op(dir_of(c->fd), DIR_UNLINK, c->name, "", 0);
		return;
	case DIR_SYNC:
		sync_dir(dir_of(c->fd));
		return;
	case DIR_DATA_SYNC:
		cr_assert_eq(fstat(c->fd, &st), 0);
		add_object(st.st_ino, c->fd, true);
		return;
	case DIR_WRITE:
	case DIR_RESERVE:
	case DIR_FCNTL:
	case DIR_MEMORY:
	case DIR_KINDS:
		return;
	}
}

void namecut_begin(int home)
{
	struct stat st;

	cr_assert_eq(fstat(home, &st), 0);
	cut.dir[0] = (struct dir){ .ino = st.st_ino };
	cut.ndirs = 1;
	cut.nops = 0;
}

void namecut_end(void)
{
	for (size_t i = 0; i < cut.nobjects; i++)
		free(cut.object[i].data);
	free(cut.object);
	memset(&cut, 0, sizeof(cut));
}

/* ---- states ---- */

static void write_file(int at, const char *name, const struct object *o)
{
	int fd =
	    openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t len = o->synced ? o->len : o->len / 2;

	cr_assert_geq(fd, 0, "%s", name);
	cr_assert_eq(write(fd, o->data, len), (ssize_t)len);
	close(fd);
}

static void write_dir(const struct dir *all, unsigned dir, int at)
{
	for (unsigned i = 0; i < all[dir].n; i++) {
		const struct name *n = &all[dir].name[i];
		int fd;

		if (n->object >= 0) {
			write_file(at, n->text, &cut.object[n->object]);
			continue;
		}
		cr_assert_eq(mkdirat(at, n->text, 0700), 0);
		fd = openat(at, n->text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		write_dir(all, (unsigned)(-1 - n->object), fd);
		close(fd);
	}
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	return remove(path);
}

/* The state in which just those of the open operations were made. */
static void make_state(uint64_t mask, void (*fn)(int home))
{
	const char *tmp = getenv("TMPDIR");
	struct dir all[MAX_DIRS];
	char path[256];
	int home;

	memcpy(all, cut.dir, sizeof(all));
	for (unsigned i = 0; i < cut.nops; i++)
		if (mask >> i & 1)
			apply(&all[cut.op[i].dir], &cut.op[i]);
	snprintf(path, sizeof(path), "%s/cut-XXXXXX", tmp ? tmp : "/tmp");
	cr_assert(mkdtemp(path));
	home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	write_dir(all, 0, home);
	fn(home);
	close(home);
	nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

uint64_t namecut_each(uint64_t *state, void (*fn)(int home))
{
	unsigned n = cut.nops;
	uint64_t all = (UINT64_C(1) << n) - 1, made = 0;

	cr_assert_lt(n, 64);
	if (n <= 4) {
		for (uint64_t mask = all;; mask--) {
			make_state(mask, fn);
			made++;
			if (!mask)
				return made;
		}
	}
	make_state(all, fn);
	make_state(0, fn);
	for (unsigned i = 0; i < n; i++) {
		make_state((UINT64_C(1) << i) - 1, fn); /* what came before */
		make_state(UINT64_C(1) << i, fn);	/* it alone */
		make_state(all & ~(UINT64_C(1) << i), fn);
	}
	for (unsigned i = 0; i < 8; i++)
		make_state(rng(state) & all, fn);
	return 2 + 3 * n + 8;
}
