/* SPDX-License-Identifier: Apache-2.0 */
/* The state file: there and back, versions, and every way to spoil one. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "state_file.h"
#include "util.h"
#include "vcpu_state.h"

struct sample {
	uint64_t a;
	uint32_t b[3];
	uint16_t c;
	uint8_t d[2];
};

#define T struct sample
static const struct state_field rows[] = {
	STATE(T, a, 1),
	STATE_ARRAY(T, b, 1),
	STATE(T, c, 1),
	STATE_ARRAY(T, d, 1),
};
static const struct state_field newer_rows[] = {
	STATE(T, a, 1),
	STATE_ARRAY(T, b, 1),
	STATE(T, c, 1),
	STATE_ARRAY(T, d, 2),
};
#undef T
static const struct state_desc desc =
    STATE_DESC("sample", 1, struct sample, rows);
static const struct state_desc newer =
    STATE_DESC("sample", 2, struct sample, newer_rows);

static const struct sample first = {
	0x0123456789abcdef, { 1, 0, 3 }, 4, { 5 }
};
static const struct sample second = { 9, { 0 }, 0, { 0, 7 } };

/* Where the first section and its fields are in a file of `desc`. */
enum { AT_VERSION = 8, AT_SECTION = 24, AT_FIELDS = 24 + 8 + 6 + 1 };

struct file {
	uint8_t *data;
	size_t len;
};

static struct file encode(const struct state_desc *d, const struct sample *a,
			  const struct sample *b)
{
	struct state_writer w = { 0 };
	struct file f;

	state_writer_put(&w, d, "x", a);
	if (b)
		state_writer_put(&w, d, "y", b);
	cr_assert_eq(state_writer_end(&w, &f.data, &f.len), 0);
	return f;
}

/* As one section "x" of `d`, and the end. */
static int decode(const struct file *f, const struct state_desc *d,
		  struct sample *s, struct fail *why)
{
	struct state_reader r;
	int err = state_reader_init(&r, f->data, f->len, why);

	if (!err)
		err = state_reader_get(&r, d, "x", s, why);
	return err ? err : state_reader_end(&r, why);
}

static void refused(const struct file *f, const struct state_desc *d,
		    enum exit_code code, const char *text)
{
	struct fail why = { 0 };
	struct sample s = { 0 };

	cr_assert_lt(decode(f, d, &s, &why), 0, "%s", text);
	cr_expect_eq(why.code, code, "%s", why.message);
	cr_expect(strstr(why.message, text), "%s: %s", text, why.message);
}

Test(state_file, read_again_is_what_was_written)
{
	struct file f = encode(&desc, &first, &second);
	struct sample a, b;
	struct state_reader r;
	struct fail why;

	memset(&a, 0xff, sizeof(a));
	memset(&b, 0xff, sizeof(b));
	cr_assert_eq(state_reader_init(&r, f.data, f.len, &why), 0);
	cr_assert_eq(state_reader_get(&r, &desc, "x", &a, &why), 0);
	cr_assert_eq(state_reader_get(&r, &desc, "y", &b, &why), 0);
	cr_assert_eq(state_reader_end(&r, &why), 0);
	cr_assert_arr_eq(&a, &first, sizeof(a));
	cr_assert_arr_eq(&b, &second, sizeof(b));
	free(f.data);
}

Test(state_file, newer_version_of_the_file_is_refused_by_its_number)
{
	struct file f = encode(&desc, &first, NULL);

	f.data[AT_VERSION] = STATE_FILE_VERSION + 1;
	refused(&f, &desc, EXIT_INCOMPATIBLE, "version 2");
	f.data[AT_VERSION] = 0;
	refused(&f, &desc, EXIT_INTEGRITY, "damaged");
	free(f.data);
}

Test(state_file, newer_version_of_a_section_is_refused_by_its_number)
{
	struct file f = encode(&newer, &first, NULL);

	refused(&f, &desc, EXIT_INCOMPATIBLE, "sample x is version 2");
	free(f.data);
}

