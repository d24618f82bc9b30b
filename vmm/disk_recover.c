/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk's chain, found by what its files say:
 *
 *   nothing or image <- sealed.. <- frozen.. <- head
 *
 * "heads" names one in it. Up from there go those that have a commit, or have
 * one above them that has: an empty head changes nothing, and one that was made
 * for a capture which did not come to its pause has none. Then down from the
 * last of them to an image, or to a head that lies on nothing.
 */
#include "disk_recover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "layer.h"
#include "util.h"

/* A file of the disk in heads/. */
struct file {
	char uid[DISK_UID_TEXT];
	int fd; /* read-only */
	struct head_info info;
	bool sealed, commits;
	bool alive; /* it or one above it has a commit, or is sealed */
	struct object_id layer;
};

struct search {
	struct disk_dir *x;
	const struct disk_parents *parents;
	struct disk_root *r;
	uint64_t bytes;
	struct file *file;
	size_t n, room;
	struct disk_chain_found *c;
	struct fail *why;
};

static int lost(const struct search *s, const char *what)
{
	char object[256], hint[160];

	snprintf(object, sizeof(object), "%s: disk %s", s->x->vm->name,
		 s->r->id);
	snprintf(hint, sizeof(hint), "give it up by 'tintype rm %s'",
		 s->x->vm->name);
	return fail_set(s->why, EXIT_INTEGRITY, -EBADMSG, object, hint,
			"the head that has its changes %s", what);
}

static int no_memory(const struct search *s)
{
	return file_failed(s->r->id, -ENOMEM, "find its heads", s->why);
}

/* ---- what is there ---- */

static int look_sealed(struct file *f, const char *name, struct fail *why)
{
	struct layer_header h;
	int got = layer_read_header(f->fd, name, &h, why);

	if (got)
		return got;
	got = layer_is_sealed(f->fd, &h, &f->layer);
	if (got < 0)
		return file_failed(name, got, "read", why);
	f->sealed = got;
	/* Who sealed it may have been killed before his sync. */
	if (f->sealed && (got = file_sync(f->fd)))
		return file_failed(name, got, "sync", why);
	return 0;
}

static int look_commits(struct file *f, struct fail *why)
{
	const struct head_below nothing = HEAD_BELOW_NOTHING;
	struct head_counts n;
	struct head *h;
	int err;

	if (f->sealed)
		return 0;
	err = head_open(&h, f->fd, f->uid, &nothing, false, why);
	if (err)
		return err;
	head_count(h, &n);
	f->commits = n.commits > 0;
	head_close(h);
	return 0;
}

static int look(struct search *s, const char *name, struct file *f)
{
	char uid[DISK_UID_TEXT];
	int err = head_read_info(f->fd, name, &f->info, s->why);

	if (err)
		return err;
	disk_uid_text(uid, f->info.uid);
	if (strcmp(uid, f->uid))
		return lost(s, "is another one");
	return look_sealed(f, name, s->why);
}

/* Adds the file of that name, unless it is another disk's. An empty file is
 * nobody's: a head has its name when it is complete. */
static int add_file(struct search *s, int dir, const char *name)
{
	char id[CONFIG_DISK_ID_MAX + 1];
	struct file f = { .fd = -1 };
	uint64_t bytes = 0;
	int err;

	if (!disk_head_name_parse(name, id, f.uid) || strcmp(id, s->r->id))
		return 0;
	if (array_reserve(&s->file, &s->room, s->n + 1, sizeof(*s->file)))
		return no_memory(s);
	f.fd = disk_dir_open_own(dir, name, O_RDONLY);
	err = f.fd < 0 ? f.fd : file_bytes(f.fd, &bytes);
	if (err)
		file_failed(name, err, "open", s->why);
	if (err || !bytes) {
		cleanup_close(&f.fd);
		return err;
	}
	err = look(s, name, &f);
	s->file[s->n++] = f;
	return err;
}

