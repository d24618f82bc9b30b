/* SPDX-License-Identifier: Apache-2.0 */
/* One thing that a restore gets wrong. */
#ifndef TINTYPE_TESTS_EXACT_MUTATE_H
#define TINTYPE_TESTS_EXACT_MUTATE_H

#include "fields.h"
#include "steps.h"

struct machine;

enum exact_mutation_kind { MUTATE_NOTHING, MUTATE_FIELD, MUTATE_STEPS };

struct exact_mutation {
	enum exact_mutation_kind kind;
	struct field field; /* keeps what the destination had */
	enum steps_how how;
	unsigned step;
	/* What the machine's process says of it; shared. */
	bool applied; /* there was something to change, and KVM took it */
	struct exact_inventory *inventory; /* NULL: not asked for */
};

/* What there is to change. */
struct exact_inventory {
	unsigned nfields, nsteps;
	struct field field[FIELDS_MAX];
	char step[STEPS_MAX][STEP_NAME_MAX];
};

/* Around a restore: of the machine as made, as poisoned, when its steps begin,
 * and when it is done. */
void mutate_fresh(struct machine *m, const struct exact_mutation *x);
void mutate_poisoned(struct machine *m, const struct exact_mutation *x);
void mutate_begin(const struct exact_mutation *x);
void mutate_end(struct machine *m, struct exact_mutation *x);

#endif
