/* SPDX-License-Identifier: Apache-2.0 */
/* Refs: there and back, and every way to spoil one. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ref.h"
#include "util.h"

static const struct mac_key key = { .b = "a key for tests, and only tests" };

static struct ref_label labels[] = {
	{ "class", "health" },
	{ "note", "" },
	{ "stage", "caf\xc3\xa9 = open" },
};

/* Every member has a value. The committed file is this one. */
static struct ref full(void)
{
	return (struct ref){
		.name = "pre-update",
		.vm = "web",
		.manifest = { { 0x12, 0x34, 0x56 } },
		.sequence = 3,
		.keep = REF_PINNED | REF_HELD,
		.hold_until_ns = UINT64_C(1800000000000000000),
		.expiry_ns = UINT64_C(1810000000000000000),
		.created_by = "alice (1000)",
		.reason = "before the update",
		.description = "Two lines:\n\tthe second\n",
		.labels = { labels, ARRAY_SIZE(labels) },
	};
}

static uint8_t config[] = "{\"name\": \"web\"}\n";

/* What was added within version 1; its own committed file has it. */
static struct ref full_now(void)
{
	struct ref r = full();

	r.config.item = config;
	r.config.n = sizeof(config) - 1;
	return r;
}

struct bytes {
	uint8_t *data;
	size_t len;
};

static struct bytes encode(struct ref r, const struct mac_key *k)
{
	struct fail why = { .message = "" };
	struct bytes b;

	cr_assert_eq(ref_encode(&r, k, &b.data, &b.len, &why), 0, "%s",
		     why.message);
	return b;
}

static void init(void)
{
	cr_assert_eq(hash_init(), 0);
}

TestSuite(ref, .init = init);

Test(ref, all_members_come_back)
{
	struct bytes b = encode(full_now(), &key), again;
	struct ref r, want = full_now();

	cr_assert_eq(ref_decode(&r, b.data, b.len, &key, NULL), 0);
	cr_assert_str_eq(r.name, want.name);
	cr_assert_str_eq(r.vm, want.vm);
	cr_assert(object_id_equal(&r.manifest, &want.manifest));
	cr_assert(r.sequence == 3 && r.keep == want.keep);
	cr_assert_eq(r.hold_until_ns, want.hold_until_ns);
	cr_assert_eq(r.expiry_ns, want.expiry_ns);
	cr_assert_str_eq(r.created_by, want.created_by);
	cr_assert_str_eq(r.reason, want.reason);
	cr_assert_str_eq(r.description, want.description);
	cr_assert_eq(r.labels.n, want.labels.n);
	cr_assert_arr_eq(r.labels.item, labels, sizeof(labels));
	cr_assert_eq(r.config.n, want.config.n);
	cr_assert_arr_eq(r.config.item, config, r.config.n);
	again = encode(r, &key);
	cr_assert_eq(again.len, b.len);
	cr_assert_arr_eq(again.data, b.data, b.len);
	ref_free(&r);
	free(again.data);
	free(b.data);
}

Test(ref, least_comes_back)
{
	struct ref r = {
		.name = "a", .vm = "b", .manifest = { { 1 } }, .sequence = 1
	};
	struct bytes b = encode(r, NULL);

	cr_assert_eq(ref_decode(&r, b.data, b.len, NULL, NULL), 0);
	cr_assert(!r.keep && !r.expiry_ns && !r.labels.n && !r.reason[0]);
	ref_free(&r);
	free(b.data);
}

static void expect_committed(const char *path, struct ref r)
{
	struct bytes now = encode(r, &key);
	uint8_t data[8192];
	size_t len;
	FILE *f = fopen(path, "r");

	cr_assert(f);
	len = fread(data, 1, sizeof(data), f);
	fclose(f);
	cr_assert_eq(len, now.len);
	cr_assert_arr_eq(data, now.data, len);
	free(now.data);
}

/* See the same test of the manifest. */
Test(ref, version_1_as_committed_stays_readable)
{
	expect_committed(TEST_DATA "/ref-v1", full());
	expect_committed(TEST_DATA "/ref-v1-config", full_now());
}

Test(ref, config_may_be_64_kib_and_no_more)
{
	uint8_t *most = calloc(1, REF_MAX_CONFIG + 1);
	struct fail why = { .message = "" };
	struct ref r = full(), back;
	struct bytes b;

	r.config.item = most;
	r.config.n = REF_MAX_CONFIG;
	b = encode(r, NULL);
	cr_assert_eq(ref_decode(&back, b.data, b.len, NULL, NULL), 0);
	cr_assert_eq(back.config.n, REF_MAX_CONFIG);
	ref_free(&back);
	free(b.data);
	r.config.n++;
	cr_assert_eq(ref_encode(&r, NULL, &b.data, &b.len, &why), -EINVAL);
	cr_assert(strstr(why.message, "config"), "%s", why.message);
	free(most);
}

