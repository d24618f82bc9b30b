/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads tagged records by a table.
 *
 * It goes over the bytes twice. `scan` looks at the frame only: lengths, order,
 * tags, counts. So `fill` knows how much there is before it allocates, and has
 * only values to judge.
 */
#include "record_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"
#include "util.h"

#define HINT_NEWER                                                             \
	"read it with the version of tintype that wrote it, or a later one"

/* A record as it stands in the file; `value` NULL: none. */
struct found {
	struct record_head head;
	const uint8_t *value;
};

struct reader {
	const struct record_desc *d;
	const struct object_id *id;
	const uint8_t *data;
	size_t at;   /* of what is being looked at: for messages */
	size_t next; /* where the next record begins */
	size_t end;  /* of the records */
	/* What scan counted: items, or bytes of a RECORD_BYTES. */
	uint32_t n[RECORD_MAX_ROWS], unknown;
	struct fail *why;
};

__attribute__((format(printf, 4, 5))) static int refuse(const struct reader *r,
							enum exit_code code,
							int err,
							const char *fmt, ...)
{
	char object[32], text[160], id[ID_SHORT] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r->id)
		object_id_short(id, r->id);
	snprintf(object, sizeof(object), "%s%s%s", r->d->what, r->id ? " " : "",
		 id);
	return fail_set(r->why, code, err, object,
			code == EXIT_INCOMPATIBLE ? HINT_NEWER : NULL,
			"byte %zu: %s", r->at, text);
}

#define damaged(r, ...) refuse(r, EXIT_INTEGRITY, -EBADMSG, __VA_ARGS__)
#define newer(r, ...)	refuse(r, EXIT_INCOMPATIBLE, -ENOTSUP, __VA_ARGS__)

/* Checks for tables. */

