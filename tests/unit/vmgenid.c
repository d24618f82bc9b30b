/* SPDX-License-Identifier: Apache-2.0 */
/* The generation id: in RAM, kept by a reset, changed and told by set. */
#include <criterion/criterion.h>

#include "platform.h"
#include "util.h"
#include "vmgenid.h"

static const uint8_t one[VMGENID_BYTES] = "0123456789abcde";
static const uint8_t two[VMGENID_BYTES] = "edcba9876543210";

static struct guest_events events;
static struct gmem ram;
static struct power power;
static struct vmgenid genid;

static void setup(void)
{
	struct gmem_region region = { 0, MIB(2), 0 };
	struct irq irq;

	irq_init(&irq, -1, PLATFORM_POWER_GSI);
	cr_assert_eq(gmem_init(&ram, &region, 1), 0);
	power_init(&power, "power0", irq, &events);
	vmgenid_init(&genid, "vmgenid0", &ram, &power, one);
}

static void teardown(void)
{
	gmem_fini(&ram);
}

TestSuite(vmgenid, .init = setup, .fini = teardown);

static void assert_in_ram(const uint8_t *id)
{
	uint8_t got[VMGENID_BYTES];

	cr_assert_eq(gmem_read(&ram, GPA(PLATFORM_VMGENID), got, sizeof(got)),
		     0);
	cr_assert_arr_eq(got, id, sizeof(got));
}

Test(vmgenid, id_is_in_ram_from_the_start_without_a_notice)
{
	assert_in_ram(one);
	cr_assert_eq(power.st.pending, 0);
}

Test(vmgenid, reset_writes_the_same_id_again)
{
	cr_assert_eq(gmem_clear(&ram), 0);
	genid.dev.ops->reset(&genid.dev);
	assert_in_ram(one);
	cr_assert_eq(power.st.pending, 0);
}

Test(vmgenid, set_writes_marks_and_notifies)
{
	uint64_t page = PLATFORM_VMGENID / PAGE_BYTES;

	gmem_take_marks(&ram, page / 64);
	vmgenid_set(&genid, two);
	assert_in_ram(two);
	cr_assert_eq(gmem_take_marks(&ram, page / 64), UINT64_C(1)
							   << (page % 64));
	cr_assert_eq(power.st.pending, PLATFORM_EVENT_VMGENID);
	cr_assert_eq(power.irq.raised, 1);
}

Test(vmgenid, reset_after_set_keeps_the_new_id)
{
	vmgenid_set(&genid, two);
	cr_assert_eq(gmem_clear(&ram), 0);
	genid.dev.ops->reset(&genid.dev);
	assert_in_ram(two);
}

Test(vmgenid, restored_id_survives_a_reset)
{
	memcpy(genid.st.id, two, sizeof(two));
	cr_assert_eq(genid.dev.ops->restored(&genid.dev), 0);
	genid.dev.ops->reset(&genid.dev);
	assert_in_ram(two);
}
