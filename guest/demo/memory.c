/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on RAM: patterns that are a function of seed and address, writes at
 * a pace, and one hash of everything.
 */
#include "demo.h"

#define PAGE	    4096
#define PAGE_WORDS  512
#define MIB_PAGES   256
#define MIB_SHIFT   20
#define LCG_MUL	    6364136223846793005u
#define LCG_ADD	    1442695040888963407u
#define HASH_MUL    0x9fb21c651e98df25u
#define MAX_MIB	    (1u << 27)
#define DEFAULT_MIB 64

/* ---- the pool as one row of pages ---- */

static uint64_t pool_pages(void)
{
	const struct boot_range *r;
	uint64_t bytes = 0;

	for (unsigned n = mem_pool(&r); n--; r++)
		bytes += r->end - r->start;
	return bytes / PAGE;
}

/* Page `i` of the pool, and how many follow it without a hole. */
static uint64_t *pool_page(uint64_t i, uint64_t *run)
{
	const struct boot_range *r;
	uint64_t pages;

	for (unsigned n = mem_pool(&r); n--; r++) {
		pages = (r->end - r->start) / PAGE;
		if (i < pages) {
			*run = pages - i;
			return (uint64_t *)(r->start + i * PAGE);
		}
		i -= pages;
	}
	guest_panic("page outside the pool");
}

static bool pool_has(const char *who, uint64_t mib)
{
	if (mib <= pool_pages() / MIB_PAGES)
		return true;
	print("%s: %lu MiB asked for, %lu MiB free\n", who, mib,
	      pool_pages() / MIB_PAGES);
	return false;
}

/* ---- patterns ---- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void page_fill(uint64_t *page, uint64_t seed)
{
	uint64_t x = mix(seed ^ mix((uint64_t)page));

	for (unsigned i = 0; i < PAGE_WORDS; i++) {
		page[i] = x;
		x = x * LCG_MUL + LCG_ADD;
	}
}

/* The first wrong word's index, or PAGE_WORDS. */
static unsigned page_check(const uint64_t *page, uint64_t seed, uint64_t *want)
{
	uint64_t x = mix(seed ^ mix((uint64_t)page));

	for (unsigned i = 0; i < PAGE_WORDS; i++) {
		*want = x;
		if (page[i] != x)
			return i;
		x = x * LCG_MUL + LCG_ADD;
	}
	return PAGE_WORDS;
}

static bool seed_and_pages(unsigned argc, char **argv, uint64_t *seed,
			   uint64_t *pages)
{
	uint64_t mib;

	if (!demo_number(argc, argv, 1, UINT64_MAX, 0, seed) ||
	    !demo_number(argc, argv, 2, MAX_MIB, pool_pages() / MIB_PAGES,
			 &mib) ||
	    !pool_has(argv[0], mib))
		return false;
	*pages = mib * MIB_PAGES;
	return true;
}

static int cmd_fill(unsigned argc, char **argv)
{
	uint64_t seed, pages, run = 0, *page = NULL;

	if (!seed_and_pages(argc, argv, &seed, &pages))
		return DEMO_USAGE;
	for (uint64_t i = 0; i < pages; i++, run--, page += PAGE_WORDS) {
		if (!run)
			page = pool_page(i, &run);
		page_fill(page, seed);
	}
	print("fill: %lu MiB, seed %lu\n", pages / MIB_PAGES, seed);
	return 0;
}

static int cmd_check(unsigned argc, char **argv)
{
	uint64_t seed, pages, want, bad = 0, run = 0, *page = NULL;
	unsigned word;

	if (!seed_and_pages(argc, argv, &seed, &pages))
		return DEMO_USAGE;
	for (uint64_t i = 0; i < pages; i++, run--, page += PAGE_WORDS) {
		if (!run)
			page = pool_page(i, &run);
		word = page_check(page, seed, &want);
		if (word == PAGE_WORDS)
			continue;
		if (!bad++)
			print("check: at 0x%lx is 0x%016lx, not 0x%016lx\n",
			      (uint64_t)&page[word], page[word], want);
	}
	print("check: %lu MiB, seed %lu: %lu pages differ\n", pages / MIB_PAGES,
	      seed, bad);
	return bad ? DEMO_FAILED : 0;
}

