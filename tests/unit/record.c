/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of manifests and refs, by a table with one row of each kind. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "record.h"
#include "util.h"

struct item {
	char key[8];
	uint64_t value;
};

struct sample {
	struct record rec;
	uint32_t number;
	uint64_t maybe;
	char text[8];
	RECORD_ARRAY(uint8_t) bytes;
	RECORD_ARRAY(struct item) items;
};

static const char *check_number(const void *value)
{
	return *(const uint32_t *)value == 13 ? "is unlucky" : NULL;
}

static const char *check_sample(const void *obj)
{
	const struct sample *s = obj;

	return s->number == s->maybe ? "both are the same" : NULL;
}

enum { NUMBER = 2, MAYBE = 4, TEXT = 6, BYTES = 8, ITEMS = 10 };

static const struct record_row rows[] = {
	{ NUMBER, .must = true, .critical = true, .check = check_number,
	  ROW_FIXED(struct sample, number) },
	{ MAYBE, ROW_FIXED(struct sample, maybe) },
	{ TEXT, .lines = true, ROW_TEXT(struct sample, text) },
	{ BYTES, ROW_BYTES(struct sample, bytes, 16) },
	{ ITEMS, ROW_ITEMS(struct sample, items, 3, 8) },
};

static const struct record_desc desc = {
	.what = "sample",
	.magic = "ttsample",
	.version = 1,
	.nrows = ARRAY_SIZE(rows),
	.size = sizeof(struct sample),
	.rows = rows,
	.check = check_sample,
};

/* A file as it is built by hand. */
struct file {
	uint8_t b[8192];
	size_t n;
};

static void add(struct file *f, const void *p, size_t len)
{
	memcpy(f->b + f->n, p, len);
	f->n += len;
}

static void add_record(struct file *f, uint16_t tag, uint16_t flags,
		       const void *value, uint32_t bytes)
{
	add(f, &tag, 2);
	add(f, &flags, 2);
	add(f, &bytes, 4);
	add(f, value, bytes);
	f->n = align_up(f->n, 8);
}

static void add_number(struct file *f, uint32_t n)
{
	add_record(f, NUMBER, RECORD_CRITICAL, &n, sizeof(n));
}

static void add_item(struct file *f, const char *key, uint64_t value)
{
	struct item item = { .value = value };

	snprintf(item.key, sizeof(item.key), "%s", key);
	add_record(f, ITEMS, RECORD_LIST, &item, sizeof(item));
}

static struct file begin(void)
{
	struct file f = { .n = RECORD_HEAD_BYTES };
	uint32_t version = 1;

	memcpy(f.b, desc.magic, 8);
	memcpy(f.b + 8, &version, 4);
	return f;
}

static void finish(struct file *f)
{
	static const uint8_t auth[40];
	uint32_t bytes = (uint32_t)f->n;

	memcpy(f->b + 12, &bytes, 4);
	add_record(f, 0xffff, RECORD_CRITICAL, auth, sizeof(auth));
}

static int decode(const struct file *f, struct sample *s, struct fail *why)
{
	return record_decode(&desc, s, f->b, f->n, NULL, NULL, why);
}

/* Refused at that byte and with these words; nothing is left behind. */
static void refused(const struct file *f, size_t at, const char *words)
{
	struct fail why = { .code = EXIT_OK };
	struct sample s;
	char text[192];

	snprintf(text, sizeof(text), "byte %zu: %s", at, words);
	cr_assert_eq(decode(f, &s, &why), -EBADMSG, "%s was taken", words);
	cr_assert_eq(why.code, EXIT_INTEGRITY);
	cr_assert_str_eq(why.object, "sample");
	cr_assert_str_eq(why.message, text);
	cr_assert(mem_is_zero(&s, sizeof(s)));
}

/* Taken, and the same bytes when written again. */
static void taken(const struct file *f)
{
	struct fail why = { .message = "" };
	struct sample s;
	uint8_t *data;
	size_t len;

	cr_assert_eq(decode(f, &s, &why), 0, "%s", why.message);
	cr_assert_eq(record_encode(&desc, &s, NULL, &data, &len, &why), 0);
	cr_assert_eq(len, f->n);
	cr_assert_arr_eq(data, f->b, len);
	free(data);
	record_free(&desc, &s);
}

static void init(void)
{
	cr_assert_eq(hash_init(), 0);
}

TestSuite(record, .init = init);

