/* SPDX-License-Identifier: Apache-2.0 */
/* See rig.h. */
#include "rig.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

static int new_file(void)
{
	const char *tmp = getenv("TMPDIR");
	int fd = open(tmp ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0, "O_TMPFILE: %s", strerror(errno));
	return fd;
}

uint8_t rig_pattern(uint64_t offset)
{
	return (uint8_t)((offset / 512 * 7 + offset % 251) | 1);
}

static void fill(int fd, uint64_t bytes)
{
	uint8_t *buf = malloc(bytes);

	for (uint64_t i = 0; i < bytes; i++)
		buf[i] = rig_pattern(i);
	cr_assert_eq(pwrite(fd, buf, bytes, 0), (ssize_t)bytes);
	cr_assert_eq(fdatasync(fd), 0);
	free(buf);
}

void rig_make_cold(struct rig *r)
{
	cr_assert_eq(posix_fadvise(r->base, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static void on_idle(struct disk *d)
{
	struct rig *r = d->owner;

	r->idles++;
}

static void attach(struct rig *r)
{
	const int fds[] = { r->base, r->head };
	const struct disk_io_config io = {
		.loop = &r->loop,
		.way = r->way,
		.fds = fds,
		.nfds = r->kind == RIG_HEAD ? 2 : 1,
		.spare = 4,
	};
	struct disk_store_config c = { .name = "disk",
				       .loop = &r->loop,
				       .disks = 1 };
	struct head_below below = { .raw_fd = r->base, .raw_bytes = r->bytes };
	struct fail why;
	struct head *h;

	cr_assert_eq(loop_init(&r->loop), 0);
	cr_assert_eq(disk_io_create(&r->io, &io), 0);
	cr_assert_eq(disk_io_has_ring(r->io),
		     r->way == DISK_IO_BEST && !ring_refused);
	c.io = r->io;
	if (r->kind == RIG_RAW) {
		r->disk = disk_raw_create(&c, r->base, r->bytes, false);
	} else {
		cr_assert_eq(head_open(&h, r->head, "head", &below, true, &why),
			     0, "%s", why.message);
		r->disk = disk_head_create(&c, h);
	}
	cr_assert_not_null(r->disk);
	pthread_mutex_init(&r->lock, NULL);
	r->disk->lock = &r->lock;
	r->disk->idle = on_idle;
	r->disk->owner = r;
}

static void detach(struct rig *r)
{
	rig_drain(r);
	disk_destroy(r->disk);
	disk_io_destroy(r->io);
	loop_fini(&r->loop);
}

void rig_open(struct rig *r, enum rig_kind kind, enum disk_io_way way,
	      uint64_t bytes)
{
	struct head_info info = { .bytes = bytes };

	*r = (struct rig){ .kind = kind, .way = way, .bytes = bytes };
	r->base = new_file();
	r->head = new_file();
	fill(r->base, bytes);
	cr_assert_eq(head_create(r->head, "head", &info, 1, NULL), 0);
	attach(r);
}

void rig_close(struct rig *r)
{
	detach(r);
	close(r->base);
	close(r->head);
}

void rig_reopen(struct rig *r)
{
	detach(r);
	attach(r);
}

/* ---- requests ---- */

static void on_done(struct disk_request *q, int result)
{
	struct ask *a = q->owner;

	cr_assert_not(a->over, "done twice");
	a->result = result;
	a->over = true;
}

/* Pieces of unlike sizes, an empty one among them. */
static unsigned cut(struct iovec *iov, unsigned pieces, uint8_t *buf,
		    uint64_t bytes)
{
	unsigned n = 0;

	for (uint64_t left = bytes; left; n++) {
		uint64_t len = n + 1 == pieces ? left : MIN(left, 300 + 97 * n);

		if (n == 1 && pieces > 2)
			len = 0;
		iov[n] = (struct iovec){ buf + (bytes - left), len };
		left -= len;
	}
	return n;
}

void ask_begin(struct rig *r, struct ask *a, enum disk_op op, uint64_t offset,
	       uint64_t bytes, uint8_t *buf, unsigned pieces)
{
	a->over = false;
	a->buf = buf;
	a->r = (struct disk_request){
		.op = op,
		.offset = offset,
		.bytes = bytes,
		.iov = a->iov,
		.done = on_done,
		.owner = a,
	};
	if (op == DISK_READ || op == DISK_WRITE)
		a->r.niov = cut(a->iov, pieces, buf, bytes);
	pthread_mutex_lock(&r->lock);
	r->disk->ops->submit(r->disk, &a->r);
	pthread_mutex_unlock(&r->lock);
}

void rig_commit(struct rig *r)
{
	pthread_mutex_lock(&r->lock);
	r->disk->ops->commit(r->disk);
	pthread_mutex_unlock(&r->lock);
}

void rig_drain(struct rig *r)
{
	pthread_mutex_lock(&r->lock);
	r->disk->ops->drain(r->disk);
	pthread_mutex_unlock(&r->lock);
}

void rig_step(struct rig *r)
{
	cr_assert_eq(loop_step(&r->loop, -1), 0);
}

int ask_end(struct rig *r, struct ask *a)
{
	rig_commit(r);
	while (!a->over)
		rig_step(r);
	return a->result;
}

int ask(struct rig *r, enum disk_op op, uint64_t offset, uint64_t bytes,
	uint8_t *buf)
{
	struct ask a;

	ask_begin(r, &a, op, offset, bytes, buf, 1);
	return ask_end(r, &a);
}

void rig_each(void (*fn)(struct rig *r), uint64_t bytes)
{
	for (unsigned i = 0; i < 4; i++) {
		struct rig r;

		rig_open(&r, i & 1 ? RIG_HEAD : RIG_RAW,
			 i & 2 ? DISK_IO_NO_RING : DISK_IO_BEST, bytes);
		fn(&r);
		io_bend = NULL;
		rig_close(&r);
	}
}

/* ---- the engine, bent ---- */

struct io_bend (*io_bend)(const struct disk_io_op *op);

int __real_disk_io_start(struct disk_io *io, struct disk_io_op *op);
int __wrap_disk_io_start(struct disk_io *io, struct disk_io_op *op);

#define HELD_MAX (2 * DISK_IO_DEPTH)
static struct disk_io_op *held[HELD_MAX];
static unsigned nheld;

unsigned io_held(void)
{
	return nheld;
}

/* What the ring would do. */
static int carry_out(const struct disk_io_op *op)
{
	switch (op->kind) {
	case DISK_IO_READ:
		return (int)preadv(op->fd, op->iov, (int)op->niov,
				   (off_t)op->offset);
	case DISK_IO_WRITE:
		return (int)pwritev(op->fd, op->iov, (int)op->niov,
				    (off_t)op->offset);
	case DISK_IO_SYNC:
		return fdatasync(op->fd);
	case DISK_IO_PUNCH:
	case DISK_IO_ZERO:
		break;
	}
	return -EOPNOTSUPP;
}

void io_release(int result)
{
	struct disk_io_op *op = held[0];

	cr_assert_gt(nheld, 0);
	memmove(held, held + 1, --nheld * sizeof(*held));
	if (result == IO_CARRY_OUT)
		result = carry_out(op);
	op->done(op, result);
}

/* Leaves at most `n` bytes of it. */
static void shorten(struct disk_io_op *op, uint64_t n)
{
	if (op->kind != DISK_IO_READ && op->kind != DISK_IO_WRITE)
		return;
	op->niov = 1;
	op->iov[0].iov_len = MIN(op->iov[0].iov_len, n);
	op->bytes = op->iov[0].iov_len;
}

int __wrap_disk_io_start(struct disk_io *io, struct disk_io_op *op)
{
	struct io_bend b = io_bend ? io_bend(op) : (struct io_bend){ 0 };

	if (b.err)
		return b.err;
	if (b.at_most)
		shorten(op, b.at_most);
	if (!b.hold)
		return __real_disk_io_start(io, op);
	cr_assert_lt(nheld, HELD_MAX);
	held[nheld++] = op;
	return DISK_IO_PENDING;
}

/* ---- the kernel, bent ---- */

int ring_refused, submit_refused;
unsigned submits_refused;

int __real_uring_create(struct uring **out, const struct uring_config *c);
int __wrap_uring_create(struct uring **out, const struct uring_config *c);
int __real_uring_submit(struct uring *u, bool wait);
int __wrap_uring_submit(struct uring *u, bool wait);

int __wrap_uring_create(struct uring **out, const struct uring_config *c)
{
	return ring_refused ? ring_refused : __real_uring_create(out, c);
}

int __wrap_uring_submit(struct uring *u, bool wait)
{
	if (!submits_refused)
		return __real_uring_submit(u, wait);
	submits_refused--;
	return submit_refused;
}
