/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option parser: one pass over the vector, one small function a kind of
 * word, every refusal with the words that the user typed.
 */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

/* Words longer than this are not compared for likeness. */
#define NEAREST_MAX_LETTERS 32

struct parser {
	struct options *o;
	const struct options_table *t;
	int argc, at; /* `at` is the next word to read */
	char *const *argv;
	struct fail *why;
};

static int usage(struct parser *p, const char *option, const char *hint,
		 const char *message)
{
	char object[sizeof(p->why->object)];

	snprintf(object, sizeof(object), "%s: %s", p->t->verb, option);
	return fail_set(p->why, EXIT_USAGE, -EINVAL, object, hint, "%s",
			message);
}

static const char *row_name(void *ctx, unsigned i)
{
	const struct options_table *t = ctx;

	return i < t->nrows ? t->rows[i].name : NULL;
}

static int unknown(struct parser *p, const char *word, const char *name)
{
	const char *near = options_nearest(name, row_name, (void *)p->t);
	char hint[sizeof(p->why->hint)];

	if (near)
		snprintf(hint, sizeof(hint), "did you mean --%s?", near);
	else
		snprintf(hint, sizeof(hint), "see 'tintype help %s'",
			 p->t->verb);
	return usage(p, word, hint, "unknown option");
}

static int add_use(struct parser *p, const struct option_row *row,
		   const char *value)
{
	struct options *o = p->o;
	char shown[64];

	snprintf(shown, sizeof(shown), "--%s", row->name);
	if (row->argument && !row->repeatable && options_has(o, row->name))
		return usage(p, shown, "give it once", "given twice");
	if (o->nuses == ARRAY_SIZE(o->use))
		return usage(p, shown, "use --config for long lists",
			     "too many options");
	o->use[o->nuses].row = row;
	o->use[o->nuses++].value = value;
	return 0;
}

/* The word after an option that wants an argument. */
static int take_argument(struct parser *p, const struct option_row *row,
			 const char **value)
{
	char shown[64], hint[96];

	if (p->at < p->argc) {
		*value = p->argv[p->at++];
		return 0;
	}
	snprintf(shown, sizeof(shown), "--%s", row->name);
	snprintf(hint, sizeof(hint), "use --%s %s", row->name, row->argument);
	return usage(p, shown, hint, "its argument is missing");
}

static const struct option_row *row_by_name(const struct options_table *t,
					    const char *name, size_t len)
{
	for (unsigned i = 0; i < t->nrows; i++)
		if (!strncmp(t->rows[i].name, name, len) &&
		    !t->rows[i].name[len])
			return &t->rows[i];
	return NULL;
}

static int parse_long(struct parser *p, const char *word)
{
	const char *name = word + 2, *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct option_row *row = row_by_name(p->t, name, len);
	const char *value = equals ? equals + 1 : NULL;
	char shown[NEAREST_MAX_LETTERS + 1];
	int err;

	if (!row) {
		snprintf(shown, sizeof(shown), "%.*s",
			 (int)MIN(len, sizeof(shown)), name);
		return unknown(p, word, shown);
	}
	if (!row->argument && value)
		return usage(p, word, "give it without a value",
			     "takes no argument");
	if (row->argument && !value && !row->optional) {
		err = take_argument(p, row, &value);
		if (err)
			return err;
	}
	return add_use(p, row, value);
}

static const struct option_row *row_by_letter(const struct options_table *t,
					      char letter)
{
	for (unsigned i = 0; i < t->nrows; i++)
		if (t->rows[i].letter && t->rows[i].letter == letter)
			return &t->rows[i];
	return NULL;
}

/* -x, -xVALUE, -x VALUE, or several flags in one word. */
static int parse_letters(struct parser *p, const char *word)
{
	for (const char *c = word + 1; *c; c++) {
		const struct option_row *row = row_by_letter(p->t, *c);
		const char *value = NULL;
		int err;

		if (!row)
			return unknown(p, word, "");
		if (row->argument && c[1])
			value = c + 1;
		else if (row->argument && !row->optional &&
			 (err = take_argument(p, row, &value)))
			return err;
		err = add_use(p, row, value);
		if (err || value)
			return err;
	}
	return 0;
}

static int add_operand(struct parser *p, const char *word)
{
	struct options *o = p->o;

	if (o->noperands == ARRAY_SIZE(o->operand))
		return usage(p, word, NULL, "too many operands");
	o->operand[o->noperands++] = word;
	return 0;
}

static int parse_word(struct parser *p, const char *word)
{
	if (word[0] != '-' || !word[1])
		return add_operand(p, word);
	if (word[1] == '-')
		return parse_long(p, word);
	return parse_letters(p, word);
}

int options_parse(struct options *o, const struct options_table *t, int argc,
		  char *const *argv, struct fail *why)
{
	struct parser p = {
		.o = o, .t = t, .argc = argc, .argv = argv, .why = why
	};
	int err = 0;

	o->nuses = o->noperands = o->nrest = 0;
	o->rest = NULL;
	o->has_rest = false;
	while (!err && p.at < argc) {
		const char *word = argv[p.at++];

		if (strcmp(word, "--")) {
			err = parse_word(&p, word);
			continue;
		}
		o->has_rest = true;
		if (t->keep_rest) {
			o->rest = argv + p.at;
			o->nrest = (unsigned)(argc - p.at);
			return 0;
		}
		while (!err && p.at < argc)
			err = add_operand(&p, argv[p.at++]);
	}
	return err;
}

int options_apply(const struct options *o, const struct options_table *t,
		  void *into, struct fail *why)
{
	for (unsigned i = 0; i < o->nuses; i++) {
		const struct option_use *u = &o->use[i];
		int err;

		if (!u->row->set)
			continue;
		err = u->row->set(into, u->value, why);
		if (err) {
			fail_about(why, "%s: --%s%s%s", t->verb, u->row->name,
				   u->value ? " " : "",
				   u->value ? u->value : "");
			return err;
		}
	}
	return 0;
}

const struct option_use *options_find(const struct options *o, const char *name)
{
	for (unsigned i = o->nuses; i > 0; i--)
		if (!strcmp(o->use[i - 1].row->name, name))
			return &o->use[i - 1];
	return NULL;
}

bool options_has(const struct options *o, const char *name)
{
	return options_find(o, name) != NULL;
}

/* Damerau's distance between two short words (optimal string alignment). */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned d[NEAREST_MAX_LETTERS + 1][NEAREST_MAX_LETTERS + 1];

	for (size_t i = 0; i <= na; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= nb; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++)
		for (size_t j = 1; j <= nb; j++) {
			unsigned cost = a[i - 1] != b[j - 1];

			d[i][j] = MIN(MIN(d[i - 1][j], d[i][j - 1]) + 1,
				      d[i - 1][j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				d[i][j] = MIN(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[na][nb];
}

const char *options_nearest(const char *given,
			    const char *(*word)(void *ctx, unsigned i),
			    void *ctx)
{
	size_t len = strlen(given);
	const char *best = NULL, *w;
	/* At most two letters, and less than half of a short word. */
	unsigned best_distance = (unsigned)MIN(len / 2, 2) + 1;

	if (len > NEAREST_MAX_LETTERS)
		return NULL;
	for (unsigned i = 0; (w = word(ctx, i)); i++) {
		size_t wlen = strlen(w);
		unsigned d;

		if (wlen > NEAREST_MAX_LETTERS)
			continue;
		d = distance(given, len, w, wlen);
		if (d < best_distance) {
			best_distance = d;
			best = w;
		}
	}
	return best;
}
