/* SPDX-License-Identifier: Apache-2.0 */
/* Where a text is UTF-8 and where it is not. Any thread. */
#ifndef TINTYPE_UTF8_H
#define TINTYPE_UTF8_H

#include <stdint.h>

/* The bytes of the character at `s`, or 0 where there is none. The text ends
 * with a NUL, which is a character of one byte. */
unsigned utf8_bytes(const uint8_t *s);

/* Each byte that is no part of one becomes a '?'. A path may be any bytes, and
 * a text may have been cut inside of a character: JSON has no place for either.
 */
void utf8_only(char *text);

#endif
