/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in memory. */
#include "fake_disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static void move(struct fake_disk *f, const struct disk_request *r, bool out,
		 uint64_t most)
{
	uint64_t at = r->offset, left = most;

	for (unsigned i = 0; i < r->niov && left; i++) {
		size_t n = MIN(r->iov[i].iov_len, left);

		if (out)
			memcpy(f->bytes + at, r->iov[i].iov_base, n);
		else
			memcpy(r->iov[i].iov_base, f->bytes + at, n);
		at += n;
		left -= n;
	}
}

/* Of a failed one half is done. */
static void perform(struct fake_disk *f, const struct disk_request *r,
		    int result)
{
	uint64_t most = result ? r->bytes / 2 : r->bytes;

	switch (r->op) {
	case DISK_READ:
		move(f, r, false, most);
		break;
	case DISK_WRITE:
		move(f, r, true, most);
		f->dirty = true;
		break;
	case DISK_DISCARD:
	case DISK_ZEROES:
		memset(f->bytes + r->offset, 0, most);
		f->dirty = true;
		break;
	case DISK_FLUSH:
		f->dirty = f->dirty && result;
		break;
	case DISK_OPS:
		abort();
	}
	f->ops[r->op] += result == 0;
}

/* What the device promises of each request. */
static void check(const struct fake_disk *f, const struct disk_request *r)
{
	uint64_t bytes = 0;

	assert(r->op < DISK_OPS && r->done);
	assert(pthread_mutex_trylock(f->disk.lock) == EBUSY);
	if (r->op == DISK_FLUSH)
		return;
	assert(range_within(r->offset, r->bytes, f->disk.bytes));
	assert(r->bytes && r->bytes % DISK_SECTOR_BYTES == 0 &&
	       r->offset % DISK_SECTOR_BYTES == 0);
	assert(r->op == DISK_READ || !f->disk.read_only);
	if (r->op != DISK_READ && r->op != DISK_WRITE)
		return;
	for (unsigned i = 0; i < r->niov; i++)
		bytes += r->iov[i].iov_len;
	assert(bytes == r->bytes);
}

static void submit(struct disk *d, struct disk_request *r)
{
	struct fake_disk *f = container_of(d, struct fake_disk, disk);

	check(f, r);
	f->submits++;
	f->uncommitted++;
	if (f->later) {
		assert(f->npending < FAKE_DISK_PENDING);
		f->pending[f->npending++] = r;
		return;
	}
	perform(f, r, f->fail);
	r->done(r, f->fail);
}

static void commit(struct disk *d)
{
	struct fake_disk *f = container_of(d, struct fake_disk, disk);

	f->commits += f->uncommitted > 0;
	f->uncommitted = 0;
}

static void end(struct fake_disk *f, unsigned i, int result)
{
	struct disk_request *r = f->pending[i];

	assert(i < f->npending);
	f->pending[i] = f->pending[--f->npending];
	perform(f, r, result);
	r->done(r, result);
}

static void drain(struct disk *d)
{
	struct fake_disk *f = container_of(d, struct fake_disk, disk);

	f->drains++;
	while (f->npending)
		end(f, f->npending - 1, f->fail);
}

void fake_disk_end(struct fake_disk *f, unsigned i, int result)
{
	end(f, i, result);
	f->disk.idle(&f->disk);
}

void fake_disk_end_all(struct fake_disk *f)
{
	if (!f->npending)
		return;
	while (f->npending)
		end(f, 0, f->fail);
	f->disk.idle(&f->disk);
}

static const struct disk_ops ops = { submit, commit, drain };

void fake_disk_init(struct fake_disk *f, uint64_t bytes, bool read_only)
{
	*f = (struct fake_disk){
		.disk = { .ops = &ops, .bytes = bytes, .read_only = read_only },
		.bytes = calloc(1, bytes),
	};
	if (!f->bytes)
		abort();
}

void fake_disk_fini(struct fake_disk *f)
{
	free(f->bytes);
}
