/* SPDX-License-Identifier: Apache-2.0 */
/* How a verb is found by its name, and its words parsed. */
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

const struct noun *noun_find(const struct verb_table *t, const char *word)
{
	for (unsigned i = 0; i < t->nnouns; i++)
		if (!strcmp(t->nouns[i].name, word))
			return &t->nouns[i];
	return NULL;
}

/* Whether a name of one or two words is what was typed. */
static bool is_typed(const char *name, const char *first, const char *second)
{
	size_t len = strcspn(name, " ");

	if (strlen(first) != len || memcmp(first, name, len))
		return false;
	return !name[len] || (second && !strcmp(second, name + len + 1));
}

const struct verb *verb_find(const struct verb_table *t, const char *first,
			     const char *second)
{
	for (unsigned i = 0; i < t->nverbs; i++) {
		const struct verb *v = &t->verbs[i];

		if (is_typed(v->name, first, second))
			return v;
		for (unsigned a = 0; a < VERB_MAX_ALIASES && v->aliases[a]; a++)
			if (is_typed(v->aliases[a], first, second))
				return v;
	}
	return NULL;
}

const char *verb_word(const struct verb *v, const struct noun *n)
{
	const char *space = strchr(v->name, ' ');

	if (!n)
		return space ? NULL : v->name;
	return space && is_typed(v->name, n->name, space + 1) ? space + 1
							      : NULL;
}

void verb_page(const struct verb *v, char page[VERB_PAGE_MAX])
{
	char *space;

	snprintf(page, VERB_PAGE_MAX, "%s", v->name);
	space = strchr(page, ' ');
	if (space)
		*space = '-';
}

/* ---- a word that names no verb ---- */

/* The words that can stand first, or after a noun. */
struct place {
	const struct verb_table *t;
	const struct noun *noun; /* NULL: first */
};

static const char *word_at(void *ctx, unsigned i)
{
	const struct place *p = ctx;
	unsigned found = 0;

	for (unsigned k = 0; k < p->t->nverbs; k++) {
		const char *word = verb_word(&p->t->verbs[k], p->noun);

		if (word && found++ == i)
			return word;
	}
	if (!p->noun && i - found < p->t->nnouns)
		return p->t->nouns[i - found].name;
	return NULL;
}

static const struct foreign_verb *foreign_verb(const struct verb_table *t,
					       const char *first,
					       const char *second)
{
	for (unsigned i = 0; i < t->nforeign; i++)
		if (is_typed(t->foreign[i].theirs, first, second))
			return &t->foreign[i];
	return NULL;
}

int verb_unknown(const struct verb_table *t, const char *first,
		 const char *second, struct fail *why)
{
	struct place p = { .t = t, .noun = noun_find(t, first) };
	const struct foreign_verb *foreign = foreign_verb(t, first, second);
	char typed[sizeof(why->object)], noun[64] = "", hint[160];
	const char *near;

	if (p.noun)
		snprintf(noun, sizeof(noun), "%s ", p.noun->name);
	snprintf(typed, sizeof(typed), "%s%s", noun, p.noun ? second : first);
	near = options_nearest(p.noun ? second : first, word_at, &p);
	if (foreign && foreign->hint)
		snprintf(hint, sizeof(hint), "%s", foreign->hint);
	else if (foreign)
		snprintf(hint, sizeof(hint), "did you mean '%s'?",
			 foreign->ours);
	else if (near)
		snprintf(hint, sizeof(hint), "did you mean '%s%s'?", noun,
			 near);
	else if (p.noun)
		snprintf(hint, sizeof(hint), "see 'tintype help %s'",
			 p.noun->name);
	else
		snprintf(hint, sizeof(hint), "see 'tintype help'");
	return fail_set(why, EXIT_USAGE, -EINVAL, typed, hint, "unknown verb");
}

/* ---- what follows the verb ---- */

struct options_table verb_options(const struct verb *v)
{
	return (struct options_table){
		.rows = v->options,
		.nrows = v->noptions,
		.keep_rest = v->rest != NULL,
		.verb = v->name,
	};
}

static int wrong_operands(const struct verb *v, struct fail *why,
			  const char *what, const char *message)
{
	char object[sizeof(why->object)], hint[64];

	snprintf(object, sizeof(object), "%s%s%s", v->name, what ? ": " : "",
		 what ? what : "");
	snprintf(hint, sizeof(hint), "see 'tintype help %s'", v->name);
	return fail_set(why, EXIT_USAGE, -EINVAL, object, hint, "%s", message);
}

/* "tintype run --vsock cid=5": an argument that may be left out is behind "=".
 */
static void hint_at_equals(const struct verb *v, int argc, char *const *argv,
			   const char *operand, struct fail *why)
{
	for (int i = 1; i < argc; i++) {
		if (argv[i] != operand || strncmp(argv[i - 1], "--", 2))
			continue;
		for (unsigned k = 0; k < v->noptions; k++) {
			if (!v->options[k].optional ||
			    strcmp(v->options[k].name, argv[i - 1] + 2))
				continue;
			snprintf(why->hint, sizeof(why->hint), "use %s=%s",
				 argv[i - 1], operand);
		}
	}
}

/* The operands without the first n. */
static const char *operands_from(const char *operands, unsigned n)
{
	for (; n && strchr(operands, ' '); n--)
		operands = strchr(operands, ' ') + 1;
	return operands;
}

int verb_parse(const struct verb *v, struct options *o, int argc,
	       char *const *argv, struct fail *why)
{
	struct options_table t = verb_options(v);
	int err = options_parse(o, &t, argc, argv, why);
	char message[96];

	if (err)
		return err;
	if (o->noperands > v->max) {
		err = wrong_operands(v, why, o->operand[v->max],
				     "one operand too many");
		hint_at_equals(v, argc, argv, o->operand[v->max], why);
		return err;
	}
	if (o->noperands >= v->min)
		return 0;
	snprintf(message, sizeof(message), "operand missing: %s",
		 operands_from(v->operands, o->noperands));
	return wrong_operands(v, why, NULL, message);
}
