/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about time: the tick counter, sleeping, and the longest gap between
 * two instructions.
 */
#include "demo.h"

#define DEFAULT_HZ 100
#define MAX_HZ	   100000

static struct {
	uint32_t hz;
	bool running;
	enum timer_mode mode;
} ticker GUEST_VOLATILE;

static const char *const mode_names[] = { "periodic", "oneshot", "deadline" };

uint64_t demo_microseconds(uint64_t cycles)
{
	uint64_t khz = clock_tsc_khz();

	return khz ? cycles / khz * 1000 + cycles % khz * 1000 / khz : 0;
}

static int ticker_start(uint32_t hz, enum timer_mode mode)
{
	if (timer_start(mode, hz)) {
		print("ticks: no %s timer at %u Hz here\n", mode_names[mode],
		      hz);
		return DEMO_FAILED;
	}
	ticker.hz = hz;
	ticker.mode = mode;
	ticker.running = true;
	return 0;
}

static int ticks_start(unsigned argc, char **argv)
{
	uint64_t hz;
	unsigned mode = 0;

	if (!demo_number(argc, argv, 2, MAX_HZ, DEFAULT_HZ, &hz) || !hz)
		return DEMO_USAGE;
	while (argc > 3 && strcmp(argv[3], mode_names[mode]))
		if (++mode == sizeof(mode_names) / sizeof(mode_names[0]))
			return DEMO_USAGE;
	return ticker_start((uint32_t)hz, (enum timer_mode)mode);
}

static int ticks_stop(unsigned argc, char **argv)
{
	timer_stop();
	ticker.running = false;
	return 0;
}

/* Sleeps until `n` more ticks have come or Ctrl-C; a line for each if asked.
 * Starts the timer for the time being where it stands still. */
static int ticks_pass(uint64_t n, bool print_each)
{
	uint64_t seen = timer_ticks, end = seen + n;
	bool was_running = ticker.running;

	if (!was_running && ticker_start(DEFAULT_HZ, TIMER_PERIODIC))
		return DEMO_FAILED;
	while (seen < end && !console_break()) {
		irq_wait_change(&timer_ticks, seen);
		for (; seen < end && seen < timer_ticks; seen++)
			if (print_each)
				print("tick %lu\n", seen + 1);
	}
	if (!was_running)
		ticks_stop(0, NULL);
	return 0;
}

static int ticks_wait(unsigned argc, char **argv)
{
	uint64_t n;

	if (!demo_number(argc, argv, 2, UINT32_MAX, 1, &n))
		return DEMO_USAGE;
	return ticks_pass(n, false);
}

static int ticks_print(unsigned argc, char **argv)
{
	uint64_t n;

	if (!demo_number(argc, argv, 2, UINT32_MAX, UINT32_MAX, &n))
		return DEMO_USAGE;
	return ticks_pass(n, true);
}

static int cmd_ticks(unsigned argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(unsigned argc, char **argv);
	} verbs[] = {
		{ "start", ticks_start },
		{ "stop", ticks_stop },
		{ "wait", ticks_wait },
		{ "print", ticks_print },
	};

	for (unsigned i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]);
	     i++)
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].run(argc, argv);
	if (argc > 1)
		return DEMO_USAGE;
	print("ticks: %lu", timer_ticks);
	if (ticker.running)
		print(", %u a second (%s)", ticker.hz, mode_names[ticker.mode]);
	print("\n");
	return 0;
}

static int cmd_sleep(unsigned argc, char **argv)
{
	uint64_t ms, hz;

	if (!demo_number(argc, argv, 1, 100000000, 0, &ms))
		return DEMO_USAGE;
	hz = ticker.running ? ticker.hz : DEFAULT_HZ;
	return ticks_pass((ms * hz + 999) / 1000, false);
}

/* Nothing but looks at the TSC; what stops the guest shows as a gap. */
static int cmd_gap(unsigned argc, char **argv)
{
	uint64_t seconds, khz = clock_tsc_khz(), start, now, last, end;
	uint64_t longest = 0, when = 0, over = 0;

	if (!demo_number(argc, argv, 1, 1000000, 0, &seconds))
		return DEMO_USAGE;
	start = last = clock_tsc();
	end = start + seconds * 1000 * khz;
	do {
		now = clock_tsc();
		if (now - last > khz)
			over++;
		if (now - last > longest) {
			longest = now - last;
			when = now;
		}
		last = now;
	} while (now < end && !console_break());
	print("gap: longest %lu us, %lu ms after the start; %lu over 1 ms\n",
	      demo_microseconds(longest),
	      demo_microseconds(when ? when - start : 0) / 1000, over);
	return 0;
}

const struct command time_commands[] = {
	{ "ticks", "[start [HZ [MODE]] | stop | wait N | print [N]]",
	  "the counter; MODE: periodic, oneshot, deadline", cmd_ticks, 0, 3,
	  true },
	{ "sleep", "MILLISECONDS", "wait, halted", cmd_sleep, 1, 1, true },
	{ "gap", "SECONDS", "the longest time between two instructions",
	  cmd_gap, 1, 1, true },
	{ NULL, NULL, NULL, NULL, 0, 0, false },
};
