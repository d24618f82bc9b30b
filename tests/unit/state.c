/* SPDX-License-Identifier: Apache-2.0 */
/* State tables: they tile their struct, and what is generic over them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "state.h"
#include "util.h"

struct sample {
	uint64_t a;
	uint32_t b;
	uint16_t c;
	uint8_t d[2];
};

static const struct state_field rows[] = {
	STATE(struct sample, a, 1),
	STATE(struct sample, b, 1),
	STATE(struct sample, c, 2),
	STATE_ARRAY(struct sample, d, 1),
};
static const struct state_desc desc =
    STATE_DESC("sample", 2, struct sample, rows);

Test(state, complete_table_tiles)
{
	cr_assert_eq(state_check(&desc), 0);
}

Test(state, missing_row_is_found)
{
	struct state_desc d = desc;

	d.nfields--;
	cr_assert_eq(state_check(&d), -EINVAL);
	d = desc;
	d.fields++;
	d.nfields--;
	cr_assert_eq(state_check(&d), -EINVAL);
}

Test(state, row_newer_than_its_struct_is_found)
{
	struct state_desc d = desc;

	d.version = 1;
	cr_assert_eq(state_check(&d), -EINVAL);
}

static void record(void *ctx, const struct state_field *f, unsigned i,
		   uint64_t a, uint64_t b)
{
	char *s = ctx;

	sprintf(s + strlen(s), "%s[%u]:%llu/%llu ", f->name, i,
		(unsigned long long)a, (unsigned long long)b);
}

Test(state, diff_names_each_element)
{
	struct sample x = { 1, 2, 3, { 4, 5 } }, y = { 1, 7, 3, { 4, 6 } };
	char got[128] = "";

	cr_assert_eq(state_diff(&desc, &x, &y, record, got), 2);
	cr_assert_str_eq(got, "b[0]:2/7 d[1]:5/6 ");
	cr_assert_eq(state_diff(&desc, &x, &x, record, got), 0);
}

Test(state, print_tells_the_length_it_needs)
{
	struct sample x = { 1, 2, 3, { 4, 255 } };
	const char *want = "a=0x1\nb=0x2\nc=0x3\nd=04ff\n";
	char buf[64], small[8];

	cr_assert_eq(state_print(&desc, &x, buf, sizeof(buf)), strlen(want));
	cr_assert_str_eq(buf, want);
	cr_assert_eq(state_print(&desc, &x, small, sizeof(small)),
		     strlen(want));
	cr_assert_eq(strlen(small), 7);
}