/* ---- dirty: each millisecond's share of pages at its time ---- */

struct pace {
	uint64_t millisecond;	 /* cycles */
	uint64_t last;		 /* the last look at the TSC */
	uint64_t gap;		 /* the longest time between two */
	uint64_t missed, latest; /* cycles */
};

static uint64_t pace_look(struct pace *p)
{
	uint64_t now = clock_tsc();

	if (now - p->last > p->gap)
		p->gap = now - p->last;
	p->last = now;
	return now;
}

static void dirty_page(uint64_t i, uint64_t count, bool whole)
{
	uint64_t run, *page = pool_page(i, &run);

	if (whole)
		page_fill(page, count);
	else
		*(volatile uint64_t *)page = mix(count);
}

/* Returns the pages written. */
static uint64_t dirty_run(struct pace *p, uint64_t bytes_per_ms, uint64_t ms,
			  uint64_t working_set, bool whole)
{
	uint64_t first = pool_pages() - working_set, done = 0, due, now;
	uint64_t start = clock_tsc();

	p->last = start;
	for (uint64_t k = 0; (!ms || k < ms) && !console_break(); k++) {
		due = start + k * p->millisecond;
		while (pace_look(p) < due)
			cpu_relax();
		for (; done < (k + 1) * bytes_per_ms / PAGE; done++) {
			dirty_page(first + done % working_set, done, whole);
			pace_look(p);
		}
		now = pace_look(p);
		if (now <= due + p->millisecond)
			continue;
		p->missed++;
		now -= due + p->millisecond;
		if (now > p->latest)
			p->latest = now;
	}
	return done;
}

/* The first touch of a page is far dearer than the next: all are touched once
 * before the clock starts. */
static int cmd_dirty(unsigned argc, char **argv)
{
	struct pace pace = { 0 };
	uint64_t rate, seconds, mib, done, start, us;
	bool whole = argc > 4;

	if (!demo_number(argc, argv, 1, 100000, 0, &rate) ||
	    !demo_number(argc, argv, 2, 1000000, 0, &seconds) ||
	    !demo_number(argc, argv, 3, MAX_MIB, DEFAULT_MIB, &mib) || !mib ||
	    !pool_has(argv[0], mib) || (whole && strcmp(argv[4], "page")))
		return DEMO_USAGE;
	for (uint64_t i = pool_pages() - mib * MIB_PAGES; i < pool_pages(); i++)
		dirty_page(i, i, false);
	pace.millisecond = clock_tsc_khz();
	start = clock_tsc();
	done = dirty_run(&pace, rate * 1000, seconds * 1000, mib * MIB_PAGES,
			 whole);
	us = demo_microseconds(clock_tsc() - start);
	rate = us ? done * PAGE * 10 / us : 0;
	print("dirty: %lu.%lu MB/s, %lu pages in %lu ms, %lu paces missed, "
	      "latest by %lu us, longest gap %lu us\n",
	      rate / 10, rate % 10, done, us / 1000, pace.missed,
	      demo_microseconds(pace.latest), demo_microseconds(pace.gap));
	return 0;
}

/* ---- hash ---- */

/*
 * Four lanes over 32-byte groups, so that the multiplications overlap:
 * lane[i] = rotate((lane[i] ^ word[i]) * HASH_MUL, 29), lane[i] starting as
 * i + 1; in the end the lanes go as four words through one that starts as 0.
 */
static uint64_t hash_word(uint64_t lane, uint64_t word)
{
	lane = (lane ^ word) * HASH_MUL;
	return lane << 29 | lane >> 35;
}

