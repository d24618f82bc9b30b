/* SPDX-License-Identifier: Apache-2.0 */
/* See imgtest.h. */
#include "imgtest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fileio.h"

struct fail why;

const uint8_t test_key[LAYER_KEY_BYTES] = "thirty-two bytes of a test's key";

uint64_t rng(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t rng_below(uint64_t *state, uint64_t n)
{
	return rng(state) % n;
}

int memory_file(void)
{
	int fd = memfd_create("layer", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

int copy_file(int fd)
{
	int copy = memory_file();
	uint8_t buf[65536];
	uint64_t at = 0;
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), (off_t)at)) > 0) {
		cr_assert_eq(file_write(copy, at, buf, (size_t)n), 0);
		at += (uint64_t)n;
	}
	return copy;
}

void fill_page(uint8_t page[PAGE_BYTES], uint64_t tag)
{
	for (unsigned i = 0; i < PAGE_BYTES; i += 8) {
		uint64_t state = tag * PAGE_BYTES + i, v = rng(&state);

		memcpy(page + i, &v, 8);
	}
}

struct layer *open_layer(struct layer_set *s, int fd)
{
	struct layer *l = NULL;
	int err = layer_open(s, dup(fd), "layer", NULL, &l, &why);

	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	cr_assert_eq(layer_link(s, NULL, NULL, &why), 0);
	return l;
}

struct layer *make_layer(struct layer_set *s, const struct draft_options *o,
			 void (*fill)(struct draft *d, void *ctx), void *ctx,
			 struct image *img)
{
	struct draft_options mine = *o;
	struct object_id id;
	struct draft *d;
	struct layer *l;
	int err;

	mine.fd = memory_file();
	mine.name = "draft";
	mine.key = test_key;
	err = draft_create(&d, &mine, &why);
	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	fill(d, ctx);
	err = draft_seal(d, &id, &why);
	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	draft_destroy(d);
	l = open_layer(s, mine.fd);
	cr_assert(object_id_equal(layer_id(l), &id));
	close(mine.fd);
	err = image_open(img, l, 0, &why);
	cr_assert_eq(err, 0, "%s: %s", why.object, why.message);
	return l;
}

static int key_of(void *ctx, const uint8_t uid[UID_BYTES],
		  uint8_t key[LAYER_KEY_BYTES])
{
	memcpy(key, test_key, LAYER_KEY_BYTES);
	return 0;
}

struct layer_set *test_set(void)
{
	struct layer_set *s;

	cr_assert_eq(hash_init(), 0);
	s = layer_set_create(key_of, NULL);
	cr_assert_not_null(s);
	return s;
}