Test(record, all_kinds_come_back)
{
	struct file f = begin();
	uint64_t maybe = 2;
	struct sample s;

	add_number(&f, 1);
	add_record(&f, MAYBE, 0, &maybe, 8);
	add_record(&f, TEXT, 0, "h\n\xc3\xa4", 4);
	add_record(&f, BYTES, 0, "abcde", 5);
	add_item(&f, "a", 3);
	add_item(&f, "b", 4);
	finish(&f);
	taken(&f);
	cr_assert_eq(decode(&f, &s, NULL), 0);
	cr_assert(s.number == 1 && s.maybe == 2);
	cr_assert_str_eq(s.text, "h\n\xc3\xa4");
	cr_assert(s.bytes.n == 5 && memcmp(s.bytes.item, "abcde", 5) == 0);
	cr_assert(s.items.n == 2 && s.items.item[1].value == 4);
	cr_assert_str_eq(s.items.item[1].key, "b");
	record_free(&desc, &s);
}

Test(record, what_must_be_there_when_missing_is_refused)
{
	struct file f = begin();

	finish(&f);
	refused(&f, 16, "number: is missing");
	f = begin();
	add_number(&f, 0);
	finish(&f);
	cr_assert_eq(decode(&f, &(struct sample){ .number = 0 }, NULL),
		     -EBADMSG, "number and maybe are both 0");
	refused(&f, 16, "both are the same");
}

Test(record, values_are_judged)
{
	static const struct {
		uint16_t tag;
		const char *value;
		uint32_t bytes;
		const char *words;
	} cases[] = {
		{ MAYBE, "\0\0\0\0\0\0\0\0", 8,
		  "maybe: is zero and then has no record" },
		{ MAYBE, "\1\0\0\0\0\0\0\0\0", 9, "maybe: cannot be 9 bytes" },
		{ MAYBE, "\1", 1, "maybe: cannot be 1 bytes" },
		{ TEXT, "", 0, "text: cannot be 0 bytes" },
		{ TEXT, "12345678", 8, "text: cannot be 8 bytes" },
		{ TEXT, "a\0b", 3, "text: has a NUL" },
		{ TEXT, "\xc3", 1, "text: is not UTF-8" },
		{ TEXT, "\xff", 1, "text: is not UTF-8" },
		{ TEXT, "\x1b[m", 3, "text: has a control character" },
		{ TEXT, "\x7f", 1, "text: has a control character" },
		{ TEXT, "\xc2\x9b", 2, "text: has a control character" },
		{ BYTES, "", 0, "bytes: cannot be 0 bytes" },
		{ BYTES, "0123456789abcdefg", 17, "bytes: cannot be 17 bytes" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct file f = begin();

		add_number(&f, 1);
		add_record(&f, cases[i].tag, 0, cases[i].value, cases[i].bytes);
		finish(&f);
		refused(&f, 32, cases[i].words);
	}
	for (unsigned n = 12; n < 15; n++) {
		struct file f = begin();

		add_number(&f, n);
		finish(&f);
		if (n == 13)
			refused(&f, 16, "number: is unlucky");
		else
			taken(&f);
	}
}

Test(record, order_is_the_only_one)
{
	struct file f = begin();

	add_record(&f, TEXT, 0, "a", 1);
	add_number(&f, 1);
	finish(&f);
	refused(&f, 32, "tag 2 is out of order");

	f = begin();
	add_number(&f, 1);
	add_number(&f, 2);
	finish(&f);
	refused(&f, 32, "tag 2 is there twice");

	f = begin();
	add_number(&f, 1);
	add_item(&f, "b", 1);
	add_item(&f, "a", 1);
	finish(&f);
	refused(&f, 56, "tag 10 is out of order");

	f = begin();
	add_number(&f, 1);
	add_item(&f, "a", 1);
	add_item(&f, "a", 1);
	finish(&f);
	refused(&f, 56, "tag 10 is there twice");

	f = begin();
	add_number(&f, 1);
	add_item(&f, "a", 1);
	add_item(&f, "a", 2);
	finish(&f);
	refused(&f, 56, "items: one is there twice");
}

Test(record, list_when_longer_than_its_maximum_is_refused)
{
	struct file f = begin();

	add_number(&f, 1);
	add_item(&f, "a", 1);
	add_item(&f, "b", 1);
	add_item(&f, "c", 1);
	finish(&f);
	taken(&f);

	f.n -= RECORD_AUTH_BYTES;
	add_item(&f, "d", 1);
	finish(&f);
	refused(&f, 104, "items: more than 3");
}

Test(record, flags_are_those_of_the_table)
{
	struct file f = begin();
	uint32_t n = 1;

	add_record(&f, NUMBER, 0, &n, 4);
	finish(&f);
	refused(&f, 16, "number: flags 0x0 instead of 0x1");

	f = begin();
	add_record(&f, NUMBER, 5, &n, 4);
	finish(&f);
	refused(&f, 16, "unknown flags 0x5");

	f = begin();
	add_record(&f, 0, 0, &n, 4);
	finish(&f);
	refused(&f, 16, "tag 0 has no place here");

	f = begin();
	add_number(&f, 1);
	add_record(&f, 0xffff, RECORD_CRITICAL, &n, 4);
	finish(&f);
	refused(&f, 32, "tag 65535 has no place here");
}

Test(record, lengths_that_lead_beyond_the_end_are_refused)
{
	static const uint32_t lengths[] = {
		9, 0x7fffffff, 0x80000000, 0xfffffff8, 0xfffffff9, 0xffffffff
	};
	struct file f = begin();

	add_number(&f, 1);
	finish(&f);
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		memcpy(f.b + 20, &lengths[i], 4);
		refused(&f, 16, "a record beyond the end");
	}
}

