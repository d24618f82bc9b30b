/* SPDX-License-Identifier: Apache-2.0 */
/* Several threads: readers of one image, and a disk whose heads are swapped and
 * sealed by another thread while it is written and read. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "head.h"
#include "imgtest.h"

#define BLOCKS 2048

/* ---- readers of one image ---- */

static void fill_all(struct draft *d, void *ctx)
{
	uint8_t data[PAGE_BYTES];

	for (uint64_t p = 0; p < BLOCKS; p++) {
		fill_page(data, p * 3 + 1);
		cr_assert_eq(draft_put(d, p * 300, data, &why), 0);
	}
}

static void *read_all(void *ctx)
{
	const struct image *img = ctx;
	uint8_t want[PAGE_BYTES], got[PAGE_BYTES];
	uint64_t state = (uintptr_t)&state, wrong = 0;

	for (unsigned i = 0; i < BLOCKS; i++) {
		uint64_t p = rng_below(&state, BLOCKS);

		fill_page(want, p * 3 + 1);
		wrong += image_read(img, p * 300, 1, got, NULL) ||
			 memcmp(want, got, PAGE_BYTES);
	}
	return (void *)(uintptr_t)wrong;
}

Test(threads, read_by_four_threads_of_a_fresh_image_is_right)
{
	for (uint32_t flags = 0; flags < LAYER_KINDS; flags++) {
		struct layer_set *s = test_set();
		struct draft_options o = { .bytes = GIB(4), .flags = flags };
		pthread_t t[4];
		struct image img;
		void *wrong;

		make_layer(s, &o, fill_all, NULL, &img);
		for (unsigned i = 0; i < 4; i++)
			cr_assert_eq(
			    pthread_create(&t[i], NULL, read_all, &img), 0);
		for (unsigned i = 0; i < 4; i++) {
			cr_assert_eq(pthread_join(t[i], &wrong), 0);
			cr_assert_null(wrong);
		}
		layer_set_destroy(s);
	}
}

/* ---- heads that are swapped ---- */

/* One seal at a time, by the thread that a VM calls the writer. */
struct sealer {
	pthread_t thread;
	struct head *head;	  /* frozen */
	const struct image *base; /* what it lies on */
	struct object_id id;
	_Atomic bool done;
	int err;
};

static void *seal(void *ctx)
{
	struct sealer *s = ctx;

	s->err = head_flush(s->head, NULL);
	if (!s->err)
		s->err = head_seal(s->head, s->base, &s->id, NULL);
	atomic_store(&s->done, true);
	return NULL;
}

struct disk {
	struct layer_set *set;
	struct head *top;
	int fd, old_fd;
	struct image base[2]; /* in turns: the next one is made beside it */
	unsigned nbase;	      /* 0: none yet */
	struct sealer sealer;
	bool sealing;
	uint64_t tag[BLOCKS]; /* the model; 0: zero */
};

static const struct image *base_of(struct disk *d)
{
	return d->nbase ? &d->base[d->nbase % 2] : NULL;
}

static struct head *new_head(int *fd, const struct head_below *below)
{
	struct head_info info = { .bytes = BLOCKS * PAGE_BYTES };
	struct head *h;

	*fd = memory_file();
	cr_assert_eq(head_create(*fd, "head", &info, 16, &why), 0);
	cr_assert_eq(head_open(&h, *fd, "head", below, true, &why), 0);
	return h;
}

static void swap_heads(struct disk *d)
{
	struct head_below below = { .head = d->top, .raw_fd = -1 };

	d->old_fd = d->fd;
	d->sealer = (struct sealer){ .head = d->top, .base = base_of(d) };
	d->top = new_head(&d->fd, &below);
	head_freeze(d->sealer.head);
	cr_assert_eq(pthread_create(&d->sealer.thread, NULL, seal, &d->sealer),
		     0);
	d->sealing = true;
}

/* The sealed layer takes the frozen head's place. */
static void take_over(struct disk *d)
{
	struct head_below below = { .raw_fd = -1 };
	struct image *next = &d->base[(d->nbase + 1) % 2];

	cr_assert_eq(pthread_join(d->sealer.thread, NULL), 0);
	cr_assert_eq(d->sealer.err, 0);
	cr_assert_eq(image_open(next, open_layer(d->set, d->old_fd), 0, &why),
		     0, "%s", why.message);
	d->nbase++;
	below.image = next;
	head_set_below(d->top, &below);
	head_close(d->sealer.head);
	close(d->old_fd);
	d->sealing = false;
}

static void check(struct disk *d, uint64_t block)
{
	uint8_t want[PAGE_BYTES] = { 0 }, got[PAGE_BYTES];

	if (d->tag[block])
		fill_page(want, d->tag[block]);
	cr_assert_eq(
	    head_read(d->top, block << PAGE_SHIFT, got, PAGE_BYTES, &why), 0,
	    "%s: %s", why.object, why.message);
	cr_assert_arr_eq(got, want, PAGE_BYTES, "block %lu", block);
}

static void one_step(struct disk *d, uint64_t *state, uint64_t tag)
{
	uint64_t block = rng_below(state, BLOCKS), what = rng_below(state, 16);
	uint8_t data[PAGE_BYTES];

	check(d, rng_below(state, BLOCKS));
	if (what == 0) {
		cr_assert_eq(
		    head_zero(d->top, block << PAGE_SHIFT, PAGE_BYTES, &why),
		    0);
		d->tag[block] = 0;
		return;
	}
	fill_page(data, tag);
	cr_assert_eq(
	    head_write(d->top, block << PAGE_SHIFT, data, PAGE_BYTES, &why), 0);
	d->tag[block] = tag;
	/* Before the old head's last commit is durable a FLUSH would wait. */
	if (what == 1 && !d->sealing)
		cr_assert_eq(head_flush(d->top, &why), 0);
}

Test(threads, swap_when_the_disk_is_written_all_the_time_loses_nothing)
{
	struct disk d = { .set = test_set() };
	uint64_t state = 1, tag = 1;

	d.top = new_head(&d.fd, &HEAD_BELOW_NOTHING);
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < 100; i++)
			one_step(&d, &state, tag++);
		swap_heads(&d);
		while (!atomic_load(&d.sealer.done))
			one_step(&d, &state, tag++);
		take_over(&d);
	}
	for (uint64_t b = 0; b < BLOCKS; b++)
		check(&d, b);
	head_close(d.top);
	close(d.fd);
	layer_set_destroy(d.set);
}
