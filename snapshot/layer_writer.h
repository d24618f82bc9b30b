/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a layer file from its header to its trailer, in the one order there
 * is:
 *
 *   begin (header) -> data pages -> meta -> sections in order -> end (id)
 *
 * Plain layers: the data pages may be written by others, straight to the file,
 * before `meta`, or all of them by layer_writer_page, as those of encoded ones.
 *
 * A failure leaves a file that is no sealed layer; what had been there before
 * `meta` is untouched in a plain one. Owner: one thread. Memory: the table, 16
 * bytes a page of metadata (plain) or 32 a chunk (encoded), and 64 KiB.
 */
#ifndef TINTYPE_LAYER_WRITER_H
#define TINTYPE_LAYER_WRITER_H

#include "layer.h"

struct layer_writer;

/* A header with its check, for what is to be written: a random uid, flags, and
 * for a head its size and what it lies on (else 0, BELOW_NOTHING). 0, -errno.
 */
int layer_header_make(struct layer_header *h, uint32_t flags, uint64_t bytes);
void layer_header_seal(struct layer_header *h);

/*
 * A writer over `fd` (borrowed), for a file whose header is `h`; `key` as in
 * codec.h. Nothing is written yet. `name` is for messages.
 */
int layer_writer_create(struct layer_writer **w, int fd, const char *name,
			const struct layer_header *h, const uint8_t *key,
			struct fail *why);
void layer_writer_destroy(struct layer_writer *w);

/* Writes page 0: the header and zeroes. */
int layer_writer_begin(struct layer_writer *w, struct fail *why);

/* Appends a data page; *at is its number in the body. -EFBIG when full. */
int layer_writer_page(struct layer_writer *w, const void *page, uint32_t *at,
		      struct fail *why);

/* Another content for a page that was appended; plain layers only. */
int layer_writer_replace(struct layer_writer *w, uint32_t at, const void *page,
			 struct fail *why);

/* Begins the metadata behind `data_pages` pages of data (an encoded layer knows
 * better: those that were appended). */
void layer_writer_meta(struct layer_writer *w, uint32_t data_pages);
uint32_t layer_writer_data_pages(const struct layer_writer *w);

/* The next section; each is begun once, in their order. */
void layer_writer_section(struct layer_writer *w, enum section s);
/* Items of the section. */
int layer_writer_put(struct layer_writer *w, const void *items, uint64_t count,
		     struct fail *why);
uint64_t layer_writer_items(const struct layer_writer *w);

/* The number by which the new layer imports `l`; NULL: itself. -E2BIG. Until
 * the section of imports has been written. */
int layer_writer_import(struct layer_writer *w, const struct layer *l,
			uint16_t *import, struct fail *why);
/* The section of imports: all that were asked for. */
int layer_writer_imports(struct layer_writer *w, struct fail *why);

/* Writes the rest, table and trailer, and syncs: for a head twice, before the
 * trailer and after it. The file may be longer than that before: it is cut. */
int layer_writer_end(struct layer_writer *w, struct object_id *id,
		     struct fail *why);
/* 0, or the -errno of a sync that failed: what the file holds is not known. */
int layer_writer_sync_failed(const struct layer_writer *w);

#endif
