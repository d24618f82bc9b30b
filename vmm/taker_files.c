/* SPDX-License-Identifier: Apache-2.0 */
/* Edge 0 of a capture: the files that are handed over, and what earlier ones
 * have left. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "fileio.h"
#include "taker_impl.h"
#include "util.h"

/* Header, tree, trailer of a layer that has next to nothing else. */
#define LAYER_SPARE MIB(1)

static int no_memory(const struct vm_dir *d, struct fail *why)
{
	return fail_set(why, EXIT_FAILED, -ENOMEM, d->name, NULL,
			"out of memory");
}

int taker_connect(const struct vm_dir *d, struct fail *why)
{
	char path[HOME_SOCKET_PATH_MAX];
	int fd = -ESRCH;

	if (vm_dir_alive(d)) {
		home_socket_path(path, d->fd, "control.sock");
		fd = control_connect(path, NULL);
	}
	if (fd >= 0)
		return fd;
	if (!vm_dir_alive(d))
		return fail_set(why, EXIT_WRONG_STATE, -ESRCH, d->name,
				"start it: 'tintype run', or 'tintype snapshot "
				"restore'",
				"is not running");
	return fail_set(why, EXIT_WRONG_STATE, fd, d->name,
			"it is starting or hangs: try again, or use 'tintype "
			"stop --kill'",
			"does not answer: %s", strerror(-fd));
}

/* ---- what others have left ---- */

void taker_note_heads(struct disk_dir *dir, const struct taker_plan *p)
{
	for (unsigned i = 0; i < p->ndisks; i++) {
		const struct taker_disk *d = &p->disk[i];
		struct disk_root *r = disk_roots_find(&dir->roots, d->id);

		/* Any head of the chain will do, as long as it is there. */
		if (!r || (taker_disk_has(d, r->uid) && !r->next[0]))
			continue;
		memcpy(r->uid, taker_disk_head(d), DISK_UID_TEXT);
		r->next[0] = '\0';
		dir->roots.dirty = true;
	}
}

/* While the VM has no parent it has booted, from disks that may lie on what is
 * in "parents". */
static int trim_parents(struct disk_dir *dir, const struct taker_plan *p,
			struct fail *why)
{
	struct object_id keep[2];
	unsigned n = 0;

	if (object_id_is_zero(&p->parent))
		return 0;
	if (!object_id_is_zero(&p->memory_parent))
		keep[n++] = p->memory_parent;
	keep[n++] = p->parent;
	if (disk_roots_set_parents(&dir->roots, keep, n))
		return no_memory(dir->vm, why);
	return 0;
}

