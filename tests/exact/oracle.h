/* SPDX-License-Identifier: Apache-2.0 */
/* The dirty log against the truth: no page may change unreported. */
#ifndef TINTYPE_TESTS_EXACT_ORACLE_H
#define TINTYPE_TESTS_EXACT_ORACLE_H

#include "exact.h"

void oracle_begin(struct machine *m, const struct exact_job *j);
/* As exact_ram_take; a page that changed and is in neither KVM's log nor
 * gmem's marks fails the run. */
uint64_t oracle_take(struct machine *m, const struct exact_job *j);

#endif
