/* SPDX-License-Identifier: Apache-2.0 */
/* What every state table gets for nothing: check, print, compare. */
#include "state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

int state_check(const struct state_desc *d)
{
	size_t end = 0;

	for (unsigned i = 0; i < d->nfields; i++) {
		const struct state_field *f = &d->fields[i];

		if (f->offset != end || f->count == 0 || f->since == 0 ||
		    f->since > d->version)
			return -EINVAL;
		end += (size_t)f->count * f->size;
	}
	return end == d->size ? 0 : -EINVAL;
}

uint64_t state_get(const struct state_field *f, const void *st, unsigned i)
{
	const uint8_t *p =
	    (const uint8_t *)st + f->offset + (size_t)i * f->size;
	uint64_t v = 0;

	memcpy(&v, p, f->size); /* little-endian, as the host always is */
	return v;
}

struct text {
	char *buf;
	size_t len, at; /* `at` goes on counting when the buffer is full */
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t,
						      const char *fmt, ...)
{
	bool room = t->at < t->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(room ? t->buf + t->at : NULL, room ? t->len - t->at : 0,
		      fmt, ap);
	va_end(ap);
	t->at += (size_t)MAX(n, 0);
}

/* An array is one row: bytes as hex digits, wider elements with commas. */
static void print_field(struct text *t, const struct state_field *f,
			const void *st)
{
	put(t, "%s=", f->name);
	if (f->size == 1 && f->count > 1) {
		for (unsigned i = 0; i < f->count; i++)
			put(t, "%02" PRIx64, state_get(f, st, i));
	} else {
		for (unsigned i = 0; i < f->count; i++)
			put(t, "%s0x%" PRIx64, i ? "," : "",
			    state_get(f, st, i));
	}
	put(t, "\n");
}

size_t state_print(const struct state_desc *d, const void *st, char *buf,
		   size_t len)
{
	struct text t = { buf, len, 0 };

	if (len)
		buf[0] = 0;
	for (unsigned i = 0; i < d->nfields; i++)
		print_field(&t, &d->fields[i], st);
	return t.at;
}

unsigned state_diff(const struct state_desc *d, const void *a, const void *b,
		    void (*fn)(void *ctx, const struct state_field *f,
			       unsigned i, uint64_t a, uint64_t b),
		    void *ctx)
{
	unsigned found = 0;

	for (unsigned i = 0; i < d->nfields; i++) {
		const struct state_field *f = &d->fields[i];

		for (unsigned j = 0; j < f->count; j++) {
			uint64_t va = state_get(f, a, j);
			uint64_t vb = state_get(f, b, j);

			if (va == vb)
				continue;
			found++;
			if (fn)
				fn(ctx, f, j, va, vb);
		}
	}
	return found;
}
