/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time of day is nowhere counted up: a read makes it from the host's clock.
 * While the guest sets it (bit SET of register B) its bytes are plain RAM; when
 * it lets go, they become an offset to the host's clock.
 */
#include "rtc.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "util.h"

enum {
	SECONDS = 0x00,
	MINUTES = 0x02,
	HOURS = 0x04,
	WEEKDAY = 0x06,
	DAY = 0x07,
	MONTH = 0x08,
	YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	CENTURY = 0x32,
};

#define A_UPDATING 0x80
#define A_POWER_ON 0x26 /* 32768 Hz, 1024 Hz */
#define B_SET	   0x80
#define B_BINARY   0x04
#define B_24H	   0x02
#define B_DST	   0x01 /* kept, and not followed: time is UTC */
#define B_KEPT	   (B_SET | B_BINARY | B_24H | B_DST)
#define D_VALID	   0x80
#define HOUR_PM	   0x80

#define NS_PER_S   INT64_C(1000000000)
#define UPDATE_NS  INT64_C(244141) /* 8 periods of 32768 Hz */
#define DAY_S	   INT64_C(86400)
#define MAX_OFFSET (INT64_C(1) << 40) /* beyond all years from 0 to 9999 */

static const struct state_field rtc_fields[] = {
	STATE(struct rtc_state, offset_s, 1),
	STATE(struct rtc_state, index, 1),
	STATE_ARRAY(struct rtc_state, ram, 1),
};
static const struct state_desc rtc_desc =
    STATE_DESC("rtc", 1, struct rtc_state, rtc_fields);

static const struct reg rtc_regs[] = {
	{ 0, 1, REG_1, REG_W, "index" },
	{ 1, 1, REG_1, REG_RW, "data" },
};

static struct rtc *rtc_of(struct device *d)
{
	return container_of(d, struct rtc, dev);
}

/* ---- the calendar ---- */

struct date {
	int64_t year;
	unsigned month, day; /* from 1 */
};

/* Days since 1970, Gregorian. Years are counted from March on, so that a leap
 * day is the last of its year. */
static int64_t days_of(struct date t)
{
	int64_t y = t.month > 2 ? t.year : t.year - 1;
	int64_t m = t.month > 2 ? t.month : t.month + 12;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m - 457) / 5 +
	       t.day - 306 - 719163;
}

static struct date date_of(int64_t days)
{
	struct date t = { 1970 + days * 400 / 146097, 1, 1 };

	while (days_of(t) > days)
		t.year--;
	while (days_of((struct date){ t.year + 1, 1, 1 }) <= days)
		t.year++;
	while (t.month < 12 &&
	       days_of((struct date){ t.year, t.month + 1, 1 }) <= days)
		t.month++;
	t.day = (unsigned)(days - days_of(t)) + 1;
	return t;
}

/* ---- bytes ---- */

static uint8_t encode(const struct rtc *r, unsigned v)
{
	if (r->st.ram[REG_B] & B_BINARY)
		return (uint8_t)v;
	return (uint8_t)(v / 10 << 4 | v % 10);
}

/* What is no number of that range is its nearest end. */
static unsigned decode(const struct rtc *r, uint8_t byte, unsigned least,
		       unsigned most)
{
	unsigned v = byte;

	if (!(r->st.ram[REG_B] & B_BINARY))
		v = (byte >> 4) * 10u + (byte & 15);
	return MIN(MAX(v, least), most);
}

