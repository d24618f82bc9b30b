/* SPDX-License-Identifier: Apache-2.0 */
/*
 * String I/O: rep outsb to the console, rep ins and outs of every width to a
 * port without a device, from and to buffers that cross a page. Exits with the
 * number of wrong bytes.
 */
#include "guest.h"

#define PORT  0x1230
#define COUNT 64

static uint8_t buf[8192] __attribute__((aligned(4096)));

static uint64_t say(uint64_t s, uint64_t n, uint64_t c)
{
	__asm__ volatile("rep outsb"
			 : "+S"(s), "+c"(n)
			 : "d"(PLATFORM_UART_PORT)
			 : "memory");
	return n;
}

static uint64_t move(uint64_t at, uint64_t b, uint64_t c)
{
	uint64_t d = at, s = at, n = COUNT;

	__asm__ volatile("rep insb" : "+D"(d), "+c"(n) : "d"(PORT) : "memory");
	n = COUNT;
	__asm__ volatile("rep insw" : "+D"(d), "+c"(n) : "d"(PORT) : "memory");
	n = COUNT;
	__asm__ volatile("rep insl" : "+D"(d), "+c"(n) : "d"(PORT) : "memory");
	n = COUNT;
	__asm__ volatile("rep outsb" : "+S"(s), "+c"(n) : "d"(PORT));
	n = COUNT;
	__asm__ volatile("rep outsl" : "+S"(s), "+c"(n) : "d"(PORT));
	return d - at;
}

int guest_main(void)
{
	static const char words[] = "stringio: ok?\r\n";
	uint8_t *at = buf + 4096 - COUNT;
	int wrong = 0;

	/* one at a time: the FIFO may still be off */
	for (unsigned i = 0; i < sizeof(words) - 1; i++)
		at_cpl0(say, (uint64_t)&words[i], 1, 0);
	if (at_cpl0(move, (uint64_t)at, 0, 0) != COUNT * 7)
		wrong++;
	for (unsigned i = 0; i < sizeof(buf); i++)
		wrong += buf[i] !=
			 (i >= 4096 - COUNT && i < 4096 + COUNT * 6 ? 0xff : 0);
	print("stringio: %d wrong\n", wrong);
	return wrong > 255 ? 255 : wrong;
}
