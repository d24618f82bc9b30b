/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on disks. What `write` puts on a sector is a function of the seed
 * and the sector's number, so that `check` finds each that is wrong, old or in
 * another's place; seed 0 stands for zeroes.
 */
#include "blk.h"
#include "demo.h"

#define MAX_DISKS     8
#define CHUNK_SECTORS 8u
#define CHUNK_BYTES   (CHUNK_SECTORS * BLK_SECTOR)
#define WORDS	      (BLK_SECTOR / 8)
#define OUTSTANDING   16u

/* The n-th disk, set up once: queues stay ready until a reset. */
static struct blk *disk(uint64_t n)
{
	static struct blk disks[MAX_DISKS];
	static bool open[MAX_DISKS];
	const char *why;

	if (open[n])
		return &disks[n];
	why = blk_open(&disks[n], (unsigned)n, true);
	if (why) {
		print("disk: disk %lu %s\n", n, why);
		return NULL;
	}
	open[n] = true;
	return &disks[n];
}

static bool failed(const char *what, uint8_t status)
{
	if (status != BLK_OK)
		print("disk: %s: %s\n", what,
		      status == BLK_UNSUPP ? "not supported" : "I/O error");
	return status != BLK_OK;
}

/* ---- info ---- */

static int info(struct blk *b)
{
	char id[BLK_ID_BYTES + 1] = { 0 };

	if (failed("id", blk_do(b, BLK_GET_ID, 0, id, BLK_ID_BYTES)))
		return DEMO_FAILED;
	print("disk: '%s', %lu sectors%s%s\n", id, b->sectors,
	      b->dev.features & BLK_RO ? ", read-only" : "",
	      b->dev.features & BLK_HAS_FLUSH ? ", flush" : "");
	return 0;
}

/* ---- many requests at once ---- */

struct chunk {
	uint64_t data[CHUNK_BYTES / 8];
	uint64_t sector;
	unsigned sectors;
	int id; /* -1: free */
};

struct run {
	struct blk *b;
	uint64_t seed, at, end; /* sectors */
	uint64_t or_seed;	/* as good */
	bool write;
	uint64_t wrong; /* sectors */
	struct chunk *chunk;
};

static uint64_t word(uint64_t seed, uint64_t sector, unsigned i)
{
	uint64_t x = (seed << 40 ^ sector << 8 ^ i) * 0x9fb21c651e98df25;

	return seed ? x ^ x >> 29 : 0;
}

static void fill(const struct run *r, struct chunk *c)
{
	for (unsigned i = 0; i < c->sectors * WORDS; i++)
		c->data[i] = word(r->seed, c->sector + i / WORDS, i % WORDS);
}

static bool is_of(const struct chunk *c, unsigned s, uint64_t seed)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (c->data[s * WORDS + i] != word(seed, c->sector + s, i))
			return false;
	return true;
}

static void check(struct run *r, const struct chunk *c)
{
	for (unsigned s = 0; s < c->sectors; s++)
		if (!is_of(c, s, r->seed) && !is_of(c, s, r->or_seed) &&
		    !r->wrong++)
			print("disk: sector %lu is not as written\n",
			      c->sector + s);
}

static void begin_next(struct run *r, struct chunk *c)
{
	uint64_t left = r->end - r->at;

	c->sector = r->at;
	c->sectors = left < CHUNK_SECTORS ? (unsigned)left : CHUNK_SECTORS;
	r->at += c->sectors;
	if (r->write)
		fill(r, c);
	else
		memset(c->data, 0xa5, sizeof(c->data));
	c->id = blk_begin(r->b, r->write ? BLK_OUT : BLK_IN, c->sector, c->data,
			  c->sectors * BLK_SECTOR);
	if (c->id < 0)
		guest_panic("disk: no room in the queue");
}

/* The chunk whose request has ended. */
static struct chunk *ended(const struct run *r, unsigned id)
{
	for (unsigned i = 0; i < OUTSTANDING; i++)
		if (r->chunk[i].id == (int)id)
			return &r->chunk[i];
	guest_panic("disk: an id that was never given");
}

/* Keeps OUTSTANDING requests on their way; the first bad status, or BLK_OK. */
static uint8_t go(struct run *r)
{
	uint8_t status, bad = BLK_OK;
	struct chunk *c;
	unsigned id;

	for (unsigned i = 0; i < OUTSTANDING; i++) {
		r->chunk[i].id = -1;
		if (r->at < r->end)
			begin_next(r, &r->chunk[i]);
	}
	while (r->b->on_way) {
		blk_wait(r->b, &id, &status);
		c = ended(r, id);
		c->id = -1;
		if (status != BLK_OK)
			bad = status;
		else if (!r->write)
			check(r, c);
		if (bad == BLK_OK && r->at < r->end)
			begin_next(r, c);
	}
	return bad;
}

static struct chunk chunks[OUTSTANDING];

static int move(struct blk *b, const char *what, bool write, const uint64_t *v)
{
	struct run r = { .b = b,
			 .seed = v[2],
			 .or_seed = v[2],
			 .at = v[0],
			 .end = v[0] + v[1],
			 .write = write,
			 .chunk = chunks };

	if (failed(what, go(&r)))
		return DEMO_FAILED;
	print("disk: %s %lu sectors at %lu", what, v[1], v[0]);
	if (r.wrong)
		print(", %lu are wrong", r.wrong);
	print("\n");
	return r.wrong ? DEMO_FAILED : 0;
}

