/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables: what iasl does not judge (tests/acpi), namely that a guest can
 * find them, that they keep to their place, and what is refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "acpi.h"
#include "platform.h"
#include "util.h"

static struct gmem make_ram(void)
{
	struct gmem_region r[GMEM_MAX_REGIONS];
	struct gmem m;
	int n = gmem_layout(MIB(2), 0, r);

	cr_assert_eq(gmem_init(&m, r, (unsigned)n), 0);
	return m;
}

static uint8_t sum(const struct gmem *m, uint64_t at, size_t len)
{
	uint8_t b, s = 0;

	for (size_t i = 0; i < len; i++) {
		cr_assert_eq(gmem_read(m, GPA(at + i), &b, 1), 0);
		s = (uint8_t)(s + b);
	}
	return s;
}

static uint32_t get32(const struct gmem *m, uint64_t at)
{
	uint32_t v;

	cr_assert_eq(gmem_read(m, GPA(at), &v, sizeof(v)), 0);
	return v;
}

static uint64_t get64(const struct gmem *m, uint64_t at)
{
	uint64_t v;

	cr_assert_eq(gmem_read(m, GPA(at), &v, sizeof(v)), 0);
	return v;
}

static void expect_table(const struct gmem *m, uint64_t at, const char *name)
{
	char s[4];

	cr_assert_eq(gmem_read(m, GPA(at), s, sizeof(s)), 0);
	cr_assert_eq(memcmp(s, name, 4), 0, "%.4s where %s should be", s, name);
	cr_assert_eq(at % 16, 0);
	cr_assert_geq(at, PLATFORM_ACPI);
	cr_assert_leq(at + get32(m, at + 4), PLATFORM_ACPI_END);
	cr_assert_eq(sum(m, at, get32(m, at + 4)), 0, "%s: checksum", name);
}

static void expect_all(const struct gmem *m)
{
	uint64_t xsdt = get64(m, PLATFORM_ACPI + 24), fadt;

	cr_assert_eq(get64(m, PLATFORM_ACPI), UINT64_C(0x2052545020445352));
	cr_assert_eq(sum(m, PLATFORM_ACPI, 20), 0);
	cr_assert_eq(sum(m, PLATFORM_ACPI, 36), 0);
	expect_table(m, xsdt, "XSDT");
	cr_assert_eq(get32(m, xsdt + 4), 36 + 2 * 8);
	fadt = get64(m, xsdt + 36);
	expect_table(m, fadt, "FACP");
	expect_table(m, get64(m, xsdt + 44), "APIC");
	expect_table(m, get64(m, fadt + 140), "DSDT");
}

Test(acpi, tables_are_found_from_the_rsdp)
{
	static const unsigned cpus[] = { 1, 2, 255, 256, 1024 };

	for (unsigned i = 0; i < ARRAY_SIZE(cpus); i++) {
		struct acpi_config c = { .cpus = cpus[i] };
		struct gmem m = make_ram();

		cr_assert_eq(acpi_write(&m, &c), 0);
		expect_all(&m);
		gmem_fini(&m);
	}
}

Test(acpi, tables_of_the_same_machine_are_the_same_bytes)
{
	struct acpi_config c = { .cpus = 3,
				 .nvirtio = 1,
				 .virtio = { { PLATFORM_VIRTIO_MMIO, 6 } } };
	struct gmem a = make_ram(), b = make_ram();

	cr_assert_eq(acpi_write(&a, &c), 0);
	cr_assert_eq(acpi_write(&b, &c), 0);
	for (uint64_t at = PLATFORM_ACPI; at < PLATFORM_ACPI_END; at += 8)
		cr_assert_eq(get64(&a, at), get64(&b, at));
	gmem_fini(&a);
	gmem_fini(&b);
}

Test(acpi, madt_gives_x2apic_entries_from_id_255_on)
{
	struct acpi_config c = { .cpus = 257 };
	struct gmem m = make_ram();
	uint64_t madt, at;
	unsigned xapic = 0, x2apic = 0;
	uint8_t e[2];

	cr_assert_eq(acpi_write(&m, &c), 0);
	madt = get64(&m, get64(&m, PLATFORM_ACPI + 24) + 44);
	for (at = madt + 44; at < madt + get32(&m, madt + 4); at += e[1]) {
		cr_assert_eq(gmem_read(&m, GPA(at), e, sizeof(e)), 0);
		cr_assert_gt(e[1], 0);
		if (e[0] == 0)
			xapic++;
		if (e[0] == 9)
			cr_assert_eq(get32(&m, at + 4), 255 + x2apic++);
	}
	cr_assert_eq(at, madt + get32(&m, madt + 4));
	cr_assert_eq(xapic, 255);
	cr_assert_eq(x2apic, 2);
	gmem_fini(&m);
}

Test(acpi, write_of_too_many_cpus_is_refused_and_writes_nothing)
{
	struct acpi_config c = { .cpus = 4096 };
	struct gmem m = make_ram();

	cr_assert_eq(acpi_write(&m, &c), -ENOSPC);
	/* The MADT alone, too: a DSDT that just fits leaves no room. */
	c.cpus = 1500;
	cr_assert_eq(acpi_write(&m, &c), -ENOSPC);
	for (uint64_t w = 0; w < MIB(2) / PAGE_BYTES / 64; w++)
		cr_assert_eq(gmem_take_marks(&m, w), 0);
	gmem_fini(&m);
}

Test(acpi, write_fits_or_is_refused_for_every_number_of_cpus)
{
	struct gmem m = make_ram();
	uint64_t end;

	for (unsigned n = 1; n < 2600; n += 7) {
		struct acpi_config c = { .cpus = n };
		int err = acpi_write(&m, &c);

		cr_assert(err == 0 || (err == -ENOSPC && n > 1024), "%u: %d", n,
			  err);
	}
	end = get64(&m, PLATFORM_ACPI_END);
	cr_assert_eq(end, 0, "the tables passed their end");
	gmem_fini(&m);
}

Test(acpi, config_that_makes_no_sense_is_refused)
{
	static const struct acpi_config bad[] = {
		{ .cpus = 0 },
		{ .cpus = 1, .nvirtio = ACPI_MAX_VIRTIO + 1 },
		{ .cpus = 1, .nvirtio = 1, .virtio = { { 0x1000, 6 } } },
		{ .cpus = 1,
		  .nvirtio = 1,
		  .virtio = { { PLATFORM_GAP_END - 0x800, 6 } } },
		{ .cpus = 1,
		  .nvirtio = 1,
		  .virtio = { { PLATFORM_VIRTIO_MMIO, PLATFORM_GSI_END } } },
	};
	struct gmem m = make_ram();

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(acpi_write(&m, &bad[i]), -EINVAL, "%u", i);
	gmem_fini(&m);
}
