/* SPDX-License-Identifier: Apache-2.0 */
/* A machine saved, and set in another one, which then goes on for it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gmem.h"
#include "state_file.h"
#include "util.h"
#include "vmtest.h"

static const struct machine_restore same = { .clock = CLOCK_CONTINUE };

struct snap {
	uint8_t *state, *ram;
	size_t state_len, ram_len;
};

static void save(struct vmtest *t, struct snap *s)
{
	struct gmem *ram = machine_ram(t->machine);
	struct machine_saved *m;

	s->ram_len = ram->bytes;
	s->ram = malloc(s->ram_len);
	cr_assert(s->ram);
	memcpy(s->ram, ram->base, s->ram_len);
	cr_assert_eq(machine_saved_create(&m, t->machine, &t->why), 0);
	cr_assert_eq(machine_save(t->machine, m, &t->why), 0, "%s",
		     t->why.message);
	cr_assert_eq(machine_saved_encode(m, &s->state, &s->state_len, &t->why),
		     0);
	machine_saved_destroy(m);
}

static void restore(struct vmtest *t, const struct snap *s)
{
	struct machine_saved *m;

	memcpy(machine_ram(t->machine)->base, s->ram, s->ram_len);
	cr_assert_eq(machine_saved_create(&m, t->machine, &t->why), 0);
	cr_assert_eq(
	    machine_saved_decode(m, s->state, s->state_len, false, &t->why), 0,
	    "%s", t->why.message);
	cr_assert_eq(machine_restore(t->machine, m, &same, NULL, &t->why), 0,
		     "%s", t->why.message);
	machine_saved_destroy(m);
}

static void snap_free(struct snap *s)
{
	free(s->state);
	free(s->ram);
}

/* Has it ended while it was being stopped? */
static bool has_ended(struct vmtest *t)
{
	struct machine_saved *m;
	int r;

	cr_assert_eq(machine_saved_create(&m, t->machine, &t->why), 0);
	r = machine_save(t->machine, m, &t->why);
	machine_saved_destroy(m);
	return t->told || r == -EBUSY;
}

/* Runs it a little, and stops it before it ends. */
static void stop_early(struct vmtest *t, const struct vmtest_config *c)
{
	for (;;) {
		vmtest_init(t, c);
		machine_run(t->machine);
		vmtest_let_run(t, 2);
		if (machine_state(t->machine) == MACHINE_RUNNING)
			machine_pause(t->machine);
		if (!has_ended(t))
			return;
		vmtest_fini(t);
	}
}

/* Runs `guest` until it has printed `text` (NULL: a little), saves, and runs on
 * elsewhere. */
static int goes_on(const char *guest, const char *text, unsigned cpus)
{
	const struct vmtest_config c = { .guest = guest, .cpus = cpus };
	struct vmtest a, b;
	struct snap s;
	int code;

	if (text) {
		vmtest_init(&a, &c);
		machine_run(a.machine);
		cr_assert(vmtest_wait_output(&a, text));
		machine_pause(a.machine);
	} else {
		stop_early(&a, &c);
	}
	save(&a, &s);
	vmtest_fini(&a);
	vmtest_init(&b, &c);
	restore(&b, &s);
	snap_free(&s);
	machine_run(b.machine);
	cr_assert_eq(vmtest_wait(&b), GUEST_EXIT, "%s", vmtest_output(&b));
	code = (int)b.value;
	vmtest_fini(&b);
	return code;
}

Test(state, restored_when_timers_run_goes_on_to_its_end)
{
	cr_assert_eq(goes_on("timer", "periodic", 1), 0);
}

Test(state, restored_with_two_cpus_goes_on_to_its_end)
{
	cr_assert_eq(goes_on("smp", NULL, 2), 0);
}

/* What time alone changes; checked where it is set. */
static bool is_time(const char *section, const char *field)
{
	return (!strcmp(section, "clock") || !strcmp(section, "vcpu-tsc")) &&
	       strcmp(field, "khz");
}

#define MSR_TSC 0x10

struct text {
	char *p;
	size_t len;
	FILE *f;
	struct state_value msrs; /* their numbers, which come first */
};

static int print_one(void *ctx, const struct state_value *v)
{
	struct text *t = ctx;
	bool of_msrs = !strcmp(v->section, "vcpu-msrs");
	bool values = of_msrs && !strcmp(v->field, "value");

	if (is_time(v->section, v->field))
		return 0;
	if (of_msrs && !strcmp(v->field, "index"))
		t->msrs = *v;
	fprintf(t->f, "%s %s %s", v->section, v->instance, v->field);
	for (unsigned i = 0; i < v->count; i++) {
		if (values && state_value_at(&t->msrs, i) == MSR_TSC)
			continue;
		fprintf(t->f, " %llx",
			(unsigned long long)state_value_at(v, i));
	}
	fputc('\n', t->f);
	return 0;
}

