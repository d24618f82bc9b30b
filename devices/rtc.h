/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock of a PC, an MC146818 with 128 bytes of RAM at ports 0x70 and 0x71:
 * the host's UTC, plus what the guest has set it off by. Registers are in BCD
 * or binary, of 24 or 12 hours, as the guest sets register B; the century is at
 * 0x32. Alarms, periodic interrupts and the square wave are not offered: their
 * bits stay clear, and there is no interrupt line. There is no battery: a reset
 * of the machine forgets what was set.
 *
 * Update-in-progress is set in the last 244 us before a second, as on the chip,
 * so that who finds it clear has that long to read all.
 *
 * Owner: dev.lock; all access is by vCPU threads.
 */
#ifndef TINTYPE_RTC_H
#define TINTYPE_RTC_H

#include "device.h"

#define RTC_RAM 128

struct rtc_state {
	uint64_t offset_s;    /* signed: the guest's time less the host's */
	uint64_t index;	      /* of the byte that port 0x71 is, and bit 7 */
	uint8_t ram[RTC_RAM]; /* the time's bytes count while it is being set */
};

struct rtc {
	struct device dev;
	struct rtc_state st;
	/* The host's clock, nanoseconds since 1970; tests have their own. */
	int64_t (*now_ns)(void);
};

void rtc_init(struct rtc *r, const char *name);

#endif
