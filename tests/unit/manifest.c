/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests: there and back, and every way to spoil one. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "manifest.h"
#include "util.h"

static const struct mac_key key = { .b = "a key for tests, and only tests" };

static struct manifest_image images[] = {
	{ .kind = IMAGE_MEMORY,
	  .id = "ram",
	  .root = 1,
	  .bytes = MIB(512),
	  .layer = { { 0x11, 0x22 } } },
	{ .kind = IMAGE_DISK,
	  .id = "data",
	  .root = 0,
	  .bytes = GIB(1),
	  .layer = { { 0x33 } } },
	{ .kind = IMAGE_DISK,
	  .id = "root.disk-0_a",
	  .root = 7,
	  .bytes = MIB(64) + 512,
	  .layer = { { 0x44 } },
	  .base = BASE_RAW_FILE,
	  .base_bytes = 1234567,
	  .base_stamp = { 1, 2, 3 } },
	{ .kind = IMAGE_STATE,
	  .id = "machine",
	  .root = 0,
	  .bytes = 8192,
	  .layer = { { 0x11, 0x22 } } },
};

static struct manifest_key keys[] = {
	{ .layer_uid = { 1 }, .bytes = 60, .wrapped = { 9, 8, 7 } },
	{ .layer_uid = { 2 }, .bytes = 128, .wrapped = { [127] = 1 } },
};

static struct manifest_figure figures[] = {
	{ "pause_ns", 300000 },
	{ "residue_pages", 0 },
};

static uint8_t fingerprint[] = "what the host is like";

/* Every member has a value. The committed file is this one. */
static struct manifest full(void)
{
	return (struct manifest){
		.taken_ns = UINT64_C(1790000000123456789),
		.engine = "tintype 0.1.0",
		.vm_uid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 },
		.parent = { { 0xaa, 0xbb } },
		.kind = MANIFEST_MEMORY | MANIFEST_LIVE,
		.consistency = CONSISTENT_FILES,
		.immutable_until_ns = UINT64_C(1800000000000000000),
		.owner_uid = 1000,
		.fingerprint = { fingerprint, sizeof(fingerprint) - 1 },
		.images = { images, ARRAY_SIZE(images) },
		.keys = { keys, ARRAY_SIZE(keys) },
		.figures = { figures, ARRAY_SIZE(figures) },
	};
}

/* As little as possible: one disk. */
static struct manifest least(void)
{
	return (struct manifest){
		.taken_ns = 1,
		.engine = "t",
		.vm_uid = { 1 },
		.consistency = CONSISTENT_CRASH,
		.images = { images + 1, 1 },
	};
}

struct bytes {
	uint8_t *data;
	size_t len;
	struct object_id id;
};

static struct bytes encode(struct manifest m, const struct mac_key *k)
{
	struct fail why = { .message = "" };
	struct bytes b;

	cr_assert_eq(manifest_encode(&m, k, &b.data, &b.len, &b.id, &why), 0,
		     "%s", why.message);
	return b;
}

static void init(void)
{
	cr_assert_eq(hash_init(), 0);
}

TestSuite(manifest, .init = init);

Test(manifest, all_members_come_back)
{
	struct bytes b = encode(full(), &key), again;
	struct manifest m, want = full();

	cr_assert_eq(manifest_decode(&m, b.data, b.len, &b.id, &key, NULL), 0);
	cr_assert_eq(m.taken_ns, want.taken_ns);
	cr_assert_str_eq(m.engine, want.engine);
	cr_assert_arr_eq(m.vm_uid, want.vm_uid, UID_BYTES);
	cr_assert(object_id_equal(&m.parent, &want.parent));
	cr_assert(m.kind == want.kind && m.consistency == want.consistency);
	cr_assert_eq(m.immutable_until_ns, want.immutable_until_ns);
	cr_assert_eq(m.owner_uid, want.owner_uid);
	cr_assert_eq(m.fingerprint.n, want.fingerprint.n);
	cr_assert_arr_eq(m.fingerprint.item, fingerprint, m.fingerprint.n);
	cr_assert_eq(m.images.n, want.images.n);
	cr_assert_arr_eq(m.images.item, images, sizeof(images));
	cr_assert_eq(m.keys.n, want.keys.n);
	cr_assert_arr_eq(m.keys.item, keys, sizeof(keys));
	cr_assert_eq(m.figures.n, want.figures.n);
	cr_assert_arr_eq(m.figures.item, figures, sizeof(figures));
	again = encode(m, &key);
	cr_assert_eq(again.len, b.len);
	cr_assert_arr_eq(again.data, b.data, b.len);
	manifest_free(&m);
	free(again.data);
	free(b.data);
}