static int scan(struct search *s)
{
	int dir = disk_dir_heads(s->x, s->why), fd, err = 0;
	const struct dirent *e;
	DIR *all;

	if (dir < 0)
		return dir;
	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	all = fd < 0 ? NULL : fdopendir(fd);
	if (!all) {
		err = -errno;
		cleanup_close(&fd);
		return file_failed(s->x->vm->name, err, "read heads", s->why);
	}
	while (!err && (e = readdir(all)))
		err = add_file(s, dir, e->d_name);
	closedir(all);
	return err;
}

static void search_end(struct search *s)
{
	for (size_t i = 0; i < s->n; i++)
		cleanup_close(&s->file[i].fd);
	free(s->file);
}

/* ---- up and down ---- */

static struct file *find(const struct search *s, const char *uid)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->file[i].uid, uid))
			return &s->file[i];
	return NULL;
}

/* The head that it lies on; NULL: none that is there. */
static struct file *below(const struct search *s, const struct file *f)
{
	char uid[DISK_UID_TEXT];

	if (f->info.below_kind != BELOW_HEAD)
		return NULL;
	disk_uid_text(uid, f->info.below_uid);
	return find(s, uid);
}

static bool lies_on(const struct file *f, const char *uid)
{
	char text[DISK_UID_TEXT];

	disk_uid_text(text, f->info.below_uid);
	return f->info.below_kind == BELOW_HEAD && !strcmp(text, uid);
}

/* Replays the logs. Of a single file nothing depends on it, and that is how it
 * is at most starts. */
static int mark_alive(struct search *s, bool single)
{
	int err = 0;

	for (size_t i = 0; i < s->n && !err && (s->n > 1 || single); i++) {
		struct file *f = &s->file[i];

		err = look_commits(f, s->why);
		if (err || (!f->sealed && !f->commits))
			continue;
		for (; f && !f->alive; f = below(s, f))
			f->alive = true;
	}
	return err;
}

/* The last of those above `uid` that are alive; *top as it was: none. */
static int go_up(struct search *s, const char *uid, struct file **top)
{
	for (size_t steps = 0; steps <= s->n; steps++) {
		struct file *next = NULL;

		for (size_t i = 0; i < s->n; i++) {
			struct file *f = &s->file[i];

			if (!f->alive || !lies_on(f, uid))
				continue;
			if (next)
				return lost(s, "is one of two");
			next = f;
		}
		if (!next)
			return 0;
		*top = next;
		uid = next->uid;
	}
	return lost(s, "lies on itself");
}

/* One on `uid` that is empty, the same at each start; NULL: none. */
static struct file *empty_on(const struct search *s, const char *uid)
{
	struct file *found = NULL;

	for (size_t i = 0; i < s->n; i++) {
		struct file *f = &s->file[i];

		if (!f->alive && lies_on(f, uid) &&
		    (!found || strcmp(f->uid, found->uid) < 0))
			found = f;
	}
	return found;
}

/* The last of the chain that says anything: NULL when that is not in heads/. */
static int find_top(struct search *s, struct file **top)
{
	struct file *f = find(s, s->r->uid), *under;
	int err = go_up(s, s->r->uid, &f);

	while (!err && f && !f->sealed && !f->commits &&
	       (under = below(s, f)) && !under->sealed)
		f = under;
	*top = f;
	return err;
}

static void lie_on(struct search *s, const struct object_id *layer,
		   uint32_t root)
{
	if (s->c->on_image)
		return;
	s->c->on_image = true;
	s->c->layer = *layer;
	s->c->root = root;
}

