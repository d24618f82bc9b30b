/* SPDX-License-Identifier: Apache-2.0 */
/* Marks, checks and the end of the programs in guest/exact. */
#include "exact.h"

#define SURPRISES_SHOWN 8

static unsigned surprises;

static uint64_t do_mark(uint64_t v, uint64_t b, uint64_t c)
{
	mark_cpl0(v);
	return 0;
}

void mark(uint64_t v)
{
	at_cpl0(do_mark, v, 0, 0);
}

void expect(const char *what, uint64_t got, uint64_t want)
{
	if (got == want)
		return;
	if (surprises++ < SURPRISES_SHOWN)
		print("%s: 0x%lx, not 0x%lx\n", what, got, want);
}

int exact_end(const char *name, uint64_t hash)
{
	struct boot_range r = mem_volatile();

	print("%s: %lx, %u surprises\n", name, hash, surprises);
	port_out(EXACT_FIRST, 4, (uint32_t)(r.start / 4096));
	port_out(EXACT_END, 4, (uint32_t)((r.end + 4095) / 4096));
	return surprises > 255 ? 255 : (int)surprises;
}

uint64_t exact_number(const char *word, uint64_t otherwise)
{
	char text[24];
	uint64_t v;

	if (!boot_option(word, text, sizeof(text)))
		return otherwise;
	if (!parse_u64(text, &v))
		guest_panic("not a number");
	return v;
}
