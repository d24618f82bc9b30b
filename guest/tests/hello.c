/* SPDX-License-Identifier: Apache-2.0 */
/* Says hello, what it was told, and exits with 0. */
#include "guest.h"

int guest_main(void)
{
	print("hello: %u CPUs, command line \"%s\"\n", boot_cpus(),
	      boot_cmdline());
	return 0;
}
