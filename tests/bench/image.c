/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures the image library: each measurement is named by the first word and
 * prints its figures, one a line. scripts/bench_image runs them.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "imgbench.h"

static const struct measurement *const groups[] = { make_measurements,
						    size_measurements,
						    read_measurements,
						    head_measurements };

static int usage(void)
{
	for (unsigned g = 0; g < ARRAY_SIZE(groups); g++)
		for (const struct measurement *m = groups[g]; m->name; m++)
			fprintf(stderr, "  image %s %s\n", m->name, m->usage);
	return 2;
}

/* A chain of a thousand layers is a thousand files. */
static void allow_many_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

static bool fits(const struct measurement *m, int words)
{
	return m->words < 0 ? words >= -m->words : words == m->words;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage();
	try(hash_init());
	allow_many_files();
	for (unsigned g = 0; g < ARRAY_SIZE(groups); g++)
		for (const struct measurement *m = groups[g]; m->name; m++)
			if (!strcmp(m->name, argv[1]) && fits(m, argc - 2)) {
				m->run(argv + 2);
				return 0;
			}
	return usage();
}
