/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State structs as bytes: a file of sections, each one struct with its fields
 * by name. docs/snapshot-format.md has every byte. There is one encoding for
 * each content, and nothing else is taken.
 *
 * Any thread, each object by one at a time.
 */
#ifndef TINTYPE_STATE_FILE_H
#define TINTYPE_STATE_FILE_H

#include <stdbool.h>

#include "fail.h"
#include "state.h"

#define STATE_FILE_VERSION 1
#define STATE_FILE_MAX	   (16 << 20)
#define STATE_NAME_MAX	   63

/* ---- out ---- */

struct state_writer {
	uint8_t *data;
	size_t len, room;
	uint32_t sections;
	bool failed; /* no memory, or too long */
};

/* `instance`: which of several ("vcpu0"). */
void state_writer_put(struct state_writer *w, const struct state_desc *d,
		      const char *instance, const void *st);
/* The caller frees *data. 0, -ENOMEM or -E2BIG; `w` is empty again. */
int state_writer_end(struct state_writer *w, uint8_t **data, size_t *len);

/* ---- in ---- */

struct state_reader {
	const uint8_t *data;
	size_t len, at;
	uint32_t left; /* sections */
};

/* How long the state that `data` begins with says it is, at most `len`: an
 * image holds whole sectors. */
size_t state_file_length(const void *data, size_t len);

/* Judges the header and where sections begin and end. EXIT_INTEGRITY,
 * EXIT_INCOMPATIBLE: a newer version. `data` is borrowed. */
int state_reader_init(struct state_reader *r, const void *data, size_t len,
		      struct fail *why);
/*
 * Reads the next section into *st, which holds what fields that are newer than
 * the file shall have. EXIT_INCOMPATIBLE when it is another section, or of a
 * newer version; EXIT_INTEGRITY when it is not exactly what the table says.
 */
int state_reader_get(struct state_reader *r, const struct state_desc *d,
		     const char *instance, void *st, struct fail *why);
/* 0 when all sections were read; EXIT_INCOMPATIBLE names the next one. */
int state_reader_end(struct state_reader *r, struct fail *why);

/* ---- any file, by the names in it ---- */

/* One field of a file: values of `size` bytes, `count` of them, little-endian.
 */
struct state_value {
	char section[STATE_NAME_MAX + 1], instance[STATE_NAME_MAX + 1];
	char field[STATE_NAME_MAX + 1];
	unsigned size, count;
	const uint8_t *data;
};
uint64_t state_value_at(const struct state_value *v, unsigned i);

/* Calls `fn` for each field in order until it returns non-zero; returns that,
 * or -errno with `why` where the file is damaged. */
int state_file_each(const void *data, size_t len,
		    int (*fn)(void *ctx, const struct state_value *v),
		    void *ctx, struct fail *why);

#endif
