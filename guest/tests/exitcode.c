/* SPDX-License-Identifier: Apache-2.0 */
/* Exits with the code that the word code=N asks for, else with 42. */
#include "guest.h"

int guest_main(void)
{
	char word[16];
	uint64_t code = 42;

	if (boot_option("code", word, sizeof(word)) &&
	    (!parse_u64(word, &code) || code > 255)) {
		print("exitcode: '%s' is no code\n", word);
		return 255;
	}
	return (int)code;
}
