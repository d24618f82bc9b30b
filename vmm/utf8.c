/* SPDX-License-Identifier: Apache-2.0 */
/* Well-formed UTF-8, as Unicode 15.0, table 3-7, has it. */
#include "utf8.h"

unsigned utf8_bytes(const uint8_t *s)
{
	uint8_t low = 0x80, high = 0xbf;
	unsigned n;

	if (*s < 0x80)
		return 1;
	if (*s < 0xc2 || *s > 0xf4)
		return 0;
	n = *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;
	if (*s == 0xe0)
		low = 0xa0;
	else if (*s == 0xed)
		high = 0x9f;
	else if (*s == 0xf0)
		low = 0x90;
	else if (*s == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (unsigned i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

void utf8_only(char *text)
{
	uint8_t *s = (uint8_t *)text;

	while (*s) {
		unsigned n = utf8_bytes(s);

		if (n == 0)
			*s = '?';
		s += n ? n : 1;
	}
}
