/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a VM and its one schema: a table of keys, each with the
 * function that reads it and the one that prints it. The command line's values
 * go through the same setters.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

/* The default command line: so that config_init cannot fail. */
static char no_cmdline[1];

void config_init(struct vm_config *c)
{
	memset(c, 0, sizeof(*c));
	c->cmdline = no_cmdline;
	c->memory_bytes = CONFIG_DEFAULT_MEMORY;
	c->cpus = 1;
}

static void free_nets(struct vm_config *c)
{
	while (c->nnets)
		vm_net_free(&c->net[--c->nnets]);
}

void config_free(struct vm_config *c)
{
	free(c->kernel);
	free(c->initrd);
	if (c->cmdline != no_cmdline)
		free(c->cmdline);
	free(c->serial_path);
	free(c->share_console);
	free(c->agent_path);
	for (unsigned i = 0; i < c->ndisks; i++)
		free(c->disk[i].path);
	free(c->vsock_path);
	free_nets(c);
	memset(c, 0, sizeof(*c));
}

static int bad(struct fail *why, const char *hint, const char *message)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, "", hint, "%s", message);
}

/* JSON holds text only: what the schema could not print again is refused. */
static bool is_text(const char *value)
{
	json_t *probe = json_string(value);

	json_decref(probe);
	return probe != NULL;
}

static int set_string(char **to, const char *value, struct fail *why)
{
	char *copy;

	if (!is_text(value))
		return bad(why, "use a path or text in UTF-8", "not UTF-8");
	copy = strdup(value);
	if (!copy)
		return fail_set(why, EXIT_FAILED, -ENOMEM, "", NULL,
				"out of memory");
	if (*to != no_cmdline)
		free(*to);
	*to = copy;
	return 0;
}

/* A path: not empty, as it would name the current directory by accident. */
static int set_path(char **to, const char *value, struct fail *why)
{
	if (!*value)
		return bad(why, "give a file's path", "empty path");
	return set_string(to, value, why);
}

static bool name_first(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z');
}

bool config_name_valid(const char *name)
{
	size_t len = strnlen(name, CONFIG_NAME_MAX + 1);

	if (!len || len > CONFIG_NAME_MAX || !name_first(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!name_first(name[i]) && !strchr("_.-", name[i]))
			return false;
	return true;
}

int config_set_name(struct vm_config *c, const char *value, struct fail *why)
{
	if (!config_name_valid(value))
		return bad(why,
			   "use 1 to 63 letters, digits, '_', '.' or '-', "
			   "the first a letter or digit",
			   "not a name");
	memcpy(c->name, value, strlen(value) + 1);
	c->named = true;
	return 0;
}

int config_set_kernel(struct vm_config *c, const char *value, struct fail *why)
{
	return set_path(&c->kernel, value, why);
}

int config_set_initrd(struct vm_config *c, const char *value, struct fail *why)
{
	return set_path(&c->initrd, value, why);
}

int config_set_cmdline(struct vm_config *c, const char *value, struct fail *why)
{
	if (strlen(value) >= CONFIG_CMDLINE_MAX)
		return bad(why, "use at most 65535 bytes", "too long");
	return set_string(&c->cmdline, value, why);
}

int config_set_share_console(struct vm_config *c, const char *value,
			     struct fail *why)
{
	return set_path(&c->share_console, value, why);
}

/* Digits only, no sign, no blank: what strtoull would let pass is refused.
 * Returns how many were read, or 0 on overflow. */
static size_t parse_digits(const char *s, uint64_t *out)
{
	uint64_t v = 0;
	size_t n = 0;

	for (; s[n] >= '0' && s[n] <= '9'; n++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s[n] - '0'), &v))
			return 0;
	*out = v;
	return n;
}

int config_parse_count(const char *s, uint64_t *out)
{
	uint64_t v;
	size_t n = parse_digits(s, &v);

	if (!n || s[n])
		return -EINVAL;
	*out = v;
	return 0;
}

