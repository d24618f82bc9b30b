/* SPDX-License-Identifier: Apache-2.0 */
/* Prints for ever, a whole buffer at a time. */
#include "guest.h"

int guest_main(void)
{
	static char text[4096];

	memset(text, '.', sizeof(text));
	guest_ready();
	for (;;)
		put_raw(text, sizeof(text));
}
