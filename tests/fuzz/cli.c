/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any argument vector and config file through the parser, as `run --dry-run`
 * would, opening nothing. Input: words that end with a NUL, the verb first; an
 * empty word begins the config file's text.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "util.h"
#include "verbs.h"

#define MAX_WORDS 100

/* Whatever was accepted can be printed and read again, to the same. */
static void check_config(const struct vm_config *c)
{
	json_t *first = config_to_json(c), *second;
	struct vm_config again;

	assert(first);
	config_init(&again);
	assert(config_from_json(&again, first, NULL) == 0);
	second = config_to_json(&again);
	assert(json_equal(first, second));
	json_decref(first);
	json_decref(second);
	config_free(&again);
}

static void check_fail(const struct fail *why)
{
	assert(why->code == EXIT_USAGE);
	assert(why->message[0] && why->object[0]);
}

static void run_words(int argc, char **argv, const char *text, size_t len)
{
	const struct verb_table *t = &tintype_verbs;
	const char *second = argc > 1 ? argv[1] : NULL;
	const struct noun *n = argc ? noun_find(t, argv[0]) : NULL;
	const struct verb *v = argc ? verb_find(t, argv[0], second) : NULL;
	int used = n ? 2 : 1;
	struct fail why = { .code = EXIT_OK };
	struct run_args a;
	struct options o;

	if (!v && argc >= used) {
		verb_unknown(t, argv[0], second, &why);
		check_fail(&why);
	}
	if (!v)
		return;
	if (verb_parse(v, &o, argc - used, argv + used, &why)) {
		check_fail(&why);
		return;
	}
	assert(o.noperands >= v->min && o.noperands <= v->max);
	if (strcmp(v->name, "run"))
		return;
	run_args_init(&a);
	if (run_resolve(&a, &o, text, len, &why))
		check_fail(&why);
	else
		check_config(&a.config);
	run_args_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1), *argv[MAX_WORDS], *s, *end;
	const char *text = NULL;
	int argc = 0;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	copy[size] = '\0';
	end = copy + size;
	for (s = copy; s < end && argc < MAX_WORDS; s += strlen(s) + 1) {
		if (!*s) {
			text = s + 1;
			break;
		}
		argv[argc++] = s;
	}
	/* The text is no string: it ends where the input ends. */
	run_words(argc, argv, text, text ? (size_t)(end - text) : 0);
	free(copy);
	return 0;
}
