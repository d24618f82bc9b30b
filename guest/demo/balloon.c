/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on the virtio-balloon. Pages are given from the top of the pool
 * downwards, each filled first, so that it holds memory of the host when it is
 * given; they must read zero afterwards.
 */
#include "demo.h"
#include "virtio.h"

#define PAGE	    4096
#define BATCH	    256 /* page numbers in a request, as Linux has it */
#define MAX_PAGES   (1u << 20)
#define CONFIG	    0x100
#define F_STATS	    (1ull << 1)
#define F_REPORTING (1ull << 5)

enum { INFLATE, DEFLATE, STATS, REPORTING, QUEUES };

static struct virtio_dev dev;
static struct virtio_queue queue[QUEUES];
static uint64_t given;

static bool set_up(void)
{
	const char *why;

	if (queue[INFLATE].ring)
		return true;
	if (!virtio_find(VIRTIO_ID_BALLOON, 0, &dev)) {
		print("balloon: there is none; run with --balloon\n");
		return false;
	}
	why = virtio_begin(&dev, F_STATS | F_REPORTING);
	for (unsigned i = 0; i < QUEUES && !why; i++)
		why = virtio_queue(&dev, i, 32, &queue[i]);
	if (why) {
		print("balloon: the device %s\n", why);
		return false;
	}
	virtio_go(&dev);
	return true;
}

/* The page `i` from the top of the last stretch of the pool; NULL: the
 * stretch is not that long. */
static uint64_t *page_at(uint64_t i)
{
	const struct boot_range *r;
	unsigned n = mem_pool(&r);

	if (!n || i >= (r[n - 1].end - r[n - 1].start) / PAGE)
		return NULL;
	return (uint64_t *)(r[n - 1].end / PAGE * PAGE - (i + 1) * PAGE);
}

/* One request, polled: interrupts are another device's. */
static void request(unsigned q, void *data, uint32_t len, bool in)
{
	struct virtio_buf buf = { data, len, in };
	uint32_t written;
	unsigned id;

	if (virtio_offer(&queue[q], &buf, 1) < 0)
		guest_panic("balloon: no room in an empty queue");
	while (!virtio_take(&queue[q], &id, &written))
		cpu_relax();
}

/* Sends the numbers of `n` pages, the first of them the i-th. */
static void send_pages(unsigned q, uint64_t i, uint64_t n)
{
	static uint32_t pfn[BATCH];

	while (n) {
		uint32_t len = 0;

		for (; n && len < BATCH; n--)
			pfn[len++] = (uint32_t)((uintptr_t)page_at(i++) / PAGE);
		request(q, pfn, len * (uint32_t)sizeof(*pfn), false);
	}
	virtio_set(&dev, CONFIG + 4, (uint32_t)given);
}

static void fill_pages(uint64_t i, uint64_t n)
{
	for (; n--; i++)
		memset(page_at(i), 0x5a, PAGE);
}

/* How many of the pages hold anything. */
static uint64_t dirty_pages(uint64_t i, uint64_t n)
{
	uint64_t dirty = 0;

	for (; n--; i++)
		for (unsigned w = 0; w < PAGE / sizeof(uint64_t); w++)
			if (page_at(i)[w]) {
				dirty++;
				break;
			}
	return dirty;
}

static void inflate(uint64_t n)
{
	given += n;
	send_pages(INFLATE, given - n, n);
}

static void deflate(uint64_t n)
{
	given -= n;
	send_pages(DEFLATE, given, n);
}

/* They come back, or are looked at, and must be zero. */
static int expect_zero(const char *how, uint64_t i, uint64_t n)
{
	uint64_t dirty = dirty_pages(i, n);

	print("balloon: %lu pages %s, %lu of them not zero\n", n, how, dirty);
	return dirty ? DEMO_FAILED : 0;
}

static int do_inflate(uint64_t n)
{
	fill_pages(given, n);
	inflate(n);
	print("balloon: %lu pages given\n", n);
	return 0;
}

static int do_deflate(uint64_t n)
{
	if (n > given)
		return DEMO_USAGE;
	deflate(n);
	return expect_zero("taken back", given, n);
}

static int do_report(uint64_t n)
{
	fill_pages(given, n);
	request(REPORTING, page_at(given + n - 1), (uint32_t)(n * PAGE), true);
	print("balloon: %lu pages reported\n", n);
	return 0;
}

static int do_check(uint64_t n)
{
	return expect_zero("looked at", given, n);
}

/* ---- following the host ---- */

static struct {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed)) stat[2];

static void offer_stats(void)
{
	struct virtio_buf buf = { stat, sizeof(stat), false };
	const struct boot_range *r;
	uint64_t bytes = 0;

	for (unsigned n = mem_pool(&r); n--; r++)
		bytes += r->end - r->start;
	stat[0].tag = 4; /* free */
	stat[0].value = bytes - given * PAGE;
	stat[1].tag = 5; /* total */
	stat[1].value = bytes;
	virtio_offer(&queue[STATS], &buf, 1);
}

/* Does what the host asks for, until Ctrl-C. */
static int do_follow(uint64_t hz)
{
	uint32_t written;
	unsigned id;

	offer_stats();
	if (timer_start(TIMER_PERIODIC, (uint32_t)hz))
		return DEMO_FAILED;
	print("balloon: following\n");
	while (!console_break()) {
		uint64_t target = virtio_get(&dev, CONFIG);

		if (target > given && page_at(target - 1))
			inflate(target - given);
		else if (target < given)
			deflate(given - target);
		if (virtio_take(&queue[STATS], &id, &written))
			offer_stats();
		irq_wait();
	}
	timer_stop();
	return 0;
}

static const struct {
	const char *name;
	int (*run)(uint64_t n);
	bool pages; /* n, beyond those that are given */
} actions[] = {
	{ "inflate", do_inflate, true }, { "deflate", do_deflate, false },
	{ "report", do_report, true },	 { "check", do_check, true },
	{ "follow", do_follow, false },
};

static int cmd_balloon(unsigned argc, char **argv)
{
	uint64_t n;

	if (!demo_number(argc, argv, 2, MAX_PAGES, 100, &n) || !n)
		return DEMO_USAGE;
	for (unsigned i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
		if (strcmp(argv[1], actions[i].name))
			continue;
		if (!set_up())
			return DEMO_FAILED;
		if (actions[i].pages && !page_at(given + n - 1)) {
			print("balloon: not so many pages are free\n");
			return DEMO_FAILED;
		}
		return actions[i].run(n);
	}
	return DEMO_USAGE;
}

const struct command balloon_commands[] = {
	{ "balloon", "inflate|deflate|report|check [PAGES]|follow [HZ]",
	  "give pages by the virtio-balloon, or do what the host asks for",
	  cmd_balloon, 1, 2, true },
	{ NULL, NULL, NULL, NULL, 0, 0, false },
};
