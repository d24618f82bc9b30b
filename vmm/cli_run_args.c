/* SPDX-License-Identifier: Apache-2.0 */
/* What `run` was asked for: defaults, config file, flags, in this order. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "util.h"
#include "verbs.h"

#define WAIT_READY_DEFAULT_S 60
#define WAIT_READY_MAX_S     86400

void run_args_init(struct run_args *a)
{
	memset(a, 0, sizeof(*a));
	config_init(&a->config);
}

void run_args_free(struct run_args *a)
{
	config_free(&a->config);
}

int run_set_config(void *args, const char *value, struct fail *why)
{
	struct run_args *a = args;

	a->config_path = value;
	return 0;
}

int run_set_wait_ready(void *args, const char *value, struct fail *why)
{
	struct run_args *a = args;
	uint64_t s = WAIT_READY_DEFAULT_S;

	if (value &&
	    (config_parse_count(value, &s) || !s || s > WAIT_READY_MAX_S))
		return fail_set(why, EXIT_USAGE, -EINVAL, "",
				"use 1 to 86400 seconds", "not a time");
	a->wait_ready = true;
	a->wait_ready_s = (unsigned)s;
	return 0;
}

#define FLAG_SETTER(field)                                                     \
	int run_set_##field(void *args, const char *value, struct fail *why)   \
	{                                                                      \
		struct run_args *a = args;                                     \
                                                                               \
		a->field = true;                                               \
		return 0;                                                      \
	}
#define FROM_SETTER(field)                                                     \
	int run_set_##field(void *args, const char *value, struct fail *why)   \
	{                                                                      \
		struct run_args *a = args;                                     \
                                                                               \
		a->from.field = true;                                          \
		return 0;                                                      \
	}
FROM_SETTER(keep_identity)
FROM_SETTER(force_cpu)
FLAG_SETTER(detach)
FLAG_SETTER(dry_run)
FLAG_SETTER(json)
FLAG_SETTER(quiet)

int run_set_from(void *args, const char *value, struct fail *why)
{
	struct run_args *a = args;

	a->from.text = value;
	return 0;
}

int run_set_clock(void *args, const char *value, struct fail *why)
{
	struct run_args *a = args;

	if (strcmp(value, "continue") && strcmp(value, "advance"))
		return fail_set(why, EXIT_USAGE, -EINVAL, "",
				"use continue or advance", "not a policy");
	a->from.clock = value[0] == 'a' ? CLOCK_ADVANCE : CLOCK_CONTINUE;
	return 0;
}

/* The words after "--" are the init's: the kernel hands on what follows its
 * own "--". With "--" there already, they follow that. */
static int append_init_args(struct run_args *a, const struct options *o,
			    struct fail *why)
{
	static const char ours[] = "-- INIT-ARGS";
	char text[CONFIG_CMDLINE_MAX];
	const char *have = a->config.cmdline;
	bool begun = strstr(have, " -- ") || !strncmp(have, "-- ", 3);
	size_t len;
	int err;

	if (!o->nrest)
		return 0;
	len = (size_t)snprintf(text, sizeof(text), "%s%s", have,
			       begun   ? ""
			       : *have ? " --"
				       : "--");
	for (unsigned i = 0; i < o->nrest && len < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, " %s",
					o->rest[i]);
	if (len >= sizeof(text))
		return fail_set(why, EXIT_USAGE, -E2BIG, ours,
				"use at most 65535 bytes", "too long");
	err = config_set_cmdline(&a->config, text, why);
	if (err)
		fail_about(why, "run: %s", ours);
	return err;
}

static int conflict(const char *object, const char *hint, const char *message,
		    struct fail *why)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, object, hint, "%s", message);
}

static int check_devices(const struct vm_config *c, struct fail *why)
{
	unsigned n =
	    c->ndisks + c->nnets + c->rng + c->balloon + c->agent + c->vsock;

	if (n <= CONFIG_MAX_VIRTIO)
		return 0;
	return fail_set(why, EXIT_USAGE, -EINVAL, "run", "leave some out",
			"%u virtio devices: a machine has at most %u", n,
			CONFIG_MAX_VIRTIO);
}

int run_check_together(struct run_args *a, const struct options *o,
		       struct fail *why)
{
	struct vm_config *c = &a->config;

	if (c->initrd && !c->kernel)
		return conflict("run: --initrd", "give --kernel FILE",
				"the demo guest takes none", why);
	if (a->wait_ready && !a->detach)
		return conflict("run: --wait-ready", "give --detach as well",
				"only a detached VM is waited for", why);
	if (c->share_console && c->serial == SERIAL_SOCKET)
		return conflict("run: --share-console", "give one of the two",
				"--serial=socket= is such a socket already",
				why);
	if (a->detach && c->serial == SERIAL_STDIO && options_has(o, "serial"))
		return conflict("run: --serial stdio",
				"leave it out, and use 'tintype console'",
				"a detached VM has no terminal", why);
	if (a->detach && c->serial == SERIAL_STDIO)
		c->serial = SERIAL_NONE;
	return check_devices(c, why);
}

int run_resolve(struct run_args *a, const struct options *o, const char *text,
		size_t len, struct fail *why)
{
	struct options_table t =
	    verb_options(verb_find(&tintype_verbs, "run", NULL));
	int err;

	if (text && (err = config_from_text(&a->config, text, len, why)))
		return err;
	if ((err = options_apply(o, &t, a, why)) ||
	    (err = append_init_args(a, o, why)))
		return err;
	return run_check_together(a, o, why);
}
