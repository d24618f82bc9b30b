/* SPDX-License-Identifier: Apache-2.0 */
/* The proofs over one program, and the sums over all of them. */
#ifndef TINTYPE_TESTS_EXACT_PROOFS_H
#define TINTYPE_TESTS_EXACT_PROOFS_H

#include "exact.h"

struct exact_options {
	uint64_t points; /* at most so many a program */
	uint64_t sample; /* a replay from every n-th point; 0: none */
	uint64_t twins;	 /* a pair at every n-th point; 0: none */
	uint64_t seed;	 /* of random moments */
	bool poison;	 /* the destinations */
	bool findings;	 /* also what is known to fail now and then */
};

void exact_prepare(void);
void exact_prove(const struct exact_case *c, const struct exact_options *o);
/* The i-th bug of others: anchors.c. */
void exact_anchor(unsigned i, const struct exact_options *o);
unsigned exact_nanchors(void);
/* `all`: each moment must have been seen, or say why not; lines of TAP, counted
 * on. Returns how many failed. */
unsigned exact_summary(bool all, unsigned *tests);

/* A line of TAP, without its number. */
void exact_result(bool ok, const char *what, const char *program,
		  const char *detail);

#endif
