/* SPDX-License-Identifier: Apache-2.0 */
/* `snapshot clone`: new VMs that go on from a snapshot, in the background. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli_from.h"
#include "cli_snapshot.h"
#include "util.h"
#include "verbs.h"

#define MAX_CLONES 1000

struct cloning {
	const struct options *o;
	struct options_table rows;
	uint64_t count; /* 0: one, of just that name */
};

static int read_count(struct cloning *c, struct fail *why)
{
	const struct option_use *u = options_find(c->o, "count");
	char object[96];

	if (!u || (!config_parse_count(u->value, &c->count) && c->count &&
		   c->count <= MAX_CLONES))
		return 0;
	snprintf(object, sizeof(object), "snapshot clone: --count %s",
		 u->value);
	return fail_set(why, EXIT_USAGE, -EINVAL, object, "use 1 to 1000",
			"not a number of VMs");
}

static void clone_name(const struct cloning *c, unsigned i, char *name,
		       size_t room)
{
	if (c->count)
		snprintf(name, room, "%s-%u", c->o->operand[1], i + 1);
	else
		snprintf(name, room, "%s", c->o->operand[1]);
}

/* Before the first one starts: each name is one, and nobody's. */
static int check_names(const struct cloning *c, struct fail *why)
{
	_cleanup_close_ int vms = home_open(true, why);
	char name[256];

	if (vms < 0)
		return vms;
	for (unsigned i = 0; i < MAX(c->count, 1U); i++) {
		struct vm_dir d;

		clone_name(c, i, name, sizeof(name));
		if (!config_name_valid(name))
			return fail_set(why, EXIT_USAGE, -EINVAL, name,
					"use 1 to 63 letters, digits, '_', '.' "
					"or '-', the first a letter or digit",
					"is no name of a VM");
		if (home_find(vms, name, &d, NULL))
			continue;
		vm_dir_close(&d);
		return fail_set(why, EXIT_CONFLICT, -EEXIST, name,
				"give another name, or 'tintype rm' that one",
				"there is such a VM already");
	}
	return 0;
}

/* *child: this is the new VM's process, and it has ended. */
static int clone_one(const struct cloning *c, unsigned i, bool *child,
		     struct fail *why)
{
	struct run_args a;
	char name[256];
	int code = EXIT_OK;

	run_args_init(&a);
	a.detach = true;
	clone_name(c, i, name, sizeof(name));
	if (from_resolve(&a, c->o, &c->rows, c->o->operand[0], why) ||
	    config_set_name(&a.config, name, why)) {
		code = (int)why->code;
	} else {
		a.json = options_has(c->o, "json");
		code = run_start(&a, why);
	}
	*child = a.is_child;
	run_args_free(&a);
	return code;
}

int cli_snapshot_clone(const struct options *o, struct fail *why)
{
	struct cloning c = {
		.o = o,
		.rows = verb_options(
		    verb_find(&tintype_verbs, "snapshot", "clone")),
	};
	bool child = false;
	int code = EXIT_OK;

	if (read_count(&c, why) || check_names(&c, why))
		return (int)why->code;
	for (unsigned i = 0; i < MAX(c.count, 1U) && !code && !child; i++)
		code = clone_one(&c, i, &child, why);
	return code;
}