Test(record, padding_that_is_not_zero_is_refused)
{
	struct file f = begin();

	add_number(&f, 1);
	finish(&f);
	for (unsigned at = 28; at < 32; at++) {
		f.b[at] = 0x80;
		refused(&f, 16, "the padding is not zero");
		f.b[at] = 0;
	}
	taken(&f);
}

Test(record, bytes_after_the_end_are_refused)
{
	struct file f = begin();

	add_number(&f, 1);
	finish(&f);
	for (unsigned more = 1; more <= 64; more++) {
		f.n++;
		refused(&f, 32, "misshapen authentication");
	}
}

Test(record, head_is_judged)
{
	struct file f = begin();
	uint32_t bytes;

	add_number(&f, 1);
	finish(&f);
	f.b[0] ^= 1;
	refused(&f, 0, "this is no sample");
	f.b[0] ^= 1;
	f.b[8] = 0;
	refused(&f, 8, "version 0");
	f.b[8] = 1;
	for (bytes = 0; bytes <= f.n; bytes++) {
		struct sample s;

		if (bytes == 32)
			continue;
		memcpy(f.b + 12, &bytes, 4);
		cr_assert_eq(decode(&f, &s, NULL), -EBADMSG);
	}
	bytes = 28;
	memcpy(f.b + 12, &bytes, 4);
	refused(&f, 12, "28 bytes of records in a file of 80");
	bytes = UINT32_MAX;
	memcpy(f.b + 12, &bytes, 4);
	refused(&f, 12, "4294967295 bytes of records in a file of 80");
}

Test(record, code_without_a_scheme_is_refused)
{
	struct file f = begin();

	add_number(&f, 1);
	finish(&f);
	for (size_t at = f.n - MAC_BYTES; at < f.n; at++) {
		f.b[at] = 1;
		refused(&f, 32, "misshapen authentication");
		f.b[at] = 0;
	}
}

Test(record, newer_version_is_named)
{
	struct fail why = { .code = EXIT_OK };
	struct file f = begin();
	struct sample s;

	add_number(&f, 1);
	finish(&f);
	f.b[8] = 2;
	cr_assert_eq(decode(&f, &s, &why), -ENOTSUP);
	cr_assert_eq(why.code, EXIT_INCOMPATIBLE);
	cr_assert_str_eq(why.message,
			 "byte 8: version 2, this program reads up to 1");
	cr_assert(why.hint[0]);
}

Test(record, newer_scheme_is_named)
{
	struct fail why = { .code = EXIT_OK };
	struct file f = begin();
	struct sample s;

	add_number(&f, 1);
	finish(&f);
	f.b[f.n - 40] = 2;
	f.n += 32; /* of 64 bytes, say */
	cr_assert_eq(decode(&f, &s, &why), -ENOTSUP);
	cr_assert_eq(why.code, EXIT_INCOMPATIBLE);
	cr_assert_str_eq(why.message,
			 "byte 32: authentication scheme 2 is unknown");
}

Test(record, unknown_tag_when_critical_is_refused_by_name)
{
	struct fail why = { .code = EXIT_OK };
	struct file f = begin();
	struct sample s;

	add_number(&f, 1);
	add_record(&f, 77, RECORD_CRITICAL, "x", 1);
	finish(&f);
	cr_assert_eq(decode(&f, &s, &why), -ENOTSUP);
	cr_assert_eq(why.code, EXIT_INCOMPATIBLE);
	cr_assert_str_eq(why.message, "byte 32: tag 77 is unknown: a newer "
				      "version of tintype wrote it");
	cr_assert(mem_is_zero(&s, sizeof(s)));
}

