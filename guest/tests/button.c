/* SPDX-License-Identifier: Apache-2.0 */
/* Says that it is ready and sleeps until the power button switches it off. */
#include "guest.h"

int guest_main(void)
{
	guest_watch_power_button();
	print("button: waiting\n");
	guest_ready();
	for (;;)
		irq_wait();
}
