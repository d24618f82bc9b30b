/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM says before it is captured or restored: capture-plan of
 * docs/capture-protocol.md. It is input: bounded, and judged before it is used.
 *
 * Owner: the taker's thread. 0 or -errno with `why`.
 */
#ifndef TINTYPE_TAKER_PLAN_H
#define TINTYPE_TAKER_PLAN_H

#include <jansson.h>

#include "disk_dir.h"

/* Sealed heads of captures that did not come to their end pile up. */
#define TAKER_MAX_CHAIN 256

enum taker_head_state { TAKER_HEAD_SEALED, TAKER_HEAD_FROZEN, TAKER_HEAD_USED };

struct taker_head {
	char uid[DISK_UID_TEXT];
	enum taker_head_state state;
	struct object_id layer; /* SEALED */
};

/* A disk that takes part in captures. */
struct taker_disk {
	char id[CONFIG_DISK_ID_MAX + 1];
	uint64_t bytes;
	struct taker_head *chain; /* oldest first; the last one is USED */
	unsigned n;
};

struct taker_plan {
	struct object_id parent, memory_parent; /* zero: none */
	uint64_t ram_bytes, changed_pages, state_bytes;
	struct taker_disk disk[CONFIG_MAX_DISKS];
	unsigned ndisks;
};

/* Asks. Free by taker_plan_free, also after a failure. */
int taker_plan_get(struct taker_plan *p, int conn, struct fail *why);
/* Judges a result; for tests alone beside that. */
int taker_plan_read(struct taker_plan *p, const json_t *result,
		    struct fail *why);
void taker_plan_free(struct taker_plan *p);

/* The head in use. */
static inline const char *taker_disk_head(const struct taker_disk *d)
{
	return d->chain[d->n - 1].uid;
}
/* Whether the disk's chain has that head. */
bool taker_disk_has(const struct taker_disk *d, const char *uid);

/* ---- for all who read answers ---- */

/* Fills `why`: the VM's answer is not what the protocol says. -EPROTO. */
int taker_misunderstood(const char *verb, struct fail *why);
/* A number that is not negative and at most `most`. */
bool taker_get_number(const json_t *o, const char *key, uint64_t most,
		      uint64_t *v);

#endif