static uint8_t encode_hour(const struct rtc *r, unsigned hour)
{
	if (r->st.ram[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, (hour + 11) % 12 + 1) | (hour < 12 ? 0 : HOUR_PM);
}

static unsigned decode_hour(const struct rtc *r, uint8_t byte)
{
	if (r->st.ram[REG_B] & B_24H)
		return decode(r, byte, 0, 23);
	return decode(r, byte & 0x7f, 1, 12) % 12 + (byte & HOUR_PM ? 12 : 0);
}

/* ---- time to bytes and back ---- */

static bool is_time(unsigned i)
{
	return i == SECONDS || i == MINUTES || i == HOURS ||
	       (i >= WEEKDAY && i <= YEAR) || i == CENTURY;
}

static int64_t host_s(const struct rtc *r)
{
	return r->now_ns() / NS_PER_S;
}

/* Writes the time of now into the bytes: of the years that they can hold. */
static void put_time(struct rtc *r)
{
	const int64_t least = days_of((struct date){ 0, 3, 1 }) * DAY_S;
	const int64_t most =
	    days_of((struct date){ 9999, 12, 31 }) * DAY_S + DAY_S - 1;
	int64_t s = host_s(r) + (int64_t)r->st.offset_s;
	uint8_t *ram = r->st.ram;
	int64_t days;
	struct date t;

	s = MIN(MAX(s, least), most) - least;
	days = s / DAY_S + least / DAY_S;
	s %= DAY_S;
	t = date_of(days);
	ram[SECONDS] = encode(r, (unsigned)(s % 60));
	ram[MINUTES] = encode(r, (unsigned)(s / 60 % 60));
	ram[HOURS] = encode_hour(r, (unsigned)(s / 3600));
	/* 1 is Sunday; the first day that can be was a Wednesday. */
	ram[WEEKDAY] =
	    encode(r, (unsigned)((days - least / DAY_S + 3) % 7) + 1);
	ram[DAY] = encode(r, t.day);
	ram[MONTH] = encode(r, t.month);
	ram[YEAR] = encode(r, (unsigned)(t.year % 100));
	ram[CENTURY] = encode(r, (unsigned)(t.year / 100));
}

/* The bytes are the time from now on. */
static void take_time(struct rtc *r)
{
	const uint8_t *ram = r->st.ram;
	struct date t = {
		.year = decode(r, ram[CENTURY], 0, 99) * 100 +
			decode(r, ram[YEAR], 0, 99),
		.month = decode(r, ram[MONTH], 1, 12),
		.day = decode(r, ram[DAY], 1, 31),
	};
	int64_t s = days_of(t) * DAY_S + decode_hour(r, ram[HOURS]) * 3600 +
		    decode(r, ram[MINUTES], 0, 59) * 60 +
		    decode(r, ram[SECONDS], 0, 59);

	r->st.offset_s = (uint64_t)(s - host_s(r));
}

static bool is_being_set(const struct rtc *r)
{
	return r->st.ram[REG_B] & B_SET;
}

static uint8_t updating(const struct rtc *r)
{
	bool soon = r->now_ns() % NS_PER_S >= NS_PER_S - UPDATE_NS;

	return soon && !is_being_set(r) ? A_UPDATING : 0;
}

/* ---- registers ---- */

static uint64_t rtc_read(struct device *d, uint64_t off, unsigned len)
{
	struct rtc *r = rtc_of(d);
	unsigned i = r->st.index & (RTC_RAM - 1);

	if (is_time(i) && !is_being_set(r))
		put_time(r);
	return r->st.ram[i] | (i == REG_A ? updating(r) : 0);
}

/* The form of the time may change with it: it is told in the new one. */
static void write_b(struct rtc *r, uint8_t v)
{
	bool was = is_being_set(r);

	v &= B_KEPT;
	if (!was)
		put_time(r);
	r->st.ram[REG_B] = v;
	if (was && !(v & B_SET))
		take_time(r);
	else if (!was)
		put_time(r);
}

static void write_time(struct rtc *r, unsigned i, uint8_t v)
{
	bool set = is_being_set(r);

	if (!set)
		put_time(r);
	r->st.ram[i] = v;
	if (!set)
		take_time(r);
}

static void rtc_write(struct device *d, uint64_t off, unsigned len, uint64_t v)
{
	struct rtc *r = rtc_of(d);
	unsigned i = r->st.index & (RTC_RAM - 1);

	if (off == 0)
		r->st.index = v;
	else if (i == REG_A)
		r->st.ram[i] = (uint8_t)(v & ~(uint64_t)A_UPDATING);
	else if (i == REG_B)
		write_b(r, (uint8_t)v);
	else if (is_time(i))
		write_time(r, i, (uint8_t)v);
	else if (i != REG_C && i != REG_D)
		r->st.ram[i] = (uint8_t)v;
}

/* ---- the machine ---- */

static void rtc_reset(struct device *d)
{
	struct rtc *r = rtc_of(d);

	memset(&r->st, 0, sizeof(r->st));
	r->st.ram[REG_A] = A_POWER_ON;
	r->st.ram[REG_B] = B_24H;
	r->st.ram[REG_D] = D_VALID;
}

static int rtc_restored(struct device *d)
{
	struct rtc *r = rtc_of(d);
	const uint8_t *ram = r->st.ram;
	int64_t offset = (int64_t)r->st.offset_s;

	if (r->st.index <= UINT8_MAX && offset < MAX_OFFSET &&
	    offset > -MAX_OFFSET && !(ram[REG_A] & A_UPDATING) &&
	    !(ram[REG_B] & ~B_KEPT) && !ram[REG_C] && ram[REG_D] == D_VALID)
		return 0;
	rtc_reset(d);
	return -EINVAL;
}

static const struct device_ops rtc_ops = {
	.type = "rtc",
	.state = &rtc_desc,
	.regs = rtc_regs,
	.nregs = ARRAY_SIZE(rtc_regs),
	.reset = rtc_reset,
	.read = rtc_read,
	.write = rtc_write,
	.restored = rtc_restored,
};

static int64_t realtime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

void rtc_init(struct rtc *r, const char *name)
{
	r->now_ns = realtime_ns;
	device_init(&r->dev, &rtc_ops, name, &r->st);
	rtc_reset(&r->dev);
}
