/* SPDX-License-Identifier: Apache-2.0 */
/* faults.c for drafts, layers and images. */
#include <string.h>
#include <unistd.h>

#include "draft.h"
#include "fault.h"

#define PAGES	     UINT64_C(280)
#define SECOND_BYTES 9000

static uint32_t flags;
static uint8_t *want; /* PAGES pages */
static int base_file;

static void fill_base(struct draft *d, void *ctx)
{
	for (uint64_t p = 0; p < PAGES; p += 3)
		cr_assert_eq(draft_put(d, p, want + p * PAGE_BYTES, &why), 0);
}

/* Something of each kind: new, equal, zero, differing in little. */
static void change_page(uint8_t *page, uint64_t p)
{
	if (p % 7 == 0)
		memset(page, 0, PAGE_BYTES);
	else if (p % 3 == 0)
		page[p] ^= 0xff;
	else if (p % 5 == 0)
		fill_page(page, 1000 + p);
}

static int put_pages(struct draft *d, bool again)
{
	int err = 0;

	for (uint64_t p = 0; p < PAGES && !err; p++) {
		const uint8_t *page = want + p * PAGE_BYTES;
		bool zero = p % 14 == 0;

		err = zero ? draft_put_zero(d, p, 1, &why)
			   : draft_put(d, p, page, &why);
		if (!failed(err, "put") || !again)
			continue;
		fault.on = false;
		err = zero ? draft_put_zero(d, p, 1, &why)
			   : draft_put(d, p, page, &why);
		cr_assert_eq(err, 0, say("put again"));
	}
	return err;
}

/* A draft filled and sealed; after a put that failed it goes on, after a
 * sealing it does not. */
static int make_draft(const struct image *base, struct object_id *id)
{
	struct draft_options o = {
		.fd = memory_file(),
		.name = "draft",
		.bytes = PAGES * PAGE_BYTES,
		.base = base,
		.flags = flags,
		.key = test_key,
	};
	struct draft *d = NULL;
	int err = draft_create(&d, &o, &why);

	if (failed(err, "create")) {
		fault.on = false;
		err = draft_create(&d, &o, &why);
	}
	cr_assert_eq(err, 0, say("create"));
	put_pages(d, true);
	err = draft_put_second(d, want, SECOND_BYTES, &why);
	if (!err)
		err = draft_seal(d, id, &why);
	draft_destroy(d);
	if (!failed(err, "seal"))
		return o.fd;
	fault.on = false;
	close(o.fd);
	return make_draft(base, id);
}

static int find_base(void *ctx, const struct object_id *id)
{
	return dup(base_file);
}

static struct layer *open_one(struct layer_set *s, int fd)
{
	struct layer *l = NULL;
	int err = layer_open(s, dup(fd), "layer", NULL, &l, &why);

	if (failed(err, "open")) {
		fault.on = false;
		err = layer_open(s, dup(fd), "layer", NULL, &l, &why);
	}
	cr_assert_eq(err, 0, say("open"));
	err = layer_link(s, find_base, NULL, &why);
	if (failed(err, "link")) {
		fault.on = false;
		err = layer_link(s, find_base, NULL, &why);
	}
	cr_assert_eq(err, 0, say("link"));
	return l;
}

static void read_image(struct layer *l)
{
	uint8_t page[PAGE_BYTES];
	struct image img;
	int err = image_open(&img, l, 0, &why);

	if (failed(err, "image")) {
		fault.on = false;
		err = image_open(&img, l, 0, &why);
	}
	cr_assert_eq(err, 0, say("image"));
	for (uint64_t p = 0; p < PAGES; p++) {
		err = image_read(&img, p, 1, page, &why);
		if (failed(err, "read")) {
			fault.on = false;
			err = image_read(&img, p, 1, page, &why);
		}
		cr_assert_eq(err, 0, say("read"));
		cr_assert(!memcmp(page, want + p * PAGE_BYTES, PAGE_BYTES),
			  "%s, call %lu: page %lu", now->name, fault.nth, p);
	}
}

static void use_layers(void)
{
	struct layer_set *s = test_set(), *again = test_set();
	struct object_id id;
	struct image base;
	int fd;

	cr_assert_eq(image_open(&base, open_one(s, base_file), 0, &why), 0);
	arm(true);
	fd = make_draft(&base, &id);
	read_image(open_one(again, fd));
	arm(false);
	close(fd);
	layer_set_destroy(again);
	layer_set_destroy(s);
}

static void each_fault_of_layers(uint32_t kind)
{
	struct draft_options o = { .bytes = PAGES * PAGE_BYTES, .flags = kind };
	struct layer_set *s = test_set();
	struct image base;

	flags = kind;
	want = calloc(PAGES, PAGE_BYTES);
	cr_assert_not_null(want);
	for (uint64_t p = 0; p < PAGES; p += 3)
		fill_page(want + p * PAGE_BYTES, p + 1);
	base_file = dup(layer_fd(make_layer(s, &o, fill_base, NULL, &base)));
	for (uint64_t p = 0; p < PAGES; p++)
		change_page(want + p * PAGE_BYTES, p);
	each_fault(use_layers);
	close(base_file);
	layer_set_destroy(s);
	free(want);
}

Test(faults, plain_layer_when_a_call_fails_tells_it_and_loses_nothing)
{
	each_fault_of_layers(0);
}

Test(faults, compressed_layer_when_a_call_fails_tells_it_and_loses_nothing)
{
	each_fault_of_layers(LAYER_COMPRESSED);
}

Test(faults, encrypted_layer_when_a_call_fails_tells_it_and_loses_nothing)
{
	each_fault_of_layers(LAYER_ENCRYPTED);
}
