/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI 6.4 tables for a hardware-reduced machine, each section number below
 * from that specification. Hardware-reduced, because it needs neither SCI nor
 * PM1 blocks nor GPEs, and its GED can notify the power button and VMGenID.
 *
 * The tables follow each other from PLATFORM_ACPI on, each at a multiple of
 * 16: RSDP, XSDT, FADT, MADT, DSDT. They are built in a buffer of our own, so
 * that no guest byte is ever read back, and then copied as one piece.
 */
#include "acpi.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "aml.h"
#include "platform.h"
#include "util.h"

#define OEM_ID	   "TINTYP"
#define AREA_BYTES (PLATFORM_ACPI_END - PLATFORM_ACPI)
/* APIC id 255 is the broadcast id of xAPIC. */
#define MAX_XAPIC_CPUS 255
#define APIC_LINT1     1
#define RTC_CENTURY    0x32 /* its byte in the RTC's RAM */

struct header { /* 5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct rsdp { /* 5.2.5.3 */
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));

struct xsdt { /* 5.2.8 */
	struct header h;
	uint64_t table[2];
} __attribute__((packed));

struct gas { /* 5.2.3.2 */
	uint8_t space;
	uint8_t bits;
	uint8_t offset;
	uint8_t access;
	uint64_t address;
} __attribute__((packed));

struct fadt { /* 5.2.9; what hardware-reduced ignores is left out by name */
	struct header h;
	uint32_t firmware_ctrl;
	uint32_t dsdt;
	uint8_t reserved0;
	uint8_t pm_profile;
	uint8_t ignored0[96 - 46];
	uint16_t c2_latency;
	uint16_t c3_latency;
	uint16_t flush_size;
	uint16_t flush_stride;
	uint8_t duty_offset;
	uint8_t duty_width;
	uint8_t day_alarm;
	uint8_t month_alarm;
	uint8_t century;
	uint16_t iapc_boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_revision;
	uint64_t x_firmware_ctrl;
	uint64_t x_dsdt;
	struct gas ignored1[8];
	struct gas sleep_control;
	struct gas sleep_status;
	uint64_t hypervisor;
} __attribute__((packed));

struct madt { /* 5.2.12 */
	struct header h;
	uint32_t lapic;
	uint32_t flags;
} __attribute__((packed));

struct madt_lapic {
	uint8_t type, length;
	uint8_t uid;
	uint8_t id;
	uint32_t flags;
} __attribute__((packed));

struct madt_x2apic {
	uint8_t type, length;
	uint16_t reserved;
	uint32_t id;
	uint32_t flags;
	uint32_t uid;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} __attribute__((packed));

struct madt_lapic_nmi {
	uint8_t type, length;
	uint8_t uid;
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));

struct madt_x2apic_nmi {
	uint8_t type, length;
	uint16_t flags;
	uint32_t uid;
	uint8_t lint;
	uint8_t reserved[3];
} __attribute__((packed));

enum {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_LAPIC_NMI = 4,
	MADT_X2APIC = 9,
	MADT_X2APIC_NMI = 10,
	MADT_ENABLED = 1,
};

/* 5.2.9, "Fixed ACPI Description Table Fixed Feature Flags" */
enum {
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_NO_FIXED_POWER_BUTTON = 1 << 4,
	FADT_NO_FIXED_SLEEP_BUTTON = 1 << 5,
	FADT_RESET_REG = 1 << 10,
	FADT_HEADLESS = 1 << 12,
	FADT_HW_REDUCED = 1 << 20,
};

/* 5.2.9.3, "IA-PC Boot Architecture Flags" */
enum {
	/* There is a device a user sees at an ISA address: COM1. */
	BOOT_LEGACY_DEVICES = 1 << 0,
	BOOT_NO_VGA = 1 << 2,
	/* Bit 5 clear: there is a CMOS RTC. */
	/* Bit 1 clear: no 8042. Port 0x64 only takes the reset command. */
};

static_assert(sizeof(struct header) == 36, "5.2.6");
static_assert(sizeof(struct rsdp) == 36, "5.2.5.3");
static_assert(sizeof(struct fadt) == 276, "5.2.9");
static_assert(offsetof(struct fadt, iapc_boot_arch) == 109, "5.2.9");
static_assert(offsetof(struct fadt, x_dsdt) == 140, "5.2.9");
static_assert(offsetof(struct fadt, sleep_control) == 244, "5.2.9");
static_assert(sizeof(struct madt_lapic) == 8, "5.2.12.2");
static_assert(sizeof(struct madt_ioapic) == 12, "5.2.12.3");
static_assert(sizeof(struct madt_lapic_nmi) == 6, "5.2.12.7");
static_assert(sizeof(struct madt_x2apic) == 16, "5.2.12.12");
static_assert(sizeof(struct madt_x2apic_nmi) == 12, "5.2.12.13");

