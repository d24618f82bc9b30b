/* SPDX-License-Identifier: Apache-2.0 */
/* `ps` and `inspect`: how VMs are, as a table, as text, as JSON. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "util.h"

/* ---- ps ---- */

static json_int_t number(const struct vm_view *v, const char *key)
{
	const json_t *n = json_object_get(v->status, key);

	return json_integer_value(n ? n : json_object_get(v->config, key));
}

static json_t *view_json(const struct vm_view *v)
{
	json_t *doc = json_pack("{s:s, s:s, s:I, s:I}", "name", v->name,
				"state", v->state, "cpus", number(v, "cpus"),
				"memory", number(v, "memory"));
	static const char *const live[] = { "pid", "uptime_ns", "ready" };
	static const char *const dead[] = { "code", "reason", "message" };

	for (unsigned i = 0; doc && i < 3; i++) {
		const char *key = v->alive ? live[i] : dead[i];
		json_t *value = json_object_get(v->status, key);

		if (value)
			json_object_set(doc, key, value);
	}
	return doc;
}

/* `exit_code`: with a column for it. */
static void print_row(const struct vm_view *v, bool exit_code)
{
	char memory[CLI_SIZE_TEXT], age[CLI_AGE_TEXT] = "-", pid[16] = "-";
	const json_t *code = json_object_get(v->status, "code");

	cli_size_text(memory, (uint64_t)number(v, "memory"));
	if (v->alive && v->status) {
		cli_age_text(age, number(v, "uptime_ns"));
		snprintf(pid, sizeof(pid), "%d", (int)number(v, "pid"));
	}
	printf("%-24s %-9s %8s %5d %8s %9s", v->name, v->state, pid,
	       (int)number(v, "cpus"), memory, age);
	if (exit_code && code)
		printf(" %5d", (int)json_integer_value(code));
	else if (exit_code)
		printf(" %5s", "-");
	putchar('\n');
}

struct listing {
	bool all, quiet;
	json_t *array; /* --json */
};

static int list_one(void *ctx, struct vm_dir *d)
{
	struct listing *l = ctx;
	struct vm_view v;

	if (!l->all && !vm_dir_alive(d))
		return 0;
	if (l->quiet && !l->array) {
		printf("%s\n", d->name);
		return 0;
	}
	vm_view_get(&v, d, "status");
	/* It may have ended since. */
	if (!l->all && !v.alive)
		;
	else if (l->array)
		json_array_append_new(l->array, view_json(&v));
	else
		print_row(&v, l->all);
	vm_view_free(&v);
	return 0;
}

int cli_ps(const struct options *o, struct fail *why)
{
	struct listing l = { .all = options_has(o, "all"),
			     .quiet = options_has(o, "quiet") };
	_cleanup_close_ int vms = home_open(false, why);

	if (vms < 0 && why->message[0])
		return (int)why->code;
	if (options_has(o, "json"))
		l.array = json_array();
	else if (!l.quiet)
		printf("%-24s %-9s %8s %5s %8s %9s%s\n", "NAME", "STATE", "PID",
		       "CPUS", "MEMORY", "UPTIME", l.all ? "  EXIT" : "");
	if (vms >= 0) {
		home_sweep(vms, 0, UINT32_MAX);
		home_each(vms, list_one, &l);
	}
	return l.array ? cli_print_json(l.array, why) : cli_flush(EXIT_OK, why);
}

/* ---- inspect ---- */

/* Where heads, sockets and logs are. */
static json_t *directory_json(const char *name)
{
	char home[PATH_MAX];

	return home_path(home, sizeof(home), NULL)
		   ? NULL
		   : json_sprintf("%s/vms/%s", home, name);
}

/* What its process says, under the name, state and directory; the
 * configuration from there when the process is gone. */
static json_t *inspect_json(const struct vm_view *v)
{
	json_t *doc =
	    json_pack("{s:s, s:s}", "name", v->name, "state", v->state);

	if (!doc)
		return NULL;
	json_object_set_new(doc, "directory", directory_json(v->name));
	if (v->status)
		json_object_update_missing(doc, v->status);
	if (v->config && !json_object_get(doc, "config"))
		json_object_set(doc, "config", v->config);
	return doc;
}

int cli_inspect(const struct options *o, struct fail *why)
{
	struct vm_dir d = VM_DIR_NONE;
	struct vm_view v;
	json_t *doc;
	int code;

	if (cli_find_vm(o->operand[0], &d, why))
		return (int)why->code;
	vm_view_get(&v, &d, "inspect");
	doc = inspect_json(&v);
	if (options_has(o, "json")) {
		code = cli_print_json(doc, why);
	} else {
		cli_print_tree(doc);
		json_decref(doc);
		code = cli_flush(EXIT_OK, why);
	}
	vm_view_free(&v);
	vm_dir_close(&d);
	return code;
}
