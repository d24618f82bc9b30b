/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body is one stream of bytes in both kinds of layer. In a plain one it
 * goes to the file as it is, and each page of metadata gets its check; in an
 * encoded one it is cut into chunks. A full buffer is written when the next
 * byte comes, not before: the last chunk is marked as such.
 */
#include "layer_writer.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"

struct layer_writer {
	int fd;
	char name[FILE_NAME_TEXT];
	struct layer_header header;
	struct layer_trailer trailer;
	struct codec *codec; /* NULL: plain */

	uint64_t body;	   /* bytes of the body that were written out */
	uint64_t meta;	   /* where metadata begins in the body */
	uint64_t file_end; /* encoded: where the next chunk goes */
	size_t fill;
	uint8_t buf[CHUNK_BYTES], stored[CHUNK_BYTES];

	uint8_t *table;
	size_t table_bytes, table_room;

	enum section section;
	uint32_t data_pages;
	int sync_failed; /* 0 or -errno */

	uint16_t *import_of; /* by the layer's number in its set; 0: none */
	size_t import_of_room;
	struct object_id *imports;
	uint32_t nimports;
	size_t imports_room;
};

void layer_header_seal(struct layer_header *h)
{
	hash_check(h->check, h, offsetof(struct layer_header, check));
}

int layer_header_make(struct layer_header *h, uint32_t flags, uint64_t bytes)
{
	int err;

	memset(h, 0, sizeof(*h));
	memcpy(h->magic, LAYER_MAGIC, sizeof(h->magic));
	h->version = LAYER_VERSION;
	h->flags = flags;
	h->bytes = bytes;
	err = random_bytes(h->uid, sizeof(h->uid));
	layer_header_seal(h);
	return err;
}

static int failed(const struct layer_writer *w, int err, const char *verb,
		  struct fail *why)
{
	return file_failed(w->name, err, verb, why);
}

int layer_writer_create(struct layer_writer **out, int fd, const char *name,
			const struct layer_header *h, const uint8_t *key,
			struct fail *why)
{
	struct layer_writer *w = calloc(1, sizeof(*w));
	int err = 0;

	if (!w)
		return file_failed(name, -ENOMEM, "create", why);
	w->fd = fd;
	w->header = *h;
	w->file_end = PAGE_BYTES;
	w->meta = UINT64_MAX; /* not yet */
	snprintf(w->name, sizeof(w->name), "%s", name);
	if (h->flags & LAYER_FLAGS)
		err = codec_create(&w->codec, h->flags, h->uid, key);
	if (err) {
		failed(w, err, "encode", why);
		layer_writer_destroy(w);
		return err;
	}
	*out = w;
	return 0;
}

void layer_writer_destroy(struct layer_writer *w)
{
	if (!w)
		return;
	codec_destroy(w->codec);
	free(w->table);
	free(w->import_of);
	free(w->imports);
	free(w);
}

int layer_writer_begin(struct layer_writer *w, struct fail *why)
{
	uint8_t page[PAGE_BYTES] = { 0 };
	int err;

	memcpy(page, &w->header, sizeof(w->header));
	err = file_write(w->fd, 0, page, sizeof(page));
	return err ? failed(w, err, "write", why) : 0;
}

/* ---- the stream ---- */

static int add_to_table(struct layer_writer *w, const void *entry, size_t len)
{
	if (array_reserve(&w->table, &w->table_room, w->table_bytes + len, 1))
		return -ENOMEM;
	memcpy(w->table + w->table_bytes, entry, len);
	w->table_bytes += len;
	return 0;
}

static int write_chunk(struct layer_writer *w, bool last)
{
	struct chunk c = {
		.number = w->body / CHUNK_BYTES,
		.last = last,
		.plain_bytes = (uint32_t)w->fill,
	};
	struct chunk_entry e = { .offset = w->file_end };
	int err = codec_encode(w->codec, &c, w->buf, w->stored);

	if (!err)
		err = file_write(w->fd, w->file_end, w->stored, c.stored_bytes);
	if (err)
		return err;
	e.stored = c.stored_bytes;
	memcpy(e.check, c.check, CHECK_BYTES);
	err = add_to_table(w, &e, sizeof(e));
	/* Not before: after a failure the chunk is written again. */
	if (!err)
		w->file_end += c.stored_bytes;
	return err;
}

/* The buffer begins at a page of the body: so do the pages in it. */
static int write_plain(struct layer_writer *w)
{
	uint8_t check[CHECK_BYTES];
	int err = file_write(w->fd, PAGE_BYTES + w->body, w->buf, w->fill);

	for (size_t at = 0; at < w->fill && !err; at += PAGE_BYTES) {
		if (w->body + at < w->meta)
			continue;
		hash_check(check, w->buf + at, MIN(PAGE_BYTES, w->fill - at));
		err = add_to_table(w, check, sizeof(check));
	}
	return err;
}

static int write_buffer(struct layer_writer *w, bool last)
{
	int err = 0;

	if (w->fill)
		err = w->codec ? write_chunk(w, last) : write_plain(w);
	if (!err) {
		w->body += w->fill;
		w->fill = 0;
	}
	return err;
}

static int put_bytes(struct layer_writer *w, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		size_t n;
		int err;

		if (w->fill == sizeof(w->buf) && (err = write_buffer(w, false)))
			return err;
		n = MIN(len, sizeof(w->buf) - w->fill);
		memcpy(w->buf + w->fill, p, n);
		w->fill += n;
		p += n;
		len -= n;
	}
	return 0;
}

