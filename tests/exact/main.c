/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exact [--points N] [--sample N] [--twins N] [--seed N] [--jobs N]
 *       [--hang S] [--no-poison] [--list] [programs | anchors | PROGRAM..]
 *
 * For each program, as TAP: the relay equals the steady run and the free one,
 * replays from sampled points end alike, twins are equal, no page changes
 * unreported. Then what was seen, and how many points.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proofs.h"
#include "util.h"

static struct exact_options options = { .points = UINT64_MAX, .poison = true };
static unsigned jobs = 4;

/* ---- programs side by side, each in a process with its own output ---- */

struct worker {
	const struct exact_case *c; /* NULL: an anchor */
	unsigned anchor;
	pid_t pid;
	FILE *out;
	bool ended;
};

static unsigned tests, failed;

static void show(FILE *out)
{
	char line[2048];

	rewind(out);
	while (fgets(line, sizeof(line), out)) {
		char *rest = strstr(line, "ok - ");

		if (line[0] == '#' || !rest) {
			fputs(line, stdout);
			continue;
		}
		failed += line[0] == 'n';
		printf("%.*sok %u%s", (int)(rest - line), line, ++tests,
		       rest + 2);
	}
	fclose(out);
	fflush(stdout);
}

static void start(struct worker *w)
{
	w->out = tmpfile();
	if (!w->out)
		abort();
	fflush(stdout);
	w->pid = fork();
	if (w->pid)
		return;
	dup2(fileno(w->out), STDOUT_FILENO);
	if (w->c && w->c->finding && !options.findings)
		printf("ok - %s # SKIP open: %s\n", w->c->name, w->c->finding);
	else if (w->c)
		exact_prove(w->c, &options);
	else
		exact_anchor(w->anchor, &options);
	fflush(stdout);
	_exit(0);
}

static void await(struct worker *w, unsigned n)
{
	int status;
	pid_t pid = wait(&status);

	for (unsigned i = 0; i < n; i++)
		if (w[i].pid == pid) {
			w[i].ended = true;
			if (status)
				fprintf(w[i].out,
					"not ok - %s: the proof's process: "
					"status 0x%x\n",
					w[i].c ? w[i].c->name : "anchor",
					(unsigned)status);
		}
}

static void run(struct worker *w, unsigned n)
{
	unsigned started = 0, shown = 0, ended = 0;

	while (shown < n) {
		if (started < n && started - ended < jobs) {
			start(&w[started++]);
			continue;
		}
		await(w, started);
		ended++;
		for (; shown < started && w[shown].ended; shown++)
			show(w[shown].out);
	}
}

static void usage(void)
{
	fprintf(stderr,
		"usage: exact [--points N] [--sample N] [--twins N] "
		"[--seed N] [--jobs N] [--hang S] [--no-poison] [--list] "
		"[programs | anchors | PROGRAM..]\n");
	exit(2);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t v = strtoull(text, &end, 10);

	if (!*text || *end)
		usage();
	return v;
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "points", required_argument, NULL, 'p' },
		{ "sample", required_argument, NULL, 's' },
		{ "twins", required_argument, NULL, 't' },
		{ "hang", required_argument, NULL, 'h' },
		{ "no-poison", no_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 'r' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "list", no_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0)
		switch (c) {
		case 'p':
			options.points = number(optarg);
			break;
		case 's':
			options.sample = number(optarg);
			break;
		case 't':
			options.twins = number(optarg);
			break;
		case 'h':
			exact_hang_s = (unsigned)number(optarg);
			break;
		case 'n':
			options.poison = false;
			break;
		case 'r':
			options.seed = number(optarg);
			break;
		case 'j':
			jobs = (unsigned)MAX(number(optarg), 1ull);
			break;
		case 'l':
			for (unsigned i = 0; i < exact_ncases; i++)
				puts(exact_cases[i].name);
			exit(0);
		default:
			usage();
		}
}

/* All, or those that are named: "programs" are all of them, "anchors" the bugs
 * of others. */
static unsigned choose(char **argv, struct worker *w)
{
	bool all = !argv[0];
	bool programs = all || !strcmp(argv[0], "programs");
	bool anchors = all || !strcmp(argv[0], "anchors");
	unsigned n = 0;

	options.findings = !programs && !anchors;
	for (unsigned i = 0; programs && i < exact_ncases; i++)
		w[n++].c = &exact_cases[i];
	for (unsigned i = 0; anchors && i < exact_nanchors(); i++)
		w[n++].anchor = i;
	for (; !programs && !anchors && argv[0] && n < EXACT_MAX_CASES;
	     argv++) {
		w[n].c = exact_find(argv[0]);
		if (!w[n++].c)
			usage();
	}
	return n;
}

int main(int argc, char **argv)
{
	static struct worker w[2 * EXACT_MAX_CASES];

	parse(argc, argv);
	argv += optind;
	if (access("/dev/kvm", R_OK | W_OK)) {
		puts("1..0 # SKIP /dev/kvm cannot be used");
		return 0;
	}
	exact_prepare();
	run(w, choose(argv, w));
	failed +=
	    exact_summary(!argv[0] && options.points == UINT64_MAX, &tests);
	printf("1..%u\n", tests);
	return failed != 0;
}
