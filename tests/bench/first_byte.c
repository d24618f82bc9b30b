/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts a program with pipes as its stdin and stdout and prints the
 * nanoseconds from just before the start to the first byte of output, and the
 * memory (PSS, kB) of the process beyond its guest's RAM.
 *
 *   first_byte [-m RAM_MIB] [-s SETTLE_MS] -- PROGRAM ARGS...
 *
 * The program is started by posix_spawn (vfork), so that the size of this one
 * does not count; it is killed when all is measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"

static void die(const char *what, int err)
{
	fprintf(stderr, "first_byte: %s: %s\n", what, strerror(err));
	exit(1);
}

/* Sum of Pss over all mappings but those of at least half of the guest's RAM
 * in size: no VMM here has another one that large. */
static uint64_t pss_beyond_ram(pid_t pid, uint64_t ram_kb)
{
	uint64_t sum = 0, size = 0, v;
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	f = fopen(path, "r");
	if (!f)
		die(path, errno);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Size: %" SCNu64 " kB", &v) == 1)
			size = v;
		else if (sscanf(line, "Pss: %" SCNu64 " kB", &v) == 1 &&
			 size < ram_kb / 2)
			sum += v;
	}
	fclose(f);
	return sum;
}

static pid_t start(char **argv, int *out)
{
	posix_spawn_file_actions_t fa;
	int p[2], in[2], r;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) || pipe2(in, O_CLOEXEC))
		die("pipe", errno);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in[0], 0);
	posix_spawn_file_actions_adddup2(&fa, p[1], 1);
	r = posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ);
	if (r)
		die(argv[0], r);
	close(p[1]);
	close(in[0]);
	*out = p[0]; /* in[1] stays open: the guest waits for input */
	return pid;
}

int main(int argc, char **argv)
{
	uint64_t ram_mib = 512, t0, t1;
	unsigned settle_ms = 200;
	int opt, out;
	char buf[256];
	pid_t pid;

	while ((opt = getopt(argc, argv, "+m:s:")) != -1) {
		if (opt == 'm')
			ram_mib = strtoull(optarg, NULL, 0);
		else if (opt == 's')
			settle_ms = (unsigned)strtoul(optarg, NULL, 0);
		else
			return 2;
	}
	if (optind == argc)
		return 2;
	t0 = now_ns();
	pid = start(argv + optind, &out);
	if (read(out, buf, sizeof(buf)) <= 0)
		die("the program ended without output", EPIPE);
	t1 = now_ns();
	usleep(settle_ms * 1000);
	printf("%" PRIu64 " %" PRIu64 "\n", t1 - t0,
	       pss_beyond_ram(pid, ram_mib * 1024));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}