static int decode_exactly(const uint8_t *data, size_t len,
			  const struct mac_key *k, struct ref *r,
			  struct fail *why)
{
	uint8_t *copy = malloc(len ? len : 1);
	int err;

	memcpy(copy, data, len);
	err = ref_decode(r, copy, len, k, why);
	free(copy);
	return err;
}

Test(ref, truncation_at_any_length_is_refused)
{
	struct bytes b = encode(full(), NULL);
	struct fail why;
	struct ref r;

	for (size_t len = 0; len < b.len; len++) {
		why.code = EXIT_OK;
		cr_assert_eq(decode_exactly(b.data, len, NULL, &r, &why),
			     -EBADMSG, "%zu", len);
		cr_assert_eq(why.code, EXIT_INTEGRITY);
		cr_assert_str_eq(why.object, "ref");
	}
	free(b.data);
}

Test(ref, any_flipped_bit_is_refused_by_the_key)
{
	struct bytes b = encode(full(), &key);
	struct ref r;

	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_neq(decode_exactly(b.data, b.len, &key, &r, NULL), 0,
			      "bit %zu", bit);
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(b.data);
}

Test(ref, any_flipped_bit_is_refused_or_means_something_else)
{
	struct bytes b = encode(full(), NULL), again;
	unsigned accepted = 0;
	struct ref r;

	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!decode_exactly(b.data, b.len, NULL, &r, NULL)) {
			accepted++;
			again = encode(r, NULL);
			cr_assert_eq(again.len, b.len);
			cr_assert_arr_eq(again.data, b.data, b.len);
			free(again.data);
			ref_free(&r);
		}
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	cr_assert(accepted > 0);
	free(b.data);
}

Test(ref, manifest_in_its_place_is_refused)
{
	struct bytes b = encode(full(), &key);
	struct fail why = { .code = EXIT_OK };
	struct ref r;

	memcpy(b.data, "ttmanif\n", 8);
	cr_assert_eq(ref_decode(&r, b.data, b.len, &key, &why), -EBADMSG);
	cr_assert_str_eq(why.message, "byte 0: this is no ref");
	free(b.data);
}

Test(ref, version_2_is_refused_by_name)
{
	struct bytes b = encode(full(), &key);
	struct fail why = { .code = EXIT_OK };
	struct ref r;

	b.data[8] = 2;
	cr_assert_eq(ref_decode(&r, b.data, b.len, &key, &why), -ENOTSUP);
	cr_assert_eq(why.code, EXIT_INCOMPATIBLE);
	cr_assert_str_eq(why.message,
			 "byte 8: version 2, this program reads up to 1");
	free(b.data);
}

static void refused(struct ref r, const char *words)
{
	struct fail why = { .message = "" };
	uint8_t *data;
	size_t len;

	cr_assert_eq(ref_encode(&r, NULL, &data, &len, &why), -EINVAL, "%s",
		     words);
	cr_assert(strstr(why.message, words), "%s: %s", words, why.message);
}

Test(ref, values_are_judged)
{
	struct ref r = full();

	strcpy(r.name, "../web");
	refused(r, "name: is no name");
	r.name[0] = '\0';
	refused(r, "name: is missing");
	r = full();
	strcpy(r.vm, "-web");
	refused(r, "vm: is no name");
	r = full();
	memset(&r.manifest, 0, sizeof(r.manifest));
	refused(r, "manifest: is zero");
	r = full();
	r.sequence = 0;
	refused(r, "sequence: is zero");
	r = full();
	r.keep = 4;
	refused(r, "keep: has unknown bits");
	r = full();
	strcpy(r.created_by, "alice\n");
	refused(r, "created_by: has a control character");
	r = full();
	memset(r.description, 'x', sizeof(r.description));
	refused(r, "description: cannot be 4096 bytes");
}

Test(ref, labels_are_judged)
{
	struct ref_label *many = calloc(65, sizeof(*many)), one = labels[0];
	struct ref_label two[2] = { { "a", "1" }, { "a", "2" } };
	struct ref r = full();

	r.labels = (__typeof__(r.labels)){ two, 2 };
	refused(r, "labels: one is there twice");
	r.labels = (__typeof__(r.labels)){ &one, 1 };
	memcpy(one.value, "\xff", 2);
	refused(r, "labels: has bytes after the end of its text");
	memset(one.value, 0, sizeof(one.value));
	one.value[0] = '\x1b';
	refused(r, "labels: has a control character");
	one.value[0] = '\xff';
	refused(r, "labels: is not UTF-8");
	one.value[0] = 'a';
	one.key[0] = '=';
	refused(r, "labels: is no name");

	for (uint32_t i = 0; i < 65; i++)
		snprintf(many[i].key, sizeof(many[i].key), "k%u", i);
	r.labels = (__typeof__(r.labels)){ many, 65 };
	refused(r, "labels: more than 64");
	free(many);
}
