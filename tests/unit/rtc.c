/* SPDX-License-Identifier: Apache-2.0 */
/* The PC's clock: what a guest reads and sets, at times of our choice. */
#include "rtc.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "bus.h"
#include "util.h"

enum { INDEX, DATA };
enum {
	SECONDS,
	MINUTES = 2,
	HOURS = 4,
	WEEKDAY = 6,
	DAY,
	MONTH,
	YEAR,
	A,
	B,
	C,
	D,
	CENTURY = 0x32
};
enum { SET = 0x80, BINARY = 4, H24 = 2 };

static struct rtc rtc;
static struct bus bus;
static int64_t fake_ns;

static int64_t test_clock(void)
{
	return fake_ns;
}

static void init(void)
{
	bus_init(&bus, "pio");
	rtc_init(&rtc, "rtc0");
	rtc.now_ns = test_clock;
	cr_assert_eq(bus_add(&bus, 0x70, 2, &rtc.dev), 0);
	fake_ns = 0;
}

TestSuite(rtc, .init = init);

static uint8_t get(uint8_t i)
{
	uint8_t v;

	bus_write(&bus, 0x70, &i, 1);
	bus_read(&bus, 0x71, &v, 1);
	return v;
}

static void set(uint8_t i, uint8_t v)
{
	bus_write(&bus, 0x70, &i, 1);
	bus_write(&bus, 0x71, &v, 1);
}

static void at(int64_t s)
{
	fake_ns = s * 1000000000;
}

/* "20000229 4 235958 weekday", as the registers have it. */
static void expect(const char *text)
{
	char got[64];

	snprintf(got, sizeof(got), "%02x%02x%02x%02x %02x%02x%02x %u",
		 get(CENTURY), get(YEAR), get(MONTH), get(DAY), get(HOURS),
		 get(MINUTES), get(SECONDS), get(WEEKDAY));
	cr_assert_str_eq(got, text, "%s, not %s", got, text);
}

Test(rtc, power_on_is_bcd_and_24_hours_and_valid)
{
	cr_assert_eq(get(A), 0x26);
	cr_assert_eq(get(B), H24);
	cr_assert_eq(get(C), 0);
	cr_assert_eq(get(D), 0x80);
}

Test(rtc, time_is_the_hosts_in_bcd)
{
	at(0);
	expect("19700101 000000 5");
	at(951868799); /* a leap day */
	expect("20000229 235959 3");
	at(951868800);
	expect("20000301 000000 4");
	at(4102444799);
	expect("20991231 235959 5");
}

/* Each day of 500 years, against libc. */
Test(rtc, every_day_is_the_one_that_libc_has)
{
	for (int64_t day = -60000; day < 122621; day++) {
		time_t s = day * 86400 + (day + 60000) % 86400;
		char want[32], text[48];
		struct tm tm;

		gmtime_r(&s, &tm);
		strftime(want, sizeof(want), "%Y%m%d %H%M%S", &tm);
		snprintf(text, sizeof(text), "%s %d", want, tm.tm_wday + 1);
		rtc.st.offset_s = (uint64_t)s;
		expect(text);
	}
}

Test(rtc, time_in_binary_and_12_hours)
{
	static const struct {
		unsigned hour, want;
	} hours[] = { { 0, 12 },	 { 1, 1 },	   { 11, 11 },
		      { 12, 0x80 + 12 }, { 13, 0x80 + 1 }, { 23, 0x80 + 11 } };

	set(B, BINARY);
	for (unsigned i = 0; i < ARRAY_SIZE(hours); i++) {
		at(hours[i].hour * 3600);
		cr_assert_eq(get(HOURS), hours[i].want);
	}
	set(B, 0);
	at(13 * 3600 + 59);
	cr_assert_eq(get(HOURS), 0x81);
	cr_assert_eq(get(SECONDS), 0x59);
	set(B, BINARY | H24);
	cr_assert_eq(get(HOURS), 13);
	cr_assert_eq(get(SECONDS), 59);
}

/* As Linux does it. */
static void set_clock(uint8_t b, const uint8_t t[7])
{
	static const uint8_t regs[] = { CENTURY, YEAR,	  MONTH,  DAY,
					HOURS,	 MINUTES, SECONDS };

	set(B, b | SET);
	for (unsigned i = 0; i < 7; i++)
		set(regs[i], t[i]);
	set(B, b);
}

