/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls that set a machine's state, in the order in which a restore makes
 * them: counted, one left out, or two neighbours swapped. The linker puts us
 * between (--wrap); the program under test has no part in it.
 */
#ifndef TINTYPE_TESTS_EXACT_STEPS_H
#define TINTYPE_TESTS_EXACT_STEPS_H

enum steps_how { STEPS_AS_THEY_ARE, STEPS_OMIT, STEPS_SWAP };

#define STEPS_MAX     256
#define STEP_NAME_MAX 32

/* From now on; `at`: the step to leave out, or to make after the next one. */
void steps_begin(enum steps_how how, unsigned at);
/* How many there were; their names, if `names` is not NULL. */
unsigned steps_end(char names[STEPS_MAX][STEP_NAME_MAX]);

#endif
