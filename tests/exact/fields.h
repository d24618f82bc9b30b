/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every field of a machine that KVM or a device keeps, by name, as the kernel's
 * structs and the devices' tables have it: read from one machine and put into
 * another, to be what a restore has left out.
 */
#ifndef TINTYPE_TESTS_EXACT_FIELDS_H
#define TINTYPE_TESTS_EXACT_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

#define FIELD_NAME_MAX 64

enum field_item {
	ITEM_MP_STATE,
	ITEM_REGS,
	ITEM_SREGS,
	ITEM_XSAVE,
	ITEM_XCRS,
	ITEM_DEBUGREGS,
	ITEM_LAPIC,
	ITEM_EVENTS,
	ITEM_MSR,
	ITEM_PIC0,
	ITEM_PIC1,
	ITEM_IOAPIC,
	ITEM_DEVICE,
	ITEM_CLOCK,
	ITEM_TSC,
	ITEMS
};

struct field {
	char name[FIELD_NAME_MAX];
	enum field_item item;
	uint32_t which; /* the MSR's number in exact_msrs, the device's */
	uint32_t offset, size;
	bool timed; /* a function of time: only guests see it */
};

#define FIELDS_MAX 2048

/* Those of this machine; how many. */
unsigned fields_list(struct machine *m, struct field out[FIELDS_MAX]);

#define ITEM_BYTES 16384
/* All of the item that `f` is in, of vCPU 0. 0 or -errno. */
int field_item_get(struct machine *m, const struct field *f,
		   uint8_t item[ITEM_BYTES]);
int field_item_set(struct machine *m, const struct field *f,
		   const uint8_t item[ITEM_BYTES]);

#endif
