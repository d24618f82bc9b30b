/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that is a file or block device of the host as it is. Order is the
 * kernel's affair: two writes to one place on their way are a race of the
 * guest's own.
 */
#include <errno.h>

#include "disk_impl.h"
#include "util.h"

/* Zeroes are written in steps of this where they cannot be asked for. */
#define ZERO_BYTES MIB(1)

static bool can_allocate(const struct disk_store *s, enum disk_io_kind kind)
{
	return kind == DISK_IO_PUNCH ? !s->no_punch : !s->no_zero;
}

static int raw_part(struct job *j)
{
	const struct disk_store *s = j->store;
	struct part *p = &j->part;

	p->kind = PART_MOVE;
	p->fd = s->fd;
	p->at = j->r->offset + j->done;
	p->bytes = j->r->bytes - j->done;
	if (!job_zeroes(j->r))
		return 0;
	j->begun = true;
	p->allocate = j->r->op == DISK_DISCARD ? DISK_IO_PUNCH : DISK_IO_ZERO;
	if (can_allocate(s, p->allocate))
		p->kind = PART_ALLOCATE;
	else
		p->bytes = MIN(p->bytes, ZERO_BYTES);
	return 0;
}

/* Which of them a file system or device has not is said in several ways. */
static bool is_refusal(int err)
{
	return err == -EOPNOTSUPP || err == -ENOSYS || err == -ENODEV ||
	       err == -EINVAL || err == -ENOTTY;
}

static int raw_part_end(struct job *j, int err)
{
	struct disk_store *s = j->store;

	if (j->part.kind != PART_ALLOCATE || !is_refusal(err))
		return err;
	if (j->part.allocate == DISK_IO_PUNCH)
		s->no_punch = true;
	else
		s->no_zero = true;
	return -EAGAIN;
}

/* What a failed sync lost is not known: from then on every one fails. */
static int raw_flush_step(struct disk_store *s, int result)
{
	if (result)
		s->failed = result;
	if (s->failed || s->disk.read_only)
		return s->failed;
	s->syncing = !s->syncing;
	return s->syncing;
}

static const struct disk_layout raw_layout = {
	.part = raw_part,
	.part_end = raw_part_end,
	.flush_step = raw_flush_step,
};

struct disk *disk_raw_create(const struct disk_store_config *c, int fd,
			     uint64_t bytes, bool read_only)
{
	struct disk_store *s = disk_store_create(c, &raw_layout, bytes);

	if (!s)
		return NULL;
	s->fd = fd;
	s->disk.read_only = read_only;
	return &s->disk;
}
