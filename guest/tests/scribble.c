/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to pages here and there, in all its RAM, for ever; each value tells
 * where it is. Ctrl-C ends it: exits with 0 when every word that it wrote
 * is what was written there last.
 */
#include "guest.h"

#define WORDS 4096 /* that it knows of, each in a page of its own */

static uint64_t *word[WORDS];
static uint64_t value[WORDS];
static unsigned nwords;

static void choose(void)
{
	const struct boot_range *r;

	for (unsigned n = mem_pool(&r); n--; r++)
		for (uint64_t at = r->start;
		     at + 4096 <= r->end && nwords < WORDS; at += 4096) {
			word[nwords] = (uint64_t *)(at + nwords % 512 * 8);
			nwords++;
		}
}

int guest_main(void)
{
	uint64_t random = 1;
	int wrong = 0;

	choose();
	console_listen();
	print("scribble: %u words\n", nwords);
	while (!console_break())
		for (unsigned i = 0; i < 4096; i++) {
			unsigned w;

			random = random * 6364136223846793005 + 1;
			w = (unsigned)(random >> 33) % nwords;
			*(volatile uint64_t *)word[w] = value[w] = random ^ w;
		}
	for (unsigned w = 0; w < nwords; w++)
		wrong += value[w] && *word[w] != value[w];
	print("scribble: %d wrong\n", wrong);
	return wrong != 0;
}
