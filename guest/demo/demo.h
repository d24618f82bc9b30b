/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demo guest's commands, by what they are about. A command returns 0, or
 * the code a script ends with.
 */
#ifndef DEMO_H
#define DEMO_H

#include "guest.h"

#define DEMO_FAILED  1
#define DEMO_USAGE   2
#define DEMO_UNKNOWN 127

struct command {
	const char *name, *args, *what;
	int (*run)(unsigned argc, char **argv);
	unsigned min_args, max_args;
	bool clock; /* refused in a deterministic run */
};

/* Tables end with a name of NULL. */
extern const struct command memory_commands[], time_commands[], cpu_commands[],
    machine_commands[], device_commands[], balloon_commands[], agent_commands[],
    disk_commands[], net_commands[], vsock_commands[];

extern bool demo_deterministic; /* the command line says so */

/* argv[i] as a number, or `otherwise` where it is missing. False, and says so:
 * not a number or out of range. */
bool demo_number(unsigned argc, char **argv, unsigned i, uint64_t max,
		 uint64_t otherwise, uint64_t *v);
uint64_t demo_microseconds(uint64_t cycles);

#endif