int config_parse_size(const char *s, uint64_t *bytes)
{
	static const char units[] = "KMGT", small[] = "kmgt";
	uint64_t v;
	size_t n = parse_digits(s, &v);
	unsigned shift = 0;
	const char *u;

	if (!n)
		return -EINVAL;
	if (s[n] && s[n + 1] && strcmp(s + n + 1, "iB") &&
	    strcmp(s + n + 1, "B"))
		return -EINVAL;
	if (s[n]) {
		u = strchr(units, s[n]);
		if (u)
			shift = 10 * (unsigned)(u - units + 1);
		else if ((u = strchr(small, s[n])))
			shift = 10 * (unsigned)(u - small + 1);
		else
			return -EINVAL;
	}
	if (v > UINT64_MAX >> shift)
		return -EINVAL;
	*bytes = v << shift;
	return 0;
}

char *config_next_part(char **rest)
{
	char *part = *rest, *from = part, *to = part;

	*rest = NULL;
	if (!part)
		return NULL;
	for (; *from; *to++ = *from++) {
		if (*from != ',' || *++from == ',')
			continue;
		*rest = from;
		break;
	}
	*to = 0;
	return part;
}

static int set_memory_bytes(struct vm_config *c, uint64_t v, struct fail *why)
{
	if (v < CONFIG_MIN_MEMORY)
		return bad(why, "use 2M or more", "too small");
	if (v > CONFIG_MAX_MEMORY)
		return bad(why, "use at most 16T", "too large");
	if (v % PAGE_BYTES)
		return bad(why, "use a multiple of 4096 bytes, e.g. 512M",
			   "not whole pages");
	c->memory_bytes = v;
	return 0;
}

int config_set_memory(struct vm_config *c, const char *value, struct fail *why)
{
	uint64_t v;

	if (config_parse_size(value, &v))
		return bad(why, "use e.g. 512M or 2G", "not a size");
	return set_memory_bytes(c, v, why);
}

static int set_cpu_count(struct vm_config *c, uint64_t v, struct fail *why)
{
	if (!v || v > CONFIG_MAX_CPUS)
		return bad(why, "use 1 to 1024", "out of range");
	c->cpus = (unsigned)v;
	return 0;
}

int config_set_cpus(struct vm_config *c, const char *value, struct fail *why)
{
	uint64_t v;

	if (config_parse_count(value, &v))
		return bad(why, "use a number, e.g. 2", "not a number");
	return set_cpu_count(c, v, why);
}

static const char *const boot_names[] = {
	[BOOT_AUTO] = "auto",
	[BOOT_LINUX64] = "linux64",
	[BOOT_PVH] = "pvh",
};
static_assert(ARRAY_SIZE(boot_names) == BOOT_PVH + 1, "name them all");

static const char *const serial_names[] = {
	[SERIAL_STDIO] = "stdio",
	[SERIAL_NONE] = "none",
	[SERIAL_FILE] = "file",
	[SERIAL_SOCKET] = "socket",
};
static_assert(ARRAY_SIZE(serial_names) == SERIAL_SOCKET + 1, "name them all");

static const char *const reboot_names[] = {
	[ON_REBOOT_RESTART] = "restart",
	[ON_REBOOT_EXIT] = "exit",
};
static_assert(ARRAY_SIZE(reboot_names) == ON_REBOOT_EXIT + 1, "name them all");

/* The index of `value`, which ends at `len`, or -1. */
static int name_index(const char *const *names, unsigned n, const char *value,
		      size_t len)
{
	for (unsigned i = 0; i < n; i++)
		if (!strncmp(names[i], value, len) && !names[i][len])
			return (int)i;
	return -1;
}

int config_set_boot(struct vm_config *c, const char *value, struct fail *why)
{
	int i = name_index(boot_names, ARRAY_SIZE(boot_names), value,
			   strlen(value));

	if (i < 0)
		return bad(why, "use auto, linux64 or pvh",
			   "not a boot protocol");
	c->boot = (enum boot_protocol)i;
	return 0;
}

int config_set_on_reboot(struct vm_config *c, const char *value,
			 struct fail *why)
{
	int i = name_index(reboot_names, ARRAY_SIZE(reboot_names), value,
			   strlen(value));

	if (i < 0)
		return bad(why, "use restart or exit", "not an action");
	c->on_reboot = (enum on_reboot)i;
	return 0;
}