Test(manifest, least_comes_back)
{
	struct bytes b = encode(least(), NULL);
	struct manifest m;

	cr_assert_eq(manifest_decode(&m, b.data, b.len, NULL, NULL, NULL), 0);
	cr_assert(object_id_is_zero(&m.parent));
	cr_assert(m.images.n == 1 && m.keys.n == 0 && m.figures.n == 0);
	manifest_free(&m);
	free(b.data);
}

Test(manifest, id_does_not_depend_on_the_key)
{
	struct bytes a = encode(full(), NULL), b = encode(full(), &key);

	cr_assert(object_id_equal(&a.id, &b.id));
	cr_assert_eq(a.len, b.len);
	cr_assert_neq(memcmp(a.data, b.data, a.len), 0);
	free(a.data);
	free(b.data);
}

/* This file was written once. Should it no longer be read, or no longer be what
 * is written, the format changed: that wants a new version, not a new file. */
Test(manifest, version_1_as_committed_stays_readable)
{
	struct bytes now = encode(full(), &key);
	uint8_t data[8192];
	char id[ID_TEXT];
	size_t len;
	FILE *f = fopen(TEST_DATA "/manifest-v1", "r");

	cr_assert(f);
	len = fread(data, 1, sizeof(data), f);
	fclose(f);
	cr_assert_eq(len, now.len);
	cr_assert_arr_eq(data, now.data, len);
	object_id_text(id, &now.id);
	cr_assert_str_eq(id, "887b296a3dc601e6db98057bb8034589"
			     "6f2f9cfb85637940d3a420d748cd61c6");
	free(now.data);
}

/* Into memory of just that size, so that a sanitizer sees one byte too far. */
static int decode_exactly(const uint8_t *data, size_t len,
			  const struct object_id *id, const struct mac_key *k,
			  struct manifest *m, struct fail *why)
{
	uint8_t *copy = malloc(len ? len : 1);
	int err;

	memcpy(copy, data, len);
	err = manifest_decode(m, copy, len, id, k, why);
	free(copy);
	return err;
}

Test(manifest, truncation_at_any_length_is_refused)
{
	struct bytes b = encode(full(), &key);
	struct manifest m;
	struct fail why;

	for (size_t len = 0; len < b.len; len++) {
		why.code = EXIT_OK;
		cr_assert_eq(decode_exactly(b.data, len, NULL, NULL, &m, &why),
			     -EBADMSG, "%zu", len);
		cr_assert_eq(why.code, EXIT_INTEGRITY);
		cr_assert_str_eq(why.object, "manifest");
	}
	free(b.data);
}

Test(manifest, any_flipped_bit_is_refused_by_the_key)
{
	struct bytes b = encode(full(), &key);
	struct manifest m;
	struct fail why;

	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		why.code = EXIT_OK;
		cr_assert_neq(
		    decode_exactly(b.data, b.len, NULL, &key, &m, &why), 0,
		    "bit %zu", bit);
		cr_assert(why.code == EXIT_INTEGRITY ||
			  why.code == EXIT_INCOMPATIBLE);
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(b.data);
}

