/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon. Statistics: the driver leaves a filled buffer in the queue,
 * and fills it anew when it gets it back. So who asks takes two: the first is
 * as old as the last question, the second is the answer.
 */
#include "balloon.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define VIRTIO_ID_BALLOON 5
#define F_STATS_VQ	  (UINT64_C(1) << 1)
#define F_DEFLATE_ON_OOM  (UINT64_C(1) << 2)
#define F_PAGE_REPORTING  (UINT64_C(1) << 5)

#define CONFIG_NUM_PAGES 0
#define CONFIG_ACTUAL	 4
#define CONFIG_BYTES	 8

#define STATS_CHAINS 2 /* that answer a question */

const char *const balloon_stat_names[BALLOON_STATS] = {
	"swap_in",	    "swap_out",	    "major_faults",
	"minor_faults",	    "free",	    "total",
	"available",	    "disk_caches",  "hugetlb_allocations",
	"hugetlb_failures", "oom_kills",    "alloc_stalls",
	"async_scans",	    "direct_scans", "async_reclaims",
	"direct_reclaims",
};

static const struct state_field balloon_fields[] = {
	VIRTIO_STATE_ROWS(struct balloon_state, virtio),
	STATE(struct balloon_state, num_pages, 1),
	STATE(struct balloon_state, actual, 1),
};
static const struct state_desc balloon_desc =
    STATE_DESC("balloon", 1, struct balloon_state, balloon_fields);

static struct balloon *balloon_of(struct virtio *v)
{
	return container_of(v, struct balloon, virtio);
}

enum served { SERVED, WAITS, BROKEN };

/* ---- pages that come back ---- */

/* Gives them to our kernel; adds them to `done`, or to what was refused. */
static void discard(struct balloon *b, uint64_t gpa, uint64_t bytes,
		    uint64_t *done)
{
	uint64_t pages = bytes / BALLOON_PAGE_BYTES;
	int err = gmem_discard(b->virtio.ram, GPA(gpa), bytes);

	if (!err) {
		*done += pages;
		return;
	}
	if (err == -EFAULT || err == -EINVAL)
		b->count.refused_pages += MAX(pages, (uint64_t)1);
	else
		b->count.failed_pages += pages;
	log_guest(&b->virtio.mistakes, b->virtio.dev.name,
		  "give back %llu pages at 0x%llx: %s",
		  (unsigned long long)pages, (unsigned long long)gpa,
		  strerror(-err));
}

/* How many of the numbers, from the first on, follow each other, up or down:
 * one system call for all of them. *first is the lowest. */
static unsigned run_of(const uint32_t *pfn, unsigned n, uint32_t *first)
{
	uint32_t step = n > 1 && pfn[1] == pfn[0] - 1 ? UINT32_MAX : 1;
	unsigned len = 1;

	while (len < n && pfn[len] == pfn[len - 1] + step)
		len++;
	*first = step == 1 ? pfn[0] : pfn[len - 1];
	return len;
}

/* The page numbers of a chain: how many, or -EPROTO. */
static int64_t read_numbers(struct balloon *b, struct virtq_chain *c,
			    uint32_t pfn[BALLOON_CHAIN_NUMBERS])
{
	const size_t room = BALLOON_CHAIN_NUMBERS * sizeof(*pfn);
	int64_t n = virtq_read(c, pfn, room);
	uint32_t beyond;

	if (n == (int64_t)room && virtq_read(c, &beyond, sizeof(beyond)) > 0)
		b->count.refused_pages++; /* how many more: nobody counts */
	return n < 0 ? n : n / (int64_t)sizeof(*pfn);
}

static enum served inflate(struct balloon *b, struct virtq_chain *c)
{
	uint32_t pfn[BALLOON_CHAIN_NUMBERS], first;
	int64_t n = read_numbers(b, c, pfn);
	unsigned len;

	for (int64_t i = 0; i < n; i += len) {
		len = run_of(pfn + i, (unsigned)(n - i), &first);
		discard(b, (uint64_t)first * BALLOON_PAGE_BYTES,
			(uint64_t)len * BALLOON_PAGE_BYTES, &b->count.inflated);
	}
	return n < 0 ? BROKEN : SERVED;
}