Test(state_file, section_of_version_0_is_refused)
{
	static const struct state_desc none = { .name = "sample",
						.version = 0 };
	struct file f = encode(&none, &first, NULL);

	refused(&f, &desc, EXIT_INTEGRITY, "damaged");
	free(f.data);
}

Test(state_file, field_newer_than_the_file_keeps_its_value)
{
	struct file f = encode(
	    &(struct state_desc){ "sample", 1, 3, sizeof(struct sample), rows },
	    &first, NULL);
	struct sample s = { .d = { 0xaa, 0xbb } };
	struct fail why;

	cr_assert_eq(decode(&f, &newer, &s, &why), 0, "%s", why.message);
	cr_assert_eq(s.a, first.a);
	cr_assert_eq(s.d[0], 0xaa);
	cr_assert_eq(s.d[1], 0xbb);
	free(f.data);
}

/* Written by a table of which some rows are other ones. */
static void misshapen(const struct state_field *r, unsigned n, const char *text)
{
	struct state_desc d = { "sample", 1, (uint16_t)n, sizeof(struct sample),
				r };
	struct file f = encode(&d, &first, NULL);

	refused(&f, &desc, EXIT_INTEGRITY, text);
	free(f.data);
}

Test(state_file, other_fields_than_the_tables_are_refused)
{
	struct state_field r[5];

	memcpy(r, rows, sizeof(rows));
	misshapen(r, 3, "cut off"); /* missing */
	r[4] = rows[3];
	misshapen(r, 5, "goes on"); /* doubled, at the end */
	r[1] = rows[0];
	misshapen(r, 4, "sample.a instead of b"); /* doubled */
	memcpy(r, rows, sizeof(rows));
	r[1].name = "z";
	misshapen(r, 4, "sample.z instead of b"); /* unknown */
	r[0] = rows[1];
	r[1] = rows[0];
	misshapen(r, 4, "sample.b instead of a"); /* another order */
	memcpy(r, rows, sizeof(rows));
	r[0].size = 4;
	misshapen(r, 4, "another shape");
	r[0] = rows[0];
	r[2].count = 2; /* a scalar of two */
	misshapen(r, 4, "another shape");
	r[2] = rows[2];
	r[1].count = 4; /* element 3 is c */
	misshapen(r, 4, "another shape");
}

Test(state_file, array_that_ends_in_zero_is_refused)
{
	struct sample s = first;
	struct file f = encode(&desc, &s, NULL);

	/* b's last element: 4 bytes + 1 of name + 8 of a, 4 + 1 + 8. */
	f.data[AT_FIELDS + 4 + 1 + 8 + 4 + 1 + 8] = 0;
	refused(&f, &desc, EXIT_INTEGRITY, "ends in zero");
	free(f.data);
}

Test(state_file, other_sections_are_refused)
{
	struct state_desc d = desc;
	struct file f = encode(&desc, &first, &second);

	refused(&f, &desc, EXIT_INCOMPATIBLE, "it has sample y");
	free(f.data);
	d.name = "other1";
	f = encode(&desc, &first, NULL);
	refused(&f, &d, EXIT_INCOMPATIBLE, "it has sample x");
	free(f.data);
}

static int count(void *ctx, const struct state_value *v)
{
	unsigned *n = ctx;

	for (unsigned i = 0; i < v->count; i++)
		*n += 1 + (unsigned)(state_value_at(v, i) & 1);
	return 0;
}

/* Refused with a reason, or read; in memory of just that size, for ASan. */
static int try(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct file f = { copy, len };
	struct fail why = { 0 };
	struct sample s = { 0 };
	unsigned n = 0;
	int r;

	cr_assert(copy);
	memcpy(copy, data, len);
	r = decode(&f, &desc, &s, &why);
	cr_assert(r == 0 || (r < 0 && why.message[0]));
	if (state_file_each(copy, len, count, &n, &why))
		cr_assert_neq(r, 0, "read by a table, and not without");
	if (r == 0) {
		struct file again = encode(&desc, &s, NULL);

		cr_assert_eq(again.len, len);
		cr_assert_arr_eq(again.data, data, len);
		free(again.data);
	}
	free(copy);
	return r;
}

