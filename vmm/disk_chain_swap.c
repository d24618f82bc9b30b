/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A head takes another's place. All that needs files or memory is done before,
 * on the writer; the swap changes pointers. What the old head has is read by
 * its read-only fd from then on, so that the read-write one can be closed as
 * soon as it is sealed, whatever requests are on their way: who gives the layer
 * its name wants proof that nobody can write to it.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_chain_impl.h"
#include "disk_dir.h"
#include "disk_set.h"
#include "fileio.h"
#include "util.h"

static int refuse(const struct disk_chain *c, const char *what,
		  struct fail *why)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, c->name, NULL, "%s", what);
}

/* ---- the next head ---- */

static bool same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* Read-only fds of the frozen heads and the present one, oldest first. */
static int take_read_only(struct disk_chain *c, int *fd, struct fail *why)
{
	for (unsigned i = 0; i <= c->nfrozen; i++) {
		bool last = i == c->nfrozen;
		int *ro = last ? &c->next.ro : &c->frozen[i].ro;

		if (!same_file(fd[i], last ? c->fd : c->frozen[i].fd))
			return refuse(c,
				      "a file that was handed over is not "
				      "that head's",
				      why);
		if (*ro < 0)
			*ro = steal_fd(&fd[i]);
	}
	return 0;
}

static bool is_empty(const struct head *h)
{
	struct head_counts n;

	head_count(h, &n);
	return !n.blocks && !n.commits && !n.dropped;
}

/* Takes `fd`, also when it fails. */
static int open_next(struct disk_chain *c, int fd,
		     const struct head_below *below, struct fail *why)
{
	int err;

	c->next.fd = fd;
	err = disk_chain_open_head(c, fd, below, &c->next.head, why);
	if (!err && !is_empty(c->next.head))
		err = refuse(c, "the next head is not empty", why);
	/* Where the ring has no place for it, it is used without. */
	if (!err)
		(void)disk_io_add_file(c->io, fd);
	return err;
}

static int judge_over(const struct disk_chain *c, int fd, const char *uid,
		      struct fail *why)
{
	char text[DISK_UID_TEXT];
	struct head_info info;
	int err = head_read_info(fd, c->name, &info, why);

	if (err)
		return err;
	disk_uid_text(text, info.uid);
	if (strcmp(text, uid))
		return refuse(c, "the next head is another one than was said",
			      why);
	if (info.bytes != head_bytes(c->head) ||
	    info.below_kind != BELOW_HEAD ||
	    memcmp(info.below_uid, head_uid(c->head), UID_BYTES))
		return refuse(c, "the next head does not lie on this one", why);
	return 0;
}

/* After captures that were given up one after the other: one must come to its
 * end now. */
static int seal_if_full(struct disk_chain *c, struct fail *why)
{
	static const atomic_bool never;
	struct disk_sealed out[DISK_MAX_FROZEN + 1];
	unsigned n = 0;
	int err;

	if (c->nfrozen < DISK_MAX_FROZEN)
		return 0;
	err = disk_chain_settle(c);
	if (err)
		return file_failed(c->name, err, "flush frozen heads", why);
	return disk_chain_seal(c, out, &n, &never, why);
}

int disk_chain_prepare(struct disk_chain *c, const int *fds, const char *uid,
		       struct fail *why)
{
	const struct head_below below = { .head = c->head,
					  .raw_fd = c->raw,
					  .raw_bytes = c->raw_bytes };
	int ro[DISK_MAX_FROZEN + 1], next = fds[0], err;

	memcpy(ro, fds + 1, (c->nfrozen + 1) * sizeof(*ro));
	assert(!c->next.head);
	err = take_read_only(c, ro, why);
	for (unsigned i = 0; i <= c->nfrozen; i++)
		cleanup_close(&ro[i]);
	if (!err)
		err = judge_over(c, next, uid, why);
	if (!err)
		err = seal_if_full(c, why);
	if (!err)
		err = open_next(c, next, &below, why);
	else
		close(next);
	if (err)
		disk_chain_drop_next(c);
	return err;
}

