/* SPDX-License-Identifier: Apache-2.0 */
/* How a verb is found by its name, and its words parsed. */
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

const struct verb *verb_find(const struct verb_table *t, const char *name)
{
	for (unsigned i = 0; i < t->nverbs; i++) {
		const struct verb *v = &t->verbs[i];

		if (!strcmp(v->name, name))
			return v;
		for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
			if (!strcmp(v->aliases[a], name))
				return v;
	}
	return NULL;
}

struct options_table verb_options(const struct verb *v)
{
	return (struct options_table){
		.rows = v->options,
		.nrows = v->noptions,
		.keep_rest = v->rest != NULL,
		.verb = v->name,
	};
}

static int wrong_operands(const struct verb *v, const char *what,
			  struct fail *why)
{
	char object[sizeof(why->object)], hint[64];

	if (what)
		snprintf(object, sizeof(object), "%s: %s", v->name, what);
	else
		snprintf(object, sizeof(object), "%s", v->name);
	snprintf(hint, sizeof(hint), "see 'tintype help %s'", v->name);
	return fail_set(why, EXIT_USAGE, -EINVAL, object, hint, "%s%s",
			what ? "one operand too many" : "operand missing: ",
			what ? "" : v->operands);
}

int verb_parse(const struct verb *v, struct options *o, int argc,
	       char *const *argv, struct fail *why)
{
	struct options_table t = verb_options(v);
	int err = options_parse(o, &t, argc, argv, why);

	if (err)
		return err;
	if (o->noperands > v->max)
		return wrong_operands(v, o->operand[v->max], why);
	if (o->noperands < v->min)
		return wrong_operands(v, NULL, why);
	return 0;
}