struct area {
	uint8_t bytes[AREA_BYTES];
	size_t len;
};

/* The next free place that suits a table; may be the end of the area. */
static size_t area_next(const struct area *a)
{
	return MIN(align_up(a->len, 16), sizeof(a->bytes));
}

/* Appends `len` bytes. 0 or -ENOSPC. */
static int area_put(struct area *a, const void *bytes, size_t len)
{
	if (!range_within(a->len, len, sizeof(a->bytes)))
		return -ENOSPC;
	memcpy(a->bytes + a->len, bytes, len);
	a->len += len;
	return 0;
}

static uint8_t checksum(const uint8_t *bytes, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

static struct header header(const char *signature, uint8_t revision)
{
	struct header h = { .revision = revision,
			    .oem_revision = 1,
			    .creator_revision = 1 };

	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem_id, OEM_ID, sizeof(h.oem_id));
	memcpy(h.oem_table_id, "TINTYPE ", sizeof(h.oem_table_id));
	memcpy(h.creator_id, "TINT", sizeof(h.creator_id));
	return h;
}

/* Sets length and checksum of the table that runs from `at` to the end. */
static void finish_table(struct area *a, size_t at)
{
	struct header h;

	memcpy(&h, a->bytes + at, sizeof(h));
	h.length = (uint32_t)(a->len - at);
	h.checksum = 0;
	memcpy(a->bytes + at, &h, sizeof(h));
	h.checksum = checksum(a->bytes + at, a->len - at);
	memcpy(a->bytes + at, &h, sizeof(h));
}

static int put_table(struct area *a, const void *table, size_t len)
{
	size_t at = area_next(a);
	int err;

	a->len = at;
	err = area_put(a, table, len);
	if (!err)
		finish_table(a, at);
	return err;
}

static struct gas io_byte(uint16_t port)
{
	return (
	    struct gas){ .space = 1, .bits = 8, .access = 1, .address = port };
}

static int put_fadt(struct area *a, uint64_t dsdt)
{
	struct fadt f = {
		.h = header("FACP", 6),
		.minor_revision = 4,
		.dsdt = (uint32_t)dsdt,
		.x_dsdt = dsdt,
		/* Above 100 and 1000: no such C state. */
		.c2_latency = 101,
		.c3_latency = 1001,
		.century = RTC_CENTURY,
		.iapc_boot_arch = BOOT_LEGACY_DEVICES | BOOT_NO_VGA,
		.flags = FADT_WBINVD | FADT_PROC_C1 |
			 FADT_NO_FIXED_POWER_BUTTON |
			 FADT_NO_FIXED_SLEEP_BUTTON | FADT_RESET_REG |
			 FADT_HEADLESS | FADT_HW_REDUCED,
		.reset_reg = io_byte(PLATFORM_POWER_RESET),
		.reset_value = PLATFORM_RESET_VALUE,
		.sleep_control = io_byte(PLATFORM_POWER_SLEEP),
		.sleep_status = io_byte(PLATFORM_POWER_STATUS),
	};

	return put_table(a, &f, sizeof(f));
}

static int put_madt_cpu(struct area *a, unsigned id)
{
	struct madt_lapic l = { MADT_LAPIC, sizeof(l), (uint8_t)id, (uint8_t)id,
				MADT_ENABLED };
	struct madt_x2apic x = {
		MADT_X2APIC, sizeof(x), 0, id, MADT_ENABLED, id
	};

	if (id < MAX_XAPIC_CPUS)
		return area_put(a, &l, sizeof(l));
	return area_put(a, &x, sizeof(x));
}

/*
 * PCAT_COMPAT stays clear: KVM's irqchip has two 8259s, but every line reaches
 * the IOAPIC, and a hardware-reduced guest does not set them up.
 */
static int put_madt(struct area *a, unsigned cpus)
{
	struct madt m = { .h = header("APIC", 5), .lapic = PLATFORM_LAPIC };
	struct madt_ioapic io = { .type = MADT_IOAPIC,
				  .length = sizeof(io),
				  .address = PLATFORM_IOAPIC };
	struct madt_lapic_nmi nmi = { .type = MADT_LAPIC_NMI,
				      .length = sizeof(nmi),
				      .uid = UINT8_MAX, /* all */
				      .lint = APIC_LINT1 };
	struct madt_x2apic_nmi xnmi = { .type = MADT_X2APIC_NMI,
					.length = sizeof(xnmi),
					.uid = UINT32_MAX, /* all */
					.lint = APIC_LINT1 };
	size_t at = area_next(a);
	int err;

	a->len = at;
	err = area_put(a, &m, sizeof(m));
	for (unsigned i = 0; !err && i < cpus; i++)
		err = put_madt_cpu(a, i);
	if (!err)
		err = area_put(a, &io, sizeof(io));
	if (!err)
		err = area_put(a, &nmi, sizeof(nmi));
	if (!err && cpus > MAX_XAPIC_CPUS)
		err = area_put(a, &xnmi, sizeof(xnmi));
	if (!err)
		finish_table(a, at);
	return err;
}