int layer_writer_page(struct layer_writer *w, const void *page, uint32_t *at,
		      struct fail *why)
{
	int err = w->data_pages == LAYER_MAX_DATA_PAGES ? -EFBIG : 0;

	if (!err)
		err = put_bytes(w, page, PAGE_BYTES);
	if (err)
		return failed(w, err, "write", why);
	*at = ++w->data_pages;
	return 0;
}

int layer_writer_replace(struct layer_writer *w, uint32_t at, const void *page,
			 struct fail *why)
{
	uint64_t offset = ((uint64_t)at - 1) << PAGE_SHIFT;
	int err = 0;

	assert(!w->codec && at && at <= w->data_pages);
	if (offset >= w->body)
		memcpy(w->buf + (offset - w->body), page, PAGE_BYTES);
	else
		err = file_write(w->fd, PAGE_BYTES + offset, page, PAGE_BYTES);
	return err ? failed(w, err, "write", why) : 0;
}

uint32_t layer_writer_data_pages(const struct layer_writer *w)
{
	return w->data_pages;
}

void layer_writer_meta(struct layer_writer *w, uint32_t data_pages)
{
	if (!w->codec && !w->fill && !w->body) {
		/* Others have written them. */
		w->data_pages = data_pages;
		w->body = (uint64_t)data_pages << PAGE_SHIFT;
	}
	w->meta = (uint64_t)w->data_pages << PAGE_SHIFT;
}

/* ---- sections ---- */

static uint64_t meta_bytes(const struct layer_writer *w)
{
	return w->body + w->fill - w->meta;
}

void layer_writer_section(struct layer_writer *w, enum section s)
{
	/* All items have multiples of 8 bytes: it is aligned. */
	w->section = s;
	w->trailer.section[s].offset = meta_bytes(w);
}

int layer_writer_put(struct layer_writer *w, const void *items, uint64_t count,
		     struct fail *why)
{
	int err = put_bytes(w, items, count * section_item_bytes[w->section]);

	if (err)
		return failed(w, err, "write", why);
	w->trailer.section[w->section].count += count;
	return 0;
}

uint64_t layer_writer_items(const struct layer_writer *w)
{
	return w->trailer.section[w->section].count;
}

static int add_import(struct layer_writer *w, const struct layer *l)
{
	if (w->nimports == LAYER_MAX_IMPORTS)
		return -E2BIG;
	if (array_reserve(&w->imports, &w->imports_room, w->nimports + 1u,
			  sizeof(*w->imports)))
		return -ENOMEM;
	w->imports[w->nimports++] = *layer_id(l);
	return 0;
}

int layer_writer_import(struct layer_writer *w, const struct layer *l,
			uint16_t *import, struct fail *why)
{
	unsigned number;
	int err;

	*import = 0;
	if (!l)
		return 0;
	number = layer_number(l);
	err = array_reserve(&w->import_of, &w->import_of_room, number + 1u,
			    sizeof(*w->import_of));
	if (!err && !w->import_of[number]) {
		err = add_import(w, l);
		if (!err)
			w->import_of[number] = (uint16_t)w->nimports;
	}
	if (err == -E2BIG)
		return fail_set(why, EXIT_FAILED, err, w->name,
				"consolidate the image first",
				"refers to more than %u layers",
				LAYER_MAX_IMPORTS);
	if (err)
		return failed(w, err, "import", why);
	*import = w->import_of[number];
	return 0;
}

int layer_writer_imports(struct layer_writer *w, struct fail *why)
{
	layer_writer_section(w, SECTION_IMPORTS);
	return layer_writer_put(w, w->imports, w->nimports, why);
}

/* ---- the end ---- */

/* All but the trailer. */
static int write_rest(struct layer_writer *w)
{
	struct layer_trailer *t = &w->trailer;
	int err = write_buffer(w, true);

	if (err)
		return err;
	t->table_offset = w->codec ? w->file_end : PAGE_BYTES + w->body;
	t->table_bytes = w->table_bytes;
	/* What a file may hold beyond its end would hide the trailer. */
	if (ftruncate(w->fd, (off_t)t->table_offset))
		return -errno;
	return file_write(w->fd, t->table_offset, w->table, w->table_bytes);
}

static int write_trailer(struct layer_writer *w)
{
	struct layer_trailer *t = &w->trailer;

	memcpy(t->magic, TRAILER_MAGIC, sizeof(t->magic));
	t->version = LAYER_VERSION;
	t->flags = w->header.flags;
	memcpy(t->header_check, w->header.check, CHECK_BYTES);
	hash_id(&t->table_hash, w->table, w->table_bytes);
	t->data_pages = w->data_pages;
	t->meta_bytes = w->body - w->meta;
	hash_id(&t->id, t, offsetof(struct layer_trailer, id));
	return file_write(w->fd, t->table_offset + t->table_bytes, t,
			  sizeof(*t));
}

static int sync_file(struct layer_writer *w)
{
	w->sync_failed = file_sync(w->fd);
	return w->sync_failed;
}

int layer_writer_end(struct layer_writer *w, struct object_id *id,
		     struct fail *why)
{
	int err = write_rest(w);

	/* A head is in use: its trailer must not be there before all that it
	 * vouches for is. */
	if (!err && w->header.bytes)
		err = sync_file(w);
	if (!err)
		err = write_trailer(w);
	if (!err)
		err = sync_file(w);
	if (err)
		return failed(w, err, w->sync_failed ? "sync" : "write", why);
	*id = w->trailer.id;
	return 0;
}

int layer_writer_sync_failed(const struct layer_writer *w)
{
	return w->sync_failed;
}
