/* SPDX-License-Identifier: Apache-2.0 */
/* Between the code under test and kvm.c. */
#include "steps.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvm.h"

typedef int step_fn(int fd, const void *arg);

static struct {
	bool active;
	enum steps_how how;
	unsigned at, n;
	char name[STEPS_MAX][STEP_NAME_MAX];
	struct {
		step_fn *fn;
		int fd;
		void *arg;
	} held;
} steps;

void steps_begin(enum steps_how how, unsigned at)
{
	memset(&steps, 0, sizeof(steps));
	steps.how = how;
	steps.at = at;
	steps.active = true;
}

unsigned steps_end(char names[STEPS_MAX][STEP_NAME_MAX])
{
	steps.active = false;
	if (names)
		memcpy(names, steps.name, sizeof(steps.name));
	return steps.n;
}

/* The argument lives on: its buffer may not. */
static int hold(step_fn *fn, int fd, const void *arg, size_t bytes, int success)
{
	steps.held.fn = fn;
	steps.held.fd = fd;
	steps.held.arg = malloc(bytes);
	if (!steps.held.arg)
		abort();
	memcpy(steps.held.arg, arg, bytes);
	return success;
}

static int step(const char *name, step_fn *fn, int fd, const void *arg,
		size_t bytes, int success)
{
	unsigned i = steps.n;
	int r;

	if (!steps.active || i == STEPS_MAX)
		return fn(fd, arg);
	snprintf(steps.name[steps.n++], STEP_NAME_MAX, "%s", name);
	if (steps.how == STEPS_OMIT && i == steps.at)
		return success;
	if (steps.how == STEPS_SWAP && i == steps.at)
		return hold(fn, fd, arg, bytes, success);
	r = fn(fd, arg);
	if (steps.how == STEPS_SWAP && i == steps.at + 1 && r >= 0 &&
	    steps.held.fn(steps.held.fd, steps.held.arg) < 0)
		return -1;
	return r;
}

#define WRAP(name, T, bytes, success)                                          \
	int __real_kvm_set_##name(int fd, const T *arg);                       \
	int __wrap_kvm_set_##name(int fd, const T *arg);                       \
	int __wrap_kvm_set_##name(int fd, const T *arg)                        \
	{                                                                      \
		return step(#name, (step_fn *)__real_kvm_set_##name, fd, arg,  \
			    bytes, success);                                   \
	}

/* The TSC's offset; what it points at lives on in the caller. */
WRAP(device_attr, struct kvm_device_attr, sizeof(*arg), 0)

/* KVM reads as much as the machine's XSAVE needs; less than this always. */
#define XSAVE_BYTES 16384

WRAP(mp_state, struct kvm_mp_state, sizeof(*arg), 0)
WRAP(regs, struct kvm_regs, sizeof(*arg), 0)
WRAP(sregs, struct kvm_sregs, sizeof(*arg), 0)
WRAP(xcrs, struct kvm_xcrs, sizeof(*arg), 0)
WRAP(debugregs, struct kvm_debugregs, sizeof(*arg), 0)
WRAP(lapic, struct kvm_lapic_state, sizeof(*arg), 0)
WRAP(vcpu_events, struct kvm_vcpu_events, sizeof(*arg), 0)
WRAP(sregs2, struct kvm_sregs2, sizeof(*arg), 0)
WRAP(clock, struct kvm_clock_data, sizeof(*arg), 0)
WRAP(irqchip, struct kvm_irqchip, sizeof(*arg), 0)
WRAP(msrs, struct kvm_msrs, sizeof(*arg) + arg->nmsrs * sizeof(arg->entries[0]),
     (int)arg->nmsrs)
WRAP(xsave, struct kvm_xsave, XSAVE_BYTES, 0)