void disk_chain_drop_next(struct disk_chain *c)
{
	head_close(c->next.head);
	disk_chain_end_file(c, &c->next.fd);
	disk_chain_end_file(c, &c->next.ro);
	free(c->next.image);
	c->next = (struct next_head){ .fd = -1, .ro = -1 };
}

/* ---- the swap ---- */

static void read_by_ro(struct frozen *z)
{
	if (z->by_ro || z->ro < 0)
		return;
	head_read_by(z->head, z->ro);
	z->by_ro = true;
}

void disk_chain_swap(struct disk_chain *c)
{
	struct frozen *z = &c->frozen[c->nfrozen];

	assert(c->next.head && c->next.ro >= 0);
	assert(c->nfrozen < ARRAY_SIZE(c->frozen));
	*z = (struct frozen){ .head = c->head, .fd = c->fd, .ro = c->next.ro };
	head_freeze(z->head);
	c->nfrozen++;
	for (unsigned i = 0; i < c->nfrozen; i++)
		read_by_ro(&c->frozen[i]);
	c->head = c->next.head;
	c->fd = c->next.fd;
	c->next = (struct next_head){ .fd = -1, .ro = -1 };
	disk_head_swap(c->disk, c->head);
}

/* ---- durable ---- */

int disk_chain_settle(void *chain)
{
	struct disk_chain *c = chain;
	_locked_(&c->settle_lock);
	int err = 0;

	for (unsigned i = 0; i < c->nfrozen && !err; i++) {
		struct frozen *z = &c->frozen[i];

		if (!z->durable)
			err = head_flush(z->head, NULL);
		z->durable |= !err;
	}
	if (!err && c->unmarked) {
		err = head_commit_empty(c->head, NULL);
		c->unmarked = err != 0;
	}
	return err;
}

void disk_chain_on_settled(struct loop_task *t)
{
	struct disk_chain *c = container_of(t, struct disk_chain, settled);

	disk_head_release(c->disk);
}

int disk_chain_settle_now(struct disk_chain *c, struct fail *why)
{
	int err = disk_chain_settle(c);

	/* Also after a failure: a FLUSH tries once more, and tells of it. */
	loop_post(c->loop, &c->settled);
	return err ? file_failed(c->name, err, "flush", why) : 0;
}

/* ---- sealed ---- */

static int no_such_layer(void *ctx, const struct object_id *id)
{
	return -ENOENT;
}

/* The sealed file, by its read-only fd, as a layer of the VM's set. */
static int open_sealed(struct disk_chain *c, struct frozen *z, struct fail *why)
{
	const struct object_id *id = &z->sealed->head.id;
	char name[ID_SHORT + 8] = "layer ";
	bool taken = true;
	int err = 0;

	object_id_short(name + strlen(name), id);
	if (!z->layer)
		err = layer_open_lent(c->layers, z->ro, name, id, &z->layer,
				      &taken, why);
	if (!err && !taken) {
		z->layer = NULL;
		err = fail_set(why, EXIT_INTEGRITY, -EEXIST, name, NULL,
			       "is there twice");
	}
	if (!err)
		err = layer_link(c->layers, no_such_layer, NULL, why);
	return err ? err : image_open(z->image, z->layer, 0, why);
}

/* Goes on where one that failed ended. */
static int seal_one(struct disk_chain *c, struct frozen *z,
		    const struct image *base, struct fail *why)
{
	int err = 0;

	if (!z->image)
		z->image = malloc(sizeof(*z->image));
	if (!z->sealed)
		z->sealed = calloc(1, sizeof(*z->sealed));
	if (!z->image || !z->sealed)
		return disk_chain_no_memory(c, why);
	disk_uid_text(z->sealed->head.uid, head_uid(z->head));
	if (!z->is_sealed)
		err = head_seal(z->head, base, &z->sealed->head.id, why);
	z->is_sealed |= !err;
	if (!err)
		err = open_sealed(c, z, why);
	z->ready = !err;
	if (!err && z->by_ro)
		disk_chain_end_file(c, &z->fd);
	return err;
}