int config_set_rng(struct vm_config *c, const char *value, struct fail *why)
{
	c->rng = true;
	return 0;
}

int config_set_balloon(struct vm_config *c, const char *value, struct fail *why)
{
	c->balloon = true;
	return 0;
}

static void set_balloon_flag(struct vm_config *c, bool on)
{
	c->balloon = on;
}

int config_set_agent(struct vm_config *c, const char *value, struct fail *why)
{
	int err = value ? set_path(&c->agent_path, value, why) : 0;

	c->agent |= !err;
	return err;
}

static void set_agent_flag(struct vm_config *c, bool on)
{
	c->agent = on;
	free(c->agent_path);
	c->agent_path = NULL;
}

static void set_vsock_flag(struct vm_config *c, bool on)
{
	c->vsock = on;
	c->vsock_cid = CONFIG_DEFAULT_CID;
	free(c->vsock_path);
	c->vsock_path = NULL;
}

static void set_rng_flag(struct vm_config *c, bool on)
{
	c->rng = on;
}

static int set_vsock_part(struct vm_config *c, const char *part,
			  struct fail *why)
{
	uint64_t cid;

	if (!strncmp(part, "path=", 5))
		return set_path(&c->vsock_path, part + 5, why);
	if (strncmp(part, "cid=", 4))
		return bad(why, "use cid=N, path=SOCK, or both with a comma",
			   "not a part of it");
	/* 0 to 2 have meanings, and the last is "any". */
	if (config_parse_count(part + 4, &cid) || cid < 3 || cid >= UINT32_MAX)
		return bad(why, "use 3 to 4294967294", "no CID of a guest");
	c->vsock_cid = (uint32_t)cid;
	return 0;
}

int config_set_vsock(struct vm_config *c, const char *value, struct fail *why)
{
	_cleanup_free_ char *copy = strdup(value ? value : "");
	char *rest = copy, *part;
	int err = 0;

	if (!copy)
		return fail_set(why, EXIT_FAILED, -ENOMEM, "", NULL,
				"out of memory");
	set_vsock_flag(c, true);
	while (*copy && !err && (part = config_next_part(&rest)))
		err = set_vsock_part(c, part, why);
	return err;
}

int config_set_net(struct vm_config *c, const char *value, struct fail *why)
{
	struct vm_net *n = &c->net[c->nnets];
	int err;

	if (!is_text(value))
		return bad(why, "use a path or text in UTF-8", "not UTF-8");
	if (!strcmp(value, "none")) {
		free_nets(c);
		return 0;
	}
	if (c->nnets == CONFIG_MAX_NETS)
		return bad(why, "give at most 8", "too many");
	err = vm_net_parse(n, value, c->nnets, why);
	for (unsigned i = 0; !err && i < c->nnets; i++)
		if (!strcmp(c->net[i].id, n->id))
			err = bad(why, "give each an id= of its own",
				  "the same id as another");
	if (err)
		vm_net_free(n);
	else
		c->nnets++;
	return err;
}

int config_set_serial(struct vm_config *c, const char *value, struct fail *why)
{
	const char *equals = strchr(value, '=');
	size_t len = equals ? (size_t)(equals - value) : strlen(value);
	int i = name_index(serial_names, ARRAY_SIZE(serial_names), value, len);
	bool wants_path = i == SERIAL_FILE || i == SERIAL_SOCKET;

	if (i < 0 || wants_path != (equals != NULL))
		return bad(why, "use stdio, none, file=PATH or socket=PATH",
			   "not a serial line");
	if (wants_path) {
		int err = set_path(&c->serial_path, equals + 1, why);

		if (err)
			return err;
	} else {
		free(c->serial_path);
		c->serial_path = NULL;
	}
	c->serial = (enum serial_kind)i;
	return 0;
}

/* One key of the schema. Numbers may be given as such or as the text that the
 * command line takes. */
struct key {
	const char *name;
	int (*set)(struct vm_config *c, const char *value, struct fail *why);
	int (*set_number)(struct vm_config *c, uint64_t v, struct fail *why);
	/* A new reference; NULL with *none set: leave it out. */
	json_t *(*print)(const struct vm_config *c, bool *none);
	void (*set_flag)(struct vm_config *c, bool on);
	/* An array of strings; `set` adds one, `print` gives all. */
	bool list;
};

