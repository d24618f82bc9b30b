/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON document as text for people: what `inspect` and the like print. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli.h"

void cli_age_text(char buf[CLI_AGE_TEXT], json_int_t ns)
{
	json_int_t s = ns / 1000000000;

	if (s < 60)
		snprintf(buf, CLI_AGE_TEXT, "%" JSON_INTEGER_FORMAT "s", s);
	else if (s < 3600)
		snprintf(buf, CLI_AGE_TEXT, "%dm%02ds", (int)(s / 60),
			 (int)(s % 60));
	else if (s < 86400)
		snprintf(buf, CLI_AGE_TEXT, "%dh%02dm", (int)(s / 3600),
			 (int)(s / 60 % 60));
	else
		snprintf(buf, CLI_AGE_TEXT, "%dd%02dh",
			 (int)(s / 86400 % 1000000), (int)(s / 3600 % 24));
}

/* Several lines become one; nothing of it steers the terminal. */
static void print_text(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s);
	putchar('\n');
}

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

/* Bytes, times and dates as people say them; --json has the numbers. */
static bool print_quantity(const char *key, json_int_t n)
{
	char text[CLI_AGE_TEXT];
	time_t date = (time_t)n;
	struct tm tm;

	if (!strcmp(key, "memory")) {
		cli_size_text(text, (uint64_t)n);
		printf("%s\n", text);
	} else if (ends_in(key, "bytes") && n >= 1024) {
		cli_size_text(text, (uint64_t)n);
		printf("%" JSON_INTEGER_FORMAT " (%s)\n", n, text);
	} else if (!strcmp(key, "uptime_ns")) {
		cli_age_text(text, n);
		printf("%s\n", text);
	} else if (!strcmp(key, "started") && gmtime_r(&date, &tm)) {
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
		printf("%s\n", text);
	} else {
		return false;
	}
	return true;
}

static void print_value(const char *key, const json_t *v)
{
	if (json_is_string(v))
		print_text(json_string_value(v));
	else if (json_is_integer(v) &&
		 print_quantity(key, json_integer_value(v)))
		;
	else if (json_is_integer(v))
		printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(v));
	else
		printf("%s\n", json_is_true(v) ? "yes" : "no");
}

/* What says nothing: the message of a good end, a list without items, the
 * counters of a device that has none, a time that is not set. */
static bool is_empty(const json_t *v)
{
	return json_is_null(v) ||
	       (json_is_string(v) && !json_string_length(v)) ||
	       (json_is_array(v) && !json_array_size(v)) ||
	       (json_is_object(v) && !json_object_size(v));
}

static void print_tree(const json_t *doc, int depth);

static void print_items(const char *key, const json_t *list, int depth)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		printf("%*s-", depth * 2, "");
		if (json_is_object(item)) {
			printf("\n");
			print_tree(item, depth + 1);
		} else {
			printf(" ");
			print_value(key, item);
		}
	}
}

/* "name: value" rows; what is inside is indented below its name. */
static void print_tree(const json_t *doc, int depth)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)doc, key, value)
	{
		if (is_empty(value))
			continue;
		printf("%*s%s:", depth * 2, "",
		       strcmp(key, "uptime_ns") ? key : "uptime");
		if (json_is_object(value)) {
			printf("\n");
			print_tree(value, depth + 1);
		} else if (!json_is_array(value)) {
			printf(" ");
			print_value(key, value);
		} else {
			printf("\n");
			print_items(key, value, depth + 1);
		}
	}
}

void cli_print_tree(const json_t *doc)
{
	print_tree(doc, 0);
}
