/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is inside an open layer: metadata by checked copies of its pages, data
 * by its sums.
 *
 * A page of metadata is read when it is first needed, compared with its check,
 * and published by a compare-and-swap; who loses that race frees his copy. It
 * is kept until the layer is closed: pointers into it stay valid, and a file
 * that changes under us cannot change what was checked.
 */
#include "layer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "layer_impl.h"

int layer_damaged(const struct layer *l, uint64_t offset, struct fail *why,
		  const char *fmt, ...)
{
	char what[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return fail_set(why, EXIT_INTEGRITY, -EBADMSG, l->name,
			"restore it from a copy", "damaged at 0x%llx: %s",
			(unsigned long long)offset, what);
}

int layer_io_failed(const struct layer *l, int err, const char *verb,
		    uint64_t offset, struct fail *why)
{
	if (err == -ENODATA)
		return layer_damaged(l, offset, why, "truncated");
	return fail_set(why, err == -ENOMEM ? EXIT_NO_SPACE : EXIT_FAILED, err,
			l->name, NULL, "%s at 0x%llx: %s", verb,
			(unsigned long long)offset, strerror(-err));
}

/* ---- chunks ---- */

/* Nobody can tell a wrong key from damage; but a key that has opened one chunk
 * is the right one. */
static int chunk_damaged(const struct layer *l, uint64_t number,
			 struct fail *why)
{
	bool key_proven = !(l->flags & LAYER_ENCRYPTED) || l->chunk_decoded;

	return fail_set(why, key_proven ? EXIT_INTEGRITY : EXIT_DENIED,
			-EBADMSG, l->name,
			key_proven ? "restore it from a copy"
				   : "give its own key, or restore it from a "
				     "copy",
			"%sdamaged at 0x%llx: chunk %llu: wrong check",
			key_proven ? "" : "wrong key, or ",
			(unsigned long long)l->chunks[number].offset,
			(unsigned long long)number);
}

/* Decodes a chunk into l->chunk_plain unless it is there; the lock is held. */
static int hold_chunk(struct layer *l, uint64_t number, struct fail *why)
{
	const struct chunk_entry *e = &l->chunks[number];
	uint64_t body = layer_body_bytes(l);
	struct chunk c = {
		.number = number,
		.last = number == (body - 1) / CHUNK_BYTES,
		.plain_bytes =
		    (uint32_t)MIN(body - number * CHUNK_BYTES, CHUNK_BYTES),
		.stored_bytes = e->stored,
	};
	int err;

	if (l->chunk_held == number)
		return 0;
	l->chunk_held = UINT64_MAX;
	memcpy(c.check, e->check, CHECK_BYTES);
	err = file_read(l->fd, e->offset, l->chunk_stored, e->stored);
	if (err)
		return layer_io_failed(l, err, "read", e->offset, why);
	err = codec_decode(l->codec, &c, l->chunk_stored, l->chunk_plain);
	if (err)
		return chunk_damaged(l, number, why);
	l->chunk_held = number;
	l->chunk_decoded = true;
	return 0;
}

/* Bytes of the body of an encoded layer; the range is within it. */
static int read_chunks(struct layer *l, uint64_t offset, void *buf, size_t len,
		       struct fail *why)
{
	uint8_t *p = buf;
	int err = 0;
	_locked_(&l->decode_lock);

	while (len && !err) {
		uint64_t inside = offset % CHUNK_BYTES;
		size_t n = MIN(len, CHUNK_BYTES - inside);

		err = hold_chunk(l, offset / CHUNK_BYTES, why);
		if (err)
			break;
		memcpy(p, l->chunk_plain + inside, n);
		p += n;
		offset += n;
		len -= n;
	}
	return err;
}

/* ---- metadata ---- */

static uint64_t meta_file_offset(const struct layer *l, uint64_t offset)
{
	return PAGE_BYTES + ((uint64_t)l->data_pages << PAGE_SHIFT) + offset;
}

static int read_meta_page(struct layer *l, uint64_t page, uint8_t *buf,
			  struct fail *why)
{
	uint64_t offset = page << PAGE_SHIFT, at = meta_file_offset(l, offset);
	size_t len = MIN(PAGE_BYTES, l->meta_bytes - offset);
	int err;

	memset(buf + len, 0, PAGE_BYTES - len);
	if (l->chunks)
		return read_chunks(l, at - PAGE_BYTES, buf, len, why);
	err = file_read(l->fd, at, buf, len);
	if (err)
		return layer_io_failed(l, err, "read", at, why);
	if (!hash_check_fits(l->checks[page], buf, len))
		return layer_damaged(l, at, why, "metadata: wrong check");
	return 0;
}

/* The checked copy of a page of metadata, which is within it. */
static int meta_page(struct layer *l, uint64_t page, const uint8_t **out,
		     struct fail *why)
{
	uint8_t *have =
	    atomic_load_explicit(&l->meta[page], memory_order_acquire);
	uint8_t *made;
	int err;

	if (have) {
		*out = have;
		return 0;
	}
	made = malloc(PAGE_BYTES);
	if (!made)
		return file_failed(l->name, -ENOMEM, "read", why);
	err = read_meta_page(l, page, made, why);
	if (!err &&
	    !atomic_compare_exchange_strong(&l->meta[page], &have, made)) {
		free(made);
		made = have;
	}
	if (err)
		free(made);
	else
		*out = made;
	return err;
}

/* Copies `len` bytes of metadata, checked; the range is within it. */
static int meta_copy(struct layer *l, uint64_t offset, void *buf, size_t len,
		     struct fail *why)
{
	uint8_t *p = buf;

	while (len) {
		uint64_t inside = offset % PAGE_BYTES;
		size_t n = MIN(len, PAGE_BYTES - inside);
		const uint8_t *page;
		int err = meta_page(l, offset >> PAGE_SHIFT, &page, why);

		if (err)
			return err;
		memcpy(p, page + inside, n);
		p += n;
		offset += n;
		len -= n;
	}
	return 0;
}

static uint64_t item_offset(const struct layer *l, enum section s, uint64_t at)
{
	return l->section[s].offset + at * section_item_bytes[s];
}

uint64_t layer_item_offset(const struct layer *l, enum section s, uint64_t at)
{
	return meta_file_offset(l, item_offset(l, s, at));
}

/* An item by its number, which the file gave us. */
static int copy_item(struct layer *l, enum section s, uint64_t at, void *item,
		     struct fail *why)
{
	if (at >= l->section[s].count)
		return layer_damaged(l, layer_item_offset(l, s, 0), why,
				     "item %llu of %llu",
				     (unsigned long long)at,
				     (unsigned long long)l->section[s].count);
	return meta_copy(l, item_offset(l, s, at), item, section_item_bytes[s],
			 why);
}

int layer_node(struct layer *l, uint32_t at, unsigned n,
	       const struct node_entry **node, struct fail *why)
{
	uint64_t offset = (uint64_t)at * sizeof(struct node_entry);
	const uint8_t *page;
	int err;

	if (!range_within(at, n, l->section[SECTION_NODES].count) ||
	    !range_within(offset % PAGE_BYTES, n * sizeof(struct node_entry),
			  PAGE_BYTES))
		return layer_damaged(l, layer_item_offset(l, SECTION_NODES, at),
				     why, "no node there");
	err = meta_page(l, offset >> PAGE_SHIFT, &page, why);
	if (!err)
		*node = (const void *)(page + offset % PAGE_BYTES);
	return err;
}

int layer_diff(struct layer *l, uint32_t at, struct layer_diff *diff,
	       struct fail *why)
{
	int err = copy_item(l, SECTION_DIFFS, at, diff, why);

	if (!err && diff->zero)
		err = layer_damaged(l, layer_item_offset(l, SECTION_DIFFS, at),
				    why, "difference %u: not zero at its end",
				    at);
	return err;
}

int layer_root(struct layer *l, uint32_t at, struct layer_root *root,
	       struct fail *why)
{
	return copy_item(l, SECTION_ROOTS, at, root, why);
}

int layer_sum(struct layer *l, uint32_t page, uint64_t *sum, struct fail *why)
{
	return copy_item(l, SECTION_SUMS, (uint64_t)page - 1, sum, why);
}

int layer_import_id(struct layer *l, unsigned import, struct object_id *id,
		    struct fail *why)
{
	return copy_item(l, SECTION_IMPORTS, (uint64_t)import - 1, id, why);
}

int layer_import(struct layer *l, unsigned import, struct layer **out,
		 struct fail *why)
{
	struct object_id id;
	char text[ID_SHORT];
	int err;

	if (import == 0) {
		*out = l;
		return 0;
	}
	if (import > l->section[SECTION_IMPORTS].count)
		return layer_damaged(l,
				     layer_item_offset(l, SECTION_IMPORTS, 0),
				     why, "no import %u", import);
	*out = l->imports[import - 1];
	if (*out)
		return 0;
	err = layer_import_id(l, import, &id, why);
	if (err)
		return err;
	object_id_short(text, &id);
	if (l->set->unreadable[0])
		return fail_set(why, EXIT_DENIED, -ENOENT, l->name,
				"make that file readable",
				"needs layer %s, which is not there, or is %s: "
				"Permission denied",
				text, l->set->unreadable);
	return fail_set(why, EXIT_INTEGRITY, -ENOENT, l->name,
			"put it beside this one",
			"needs layer %s, which is "
			"not there",
			text);
}

/* ---- data ---- */

static int check_sums(struct layer *l, uint32_t page, unsigned n,
		      const uint8_t *data, struct fail *why)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t sum;
		int err = layer_sum(l, page + i, &sum, why);

		if (err)
			return err;
		if (sum != sum64(data + i * PAGE_BYTES, PAGE_BYTES, 0))
			return layer_damaged(
			    l, (uint64_t)(page + i) << PAGE_SHIFT, why,
			    "page %u: wrong sum", page + i);
	}
	return 0;
}

