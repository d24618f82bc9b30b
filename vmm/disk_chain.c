/* SPDX-License-Identifier: Apache-2.0 */
/* A disk's heads, opened one over the other, told of, closed. */
#include "disk_chain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "disk_chain_impl.h"
#include "disk_dir.h"
#include "util.h"

struct head *disk_chain_head(const struct disk_chain *c)
{
	return c->head;
}

void disk_chain_attach(struct disk_chain *c, struct disk *d)
{
	c->disk = d;
}

int disk_chain_no_memory(const struct disk_chain *c, struct fail *why)
{
	return fail_set(why, EXIT_NO_SPACE, -ENOMEM, c->name, NULL,
			"out of memory");
}

/* ---- open ---- */

/* What a head that is opened next lies on. */
static struct head_below top_of(const struct disk_chain *c)
{
	return (struct head_below){
		.head = c->nfrozen ? c->frozen[c->nfrozen - 1].head : NULL,
		.image = c->image,
		.raw_fd = c->raw,
		.raw_bytes = c->raw_bytes,
	};
}

static int open_image(struct disk_chain *c, const struct disk_files *f,
		      struct fail *why)
{
	struct layer *l = layer_set_find(c->layers, &f->layer);

	if (!l)
		return fail_set(why, EXIT_INTEGRITY, -ENOENT, c->name, NULL,
				"the layer that it lies on is not there");
	c->image = malloc(sizeof(*c->image));
	if (!c->image)
		return disk_chain_no_memory(c, why);
	return image_open(c->image, l, f->root, why);
}

int disk_chain_open_head(const struct disk_chain *c, int fd,
			 const struct head_below *below, struct head **h,
			 struct fail *why)
{
	return head_open(h, fd, c->name, below, true, why);
}

/* What recovery found in each is made firm by its opening: oldest first, so
 * that none has a commit before those below it are durable. */
static int open_frozen(struct disk_chain *c, const struct disk_files *f,
		       struct fail *why)
{
	int err = 0;

	for (unsigned i = 0; i < f->nbelow && !err; i++) {
		struct frozen *z = &c->frozen[c->nfrozen];
		const struct head_below below = top_of(c);

		err =
		    disk_chain_open_head(c, f->below[i], &below, &z->head, why);
		if (err)
			break;
		head_freeze(z->head);
		z->fd = f->below[i];
		z->ro = -1;
		z->durable = true;
		c->nfrozen++;
	}
	return err;
}

static int copy_sealed(struct disk_chain *c, const struct disk_files *f,
		       struct fail *why)
{
	struct sealed **last = &c->sealed;

	for (unsigned i = 0; i < f->nsealed; i++, last = &(*last)->next) {
		*last = calloc(1, sizeof(**last));
		if (!*last)
			return disk_chain_no_memory(c, why);
		(*last)->head = f->sealed[i];
	}
	return 0;
}

static int open_all(struct disk_chain *c, const struct disk_files *f,
		    struct fail *why)
{
	struct head_below below;
	int err = f->on_image ? open_image(c, f, why) : 0;

	if (!err)
		err = copy_sealed(c, f, why);
	if (!err)
		err = open_frozen(c, f, why);
	if (err)
		return err;
	below = top_of(c);
	return disk_chain_open_head(c, c->fd, &below, &c->head, why);
}

int disk_chain_open(struct disk_chain **out,
		    const struct disk_chain_config *cfg, struct fail *why)
{
	const struct disk_files *f = cfg->files;
	struct disk_chain *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return fail_set(why, EXIT_FAILED, -ENOMEM, cfg->id, NULL,
				"out of memory");
	pthread_mutex_init(&c->settle_lock, NULL);
	c->settled.run = disk_chain_on_settled;
	c->id = cfg->id;
	c->layers = cfg->layers;
	c->io = cfg->io;
	c->loop = cfg->loop;
	c->raw = f->base;
	c->raw_bytes = f->bytes;
	c->fd = f->head;
	c->next.fd = c->next.ro = -1;
	snprintf(c->name, sizeof(c->name), "disk %s", c->id);
	err = open_all(c, f, why);
	if (err)
		disk_chain_close(c, false);
	else
		*out = c;
	return err;
}

/* ---- close ---- */

void disk_chain_end_file(struct disk_chain *c, int *fd)
{
	if (*fd < 0)
		return;
	disk_io_drop_file(c->io, *fd);
	close(steal_fd(fd));
}

void disk_chain_end_frozen(struct disk_chain *c, struct frozen *z, bool empty)
{
	head_close(z->head);
	if (empty && z->fd >= 0)
		(void)!ftruncate(z->fd, 0);
	disk_chain_end_file(c, &z->fd);
	if (!z->layer)
		disk_chain_end_file(c, &z->ro);
	free(z->image);
	free(z->sealed);
}

void disk_chain_free_sealed(struct disk_chain *c)
{
	while (c->sealed) {
		struct sealed *s = c->sealed;

		c->sealed = s->next;
		free(s);
	}
}

void disk_chain_close(struct disk_chain *c, bool empty)
{
	if (!c)
		return;
	loop_unpost(c->loop, &c->settled);
	disk_chain_drop_next(c);
	for (unsigned i = 0; i < c->nfrozen; i++)
		disk_chain_end_frozen(c, &c->frozen[i], empty);
	if (empty)
		(void)!ftruncate(c->fd, 0);
	disk_chain_end_file(c, &c->fd);
	disk_chain_free_sealed(c);
	free(c->image);
	pthread_mutex_destroy(&c->settle_lock);
	free(c);
}

/* ---- plan ---- */

static int add_head(json_t *chain, const uint8_t uid[UID_BYTES],
		    const char *state)
{
	char text[DISK_UID_TEXT];

	disk_uid_text(text, uid);
	return json_array_append_new(
	    chain, json_pack("{s:s, s:s}", "uid", text, "state", state));
}

static int add_sealed(json_t *chain, const struct sealed *s)
{
	char id[ID_TEXT];

	object_id_text(id, &s->head.id);
	return json_array_append_new(chain, json_pack("{s:s, s:s, s:s}", "uid",
						      s->head.uid, "state",
						      "sealed", "layer", id));
}

json_t *disk_chain_plan(const struct disk_chain *c)
{
	json_t *chain = json_array(), *plan;
	int err = chain ? 0 : -1;

	for (const struct sealed *s = c->sealed; s && !err; s = s->next)
		err = add_sealed(chain, s);
	for (unsigned i = 0; i < c->nfrozen && !err; i++)
		err = add_head(chain, head_uid(c->frozen[i].head), "frozen");
	if (!err)
		err = add_head(chain, head_uid(c->head), "head");
	plan = json_pack("{s:s, s:I, s:o}", "id", c->id, "bytes",
			 (json_int_t)head_bytes(c->head), "chain", chain);
	if (!err)
		return plan;
	json_decref(plan);
	return NULL;
}

unsigned disk_chain_wants(const struct disk_chain *c)
{
	return c->nfrozen + 2;
}
