/* SPDX-License-Identifier: Apache-2.0 */
/* Tells pvpanic of its end and halts. */
#include "guest.h"

int guest_main(void)
{
	guest_panic("asked for");
}
