/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt lines, by KVM_IRQ_LINE: synchronous, so that a line that was set
 * is in the irqchip's state before the call returns, and a capture that stops
 * the vCPUs afterwards finds it there.
 *
 * Owner: the device that holds the line, under its lock.
 */
#ifndef TINTYPE_IRQ_H
#define TINTYPE_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct irq {
	int vm_fd; /* -1: connected to nothing, for tests; not owned */
	uint32_t gsi;
	bool level;	 /* what was set last */
	uint64_t raised; /* rising edges, for `inspect` and tests */
};

void irq_init(struct irq *q, int vm_fd, uint32_t gsi);

/* Sets the line's level; no ioctl when it is that already. */
void irq_set(struct irq *q, bool level);

/* The line is at that level already: a restored machine's irqchip has it so. */
void irq_assume(struct irq *q, bool level);

/* Up and down again: an edge interrupt. */
void irq_pulse(struct irq *q);

#endif
