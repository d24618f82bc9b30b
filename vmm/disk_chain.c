/* SPDX-License-Identifier: Apache-2.0 */
/* A disk's heads, opened one over the other. */
#include "disk_chain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

/* A head that is written no more. */
struct frozen {
	struct head *head;
	int fd; /* read-write */
};

struct disk_chain {
	const char *id;
	char name[CONFIG_DISK_ID_MAX + 8]; /* for messages */
	struct layer_set *layers;
	int raw;
	uint64_t raw_bytes;
	struct image *image; /* below all heads; NULL: none */
	struct frozen frozen[DISK_MAX_FROZEN + 1]; /* oldest first */
	unsigned nfrozen;
	struct head *head; /* in use */
	int fd;
};

struct head *disk_chain_head(const struct disk_chain *c)
{
	return c->head;
}

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

static int no_memory(const struct disk_chain *c, struct fail *why)
{
	return fail_set(why, EXIT_FAILED, -ENOMEM, c->name, NULL,
			"out of memory");
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
		return no_memory(c, why);
	return image_open(c->image, l, f->root, why);
}

static int open_head(const struct disk_chain *c, int fd, struct head **h,
		     struct fail *why)
{
	const struct head_below below = top_of(c);

	return head_open(h, fd, c->name, &below, true, why);
}

/* What recovery found in each is made firm by its opening: oldest first, so
 * that none has a commit before those below it are durable. */
static int open_frozen(struct disk_chain *c, const struct disk_files *f,
		       struct fail *why)
{
	int err = 0;

	for (unsigned i = 0; i < f->nbelow && !err; i++) {
		struct frozen *z = &c->frozen[c->nfrozen];

		err = open_head(c, f->below[i], &z->head, why);
		if (err)
			break;
		head_freeze(z->head);
		z->fd = f->below[i];
		c->nfrozen++;
	}
	return err;
}

int disk_chain_open(struct disk_chain **out,
		    const struct disk_chain_config *cfg, struct fail *why)
{
	const struct disk_files *f = cfg->files;
	struct disk_chain *c = calloc(1, sizeof(*c));
	int err = 0;

	if (!c)
		return fail_set(why, EXIT_FAILED, -ENOMEM, cfg->id, NULL,
				"out of memory");
	c->id = cfg->id;
	c->layers = cfg->layers;
	c->raw = f->base;
	c->raw_bytes = f->bytes;
	c->fd = f->head;
	snprintf(c->name, sizeof(c->name), "disk %s", c->id);
	if (f->on_image)
		err = open_image(c, f, why);
	if (!err)
		err = open_frozen(c, f, why);
	if (!err)
		err = open_head(c, c->fd, &c->head, why);
	if (err)
		disk_chain_close(c, false);
	else
		*out = c;
	return err;
}

static void end_file(int fd, bool empty)
{
	if (empty)
		(void)!ftruncate(fd, 0);
	cleanup_close(&fd);
}

void disk_chain_close(struct disk_chain *c, bool empty)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->nfrozen; i++) {
		head_close(c->frozen[i].head);
		end_file(c->frozen[i].fd, empty);
	}
	end_file(c->fd, empty);
	free(c->image);
	free(c);
}