static json_t *print_string(const char *s, bool *none)
{
	*none = !s || !*s;
	return *none ? NULL : json_string(s);
}

static json_t *print_name(const struct vm_config *c, bool *none)
{
	return print_string(c->name, none);
}

static json_t *print_kernel(const struct vm_config *c, bool *none)
{
	return print_string(c->kernel, none);
}

static json_t *print_initrd(const struct vm_config *c, bool *none)
{
	return print_string(c->initrd, none);
}

static json_t *print_cmdline(const struct vm_config *c, bool *none)
{
	return print_string(c->cmdline, none);
}

static json_t *print_share_console(const struct vm_config *c, bool *none)
{
	return print_string(c->share_console, none);
}

static json_t *print_memory(const struct vm_config *c, bool *none)
{
	return json_integer((json_int_t)c->memory_bytes);
}

static json_t *print_cpus(const struct vm_config *c, bool *none)
{
	return json_integer(c->cpus);
}

static json_t *print_boot(const struct vm_config *c, bool *none)
{
	return json_string(boot_names[c->boot]);
}

static json_t *print_on_reboot(const struct vm_config *c, bool *none)
{
	return json_string(reboot_names[c->on_reboot]);
}

static json_t *print_serial(const struct vm_config *c, bool *none)
{
	if (!c->serial_path)
		return json_string(serial_names[c->serial]);
	return json_sprintf("%s=%s", serial_names[c->serial], c->serial_path);
}

static json_t *print_flag(bool on, bool *none)
{
	*none = !on;
	return on ? json_true() : NULL;
}

static json_t *print_rng(const struct vm_config *c, bool *none)
{
	return print_flag(c->rng, none);
}

static json_t *print_balloon(const struct vm_config *c, bool *none)
{
	return print_flag(c->balloon, none);
}

static json_t *print_agent(const struct vm_config *c, bool *none)
{
	return c->agent_path ? json_string(c->agent_path)
			     : print_flag(c->agent, none);
}

/* A comma in the path is doubled, as it is read. */
static json_t *print_vsock(const struct vm_config *c, bool *none)
{
	const char *s = c->vsock_path;
	_cleanup_free_ char *path = s ? calloc(2, strlen(s) + 1) : NULL;
	char *to = path;

	*none = !c->vsock;
	if (*none || (s && !path))
		return NULL;
	if (!s)
		return json_sprintf("cid=%u", c->vsock_cid);
	for (; *s; *to++ = *s++)
		if (*s == ',')
			*to++ = ',';
	return json_sprintf("cid=%u,path=%s", c->vsock_cid, path);
}

static json_t *print_nets(const struct vm_config *c, bool *none)
{
	json_t *list = json_array();

	*none = c->nnets == 0;
	for (unsigned i = 0; i < c->nnets; i++)
		json_array_append_new(list, json_string(c->net[i].text));
	if (!*none)
		return list;
	json_decref(list);
	return NULL;
}

static const struct key keys[] = {
	{ .name = "name", .set = config_set_name, .print = print_name },
	{ .name = "kernel", .set = config_set_kernel, .print = print_kernel },
	{ .name = "initrd", .set = config_set_initrd, .print = print_initrd },
	{ .name = "cmdline",
	  .set = config_set_cmdline,
	  .print = print_cmdline },
	{ .name = "boot", .set = config_set_boot, .print = print_boot },
	{ .name = "memory",
	  .set = config_set_memory,
	  .set_number = set_memory_bytes,
	  .print = print_memory },
	{ .name = "cpus",
	  .set = config_set_cpus,
	  .set_number = set_cpu_count,
	  .print = print_cpus },
	{ .name = "serial", .set = config_set_serial, .print = print_serial },
	{ .name = "share_console",
	  .set = config_set_share_console,
	  .print = print_share_console },
	{ .name = "on_reboot",
	  .set = config_set_on_reboot,
	  .print = print_on_reboot },
	{ .name = "net",
	  .set = config_set_net,
	  .print = print_nets,
	  .list = true },
	{ .name = "rng", .print = print_rng, .set_flag = set_rng_flag },
	{ .name = "balloon",
	  .print = print_balloon,
	  .set_flag = set_balloon_flag },
	{ .name = "agent",
	  .set = config_set_agent,
	  .print = print_agent,
	  .set_flag = set_agent_flag },
	{ .name = "disk",
	  .list = true,
	  .set = config_add_disk,
	  .print = config_print_disks },
	{ .name = "vsock",
	  .set = config_set_vsock,
	  .print = print_vsock,
	  .set_flag = set_vsock_flag },
};

