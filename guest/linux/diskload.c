/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads a disk with many requests at once and knows what must be on it.
 *
 *   diskload load DEV SEED REQUESTS   does them, then reads all of it back
 *   diskload check DEV SEED REQUESTS  only reads: what `load` left is there
 *
 * Requests are a function of SEED and the disk's size: writes, reads, discards
 * and zeroes of any whole sectors, and now and then a sync. They go past the
 * page cache, DEPTH at a time, and one that overlaps others on their way waits
 * for these, so that what they leave is a function too. A sector that a write
 * leaves holds its own number and that of the write. What no request has
 * touched is neither read nor known.
 *
 * Exit code: 0; 1 something else was read; 2 usage, or a request failed.
 */
#define _GNU_SOURCE /* O_DIRECT */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEPTH		32
#define SECTOR		512
#define MOST_SECTORS	256  /* of one read or write */
#define CLEARED_SECTORS 2048 /* of one discard */

/* What a sector holds: the number of the write, or one of these. */
enum { UNKNOWN = 0, ZEROES = 1, FIRST_WRITE = 2 };

enum kind { READ, WRITE, SYNC, DISCARD, ZERO };

struct request {
	enum kind kind;
	uint64_t sector, sectors;
	uint32_t number;
};

struct slot {
	bool busy;
	struct request r;
	struct iocb cb;
	uint32_t *expected; /* at the time of a read */
	uint64_t *data;
};

static const char *path;
static int fd = -1;
static uint64_t sectors_all, state;
static uint32_t *holds; /* by sector */
static aio_context_t aio;
static struct slot slots[DEPTH];
static unsigned busy, most_busy, counts[5];

static _Noreturn __attribute__((format(printf, 2, 3))) void die(
    int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "diskload: %s: ", path);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(code);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static uint64_t any(uint64_t below)
{
	state += 0x9e3779b97f4a7c15;
	return mix(state) % below;
}

/* ---- what is on the disk ---- */

static void fill(uint64_t *p, uint64_t sector, uint64_t sectors, uint32_t left)
{
	for (; sectors--; sector++)
		for (unsigned i = 0; i < SECTOR / 8; i++)
			*p++ =
			    left == ZEROES ? 0 : mix(sector << 32 ^ left) + i;
}

static void compare(const uint64_t *p, uint64_t sector, uint64_t sectors,
		    const uint32_t *expected)
{
	uint64_t want[SECTOR / 8];

	for (; sectors--; sector++, expected++, p += SECTOR / 8) {
		if (*expected == UNKNOWN)
			continue;
		fill(want, sector, 1, *expected);
		if (memcmp(p, want, SECTOR))
			die(1, "sector %llu is not what write %u left",
			    (unsigned long long)sector, *expected);
	}
}

/* ---- requests ---- */

static struct request next_request(uint32_t number)
{
	struct request r = { .number = number };
	uint64_t dice = any(100), most = MOST_SECTORS;

	r.kind = dice < 50   ? WRITE
		 : dice < 85 ? READ
		 : dice < 90 ? SYNC
		 : dice < 95 ? DISCARD
			     : ZERO;
	if (r.kind == SYNC)
		return r;
	if (r.kind == DISCARD || r.kind == ZERO)
		most = CLEARED_SECTORS;
	/* Short ones more often than long ones. */
	r.sectors = 1 + any(1 + any(most));
	r.sector = any(sectors_all - r.sectors + 1);
	/* Half of them in whole blocks. */
	if (any(2) && r.sectors >= 8) {
		r.sector &= ~UINT64_C(7);
		r.sectors &= ~UINT64_C(7);
	}
	return r;
}

static void note(const struct request *r)
{
	if (r->kind != READ && r->kind != SYNC)
		for (uint64_t i = 0; i < r->sectors; i++)
			holds[r->sector + i] =
			    r->kind == WRITE ? r->number : ZEROES;
}

static void end(const struct io_event *e)
{
	struct slot *s = (struct slot *)(uintptr_t)e->data;
	int64_t want = s->r.kind == SYNC ? 0 : (int64_t)s->r.sectors * SECTOR;

	s->busy = false;
	busy--;
	if (e->res != want)
		die(2, "request %u of kind %u at sector %llu: %s", s->r.number,
		    s->r.kind, (unsigned long long)s->r.sector,
		    e->res < 0 ? strerror((int)-e->res) : "cut short");
	if (s->r.kind == READ)
		compare(s->data, s->r.sector, s->r.sectors, s->expected);
}

static void wait_for_some(void)
{
	struct io_event events[DEPTH];
	long n = syscall(SYS_io_getevents, aio, 1L, (long)DEPTH, events, NULL);

	if (n < 0 && errno != EINTR)
		die(2, "io_getevents: %s", strerror(errno));
	for (long i = 0; i < n; i++)
		end(&events[i]);
}

