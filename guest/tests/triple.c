/* SPDX-License-Identifier: Apache-2.0 */
/* Says so and triple-faults. */
#include "guest.h"

int guest_main(void)
{
	print("triple: now\n");
	guest_triple_fault();
}