static int unknown_key(struct fail *why)
{
	char hint[sizeof(why->hint)] = "use ";
	size_t at = strlen(hint);

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		at += (size_t)snprintf(hint + at, sizeof(hint) - at, "%s%s",
				       i ? ", " : "", keys[i].name);
	assert(at < sizeof(hint));
	return bad(why, hint, "unknown key");
}

static const struct key *find_key(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static int set_list(struct vm_config *c, const struct key *k,
		    const json_t *value, struct fail *why)
{
	const json_t *element;
	size_t i;
	int err = 0;

	if (!json_is_array(value))
		return bad(why, "use an array of strings", "wrong type");
	json_array_foreach(value, i, element)
	{
		if (!json_is_string(element))
			return bad(why, "use strings in it", "wrong type");
		err = k->set(c, json_string_value(element), why);
		if (err) {
			fail_about(why, "%s: %s", k->name,
				   json_string_value(element));
			break;
		}
	}
	return err;
}

static int set_key(struct vm_config *c, const char *name, const json_t *value,
		   struct fail *why)
{
	const struct key *k = find_key(name);

	if (!k)
		return unknown_key(why);
	if (k->set_flag && (!k->set || json_is_boolean(value))) {
		if (!json_is_boolean(value))
			return bad(why, "use true or false", "wrong type");
		k->set_flag(c, json_is_true(value));
		return 0;
	}
	if (k->list)
		return set_list(c, k, value, why);
	if (json_is_string(value))
		return k->set(c, json_string_value(value), why);
	if (!k->set_number)
		return bad(why,
			   k->set_flag ? "use true, false or a string"
				       : "use a string",
			   "wrong type");
	if (!json_is_integer(value))
		return bad(why, "use an integer or a string", "wrong type");
	if (json_integer_value(value) < 0)
		return bad(why, "use a positive number", "negative");
	return k->set_number(c, (uint64_t)json_integer_value(value), why);
}

int config_from_json(struct vm_config *c, const json_t *doc, struct fail *why)
{
	struct fail local;
	const char *name;
	json_t *value;

	if (!why)
		why = &local;
	if (!json_is_object(doc))
		return fail_set(why, EXIT_USAGE, -EINVAL, "config",
				"use {\"memory\": \"512M\", ...}",
				"not a JSON object");
	/* jansson's iterators want a pointer to non-const; nothing changes. */
	json_object_foreach((json_t *)(uintptr_t)doc, name, value)
	{
		char object[sizeof(why->object)];
		int err;

		why->object[0] = '\0';
		err = set_key(c, name, value, why);
		if (err) {
			/* Of a list, the item is named already. */
			memcpy(object, why->object, sizeof(object));
			fail_about(why, "config: %s", *object ? object : name);
			return err;
		}
	}
	return 0;
}

int config_from_text(struct vm_config *c, const char *text, size_t len,
		     struct fail *why)
{
	json_error_t error;
	json_t *doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	int err;

	if (!doc)
		return fail_set(why, EXIT_USAGE, -EINVAL, "config",
				"use {\"memory\": \"512M\", ...}",
				"line %d, column %d: %s", error.line,
				error.column, error.text);
	err = config_from_json(c, doc, why);
	json_decref(doc);
	return err;
}

json_t *config_to_json(const struct vm_config *c)
{
	json_t *doc = json_object();

	for (unsigned i = 0; doc && i < ARRAY_SIZE(keys); i++) {
		bool none = false;
		json_t *value = keys[i].print(c, &none);

		if (none)
			continue;
		if (json_object_set_new(doc, keys[i].name, value)) {
			json_decref(doc);
			return NULL;
		}
	}
	return doc;
}
