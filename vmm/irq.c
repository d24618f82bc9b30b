/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt lines: the level is kept here, KVM is told of changes only. */
#include "irq.h"

#include <string.h>

#include "kvm.h"
#include "log.h"

void irq_init(struct irq *q, int vm_fd, uint32_t gsi)
{
	*q = (struct irq){ .vm_fd = vm_fd, .gsi = gsi };
}

void irq_set(struct irq *q, bool level)
{
	int r;

	if (q->level == level)
		return;
	q->level = level;
	q->raised += level;
	if (q->vm_fd < 0)
		return;
	r = kvm_irq_line(q->vm_fd, q->gsi, level);
	if (r < 0)
		log_error("irq", "set line %u to %d: %s", q->gsi, level,
			  strerror(-r));
}

void irq_pulse(struct irq *q)
{
	irq_set(q, true);
	irq_set(q, false);
}

void irq_assume(struct irq *q, bool level)
{
	q->level = level;
}
