/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a layer file. The first byte chooses: even, the rest is the file
 * as it is; odd, the rest describes one that is vouched for (layerfile.h),
 * since hardly any other comes past its hashes. It is opened beside two good
 * layers, which it may import, and read by all that image.h has.
 *
 * Whatever it says: no access out of bounds, a failure is one of those that
 * layer.h names and says where, an extent lies within its image and its layer,
 * and a walk over an image comes to its end with every page seen once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "draft.h"
#include "fileio.h"
#include "layerfile.h"
#include "need.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max,
			       unsigned seed);
/* libFuzzer's; not there when a corpus is replayed. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max)
    __attribute__((weak));

#define MAX_STEPS 600 /* extents of a walk */
#define MAX_READS 48  /* extents of which pages are read, in a run */
#define GOOD	  2

static const uint8_t key[LAYER_KEY_BYTES] = "thirty-two bytes of a fuzzer key";
static int good_file[GOOD];
static struct object_id good_id[GOOD];
static struct layer_set *set;
static bool made;
static unsigned reads;

static int key_of(void *ctx, const uint8_t uid[UID_BYTES],
		  uint8_t out[LAYER_KEY_BYTES])
{
	memcpy(out, key, LAYER_KEY_BYTES);
	return 0;
}

static int find_none(void *ctx, const struct object_id *id)
{
	return -ENOENT;
}

static int memory_file(const void *data, size_t size)
{
	int fd = memfd_create("layer", MFD_CLOEXEC);

	need(fd >= 0 && file_write(fd, 0, data, size) == 0);
	return fd;
}

static void check_fail(int err, const struct fail *why)
{
	need(why->object[0] && why->message[0]);
	switch (-err) {
	case EBADMSG:
		need(why->code == (strncmp(why->message, "wrong key, or", 13)
				       ? EXIT_INTEGRITY
				       : EXIT_DENIED));
		need(strstr(why->message, "0x"));
		return;
	case ENOENT:
		need(why->code == EXIT_INTEGRITY ||
		     why->code == EXIT_NOT_FOUND);
		return;
	case ENOTSUP:
		need(why->code == EXIT_INCOMPATIBLE);
		return;
	}
	abort();
}

/* ---- the good layers ---- */

static void fill(struct draft *d, uint64_t page, unsigned count, uint8_t tag)
{
	uint8_t data[PAGE_BYTES];

	for (unsigned i = 0; i < count; i++) {
		memset(data, (int)(page + i) + 1, sizeof(data));
		data[i] = tag;
		need(draft_put(d, page + i, data, NULL) == 0);
	}
}

static void make_good(unsigned n, uint32_t flags, struct image *img)
{
	struct draft_options o = { .name = "draft",
				   .bytes = MIB(4),
				   .base = n ? img : NULL,
				   .flags = flags,
				   .key = key };
	struct layer *l;
	struct draft *d;

	o.fd = good_file[n] = memory_file("", 0);
	need(draft_create(&d, &o, NULL) == 0);
	fill(d, 0, 20, 0);
	fill(d, 300 + n, 1, 0);
	need(draft_put_zero(d, 400, 20, NULL) == 0);
	if (n)
		fill(d, 5, 10, 'x'); /* differences */
	need(draft_seal(d, &good_id[n], NULL) == 0);
	draft_destroy(d);
	need(layer_open(set, dup(o.fd), "good", NULL, &l, NULL) == 0);
	need(layer_link(set, find_none, NULL, NULL) == 0);
	need(image_open(img, l, 0, NULL) == 0);
}

static void open_set(void)
{
	struct layer *l;

	set = layer_set_create(key_of, NULL);
	need(set);
	for (unsigned i = 0; i < GOOD; i++)
		need(layer_open(set, dup(good_file[i]), "good", &good_id[i], &l,
				NULL) == 0);
}

static void init(void)
{
	struct image img;

	need(hash_init() == 0);
	set = layer_set_create(key_of, NULL);
	need(set);
	make_good(0, 0, &img);
	make_good(1, LAYER_FLAGS, &img);
	layer_set_destroy(set);
	made = true;
}

/* ---- reading ---- */

