/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control verb "balloon": how much RAM a guest keeps.
 *
 *   args    {"target": BYTES, "ask": BOOL}, both may be left out
 *   result  {"memory": BYTES, "target": BYTES, "actual": BYTES,
 *            "asked": BOOL, "updates": N, "statistics": {"free": BYTES, ..}}
 *
 * With "ask" the guest's driver is asked for its statistics; when it has
 * answered, "updates" has grown. "asked" is false when there is nobody to ask:
 * no driver, or the VM is paused.
 *
 * Owner: the I/O thread.
 */
#ifndef TINTYPE_BALLOON_OP_H
#define TINTYPE_BALLOON_OP_H

#include <jansson.h>

#include "fail.h"
#include "machine.h"

/* `name`: the VM's, for messages. 0, or -errno with `why`. */
int balloon_op(struct machine *m, const char *name, uint64_t memory_bytes,
	       const json_t *args, json_t **result, struct fail *why);

#endif