static int clear(struct blk *b, const char *what, uint32_t type,
		 const uint64_t *v)
{
	if (failed(what, blk_clear(b, type, v[0], (uint32_t)v[1])))
		return DEMO_FAILED;
	print("disk: %s %lu sectors at %lu\n", what, v[1], v[0]);
	return 0;
}

/* ---- rounds ---- */

/*
 * For who kills the VM: a round writes one slot, or each fifth time discards
 * it, flushes and says so. Slots end within blocks. So after a kill each slot
 * is as its last round that was told left it, but for that of the next round,
 * which may have got any way.
 */
#define SLOT_SECTORS 100u

static uint64_t seed_of(uint64_t round)
{
	return round % 5 == 4 ? 0 : round;
}

static struct run slot_run(struct blk *b, uint64_t slot)
{
	return (struct run){ .b = b,
			     .at = slot * SLOT_SECTORS,
			     .end = (slot + 1) * SLOT_SECTORS,
			     .chunk = chunks };
}

static int one_round(struct blk *b, uint64_t round, uint64_t slots)
{
	struct run r = slot_run(b, round % slots);
	uint8_t status;

	r.seed = seed_of(round);
	r.write = true;
	status =
	    r.seed ? go(&r) : blk_clear(b, BLK_DISCARD, r.at, SLOT_SECTORS);
	if (failed("round", status) ||
	    failed("flush", blk_do(b, BLK_FLUSH, 0, NULL, 0)))
		return DEMO_FAILED;
	print("disk: flushed %lu\n", round);
	return 0;
}

/* diskrounds N FIRST SLOTS */
static int cmd_rounds(unsigned argc, char **argv)
{
	uint64_t n, round, slots;
	struct blk *b;

	if (!demo_number(argc, argv, 1, MAX_DISKS - 1, 0, &n) ||
	    !demo_number(argc, argv, 2, 1ull << 20, 1, &round) ||
	    !demo_number(argc, argv, 3, 1ull << 20, 1, &slots) || !slots)
		return DEMO_USAGE;
	b = disk(n);
	while (b && one_round(b, round, slots) == 0)
		round++;
	return DEMO_FAILED;
}

/* The last round up to `last` that had the slot; 0: none. */
static uint64_t round_of(uint64_t slot, uint64_t last, uint64_t slots)
{
	uint64_t back = (last + slots - slot) % slots;

	return back < last ? last - back : 0;
}

/* diskjudge N LAST SLOTS, of a disk that was zero */
static int cmd_judge(unsigned argc, char **argv)
{
	uint64_t n, last, slots, wrong = 0;
	struct blk *b;

	if (!demo_number(argc, argv, 1, MAX_DISKS - 1, 0, &n) ||
	    !demo_number(argc, argv, 2, 1ull << 20, 0, &last) ||
	    !demo_number(argc, argv, 3, 1ull << 20, 1, &slots) || !slots)
		return DEMO_USAGE;
	b = disk(n);
	for (uint64_t slot = 0; b && slot < slots; slot++) {
		struct run r = slot_run(b, slot);

		r.seed = r.or_seed = seed_of(round_of(slot, last, slots));
		if (slot == (last + 1) % slots)
			r.or_seed = seed_of(last + 1);
		if (failed("judge", go(&r)))
			return DEMO_FAILED;
		wrong += r.wrong;
	}
	print("disk: judged %lu rounds, %lu sectors are wrong\n", last, wrong);
	return b && !wrong ? 0 : DEMO_FAILED;
}

/* disk N ACTION [FIRST COUNT [SEED]] */
static int cmd_disk(unsigned argc, char **argv)
{
	const char *what = argv[2];
	uint64_t n, v[3];
	struct blk *b;

	if (!demo_number(argc, argv, 1, MAX_DISKS - 1, 0, &n) ||
	    !demo_number(argc, argv, 3, 1ull << 55, 0, &v[0]) ||
	    !demo_number(argc, argv, 4, 1ull << 31, 1, &v[1]) ||
	    !demo_number(argc, argv, 5, 1ull << 20, 1, &v[2]))
		return DEMO_USAGE;
	b = disk(n);
	if (!b)
		return DEMO_FAILED;
	if (!strcmp(what, "info"))
		return info(b);
	if (!strcmp(what, "write") || !strcmp(what, "check"))
		return move(b, what, *what == 'w', v);
	if (!strcmp(what, "zero"))
		return clear(b, what, BLK_ZERO, v);
	if (!strcmp(what, "discard"))
		return clear(b, what, BLK_DISCARD, v);
	if (!strcmp(what, "flush"))
		return failed(what, blk_do(b, BLK_FLUSH, 0, NULL, 0))
			   ? DEMO_FAILED
			   : 0;
	print("disk: '%s' is none of info, write, check, zero, discard, "
	      "flush\n",
	      what);
	return DEMO_USAGE;
}

const struct command disk_commands[] = {
	{ "disk", "N ACTION [FIRST COUNT [SEED]]",
	  "info; write and check a pattern; zero, discard; flush", cmd_disk, 2,
	  5, true },
	{ "diskrounds", "N FIRST SLOTS",
	  "write a slot, flush, say so, for ever", cmd_rounds, 3, 3, true },
	{ "diskjudge", "N LAST SLOTS",
	  "whether all rounds up to LAST are there", cmd_judge, 3, 3, true },
	{ NULL, NULL, NULL, NULL, 0, 0, false },
};
