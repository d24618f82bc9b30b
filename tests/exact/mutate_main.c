/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exact-mutate [-j JOBS] [-h SECONDS]
 *
 * Are the proofs able to fail? A machine is restored, and then one of its
 * fields gets what the destination had before; or one step of the restore is
 * left out, or two neighbours are swapped. Some point's look, or the guest's
 * own end, must tell; a guest that does nothing for SECONDS hangs. TAP: each
 * mutation that nothing tells fails, unless it is on the list of those that
 * cannot be told, with the reason.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mutate.h"
#include "proofs.h"
#include "stage.h"
#include "util.h"

/* ---- where to try ---- */

/* A program, and how many exits it has done; `end`: what counts is how it ends,
 * for what only guests see. */
static const struct {
	const char *program;
	unsigned exits;
	bool end;
} places[] = {
	{ "msrs", 120, false },	   { "lapic", 90, false },
	{ "ioapic", 300, false },  { "pic", 200, false },
	{ "debug", 150, false },   { "vector", 101, false },
	{ "segments", 90, false }, { "step", 41, false },
	{ "shadow", 44, false },   { "x2apic", 60, false },
	{ "uart", 300, false },	   { "ports", 200, false },
	{ "strings", 300, false }, { "halt", 90, false },
	{ "faults", 300, false },  { "pages", 100, false },
	{ "blk", 120, false },	   { "rng", 100, false },
	{ "balloon", 80, false },  { "nmi", 43, false },
	{ "nmi", 46, false },	   { "shadow", 45, false },
	{ "shadow", 46, false },   { "step", 42, false },
	{ "oneshot", 120, true },  { "deadline", 120, true },
	{ "periodic", 120, true }, { "pvclock", 120, true },
	{ "uart", 400, true },	   { "blk", 123, true },
	{ "uart", 401, true },	   { "uart", 402, false },
	{ "uart", 403, false },	   { "uart", 404, false },
	{ "rng", 101, true },	   { "balloon", 81, true },
	{ "vsock", 10, true },
};
#define NPLACES ARRAY_SIZE(places)

/* Points that are compared after each; the first has nearly all. */
#define COMPARED     4
#define STABLE_TRIES 4

struct place {
	struct stage at;    /* as saved */
	struct stage right; /* what comes of it */
	struct stage end;   /* what the program comes to, never stopped */
	/* Of each point compared: parts that are the same each time. */
	uint32_t stable[COMPARED];
};
static struct place place[NPLACES];

static struct exact_job twin_job(struct stage *s)
{
	struct exact_job j = stage_job(s);

	j.restore = true;
	j.poison = true;
	j.stop = STOP_EXITS;
	j.points = COMPARED;
	return j;
}

/* Programs of class final differ from time to time. */
static bool find_stable(struct place *p)
{
	char text[EXACT_TEXT_MAX];
	bool ok = true;

	memset(p->stable, 0xff, sizeof(p->stable));
	for (unsigned n = 0; n < STABLE_TRIES && ok; n++) {
		struct exact_job j;
		struct stage s;

		stage_copy(&s, &p->at);
		j = twin_job(&s);
		exact_do(&j);
		ok = stage_ended_well(&s, text);
		for (uint64_t i = p->at.run->npoints;
		     ok && i < p->right.run->npoints; i++)
			for (unsigned k = 0; k < PARTS; k++)
				if (s.run->point[i].part[k] !=
				    p->right.run->point[i].part[k])
					p->stable[i - p->at.run->npoints] &=
					    ~(1u << k);
		stage_end(&s);
	}
	return ok;
}