/* The pages are there as soon as they are touched: nothing to do. */
static enum served deflate(struct balloon *b, struct virtq_chain *c)
{
	uint32_t pfn[BALLOON_CHAIN_NUMBERS];
	int64_t n = read_numbers(b, c, pfn);

	b->count.deflated += (uint64_t)MAX(n, 0);
	return n < 0 ? BROKEN : SERVED;
}

/* What of a buffer this round allows; false: it was not all. */
static bool report_part(struct balloon *b, const struct virtq_desc *d,
			uint64_t skip, uint64_t *left)
{
	uint64_t bytes = MIN(d->len - skip, *left);

	if ((d->gpa.v | d->len) % BALLOON_PAGE_BYTES)
		bytes = d->len - skip; /* refused, as a whole */
	if (bytes)
		discard(b, d->gpa.v + skip, bytes, &b->count.reported);
	b->progress += bytes;
	*left -= MIN(bytes, *left);
	return skip + bytes == d->len;
}

/* Each buffer is a range of pages that are free. They may be many: what a
 * round leaves is done in the next one, from where `progress` is. */
static enum served report(struct balloon *b, struct virtq_chain *c)
{
	uint64_t at = 0, left = BALLOON_ROUND_BYTES;
	struct virtq_desc d;
	int got;

	while ((got = virtq_next(c, &d)) == 1) {
		uint64_t skip = MIN(d.len, b->progress - MIN(at, b->progress));

		if (!d.writable) {
			virtio_broken(&b->virtio, "a page that is not given");
			return BROKEN;
		}
		if (!report_part(b, &d, skip, &left))
			return WAITS;
		at += d.len;
	}
	b->progress = 0;
	return got < 0 ? BROKEN : SERVED;
}

/* ---- statistics ---- */

struct stat {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

static enum served take_stats(struct balloon *b, struct virtq_chain *c)
{
	struct stat stat[2 * BALLOON_STATS];
	int64_t n = virtq_read(c, stat, sizeof(stat));