static void check_extent(const struct image *img, const struct extent *e,
			 uint64_t page)
{
	need(e->page == page && e->count > 0);
	need(range_within(page, e->count, img->pages));
	switch (e->kind) {
	case EXTENT_NOTHING:
	case EXTENT_ZERO:
		need(!e->layer);
		return;
	case EXTENT_PAGES:
		need(e->layer && e->at > 0);
		need(range_within(e->at - 1, e->count,
				  layer_data_pages(e->layer)));
		return;
	case EXTENT_DIFFS:
		need(e->layer);
		need(range_within(e->at, e->count,
				  layer_items(e->layer, SECTION_DIFFS)));
		return;
	}
	abort();
}

/* Reads the beginning of an extent, into no more memory than it may use. */
static void read_extent(const struct image *img, struct extent e,
			const struct layerfile *f)
{
	struct fail why = { 0 };
	uint8_t *buf;
	int err;

	if (reads++ >= MAX_READS)
		return;
	e.count = MIN(e.count, 4);
	buf = malloc(e.count * PAGE_BYTES);
	need(buf);
	err = image_read(img, e.page, e.count, buf, &why);
	if (err) {
		check_fail(err, &why);
		/* What did not pass is not kept for the next one. */
		need(image_read(img, e.page, e.count, buf, NULL) == err);
	} else if (e.kind == EXTENT_PAGES && e.layer == img->layer &&
		   f->true_to_body) {
		need(!memcmp(buf, f->body + (e.at - 1) * PAGE_BYTES,
			     e.count * PAGE_BYTES));
	}
	free(buf);
}

static void look_at(const struct image *img, uint64_t page,
		    const struct layerfile *f)
{
	struct fail why = { 0 };
	const struct node_entry *node;
	struct subtree sub;
	struct extent e;
	int err = image_extent(img, page, &e, &why);

	if (err) {
		check_fail(err, &why);
	} else {
		check_extent(img, &e, page);
		read_extent(img, e, f);
	}
	for (unsigned v = 0; v <= img->level; v++) {
		err = image_subtree(img, page, v, &sub, &why);
		if (!err && !sub.layer)
			need(sub.count &&
			     range_within(page, sub.count, img->pages));
		else if (!err)
			err = layer_node(sub.layer, sub.node.at,
					 sub.node.more + 1u, &node, &why);
		if (err)
			check_fail(err, &why);
	}
}

struct walk {
	const struct image *img;
	const struct layerfile *f;
	uint64_t page, end;
	unsigned steps;
	struct extent last;
};

static int step(void *ctx, const struct extent *e)
{
	struct walk *w = ctx;
	struct extent first;

	check_extent(w->img, e, w->page);
	need(!w->steps || !extent_follows(&w->last, e));
	/* It may be several joined: one ends with its leaf. */
	need(image_extent(w->img, e->page, &first, NULL) == 0);
	need(first.kind == e->kind && first.at == e->at);
	need(first.count <= e->count || e->page + e->count == w->end);
	need(!first.layer ||
	     e->page % NODE_ENTRIES + first.count <= NODE_ENTRIES);
	read_extent(w->img, *e, w->f);
	w->last = *e;
	w->page += e->count;
	return ++w->steps == MAX_STEPS;
}

static void walk(const struct image *img, const struct layerfile *f)
{
	/* A tree that all parts of 4 PiB share has no end to wait for. */
	uint64_t pages = MIN(img->pages, MAX_STEPS * UINT64_C(64));
	struct walk w = { .img = img, .f = f, .end = pages };
	struct fail why = { 0 };
	int err = image_each_extent(img, 0, pages, step, &w, &why);

	if (err < 0)
		check_fail(err, &why);
	else if (err == 0)
		need(w.page == pages);
	need(image_each_extent(img, img->pages, 1, step, &w, NULL) == -EINVAL);
	need(image_read(img, img->pages, 1, NULL, NULL) == -EINVAL);
}

/* ---- a layer over it, as the next snapshot is ---- */