static bool place_make(unsigned i)
{
	const struct exact_case *c = exact_find(places[i].program);
	struct place *p = &place[i];
	char text[EXACT_TEXT_MAX];
	struct exact_job j;

	stage_begin(&p->at, c);
	j = stage_job(&p->at);
	j.stop = STOP_EXITS;
	j.save = true;
	j.points = places[i].exits;
	exact_do(&j);
	stage_copy(&p->right, &p->at);
	j = twin_job(&p->right);
	exact_do(&j);
	stage_begin(&p->end, c);
	j = stage_job(&p->end);
	j.points = 1;
	exact_do(&j);
	if (find_stable(p) && stage_ended_well(&p->at, text) &&
	    stage_ended_well(&p->right, text) &&
	    stage_ended_well(&p->end, text) && !p->at.run->ended)
		return true;
	printf("# %s at %u exits: %s\n", c->name, places[i].exits, text);
	return false;
}

/* ---- one mutation ---- */

static bool point_differs(const struct place *p, const struct exact_run *run,
			  char text[EXACT_TEXT_MAX])
{
	uint64_t first = p->at.run->npoints;

	for (uint64_t i = first; i < p->right.run->npoints; i++)
		for (unsigned k = 0; k < PARTS; k++) {
			if (!(p->stable[i - first] >> k & 1) ||
			    p->right.run->point[i].part[k] ==
				run->point[i].part[k])
				continue;
			snprintf(text, EXACT_TEXT_MAX, "%s",
				 exact_part_names[k]);
			return true;
		}
	return false;
}

/* What tells; false: nothing does, here. */
static bool tells(unsigned i, struct exact_mutation *m,
		  char text[EXACT_TEXT_MAX])
{
	const struct place *p = &place[i];
	const char *differs = NULL;
	struct exact_job j;
	struct stage s;
	bool told;

	stage_copy(&s, &p->at);
	j = twin_job(&s);
	j.mutation = m;
	if (places[i].end) {
		j.stop = STOP_NEVER;
		j.points = 1;
	}
	m->applied = false;
	exact_do(&j);
	told = !stage_ended_well(&s, text);
	if (!told && places[i].end) {
		differs = stage_differs(&p->end, &s);
		snprintf(text, EXACT_TEXT_MAX, "%s", differs ? differs : "");
		told = differs;
	} else if (!told) {
		told = point_differs(p, s.run, text);
	}
	stage_end(&s);
	return told;
}

struct verdict {
	bool told;
	unsigned applied; /* at so many places */
	char text[EXACT_TEXT_MAX];
};

static void judge(struct exact_mutation *m, struct verdict *v)
{
	for (unsigned i = 0; i < NPLACES && !v->told; i++) {
		char text[EXACT_TEXT_MAX] = "";

		if (m->kind == MUTATE_FIELD && m->field.timed && !places[i].end)
			continue;
		v->told = tells(i, m, text);
		v->applied += m->applied;
		if (v->told && !m->applied && m->kind == MUTATE_FIELD)
			v->applied++; /* it did not live to say so */
		snprintf(v->text, sizeof(v->text), "%.900s, in %.20s at %u",
			 text, places[i].program, places[i].exits);
	}
}

/* ---- all of them ---- */

#define MUTATIONS_MAX (FIELDS_MAX + 2 * STEPS_MAX)

static struct all {
	unsigned n;
	struct exact_mutation mutation[MUTATIONS_MAX];
	struct verdict verdict[MUTATIONS_MAX];
	struct exact_inventory inventory;
	char step[STEPS_MAX][STEP_NAME_MAX];
} * all;

static bool is_new(const struct field *f)
{
	for (unsigned i = 0; i < all->n; i++)
		if (all->mutation[i].kind == MUTATE_FIELD &&
		    !strcmp(all->mutation[i].field.name, f->name))
			return false;
	return true;
}

static void add_fields(void)
{
	for (unsigned i = 0; i < all->inventory.nfields; i++)
		if (is_new(&all->inventory.field[i])) {
			struct exact_mutation *m = &all->mutation[all->n++];

			m->kind = MUTATE_FIELD;
			m->field = all->inventory.field[i];
		}
}

static void add_steps(enum steps_how how)
{
	unsigned n = all->inventory.nsteps;

	for (unsigned i = 0; i + (how == STEPS_SWAP) < n; i++) {
		struct exact_mutation *m = &all->mutation[all->n++];

		m->kind = MUTATE_STEPS;
		m->how = how;
		m->step = i;
	}
}

