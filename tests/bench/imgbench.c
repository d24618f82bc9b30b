/* SPDX-License-Identifier: Apache-2.0 */
/* Files, random numbers and failures for the measurements of images. */
#include "imgbench.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fileio.h"

struct fail why;

const uint8_t bench_key[LAYER_KEY_BYTES] = "the key of a benchmark's layers";

void try(int err)
{
	if (!err)
		return;
	fprintf(stderr, "image: %s: %s (%s)\n", why.object, why.message,
		strerror(-err));
	exit(1);
}

int must(int result, const char *what)
{
	if (result >= 0)
		return result;
	fprintf(stderr, "image: %s: %s\n", what, strerror(errno));
	exit(1);
}

void say(const char *name, double value)
{
	printf("%s %.9g\n", name, value);
}

uint64_t rng(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t rng_below(uint64_t *state, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)rng(state) * n) >> 64);
}

uint32_t *rng_order(uint64_t seed, uint32_t n)
{
	uint32_t *v = malloc(n * sizeof(*v));

	must(v ? 0 : -1, "malloc");
	for (uint32_t i = 0; i < n; i++) {
		uint32_t k = (uint32_t)rng_below(&seed, i + 1);

		v[i] = v[k];
		v[k] = i;
	}
	return v;
}

void fill_page(uint8_t page[PAGE_BYTES], uint64_t tag)
{
	uint64_t state = tag * 977 + 1, word;

	for (size_t i = 0; i < PAGE_BYTES; i += sizeof(word)) {
		word = i < PAGE_BYTES / 2 ? rng(&state) : tag;
		memcpy(page + i, &word, sizeof(word));
	}
}

uint64_t number(const char *word)
{
	char *end;
	uint64_t v = strtoull(word, &end, 0);

	if (*end || end == word) {
		fprintf(stderr, "image: '%s' is no number\n", word);
		exit(2);
	}
	return v;
}

/* ---- files ---- */

int new_file(const char *path)
{
	return must(open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
		    path);
}

static struct stat status(int fd)
{
	struct stat st;

	must(fstat(fd, &st), "stat");
	return st;
}

uint64_t file_size(int fd)
{
	return (uint64_t)status(fd).st_size;
}

uint64_t file_space(int fd)
{
	return (uint64_t)status(fd).st_blocks * 512;
}

static int find_beside(void *ctx, const struct object_id *id)
{
	char path[PATH_MAX], text[ID_TEXT];
	int fd;

	object_id_text(text, id);
	snprintf(path, sizeof(path), "%s/%s", (const char *)ctx, text);
	fd = file_open(AT_FDCWD, path, 0);
	return fd < 0 ? -errno : fd;
}

static int give_key(void *ctx, const uint8_t uid[UID_BYTES],
		    uint8_t key[LAYER_KEY_BYTES])
{
	memcpy(key, bench_key, LAYER_KEY_BYTES);
	return 0;
}

void open_image(struct opened *o, const char *path)
{
	char copy[PATH_MAX];
	int fd = must(file_open(AT_FDCWD, path, 0), path);

	o->set = layer_set_create(give_key, NULL);
	must(o->set ? 0 : -1, "no memory");
	try(layer_open(o->set, fd, path, NULL, &o->layer, &why));
	snprintf(copy, sizeof(copy), "%s", path);
	try(layer_link(o->set, find_beside, dirname(copy), &why));
	try(image_open(&o->img, o->layer, 0, &why));
}

void close_image(struct opened *o)
{
	layer_set_destroy(o->set);
}

/* ---- layers ---- */

struct draft *begin_layer(const char *dir, const struct image *base,
			  uint64_t bytes, uint32_t flags, int *fd)
{
	struct draft_options o = { .name = "layer",
				   .bytes = bytes,
				   .base = base,
				   .flags = flags,
				   .key = bench_key };
	char path[PATH_MAX];
	struct draft *d;

	snprintf(path, sizeof(path), "%s/new", dir);
	*fd = o.fd = new_file(path);
	try(draft_create(&d, &o, &why));
	return d;
}

uint64_t end_layer(const char *dir, const char *name, struct draft *d, int fd)
{
	char path[PATH_MAX], to[PATH_MAX], text[ID_TEXT];
	struct object_id id;
	uint64_t bytes;

	try(draft_seal(d, &id, &why));
	draft_destroy(d);
	bytes = file_size(fd);
	close(fd);
	object_id_text(text, &id);
	snprintf(path, sizeof(path), "%s/new", dir);
	snprintf(to, sizeof(to), "%s/%s", dir, text);
	must(rename(path, to), to);
	if (name) {
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		unlink(path);
		must(symlink(text, path), path);
	}
	return bytes;
}