Test(rtc, time_that_was_set_goes_on_from_there)
{
	static const uint8_t bcd[] = { 0x20, 0x38, 1, 0x19, 3, 0x14, 7 };
	static const uint8_t binary[] = { 19, 99, 12, 31, 0x80 + 11, 59, 58 };

	at(1000);
	set_clock(H24, bcd);
	expect("20380119 031407 3");
	at(1001);
	expect("20380119 031408 3");
	set_clock(BINARY, binary);
	at(1003);
	cr_assert_eq(get(YEAR), 0);
	cr_assert_eq(get(CENTURY), 20);
	cr_assert_eq(get(HOURS), 12);
}

Test(rtc, time_while_it_is_set_stands_still)
{
	at(100);
	set(B, H24 | SET);
	at(200);
	cr_assert_eq(get(SECONDS), 0x40);
	set(B, H24);
	cr_assert_eq(get(SECONDS), 0x40);
	cr_assert_eq((int64_t)rtc.st.offset_s, -100);
}

Test(rtc, single_byte_when_written_moves_the_clock)
{
	at(0);
	set(HOURS, 0x10);
	at(1);
	expect("19700101 100001 5");
}

Test(rtc, update_in_progress_is_set_before_each_second)
{
	fake_ns = 999755858;
	cr_assert_eq(get(A), 0x26);
	fake_ns = 999755860;
	cr_assert_eq(get(A), 0xa6);
	fake_ns = 1000000000;
	cr_assert_eq(get(A), 0x26);
	fake_ns = 999999999;
	set(B, H24 | SET);
	cr_assert_eq(get(A), 0x26);
	set(A, 0xff);
	cr_assert_eq(get(A), 0x7f);
}

Test(rtc, interrupts_are_not_offered)
{
	set(B, 0xff);
	cr_assert_eq(get(B), 0x87);
	set(C, 0xff);
	set(D, 0);
	cr_assert_eq(get(C), 0);
	cr_assert_eq(get(D), 0x80);
}

Test(rtc, other_bytes_are_ram_also_with_the_nmi_bit)
{
	for (unsigned i = 0x0e; i < RTC_RAM; i++)
		if (i != CENTURY)
			set((uint8_t)i, (uint8_t)(i ^ 0x55));
	for (unsigned i = 0x0e; i < RTC_RAM; i++)
		if (i != CENTURY)
			cr_assert_eq(get((uint8_t)(i | 0x80)), i ^ 0x55);
}

Test(rtc, index_cannot_be_read_and_wide_accesses_are_refused)
{
	uint16_t v = 0;

	bus_read(&bus, 0x70, &v, 1);
	cr_assert_eq(v & 0xff, 0xff);
	bus_read(&bus, 0x70, &v, 2);
	cr_assert_eq(rtc.dev.refused, 2);
}

/* Whatever a guest writes there. */
Test(rtc, time_that_is_none_becomes_one)
{
	static const uint8_t junk[7] = { 0xff, 0xff, 0xff, 0xff,
					 0xff, 0xff, 0xff };
	static const uint8_t zero[7] = { 0 };

	set_clock(H24, junk);
	cr_assert_eq(get(YEAR), 0x99);
	cr_assert_eq(get(SECONDS), 0x59);
	set_clock(H24, zero);
	at(INT64_C(9000000000));
	cr_assert_leq(get(MONTH), 0x12);
	for (unsigned i = 0; i < 256; i++) {
		const uint8_t all[7] = { (uint8_t)i, (uint8_t)i, (uint8_t)i,
					 (uint8_t)i, (uint8_t)i, (uint8_t)i,
					 (uint8_t)i };

		set_clock((uint8_t)(i & 7), all);
		get(YEAR);
		cr_assert_eq(rtc.dev.ops->restored(&rtc.dev), 0);
	}
}

Test(rtc, restored_state_that_no_guest_could_make_is_refused)
{
	struct rtc_state good = rtc.st;

	for (unsigned i = 0; i < 6; i++) {
		rtc.st = good;
		switch (i) {
		case 0:
			rtc.st.index = 256;
			break;
		case 1:
			rtc.st.offset_s = INT64_MAX;
			break;
		case 2:
			rtc.st.offset_s = (uint64_t)INT64_MIN;
			break;
		case 3:
			rtc.st.ram[A] |= 0x80;
			break;
		case 4:
			rtc.st.ram[B] |= 0x40;
			break;
		case 5:
			rtc.st.ram[D] = 0;
			break;
		}
		cr_assert_eq(rtc.dev.ops->restored(&rtc.dev), -EINVAL, "%u", i);
	}
	rtc.st = good;
	rtc.st.offset_s = (uint64_t)-12345;
	cr_assert_eq(rtc.dev.ops->restored(&rtc.dev), 0);
}
