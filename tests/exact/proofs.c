/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program's proofs. The steady run says what is right; every other one is
 * compared with it: point by point if the program is of class trace, else by
 * what it prints and leaves.
 */
#include "proofs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stage.h"
#include "util.h"

/* All programs together; shared among their processes. */
static struct sums {
	_Atomic uint64_t points, replays, twins, changed, exits, programs;
	_Atomic uint64_t seen[MOMENTS], hop_ns;
} * sum;

/* The parent gives the numbers: programs run side by side. */
void exact_result(bool ok, const char *what, const char *program,
		  const char *detail)
{
	printf("%sok - %s: %s%s%s\n", ok ? "" : "not ", program, what,
	       ok && detail[0] ? ": " : "", ok ? detail : "");
	if (!ok)
		printf("# %s\n", detail);
}

/* ---- the runs ---- */

static bool steady_run(struct stage *s)
{
	struct exact_job j = stage_job(s);
	char text[EXACT_TEXT_MAX] = "";
	bool ok;

	j.stop = STOP_EXITS;
	exact_do(&j);
	ok = stage_ended_well(s, text);
	if (ok)
		snprintf(text, sizeof(text), "%llu points",
			 (unsigned long long)s->run->npoints);
	exact_result(ok, "stopped at every exit, it ends well", s->c->name,
		     text);
	return ok;
}

static void compare_end(const char *what, const struct stage *steady,
			const struct stage *s)
{
	char text[EXACT_TEXT_MAX] = "";
	const char *differs;
	bool ok = stage_ended_well(s, text);

	if (ok && (differs = stage_differs(steady, s))) {
		snprintf(text, sizeof(text), "%s", differs);
		ok = false;
	}
	exact_result(ok, what, s->c->name, text);
}

static void free_run(const struct stage *steady)
{
	struct exact_job j;
	struct stage s;

	stage_begin(&s, steady->c);
	j = stage_job(&s);
	j.points = 1;
	exact_do(&j);
	compare_end("never stopped, it ends alike", steady, &s);
	stage_end(&s);
}

#define TWIN_POINTS 12

/* What a new identity changes: RAM and the devices that tell of it. */
#define PART_BIT(p) (1u << (p))
#define IDENTITY                                                               \
	(PART_BIT(PART_DEVICES) | PART_BIT(PART_RAM) | PART_BIT(PART_IOAPIC) | \
	 PART_BIT(PART_PIC))

#define SEES_LINES (PART_BIT(PART_EXIT) | PART_BIT(PART_REGS))

static void twin(struct stage *s, const struct stage *at, const uint8_t *id,
		 bool poison)
{
	struct exact_job j;

	stage_copy(s, at);
	j = stage_job(s);
	j.restore = true;
	j.stop = STOP_EXITS;
	j.save = true;
	j.poison = poison;
	j.points = TWIN_POINTS;
	j.vmgenid = id;
	exact_do(&j);
}

static bool parts_differ(const struct exact_run *a, const struct exact_run *b,
			 uint32_t but, char text[EXACT_TEXT_MAX])
{
	for (uint64_t i = 0; i < a->npoints; i++)
		for (unsigned p = 0; p < PARTS; p++) {
			if (a->point[i].part[p] == b->point[i].part[p] ||
			    but >> p & 1)
				continue;
			snprintf(text, EXACT_TEXT_MAX, "point %llu: %s",
				 (unsigned long long)i, exact_part_names[p]);
			return true;
		}
	return false;
}