int disk_chain_seal(struct disk_chain *c, struct disk_sealed *out, unsigned *n,
		    const atomic_bool *cancel, struct fail *why)
{
	const struct image *base = c->image;
	int err = 0;

	for (unsigned i = 0; i < c->nfrozen && !err; i++) {
		struct frozen *z = &c->frozen[i];

		if (atomic_load(cancel))
			return fail_set(why, EXIT_CANCELLED, -ECANCELED,
					c->name, NULL, "cancelled");
		if (!z->ready)
			err = seal_one(c, z, base, why);
		if (err)
			break;
		base = z->image;
		out[*n] = (struct disk_sealed){
			.disk = c->id,
			.id = z->sealed->head.id,
			.newest = i + 1 == c->nfrozen,
			.bytes = z->image->bytes,
			.over_raw = c->raw >= 0,
		};
		memcpy(out[*n].uid, z->sealed->head.uid, sizeof(out[*n].uid));
		++*n;
	}
	return err;
}

/* ---- given up, done ---- */

static void add_sealed(struct disk_chain *c, struct sealed *s)
{
	struct sealed **last = &c->sealed;

	while (*last)
		last = &(*last)->next;
	*last = s;
}

static void set_image(struct disk_chain *c, struct image *image)
{
	const struct head_below below = { .image = image,
					  .raw_fd = c->raw,
					  .raw_bytes = c->raw_bytes };

	head_set_below(c->nfrozen ? c->frozen[0].head : c->head, &below);
	free(c->image);
	c->image = image;
}

void disk_chain_adopt(struct disk_chain *c)
{
	struct image *image = NULL;
	unsigned n = 0;

	for (; n < c->nfrozen && c->frozen[n].ready; n++) {
		struct frozen *z = &c->frozen[n];

		free(image);
		image = z->image;
		z->image = NULL;
		add_sealed(c, z->sealed);
		z->sealed = NULL;
		disk_chain_end_frozen(c, z, false);
	}
	if (!n)
		return;
	c->nfrozen -= n;
	memmove(c->frozen, c->frozen + n, c->nfrozen * sizeof(*c->frozen));
	set_image(c, image);
}

void disk_chain_abandon(struct disk_chain *c)
{
	disk_chain_drop_next(c);
	disk_chain_adopt(c);
	disk_head_release(c->disk);
}

void disk_chain_commit(struct disk_chain *c)
{
	disk_chain_free_sealed(c);
}

/* ---- restore ---- */

static int find_image(struct disk_chain *c, const struct head_info *info,
		      struct layer_set *layers, struct fail *why)
{
	struct layer *l = NULL;

	if (info->below_kind == BELOW_LAYER)
		l = layer_set_find(layers, &info->below_layer);
	if (!l || info->bytes != head_bytes(c->head))
		return refuse(c, "the new head does not lie on the snapshot",
			      why);
	c->next.image = malloc(sizeof(*c->next.image));
	if (!c->next.image)
		return disk_chain_no_memory(c, why);
	return image_open(c->next.image, l, info->below_root, why);
}

int disk_chain_replace(struct disk_chain *c, int fd, struct layer_set *layers,
		       struct fail *why)
{
	struct head_below below = { .raw_fd = c->raw,
				    .raw_bytes = c->raw_bytes };
	struct head_info info;
	int err = head_read_info(fd, c->name, &info, why);

	assert(!c->next.head);
	if (!err)
		err = find_image(c, &info, layers, why);
	below.image = c->next.image;
	c->next.layers = layers;
	if (!err)
		err = open_next(c, fd, &below, why);
	else
		close(fd);
	if (err)
		disk_chain_drop_next(c);
	return err;
}

void disk_chain_take(struct disk_chain *c)
{
	struct head *old = c->head;

	assert(c->next.head && c->next.image);
	c->head = c->next.head;
	disk_head_swap(c->disk, c->head);
	head_close(old);
	for (unsigned i = 0; i < c->nfrozen; i++)
		disk_chain_end_frozen(c, &c->frozen[i], false);
	c->nfrozen = 0;
	disk_chain_end_file(c, &c->fd);
	disk_chain_free_sealed(c);
	free(c->image);
	c->image = c->next.image;
	c->layers = c->next.layers;
	c->fd = c->next.fd;
	c->unmarked = true;
	c->next = (struct next_head){ .fd = -1, .ro = -1 };
}
