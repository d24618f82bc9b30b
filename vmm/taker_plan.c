/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to capture-plan, read. */
#include "taker_plan.h"

#include <errno.h>
#include <string.h>

#include "control.h"
#include "util.h"

#define PLAN_MS 30000
/* More than any VM's state has: draft_put_second takes 16 MiB. */
#define STATE_MAX_BYTES MIB(64)

int taker_misunderstood(const char *verb, struct fail *why)
{
	return fail_set(why, EXIT_INCOMPATIBLE, -EPROTO, verb,
			"was the VM started by another version of tintype?",
			"the VM's answer is not understood");
}

bool taker_get_number(const json_t *o, const char *key, uint64_t most,
		      uint64_t *v)
{
	const json_t *n = json_object_get(o, key);

	*v = 0;
	if (!json_is_integer(n) || json_integer_value(n) < 0 ||
	    (uint64_t)json_integer_value(n) > most)
		return false;
	*v = (uint64_t)json_integer_value(n);
	return true;
}

static bool get_id(const json_t *o, const char *key, struct object_id *id)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text && object_id_parse(id, text) && !object_id_is_zero(id);
}

/* An id, or null. */
static bool get_parent(const json_t *o, const char *key, struct object_id *id)
{
	*id = (struct object_id){ { 0 } };
	return json_is_null(json_object_get(o, key)) || get_id(o, key, id);
}

static bool read_versions(const json_t *all)
{
	const json_t *v;
	size_t i;

	json_array_foreach(all, i, v)
	{
		if (json_is_integer(v) && json_integer_value(v) == 1)
			return true;
	}
	return false;
}

static bool read_head(struct taker_head *h, const json_t *o)
{
	static const char *const names[] = {
		[TAKER_HEAD_SEALED] = "sealed",
		[TAKER_HEAD_FROZEN] = "frozen",
		[TAKER_HEAD_USED] = "head",
	};
	const char *uid = json_string_value(json_object_get(o, "uid"));
	const char *state = json_string_value(json_object_get(o, "state"));
	uint8_t bytes[UID_BYTES];

	if (!uid || !state || disk_uid_parse(bytes, uid))
		return false;
	memcpy(h->uid, uid, DISK_UID_TEXT);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(state, names[i]))
			continue;
		h->state = (enum taker_head_state)i;
		return h->state != TAKER_HEAD_SEALED ||
		       get_id(o, "layer", &h->layer);
	}
	return false;
}

/* Sealed ones, frozen ones, the one in use; each uid once. */
static bool read_chain(struct taker_disk *d, const json_t *chain)
{
	size_t n = json_array_size(chain);
	enum taker_head_state last = TAKER_HEAD_SEALED;

	if (n < 1 || n > TAKER_MAX_CHAIN)
		return false;
	d->chain = calloc(n, sizeof(*d->chain));
	if (!d->chain)
		return false;
	for (unsigned i = 0; i < n; i++) {
		struct taker_head *h = &d->chain[i];

		if (!read_head(h, json_array_get(chain, i)) ||
		    h->state < last ||
		    (h->state == TAKER_HEAD_USED) != (i + 1 == n) ||
		    taker_disk_has(d, h->uid))
			return false;
		last = h->state;
		d->n++;
	}
	return true;
}

static bool read_disk(struct taker_plan *p, const json_t *o)
{
	struct taker_disk *d = &p->disk[p->ndisks++];
	const char *id = json_string_value(json_object_get(o, "id"));

	if (!id || !config_name_valid(id) || strlen(id) > CONFIG_DISK_ID_MAX)
		return false;
	memcpy(d->id, id, strlen(id) + 1);
	for (unsigned i = 0; i + 1 < p->ndisks; i++)
		if (!strcmp(p->disk[i].id, id))
			return false;
	return taker_get_number(o, "bytes", HEAD_MAX_BYTES, &d->bytes) &&
	       read_chain(d, json_object_get(o, "chain"));
}

static bool read_disks(struct taker_plan *p, const json_t *all)
{
	const json_t *disk;
	size_t i;

	if (!json_is_array(all) || json_array_size(all) > CONFIG_MAX_DISKS)
		return false;
	json_array_foreach(all, i, disk)
	{
		if (!read_disk(p, disk))
			return false;
	}
	return true;
}

/* Null while a capture runs, which capture-begin will say. */
static bool read_ram(struct taker_plan *p, const json_t *ram)
{
	if (json_is_null(ram))
		return true;
	return taker_get_number(ram, "bytes", CONFIG_MAX_MEMORY,
				&p->ram_bytes) &&
	       taker_get_number(ram, "changed_pages",
				p->ram_bytes >> PAGE_SHIFT, &p->changed_pages);
}

int taker_plan_read(struct taker_plan *p, const json_t *result,
		    struct fail *why)
{
	*p = (struct taker_plan){ .ram_bytes = 0 };
	if (!read_versions(json_object_get(result, "v")))
		return fail_set(why, EXIT_INCOMPATIBLE, -EPROTO, "capture-plan",
				"use the version of tintype that started it",
				"the VM speaks another version");
	if (!get_parent(result, "parent", &p->parent) ||
	    !get_parent(result, "memory_parent", &p->memory_parent) ||
	    !taker_get_number(result, "state_bytes", STATE_MAX_BYTES,
			      &p->state_bytes) ||
	    !read_ram(p, json_object_get(result, "ram")) ||
	    !read_disks(p, json_object_get(result, "disks")))
		return taker_misunderstood("capture-plan", why);
	return 0;
}

int taker_plan_get(struct taker_plan *p, int conn, struct fail *why)
{
	json_t *result = NULL;
	int err =
	    control_call(conn, "capture-plan", NULL, &result, PLAN_MS, why);

	*p = (struct taker_plan){ .ram_bytes = 0 };
	if (!err)
		err = taker_plan_read(p, result, why);
	json_decref(result);
	return err;
}

void taker_plan_free(struct taker_plan *p)
{
	for (unsigned i = 0; i < p->ndisks; i++)
		free(p->disk[i].chain);
	*p = (struct taker_plan){ .ram_bytes = 0 };
}

bool taker_disk_has(const struct taker_disk *d, const char *uid)
{
	for (unsigned i = 0; i < d->n; i++)
		if (!strcmp(d->chain[i].uid, uid))
			return true;
	return false;
}