	for (int64_t i = 0; i < n / (int64_t)sizeof(*stat); i++) {
		if (stat[i].tag >= BALLOON_STATS)
			continue;
		b->stats.value[stat[i].tag] = stat[i].value;
		b->stats.known |= 1u << stat[i].tag;
	}
	if (n < 0)
		return BROKEN;
	b->stats.updates += --b->ask == 0;
	return SERVED;
}

bool balloon_ask(struct balloon *b)
{
	if (!virtio_has(&b->virtio, F_STATS_VQ))
		return false;
	b->ask = STATS_CHAINS;
	virtio_kicked(&b->virtio);
	return true;
}

/* ---- queues ---- */

enum role { INFLATE, DEFLATE, STATS, REPORT };

static const struct {
	enum served (*serve)(struct balloon *b, struct virtq_chain *c);
	unsigned round; /* chains: some milliseconds at the most */
} roles[] = {
	[INFLATE] = { inflate, 1 },
	[DEFLATE] = { deflate, 16 },
	[STATS] = { take_stats, STATS_CHAINS },
	[REPORT] = { report, 1 },
};

static enum role role_of(struct virtio *v, unsigned queue)
{
	return queue >= STATS && !virtio_has(v, F_STATS_VQ) ? queue + 1 : queue;
}

/* Does the driver know this queue? Is there something to do with it? */
static bool wanted(const struct balloon *b, enum role role)
{
	switch (role) {
	case STATS:
		return b->ask;
	case REPORT:
		return virtio_has(&b->virtio, F_PAGE_REPORTING);
	case INFLATE:
	case DEFLATE:
		return true;
	}
	return false; /* one more than there are, without statistics */
}

/* So many chains, as far as they go: how many are left. */
static unsigned serve(struct balloon *b, struct virtq *q, enum role role)
{
	unsigned left = roles[role].round;
	struct virtq_chain c;

	do {
		while (left && wanted(b, role) && virtq_pop(q, &c) == 1) {
			enum served s = roles[role].serve(b, &c);

			left--;
			if (s == BROKEN)
				return 1;
			if (s == WAITS) {
				virtq_unpop(q, 1);
				return 0;
			}
			virtq_push(&c, 0);
		}
	} while (left && wanted(b, role) && virtq_enable_kicks(q));
	return left;
}

static void balloon_kick(struct virtio *v, unsigned queue)
{
	struct balloon *b = balloon_of(v);
	enum role role = role_of(v, queue);

	if (!wanted(b, role))
		return;
	if (!serve(b, &v->q[queue], role))
		loop_post(b->loop, &b->more);
	virtq_interrupt(&v->q[queue]);
}

static void go_on(struct loop_task *t)
{
	struct balloon *b = container_of(t, struct balloon, more);
	_locked_(&b->virtio.dev.lock);

	virtio_kicked(&b->virtio);
}

/* ---- configuration ---- */

static uint64_t read_config(struct virtio *v, uint64_t off, unsigned len)
{
	const struct balloon_state *st = &balloon_of(v)->st;
	const uint32_t config[] = { st->num_pages, st->actual };
	uint64_t value = 0;

	memcpy(&value, (const uint8_t *)config + off, len);
	return value;
}

static void write_config(struct virtio *v, uint64_t off, unsigned len,
			 uint64_t value)
{
	struct balloon *b = balloon_of(v);

	if (off < CONFIG_ACTUAL) {
		v->counters.refused++;
		log_guest(&v->mistakes, v->dev.name,
			  "write 0x%llx: the target is the host's",
			  (unsigned long long)value);
		return;
	}
	memcpy((uint8_t *)&b->st.actual + (off - CONFIG_ACTUAL), &value, len);
}

static uint32_t ram_pages(const struct balloon *b)
{
	return (uint32_t)MIN(b->virtio.ram->bytes / BALLOON_PAGE_BYTES,
			     UINT32_MAX);
}

void balloon_set_target(struct balloon *b, uint32_t pages)
{
	b->target = MIN(pages, ram_pages(b));
	if (b->target == b->st.num_pages)
		return;
	b->st.num_pages = b->target;
	virtio_config_changed(&b->virtio);
}

static void forget(struct virtio *v)
{
	balloon_of(v)->progress = 0;
}

static void fresh(struct virtio *v)
{
	struct balloon *b = balloon_of(v);

	b->st.num_pages = b->target;
}

/* `actual` is whatever the driver wrote. */
static bool fits(struct virtio *v)
{
	struct balloon *b = balloon_of(v);

	if (b->st.num_pages > ram_pages(b))
		return false;
	b->target = b->st.num_pages;
	b->progress = 0;
	return true;
}

static const struct virtio_class balloon_class = {
	.id = VIRTIO_ID_BALLOON,
	.nqueues = ARRAY_SIZE(roles),
	.queue_max = 128,
	.features = F_STATS_VQ | F_DEFLATE_ON_OOM | F_PAGE_REPORTING,
	.kick = balloon_kick,
	.reset = forget,
	.fresh = fresh,
	.fits = fits,
	.config_bytes = CONFIG_BYTES,
	.config_read = read_config,
	.config_write = write_config,
};

/* ---- its life ---- */

static void balloon_destroy(struct device *d)
{
	struct balloon *b = balloon_of(virtio_of(d));

	loop_unpost(b->loop, &b->more);
	device_fini(d);
	free(b);
}

static const struct device_counter balloon_counters[] = {
	VIRTIO_COUNTERS(struct balloon),
	DEVICE_COUNTER(struct balloon, "inflated_pages", count.inflated),
	DEVICE_COUNTER(struct balloon, "deflated_pages", count.deflated),
	DEVICE_COUNTER(struct balloon, "reported_pages", count.reported),
	DEVICE_COUNTER(struct balloon, "refused_pages", count.refused_pages),
	DEVICE_COUNTER(struct balloon, "failed_pages", count.failed_pages),
	DEVICE_COUNTER(struct balloon, "stats_updates", stats.updates),
};

static const struct device_ops balloon_ops = {
	VIRTIO_OPS,
	.type = "balloon",
	.state = &balloon_desc,
	.destroy = balloon_destroy,
	.counter = balloon_counters,
	.ncounters = ARRAY_SIZE(balloon_counters),
};

struct balloon *balloon_create(const struct balloon_config *c)
{
	struct balloon *b = calloc(1, sizeof(*b));

	static_assert(BALLOON_PAGE_BYTES == PAGE_BYTES, "gmem_discard's");
	if (!b)
		return NULL;
	b->loop = c->loop;
	b->more.run = go_on;
	virtio_init(&b->virtio, &balloon_ops, &balloon_class, &b->st,
		    &c->virtio);
	return b;
}