static void dsdt_cpus(struct aml *a, unsigned cpus)
{
	for (unsigned i = 0; i < cpus; i++) {
		char seg[5];

		snprintf(seg, sizeof(seg), "C%03X", i & 0xfff);
		aml_open_device(a, seg);
		aml_name_string(a, "_HID", "ACPI0007");
		aml_name_integer(a, "_UID", i);
		aml_close(a);
	}
}

static void dsdt_power_button(struct aml *a)
{
	aml_open_device(a, "PWRB");
	aml_name_eisaid(a, "_HID", "PNP0C0C");
	aml_close(a);
}

/* Without an interrupt: there are no alarms. */
static void dsdt_rtc(struct aml *a)
{
	aml_open_device(a, "RTC");
	aml_name_eisaid(a, "_HID", "PNP0B00");
	aml_name(a, "_CRS");
	aml_open_resources(a);
	aml_resource_io(a, PLATFORM_RTC_PORT, 2);
	aml_close(a);
	aml_close(a);
}

static void dsdt_serial(struct aml *a)
{
	aml_open_device(a, "COM1");
	aml_name_eisaid(a, "_HID", "PNP0501");
	aml_name_integer(a, "_UID", 0);
	aml_name(a, "_CRS");
	aml_open_resources(a);
	aml_resource_io(a, PLATFORM_UART_PORT, 8);
	aml_resource_irq(a, PLATFORM_UART_GSI);
	aml_close(a);
	aml_close(a);
}

/* QEMU's docs/specs/pvpanic: the id by which guests find it. */
static void dsdt_pvpanic(struct aml *a)
{
	aml_open_device(a, "PEVT");
	aml_name_string(a, "_HID", "QEMU0001");
	aml_name_integer(a, "_STA", 0x0f);
	aml_name(a, "_CRS");
	aml_open_resources(a);
	aml_resource_io(a, PLATFORM_PVPANIC_PORT, 1);
	aml_close(a);
	aml_close(a);
}

/* Microsoft, "Virtual Machine Generation ID", 2012: any _HID, these _CID and
 * _DDN, and ADDR: a package of the low and the high half of the address. */
static void dsdt_vmgenid(struct aml *a)
{
	aml_open_device(a, "VGEN");
	aml_name_string(a, "_HID", "TINT0001");
	aml_name_string(a, "_CID", "VM_Gen_Counter");
	aml_name_string(a, "_DDN", "VM_Gen_Counter");
	aml_name(a, "ADDR");
	aml_open_package(a, 2);
	aml_integer(a, PLATFORM_VMGENID);
	aml_integer(a, 0);
	aml_close(a);
	aml_close(a);
}

/* Linux, drivers/ptp/ptp_vmclock.c: these ids, and the page in its _CRS. */
static void dsdt_vmclock(struct aml *a)
{
	aml_open_device(a, "VCLK");
	aml_name_string(a, "_HID", "AMZNC10C");
	aml_name_string(a, "_CID", "VMCLOCK");
	aml_name_string(a, "_DDN", "VMCLOCK");
	aml_name(a, "_CRS");
	aml_open_resources(a);
	aml_resource_memory(a, PLATFORM_VMCLOCK, PAGE_BYTES);
	aml_close(a);
	aml_close(a);
}

/* 5.6.9: the one interrupt, and the method that finds out what it was for. The
 * read of PEND takes the pending bits and clears them. */
static void dsdt_ged(struct aml *a)
{
	aml_open_device(a, "GED");
	aml_name_string(a, "_HID", "ACPI0013");
	aml_name_integer(a, "_UID", 0);
	aml_name(a, "_CRS");
	aml_open_resources(a);
	aml_resource_irq(a, PLATFORM_POWER_GSI);
	aml_close(a);
	aml_io_field(a, "PREG", "PEND", PLATFORM_POWER_EVENTS, 4);
	aml_open_method(a, "_EVT", 1, true);
	aml_store_local(a, "PEND", 0);
	aml_open_if_bit(a, 0, PLATFORM_EVENT_POWER_BUTTON);
	aml_notify(a, "\\_SB.PWRB", 0x80);
	aml_close(a);
	aml_open_if_bit(a, 0, PLATFORM_EVENT_VMGENID);
	aml_notify(a, "\\_SB.VGEN", 0x80);
	aml_close(a);
	aml_close(a);
	aml_close(a);
}