static void put_pages(struct draft *d, const struct image *img)
{
	static const uint64_t pages[] = { 0, 1, 2, 7, 255, 300, 600 };
	uint8_t data[PAGE_BYTES] = { 0 };
	struct fail why = { 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		int err;

		if (pages[i] >= img->pages)
			continue;
		if (image_read(img, pages[i], 1, data, NULL))
			memset(data, 1, sizeof(data));
		data[i] ^= 0xa5;
		err = draft_put(d, pages[i], data, &why);
		if (err)
			check_fail(err, &why);
	}
}

static void draft_over(const struct image *img)
{
	struct draft_options o = { .name = "draft",
				   .bytes = img->bytes,
				   .base = img };
	struct fail why = { 0 };
	struct object_id id;
	struct draft *d;
	struct layer *l;
	int err;

	if (img->pages > 4096)
		return;
	o.fd = memory_file("", 0);
	need(draft_create(&d, &o, NULL) == 0);
	put_pages(d, img);
	err = draft_seal(d, &id, &why);
	draft_destroy(d);
	if (err) {
		check_fail(err, &why);
		close(o.fd);
		return;
	}
	need(layer_open(set, o.fd, "over", &id, &l, NULL) == 0);
}

/* ---- a run ---- */

static void use_image(struct layer *l, uint32_t root, const struct layerfile *f)
{
	static const uint64_t pages[] = { 0, 1, 255, 256, 65535, 65536 };
	struct fail why = { 0 };
	struct image img;
	int err = image_open(&img, l, root, &why);

	if (err) {
		check_fail(err, &why);
		need(image_open(&img, l, root, NULL) == err);
		return;
	}
	need(img.pages && img.bytes <= IMAGE_MAX_BYTES);
	walk(&img, f);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		if (pages[i] < img.pages)
			look_at(&img, pages[i], f);
	look_at(&img, img.pages / 2, f);
	look_at(&img, img.pages - 1, f);
	if (f->flags & BUILD_DRAFT)
		draft_over(&img);
}

static struct layer *open_file(const void *file, size_t bytes)
{
	struct fail why = { 0 };
	struct layer *l;
	int err = layer_open(set, memory_file(file, bytes), "hostile", NULL, &l,
			     &why);

	if (err) {
		check_fail(err, &why);
		return NULL;
	}
	err = layer_link(set, find_none, NULL, &why);
	if (err) {
		check_fail(err, &why);
		need(layer_link(set, find_none, NULL, NULL) == err);
		return NULL;
	}
	return l;
}

static void use_layer(struct layer *l, const struct layerfile *f)
{
	struct fail why = { 0 };
	uint64_t roots = layer_items(l, SECTION_ROOTS);
	struct image img;

	for (uint32_t i = 0; i < MIN(roots, BUILD_MAX_ROOTS); i++)
		use_image(l, i, f);
	if (roots <= UINT32_MAX) {
		int err = image_open(&img, l, (uint32_t)roots, &why);

		need(err == -ENOENT);
		check_fail(err, &why);
	}
}

static void run(const uint8_t *data, size_t size)
{
	struct layerfile_context x = { good_id, GOOD, NULL, key };
	struct layerfile f = { 0 };
	struct layer *l;

	if (data[0] % 2 == 0) {
		l = open_file(data + 1, size - 1);
	} else {
		layerfile_make(&f, &x, data + 1, size - 1);
		l = open_file(f.file, f.bytes);
	}
	if (l && f.wants_self) {
		/* Now one that imports the one before: as hostile as itself. */
		x.self = layer_id(l);
		layerfile_make(&f, &x, data + 1, size - 1);
		l = open_file(f.file, f.bytes);
	}
	if (l)
		use_layer(l, &f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (!made)
		init();
	reads = 0;
	/* Anew each time, so that a run is the same alone. */
	open_set();
	run(data, size);
	layer_set_destroy(set);
	set = NULL;
	return 0;
}

/* Every other time one field, since the bytes that matter are few. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max,
			       unsigned seed)
{
	uint64_t random = sum64(&seed, sizeof(seed), 0);

	if (size > 1 && data[0] % 2 && seed % 2 &&
	    layerfile_mutate(data + 1, size - 1, random))
		return size;
	return LLVMFuzzerMutate(data, size, max);
}