static bool name_first(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

const char *record_name_check(const void *text)
{
	const char *s = text;
	size_t len = strnlen(s, RECORD_NAME_MAX + 1);

	if (!len || len > RECORD_NAME_MAX || !name_first(s[0]))
		return "is no name";
	for (size_t i = 1; i < len; i++)
		if (!name_first(s[i]) && !strchr("_.-", s[i]))
			return "is no name";
	return NULL;
}

const char *record_padded_check(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	if (len == size)
		return "is a text without an end";
	if (!mem_is_zero(text + len, size - len))
		return "has bytes after the end of its text";
	return NULL;
}

/* Neither C0 nor C1: some terminals obey both. */
static bool is_control(const uint8_t *s, unsigned n)
{
	return n == 1 ? *s < 0x20 || *s == 0x7f
		      : *s == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0;
}

const char *record_text_check(const char *text, bool lines)
{
	const uint8_t *s = (const uint8_t *)text;

	while (*s) {
		unsigned n = utf8_bytes(s);

		if (n == 0)
			return "is not UTF-8";
		if (is_control(s, n) && !(lines && strchr("\n\t", *s)))
			return "has a control character";
		s += n;
	}
	return NULL;
}

/* The frame. */

void record_check_table(const struct record_desc *d)
{
	assert(d->nrows <= RECORD_MAX_ROWS);
	for (unsigned i = 0; i < d->nrows; i++) {
		const struct record_row *row = &d->rows[i];

		assert(row->tag > (i ? row[-1].tag : 0));
		assert(row->tag < TAG_AUTH && row->size > 0);
		assert(row->kind != RECORD_ITEMS || row->key <= row->size);
		assert(row->offset >= sizeof(struct record));
	}
}

static const struct record_row *find_row(const struct record_desc *d,
					 uint16_t tag)
{
	for (unsigned i = 0; i < d->nrows; i++)
		if (d->rows[i].tag == tag)
			return &d->rows[i];
	return NULL;
}

static int check_head(struct reader *r, size_t len)
{
	struct file_head h;

	if (len < sizeof(h))
		return damaged(r, "%zu bytes are too short", len);
	memcpy(&h, r->data, sizeof(h));
	if (memcmp(h.magic, r->d->magic, sizeof(h.magic)) != 0)
		return damaged(r, "this is no %s", r->d->what);
	r->at = offsetof(struct file_head, version);
	if (h.version > r->d->version)
		return newer(r, "version %u, this program reads up to %u",
			     h.version, r->d->version);
	if (h.version == 0)
		return damaged(r, "version 0");
	if (len > RECORD_MAX_BYTES)
		return damaged(r, "%zu bytes, the most is %u", len,
			       RECORD_MAX_BYTES);
	r->at = offsetof(struct file_head, bytes);
	if (h.bytes < sizeof(h) || h.bytes % 8 ||
	    !range_within(h.bytes, sizeof(struct record_head) + 8, len))
		return damaged(r, "%u bytes of records in a file of %zu",
			       h.bytes, len);
	r->end = h.bytes;
	return 0;
}

/* The scheme is judged before the length: another one may be longer. */
static int check_auth(struct reader *r, size_t len, const struct mac_key *key,
		      struct record *out)
{
	struct record_auth a = { .scheme = 0 };

	r->at = r->end;
	memcpy(&a, r->data + r->end, MIN(sizeof(a), len - r->end));
	if (a.head.tag != TAG_AUTH || a.head.flags != RECORD_CRITICAL)
		return damaged(r, "no authentication where it belongs");
	if (a.scheme > RECORD_KEYED)
		return newer(r, "authentication scheme %u is unknown",
			     a.scheme);
	if (len - r->end != sizeof(a) ||
	    a.head.bytes != sizeof(a) - sizeof(a.head) || a.zero ||
	    (a.scheme == RECORD_NOT_AUTHENTICATED &&
	     !mem_is_zero(a.mac, sizeof(a.mac))))
		return damaged(r, "misshapen authentication");
	if (key && a.scheme != RECORD_KEYED)
		return damaged(r, "is not authenticated");
	if (key && !hash_keyed_fits(a.mac, key, r->data, r->end))
		return damaged(r, "was not written by who has the key");
	out->scheme = a.scheme;
	memcpy(out->mac, a.mac, sizeof(out->mac));
	return 0;
}

static int check_id(struct reader *r)
{
	struct object_id real;

	if (!r->id)
		return 0;
	r->at = 0;
	hash_id(&real, r->data, r->end);
	return object_id_equal(&real, r->id)
		   ? 0
		   : damaged(r, "its bytes have another id");
}

static bool cut(struct reader *r, struct found *f)
{
	size_t left = r->end - r->next;

	if (left < sizeof(f->head))
		return true;
	memcpy(&f->head, r->data + r->next, sizeof(f->head));
	return align_up(f->head.bytes, 8) > left - sizeof(f->head);
}

/* The next record into *f: 1, 0 at the end, or -errno. */
static int next(struct reader *r, struct found *f)
{
	size_t padded;

	if (r->next == r->end)
		return 0;
	r->at = r->next;
	if (cut(r, f))
		return damaged(r, "a record beyond the end");
	padded = align_up(f->head.bytes, 8);
	f->value = r->data + r->next + sizeof(f->head);
	r->next += sizeof(f->head) + padded;
	if (!mem_is_zero(f->value + f->head.bytes, padded - f->head.bytes))
		return damaged(r, "the padding is not zero");
	if (f->head.flags & ~(RECORD_CRITICAL | RECORD_LIST))
		return damaged(r, "unknown flags 0x%x", f->head.flags);
	if (f->head.tag == 0 || f->head.tag == TAG_AUTH)
		return damaged(r, "tag %u has no place here", f->head.tag);
	return 1;
}

/* Compared as strings of bytes: the shorter of two that begin alike is less. */
static int compare_values(const struct found *a, const struct found *b)
{
	int c = memcmp(a->value, b->value, MIN(a->head.bytes, b->head.bytes));

	return c ? c
		 : (a->head.bytes > b->head.bytes) -
		       (a->head.bytes < b->head.bytes);
}

static int check_order(struct reader *r, const struct found *prev,
		       const struct found *f)
{
	int c;

	if (!prev->value || f->head.tag > prev->head.tag)
		return 0;
	c = f->head.tag < prev->head.tag ? -1 : compare_values(f, prev);
	if (f->head.tag == prev->head.tag &&
	    (!(f->head.flags & RECORD_LIST) ||
	     f->head.flags != prev->head.flags || c == 0))
		return damaged(r, "tag %u is there twice", f->head.tag);
	return c < 0 ? damaged(r, "tag %u is out of order", f->head.tag) : 0;
}

static int check_known(struct reader *r, const struct record_row *row,
		       const struct found *prev, const struct found *f)
{
	bool variable = row->kind == RECORD_TEXT || row->kind == RECORD_BYTES;
	uint32_t most = row->kind == RECORD_BYTES  ? row->max
			: row->kind == RECORD_TEXT ? row->size - 1
						   : row->size;
	uint32_t *n = &r->n[row - r->d->rows];

	if (f->head.flags != row_flags(row))
		return damaged(r, "%s: flags 0x%x instead of 0x%x", row->name,
			       f->head.flags, row_flags(row));
	if (f->head.bytes > most || f->head.bytes < (variable ? 1 : most))
		return damaged(r, "%s: cannot be %u bytes", row->name,
			       f->head.bytes);
	*n += row->kind == RECORD_BYTES ? f->head.bytes : 1;
	if (row->kind != RECORD_ITEMS)
		return 0;
	if (*n > row->max)
		return damaged(r, "%s: more than %u", row->name, row->max);
	if (*n > 1 && memcmp(prev->value, f->value, row->key) == 0)
		return damaged(r, "%s: one is there twice", row->name);
	return 0;
}

static int scan(struct reader *r)
{
	struct found prev = { .value = NULL }, f;
	int err;

	while ((err = next(r, &f)) > 0) {
		const struct record_row *row = find_row(r->d, f.head.tag);

		err = check_order(r, &prev, &f);
		if (!err && row)
			err = check_known(r, row, &prev, &f);
		else if (!err && f.head.flags & RECORD_CRITICAL)
			err = newer(r,
				    "tag %u is unknown: a newer version of "
				    "tintype wrote it",
				    f.head.tag);
		else
			r->unknown += (uint32_t)(r->next - r->at);
		if (err)
			return err;
		prev = f;
	}
	r->at = r->end;
	for (unsigned i = 0; !err && i < r->d->nrows; i++)
		if (r->d->rows[i].must && !r->n[i])
			return damaged(r, "%s: is missing", r->d->rows[i].name);
	return err;
}

/* Values. */

static bool make_arrays(const struct reader *r, void *obj)
{
	struct record *rec = obj;

	for (unsigned i = 0; i < r->d->nrows; i++) {
		const struct record_row *row = &r->d->rows[i];
		struct any_array *a = member(row, obj);

		if (!is_array(row) || !r->n[i])
			continue;
		a->item = calloc(r->n[i], row->size);
		if (!a->item)
			return false;
	}
	if (r->unknown)
		rec->unknown.item = malloc(r->unknown);
	return !r->unknown || rec->unknown.item;
}

/* Copies a value, then judges the copy. */
static const char *take(const struct record_row *row, void *obj,
			const struct found *f)
{
	void *at = member(row, obj);
	struct any_array *a = at;
	const char *bad = NULL;

	if (is_array(row)) {
		at = (char *)a->item + (size_t)a->n * row->size;
		a->n += f->head.bytes / row->size;
	}
	memcpy(at, f->value, f->head.bytes);
	if (row->kind == RECORD_FIXED && !row->must &&
	    mem_is_zero(at, row->size))
		return "is zero and then has no record";
	if (row->kind == RECORD_TEXT) {
		((char *)at)[f->head.bytes] = '\0';
		bad = memchr(at, '\0', f->head.bytes)
			  ? "has a NUL"
			  : record_text_check(at, row->lines);
	}
	return !bad && row->check ? row->check(at) : bad;
}

static int fill(struct reader *r, void *obj)
{
	struct record *rec = obj;
	struct found f;

	if (!make_arrays(r, obj))
		return refuse(r, EXIT_FAILED, -ENOMEM, "no memory");
	r->next = RECORD_HEAD_BYTES;
	while (next(r, &f) > 0) {
		const struct record_row *row = find_row(r->d, f.head.tag);
		const char *bad = row ? take(row, obj, &f) : NULL;

		if (bad)
			return damaged(r, "%s: %s", row->name, bad);
		if (row)
			continue;
		memcpy(rec->unknown.item + rec->unknown.n, r->data + r->at,
		       r->next - r->at);
		rec->unknown.n += (uint32_t)(r->next - r->at);
	}
	return 0;
}

int record_decode(const struct record_desc *d, void *obj, const void *data,
		  size_t len, const struct object_id *id,
		  const struct mac_key *key, struct fail *why)
{
	struct reader r = { .d = d,
			    .id = id,
			    .data = data,
			    .next = RECORD_HEAD_BYTES,
			    .why = why };
	const char *bad;
	int err;

	record_check_table(d);
	memset(obj, 0, d->size);
	err = check_head(&r, len);
	if (!err)
		err = check_auth(&r, len, key, obj);
	if (!err)
		err = check_id(&r);
	if (!err)
		err = scan(&r);
	if (!err)
		err = fill(&r, obj);
	r.at = RECORD_HEAD_BYTES;
	if (!err && d->check && (bad = d->check(obj)))
		err = damaged(&r, "%s", bad);
	if (err)
		record_free(d, obj);
	return err;
}

void record_id(struct object_id *id, const void *data, size_t len)
{
	assert(len > RECORD_AUTH_BYTES);
	hash_id(id, data, len - RECORD_AUTH_BYTES);
}

void record_free(const struct record_desc *d, void *obj)
{
	struct record *rec = obj;

	for (unsigned i = 0; i < d->nrows; i++) {
		struct any_array *a = member(&d->rows[i], obj);

		if (is_array(&d->rows[i]))
			free(a->item);
	}
	free(rec->unknown.item);
	memset(obj, 0, d->size);
}
