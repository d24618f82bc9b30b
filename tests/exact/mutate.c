/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to a restore, in the machine's own process. */
#include "mutate.h"

#include <stdlib.h>
#include <string.h>

#include "kvm.h"
#include "machine_impl.h"

static uint8_t fresh[ITEM_BYTES] __attribute__((aligned(64)));
static uint8_t poisoned[ITEM_BYTES] __attribute__((aligned(64)));
static uint8_t now[ITEM_BYTES] __attribute__((aligned(64)));

/* Devices have numbers of their own in each machine. */
static bool find_device(struct machine *m, const struct field *f,
			struct field *out)
{
	*out = *f;
	if (f->item != ITEM_DEVICE)
		return true;
	for (unsigned i = 0; i < m->ndevices; i++) {
		size_t n = strlen(m->device[i]->name);

		out->which = i;
		if (!strncmp(f->name, m->device[i]->name, n) &&
		    f->name[n] == '.')
			return true;
	}
	return false;
}

static void read_item(struct machine *m, const struct exact_mutation *x,
		      uint8_t item[ITEM_BYTES])
{
	struct field f;

	if (x->kind == MUTATE_FIELD && find_device(m, &x->field, &f) &&
	    field_item_get(m, &f, item))
		abort();
}

void mutate_fresh(struct machine *m, const struct exact_mutation *x)
{
	read_item(m, x, fresh);
}

void mutate_poisoned(struct machine *m, const struct exact_mutation *x)
{
	read_item(m, x, poisoned);
}

void mutate_begin(const struct exact_mutation *x)
{
	steps_begin(x->kind == MUTATE_STEPS ? x->how : STEPS_AS_THEY_ARE,
		    x->step);
}

/* Some of KVM's calls have side effects on pending events, which are no part of
 * the mutation. */
static bool set_alone(struct machine *m, const struct field *f,
		      const uint8_t *item)
{
	const struct field events = { .item = ITEM_EVENTS };
	static uint8_t before[ITEM_BYTES] __attribute__((aligned(64)));

	if (field_item_get(m, &events, before) || field_item_set(m, f, item))
		return false;
	/* Setting events wakes a halted CPU. */
	return f->item == ITEM_EVENTS || f->item == ITEM_MP_STATE ||
	       !field_item_set(m, &events, before);
}

/* A device that was filled with poison may refuse that; what it was when it was
 * made never. */
static bool change(struct machine *m, const struct field *f)
{
	const uint8_t *first = f->item == ITEM_DEVICE ? fresh : poisoned;
	const uint8_t *from = first;
	static uint8_t changed[ITEM_BYTES] __attribute__((aligned(64)));

	if (field_item_get(m, f, now))
		abort();
	if (!memcmp(now + f->offset, from + f->offset, f->size))
		from = first == fresh ? poisoned : fresh;
	if (!memcmp(now + f->offset, from + f->offset, f->size))
		return false;
	memcpy(changed, now, sizeof(changed));
	memcpy(changed + f->offset, from + f->offset, f->size);
	if (set_alone(m, f, changed))
		return true;
	set_alone(m, f, now);
	return false;
}

void mutate_end(struct machine *m, struct exact_mutation *x)
{
	unsigned n = steps_end(x->inventory ? x->inventory->step : NULL);
	struct field f;

	if (x->inventory) {
		x->inventory->nsteps = n;
		x->inventory->nfields = fields_list(m, x->inventory->field);
	}
	if (x->kind == MUTATE_STEPS)
		x->applied = x->step + (x->how == STEPS_SWAP) < n;
	else if (x->kind == MUTATE_FIELD && find_device(m, &x->field, &f))
		x->applied = change(m, &f);
}
