/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One bus for PIO, one for MMIO: a sorted table of ranges, each with its
 * device. Reads of what nobody claims, or of what the device's register table
 * refuses, give all ones; such writes do nothing; both are counted and the
 * first few logged.
 *
 * Owner: ranges are added while the machine is built; accesses come from any
 * vCPU thread.
 */
#ifndef TINTYPE_BUS_H
#define TINTYPE_BUS_H

#include <stdint.h>

#include "device.h"
#include "log.h"

#define BUS_MAX_RANGES 32

struct bus_range {
	uint64_t base, bytes;
	struct device *dev;
};

struct bus {
	const char *name; /* "pio", "mmio" */
	struct bus_range range[BUS_MAX_RANGES];
	unsigned nranges;
	struct log_limit unclaimed;
	struct log_limit refused;
};

void bus_init(struct bus *b, const char *name);

/* 0; -EEXIST when it overlaps another range; -ENOSPC; -EINVAL. */
int bus_add(struct bus *b, uint64_t base, uint64_t bytes, struct device *dev);

/* `len` is 1, 2, 4 or 8; `data` little-endian as in kvm_run. */
void bus_read(struct bus *b, uint64_t addr, void *data, unsigned len);
void bus_write(struct bus *b, uint64_t addr, const void *data, unsigned len);

#endif
