/* SPDX-License-Identifier: Apache-2.0 */
/* The shaped CPUID: topology, what is hidden, what is per vCPU. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "cpuid.h"
#include "util.h"

static struct kvm_cpuid2 *list;

static void setup(void)
{
	static const struct kvm_cpuid_entry2 host[] = {
		{ .function = 0, .eax = 0x10 },
		{ .function = 1,
		  .ebx = 0x07100800,
		  .ecx = 1u << 5 | 1u << 3,
		  .edx = 1u << 28 },
		{ .function = 4, .flags = 1, .index = 0, .eax = 0xfc004121 },
		{ .function = 4, .flags = 1, .index = 3, .eax = 0xfc1fc163 },
		{ .function = 4, .flags = 1, .index = 4 },
		{ .function = 0xa, .eax = 0x07300404, .edx = 0x603 },
		{ .function = 0xb, .flags = 1, .index = 0, .ebx = 2 },
		{ .function = 0xb, .flags = 1, .index = 1, .ebx = 64 },
		{ .function = 0x1f, .flags = 1, .index = 0, .ebx = 2 },
		{ .function = 0x80000001, .ecx = 1u << 2 },
		{ .function = 0x80000002 },
		{ .function = 0x80000003, .ebx = 5 },
		{ .function = 0x80000004 },
		{ .function = 0x80000008, .eax = 0x3030, .ecx = 0x703f },
		{ .function = 0x8000000a, .eax = 1, .ebx = 0x8000 },
		{ .function = 0x8000001e, .eax = 9, .ebx = 0x109, .ecx = 1 },
	};

	list = calloc(1, sizeof(*list) +
			     CPUID_MAX_ENTRIES * sizeof(list->entries[0]));
	cr_assert_not_null(list);
	list->nent = ARRAY_SIZE(host);
	memcpy(list->entries, host, sizeof(host));
}

static void teardown(void)
{
	free(list);
}

TestSuite(cpuid, .init = setup, .fini = teardown);

static struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(list, function, index);

	cr_assert_not_null(e, "leaf %x.%u", function, index);
	return e;
}

Test(cpuid, nested_virtualisation_and_pmu_are_hidden)
{
	cr_assert_eq(cpuid_shape(list, 2, true), 0);
	cr_assert_eq(leaf(1, 0)->ecx & (1u << 5 | 1u << 3), 0);
	cr_assert_eq(leaf(0x80000001, 0)->ecx & 1u << 2, 0);
	cr_assert_eq(leaf(0x8000000a, 0)->ebx, 0);
	cr_assert_eq(leaf(0xa, 0)->eax, 0);
	cr_assert_eq(leaf(0xa, 0)->edx, 0);
}

Test(cpuid, hypervisor_x2apic_and_tsc_deadline_are_shown)
{
	cr_assert_eq(cpuid_shape(list, 1, true), 0);
	cr_assert(leaf(1, 0)->ecx & 1u << 31);
	cr_assert(leaf(1, 0)->ecx & 1u << 21);
	cr_assert(leaf(1, 0)->ecx & 1u << 24);
}

Test(cpuid, tsc_deadline_is_shown_only_where_kvm_has_it)
{
	cr_assert_eq(cpuid_shape(list, 1, false), 0);
	cr_assert_eq(leaf(1, 0)->ecx & 1u << 24, 0);
}

Test(cpuid, topology_is_one_package_of_single_cores)
{
	cr_assert_eq(cpuid_shape(list, 6, true), 0);
	cr_assert_eq(leaf(1, 0)->ebx >> 16 & 0xff, 6);
	cr_assert(leaf(1, 0)->edx & 1u << 28);
	cr_assert_eq(leaf(0xb, 0)->ebx, 1);
	cr_assert_eq(leaf(0xb, 0)->eax, 0);
	cr_assert_eq(leaf(0xb, 1)->ebx, 6);
	cr_assert_eq(leaf(0xb, 1)->eax, 3);
	cr_assert_eq(leaf(0xb, 2)->ebx, 0);
	cr_assert_null(cpuid_find(list, 0x1f, 0));
	cr_assert_eq(leaf(4, 0)->eax >> 26, 5);
	cr_assert_eq(leaf(4, 0)->eax >> 14 & 0xfff, 0);
	cr_assert_eq(leaf(4, 3)->eax >> 14 & 0xfff, 5);
	cr_assert_eq(leaf(4, 4)->eax, 0);
	cr_assert_eq(leaf(0x80000008, 0)->ecx, 3u << 12 | 5);
	cr_assert_eq(leaf(0x80000008, 0)->eax, 0x3030);
}

Test(cpuid, single_cpu_has_no_htt)
{
	cr_assert_eq(cpuid_shape(list, 1, true), 0);
	cr_assert_eq(leaf(1, 0)->edx & 1u << 28, 0);
	cr_assert_eq(leaf(0xb, 1)->eax, 0);
}

Test(cpuid, apic_id_reaches_every_leaf_that_holds_it)
{
	cr_assert_eq(cpuid_shape(list, 300, true), 0);
	cpuid_set_apic_id(list, 258);
	cr_assert_eq(leaf(1, 0)->ebx >> 24, 2);
	cr_assert_eq(leaf(1, 0)->ebx & 0xff00, 0x0800);
	for (uint32_t i = 0; i < 3; i++)
		cr_assert_eq(leaf(0xb, i)->edx, 258);
	cr_assert_eq(leaf(0x8000001e, 0)->eax, 258);
}

Test(cpuid, brand_fills_only_what_kvm_left_empty)
{
	const uint32_t brand[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

	cpuid_set_brand(list, brand);
	cr_assert_eq(cpuid_find(list, 0x80000002, 0)->eax, 1);
	cr_assert_eq(cpuid_find(list, 0x80000002, 0)->edx, 4);
	cr_assert_eq(cpuid_find(list, 0x80000003, 0)->eax, 0);
	cr_assert_eq(cpuid_find(list, 0x80000003, 0)->ebx, 5);
	cr_assert_eq(cpuid_find(list, 0x80000004, 0)->ecx, 11);
}

Test(cpuid, full_list_is_refused)
{
	while (list->nent < CPUID_MAX_ENTRIES)
		list->entries[list->nent++] =
		    (struct kvm_cpuid_entry2){ .function = 0x40000100 };
	/* Two of 0xb and one of 0x1f go, three come: that still fits. */
	cr_assert_eq(cpuid_shape(list, 2, true), 0);
	list->entries[list->nent - 1].function = 0x40000100;
	list->entries[list->nent - 2].function = 0x40000100;
	cr_assert_eq(cpuid_shape(list, 2, true), -E2BIG);
}
