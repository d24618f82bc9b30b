/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   file      "ttstate\n", version (4), sections (4), bytes of all (8)
 *   section   bytes of it (4), version (2), lengths of two names (1, 1), names,
 *             fields
 *   field     length of name (1), size (1), count (2), name, values
 */
#include "state_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define MAGIC	      "ttstate\n"
#define HEADER_BYTES  24
#define SECTION_BYTES 8
#define FIELD_BYTES   4

/* ---- out ---- */

static void put(struct state_writer *w, const void *p, size_t n)
{
	if (w->failed || n > STATE_FILE_MAX - w->len) {
		w->failed = true;
		return;
	}
	if (w->len + n > w->room) {
		size_t room = MAX(2 * w->room, w->len + n + KIB(4));
		uint8_t *more = realloc(w->data, room);

		if (!more) {
			w->failed = true;
			return;
		}
		w->data = more;
		w->room = room;
	}
	if (n)
		memcpy(w->data + w->len, p, n);
	w->len += n;
}

static void put_number(struct state_writer *w, uint64_t v, unsigned bytes)
{
	put(w, &v, bytes); /* little-endian, as the host always is */
}

static bool is_zero(const uint8_t *p, size_t n)
{
	while (n && !*p)
		p++, n--;
	return n == 0;
}

/* An array's zeroes at its end are left out. */
static unsigned stored_count(const struct state_field *f, const void *st)
{
	const uint8_t *p = (const uint8_t *)st + f->offset;
	unsigned n = f->count;

	if (n == 1)
		return 1;
	while (n && is_zero(p + (size_t)(n - 1) * f->size, f->size))
		n--;
	return n;
}

static void put_field(struct state_writer *w, const struct state_field *f,
		      const void *st)
{
	size_t name = strlen(f->name);
	unsigned count = stored_count(f, st);

	put_number(w, name, 1);
	put_number(w, f->size, 1);
	put_number(w, count, 2);
	put(w, f->name, name);
	put(w, (const uint8_t *)st + f->offset, (size_t)count * f->size);
}

void state_writer_put(struct state_writer *w, const struct state_desc *d,
		      const char *instance, const void *st)
{
	size_t name = strlen(d->name), which = strlen(instance), begin;
	uint32_t bytes;

	if (!w->len) {
		static const uint8_t header[HEADER_BYTES];

		put(w, header, sizeof(header));
	}
	begin = w->len;
	put_number(w, 0, 4);
	put_number(w, d->version, 2);
	put_number(w, name, 1);
	put_number(w, which, 1);
	put(w, d->name, name);
	put(w, instance, which);
	for (unsigned i = 0; i < d->nfields; i++)
		put_field(w, &d->fields[i], st);
	if (w->failed)
		return;
	bytes = (uint32_t)(w->len - begin);
	memcpy(w->data + begin, &bytes, sizeof(bytes));
	w->sections++;
}

int state_writer_end(struct state_writer *w, uint8_t **data, size_t *len)
{
	uint32_t head[2] = { STATE_FILE_VERSION, w->sections };
	uint64_t bytes = w->len;
	int r = w->len ? 0 : -ENOMEM;

	if (w->failed)
		r = w->len > STATE_FILE_MAX / 2 ? -E2BIG : -ENOMEM;
	if (r == 0) {
		memcpy(w->data, MAGIC, 8);
		memcpy(w->data + 8, head, sizeof(head));
		memcpy(w->data + 16, &bytes, sizeof(bytes));
		*data = w->data;
		*len = w->len;
	} else {
		free(w->data);
	}
	*w = (struct state_writer){ 0 };
	return r;
}

/* ---- in ---- */

static uint64_t number_at(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	memcpy(&v, p, bytes);
	return v;
}

static int damaged(size_t at, struct fail *why, const char *what)
{
	return fail_set(why, EXIT_INTEGRITY, -EBADMSG, "state", NULL,
			"damaged at byte %zu: %s", at, what);
}

