/* SPDX-License-Identifier: Apache-2.0 */
/* The program: the only exit(). */
#include <stdlib.h>

#include "cli.h"

int main(int argc, char **argv)
{
	exit(cli_main(argc, argv));
}