Test(manifest, any_flipped_bit_is_refused_by_the_id)
{
	struct bytes b = encode(full(), NULL);
	struct manifest m;

	for (size_t bit = 0; bit < 8 * (b.len - RECORD_AUTH_BYTES); bit++) {
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_neq(
		    decode_exactly(b.data, b.len, &b.id, NULL, &m, NULL), 0);
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(b.data);
}

/* Nothing vouches for it; then at least no two files mean the same. */
Test(manifest, any_flipped_bit_is_refused_or_means_something_else)
{
	struct bytes b = encode(full(), NULL), again;
	struct manifest m;
	unsigned accepted = 0;

	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!decode_exactly(b.data, b.len, NULL, NULL, &m, NULL)) {
			accepted++;
			again = encode(m, NULL);
			cr_assert_eq(again.len, b.len);
			cr_assert_arr_eq(again.data, b.data, b.len);
			free(again.data);
			manifest_free(&m);
		}
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	cr_assert(accepted > 0);
	free(b.data);
}

Test(manifest, version_2_is_refused_by_name)
{
	struct bytes b = encode(full(), &key);
	struct fail why = { .code = EXIT_OK };
	struct manifest m;

	b.data[8] = 2;
	cr_assert_eq(manifest_decode(&m, b.data, b.len, NULL, &key, &why),
		     -ENOTSUP);
	cr_assert_eq(why.code, EXIT_INCOMPATIBLE);
	cr_assert_str_eq(why.message,
			 "byte 8: version 2, this program reads up to 1");
	free(b.data);
}

static void refused(struct manifest m, const char *words)
{
	struct fail why = { .message = "" };
	struct object_id id;
	uint8_t *data;
	size_t len;

	cr_assert_eq(manifest_encode(&m, NULL, &data, &len, &id, &why), -EINVAL,
		     "%s", words);
	cr_assert(strstr(why.message, words), "%s: %s", words, why.message);
}

Test(manifest, values_are_judged)
{
	struct manifest m = full();

	m.taken_ns = 0;
	refused(m, "taken_ns: no clock says 1970");
	m = full();
	m.engine[0] = '\0';
	refused(m, "engine: is missing");
	m = full();
	memset(m.vm_uid, 0, UID_BYTES);
	refused(m, "vm_uid: is zero");
	m = full();
	m.kind |= 4;
	refused(m, "kind: has unknown bits");
	m = full();
	m.consistency = 0;
	refused(m, "consistency: is unknown");
	m.consistency = CONSISTENT_APPS + 1;
	refused(m, "consistency: is unknown");
	m = full();
	m.images.n = 0;
	refused(m, "images: is missing");
}

Test(manifest, kind_is_what_the_images_say)
{
	struct manifest m = full();

	m.kind = 0;
	refused(m, "kind: says nothing of the image of memory");
	m.kind = MANIFEST_MEMORY;
	m.images.n = 3;
	refused(m, "kind: there is no image of state");
	m.images.item = images + 1;
	refused(m, "kind: there is no image of memory");
	m.kind = 0;
	refused(m, "kind: says nothing of the image of state");
}

/* One image, spoiled in one way; `at` is the member's offset. */
static void image_refused(unsigned i, size_t at, const void *value, size_t len,
			  const char *words)
{
	struct manifest_image spoiled[ARRAY_SIZE(images)];
	struct manifest m = full();

	memcpy(spoiled, images, sizeof(images));
	memcpy((char *)&spoiled[i] + at, value, len);
	m.images.item = spoiled;
	refused(m, words);
}

#define IMAGE_REFUSED(i, member, v, words)                                     \
	do {                                                                   \
		__typeof__(images[0].member) value_ = (v);                     \
		image_refused(i, offsetof(struct manifest_image, member),      \
			      &value_, sizeof(value_), "images: " words);      \
	} while (0)

