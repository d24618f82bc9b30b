/* SPDX-License-Identifier: Apache-2.0 */
/* `balloon`: how much RAM a guest keeps, and shall keep. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "util.h"

/* How long a guest may take to tell its statistics before the old ones are
 * shown, and how often it is looked. */
#define STATS_TRIES 50
#define STATS_NS    10000000

static int bad_size(const char *value, const char *reason, struct fail *why)
{
	char object[sizeof(why->object)];

	snprintf(object, sizeof(object), "balloon: --target %s", value);
	return fail_set(why, EXIT_USAGE, -EINVAL, object, "use e.g. 256M", "%s",
			reason);
}

/* The words of the first request. NULL with `why`. */
static json_t *request(const struct options *o, struct fail *why)
{
	const struct option_use *u = options_find(o, "target");
	uint64_t bytes = 0;
	json_t *args;

	if (u && config_parse_size(u->value, &bytes)) {
		bad_size(u->value, "not a size", why);
		return NULL;
	}
	if (u && (!bytes || bytes > CONFIG_MAX_MEMORY)) {
		bad_size(u->value, "out of range", why);
		return NULL;
	}
	args = json_pack("{s:b}", "ask", 1);
	if (args && u)
		json_object_set_new(args, "target",
				    json_integer((json_int_t)bytes));
	if (!args)
		fail_set(why, EXIT_FAILED, -ENOMEM, "balloon", NULL,
			 "out of memory");
	return args;
}

static json_int_t number(const json_t *doc, const char *key)
{
	return json_integer_value(json_object_get(doc, key));
}

/* The guest was asked: what it answers, or what there is when it is slow. */
static int wait_answer(const struct vm_dir *d, json_t **doc, struct fail *why)
{
	const struct timespec pause = { .tv_nsec = STATS_NS };
	json_int_t before = number(*doc, "updates");

	if (!json_is_true(json_object_get(*doc, "asked")))
		return 0;
	for (unsigned i = 0; i < STATS_TRIES; i++) {
		json_t *now = NULL;
		int err;

		nanosleep(&pause, NULL);
		err = cli_call_args(d, "balloon", NULL, &now, why);
		if (err)
			return err;
		json_decref(*doc);
		*doc = now;
		if (number(now, "updates") != before)
			break;
	}
	return 0;
}

static void print_size(const char *name, json_int_t bytes)
{
	char text[CLI_SIZE_TEXT];

	cli_size_text(text, (uint64_t)MAX(bytes, (json_int_t)0));
	printf("%s: %s\n", name, text);
}

/* Statistics that are bytes; all others are counts. */
static bool is_size(const char *name)
{
	static const char *const sizes[] = { "free",	  "total",
					     "available", "disk_caches",
					     "swap_in",	  "swap_out" };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		if (!strcmp(name, sizes[i]))
			return true;
	return false;
}

static void print_text(json_t *doc)
{
	static const char *const rows[] = { "memory", "target", "actual" };
	json_t *value;
	const char *name;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		print_size(rows[i], number(doc, rows[i]));
	json_object_foreach(json_object_get(doc, "statistics"), name, value)
	{
		char line[128];

		if (is_size(name)) {
			snprintf(line, sizeof(line), "  %s", name);
			cli_clean(line);
			print_size(line, json_integer_value(value));
			continue;
		}
		snprintf(line, sizeof(line), "  %s: %lld", name,
			 (long long)json_integer_value(value));
		cli_print_line(line);
	}
}

/* For people: how it is done is no concern of theirs. */
static int show(const struct options *o, json_t *doc, struct fail *why)
{
	if (options_has(o, "json")) {
		json_object_del(doc, "asked");
		json_object_del(doc, "updates");
		return cli_print_json(doc, why);
	}
	print_text(doc);
	json_decref(doc);
	return cli_flush(EXIT_OK, why);
}

int cli_balloon(const struct options *o, struct fail *why)
{
	struct vm_dir d = VM_DIR_NONE;
	json_t *args = request(o, why), *doc = NULL;
	int err;

	if (!args)
		return (int)why->code;
	err = cli_find_vm(o->operand[0], &d, why);
	if (!err)
		err = cli_call_args(&d, "balloon", args, &doc, why);
	json_decref(args);
	if (!err)
		err = wait_answer(&d, &doc, why);
	vm_dir_close(&d);
	if (err) {
		json_decref(doc);
		return (int)why->code;
	}
	return show(o, doc, why);
}
