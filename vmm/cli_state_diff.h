/* SPDX-License-Identifier: Apache-2.0 */
/* Two machines' states compared by the names in them. Owner: the main thread.
 */
#ifndef TINTYPE_CLI_STATE_DIFF_H
#define TINTYPE_CLI_STATE_DIFF_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "fail.h"

struct state_bytes {
	const uint8_t *data;
	size_t len;
};

/*
 * Each value that differs, as {"section", "instance", "field", "index", "a",
 * "b"}: numbers as "0x..", null where one has no such field. `index` only of
 * arrays, whose end counts as zero. 0 or -errno with `why`; -ENOMEM without.
 */
int cli_state_diff(json_t *list, const struct state_bytes *a,
		   const struct state_bytes *b, struct fail *why);

#endif
