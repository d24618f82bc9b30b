/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes tagged records by a table: once over the object to count, once to
 * write. Then the result is read back, so that what is legal is said only once,
 * in the reader.
 */
#include "record_impl.h"

#include <errno.h>
#include <string.h>

#include "util.h"

/* Without data it only counts. */
struct writer {
	uint8_t *data;
	size_t at;
};

static void put(struct writer *w, const void *p, size_t len)
{
	if (w->data && len)
		memcpy(w->data + w->at, p, len);
	w->at += len;
}

static void put_record(struct writer *w, uint16_t tag, uint16_t flags,
		       const void *value, uint32_t bytes)
{
	static const uint8_t zero[8];
	struct record_head h = { tag, flags, bytes };

	put(w, &h, sizeof(h));
	put(w, value, bytes);
	put(w, zero, align_up(bytes, 8) - bytes);
}

static void put_row(struct writer *w, const struct record_row *row, void *obj)
{
	uint16_t flags = row_flags(row);
	char *at = member(row, obj);
	struct any_array *a = (void *)at;
	uint32_t n;

	switch (row->kind) {
	case RECORD_FIXED:
		if (row->must || !mem_is_zero(at, row->size))
			put_record(w, row->tag, flags, at, row->size);
		return;
	case RECORD_TEXT:
		n = (uint32_t)strnlen(at, row->size);
		if (n)
			put_record(w, row->tag, flags, at, n);
		return;
	case RECORD_BYTES:
		/* One too many is enough to be refused. */
		n = MIN(a->n, row->max + 1);
		if (n)
			put_record(w, row->tag, flags, a->item, n);
		return;
	case RECORD_ITEMS:
		n = MIN(a->n, row->max + 1);
		for (uint32_t i = 0; i < n; i++)
			put_record(w, row->tag, flags,
				   (char *)a->item + (size_t)i * row->size,
				   row->size);
		return;
	}
}

/* The unknown records from `from` on whose tag is below `tag`; returns where
 * the others begin. They are as `fill` left them. */
static uint32_t put_unknown(struct writer *w, const struct record *rec,
			    uint32_t from, uint16_t tag)
{
	struct record_head h;
	size_t bytes;

	while (from < rec->unknown.n) {
		memcpy(&h, rec->unknown.item + from, sizeof(h));
		bytes = sizeof(h) + align_up(h.bytes, 8);
		assert(range_within(from, bytes, rec->unknown.n));
		if (h.tag >= tag)
			break;
		put(w, rec->unknown.item + from, bytes);
		from += (uint32_t)bytes;
	}
	return from;
}

static void put_all(struct writer *w, const struct record_desc *d, void *obj,
		    uint32_t bytes, const struct mac_key *key)
{
	struct file_head h = { .version = d->version, .bytes = bytes };
	const struct record *rec = obj;
	struct record_auth a = {
		.head = { TAG_AUTH, RECORD_CRITICAL,
			  sizeof(a) - sizeof(a.head) },
		.scheme = key ? RECORD_KEYED : rec->scheme,
	};
	uint32_t from = 0;

	memcpy(h.magic, d->magic, sizeof(h.magic));
	put(w, &h, sizeof(h));
	for (unsigned i = 0; i < d->nrows; i++) {
		from = put_unknown(w, rec, from, d->rows[i].tag);
		put_row(w, &d->rows[i], obj);
	}
	put_unknown(w, rec, from, TAG_AUTH);
	memcpy(a.mac, rec->mac, sizeof(a.mac));
	if (key && w->data)
		hash_keyed(a.mac, key, w->data, w->at);
	put(w, &a, sizeof(a));
}

static int compare_keys(const void *a, const void *b, void *key)
{
	return memcmp(a, b, *(uint8_t *)key);
}

static void sort_items(const struct record_desc *d, void *obj)
{
	for (unsigned i = 0; i < d->nrows; i++) {
		const struct record_row *row = &d->rows[i];
		struct any_array *a = member(row, obj);
		uint8_t key = row->key;

		if (row->kind == RECORD_ITEMS && a->n > 1)
			qsort_r(a->item, a->n, row->size, compare_keys, &key);
	}
}

/* Reads `data` as anybody else would. */
static int read_back(const struct record_desc *d, const uint8_t *data,
		     size_t len, const struct mac_key *key, struct fail *why)
{
	void *scratch = malloc(d->size);
	int err;

	if (!scratch)
		return fail_set(why, EXIT_FAILED, -ENOMEM, d->what, NULL,
				"no memory");
	err = record_decode(d, scratch, data, len, NULL, key, why);
	if (!err)
		record_free(d, scratch);
	free(scratch);
	if (!err || err == -ENOMEM)
		return err;
	if (why) {
		why->code = EXIT_USAGE;
		why->hint[0] = '\0';
	}
	return -EINVAL;
}

int record_encode(const struct record_desc *d, void *obj,
		  const struct mac_key *key, uint8_t **data, size_t *len,
		  struct fail *why)
{
	struct writer w = { .data = NULL };
	int err;

	record_check_table(d);
	sort_items(d, obj);
	put_all(&w, d, obj, 0, key);
	if (w.at > RECORD_MAX_BYTES)
		return fail_set(why, EXIT_USAGE, -E2BIG, d->what, NULL,
				"would be %zu bytes, the most is %u", w.at,
				RECORD_MAX_BYTES);
	*len = w.at;
	*data = w.data = malloc(*len);
	if (!w.data)
		return fail_set(why, EXIT_FAILED, -ENOMEM, d->what, NULL,
				"no memory");
	w.at = 0;
	put_all(&w, d, obj, (uint32_t)(*len - RECORD_AUTH_BYTES), key);
	err = read_back(d, *data, *len, key, why);
	if (err) {
		free(*data);
		*data = NULL;
		*len = 0;
	}
	return err;
}