static int list_heads(const struct taker_plan *p, struct disk_head_ref **out,
		      unsigned *n)
{
	unsigned all = 0;

	for (unsigned i = 0; i < p->ndisks; i++)
		all += p->disk[i].n;
	*out = calloc(all + 1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	*n = 0;
	for (unsigned i = 0; i < p->ndisks; i++)
		for (unsigned k = 0; k < p->disk[i].n; k++)
			(*out)[(*n)++] =
			    (struct disk_head_ref){ p->disk[i].id,
						    p->disk[i].chain[k].uid };
	return 0;
}

int taker_trim(struct disk_dir *dir, const struct taker_plan *p,
	       struct fail *why)
{
	_cleanup_free_ struct disk_head_ref *keep = NULL;
	unsigned n;
	int err = trim_parents(dir, p, why);

	taker_note_heads(dir, p);
	if (!err && dir->roots.dirty)
		err = disk_roots_write(&dir->roots, dir->vm, true, why);
	if (!err && list_heads(p, &keep, &n))
		err = no_memory(dir->vm, why);
	if (!err && p->ndisks)
		err = MIN(disk_dir_heads(dir, why), 0);
	if (!err)
		disk_dir_trim(dir, keep, n);
	return err;
}

/* ---- the new layer ---- */

static int add_layer(struct taker *t, int fd, int disk, const char *uid,
		     bool newest)
{
	struct taker_layer *l =
	    reallocarray(t->layer, t->nlayers + 1, sizeof(*t->layer));

	if (!l) {
		cleanup_close(&fd);
		return -ENOMEM;
	}
	t->layer = l;
	l += t->nlayers++;
	*l = (struct taker_layer){ .fd = fd, .disk = disk, .newest = newest };
	if (uid)
		memcpy(l->uid, uid, DISK_UID_TEXT);
	return 0;
}

/* At most what changed, with 2 % for the tree and sums, and the state. */
static uint64_t layer_reserve(const struct taker_plan *p)
{
	uint64_t data = p->changed_pages << PAGE_SHIFT;

	return data + data / 50 + p->state_bytes + LAYER_SPARE;
}

static int make_layer(struct taker *t, struct fail *why)
{
	int ro = -1, err;

	if (t->r->disks_only)
		return 0;
	err = store_new_layer(t->s, layer_reserve(&t->plan), &t->layer_rw, &ro,
			      why);
	if (err)
		return err;
	return add_layer(t, ro, -1, NULL, false) ? no_memory(t->d, why) : 0;
}

/* ---- heads ---- */

/* What the VM has of this disk now becomes layers. */
static int open_chain(struct taker *t, unsigned i, struct fail *why)
{
	const struct taker_disk *d = &t->plan.disk[i];
	int err = 0;

	for (unsigned k = 0; k < d->n && !err; k++) {
		int fd = disk_dir_open_head(&t->dir, d->id, d->chain[k].uid,
					    O_RDONLY, why);

		if (fd < 0)
			return fd;
		err = add_layer(t, fd, (int)i, d->chain[k].uid, k + 1 == d->n);
		if (err)
			return no_memory(t->d, why);
		if (d->chain[k].state == TAKER_HEAD_SEALED)
			t->layer[t->nlayers - 1].id = d->chain[k].layer;
	}
	return 0;
}

static int make_next(struct taker *t, unsigned i, struct fail *why)
{
	const struct taker_disk *d = &t->plan.disk[i];
	struct head_info info = { .bytes = d->bytes, .below_kind = BELOW_HEAD };
	int err;

	if (!disk_roots_find(&t->dir.roots, d->id))
		return fail_set(why, EXIT_INTEGRITY, -EBADMSG, t->d->name,
				"stop it and start it again",
				"its roots.json does not know disk %s", d->id);
	if (disk_uid_parse(info.below_uid, taker_disk_head(d)))
		return taker_misunderstood("capture-plan", why);
	err = disk_dir_make_head(&t->dir, d->id, &info, TAKER_HEAD_RESERVE,
				 t->next[i].uid, &t->next[i].fd, why);
	if (err)
		t->next[i].uid[0] = '\0';
	return err ? err : open_chain(t, i, why);
}

int taker_prepare(struct taker *t, struct fail *why)
{
	int err = make_layer(t, why);

	for (unsigned i = 0; i < t->plan.ndisks && !err; i++)
		err = make_next(t, i, why);
	if (!err && t->plan.ndisks)
		err = disk_dir_sync_heads(&t->dir, why);
	return err;
}

/* A VM that was told of them may have swapped them in before it failed: that is
 * for it to say, or, if it is gone, for its next start to find out. */
void taker_drop_heads(struct taker *t)
{
	struct taker_plan now = { .ram_bytes = 0 };
	bool asked =
	    t->begun && !t->gone && taker_plan_get(&now, t->conn, NULL) == 0;

	for (unsigned i = 0; i < t->plan.ndisks; i++) {
		const char *id = t->plan.disk[i].id, *uid = t->next[i].uid;
		bool used = t->begun && !asked;

		for (unsigned k = 0; k < now.ndisks; k++)
			if (!strcmp(now.disk[k].id, id))
				used = taker_disk_has(&now.disk[k], uid);
		if (*uid && !used)
			disk_dir_drop_head(&t->dir, id, uid);
	}
	taker_plan_free(&now);
}
