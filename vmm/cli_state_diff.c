/* SPDX-License-Identifier: Apache-2.0 */
/* Both files are read into lists of fields; those of one name are compared. */
#include "cli_state_diff.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "state_file.h"
#include "util.h"

struct fields {
	struct state_value *v;
	size_t n, room;
	size_t next; /* where the next one is probably found */
};

static int add_field(void *ctx, const struct state_value *v)
{
	struct fields *f = ctx;

	if (array_reserve(&f->v, &f->room, f->n + 1, sizeof(*v)))
		return -ENOMEM;
	f->v[f->n++] = *v;
	return 0;
}

static int read_fields(struct fields *f, const struct state_bytes *from,
		       struct fail *why)
{
	return state_file_each(from->data, from->len, add_field, f, why);
}

static bool same_name(const struct state_value *x, const struct state_value *y)
{
	return !strcmp(x->field, y->field) &&
	       !strcmp(x->instance, y->instance) &&
	       !strcmp(x->section, y->section);
}

/* Both have them in the same order, mostly. */
static const struct state_value *find(struct fields *f,
				      const struct state_value *like)
{
	for (size_t i = 0; i < f->n; i++) {
		size_t at = (f->next + i) % f->n;

		if (same_name(&f->v[at], like)) {
			f->next = (at + 1) % f->n;
			return &f->v[at];
		}
	}
	return NULL;
}

static json_t *number(const struct state_value *v, unsigned i)
{
	if (!v)
		return json_null();
	return json_sprintf("0x%" PRIx64,
			    i < v->count ? state_value_at(v, i) : 0);
}

static int tell(json_t *list, const struct state_value *a,
		const struct state_value *b, unsigned i, bool array)
{
	const struct state_value *v = a ? a : b;
	json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:o}", "section",
			      v->section, "instance", v->instance, "field",
			      v->field, "a", number(a, i), "b", number(b, i));

	if (o && array)
		json_object_set_new(o, "index", json_integer(i));
	return json_array_append_new(list, o) ? -ENOMEM : 0;
}

/* One of them may be NULL. */
static int compare(json_t *list, const struct state_value *a,
		   const struct state_value *b)
{
	unsigned n = MAX(a ? a->count : 0, b ? b->count : 0);
	int err = 0;

	for (unsigned i = 0; i < n && !err; i++) {
		uint64_t x = a && i < a->count ? state_value_at(a, i) : 0;
		uint64_t y = b && i < b->count ? state_value_at(b, i) : 0;

		if (x != y || !a || !b)
			err = tell(list, a, b, i, n > 1);
	}
	return err;
}

static int compare_all(json_t *list, struct fields *a, struct fields *b)
{
	int err = 0;

	for (size_t i = 0; i < a->n && !err; i++)
		err = compare(list, &a->v[i], find(b, &a->v[i]));
	for (size_t i = 0; i < b->n && !err; i++)
		if (!find(a, &b->v[i]))
			err = compare(list, NULL, &b->v[i]);
	return err;
}

int cli_state_diff(json_t *list, const struct state_bytes *a,
		   const struct state_bytes *b, struct fail *why)
{
	struct fields x = { .v = NULL }, y = { .v = NULL };
	int err = read_fields(&x, a, why);

	if (!err)
		err = read_fields(&y, b, why);
	if (!err)
		err = compare_all(list, &x, &y);
	free(x.v);
	free(y.v);
	return err;
}
