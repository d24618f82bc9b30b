/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM is that goes on from a snapshot. The snapshot says how the machine
 * is made; where its files, sockets and networks are on this host is the
 * configuration that its ref has as a hint, and what is given anew, by id. That
 * hint is nobody's word: the VM compares the machine with the state.
 */
#include "cli_from.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli_snapshot.h"
#include "util.h"

#define FROM "run --from"

static int refuse(const char *object, const char *hint, const char *message,
		  struct fail *why)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, object, hint, "%s", message);
}

/* ---- what comes from the snapshot ---- */

static int check_same(const struct options *o, const char *name, bool same,
		      const char *text, struct fail *why)
{
	char object[64];

	if (same || !options_has(o, name))
		return 0;
	snprintf(object, sizeof(object), FROM ": --%s", name);
	return fail_set(why, EXIT_USAGE, -EINVAL, object,
			"leave it out: it comes from the snapshot",
			"the snapshot has %s", text);
}

/* Only what can be elsewhere now may be given anew: a later reset boots it. */
static int check_file(const struct options *o, const char *name, char **have,
		      char **given, struct fail *why)
{
	bool there = *have && access(*have, R_OK) == 0;
	bool same = *have && *given && !strcmp(*have, *given);
	int err = check_same(o, name, same || (*have && !there),
			     *have ? *have : "none", why);
	char *old = *have;

	if (err || !options_has(o, name))
		return err;
	*have = *given;
	*given = old;
	return 0;
}

static int check_shape(const struct options *o, struct vm_config *c,
		       struct vm_config *given, struct fail *why)
{
	static const char *const never[] = {
		"cmdline", "boot", "rng", "balloon", "config", "wait-ready"
	};
	char text[32];
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(never) && !err; i++)
		err = check_same(o, never[i], false, "its own", why);
	snprintf(text, sizeof(text), "%llu bytes",
		 (unsigned long long)c->memory_bytes);
	if (!err)
		err = check_same(o, "memory",
				 given->memory_bytes == c->memory_bytes, text,
				 why);
	snprintf(text, sizeof(text), "%u", c->cpus);
	if (!err)
		err = check_same(o, "cpus", given->cpus == c->cpus, text, why);
	if (!err)
		err = check_file(o, "kernel", &c->kernel, &given->kernel, why);
	if (!err)
		err = check_file(o, "initrd", &c->initrd, &given->initrd, why);
	if (!err && o->has_rest)
		err = refuse(FROM ": -- INIT-ARGS", "leave them out",
			     "the guest has begun already", why);
	return err;
}

/* ---- what the host has ---- */

static void swap_text(char **a, char **b)
{
	char *t = *a;

	*a = *b;
	*b = t;
}

/* A copy has none of the original's files and sockets. */
static int rebind_sockets(const struct run_args *a, const struct options *o,
			  struct vm_config *c, struct vm_config *given,
			  struct fail *why)
{
	bool own = a->from.own;

	if (options_has(o, "agent") && !c->agent)
		return refuse(FROM ": --agent", "leave it out",
			      "the snapshot's machine has no agent's port",
			      why);
	if (options_has(o, "vsock") && !c->vsock)
		return refuse(FROM ": --vsock", "leave it out",
			      "the snapshot's machine has no vsock", why);
	if (!own || options_has(o, "serial")) {
		c->serial = given->serial;
		swap_text(&c->serial_path, &given->serial_path);
	}
	if (!own || options_has(o, "share-console"))
		swap_text(&c->share_console, &given->share_console);
	if (!own || options_has(o, "agent"))
		swap_text(&c->agent_path, &given->agent_path);
	if (!own || options_has(o, "vsock"))
		swap_text(&c->vsock_path, &given->vsock_path);
	if (options_has(o, "on-reboot"))
		c->on_reboot = given->on_reboot;
	return 0;
}