static bool overlaps(const struct request *r)
{
	for (unsigned i = 0; i < DEPTH; i++)
		if (slots[i].busy && slots[i].r.kind != SYNC &&
		    r->sector < slots[i].r.sector + slots[i].r.sectors &&
		    slots[i].r.sector < r->sector + r->sectors)
			return true;
	return false;
}

static void clear(const struct request *r)
{
	uint64_t range[2] = { r->sector * SECTOR, r->sectors * SECTOR };

	if (ioctl(fd, r->kind == DISCARD ? BLKDISCARD : BLKZEROOUT, range) < 0)
		die(2, "%s at sector %llu: %s",
		    r->kind == DISCARD ? "discard" : "zeroes",
		    (unsigned long long)r->sector, strerror(errno));
}

static void submit(const struct request *r)
{
	struct slot *s = slots;
	struct iocb *cb;

	while (s->busy)
		s++;
	cb = &s->cb;
	s->r = *r;
	*cb = (struct iocb){ .aio_data = (uintptr_t)s,
			     .aio_fildes = (uint32_t)fd };
	if (r->kind == SYNC) {
		cb->aio_lio_opcode = IOCB_CMD_FDSYNC;
	} else {
		cb->aio_lio_opcode =
		    r->kind == READ ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE;
		cb->aio_buf = (uintptr_t)s->data;
		cb->aio_nbytes = r->sectors * SECTOR;
		cb->aio_offset = (int64_t)(r->sector * SECTOR);
	}
	if (r->kind == WRITE)
		fill(s->data, r->sector, r->sectors, r->number);
	else if (r->kind == READ)
		memcpy(s->expected, holds + r->sector,
		       r->sectors * sizeof(*holds));
	if (syscall(SYS_io_submit, aio, 1L, &cb) != 1)
		die(2, "io_submit: %s", strerror(errno));
	s->busy = true;
	if (++busy > most_busy)
		most_busy = busy;
}

static void run(const struct request *r)
{
	while (busy == DEPTH || (r->kind != SYNC && overlaps(r)))
		wait_for_some();
	if (r->kind == DISCARD || r->kind == ZERO)
		clear(r);
	else
		submit(r);
	note(r);
	counts[r->kind]++;
}

static void read_all(void)
{
	uint64_t n;

	for (uint64_t at = 0; at < sectors_all; at += n) {
		n = sectors_all - at < MOST_SECTORS ? sectors_all - at
						    : MOST_SECTORS;
		if (pread(fd, slots[0].data, n * SECTOR,
			  (off_t)(at * SECTOR)) != (ssize_t)(n * SECTOR))
			die(2, "read at sector %llu: %s",
			    (unsigned long long)at, strerror(errno));
		compare(slots[0].data, at, n, holds + at);
	}
}

/* ---- once ---- */

static void prepare(void)
{
	uint64_t bytes;

	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		die(2, "%s", strerror(errno));
	sectors_all = bytes / SECTOR;
	if (sectors_all < CLEARED_SECTORS)
		die(2, "smaller than 1 MiB");
	holds = calloc(sectors_all, sizeof(*holds));
	if (!holds || syscall(SYS_io_setup, DEPTH, &aio) < 0)
		die(2, "%s", strerror(errno));
	for (unsigned i = 0; i < DEPTH; i++) {
		slots[i].data = aligned_alloc(4096, MOST_SECTORS * SECTOR);
		slots[i].expected = calloc(MOST_SECTORS, sizeof(*holds));
		if (!slots[i].data || !slots[i].expected)
			die(2, "no memory");
	}
}

int main(int argc, char **argv)
{
	bool load = argc == 5 && !strcmp(argv[1], "load");
	unsigned requests;

	if (argc != 5 || (!load && strcmp(argv[1], "check"))) {
		fprintf(stderr,
			"usage: diskload load|check DEV SEED REQUESTS\n");
		return 2;
	}
	path = argv[2];
	state = strtoull(argv[3], NULL, 0);
	requests = (unsigned)strtoul(argv[4], NULL, 0);
	prepare();
	for (unsigned i = 0; i < requests; i++) {
		struct request r = next_request(FIRST_WRITE + i);

		if (load)
			run(&r);
		else
			note(&r);
	}
	while (busy)
		wait_for_some();
	read_all();
	printf("diskload: %s: ok", path);
	if (load)
		printf(", %u reads, %u writes, %u syncs, %u discards, "
		       "%u zeroes, %u at once",
		       counts[READ], counts[WRITE], counts[SYNC],
		       counts[DISCARD], counts[ZERO], most_busy);
	putchar('\n');
	return 0;
}
