/* SPDX-License-Identifier: Apache-2.0 */
/* One fault at a time, at each call that a workload makes: what faults.c and
 * fault_layers.c share. */
#ifndef TINTYPE_FAULT_H
#define TINTYPE_FAULT_H

#include <criterion/criterion.h>

#include "imgtest.h"
#include "wrap.h"

struct fault {
	enum io_kind kind;
	struct io_fate fate;
	bool memory, on; /* memory: it is an allocation that fails */
	uint64_t nth, seen;
	bool for_good; /* that one and all after it */
	bool hit;
};
extern struct fault fault;

struct kind_of_fault {
	const char *name;
	enum io_kind kind;
	struct io_fate fate;
	bool memory, for_good;
	bool harmless; /* the library goes on by itself */
};
extern const struct kind_of_fault *now; /* the fault of this run */

#define say(what)                                                              \
	"%s, call %lu: %s: %s: %s", now->name, fault.nth, what, why.object,    \
	    why.message

/* Runs `fn` with each fault at each call that it comes to. */
void each_fault(void (*fn)(void));
/* From here on faults are made, or not. */
void arm(bool on);
/* What a call gave under a fault: a failure is told, and only one that we have
 * made; true when it failed. */
bool failed(int err, const char *what);
bool sync_failed(void);

#endif