Test(manifest, images_are_judged)
{
	static const char no_end[64] = { [0 ... 63] = 'a' };
	static const struct object_id none;

	IMAGE_REFUSED(0, kind, 0, "is of an unknown kind");
	IMAGE_REFUSED(3, kind, 4, "is of an unknown kind");
	IMAGE_REFUSED(0, bytes, 0, "has an impossible size");
	IMAGE_REFUSED(0, bytes, MIB(1) + 512, "has an impossible size");
	IMAGE_REFUSED(1, bytes, 513, "has an impossible size");
	IMAGE_REFUSED(1, bytes, (UINT64_C(1) << 52) + 512,
		      "has an impossible size");
	IMAGE_REFUSED(1, zero, 1, "has a reserved field that is not zero");
	IMAGE_REFUSED(1, base, 2, "has an unknown kind of base");
	IMAGE_REFUSED(1, base_bytes, 1, "describes a base that is not there");
	IMAGE_REFUSED(2, base, 0, "describes a base that is not there");
	IMAGE_REFUSED(2, base_bytes, 0, "has a base of an impossible size");
	IMAGE_REFUSED(2, base_bytes, UINT64_MAX,
		      "has a base of an impossible size");
	IMAGE_REFUSED(3, base, 1, "has a base and is no disk");
	IMAGE_REFUSED(0, layer, none, "has no layer");
	image_refused(1, 4, "", 1, "has bytes after the end of its text");
	image_refused(1, 4, "\0\0\0\0", 4, "images: is no name");
	image_refused(1, 4, "../x", 4, "images: is no name");
	image_refused(1, 4, no_end, 64, "images: is a text without an end");
	image_refused(1, 4, "root.disk-0_a", 14, "images: one is there twice");
}

Test(manifest, keys_and_figures_are_judged)
{
	struct manifest_key k = keys[0];
	struct manifest_figure f = figures[0];
	struct manifest m = full();

	m.keys = (__typeof__(m.keys)){ &k, 1 };
	k.bytes = 0;
	refused(m, "keys: has an impossible length");
	k.bytes = 129;
	refused(m, "keys: has an impossible length");
	k = keys[0];
	k.wrapped[60] = 1;
	refused(m, "keys: has a reserved field that is not zero");
	k = keys[0];
	k.zero = 1;
	refused(m, "keys: has a reserved field that is not zero");
	k = keys[0];
	k.layer_uid[0] = 0;
	refused(m, "keys: is of no layer");

	m = full();
	m.figures = (__typeof__(m.figures)){ &f, 1 };
	memcpy(f.name, "a b", 4);
	refused(m, "figures: has bytes after the end of its text");
	memset(f.name, 0, sizeof(f.name));
	refused(m, "figures: is no name");
}

Test(manifest, lists_have_a_maximum_and_all_maxima_fit_at_once)
{
	struct manifest_image *im = calloc(257, sizeof(*im));
	struct manifest_key *k = calloc(4097, sizeof(*k));
	struct manifest_figure *f = calloc(65, sizeof(*f));
	uint8_t *print = calloc(65537, 1);
	struct manifest m = full();
	struct bytes b;

	for (uint32_t i = 0; i < 257; i++) {
		im[i] = images[1];
		memset(im[i].id, 0, sizeof(im[i].id));
		snprintf(im[i].id, sizeof(im[i].id), "d%u", i);
	}
	for (uint32_t i = 0; i < 4097; i++) {
		k[i] = keys[0];
		memcpy(k[i].layer_uid + 4, &i, 4);
	}
	for (uint32_t i = 0; i < 65; i++)
		snprintf(f[i].name, sizeof(f[i].name), "f%u", i);
	m.kind = 0;
	m.images = (__typeof__(m.images)){ im, 256 };
	m.keys = (__typeof__(m.keys)){ k, 4096 };
	m.figures = (__typeof__(m.figures)){ f, 64 };
	m.fingerprint = (__typeof__(m.fingerprint)){ print, 65536 };
	b = encode(m, &key);
	cr_assert(b.len > 700000 && b.len < RECORD_MAX_BYTES);
	free(b.data);

	m.images.n++;
	refused(m, "images: more than 256");
	m.images.n--;
	m.keys.n++;
	refused(m, "keys: more than 4096");
	m.keys.n--;
	m.figures.n++;
	refused(m, "figures: more than 64");
	m.figures.n--;
	m.fingerprint.n++;
	refused(m, "fingerprint: cannot be 65537 bytes");
	free(im);
	free(k);
	free(f);
	free(print);
}
