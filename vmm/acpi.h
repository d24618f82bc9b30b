/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI 6.4 tables, hardware-reduced, built at run time: RSDP, XSDT, FADT,
 * MADT and a DSDT with the processors, the GED (ACPI0013), the power button,
 * the serial port, the RTC, pvpanic, VMGenID, VMClock and the virtio-mmio
 * windows (LNRO0005).
 * A pure function of its arguments; tests disassemble its output with iasl.
 */
#ifndef TINTYPE_ACPI_H
#define TINTYPE_ACPI_H

#include <stdint.h>

#include "gmem.h"

#define ACPI_MAX_VIRTIO 16

struct acpi_virtio {
	uint64_t base; /* PLATFORM_VIRTIO_BYTES long */
	uint32_t gsi;  /* edge */
};

struct acpi_config {
	unsigned cpus; /* APIC ids 0 .. cpus-1 */
	unsigned nvirtio;
	struct acpi_virtio virtio[ACPI_MAX_VIRTIO];
};

/* Writes the tables at PLATFORM_ACPI; the RSDP is the first of them. 0, or
 * -ENOSPC when they would pass PLATFORM_ACPI_END, or gmem's error. */
int acpi_write(struct gmem *m, const struct acpi_config *c);

#endif
