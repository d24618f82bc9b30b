/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk under a hostile driver (ring.c), over a disk in memory whose
 * requests end at once or later, in any order, well or not; it asserts that
 * each request is one within the disk.
 */
#include "blk.h"

#include <errno.h>

#include "fake_disk.h"
#include "ring.h"
#include "util.h"

#define DISK_BYTES KIB(64)

static struct fake_disk disk[2]; /* fuzzed, judge */
static struct loop *loop_of_all;

struct virtio *ring_make(const struct virtio_config *c, struct loop *loop)
{
	static unsigned n;
	struct blk_config blk = {
		.virtio = *c,
		.disk = &disk[n].disk,
		.loop = loop,
		.bytes_a_second = GIB(1),
		.ops_a_second = 1000000,
		.poll_max_ns = 1,
	};
	struct blk *b;

	fake_disk_init(&disk[n], DISK_BYTES, false);
	n++;
	loop_of_all = loop;
	b = blk_create(&blk);
	return b ? &b->virtio : NULL;
}

void ring_fresh(struct virtio *v)
{
	struct blk *b = container_of(v, struct blk, virtio);

	b->bytes_limit.ready_ns = b->ops_limit.ready_ns = 0;
	b->waiting = false;
	disk[0].later = false;
	disk[0].fail = 0;
}

/* The limits let some more pass. */
static void let_pass(struct virtio *v)
{
	struct blk *b = container_of(v, struct blk, virtio);

	b->bytes_limit.ready_ns = b->ops_limit.ready_ns = 0;
	pthread_mutex_unlock(&v->dev.lock);
	b->ready.expired(&b->ready);
	pthread_mutex_lock(&v->dev.lock);
}

void ring_host(struct virtio *v, uint8_t kind, uint16_t a, uint32_t b)
{
	struct fake_disk *f = &disk[0];

	switch (kind % 6) {
	case 0:
		f->later = a & 1;
		f->fail = a & 2 ? -EIO : 0;
		break;
	case 1:
		if (f->npending)
			fake_disk_end(f, a % f->npending,
				      b & 1 ? -(int)(b >> 1 & 127) : 0);
		break;
	case 2:
		fake_disk_end_all(f);
		break;
	case 3:
		/* What was posted runs without the lock. */
		pthread_mutex_unlock(&v->dev.lock);
		loop_step(loop_of_all, 0);
		pthread_mutex_lock(&v->dev.lock);
		break;
	case 4:
		virtio_kicked(v);
		break;
	default:
		let_pass(v);
	}
}