/* Twice the same, and once under another name. */
static bool twins(const struct stage *at, const struct exact_options *o,
		  char text[EXACT_TEXT_MAX])
{
	static const uint8_t id[16] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	uint32_t seen = IDENTITY | (at->c->reads_irr ? SEES_LINES : 0);
	struct stage a, b, other;
	bool ok = true;

	twin(&a, at, NULL, false);
	twin(&b, at, NULL, o->poison);
	twin(&other, at, id, o->poison);
	if (!stage_ended_well(&a, text) || !stage_ended_well(&b, text) ||
	    !stage_ended_well(&other, text) ||
	    parts_differ(a.run, b.run, 0, text) ||
	    parts_differ(a.run, other.run, seen, text))
		ok = false;
	else if (!memcmp(&a.run->point[a.run->npoints - 1].part[PART_RAM],
			 &other.run->point[a.run->npoints - 1].part[PART_RAM],
			 sizeof(uint64_t))) {
		snprintf(text, EXACT_TEXT_MAX, "the new identity is not seen");
		ok = false;
	}
	stage_end(&a);
	stage_end(&b);
	stage_end(&other);
	sum->twins++;
	return ok;
}

struct samples {
	const struct stage *steady;
	const struct exact_options *o;
	bool replays_ok, twins_ok;
	uint64_t replays, twins;
	char replay_text[EXACT_TEXT_MAX], twin_text[EXACT_TEXT_MAX];
};

static void sample(struct samples *m, const struct stage *s, uint64_t i)
{
	const struct exact_options *o = m->o;

	/* A peer does not go back to what it was at a point. */
	if (s->c->net || s->c->vsock)
		return;
	if (o->sample && i % o->sample == 0 && m->replays_ok) {
		m->replays_ok =
		    stage_replay(m->steady, s, o->poison, m->replay_text);
		m->replays++;
		sum->replays++;
	}
	if (o->twins && i % o->twins == 0 && m->twins_ok && s->c->trace) {
		m->twins_ok = twins(s, o, m->twin_text);
		m->twins++;
	}
}

static void relay_hops(struct stage *s, struct samples *m, int stop)
{
	const struct exact_options *o = m->o;
	struct exact_job j = stage_job(s);

	j.stop = (unsigned)stop;
	j.seed = o->seed;
	j.save = true;
	j.points = 1;
	for (uint64_t i = 0; !s->run->ended && !s->run->error[0]; i++) {
		if (i == o->points) { /* enough: to the end */
			j.stop = STOP_NEVER;
			j.save = false;
		}
		exact_do(&j);
		if (s->run->ended || s->run->error[0] || i >= o->points)
			break;
		if (stop == STOP_EXITS)
			sample(m, s, i);
		j.restore = true;
		j.poison = o->poison && i & 1; /* a new one, in turns */
	}
}

static void report_samples(const struct samples *m, const char *name)
{
	char text[EXACT_TEXT_MAX];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)m->replays);
	if (m->replays)
		exact_result(m->replays_ok, "replays from points end alike",
			     name, m->replays_ok ? text : m->replay_text);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)m->twins);
	if (m->twins)
		exact_result(m->twins_ok, "twins are equal", name,
			     m->twins_ok ? text : m->twin_text);
}

static void add_up(const struct stage *s)
{
	sum->points += s->run->npoints;
	sum->exits += s->run->exits;
	sum->hop_ns += s->run->hop_ns;
	for (unsigned i = 0; i < MOMENTS; i++)
		sum->seen[i] += s->run->seen[i];
}

static void relay(const struct stage *steady, const struct exact_options *o)
{
	struct samples m = { steady, o, true, true, 0, 0, "", "" };
	char text[EXACT_TEXT_MAX] = "";
	const char *differs;
	struct stage s;
	bool ok;

	stage_begin(&s, steady->c);
	relay_hops(&s, &m, STOP_EXITS);
	ok = stage_ended_well(&s, text);
	if (steady->c->trace &&
	    exact_traces_differ(steady->run, s.run,
				MIN(steady->run->npoints, s.run->npoints),
				text))
		ok = false;
	else if (ok && (differs = stage_differs(steady, &s))) {
		snprintf(text, sizeof(text), "%s", differs);
		ok = false;
	}
	if (ok)
		snprintf(text, sizeof(text), "%llu points, %llu us a hop",
			 (unsigned long long)s.run->npoints,
			 (unsigned long long)(s.run->hop_ns / 1000 /
					      MAX(s.run->npoints, 1ull)));
	exact_result(ok, "restored at every point, it is the same", s.c->name,
		     text);
	report_samples(&m, s.c->name);
	add_up(&s);
	stage_end(&s);
}