/* What a head lies on that is no file of heads/. */
static int end_down(struct search *s, const struct file *f)
{
	const struct manifest_image *i;

	switch (f->info.below_kind) {
	case BELOW_NOTHING:
		return 0;
	case BELOW_LAYER:
		lie_on(s, &f->info.below_layer, f->info.below_root);
		return 0;
	case BELOW_HEAD:
		i = disk_parents_by_uid(s->parents, s->r->id,
					f->info.below_uid);
		if (i)
			lie_on(s, &i->layer, i->root);
		/* What a sealed one lies on, it says itself. */
		return i || f->sealed ? 0 : lost(s, "lies on a missing one");
	}
	return -EINVAL;
}

static int add_sealed(struct search *s, const struct file *f)
{
	struct disk_chain_found *c = s->c;
	struct disk_sealed_head *all =
	    reallocarray(c->sealed, c->nsealed + 1, sizeof(*all));

	if (!all)
		return no_memory(s);
	c->sealed = all;
	memmove(all + 1, all, c->nsealed * sizeof(*all));
	all[0].id = f->layer;
	memcpy(all[0].uid, f->uid, sizeof(all[0].uid));
	c->nsealed++;
	return 0;
}

static int add_unsealed(struct search *s, const struct file *f)
{
	struct disk_chain_found *c = s->c;

	if (c->on_image)
		return lost(s, "lies below a sealed one");
	if (c->n == ARRAY_SIZE(c->uid))
		return lost(s, "lies on too many");
	memmove(c->uid[1], c->uid[0], c->n * sizeof(c->uid[0]));
	memcpy(c->uid[0], f->uid, sizeof(c->uid[0]));
	c->n++;
	return 0;
}

/* In the store, and a snapshot that stays has it. */
static bool is_stored(const struct search *s, const struct file *f)
{
	_cleanup_close_ int fd = disk_parents_layer(s->parents, &f->layer);

	return fd >= 0 && disk_parents_has(s->parents, s->r->id, &f->layer);
}

static int go_down(struct search *s, const struct file *f)
{
	for (size_t steps = 0; steps <= s->n; steps++) {
		const struct file *under = below(s, f);
		int err = 0;

		if (f->info.bytes != s->bytes)
			return lost(s, "is another disk's");
		if (f->sealed && is_stored(s, f)) {
			lie_on(s, &f->layer, 0);
			return 0;
		}
		if (f->sealed && !(err = add_sealed(s, f)))
			lie_on(s, &f->layer, 0);
		else if (!f->sealed)
			err = add_unsealed(s, f);
		if (err || !under)
			return err ? err : end_down(s, f);
		f = under;
	}
	return lost(s, "lies on itself");
}

/* "heads" names a head that is a layer of the store. */
static int start_in_store(struct search *s)
{
	const struct manifest_image *i = NULL;
	uint8_t uid[UID_BYTES];

	if (!disk_uid_parse(uid, s->r->uid))
		i = disk_parents_by_uid(s->parents, s->r->id, uid);
	if (!i)
		return lost(s, "is missing");
	lie_on(s, &i->layer, i->root);
	return 0;
}

/* The head on a layer that was one: an empty one that is there, or a new one if
 * that is gone. */
static int head_on(struct search *s, const char *uid)
{
	struct head_info info = { .bytes = s->bytes, .below_kind = BELOW_HEAD };
	const struct file *f = empty_on(s, uid);
	_cleanup_close_ int fd = -1;
	int err;

	if (f && f->info.bytes != s->bytes)
		return lost(s, "is another disk's");
	if (f)
		memcpy(s->c->uid[0], f->uid, sizeof(s->c->uid[0]));
	s->c->n = 1;
	if (f)
		return 0;
	err = disk_uid_parse(info.below_uid, uid);
	if (!err)
		err = disk_dir_make_head(s->x, s->r->id, &info, 0, s->c->uid[0],
					 &fd, s->why);
	return err ? err : disk_dir_sync_heads(s->x, s->why);
}