Test(state_file, cut_off_anywhere_is_refused)
{
	struct file f = encode(&desc, &first, NULL);

	for (size_t n = 0; n < f.len; n++) {
		uint64_t bytes = n;

		cr_assert_lt(try(f.data, n), 0);
		/* And with a header that says so. */
		if (n < AT_SECTION)
			continue;
		memcpy(f.data + 16, &bytes, sizeof(bytes));
		cr_assert_lt(try(f.data, n), 0);
		bytes = f.len;
		memcpy(f.data + 16, &bytes, sizeof(bytes));
	}
	cr_assert_eq(try(f.data, f.len), 0);
	free(f.data);
}

Test(state_file, any_bit_flipped_is_refused_or_another_content)
{
	struct file f = encode(&desc, &first, NULL);

	for (size_t bit = 0; bit < 8 * f.len; bit++) {
		f.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (bit / 8 < AT_FIELDS)
			cr_assert_lt(try(f.data, f.len), 0, "bit %zu", bit);
		else
			try(f.data, f.len);
		f.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(f.data);
}

/* A file of version 1, of a machine with one vCPU, is read by today's tables;
 * the devices' sections follow. */
Test(state_file, committed_file_of_version_1_is_read)
{
	static union {
		struct vcpu_state vcpu;
		uint8_t b[4096];
	} st;
	static const struct {
		unsigned table;
		const char *instance;
	} first_ones[] = {
		{ 0, "machine" }, { 1, "clock" },  { 2, "pic0" },
		{ 2, "pic1" },	  { 3, "ioapic" },
	};
	FILE *in = fopen(TEST_DATA "/state-v1", "rb");
	static uint8_t data[KIB(64)];
	struct state_reader r;
	struct fail why = { 0 };
	unsigned n = 0;
	size_t len;

	cr_assert(in);
	len = fread(data, 1, sizeof(data), in);
	fclose(in);
	cr_assert_eq(state_file_each(data, len, count, &n, &why), 0);
	cr_assert_gt(n, 0);
	cr_assert_eq(state_reader_init(&r, data, len, &why), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(first_ones); i++) {
		const struct state_desc *d =
		    machine_saved_table(first_ones[i].table);

		cr_assert_leq(d->size, sizeof(st));
		cr_assert_eq(
		    state_reader_get(&r, d, first_ones[i].instance, &st, &why),
		    0, "%s", why.message);
	}
	for (unsigned i = 0; i < VCPU_ITEMS; i++)
		cr_assert_eq(state_reader_get(
				 &r, vcpu_items[i].desc, "vcpu0",
				 vcpu_item_of(&st.vcpu, (enum vcpu_item_id)i),
				 &why),
			     0, "%s", why.message);
	cr_assert_eq(vcpu_state_judge(&st.vcpu, "vcpu0", &why), 0);
	cr_assert_neq(st.vcpu.regs.rip, 0);
	cr_assert_gt(st.vcpu.msrs.n, 0);
}

Test(state_file, all_tables_of_a_machine_tile)
{
	const struct state_desc *d;

	for (unsigned i = 0; i < VCPU_ITEMS; i++)
		cr_expect_eq(state_check(vcpu_items[i].desc), 0, "%s",
			     vcpu_items[i].name);
	for (unsigned i = 0; (d = machine_saved_table(i)); i++)
		cr_expect_eq(state_check(d), 0, "%s", d->name);
}

Test(state_file, each_item_of_a_vcpu_is_in_both_orders_once)
{
	unsigned saved[VCPU_ITEMS] = { 0 }, loaded[VCPU_ITEMS] = { 0 };

	for (unsigned i = 0; i < VCPU_ITEMS; i++)
		saved[vcpu_save_order[i]]++;
	for (unsigned i = 0; i < VCPU_LOAD_ITEMS; i++)
		loaded[vcpu_load_order[i]]++;
	for (unsigned i = 0; i < VCPU_ITEMS; i++) {
		cr_expect_eq(saved[i], 1, "%s", vcpu_items[i].name);
		cr_expect_eq(loaded[i], i != VCPU_CPUID, "%s",
			     vcpu_items[i].name);
	}
}