/* A program that waits for time has as many moments as one likes. */
#define RANDOM_MOST 400ull

/* Stopped between exits, too: in a HLT, in a loop, with a kick on its way. */
static void random_relay(const struct stage *steady,
			 const struct exact_options *o)
{
	struct exact_options some = *o;
	struct samples m = { .steady = steady, .o = &some };
	struct stage s;

	/* Where each restore resets connections, they need time to be made. */
	if (steady->c->stride)
		some.points = MIN(o->points / steady->c->stride, 4ull);
	else
		some.points = MIN(o->points, RANDOM_MOST);
	stage_begin(&s, steady->c);
	relay_hops(&s, &m, STOP_TIMES);
	compare_end("restored at any moment, it ends alike", steady, &s);
	add_up(&s);
	stage_end(&s);
}

static void dirty_oracle(const struct stage *steady,
			 const struct exact_options *o)
{
	char text[EXACT_TEXT_MAX] = "";
	struct exact_job j;
	struct stage s;
	bool ok;

	stage_begin(&s, steady->c);
	j = stage_job(&s);
	j.stop = STOP_EXITS;
	j.dirty = true;
	exact_do(&j);
	ok = stage_ended_well(&s, text);
	if (ok)
		snprintf(text, sizeof(text), "%llu pages at %llu points",
			 (unsigned long long)s.run->changed,
			 (unsigned long long)s.run->npoints);
	if (ok && s.c->trace &&
	    exact_traces_differ(steady->run, s.run, s.run->npoints, text))
		exact_result(false, "run again, it is the same", s.c->name,
			     text);
	exact_result(ok, "no page changes unreported", s.c->name, text);
	sum->changed += s.run->changed;
	stage_end(&s);
}

void exact_prove(const struct exact_case *c, const struct exact_options *o)
{
	struct stage steady;

	stage_begin(&steady, c);
	if (steady_run(&steady)) {
		free_run(&steady);
		relay(&steady, o);
		if (c->moment_finding && !o->findings)
			printf("ok - %s: restored at any moment # SKIP open: "
			       "%s\n",
			       c->name, c->moment_finding);
		else
			random_relay(&steady, o);
		dirty_oracle(&steady, o);
	}
	sum->programs++;
	stage_end(&steady);
}

void exact_prepare(void)
{
	pid_t pid;
	int status;

	sum = exact_shared(sizeof(*sum));
	exact_msrs = exact_shared(sizeof(*exact_msrs));
	pid = fork();
	if (pid == 0)
		_exit(exact_msrs_find() ? 1 : 0);
	if (waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "exact: KVM tells no MSRs\n");
		exit(1);
	}
}

static bool moment(unsigned i, unsigned test)
{
	const struct exact_moment_row *r = &exact_moments[i];
	bool ok = sum->seen[i] || r->why_not[0];

	if (sum->seen[i])
		printf("ok %u - moment: %s: %llu points\n", test, r->name,
		       (unsigned long long)sum->seen[i]);
	else
		printf("%sok %u - moment: %s # SKIP not seen: %s\n",
		       ok ? "" : "not ", test, r->name, r->why_not);
	return ok;
}

unsigned exact_summary(bool all, unsigned *tests)
{
	unsigned failed = 0;

	for (unsigned i = 0; all && i < MOMENTS; i++)
		failed += !moment(i, ++*tests);
	printf(
	    "# %llu programs, %llu points, %llu replays, %llu twins, "
	    "%llu changed pages, %llu exits, %llu us a hop\n",
	    (unsigned long long)sum->programs, (unsigned long long)sum->points,
	    (unsigned long long)sum->replays, (unsigned long long)sum->twins,
	    (unsigned long long)sum->changed, (unsigned long long)sum->exits,
	    (unsigned long long)(sum->hop_ns / 1000 / MAX(sum->points, 1ull)));
	return failed;
}
