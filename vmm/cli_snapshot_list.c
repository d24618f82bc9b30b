/* SPDX-License-Identifier: Apache-2.0 */
/* `snapshot list`: what there is, as a table, as a tree, as JSON. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli_snapshot.h"
#include "util.h"

/* A chain may have hundreds: from there on it is not indented further. */
#define TREE_LEVELS 12u

struct listing {
	const struct options *o;
	struct snapshots all;
	json_t *array; /* --json */
	bool quiet, tree;
	struct fail first; /* of those that are damaged */
	unsigned damaged;
};

/* The first line of a text that is UTF-8, without what steers a terminal. */
static void print_first_line(const char *text)
{
	char line[sizeof(((struct ref *)0)->description)];

	snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\n"), text);
	cli_print_line(line);
}

static void print_damaged(const struct snapshot *x)
{
	char name[REF_NAME_TEXT];

	cli_snapshot_name(name, x);
	printf("%-32s ", name);
	cli_print_line("damaged");
}

static void print_row(const struct snapshot *x, unsigned depth)
{
	const struct manifest *m = &x->manifest;
	char taken[CLI_TIME_TEXT], size[CLI_SIZE_TEXT];
	char name[REF_NAME_TEXT];

	cli_snapshot_name(name, x);
	cli_time_text(taken, m->taken_ns);
	cli_size_text(size, x->bytes);
	printf("%*s%-*s %-20s %-6s %8s  ", (int)depth * 2, "",
	       MAX(32 - (int)depth * 2, 0), name, taken,
	       m->kind & MANIFEST_MEMORY ? "memory" : "disks", size);
	print_first_line(x->ref.description);
}

static void tell_damaged(struct listing *l, const struct snapshot *x)
{
	if (x->whole || l->damaged++)
		return;
	l->first = x->why;
}

static void list_one(struct listing *l, const struct snapshot *x,
		     unsigned depth)
{
	char name[REF_NAME_TEXT];

	tell_damaged(l, x);
	if (l->array) {
		json_array_append_new(l->array, cli_snapshot_json(x));
	} else if (l->quiet) {
		cli_snapshot_name(name, x);
		cli_print_line(name);
	} else if (x->whole) {
		print_row(x, depth);
	} else {
		print_damaged(x);
	}
}

static int list_tree(struct listing *l, struct fail *why)
{
	_cleanup_free_ struct snapshot **order = NULL;
	size_t n;
	int err = cli_snapshots_tree(&l->all, l->all.n, &order, &n, why);

	for (size_t i = 0; i < n; i++)
		list_one(l, order[i], MIN(order[i]->depth, TREE_LEVELS));
	return err;
}

static int list_all(struct listing *l, struct fail *why)
{
	if (!l->array && !l->quiet)
		printf("%-32s %-20s %-6s %8s  %s\n", "NAME", "TAKEN", "WHAT",
		       "SIZE", "DESCRIPTION");
	if (l->tree)
		return list_tree(l, why);
	for (size_t i = 0; i < l->all.n; i++)
		list_one(l, l->all.item[i], 0);
	return 0;
}

static int read_all(struct listing *l, const char *vm, struct fail *why)
{
	struct store *s = NULL;
	int err = cli_store_open(&s, why);

	if (err == -ENOENT)
		return 0;
	if (!err)
		err = cli_snapshots_read(&l->all, s, vm, why);
	store_close(s);
	return err;
}

/* A VM that has none is one thing, a name that nothing has another. */
static int judge_name(const char *vm, struct fail *why)
{
	_cleanup_close_ int vms = home_open(false, NULL);
	struct vm_dir d = VM_DIR_NONE;
	int err = vms < 0 ? -ENOENT : home_find(vms, vm, &d, NULL);

	vm_dir_close(&d);
	if (err != -ENOENT)
		return 0;
	return fail_set(why, EXIT_NOT_FOUND, err, vm,
			"see 'tintype snapshot list' and 'tintype ps --all'",
			"no such VM, and no snapshot of one");
}

static int finish(struct listing *l, struct fail *why)
{
	int code =
	    l->array ? cli_print_json(l->array, why) : cli_flush(EXIT_OK, why);

	if (code || !l->damaged)
		return code;
	*why = l->first;
	return (int)why->code;
}

int cli_snapshot_list(const struct options *o, struct fail *why)
{
	const char *vm = o->noperands ? o->operand[0] : NULL;
	struct listing l = { .o = o,
			     .quiet = options_has(o, "quiet"),
			     .tree = options_has(o, "tree") };
	int err = read_all(&l, vm, why), code;

	if (!err && vm && !l.all.n)
		err = judge_name(vm, why);
	if (!err) {
		if (options_has(o, "json"))
			l.array = json_array();
		err = list_all(&l, why);
	}
	code = err ? (int)why->code : finish(&l, why);
	cli_snapshots_free(&l.all);
	return code;
}