static void list_ids(char *text, size_t room, const struct vm_config *c)
{
	size_t at = (size_t)snprintf(text, room, "it has: ");

	for (unsigned i = 0; i < c->ndisks && at < room; i++)
		at += (size_t)snprintf(text + at, room - at, "%s%s",
				       i ? ", " : "", c->disk[i].id);
	if (!c->ndisks)
		snprintf(text, room, "it has none");
}

static int rebind_disk(struct vm_config *c, struct disk_config *given,
		       struct fail *why)
{
	char object[64], hint[160];

	snprintf(object, sizeof(object), FROM ": --disk id=%s", given->id);
	for (unsigned i = 0; i < c->ndisks; i++) {
		struct disk_config *d = &c->disk[i];

		if (strcmp(d->id, given->id))
			continue;
		if (given->read_only != d->read_only ||
		    given->direct != d->direct || given->serial[0])
			return refuse(object, "give its PATH and id alone",
				      "ro, direct and serial= are the "
				      "snapshot's",
				      why);
		swap_text(&d->path, &given->path);
		d->qcow2 = given->qcow2;
		d->bps = given->bps ? given->bps : d->bps;
		d->iops = given->iops ? given->iops : d->iops;
		return 0;
	}
	list_ids(hint, sizeof(hint), c);
	return refuse(object, hint, "the snapshot has no such disk", why);
}

static int rebind_net(struct vm_config *c, struct vm_net *given, bool *bound,
		      struct fail *why)
{
	char object[64];

	for (unsigned i = 0; i < c->nnets; i++) {
		struct vm_net old = c->net[i];

		if (strcmp(old.id, given->id))
			continue;
		if (!given->has_mac) {
			memcpy(given->mac, old.mac, sizeof(old.mac));
			given->has_mac = old.has_mac;
		}
		c->net[i] = *given;
		*given = old;
		bound[i] = true;
		return 0;
	}
	snprintf(object, sizeof(object), FROM ": --net %s", given->id);
	return refuse(object, "see 'tintype snapshot show --json'",
		      "the snapshot has no such card", why);
}

/* A tap is one VM's, an inherited fd gone, a passt's socket taken. */
static int check_net(const struct vm_net *n, bool own, struct fail *why)
{
	char object[64], hint[160];

	if (n->kind == VM_NET_UNPLUGGED ||
	    (n->kind == VM_NET_PASST && (own || !n->where)))
		return 0;
	if (n->kind == VM_NET_TAP && own)
		return 0;
	snprintf(object, sizeof(object), "card %s", n->id);
	snprintf(hint, sizeof(hint),
		 "give it another: --net tap=IF%s%s, or passt, or --net none",
		 strncmp(n->id, "net-", 4) ? "" : ",id=",
		 strncmp(n->id, "net-", 4) ? "" : n->id + 4);
	return fail_set(why, EXIT_USAGE, -EINVAL, object, hint,
			"is on %s in the snapshot, which two VMs cannot share",
			n->text);
}

/* The guest keeps its card: the machine cannot be another. */
static int unplug(struct vm_net *n, unsigned nth, struct fail *why)
{
	const uint8_t *m = n->mac;
	char text[128];
	size_t at = (size_t)snprintf(text, sizeof(text), "unplugged");
	struct vm_net bare;
	int err;

	if (!strncmp(n->id, "net-", 4))
		at += (size_t)snprintf(text + at, sizeof(text) - at, ",id=%s",
				       n->id + 4);
	if (n->has_mac)
		at += (size_t)snprintf(text + at, sizeof(text) - at,
				       ",mac=%02x:%02x:%02x:%02x:%02x:%02x",
				       m[0], m[1], m[2], m[3], m[4], m[5]);
	if (n->mtu)
		snprintf(text + at, sizeof(text) - at, ",mtu=%u", n->mtu);
	err = vm_net_parse(&bare, text, nth, why);
	vm_net_free(err ? &bare : n);
	if (!err)
		*n = bare;
	return err;
}

static bool says_none(const struct options *o)
{
	for (unsigned i = 0; i < o->nuses; i++)
		if (!strcmp(o->use[i].row->name, "net") &&
		    !strcmp(o->use[i].value, "none"))
			return true;
	return false;
}