/* Each place's machine may have devices that others have not. */
static void take_inventory(void)
{
	struct exact_mutation *m = exact_shared(sizeof(*m));
	char text[EXACT_TEXT_MAX];

	m->inventory = &all->inventory;
	for (unsigned i = 0; i < NPLACES; i++) {
		tells(i, m, text);
		add_fields();
	}
	memcpy(all->step, all->inventory.step, sizeof(all->step));
	add_steps(STEPS_OMIT);
	add_steps(STEPS_SWAP);
}

static void name_of(const struct exact_mutation *m, char *text, size_t n)
{
	if (m->kind == MUTATE_FIELD)
		snprintf(text, n, "without %s", m->field.name);
	else if (m->how == STEPS_OMIT)
		snprintf(text, n, "without step %u, %s", m->step,
			 all->step[m->step]);
	else
		snprintf(text, n, "step %u, %s, after %s", m->step,
			 all->step[m->step], all->step[m->step + 1]);
}

/* ---- what cannot be told ---- */

struct excuse {
	const char *name; /* all that begin so */
	const char *why;
};
static const struct excuse excuses[] = {
	{ "without rtc0.offset_s", "the RTC's time is no part of a program" },
	{ "without events.exception.has_error_code",
	  "means nothing while no exception is pending" },
	{ "without events.exception.error_code",
	  "means nothing while no exception is pending" },
	{ "without events.interrupt.nr",
	  "means nothing while no interrupt is being injected" },
	{ "without pic0.last_irr", "KVM sets a line again when it is lowered" },
};

static const char *excuse_for(const char *name, const struct verdict *v)
{
	if (!v->applied)
		return "no other value can be had here";
	for (unsigned i = 0; i < ARRAY_SIZE(excuses); i++)
		if (!strncmp(name, excuses[i].name, strlen(excuses[i].name)))
			return excuses[i].why;
	return NULL;
}

static unsigned counts[3]; /* told, excused, missed */

static void show(unsigned i)
{
	const struct verdict *v = &all->verdict[i];
	const char *excuse;
	char name[128];

	name_of(&all->mutation[i], name, sizeof(name));
	excuse = v->told ? NULL : excuse_for(name, v);
	counts[v->told ? 0 : excuse ? 1 : 2]++;
	if (v->told)
		printf("ok %u - %s: %s\n", i + 1, name, v->text);
	else
		printf("%sok %u - %s%s%s\n", excuse ? "" : "not ", i + 1, name,
		       excuse ? " # SKIP " : "", excuse ? excuse : "");
}

static void judge_all(unsigned jobs)
{
	for (unsigned k = 0; k < jobs; k++) {
		fflush(stdout);
		if (fork())
			continue;
		for (unsigned i = k; i < all->n; i += jobs)
			judge(&all->mutation[i], &all->verdict[i]);
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
}

int main(int argc, char **argv)
{
	unsigned jobs = 4;
	int c;

	exact_hang_s = 10;
	while ((c = getopt(argc, argv, "j:h:")) >= 0)
		if (c == 'j')
			jobs = (unsigned)MAX(atoi(optarg), 1);
		else if (c == 'h')
			exact_hang_s = (unsigned)atoi(optarg);
		else
			return 2;
	if (access("/dev/kvm", R_OK | W_OK)) {
		puts("1..0 # SKIP /dev/kvm cannot be used");
		return 0;
	}
	exact_prepare();
	all = exact_shared(sizeof(*all));
	for (unsigned i = 0; i < NPLACES; i++)
		if (!place_make(i))
			return 1;
	take_inventory();
	judge_all(jobs);
	for (unsigned i = 0; i < all->n; i++)
		show(i);
	printf("1..%u\n# %u mutations told, %u cannot be told, %u missed\n",
	       all->n, counts[0], counts[1], counts[2]);
	return counts[2] != 0;
}
