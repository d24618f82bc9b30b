/* SPDX-License-Identifier: Apache-2.0 */
/* Names of snapshots, as users give them. */
#include "snapshot_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fileio.h"
#include "home.h"

static int no_name(const char *text, struct fail *why)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, text,
			"use VM@NAME, both 1 to 63 letters, digits, '_', '.' "
			"or '-', the first a letter or digit",
			"is no name of a snapshot");
}

int snapshot_name_parse(struct snapshot_name *n, const char *text,
			struct fail *why)
{
	const char *at = strchrnul(text, '@');
	size_t vm = (size_t)(at - text), name = *at ? strlen(at + 1) : 0;

	*n = (struct snapshot_name){ .vm = "" };
	if (vm > RECORD_NAME_MAX || name > RECORD_NAME_MAX)
		return no_name(text, why);
	memcpy(n->vm, text, vm);
	if (*at)
		memcpy(n->name, at + 1, name);
	if (record_name_check(n->vm) || (*at && record_name_check(n->name)))
		return no_name(text, why);
	return 0;
}

void snapshot_name_make_up(struct snapshot_name *n, unsigned nth)
{
	char base[48];

	home_made_up_name(base, sizeof(base), time(NULL));
	snprintf(n->name, sizeof(n->name), nth > 1 ? "%s-%u" : "%s", base, nth);
}

/* ---- by id ---- */

struct search {
	const char *prefix;
	size_t len;
	struct snapshot_name first;
	unsigned found;
	char names[160]; /* of those found, as many as fit */
};

static bool is_prefix(const char *text)
{
	size_t len = strlen(text);

	return len >= SNAPSHOT_ID_MIN && len < ID_TEXT &&
	       strspn(text, "0123456789abcdef") == len;
}

static int look_at(void *ctx, const char *vm, const char *name,
		   const struct ref *r, const struct fail *why)
{
	struct search *x = ctx;
	size_t at = strlen(x->names);
	char id[ID_TEXT];

	if (!r)
		return 0;
	object_id_text(id, &r->manifest);
	if (strncmp(id, x->prefix, x->len))
		return 0;
	if (!x->found++) {
		strcpy(x->first.vm, vm);
		strcpy(x->first.name, name);
	}
	snprintf(x->names + at, sizeof(x->names) - at, "%s%s@%s",
		 at ? ", " : "", vm, name);
	return 0;
}

static int find_by_id(struct store *s, const char *text, struct ref *r,
		      struct fail *why)
{
	struct search x = { .prefix = text, .len = strlen(text) };
	int err = store_each_ref(s, NULL, look_at, &x, why);

	if (err)
		return err;
	if (!x.found)
		return -ENOENT;
	if (x.found > 1)
		return fail_set(why, EXIT_USAGE, -EINVAL, text,
				"use a name, or more digits",
				"is the id of several: %s", x.names);
	return store_get_ref(s, x.first.vm, x.first.name, r, why);
}

/* ---- by either ---- */

static int find_none(struct store *s, const char *text, struct fail *why)
{
	char hint[sizeof(why->hint)];

	store_name_refs(s, text, hint, sizeof(hint));
	if (*hint)
		return fail_set(why, EXIT_NOT_FOUND, -ENOENT, text, hint,
				"is a VM, not one of its snapshots");
	return fail_set(why, EXIT_NOT_FOUND, -ENOENT, text,
			"see 'tintype snapshot list'", "no such snapshot");
}

int snapshot_find(struct store *s, const char *text, struct ref *r,
		  struct fail *why)
{
	struct snapshot_name n;
	int err = -ENOENT;

	if (strchr(text, '@')) {
		err = snapshot_name_parse(&n, text, why);
		return err ? err : store_get_ref(s, n.vm, n.name, r, why);
	}
	if (is_prefix(text))
		err = find_by_id(s, text, r, why);
	return err == -ENOENT ? find_none(s, text, why) : err;
}