Test(record, unknown_tags_when_not_critical_are_written_again)
{
	struct file f = begin();
	struct sample s;

	add_record(&f, 1, 0, "first", 5);
	add_number(&f, 1);
	add_record(&f, 3, RECORD_LIST, "", 0);
	add_record(&f, 3, RECORD_LIST, "a", 1);
	add_record(&f, 3, RECORD_LIST, "ab", 2);
	add_record(&f, 3, RECORD_LIST, "b", 1);
	add_record(&f, TEXT, 0, "text", 4);
	add_record(&f, 0xfffe, 0, "last", 4);
	finish(&f);
	taken(&f);
	cr_assert_eq(decode(&f, &s, NULL), 0);
	cr_assert_str_eq(s.text, "text");
	record_free(&desc, &s);
}

Test(record, unknown_tags_when_out_of_order_are_refused)
{
	struct file f = begin();

	add_record(&f, 1, 0, "a", 1);
	add_record(&f, 1, 0, "b", 1);
	finish(&f);
	refused(&f, 32, "tag 1 is there twice");

	f = begin();
	add_record(&f, 1, RECORD_LIST, "b", 1);
	add_record(&f, 1, RECORD_LIST, "a", 1);
	finish(&f);
	refused(&f, 32, "tag 1 is out of order");

	f = begin();
	add_record(&f, 1, RECORD_LIST, "a", 1);
	add_record(&f, 1, 0, "b", 1);
	finish(&f);
	refused(&f, 32, "tag 1 is there twice");

	f = begin();
	add_record(&f, 1, 0, "a", 1);
	add_record(&f, 1, RECORD_LIST, "b", 1);
	finish(&f);
	refused(&f, 32, "tag 1 is there twice");
}

Test(record, key_vouches_or_the_file_is_refused)
{
	struct mac_key key = { .b = { 1 } }, other = { .b = { 2 } };
	struct sample s = { .number = 1 }, back;
	struct fail why = { .code = EXIT_OK };
	uint8_t *data;
	size_t len;

	cr_assert_eq(record_encode(&desc, &s, &key, &data, &len, NULL), 0);
	cr_assert_eq(record_decode(&desc, &back, data, len, NULL, &key, NULL),
		     0);
	cr_assert_eq(back.rec.scheme, RECORD_KEYED);
	record_free(&desc, &back);
	cr_assert_eq(record_decode(&desc, &back, data, len, NULL, &other, &why),
		     -EBADMSG);
	cr_assert_eq(why.code, EXIT_INTEGRITY);
	cr_assert_str_eq(why.message,
			 "byte 32: was not written by who has the key");
	free(data);

	cr_assert_eq(record_encode(&desc, &s, NULL, &data, &len, NULL), 0);
	cr_assert_eq(record_decode(&desc, &back, data, len, NULL, &key, &why),
		     -EBADMSG);
	cr_assert_str_eq(why.message, "byte 32: is not authenticated");
	free(data);
}

/* Who has no key can pass on what was authenticated, and not change it. */
Test(record, authentication_without_the_key_stays_as_it_was)
{
	struct mac_key key = { .b = { 1 } };
	struct sample s = { .number = 1 }, back;
	uint8_t *first, *second;
	size_t n, m;

	cr_assert_eq(record_encode(&desc, &s, &key, &first, &n, NULL), 0);
	cr_assert_eq(record_decode(&desc, &back, first, n, NULL, NULL, NULL),
		     0);
	cr_assert_eq(record_encode(&desc, &back, NULL, &second, &m, NULL), 0);
	cr_assert_eq(n, m);
	cr_assert_arr_eq(first, second, n);
	free(second);
	back.number = 2;
	cr_assert_eq(record_encode(&desc, &back, NULL, &second, &m, NULL), 0);
	record_free(&desc, &back);
	cr_assert_eq(record_decode(&desc, &back, second, m, NULL, &key, NULL),
		     -EBADMSG);
	free(first);
	free(second);
}

Test(record, id_is_compared_before_anything_is_read)
{
	struct sample s = { .number = 1 }, back;
	struct fail why = { .code = EXIT_OK };
	struct object_id id, other;
	char text[ID_SHORT];
	uint8_t *data;
	size_t len;

	cr_assert_eq(record_encode(&desc, &s, NULL, &data, &len, NULL), 0);
	record_id(&id, data, len);
	cr_assert_eq(record_decode(&desc, &back, data, len, &id, NULL, NULL),
		     0);
	record_free(&desc, &back);
	other = id;
	other.b[31] ^= 1;
	cr_assert_eq(record_decode(&desc, &back, data, len, &other, NULL, &why),
		     -EBADMSG);
	cr_assert_str_eq(why.message, "byte 0: its bytes have another id");
	object_id_short(text, &other);
	cr_assert_eq(strncmp(why.object, "sample ", 7), 0);
	cr_assert_str_eq(why.object + 7, text);
	free(data);
}

