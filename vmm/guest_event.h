/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest can ask of, or do to, its machine, as devices and vCPUs report
 * it. The machine acts on it in its own time; the vCPU that reported an event
 * that ends or resets the machine executes no further guest instruction.
 */
#ifndef TINTYPE_GUEST_EVENT_H
#define TINTYPE_GUEST_EVENT_H

#include <stdint.h>

enum guest_event {
	GUEST_POWEROFF,	    /* S5; value: unused */
	GUEST_RESET,	    /* reset register or keyboard controller */
	GUEST_EXIT,	    /* debug-exit port; value: the exit code, 0-255 */
	GUEST_PANIC,	    /* pvpanic; value: the byte written */
	GUEST_READY,	    /* "I am ready", once or often */
	GUEST_TRIPLE_FAULT, /* KVM_EXIT_SHUTDOWN; value: the vCPU */
	GUEST_VCPU_FAILED,  /* KVM cannot go on; value: GUEST_FAILED */
};

/* Of GUEST_VCPU_FAILED: the vCPU, and KVM's exit reason or KVM_RUN's errno. */
#define GUEST_FAILED(cpu, reason)    ((uint32_t)(cpu) << 16 | (uint16_t)(reason))
#define GUEST_FAILED_RUN(cpu, error) GUEST_FAILED(cpu, 0x8000 | (error))
#define GUEST_FAILED_CPU(value)	     ((value) >> 16)
#define GUEST_FAILED_BY_RUN(value)   ((value)&0x8000)
#define GUEST_FAILED_WHY(value)	     ((value)&0x7fff)

struct guest_events {
	/* Any thread; never blocks. */
	void (*raise)(struct guest_events *e, enum guest_event what,
		      uint32_t value);
};

static inline void guest_event_raise(struct guest_events *e,
				     enum guest_event what, uint32_t value)
{
	e->raise(e, what, value);
}

#endif