/* A name in the file: 1 to STATE_NAME_MAX printable bytes without a space. */
static bool take_name(char name[STATE_NAME_MAX + 1], const uint8_t *p, size_t n)
{
	if (n == 0 || n > STATE_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (p[i] <= ' ' || p[i] > '~')
			return false;
	memcpy(name, p, n);
	name[n] = '\0';
	return true;
}

struct section {
	char name[STATE_NAME_MAX + 1], instance[STATE_NAME_MAX + 1];
	uint32_t version;
	size_t at, end; /* of its fields */
};

/* The section at `at`, of a file that ends at `len`. */
static int section_at(const uint8_t *data, size_t len, size_t at,
		      struct section *s, struct fail *why)
{
	const uint8_t *p = data + at;
	size_t bytes, name, which;

	if (len - at < SECTION_BYTES)
		return damaged(at, why, "a section is cut off");
	bytes = number_at(p, 4);
	s->version = (uint32_t)number_at(p + 4, 2);
	name = p[6];
	which = p[7];
	if (bytes > len - at || bytes < SECTION_BYTES + name + which)
		return damaged(at, why, "a section's length is wrong");
	if (!take_name(s->name, p + SECTION_BYTES, name) ||
	    !take_name(s->instance, p + SECTION_BYTES + name, which))
		return damaged(at, why, "a section's name is none");
	if (s->version == 0)
		return damaged(at + 4, why, "a section's version is none");
	s->at = at + SECTION_BYTES + name + which;
	s->end = at + bytes;
	return 0;
}

static int field_at(const uint8_t *data, const struct section *s, size_t at,
		    struct state_value *v, struct fail *why)
{
	const uint8_t *p = data + at;
	size_t name, left = s->end - at;

	if (left < FIELD_BYTES)
		return damaged(at, why, "a field is cut off");
	name = p[0];
	v->size = p[1];
	v->count = (unsigned)number_at(p + 2, 2);
	left -= FIELD_BYTES;
	if (v->size != 1 && v->size != 2 && v->size != 4 && v->size != 8)
		return damaged(at, why, "a field's size is none");
	if (name > left || (size_t)v->count * v->size > left - name)
		return damaged(at, why, "a field's length is wrong");
	if (!take_name(v->field, p + FIELD_BYTES, name))
		return damaged(at, why, "a field's name is none");
	v->data = p + FIELD_BYTES + name;
	return 0;
}

static size_t field_end(const uint8_t *data, const struct state_value *v)
{
	return (size_t)(v->data - data) + (size_t)v->count * v->size;
}

size_t state_file_length(const void *data, size_t len)
{
	if (len < HEADER_BYTES)
		return len;
	return (size_t)MIN(number_at((const uint8_t *)data + 16, 8),
			   (uint64_t)len);
}

int state_reader_init(struct state_reader *r, const void *data, size_t len,
		      struct fail *why)
{
	const uint8_t *p = data;
	uint64_t version;
	struct section s = { .end = HEADER_BYTES };

	if (len < HEADER_BYTES || memcmp(p, MAGIC, 8))
		return damaged(0, why, "it is no state");
	version = number_at(p + 8, 4);
	if (version > STATE_FILE_VERSION)
		return fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, "state",
				"use the tintype that took it, or a newer one",
				"its format is version %u, this tintype reads "
				"up to %u",
				(unsigned)version, STATE_FILE_VERSION);
	if (version == 0 || number_at(p + 16, 8) != len || len > STATE_FILE_MAX)
		return damaged(8, why, "its length is wrong");
	*r = (struct state_reader){ .data = data,
				    .len = len,
				    .at = HEADER_BYTES,
				    .left = (uint32_t)number_at(p + 12, 4) };
	for (uint32_t i = 0; i < r->left; i++) {
		int err = section_at(p, len, s.end, &s, why);

		if (err)
			return err;
	}
	return s.end == len ? 0 : damaged(s.end, why, "it goes on");
}