Test(record, encode_sorts_and_refuses_what_decode_would)
{
	struct item items[4] = { { "c", 1 }, { "a", 2 }, { "b", 3 } };
	struct sample s = { .number = 1, .items = { items, 3 } }, back;
	struct fail why = { .code = EXIT_OK };
	uint8_t *data;
	size_t len;

	cr_assert_eq(record_encode(&desc, &s, NULL, &data, &len, NULL), 0);
	cr_assert_eq(record_decode(&desc, &back, data, len, NULL, NULL, NULL),
		     0);
	cr_assert_eq(back.items.item[0].value, 2);
	cr_assert_eq(back.items.item[2].value, 1);
	record_free(&desc, &back);
	free(data);

	s.items.n = 4; /* the fourth has no key but is another */
	cr_assert_eq(record_encode(&desc, &s, NULL, &data, &len, &why),
		     -EINVAL);
	cr_assert_null(data);
	cr_assert_eq(why.code, EXIT_USAGE);
	cr_assert(strstr(why.message, "items: more than 3"));

	s.items.n = 0;
	memset(s.text, 'x', sizeof(s.text)); /* without an end */
	cr_assert_eq(record_encode(&desc, &s, NULL, &data, &len, &why),
		     -EINVAL);
	cr_assert(strstr(why.message, "text: cannot be 8 bytes"));
}

/* One number, and one unknown record that fills the file to `len`. */
static int decode_filled(size_t len, struct sample *s, struct fail *why)
{
	uint8_t *data = calloc(1, len);
	uint32_t before = (uint32_t)(len - RECORD_AUTH_BYTES);
	uint32_t filler[2] = { 77, before - 32 - 8 };
	uint32_t auth[2] = { 0xffff | RECORD_CRITICAL << 16, 40 };
	struct file f = begin();
	int err;

	add_number(&f, 1);
	memcpy(data, f.b, f.n);
	memcpy(data + 12, &before, sizeof(before));
	memcpy(data + f.n, filler, sizeof(filler));
	memcpy(data + before, auth, sizeof(auth));
	err = record_decode(&desc, s, data, len, NULL, NULL, why);
	free(data);
	return err;
}

Test(record, file_when_larger_than_its_maximum_is_refused)
{
	struct fail why = { .message = "" };
	struct sample s;

	cr_assert_eq(decode_filled(RECORD_MAX_BYTES, &s, &why), 0, "%s",
		     why.message);
	cr_assert_eq(s.rec.unknown.n, RECORD_MAX_BYTES - 32 - 48);
	record_free(&desc, &s);
	cr_assert_eq(decode_filled(RECORD_MAX_BYTES + 8, &s, &why), -EBADMSG);
	cr_assert_str_eq(why.message,
			 "byte 8: 1048584 bytes, the most is 1048576");
}

Test(record, encode_when_too_large_says_so)
{
	struct fail why = { .code = EXIT_OK };
	struct sample s = { .number = 1 };
	uint32_t head[2] = { 77, RECORD_MAX_BYTES };
	uint8_t *data;
	size_t len;

	s.rec.unknown.n = RECORD_MAX_BYTES + 8;
	s.rec.unknown.item = calloc(1, s.rec.unknown.n);
	memcpy(s.rec.unknown.item, head, 8);
	cr_assert_eq(record_encode(&desc, &s, NULL, &data, &len, &why), -E2BIG);
	cr_assert_eq(why.code, EXIT_USAGE);
	record_free(&desc, &s);
}

Test(record, names)
{
	static const char *good[] = { "a", "9", "A-b_c.d", "a..b" };
	static const char *bad[] = { "",    ".",    "..",	"-a", "_a",
				     "a/b", "a\nb", "\xc3\xa4", "a b" };
	char longest[RECORD_NAME_MAX + 2] = "";

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
		cr_assert_null(record_name_check(good[i]), "%s", good[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert(record_name_check(bad[i]), "%s", bad[i]);
	memset(longest, 'a', RECORD_NAME_MAX);
	cr_assert_null(record_name_check(longest));
	longest[RECORD_NAME_MAX] = 'a';
	cr_assert(record_name_check(longest));
}

Test(record, padded_text_has_one_end_and_nothing_behind)
{
	cr_assert_null(record_padded_check("ab\0\0", 4));
	cr_assert(record_padded_check("abcd", 4));
	cr_assert(record_padded_check("ab\0c", 4));
}
