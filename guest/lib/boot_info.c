/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the loader says: memory map, command line and CPUs, from Linux's
 * boot_params (Documentation/x86/zero-page.rst) or PVH's hvm_start_info
 * (xen/include/public/arch-x86/hvm/start_info.h), and from ACPI's MADT (ACPI
 * 6.4, 5.2.5 to 5.2.12). What does not check out counts as not there.
 */
#include "cpu.h"

#define MAX_RANGES  32
#define CMDLINE_MAX 4096

extern uint64_t guest_boot_params, guest_start_info; /* entry.S */

static struct boot_range memory[MAX_RANGES];
static unsigned memory_count;
static uint32_t apic_ids[LAYOUT_MAX_CPUS];
static unsigned cpu_count;
static char cmdline[CMDLINE_MAX];

/* Loaders' structures are packed and unaligned: read them by offset. */
static uint64_t get(uint64_t addr, unsigned bytes)
{
	uint64_t v = 0;

	__builtin_memcpy(&v, (const void *)addr, bytes);
	return v;
}

static void memory_add(uint64_t start, uint64_t bytes, uint32_t type)
{
	unsigned i = memory_count;

	if (memory_count == MAX_RANGES || start + bytes < start || !bytes)
		return;
	for (; i && memory[i - 1].start > start; i--)
		memory[i] = memory[i - 1];
	memory[i] = (struct boot_range){ start, start + bytes, type };
	memory_count++;
}

static void cmdline_copy(uint64_t from)
{
	const char *s = (const char *)from;
	size_t n = 0;

	if (!from)
		return;
	mem_map(from, CMDLINE_MAX);
	for (; n < CMDLINE_MAX - 1 && s[n]; n++)
		cmdline[n] = s[n];
}

/* Returns the RSDP's address or 0. */
static uint64_t boot_params_read(uint64_t p)
{
	unsigned n = (unsigned)get(p + 0x1e8, 1);

	for (uint64_t e = p + 0x2d0; n--; e += 20)
		memory_add(get(e, 8), get(e + 8, 8), (uint32_t)get(e + 16, 4));
	cmdline_copy(get(p + 0x228, 4) | get(p + 0xc8, 4) << 32);
	return get(p + 0x70, 8);
}

static uint64_t start_info_read(uint64_t p)
{
	uint64_t e;
	uint32_t n = 0;

	if (get(p, 4) != 0x336ec578)
		return 0;
	if (get(p + 4, 4) >= 1) {
		e = get(p + 40, 8);
		n = (uint32_t)get(p + 48, 4);
		if (n)
			mem_map(e, 24 * (uint64_t)n);
		for (; n--; e += 24)
			memory_add(get(e, 8), get(e + 8, 8),
				   (uint32_t)get(e + 16, 4));
	}
	cmdline_copy(get(p + 24, 8));
	return get(p + 32, 8);
}

/* ---- ACPI ---- */

static bool sum_is_zero(uint64_t addr, uint64_t bytes)
{
	uint8_t sum = 0;

	while (bytes--)
		sum += *(const uint8_t *)addr++;
	return !sum;
}

static bool rsdp_valid(uint64_t p)
{
	return !memcmp((const void *)p, "RSD PTR ", 8) && sum_is_zero(p, 20);
}

static uint64_t rsdp_find(void)
{
	for (uint64_t p = 0xe0000; p < 0x100000; p += 16)
		if (rsdp_valid(p))
			return p;
	return 0;
}

/* A whole table with this signature, mapped, or 0. */
static uint64_t table_open(uint64_t p, const char *signature, uint64_t *end)
{
	uint64_t bytes;

	if (!p)
		return 0;
	mem_map(p, 36);
	bytes = get(p + 4, 4);
	if (memcmp((const void *)p, signature, 4) || bytes < 36 ||
	    bytes > (1 << 20))
		return 0;
	mem_map(p, bytes);
	*end = p + bytes;
	return sum_is_zero(p, bytes) ? p : 0;
}

static void cpu_add(uint64_t apic_id, uint64_t flags)
{
	if ((flags & 1) && cpu_count < LAYOUT_MAX_CPUS)
		apic_ids[cpu_count++] = (uint32_t)apic_id;
}

static void madt_read(uint64_t p, uint64_t end)
{
	uint64_t bytes;

	for (p += 44; end - p >= 2 && p < end; p += bytes) {
		bytes = get(p + 1, 1);
		if (bytes < 2 || bytes > end - p)
			return;
		if (get(p, 1) == 0 && bytes >= 8)
			cpu_add(get(p + 3, 1), get(p + 4, 4));
		else if (get(p, 1) == 9 && bytes >= 16)
			cpu_add(get(p + 4, 4), get(p + 8, 4));
	}
}

static void acpi_read(uint64_t rsdp)
{
	unsigned bytes = 8;
	uint64_t root, end, table, table_end;

	if (rsdp)
		mem_map(rsdp, 36);
	if (!rsdp || !rsdp_valid(rsdp))
		rsdp = rsdp_find();
	if (!rsdp)
		return;
	root = get(rsdp + 15, 1) >= 2 ? get(rsdp + 24, 8) : 0;
	root = table_open(root, "XSDT", &end);
	if (!root) {
		bytes = 4;
		root = table_open(get(rsdp + 16, 4), "RSDT", &end);
	}
	if (!root)
		return;
	for (uint64_t p = root + 36; end - p >= bytes && p < end; p += bytes) {
		table = table_open(get(p, bytes), "APIC", &table_end);
		if (table)
			madt_read(table, table_end);
	}
}

void boot_info_read(void)
{
	uint64_t rsdp;

	if (guest_boot_params)
		rsdp = boot_params_read(guest_boot_params);
	else
		rsdp = start_info_read(guest_start_info);
	acpi_read(rsdp);
	if (!cpu_count)
		cpu_count = 1;
}

const char *boot_cmdline(void)
{
	return cmdline;
}

unsigned boot_cpus(void)
{
	return cpu_count;
}

uint32_t boot_apic_id(unsigned cpu)
{
	return cpu < cpu_count ? apic_ids[cpu] : UINT32_MAX;
}

unsigned boot_memory(const struct boot_range **ranges)
{
	*ranges = memory;
	return memory_count;
}

/* ---- command line words ---- */

/* Copies a value up to its end: the closing quote, or a space. */
static void value_copy(const char *s, char *value, size_t size)
{
	char stop = ' ';
	size_t n = 0;

	if (*s == '"') {
		stop = '"';
		s++;
	}
	for (; *s && *s != stop && n + 1 < size; s++)
		value[n++] = *s;
	value[n] = 0;
}

static const char *word_skip(const char *s)
{
	bool quoted = false;

	for (; *s && (quoted || *s != ' '); s++)
		if (*s == '"')
			quoted = !quoted;
	while (*s == ' ')
		s++;
	return s;
}

/* Never looks past the end of s. */
static bool starts_with(const char *s, const char *prefix)
{
	while (*prefix && *s == *prefix) {
		s++;
		prefix++;
	}
	return !*prefix;
}

bool boot_option(const char *word, char *value, size_t size)
{
	size_t n = strlen(word);

	value[0] = 0;
	for (const char *p = cmdline; *p; p = word_skip(p)) {
		if (!starts_with(p, word))
			continue;
		if (p[n] == '=')
			value_copy(p + n + 1, value, size);
		if (p[n] == '=' || p[n] == ' ' || !p[n])
			return true;
	}
	return false;
}
