/* SPDX-License-Identifier: Apache-2.0 */
/* Runs with what they are run on, and how two of them are compared. */
#ifndef TINTYPE_TESTS_EXACT_STAGE_H
#define TINTYPE_TESTS_EXACT_STAGE_H

#include "exact.h"

struct stage {
	const struct exact_case *c;
	struct exact_host host;
	struct exact_run *run;
	struct exact_ram ram;
	uint64_t ram_bytes;
};

void stage_begin(struct stage *s, const struct exact_case *c);
void stage_end(struct stage *s);
/* Another one in which everything is as it is here and now. Not its peers: they
 * are new. */
void stage_copy(struct stage *to, const struct stage *from);
/* To be filled in: a run from its boot to its end. */
struct exact_job stage_job(struct stage *s);

/* No error, and if it came to an end, a good one. */
bool stage_ended_well(const struct stage *s, char text[EXACT_TEXT_MAX]);
/* NULL: both came to the same end; or what differs. */
const char *stage_differs(const struct stage *a, const struct stage *b);
/* Of the first n points: says which parts differ at the first whose chain does.
 */
bool exact_traces_differ(const struct exact_run *a, const struct exact_run *b,
			 uint64_t n, char text[EXACT_TEXT_MAX]);
/* From where `at` is to the end in another process, without a stop: does it
 * end as `steady` did? */
bool stage_replay(const struct stage *steady, const struct stage *at,
		  bool poison, char text[EXACT_TEXT_MAX]);

#endif