static int find_chain(struct search *s)
{
	struct file *top = NULL;
	int err = scan(s);

	if (!err)
		err = mark_alive(s, false);
	if (!err)
		err = find_top(s, &top);
	if (!err)
		err = top ? go_down(s, top) : start_in_store(s);
	if (!err && !s->c->n)
		err = head_on(s, top ? top->uid : s->r->uid);
	return err;
}

int disk_recover_chain(struct disk_dir *x, const struct disk_parents *p,
		       struct disk_root *r, uint64_t bytes,
		       struct disk_chain_found *c, struct fail *why)
{
	struct search s = {
		.x = x, .parents = p, .r = r, .bytes = bytes, .c = c, .why = why
	};
	int err;

	*c = (struct disk_chain_found){ 0 };
	err = find_chain(&s);
	if (!err && strcmp(r->uid, c->uid[c->n - 1])) {
		memcpy(r->uid, c->uid[c->n - 1], sizeof(r->uid));
		x->roots.dirty = true;
	}
	search_end(&s);
	return err;
}

void disk_chain_free(struct disk_chain_found *c)
{
	free(c->sealed);
	*c = (struct disk_chain_found){ 0 };
}

/* ---- scratch, next ---- */

/* The disk as the snapshot has it. */
static int start_over(struct disk_dir *x, const struct disk_parents *p,
		      struct disk_root *r, struct fail *why)
{
	const struct manifest_image *i = disk_parents_image(p, r->id);
	_cleanup_close_ int fd = -1;
	struct head_info info = { .below_kind = BELOW_LAYER };
	char object[256];

	snprintf(object, sizeof(object), "%s: disk %s", x->vm->name, r->id);
	if (!i)
		return fail_set(why, EXIT_INTEGRITY, -EBADMSG, object,
				"give it up by 'tintype rm'",
				"no snapshot has what it is to go back to");
	info.bytes = i->bytes;
	info.below_layer = i->layer;
	info.below_root = i->root;
	return disk_dir_make_head(x, r->id, &info, 0, r->uid, &fd, why);
}

static int scratch(struct disk_dir *x, const struct disk_parents *p,
		   struct fail *why)
{
	struct disk_roots *all = &x->roots;
	int err = 0;

	for (unsigned i = 0; i < all->n && !err; i++) {
		all->root[i].next[0] = '\0';
		if (all->root[i].uid[0])
			err = start_over(x, p, &all->root[i], why);
	}
	all->scratch = false;
	all->dirty = true;
	return err ? err : disk_dir_sync_heads(x, why);
}

/* Whether the restore that made it came to its end: 1, 0 or -errno. */
static int next_is_used(struct disk_dir *x, const struct disk_root *r,
			struct fail *why)
{
	struct disk_chain_found none = { 0 };
	struct disk_root next = *r;
	struct search s = { .x = x, .r = &next, .c = &none, .why = why };
	const struct file *f;
	int err = scan(&s), used = 0;

	if (!err)
		err = mark_alive(&s, true);
	if (!err) {
		f = find(&s, r->next);
		used = f && f->alive;
	}
	search_end(&s);
	return err ? err : used;
}

static int settle_next(struct disk_dir *x, struct fail *why)
{
	struct disk_roots *all = &x->roots;
	bool any = false, used = false;

	for (unsigned i = 0; i < all->n && !used; i++) {
		int got = 0;

		any |= all->root[i].next[0] != '\0';
		if (all->root[i].next[0])
			got = next_is_used(x, &all->root[i], why);
		if (got < 0)
			return got;
		used = got;
	}
	for (unsigned i = 0; i < all->n && any; i++) {
		struct disk_root *r = &all->root[i];

		if (used && r->next[0])
			memcpy(r->uid, r->next, sizeof(r->uid));
		r->next[0] = '\0';
	}
	all->dirty |= any;
	return 0;
}

int disk_recover_roots(struct disk_dir *x, const struct disk_parents *p,
		       struct fail *why)
{
	return x->roots.scratch ? scratch(x, p, why) : settle_next(x, why);
}