/* The next field is to be `f`. */
static int get_field(const struct state_reader *r, const struct section *s,
		     size_t *at, const struct state_field *f, void *st,
		     struct fail *why)
{
	uint8_t *to = (uint8_t *)st + f->offset;
	struct state_value v;
	size_t bytes;
	int err = field_at(r->data, s, *at, &v, why);

	if (err)
		return err;
	if (strcmp(v.field, f->name))
		return fail_set(why, EXIT_INTEGRITY, -EBADMSG, "state", NULL,
				"damaged at byte %zu: %s.%s instead of %s", *at,
				s->name, v.field, f->name);
	bytes = (size_t)v.count * v.size;
	if (v.size != f->size || v.count > f->count ||
	    (f->count == 1 && v.count != 1))
		return damaged(*at, why, "a field has another shape");
	if (f->count > 1 && v.count && is_zero(v.data + bytes - v.size, v.size))
		return damaged(*at, why, "an array ends in zero");
	memcpy(to, v.data, bytes);
	memset(to + bytes, 0, (size_t)f->count * f->size - bytes);
	*at = field_end(r->data, &v);
	return 0;
}

int state_reader_get(struct state_reader *r, const struct state_desc *d,
		     const char *instance, void *st, struct fail *why)
{
	struct section s;
	size_t at;
	int err;

	if (!r->left)
		return fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, "state", NULL,
				"it has no %s %s", d->name, instance);
	err = section_at(r->data, r->len, r->at, &s, why);
	if (err)
		return err;
	if (strcmp(s.name, d->name) || strcmp(s.instance, instance))
		return fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, "state",
				"give the machine the devices that it had",
				"it has %s %s where this machine has %s %s",
				s.name, s.instance, d->name, instance);
	if (s.version > d->version)
		return fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, "state",
				"use the tintype that took it, or a newer one",
				"%s %s is version %u, this tintype reads up to "
				"%u",
				s.name, s.instance, s.version, d->version);
	at = s.at;
	for (unsigned i = 0; i < d->nfields && !err; i++)
		if (d->fields[i].since <= s.version)
			err = get_field(r, &s, &at, &d->fields[i], st, why);
	if (!err && at != s.end)
		err = damaged(at, why, "a section goes on");
	r->at = s.end;
	r->left--;
	return err;
}

int state_reader_end(struct state_reader *r, struct fail *why)
{
	struct section s;
	int err;

	if (!r->left)
		return 0;
	err = section_at(r->data, r->len, r->at, &s, why);
	return err ? err
		   : fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, "state",
			      "give the machine the devices that it had",
			      "it has %s %s, this machine has none", s.name,
			      s.instance);
}

/* ---- any file ---- */

uint64_t state_value_at(const struct state_value *v, unsigned i)
{
	return number_at(v->data + (size_t)i * v->size, v->size);
}

static int each_field(const uint8_t *data, const struct section *s,
		      int (*fn)(void *ctx, const struct state_value *v),
		      void *ctx, struct fail *why)
{
	struct state_value v;
	int r = 0;

	memcpy(v.section, s->name, sizeof(v.section));
	memcpy(v.instance, s->instance, sizeof(v.instance));
	for (size_t at = s->at; at < s->end && !r;) {
		r = field_at(data, s, at, &v, why);
		if (r)
			break;
		at = field_end(data, &v);
		r = fn(ctx, &v);
	}
	return r;
}

int state_file_each(const void *data, size_t len,
		    int (*fn)(void *ctx, const struct state_value *v),
		    void *ctx, struct fail *why)
{
	struct state_reader reader = { 0 };
	struct section s = { .end = HEADER_BYTES };
	int r = state_reader_init(&reader, data, len, why);

	for (uint32_t i = 0; i < reader.left && !r; i++) {
		r = section_at(data, len, s.end, &s, why);
		if (!r)
			r = each_field(data, &s, fn, ctx, why);
	}
	return r;
}
