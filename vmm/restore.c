/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state is decoded first: it says whether this is the machine at all, and
 * is small. Then memory, eagerly; then the state is set.
 */
#include "restore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gmem.h"
#include "state_file.h"
#include "util.h"

/* Pages of a state's image at most. */
#define STATE_MAX_PAGES (STATE_FILE_MAX / PAGE_BYTES + 1)

static int decode(struct machine_saved *s, const struct restore *r,
		  struct fail *why)
{
	_cleanup_free_ uint8_t *data = NULL;
	int err;

	if (r->state.pages > STATE_MAX_PAGES)
		return fail_set(why, EXIT_INTEGRITY, -EBADMSG, "state", NULL,
				"it is too long");
	data = malloc(r->state.pages << PAGE_SHIFT);
	if (!data)
		return fail_set(why, EXIT_NO_SPACE, -ENOMEM, "state", NULL,
				"no memory for it");
	err = image_read(&r->state, 0, r->state.pages, data, why);
	if (err)
		return err;
	return machine_saved_decode(s, data,
				    state_file_length(data, r->state.bytes),
				    r->force_cpu, why);
}

struct filling {
	struct gmem *ram;
	struct fail *why;
};

/* So many pages are read at once. */
#define PIECE 256

static int fill(void *ctx, const struct extent *e)
{
	struct filling *f = ctx;
	struct extent part = *e;
	uint64_t done = 0;
	int err = 0;

	if (e->kind == EXTENT_NOTHING || e->kind == EXTENT_ZERO)
		return 0;
	for (; done < e->count && !err; done += part.count) {
		part.count = MIN(e->count - done, (uint64_t)PIECE);
		part.page = e->page + done;
		part.at = e->at + (uint32_t)done;
		err = image_read_extent(
		    &part, f->ram->base + (part.page << PAGE_SHIFT), f->why);
	}
	return err;
}

static int read_memory(struct machine *m, const struct image *memory,
		       struct fail *why)
{
	struct filling f = { machine_ram(m), why };
	int err;

	if (memory->bytes != f.ram->bytes)
		return fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, "memory",
				NULL,
				"the snapshot has %llu bytes of it, the "
				"machine %llu",
				(unsigned long long)memory->bytes,
				(unsigned long long)f.ram->bytes);
	/* What the devices of a fresh machine have written is not the
	 * guest's. */
	err = gmem_clear(f.ram);
	if (err)
		return fail_set(why, EXIT_NO_SPACE, err, "memory", NULL, "%s",
				strerror(-err));
	err = image_each_extent(memory, 0, memory->pages, fill, &f, why);
	if (err)
		return err;
	/* It is what the snapshot has: what is marked from here on is not. */
	for (uint64_t w = 0; w <= memory->pages / 64; w++)
		(void)gmem_take_marks(f.ram, w);
	return 0;
}

int restore_new(struct machine *m, const struct restore *r, struct fail *why)
{
	struct machine_saved *s;
	int err = machine_saved_create(&s, m, why);

	if (err)
		return err;
	err = decode(s, r, why);
	if (!err)
		err = read_memory(m, &r->memory, why);
	if (!err)
		err = machine_restore(m, s, &r->how, r->src, why);
	machine_saved_destroy(s);
	return err;
}