static void print_state(struct text *t, const struct snap *s)
{
	struct fail why;

	t->f = open_memstream(&t->p, &t->len);
	cr_assert_eq(
	    state_file_each(s->state, s->state_len, print_one, t, &why), 0);
	fclose(t->f);
}

Test(state, saved_again_after_restore_is_the_same_to_depth_64)
{
	const struct vmtest_config c = { .guest = "timer" };
	struct text first, now;
	struct vmtest t;
	struct snap s, next;

	vmtest_init(&t, &c);
	machine_run(t.machine);
	cr_assert(vmtest_wait_output(&t, "deadline"));
	machine_pause(t.machine);
	save(&t, &s);
	vmtest_fini(&t);
	print_state(&first, &s);
	for (unsigned i = 0; i < 64; i++) {
		vmtest_init(&t, &c);
		restore(&t, &s);
		save(&t, &next);
		print_state(&now, &next);
		cr_assert_str_eq(now.p, first.p, "depth %u", i);
		free(now.p);
		snap_free(&s);
		s = next;
		vmtest_fini(&t);
	}
	free(first.p);
	snap_free(&s);
}

/* Nothing of the guest that ran there before is left. */
Test(state, restored_over_another_guest_is_the_same)
{
	const struct vmtest_config c = { .guest = "timer" };
	const struct vmtest_config other = { .guest = NULL };
	struct text first, now;
	struct vmtest t;
	struct snap s, next;

	vmtest_init(&t, &c);
	machine_run(t.machine);
	cr_assert(vmtest_wait_output(&t, "deadline"));
	machine_pause(t.machine);
	save(&t, &s);
	vmtest_fini(&t);
	print_state(&first, &s);
	vmtest_init(&t, &other);
	machine_run(t.machine);
	vmtest_let_run(&t, 3);
	machine_pause(t.machine);
	restore(&t, &s);
	save(&t, &next);
	print_state(&now, &next);
	cr_assert_str_eq(now.p, first.p);
	free(now.p);
	free(first.p);
	snap_free(&s);
	snap_free(&next);
	vmtest_fini(&t);
}

struct wanted {
	const char *section, *instance, *field;
	uint64_t value;
};

static int find_one(void *ctx, const struct state_value *v)
{
	struct wanted *w = ctx;

	if (strcmp(v->section, w->section) ||
	    strcmp(v->instance, w->instance) || strcmp(v->field, w->field))
		return 0;
	w->value = state_value_at(v, 0);
	return 1;
}

static uint64_t value_of(const struct snap *s, const char *section,
			 const char *instance, const char *field)
{
	struct wanted w = { section, instance, field, 0 };
	struct fail why;

	cr_assert_eq(
	    state_file_each(s->state, s->state_len, find_one, &w, &why), 1);
	return w.value;
}

static uint64_t offset_apart(const struct snap *s)
{
	return value_of(s, "vcpu-tsc", "vcpu1", "offset") -
	       value_of(s, "vcpu-tsc", "vcpu0", "offset");
}

Test(state, restored_clocks_keep_their_differences_and_never_go_back)
{
	const struct vmtest_config c = { .guest = "smp", .cpus = 2 };
	struct vmtest t;
	struct snap s, next;
	uint64_t was, is;

	vmtest_init(&t, &c);
	machine_run(t.machine);
	vmtest_let_run(&t, 2);
	machine_pause(t.machine);
	save(&t, &s);
	vmtest_fini(&t);
	vmtest_init(&t, &c);
	restore(&t, &s);
	save(&t, &next);
	cr_expect_eq(offset_apart(&next), offset_apart(&s));
	cr_expect_geq(value_of(&next, "clock", "clock", "clock_ns"),
		      value_of(&s, "clock", "clock", "clock_ns"));
	was = value_of(&s, "vcpu-tsc", "vcpu0", "offset") +
	      value_of(&s, "clock", "clock", "host_tsc");
	is = value_of(&next, "vcpu-tsc", "vcpu0", "offset") +
	     value_of(&next, "clock", "clock", "host_tsc");
	cr_expect_geq(is, was);
	snap_free(&s);
	snap_free(&next);
	vmtest_fini(&t);
}