/* The sum of a page comes from a place of its own: it can be on its way from
 * memory while the data is read. */
static void expect_sum(const struct layer *l, uint32_t page)
{
	uint64_t at = item_offset(l, SECTION_SUMS, (uint64_t)page - 1);
	const uint8_t *have = atomic_load_explicit(&l->meta[at >> PAGE_SHIFT],
						   memory_order_relaxed);

	if (have)
		__builtin_prefetch(have + at % PAGE_BYTES);
}

int layer_read(struct layer *l, uint32_t page, unsigned n, void *buf,
	       struct fail *why)
{
	uint64_t at = (uint64_t)page << PAGE_SHIFT;
	size_t len = n * PAGE_BYTES;
	int err;

	if (page == 0 || !range_within(page - 1, n, l->data_pages))
		return layer_damaged(l, at, why, "no data page %u of %u", page,
				     l->data_pages);
	expect_sum(l, page);
	if (l->chunks) {
		err = read_chunks(l, at - PAGE_BYTES, buf, len, why);
	} else {
		err = file_read(l->fd, at, buf, len);
		if (err)
			err = layer_io_failed(l, err, "read", at, why);
	}
	return err ? err : check_sums(l, page, n, buf, why);
}

/* ---- what it is ---- */

unsigned layer_number(const struct layer *l)
{
	return l->number;
}

const struct object_id *layer_id(const struct layer *l)
{
	return &l->id;
}

const char *layer_name(const struct layer *l)
{
	return l->name;
}

uint32_t layer_flags(const struct layer *l)
{
	return l->flags;
}

int layer_fd(const struct layer *l)
{
	return l->fd;
}

int layer_take_fd(struct layer *l)
{
	return steal_fd(&l->fd);
}

uint64_t layer_file_bytes(const struct layer *l)
{
	return l->file_bytes;
}

uint32_t layer_data_pages(const struct layer *l)
{
	return l->data_pages;
}

uint64_t layer_meta_bytes(const struct layer *l)
{
	return l->meta_bytes;
}

uint64_t layer_items(const struct layer *l, enum section s)
{
	return l->section[s].count;
}
