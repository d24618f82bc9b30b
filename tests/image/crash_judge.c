/* SPDX-License-Identifier: Apache-2.0 */
/* A disk after a crash, as a new process finds it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"

struct disk *d;
struct crash_total total;

uint64_t below(uint64_t n)
{
	return rng_below(&d->rng, n);
}

/* The disk as a new process finds it. */
struct found {
	struct head *head[CUT_FILES];
	struct layer_set *set;
	struct image image;
	bool sealed;
};

static void open_sealed(struct found *f, int fd)
{
	struct layer *l = NULL;

	f->set = layer_set_create(NULL, NULL);
	cr_assert_not_null(f->set);
	must(layer_open(f->set, dup(fd), "sealed", NULL, &l, &why));
	must(image_open(&f->image, l, 0, &why));
	f->sealed = true;
}

struct head_below raw_below(void)
{
	return (struct head_below){ .raw_fd = d->raw,
				    .raw_bytes = d->raw_bytes };
}

static void find_disk(struct found *f, const int fd[CUT_FILES])
{
	memset(f, 0, sizeof(*f));
	for (unsigned i = 0; i < d->heads; i++) {
		struct head_below b = raw_below();
		int err;

		if (i == 1 && f->sealed)
			b.image = &f->image;
		else if (i == 1)
			b = (struct head_below){ .head = f->head[0],
						 .raw_fd = -1 };
		err = head_open(&f->head[i], fd[i], i ? "upper" : "lower", &b,
				true, &why);
		if (err == -EBUSY && i == 0 && d->heads == 2)
			open_sealed(f, fd[i]);
		else
			must(err);
	}
}

static void leave_disk(struct found *f)
{
	for (unsigned i = 0; i < CUT_FILES; i++)
		head_close(f->head[i]);
	layer_set_destroy(f->set);
}

static void read_found(const struct found *f, uint8_t *content)
{
	must(head_read(f->head[d->heads - 1], 0, content,
		       d->sectors * SECTOR_BYTES, &why));
}

void expect_allowed(const uint8_t *content, const char *when)
{
	uint64_t wrong = history_wrong(d->history, content);

	cr_assert_eq(wrong, UINT64_MAX,
		     "seed %lu, state %lu, %s: sector %lu (block %lu) has what "
		     "it never had",
		     d->seed, total.states, when, wrong, wrong / 8);
}

/* Opens it a second time: the same is there. */
static void expect_again(const int fd[CUT_FILES], const uint8_t *content)
{
	static uint8_t again[MAX_SECTORS * SECTOR_BYTES];
	struct found f;

	find_disk(&f, fd);
	read_found(&f, again);
	leave_disk(&f);
	cr_assert_arr_eq(again, content, d->sectors * SECTOR_BYTES,
			 "seed %lu, state %lu: another content when it is "
			 "opened again",
			 d->seed, total.states);
}

/* What a guest does next is durable as ever. */
static void use_it(struct found *f, uint8_t *content)
{
	struct head *h = f->head[d->heads - 1];

	for (unsigned i = 0; i < 6; i++) {
		uint64_t sector = below(d->sectors), left = d->sectors - sector;
		uint64_t n = 1 + below(MIN(left, 20)), tag = below(1u << 30);
		uint8_t *p = content + sector * SECTOR_BYTES;

		for (uint64_t k = 0; k < n * SECTOR_BYTES; k += 8) {
			uint64_t v = rng(&tag);

			memcpy(p + k, &v, 8);
		}
		if (i % 3 == 2) {
			memset(p, 0, n * SECTOR_BYTES);
			must(head_zero(h, sector * SECTOR_BYTES,
				       n * SECTOR_BYTES, &why));
		} else {
			must(head_write(h, sector * SECTOR_BYTES, p,
					n * SECTOR_BYTES, &why));
		}
		if (i % 2)
			must(head_flush(h, &why));
	}
}

static void judge(void *ctx, const int fd[CUT_FILES])
{
	static uint8_t content[MAX_SECTORS * SECTOR_BYTES];
	struct found f;

	find_disk(&f, fd);
	read_found(&f, content);
	expect_allowed(content, d->nested ? "a crash in recovery" : "a crash");
	if (!d->nested && below(4) == 0) {
		use_it(&f, content);
		leave_disk(&f);
		expect_again(fd, content);
		return;
	}
	leave_disk(&f);
	if (!d->nested && below(4) == 0)
		expect_again(fd, content);
}

/* ---- crashes while it recovers ---- */

static struct powercut recovery_cut;
static int recovery_fd[CUT_FILES];

static struct io_fate on_recovery(const struct io_call *c)
{
	struct io_fate fate = { 0 };

	if (c->kind == IO_SYNC)
		total.recoveries +=
		    powercut_each(&recovery_cut, recovery_fd, judge, NULL);
	powercut_take(&recovery_cut, c, &fate);
	return fate;
}

static void crash_in_recovery(const int fd[CUT_FILES])
{
	struct found f;

	recovery_cut =
	    (struct powercut){ .rng = rng(&d->rng), .random_states = 2 };
	for (unsigned i = 0; i < d->heads; i++) {
		powercut_add(&recovery_cut, fd[i]);
		recovery_fd[i] = memory_file();
	}
	d->nested = true;
	io_hook = on_recovery;
	find_disk(&f, fd);
	io_hook = NULL;
	d->nested = false;
	leave_disk(&f);
	for (unsigned i = 0; i < d->heads; i++)
		close(recovery_fd[i]);
	powercut_fini(&recovery_cut);
}

void on_state(void *ctx, const int fd[CUT_FILES])
{
	total.states++;
	if (below(8) == 0)
		crash_in_recovery(fd); /* which leaves it recovered */
	judge(ctx, fd);
}
