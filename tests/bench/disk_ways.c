/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ways of disk_io.h cost, and for how long the I/O thread is away:
 *
 *   disk_ways FILE MIB
 *
 * FILE is made, MIB long. Random reads and writes of 4 KiB, 32 at a time, by
 * system calls and by the ring, each by itself; then a disk over it, direct and
 * as a head, written to all over and flushed: the longest that a call took.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_store.h"
#include "util.h"

#define OPS   20000
#define DEPTH 32

static uint8_t page[PAGE_BYTES];
static uint64_t seed = 1, pages, longest_ns;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static uint64_t rnd(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

/* ---- the ways ---- */

static unsigned ended;

static void op_done(struct uring_op *op, int result)
{
	check(result == (int)PAGE_BYTES, "operation");
	ended++;
}

static void by_ring(int fd, bool write)
{
	static struct uring_op op = { .done = op_done };
	const struct iovec iov = { page, sizeof(page) };
	const struct uring_config c = { .entries = DEPTH,
					.fds = &fd,
					.nfds = 1 };
	struct uring *u;
	uint64_t count;

	check(uring_create(&u, &c) == 0, "ring");
	for (unsigned begun = 0, ends = ended + OPS; ended < ends;) {
		struct pollfd p = { uring_event_fd(u), POLLIN, 0 };

		for (; begun < OPS && uring_in_flight(u) < DEPTH; begun++)
			(write ? uring_write : uring_read)(
			    u, &op, 0, &iov, 1, rnd(pages) << PAGE_SHIFT);
		check(uring_submit(u, false) == 0, "submit");
		if (uring_reap(u))
			continue;
		check(poll(&p, 1, -1) == 1, "poll");
		check(read(p.fd, &count, sizeof(count)) == 8, "eventfd");
	}
	uring_destroy(u);
}

static void by_calls(int fd, bool write)
{
	const struct iovec iov = { page, sizeof(page) };

	for (unsigned i = 0; i < OPS; i++) {
		off_t at = (off_t)(rnd(pages) << PAGE_SHIFT);
		uint64_t begun = now_ns();

		check((write ? pwritev2(fd, &iov, 1, at, 0)
			     : preadv2(fd, &iov, 1, at, RWF_NOWAIT)) ==
			  (ssize_t)sizeof(page),
		      "call");
		longest_ns = MAX(longest_ns, now_ns() - begun);
	}
}

static void time_way(const char *name, void (*way)(int fd, bool write), int fd,
		     bool write)
{
	uint64_t begun = now_ns();

	longest_ns = 0;
	way(fd, write);
	printf("%-24s %8.2f us each   longest %.0f us\n", name,
	       (double)(now_ns() - begun) / 1e3 / OPS,
	       (double)longest_ns / 1e3);
	check(fdatasync(fd) == 0, "fdatasync");
}

/* ---- a disk ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned on_way;
static uint64_t submit_ns, step_ns;

static void request_done(struct disk_request *r, int result)
{
	check(result == 0, "request");
	on_way--;
	r->owner = NULL;
}

static void on_idle(struct disk *d)
{
}

static void submit(struct disk *d, struct disk_request *r)
{
	uint64_t begun = now_ns();

	on_way++;
	r->owner = d;
	pthread_mutex_lock(&lock);
	d->ops->submit(d, r);
	d->ops->commit(d);
	pthread_mutex_unlock(&lock);
	submit_ns = MAX(submit_ns, now_ns() - begun);
}

/* Not the time that it sleeps: what is ready is handled at once. */
static void step(struct loop *l)
{
	struct pollfd p = { l->epoll_fd, POLLIN, 0 };
	uint64_t begun;

	check(poll(&p, 1, -1) == 1, "poll");
	begun = now_ns();
	check(loop_step(l, 0) == 0, "loop");
	step_ns = MAX(step_ns, now_ns() - begun);
}

static void drive(struct loop *l, struct disk *d, const char *name)
{
	static struct disk_request r[DEPTH];
	static struct iovec iov[DEPTH];
	struct disk_request flush = { .op = DISK_FLUSH, .done = request_done };
	uint64_t begun = now_ns(), flushed;

	d->lock = &lock;
	d->idle = on_idle;
	for (uint64_t i = 0; i < pages;) {
		for (unsigned k = 0; k < DEPTH && i < pages; k++) {
			if (r[k].owner)
				continue;
			iov[k] = (struct iovec){ page, sizeof(page) };
			r[k] = (struct disk_request){
				.op = DISK_WRITE,
				.offset = rnd(pages) << PAGE_SHIFT,
				.bytes = sizeof(page),
				.iov = &iov[k],
				.niov = 1,
				.done = request_done,
			};
			submit(d, &r[k]);
			i++;
		}
		if (on_way == DEPTH)
			step(l);
	}
	while (on_way)
		step(l);
	printf("%-24s %8.2f us each   longest submit %.1f, step %.1f ms\n",
	       name, (double)(now_ns() - begun) / 1e3 / (double)pages,
	       (double)submit_ns / 1e6, (double)step_ns / 1e6);
	submit_ns = step_ns = 0;
	flushed = now_ns();
	submit(d, &flush);
	while (on_way)
		step(l);
	printf("%-24s %8.0f ms        longest submit %.1f, step %.1f ms\n",
	       "  its flush", (double)(now_ns() - flushed) / 1e6,
	       (double)submit_ns / 1e6, (double)step_ns / 1e6);
	submit_ns = step_ns = 0;
}

static void time_disk(int base, int head, enum disk_io_way way,
		      const char *name)
{
	const int fds[] = { base, head };
	const struct head_below below = { .raw_fd = base,
					  .raw_bytes = pages << PAGE_SHIFT };
	struct loop l;
	struct disk_io_config io = {
		.loop = &l, .way = way, .fds = fds, .nfds = head < 0 ? 1 : 2
	};
	struct disk_store_config c = { .name = "disk", .loop = &l, .disks = 1 };
	struct head *h;
	struct disk *d;

	check(loop_init(&l) == 0 && disk_io_create(&c.io, &io) == 0, "engine");
	if (head >= 0) {
		check(head_open(&h, head, "head", &below, true, NULL) == 0,
		      "head");
		d = disk_head_create(&c, h);
	} else {
		d = disk_raw_create(&c, base, pages << PAGE_SHIFT, false);
	}
	drive(&l, d, name);
	disk_destroy(d);
	disk_io_destroy(c.io);
	loop_fini(&l);
}

int main(int argc, char **argv)
{
	struct head_info info = { 0 };
	int fd, head;

	if (argc != 3) {
		fputs("usage: disk_ways FILE MIB\n", stderr);
		return 2;
	}
	pages = strtoull(argv[2], NULL, 0) << 8;
	fd = open(argv[1], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	check(fd >= 0 && pages, argv[1]);
	unlink(argv[1]);
	memset(page, 1, sizeof(page));
	for (uint64_t i = 0; i < pages; i++)
		check(write(fd, page, sizeof(page)) == sizeof(page), "write");
	check(fdatasync(fd) == 0, "fdatasync");
	time_way("read, preadv2 NOWAIT", by_calls, fd, false);
	time_way("read, ring", by_ring, fd, false);
	time_way("write, pwritev2", by_calls, fd, true);
	time_way("write, ring", by_ring, fd, true);
	time_disk(fd, -1, DISK_IO_BEST, "disk, direct");
	info.bytes = pages << PAGE_SHIFT;
	head = open(argv[1], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	check(head >= 0, argv[1]);
	unlink(argv[1]);
	check(head_create(head, "head", &info, 16, NULL) == 0, "head");
	time_disk(fd, head, DISK_IO_BEST, "disk, head, new blocks");
	time_disk(fd, head, DISK_IO_BEST, "disk, head, again");
	time_disk(fd, -1, DISK_IO_NO_RING, "disk, direct, no ring");
	return 0;
}