static void hash_range(uint64_t lane[4], uint64_t start, uint64_t end)
{
	uint64_t a = lane[0], b = lane[1], c = lane[2], d = lane[3];

	for (const volatile uint64_t *w = (const volatile uint64_t *)start;
	     w < (const volatile uint64_t *)end; w += 4) {
		a = hash_word(a, w[0]);
		b = hash_word(b, w[1]);
		c = hash_word(c, w[2]);
		d = hash_word(d, w[3]);
	}
	lane[0] = a;
	lane[1] = b;
	lane[2] = c;
	lane[3] = d;
}

/* Of a range, what lies outside the excluded one. Returns its bytes. */
static uint64_t hash_without(uint64_t lane[4], struct boot_range r,
			     struct boot_range out)
{
	uint64_t middle = r.end < out.start ? r.end : out.start, bytes = 0;

	if (r.start < middle) {
		hash_range(lane, r.start, middle);
		bytes += middle - r.start;
	}
	middle = r.start > out.end ? r.start : out.end;
	if (middle < r.end) {
		hash_range(lane, middle, r.end);
		bytes += r.end - middle;
	}
	return bytes;
}

static int cmd_hash(unsigned argc, char **argv)
{
	struct boot_range out, r;
	const struct boot_range *ranges, *pool;
	uint64_t lane[4] = { 1, 2, 3, 4 }, sum = 0, bytes = 0;
	unsigned n = boot_memory(&ranges);

	mem_pool(&pool); /* maps it, before the exclusion is final */
	out = mem_volatile();
	for (; n--; ranges++) {
		r.start = (ranges->start + PAGE - 1) & -(uint64_t)PAGE;
		r.end = ranges->end & -(uint64_t)PAGE;
		if (ranges->type == 1 && r.start < r.end)
			bytes += hash_without(lane, r, out);
	}
	for (unsigned i = 0; i < 4; i++)
		sum = hash_word(sum, lane[i]);
	print("hash 0x%016lx of %lu KiB, without 0x%lx-0x%lx\n", sum,
	      bytes >> 10, out.start, out.end);
	return 0;
}

/* ---- the memory map ---- */

static const char *type_name(uint32_t type)
{
	static const char *const names[] = { "?", "RAM", "reserved", "ACPI",
					     "ACPI NVS" };

	return type < sizeof(names) / sizeof(names[0]) ? names[type] : "other";
}

static int cmd_mem(unsigned argc, char **argv)
{
	const struct boot_range *r;
	struct boot_range out = mem_volatile();

	for (unsigned n = boot_memory(&r); n--; r++)
		print("0x%012lx-0x%012lx %9lu KiB %s\n", r->start, r->end,
		      (r->end - r->start) >> 10, type_name(r->type));
	for (unsigned n = mem_pool(&r); n--; r++)
		print("0x%012lx-0x%012lx %9lu KiB free for fill\n", r->start,
		      r->end, (r->end - r->start) >> 10);
	print("0x%012lx-0x%012lx %9lu KiB not hashed\n", out.start, out.end,
	      (out.end - out.start) >> 10);
	return 0;
}

const struct command memory_commands[] = {
	{ "mem", "", "the memory map", cmd_mem, 0, 0, false },
	{ "fill", "SEED [MiB]", "write a pattern to free RAM", cmd_fill, 1, 2,
	  false },
	{ "check", "SEED [MiB]", "compare it; fails on a difference", cmd_check,
	  1, 2, false },
	{ "hash", "", "hash all RAM but stacks and counters", cmd_hash, 0, 0,
	  false },
	{ "dirty", "MB/S SECONDS [MiB [page]]",
	  "write a word (or all) of each page in the last MiB", cmd_dirty, 2, 4,
	  true },
	{ NULL, NULL, NULL, NULL, 0, 0, false },
};
