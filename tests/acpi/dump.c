/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes each ACPI table that acpi_write makes to DIR/<signature>.dat, found
 * as a guest finds them: from the RSDP, over the XSDT and the FADT.
 * Usage: acpi-dump CPUS VIRTIO DIR
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acpi.h"
#include "platform.h"
#include "util.h"

static struct gmem ram;

static void die(const char *what)
{
	fprintf(stderr, "acpi-dump: %s\n", what);
	exit(1);
}

static void get(uint64_t at, void *dst, size_t len)
{
	if (gmem_read(&ram, GPA(at), dst, len))
		die("a table outside RAM");
}

static void dump(uint64_t at, const char *dir)
{
	uint8_t bytes[65536];
	char path[4096];
	uint32_t len;
	FILE *f;

	get(at + 4, &len, sizeof(len));
	if (len < 36 || len > sizeof(bytes))
		die("a table's length is wild");
	get(at, bytes, len);
	snprintf(path, sizeof(path), "%s/%.4s.dat", dir, (char *)bytes);
	f = fopen(path, "w");
	if (!f || fwrite(bytes, len, 1, f) != 1 || fclose(f))
		die("cannot write a table");
}

static void make(unsigned cpus, unsigned nvirtio)
{
	struct gmem_region r[GMEM_MAX_REGIONS];
	struct acpi_config c = { .cpus = cpus, .nvirtio = nvirtio };
	int n = gmem_layout(MIB(2), 0, r);

	for (unsigned i = 0; i < nvirtio && i < ACPI_MAX_VIRTIO; i++) {
		c.virtio[i].base =
		    PLATFORM_VIRTIO_MMIO + i * PLATFORM_VIRTIO_BYTES;
		c.virtio[i].gsi = PLATFORM_VIRTIO_GSI + i;
	}
	if (n < 0 || gmem_init(&ram, r, (unsigned)n) || acpi_write(&ram, &c))
		die("acpi_write failed");
}

int main(int argc, char **argv)
{
	uint64_t xsdt, table, dsdt = 0;
	uint32_t len;

	if (argc != 4)
		die("usage: acpi-dump CPUS VIRTIO DIR");
	make((unsigned)atoi(argv[1]), (unsigned)atoi(argv[2]));
	get(PLATFORM_ACPI + 24, &xsdt, sizeof(xsdt));
	dump(xsdt, argv[3]);
	get(xsdt + 4, &len, sizeof(len));
	for (uint64_t at = 36; at < len; at += sizeof(table)) {
		char signature[4];

		get(xsdt + at, &table, sizeof(table));
		dump(table, argv[3]);
		get(table, signature, sizeof(signature));
		if (memcmp(signature, "FACP", 4) == 0)
			get(table + 140, &dsdt, sizeof(dsdt));
	}
	if (!dsdt)
		die("no DSDT");
	dump(dsdt, argv[3]);
	gmem_fini(&ram);
	return 0;
}