static int rebind_nets(const struct run_args *a, const struct options *o,
		       struct vm_config *c, struct vm_config *given,
		       struct fail *why)
{
	bool bound[CONFIG_MAX_NETS] = { false };
	bool none = says_none(o);
	int err = 0;

	for (unsigned i = 0; i < given->nnets && !err; i++)
		err = rebind_net(c, &given->net[i], bound, why);
	for (unsigned i = 0; i < c->nnets && !err; i++)
		if (!bound[i])
			err = none ? unplug(&c->net[i], i, why)
				   : check_net(&c->net[i], a->from.own, why);
	return err;
}

/* ---- all of it ---- */

static int merge(struct run_args *a, const struct options *o,
		 struct run_args *given, struct fail *why)
{
	struct vm_config *c = &a->config;
	int err = check_shape(o, c, &given->config, why);

	if (!err)
		err = rebind_sockets(a, o, c, &given->config, why);
	for (unsigned i = 0; i < given->config.ndisks && !err; i++)
		err = rebind_disk(c, &given->config.disk[i], why);
	if (!err)
		err = rebind_nets(a, o, c, &given->config, why);
	if (err)
		return err;
	if (!a->from.own) {
		memcpy(c->name, given->config.name, sizeof(c->name));
		c->named = given->config.named;
	}
	a->detach |= given->detach;
	a->dry_run = given->dry_run;
	a->json = given->json;
	a->quiet = given->quiet;
	a->from.clock = given->from.clock;
	a->from.keep_identity |= given->from.keep_identity;
	a->from.force_cpu = given->from.force_cpu;
	return run_check_together(a, o, why);
}

static int read_hint(struct run_args *a, const struct snapshot *x,
		     struct fail *why)
{
	char object[2 * RECORD_NAME_MAX + 2];
	int err;

	snprintf(object, sizeof(object), "%s@%s", x->ref.vm, x->ref.name);
	if (!x->ref.config.n)
		return fail_set(why, EXIT_INCOMPATIBLE, -ENODATA, object,
				"take it again",
				"does not say how its VM was configured");
	err = config_from_text(&a->config, (const char *)x->ref.config.item,
			       x->ref.config.n, why);
	if (err) {
		why->code = EXIT_INCOMPATIBLE;
		fail_about(why, "%s", object);
		return err;
	}
	for (uint32_t i = 0; i < x->manifest.images.n; i++)
		if (x->manifest.images.item[i].kind == IMAGE_MEMORY)
			a->config.memory_bytes =
			    x->manifest.images.item[i].bytes;
	a->from.manifest = x->ref.manifest;
	if (a->from.own) {
		memcpy(a->config.name, x->ref.vm, sizeof(a->config.name));
		a->config.named = true;
	}
	return 0;
}

static int read_snapshot(struct run_args *a, const char *text, struct fail *why)
{
	struct snapshot x = { .whole = false };
	struct store *s = NULL;
	int err = cli_store_open(&s, why);

	if (err == -ENOENT)
		err =
		    fail_set(why, EXIT_NOT_FOUND, -ENOENT, text,
			     "see 'tintype snapshot list'", "no such snapshot");
	if (!err)
		err = snapshot_find(s, text, &x.ref, why);
	if (!err)
		err = cli_snapshot_load(&x, s, why);
	if (!err)
		err = read_hint(a, &x, why);
	cli_snapshot_free(&x);
	store_close(s);
	return err;
}

int from_resolve(struct run_args *a, const struct options *o,
		 const struct options_table *t, const char *text,
		 struct fail *why)
{
	struct run_args given;
	int err;

	run_args_init(&given);
	a->from.text = text;
	err = options_apply(o, t, &given, why);
	if (!err)
		err = read_snapshot(a, text, why);
	if (!err)
		err = merge(a, o, &given, why);
	run_args_free(&given);
	return err;
}
