/* SPDX-License-Identifier: Apache-2.0 */
/* What every state table gets for nothing: check, print, compare. */
#include "state.h"

#include <errno.h>
#include <inttypes.h>
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

size_t state_print(const struct state_desc *d, const void *st, char *buf,
		   size_t len)
{
	size_t at = 0;

	if (len)
		buf[0] = 0;
	for (unsigned i = 0; i < d->nfields; i++) {
		const struct state_field *f = &d->fields[i];

		for (unsigned j = 0; j < f->count; j++) {
			char idx[16] = "";
			int n;

			if (f->count > 1)
				snprintf(idx, sizeof(idx), "[%u]", j);
			n = snprintf(at < len ? buf + at : NULL,
				     at < len ? len - at : 0,
				     "%s%s=0x%" PRIx64 "\n", f->name, idx,
				     state_get(f, st, j));
			at += (size_t)MAX(n, 0);
		}
	}
	return at;
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
