/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device contract. A device is one plain state struct with its table, a
 * table of registers, and these operations. The bus calls read and write on a
 * vCPU's thread, the loop calls the host's side on the I/O thread: both hold
 * dev->lock, which guards everything in the device. The machine calls the
 * rest, with the lock held, while the vCPUs are parked; quiesce also before it
 * parks them, since one may wait in a register write for what is in flight.
 */
#ifndef TINTYPE_DEVICE_H
#define TINTYPE_DEVICE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "state.h"

enum { REG_R = 1, REG_W = 2, REG_RW = 3 };

/* Access widths a register takes, as a mask; the bus refuses all others. */
enum { REG_1 = 1, REG_2 = 2, REG_4 = 4, REG_8 = 8 };

struct reg {
	uint16_t offset; /* from the start of the device's range */
	uint16_t bytes;	 /* what it spans; accesses start at its first byte,
			  * or anywhere inside when it spans more than 8 */
	uint8_t widths;
	uint8_t access;
	const char *name;
};

struct device;

/* A count for people (`inspect`), no part of the state: a uint64_t in the
 * device, whose struct device is its first member; under its lock. */
struct device_counter {
	const char *name;
	size_t offset;
};
#define DEVICE_COUNTER(T, text, member)                                        \
	{                                                                      \
		text, offsetof(T, member) +                                    \
			  0 * sizeof(struct {                                  \
				  int no_uint64_t[_Generic(                    \
				      ((T *)0)->member, uint64_t : 1, default  \
				      : -1)];                                  \
			  })                                                   \
	}

struct device_ops {
	const char *type;
	const struct state_desc *state;
	const struct reg *regs;
	unsigned nregs;
	/* Power-on state: what a fresh device has. */
	void (*reset)(struct device *d);
	/* A register that the table allows, `off` inside the range. */
	uint64_t (*read)(struct device *d, uint64_t off, unsigned len);
	void (*write)(struct device *d, uint64_t off, unsigned len, uint64_t v);
	/* Stop taking requests and drain what is in flight; idempotent. May be
	 * NULL, as may resume. */
	int (*quiesce)(struct device *d);
	void (*resume)(struct device *d);
	/* Judge the state just loaded and remake the host side from it; -EINVAL
	 * leaves the device as `reset` would. */
	int (*restored)(struct device *d);
	/* Frees a device that was made on the heap, half made ones too; NULL:
	 * it is part of its maker. Nothing is in flight: quiesced, or never
	 * run. */
	void (*destroy)(struct device *d);
	const struct device_counter *counter;
	unsigned ncounters;
};

struct device {
	const struct device_ops *ops;
	const char *name;     /* "uart0": unique in its machine, stable */
	void *st;	      /* the state struct that ops->state describes */
	pthread_mutex_t lock; /* guards all of the device */
	/* Accesses that the register table refuses; guest's fault, counted. */
	uint64_t refused;
};

void device_init(struct device *d, const struct device_ops *ops,
		 const char *name, void *st);
void device_fini(struct device *d);
void device_destroy(struct device *d); /* or only device_fini, see ops */
uint64_t device_count(const struct device *d, unsigned counter);

#endif
