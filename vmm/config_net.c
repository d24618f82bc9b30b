/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the words of --net. */
#include "config_net.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "config.h"
#include "util.h"

#define USE_KINDS "use tap=IF, fd=N, passt, passt=SOCKET, unplugged or none"

static int bad(struct fail *why, const char *hint, const char *message)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, "", hint, "%s", message);
}

static int set_where(struct vm_net *n, const char *value, struct fail *why)
{
	n->where = strdup(value);
	return n->where ? 0
			: fail_set(why, EXIT_FAILED, -ENOMEM, "", NULL,
				   "out of memory");
}

/* ---- where it is connected to ---- */

static int set_tap(struct vm_net *n, const char *value, struct fail *why)
{
	size_t len = value ? strlen(value) : 0;

	n->kind = VM_NET_TAP;
	/* As the kernel judges names; '%' would ask it for a number. */
	if (!len || len > CONFIG_NET_IF_MAX || value[0] == '.' ||
	    strpbrk(value, "/:% \t\n"))
		return bad(why, "give a tap's name, e.g. tap=tap0",
			   "not the name of an interface");
	return set_where(n, value, why);
}

static int set_fd(struct vm_net *n, const char *value, struct fail *why)
{
	uint64_t fd;

	n->kind = VM_NET_FD;
	if (!value || config_parse_count(value, &fd) || fd <= STDERR_FILENO ||
	    fd > INT_MAX)
		return bad(why, "give the number of an open tap, 3 or more",
			   "not a file descriptor");
	n->fd = (int)fd;
	return 0;
}

static int set_passt(struct vm_net *n, const char *value, struct fail *why)
{
	n->kind = VM_NET_PASST;
	if (!value)
		return 0;
	if (!*value ||
	    strlen(value) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return bad(why, "give passt's socket, at most 107 bytes",
			   "not a socket's path");
	return set_where(n, value, why);
}

/* A card whose link is down. */
static int set_unplugged(struct vm_net *n, const char *value, struct fail *why)
{
	n->kind = VM_NET_UNPLUGGED;
	return value ? bad(why, "leave out what follows 'unplugged'",
			   "it is connected to nothing")
		     : 0;
}

/* ---- what it is like ---- */

static int set_id(struct vm_net *n, const char *value, struct fail *why)
{
	if (!config_name_valid(value) ||
	    strlen(value) > CONFIG_NET_ID_MAX - strlen("net-"))
		return bad(why,
			   "use 1 to 20 letters, digits, '_', '.' or '-', "
			   "the first a letter or digit",
			   "not an id");
	snprintf(n->id, sizeof(n->id), "net-%s", value);
	return 0;
}

static int set_mac(struct vm_net *n, const char *value, struct fail *why)
{
	static const char hex[] = "0123456789abcdef0123456789ABCDEF";
	bool good = strlen(value) == 3 * CONFIG_MAC_BYTES - 1;

	for (unsigned i = 0; good && i < CONFIG_MAC_BYTES; i++) {
		const char *at = value + (size_t)3 * i;
		const char *high = strchr(hex, at[0]);
		const char *low = strchr(hex, at[1]);

		good = high && low && (!at[2] || at[2] == ':');
		if (good)
			n->mac[i] = (uint8_t)((high - hex) % 16 << 4 |
					      (low - hex) % 16);
	}
	if (!good)
		return bad(why, "use e.g. mac=52:54:00:12:34:56", "not a MAC");
	n->has_mac = true;
	if (n->mac[0] & 1 || mem_is_zero(n->mac, CONFIG_MAC_BYTES))
		return bad(why,
			   "use one whose first byte is even, and not all zero",
			   "a MAC of no single card");
	return 0;
}

static int set_mtu(struct vm_net *n, const char *value, struct fail *why)
{
	uint64_t mtu;

	if (config_parse_count(value, &mtu) || mtu < CONFIG_NET_MTU_MIN ||
	    mtu > CONFIG_NET_MTU_MAX)
		return bad(why, "use 68 to 65535 bytes", "not an MTU");
	n->mtu = (uint16_t)mtu;
	return 0;
}

static int set_bps(struct vm_net *n, const char *value, struct fail *why)
{
	if (config_parse_size(value, &n->bytes_max) || !n->bytes_max)
		return bad(why, "use bytes a second, e.g. 10M", "not a rate");
	return 0;
}

static int set_pps(struct vm_net *n, const char *value, struct fail *why)
{
	if (config_parse_count(value, &n->frames_max) || !n->frames_max)
		return bad(why, "use frames a second, e.g. 10000",
			   "not a rate");
	return 0;
}

struct part {
	const char *name;
	int (*set)(struct vm_net *n, const char *value, struct fail *why);
};

static const struct part kinds[] = {
	{ "tap", set_tap },
	{ "fd", set_fd },
	{ "passt", set_passt },
	{ "unplugged", set_unplugged },
};

static const struct part details[] = {
	{ "id", set_id },   { "mac", set_mac }, { "mtu", set_mtu },
	{ "bps", set_bps }, { "pps", set_pps },
};

static const struct part *find(const struct part *p, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(p[i].name, name))
			return &p[i];
	return NULL;
}

/* Cuts "name=value" in two; NULL: there is no value. */
static const char *cut_value(char *text)
{
	char *equals = strchr(text, '=');

	if (!equals)
		return NULL;
	*equals = '\0';
	return equals + 1;
}

static int parse_parts(struct vm_net *n, char *text, struct fail *why)
{
	char *rest = text, *part = config_next_part(&rest);
	const char *value = cut_value(part);
	const struct part *p = find(kinds, ARRAY_SIZE(kinds), part);
	int err;

	if (!p)
		return bad(why, USE_KINDS, "not a network");
	err = p->set(n, value, why);
	while (!err && (part = config_next_part(&rest))) {
		value = cut_value(part);
		p = find(details, ARRAY_SIZE(details), part);
		if (!p || !value)
			return bad(why, "use id=, mac=, mtu=, bps= or pps=",
				   "unknown part behind the comma");
		err = p->set(n, value, why);
	}
	return err;
}

int vm_net_parse(struct vm_net *n, const char *value, unsigned nth,
		 struct fail *why)
{
	_cleanup_free_ char *text = strdup(value);

	*n = (struct vm_net){ .text = strdup(value), .fd = -1 };
	snprintf(n->id, sizeof(n->id), "net%u", nth);
	if (!text || !n->text)
		return fail_set(why, EXIT_FAILED, -ENOMEM, "", NULL,
				"out of memory");
	return parse_parts(n, text, why);
}

void vm_net_free(struct vm_net *n)
{
	free(n->text);
	free(n->where);
	*n = (struct vm_net){ .fd = -1 };
}

/* FNV-1a, the NUL included, so that the two names do not run together. */
static uint64_t add_name(uint64_t hash, const char *name)
{
	do {
		hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
	} while (*name++);
	return hash;
}

void vm_net_mac(const struct vm_net *n, const char *vm,
		uint8_t mac[CONFIG_MAC_BYTES])
{
	uint64_t hash = add_name(UINT64_C(0xcbf29ce484222325), vm);

	if (n->has_mac) {
		memcpy(mac, n->mac, CONFIG_MAC_BYTES);
		return;
	}
	hash = add_name(hash, n->id);
	hash ^= hash >> 29;
	hash *= UINT64_C(0xbf58476d1ce4e5b9);
	hash ^= hash >> 32;
	memcpy(mac, &hash, CONFIG_MAC_BYTES);
	mac[0] = (uint8_t)((mac[0] & ~1u) | 2);
}
