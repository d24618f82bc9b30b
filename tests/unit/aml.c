/* SPDX-License-Identifier: Apache-2.0 */
/* AML: encodings against ACPI 6.4, chapter 20, byte by byte. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "aml.h"
#include "util.h"

static uint8_t buf[1 << 21];
static struct aml a;

static void expect(const void *bytes, size_t len)
{
	cr_assert_eq(aml_end(&a), (int64_t)len);
	cr_assert_eq(memcmp(buf, bytes, len), 0);
	aml_begin(&a, buf, sizeof(buf));
}

#define EXPECT(...)                                                            \
	expect((uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

static void begin(void)
{
	aml_begin(&a, buf, sizeof(buf));
}

Test(aml, integers_take_the_shortest_form, .init = begin)
{
	aml_integer(&a, 0);
	EXPECT(0x00);
	aml_integer(&a, 1);
	EXPECT(0x01);
	aml_integer(&a, 255);
	EXPECT(0x0a, 255);
	aml_integer(&a, 256);
	EXPECT(0x0b, 0, 1);
	aml_integer(&a, 0x10000);
	EXPECT(0x0c, 0, 0, 1, 0);
	aml_integer(&a, UINT64_C(0x100000000));
	EXPECT(0x0e, 0, 0, 0, 0, 1, 0, 0, 0);
}

Test(aml, paths_are_padded_and_prefixed, .init = begin)
{
	aml_path(&a, "A");
	EXPECT('A', '_', '_', '_');
	aml_path(&a, "\\_SB.PWRB");
	EXPECT('\\', 0x2e, '_', 'S', 'B', '_', 'P', 'W', 'R', 'B');
	aml_path(&a, "A.B.C");
	EXPECT(0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_', '_',
	       '_');
}

Test(aml, eisaid_is_packed_big_endian, .init = begin)
{
	aml_eisaid(&a, "PNP0501");
	EXPECT(0x0c, 0x41, 0xd0, 0x05, 0x01);
}

/* A scope's body is its 4-byte name and `fill` single bytes. */
static void scope_of(unsigned fill)
{
	begin();
	aml_open_scope(&a, "ABCD");
	for (unsigned i = 0; i < fill; i++)
		aml_integer(&a, 0);
	aml_close(&a);
}

Test(aml, lengths_grow_at_their_borders)
{
	scope_of(0x3f - 1 - 4);
	cr_assert_eq(aml_end(&a), 1 + 0x3f);
	cr_assert_eq(buf[1], 0x3f);

	scope_of(0x3f - 4);
	cr_assert_eq(aml_end(&a), 1 + 0x41);
	cr_assert_eq(buf[1], 0x41);
	cr_assert_eq(buf[2], 0x04);
	cr_assert_eq(buf[3], 'A');

	scope_of(0xfff - 2 - 4);
	cr_assert_eq(aml_end(&a), 1 + 0xfff);
	cr_assert_eq(buf[1], 0x4f);
	cr_assert_eq(buf[2], 0xff);

	scope_of(0xfff - 1 - 4);
	cr_assert_eq(aml_end(&a), 1 + 0x1001);
	cr_assert_eq(buf[1], 0x81);
	cr_assert_eq(buf[2], 0x00);
	cr_assert_eq(buf[3], 0x01);

	scope_of(0xfffff - 2 - 4);
	cr_assert_eq(aml_end(&a), 1 + 0x100001);
	cr_assert_eq(buf[1], 0xc1);
	cr_assert_eq(buf[4], 0x01);
}

Test(aml, resources_end_with_the_tag_and_count_it, .init = begin)
{
	aml_open_resources(&a);
	aml_close(&a);
	EXPECT(0x11, 5, 0x0a, 2, 0x79, 0);
	aml_open_resources(&a);
	for (unsigned i = 0; i < 32; i++)
		aml_resource_io(&a, 0x3f8, 8);
	aml_close(&a);
	cr_assert_eq(aml_end(&a), 1 + 2 + 3 + 32 * 8 + 2);
	cr_assert_eq(buf[3], 0x0b);
	cr_assert_eq(buf[4], 2);
	cr_assert_eq(buf[5], 1);
}

Test(aml, buffer_of_any_size_is_filled_or_refused_never_passed)
{
	uint8_t small[64];

	for (size_t size = 0; size < 48; size++) {
		memset(small, 0xcc, sizeof(small));
		aml_begin(&a, small, size);
		aml_open_scope(&a, "\\_SB");
		aml_open_device(&a, "COM1");
		aml_name_eisaid(&a, "_HID", "PNP0501");
		aml_name(&a, "_CRS");
		aml_open_resources(&a);
		aml_resource_irq(&a, 4);
		aml_close(&a);
		aml_close(&a);
		aml_close(&a);
		cr_assert(aml_end(&a) == (size < 44 ? -ENOSPC : 44), "%zu: %ld",
			  size, aml_end(&a));
		for (size_t i = size; i < sizeof(small); i++)
			cr_assert_eq(small[i], 0xcc);
	}
}