static void dsdt_virtio(struct aml *a, const struct acpi_config *c)
{
	for (unsigned i = 0; i < c->nvirtio; i++) {
		char seg[5];

		snprintf(seg, sizeof(seg), "VR%02X", i & 0xff);
		aml_open_device(a, seg);
		aml_name_string(a, "_HID", "LNRO0005");
		aml_name_integer(a, "_UID", i);
		aml_name_integer(a, "_CCA", 1);
		aml_name(a, "_CRS");
		aml_open_resources(a);
		aml_resource_memory(a, (uint32_t)c->virtio[i].base,
				    PLATFORM_VIRTIO_BYTES);
		aml_resource_irq(a, c->virtio[i].gsi);
		aml_close(a);
		aml_close(a);
	}
}

/* SLP_TYP of S5, the only sleep state; the other elements are reserved. */
static void dsdt_s5(struct aml *a)
{
	aml_name(a, "_S5");
	aml_open_package(a, 4);
	aml_integer(a, PLATFORM_SLEEP_TYPE_S5);
	aml_integer(a, 0);
	aml_integer(a, 0);
	aml_integer(a, 0);
	aml_close(a);
}

static int put_dsdt(struct area *a, const struct acpi_config *c, uint64_t *at)
{
	struct header h = header("DSDT", 2);
	struct aml aml;
	size_t start = area_next(a);
	int64_t len;
	int err;

	a->len = start;
	err = area_put(a, &h, sizeof(h));
	if (err)
		return err;
	aml_begin(&aml, a->bytes + a->len, sizeof(a->bytes) - a->len);
	dsdt_s5(&aml);
	aml_open_scope(&aml, "\\_SB");
	dsdt_cpus(&aml, c->cpus);
	dsdt_power_button(&aml);
	dsdt_serial(&aml);
	dsdt_rtc(&aml);
	dsdt_pvpanic(&aml);
	dsdt_vmgenid(&aml);
	dsdt_vmclock(&aml);
	dsdt_ged(&aml);
	dsdt_virtio(&aml, c);
	aml_close(&aml);
	len = aml_end(&aml);
	if (len < 0)
		return (int)len;
	a->len += (size_t)len;
	finish_table(a, start);
	*at = PLATFORM_ACPI + start;
	return 0;
}

/* The first two tables, whose place is known before the others' is. */
static void put_roots(struct area *a, size_t fadt, size_t madt)
{
	struct rsdp r = { .revision = 2, .length = sizeof(r) };
	struct xsdt x = { .h = header("XSDT", 1),
			  .table = { PLATFORM_ACPI + fadt,
				     PLATFORM_ACPI + madt } };
	size_t end = a->len;

	memcpy(r.signature, "RSD PTR ", sizeof(r.signature));
	memcpy(r.oem_id, OEM_ID, sizeof(r.oem_id));
	a->len = sizeof(r);
	r.xsdt = PLATFORM_ACPI + area_next(a);
	r.checksum = checksum((const uint8_t *)&r, 20);
	r.extended_checksum = checksum((const uint8_t *)&r, sizeof(r));
	memcpy(a->bytes, &r, sizeof(r));
	put_table(a, &x, sizeof(x));
	a->len = end;
}

static bool config_valid(const struct acpi_config *c)
{
	if (c->cpus == 0 || c->nvirtio > ACPI_MAX_VIRTIO)
		return false;
	for (unsigned i = 0; i < c->nvirtio; i++)
		if (c->virtio[i].base < PLATFORM_GAP_START ||
		    c->virtio[i].base >
			PLATFORM_GAP_END - PLATFORM_VIRTIO_BYTES ||
		    c->virtio[i].gsi >= PLATFORM_GSI_END)
			return false;
	return true;
}

int acpi_write(struct gmem *m, const struct acpi_config *c)
{
	_cleanup_free_ struct area *a = NULL;
	uint64_t dsdt;
	size_t fadt, madt;
	int err;

	if (!config_valid(c))
		return -EINVAL;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->len = align_up(sizeof(struct rsdp), 16) + sizeof(struct xsdt);
	err = put_dsdt(a, c, &dsdt);
	if (err)
		return err;
	fadt = area_next(a);
	err = put_fadt(a, dsdt);
	if (err)
		return err;
	madt = area_next(a);
	err = put_madt(a, c->cpus);
	if (err)
		return err;
	put_roots(a, fadt, madt);
	return gmem_write(m, GPA(PLATFORM_ACPI), a->bytes, a->len);
}
