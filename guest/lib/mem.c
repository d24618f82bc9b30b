/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identity page tables, grown a GiB at a time by native code, and the RAM
 * that is left for the program.
 *
 * A directory is filled before it is plugged in: tables in use are write
 * protected by hypervisors that shadow them, and each write would cost an
 * exit. The order in RAM: image, its volatile data, the library's arena (page
 * tables, CPUs' memory), pool.
 */
#include "cpl0.h"
#include "cpu.h"

#define GIB_SHIFT   30
#define ENTRIES	    512
#define SPARE_PAGES 128 /* device windows, distant tables, drivers */
#define MAX_POOL    16
#define PTE_ADDR    0x000ffffffffff000
#define MAX_ADDR    (1ull << 47)

extern uint64_t guest_pml4[ENTRIES], guest_pd_low[ENTRIES],
    guest_pd_dev[ENTRIES]; /* entry.S */

static uint64_t arena_next, arena_end;
static struct boot_range pool[MAX_POOL];
static unsigned pool_count;

static uint64_t round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & -to;
}

void *mem_alloc_pages(unsigned n)
{
	uint64_t at = round_up(arena_next, n * 4096ull);

	if (at > arena_end || arena_end - at < n * 4096ull)
		return NULL;
	arena_next = at + n * 4096ull;
	return (void *)at;
}

static uint64_t *table_of(uint64_t entry)
{
	return (uint64_t *)(entry & PTE_ADDR);
}

static uint64_t *mem_need_page(void)
{
	uint64_t *page = mem_alloc_pages(1);

	if (!page)
		guest_panic("out of page tables");
	return page;
}

static uint64_t reload_tables(uint64_t a, uint64_t b, uint64_t c)
{
	__asm__ volatile("mov %0, %%cr3" ::"r"((uint64_t)guest_pml4)
			 : "memory");
	return 0;
}

/* The two directories that entry.S made map only what the start needs. */
static bool directory_is_complete(uint64_t entry)
{
	return entry && table_of(entry) != guest_pd_low &&
	       table_of(entry) != guest_pd_dev;
}

static void mem_map_gib(uint64_t gib)
{
	uint64_t *pdpt, *pd, *slot, addr = gib << GIB_SHIFT, flags = PTE_2M;

	if (!guest_pml4[gib / ENTRIES])
		guest_pml4[gib / ENTRIES] =
		    (uint64_t)mem_need_page() | PTE_TABLE;
	pdpt = table_of(guest_pml4[gib / ENTRIES]);
	slot = &pdpt[gib % ENTRIES];
	if (directory_is_complete(*slot))
		return;
	pd = mem_need_page();
	if (addr >= PLATFORM_GAP_START && addr < PLATFORM_GAP_END)
		flags = PTE_2M_DEV;
	for (unsigned i = 0; i < ENTRIES; i++)
		pd[i] = (addr + ((uint64_t)i << 21)) | flags;
	*slot = (uint64_t)pd | PTE_TABLE;
	at_cpl0(reload_tables, 0, 0, 0);
}

void mem_map(uint64_t start, uint64_t bytes)
{
	uint64_t last = start + bytes - 1;

	if (!bytes || last < 4ull << 20)
		return;
	if (last < start || last >= MAX_ADDR)
		guest_panic("address out of range");
	for (uint64_t g = start >> GIB_SHIFT; g <= last >> GIB_SHIFT; g++)
		mem_map_gib(g);
}

static void pool_add(uint64_t start, uint64_t end)
{
	start = round_up(start > arena_end ? start : arena_end, 4096);
	end &= ~4095ull;
	if (start >= end || end > MAX_ADDR || pool_count == MAX_POOL)
		return;
	pool[pool_count++] = (struct boot_range){ start, end, 1 };
}

/* Before the memory map is read: the map itself may need to be mapped. */
static void arena_begin(void)
{
	arena_next = (uint64_t)guest_end;
	arena_end = arena_next + SPARE_PAGES * 4096;
}

/* Then for what there is: a directory a GiB, a table more for each 512 of
 * them, and the CPUs. */
static void arena_size(void)
{
	const struct boot_range *r;
	uint64_t pages = 0, gibs;

	for (unsigned n = boot_memory(&r); n--; r++) {
		if (r->type != 1)
			continue;
		gibs = (r->end >> GIB_SHIFT) - (r->start >> GIB_SHIFT) + 1;
		pages += gibs + gibs / ENTRIES + 1;
	}
	/* one too many CPUs: room for their alignment */
	arena_end += pages * 4096 + boot_cpus() * (uint64_t)CPU_BYTES;
	for (unsigned n = boot_memory(&r); n--; r++)
		if (r->start <= arena_next && arena_next < r->end &&
		    arena_end > r->end)
			arena_end = r->end;
}

void mem_init(void)
{
	const struct boot_range *r;

	arena_begin();
	boot_info_read();
	arena_size();
	for (unsigned n = boot_memory(&r); n--; r++)
		if (r->type == 1 && r->end > PLATFORM_KERNEL)
			pool_add(r->start, r->end);
}

unsigned mem_pool(const struct boot_range **ranges)
{
	mem_map(arena_next, arena_end - arena_next);
	for (unsigned i = 0; i < pool_count; i++)
		mem_map(pool[i].start, pool[i].end - pool[i].start);
	*ranges = pool;
	return pool_count;
}

struct boot_range mem_volatile(void)
{
	return (struct boot_range){ (uint64_t)guest_volatile, arena_next, 1 };
}
