/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bugs that other hypervisors had in saving and restoring, one test for each,
 * by its number: FC Firecracker, CH Cloud Hypervisor, kata Kata Containers. A
 * test takes the moment in which it struck: the program is restored at each of
 * its points, and from those that have the moment it must also come to its end
 * by itself.
 */
#include <stdio.h>
#include <string.h>

#include "proofs.h"
#include "stage.h"
#include "util.h"

struct anchor {
	const char *bug, *what, *program;
	enum exact_moment moment;
	bool random; /* it comes between exits */
};

static const struct anchor anchors[] = {
	{ "FC#1942", "timer in a snapshot of a restored VM", "deadline",
	  SEEN_TIMER_ARMED, false },
	{ "kata#13798", "TSC deadline written before the LAPIC is in that mode",
	  "deadline", SEEN_TSC_DEADLINE, false },
	{ "FC#4099, FC#4666", "timer that had expired is never delivered",
	  "deadline", SEEN_TIMER_EXPIRED, false },
	{ "FC#4618", "timer lost, one-shot", "oneshot", SEEN_TIMER_EXPIRED,
	  false },
	{ "CH#7930", "clock set after vCPUs run", "pvclock", SEEN_PVCLOCK,
	  false },
	{ "FC#5494", "guest not told that it was stopped", "pvclock",
	  SEEN_GUEST_STOPPED, false },
	{ "FC#5738", "KVM's own MSRs lost", "pvclock", SEEN_PVCLOCK, false },
	{ "FC#5764", "transmitter-empty interrupt lost", "uart", SEEN_UART_THRE,
	  false },
	{ "CH#7944", "MTRRs lost", "msrs", SEEN_MTRRS, false },
	{ "FC#2218", "vsock connections believed to be alive", "vsock",
	  SEEN_VSOCK_CONNECTED, false },
	{ "FC#6100", "request that was offered is never taken", "rng",
	  SEEN_NOT_TAKEN, true },
	{ "FC#6100", "the same on a disk", "blk", SEEN_NOT_TAKEN, true },
};

/* Each finding costs a run to the end. */
#define REPLAYS 6

struct search {
	const struct anchor *a;
	const struct stage *steady;
	uint64_t points, found, replays;
	bool ok;
	char text[EXACT_TEXT_MAX];
};

static void look_at(struct search *s, const struct stage *st, uint64_t before)
{
	if (st->run->seen[s->a->moment] == before)
		return;
	s->found++;
	/* A vsock's peer is not there again; the relay itself is the test. */
	if (st->c->vsock || s->replays >= REPLAYS || !s->ok)
		return;
	s->replays++;
	s->ok = stage_replay(s->steady, st, true, s->text);
}

static void search(struct search *s, uint64_t points)
{
	struct exact_job j;
	struct stage st;

	stage_begin(&st, s->steady->c);
	j = stage_job(&st);
	j.stop = s->a->random ? STOP_TIMES : STOP_EXITS;
	j.save = true;
	j.points = 1;
	while (!st.run->ended && s->ok && s->points < points) {
		uint64_t before = st.run->seen[s->a->moment];

		exact_do(&j);
		j.restore = true;
		s->ok = stage_ended_well(&st, s->text);
		if (s->ok && !st.run->ended)
			look_at(s, &st, before);
		s->points++;
	}
	stage_end(&st);
}

static bool steady(struct stage *st, const struct exact_case *c,
		   char text[EXACT_TEXT_MAX])
{
	struct exact_job j;

	stage_begin(st, c);
	j = stage_job(st);
	j.stop = STOP_EXITS;
	exact_do(&j);
	return stage_ended_well(st, text);
}

void exact_anchor(unsigned i, const struct exact_options *o)
{
	const struct anchor *a = &anchors[i];
	struct search s = { .a = a };
	struct stage st;

	s.ok = steady(&st, exact_find(a->program), s.text);
	s.steady = &st;
	if (s.ok)
		search(&s, o->points);
	if (s.ok && !s.found)
		snprintf(s.text, sizeof(s.text),
			 "# SKIP its moment was at none of %llu points",
			 (unsigned long long)s.points);
	else if (s.ok)
		snprintf(
		    s.text, sizeof(s.text), "%llu of %llu points, %llu replays",
		    (unsigned long long)s.found, (unsigned long long)s.points,
		    (unsigned long long)s.replays);
	exact_result(s.ok, a->what, a->bug, s.text);
	stage_end(&st);
}

unsigned exact_nanchors(void)
{
	return ARRAY_SIZE(anchors);
}
