/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the measurements of the image library share. Layers lie in one directory
 * under their ids, with symbolic links of names that people can type. Whatever
 * fails ends the program.
 */
#ifndef TINTYPE_IMGBENCH_H
#define TINTYPE_IMGBENCH_H

#include "draft.h"
#include "head.h"
#include "image.h"

/* Takes the words after the name of the measurement. */
struct measurement {
	const char *name;
	int words; /* how many; -3: three or more */
	const char *usage;
	void (*run)(char **word);
};
extern const struct measurement make_measurements[], size_measurements[],
    read_measurements[], head_measurements[];

/* Of every call of the library: `why` tells what went wrong. */
extern struct fail why;
void try(int err);
/* Of every system call that returns -1. */
int must(int result, const char *what);

/* A figure on a line of its own. */
void say(const char *name, double value);

/* splitmix64: the same numbers for the same seed, everywhere. */
uint64_t rng(uint64_t *state);
/* A number below n. */
uint64_t rng_below(uint64_t *state, uint64_t n);
/* 0 to n - 1 in random order; the caller frees it. */
uint32_t *rng_order(uint64_t seed, uint32_t n);
/* A page that differs with `tag`, half of which can be compressed. */
void fill_page(uint8_t page[PAGE_BYTES], uint64_t tag);

uint64_t number(const char *word);

struct opened {
	struct layer_set *set;
	struct layer *layer;
	struct image img;
};

/* The layer at that path and what it refers to, beside it. */
void open_image(struct opened *o, const char *path);
void close_image(struct opened *o);

/* An empty file for reading and writing. */
int new_file(const char *path);
/* st_size, and the bytes of the disk that it takes. */
uint64_t file_size(int fd);
uint64_t file_space(int fd);

/* A draft in DIR over `base` (NULL: nothing); `fd` is its file. */
struct draft *begin_layer(const char *dir, const struct image *base,
			  uint64_t bytes, uint32_t flags, int *fd);
/* Seals it, puts it under its id and, if not NULL, under `name`. Its bytes. */
uint64_t end_layer(const char *dir, const char *name, struct draft *d, int fd);

extern const uint8_t bench_key[LAYER_KEY_BYTES];

#endif
