/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guests see of the machine, told by the test programs, which check it
 * themselves; and the demo guest's commands, which tests and benchmarks rely
 * on.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform.h"
#include "util.h"
#include "vmtest.h"

#define SCRIPT(s) "run=\"" s "\""

static struct vmtest t;

/* Boots, waits for the event and for the last of the output. */
static void run(const struct vmtest_config *c, enum guest_event event,
		uint32_t value)
{
	enum guest_event got;

	vmtest_init(&t, c);
	machine_run(t.machine);
	do
		got = vmtest_wait(&t);
	while (got == GUEST_READY && event != GUEST_READY);
	vmtest_let_run(&t, 3);
	cr_assert_eq(got, event, "event %d, not %d; printed: %s", (int)got,
		     (int)event, vmtest_output(&t));
	if (event == GUEST_EXIT || event == GUEST_PANIC)
		cr_assert_eq(t.value, value, "value %u, not %u; printed: %s",
			     t.value, value, vmtest_output(&t));
}

static void run_demo(const char *cmdline, enum guest_event event,
		     uint32_t value)
{
	run(&(struct vmtest_config){ .cmdline = cmdline, .cpus = 2 }, event,
	    value);
}

static void expect_printed(const char *text)
{
	cr_assert_not_null(strstr(vmtest_output(&t), text), "printed: %s",
			   vmtest_output(&t));
}

/* ---- the programs ---- */

Test(guest, exit_code_reaches_the_vmm)
{
	run(&(struct vmtest_config){ .guest = "exitcode",
				     .cmdline = "code=137" },
	    GUEST_EXIT, 137);
	vmtest_fini(&t);
}

Test(guest, triple_fault_is_told)
{
	run(&(struct vmtest_config){ .guest = "triple" }, GUEST_TRIPLE_FAULT,
	    0);
	expect_printed("triple: now");
	vmtest_fini(&t);
}

Test(guest, panic_is_told)
{
	run(&(struct vmtest_config){ .guest = "panic" }, GUEST_PANIC, 1);
	vmtest_fini(&t);
}

Test(guest, unmapped_accesses_read_ones_and_are_counted)
{
	struct machine_counters c;

	run(&(struct vmtest_config){ .guest = "unmapped" }, GUEST_EXIT, 0);
	machine_pause(t.machine);
	machine_counters(t.machine, &c);
	cr_assert_geq(c.unclaimed, 3 * 3 + 4 * 4 + 1);
	vmtest_fini(&t);
}

Test(guest, abuse_of_ports_and_addresses_harms_nobody)
{
	run(&(struct vmtest_config){ .guest = "abuse", .cpus = 2 }, GUEST_EXIT,
	    0);
	vmtest_fini(&t);
}

Test(guest, ends_of_two_cpus_at_once_are_one_end)
{
	static const struct {
		const char *how;
		enum guest_event first, second;
	} c[] = {
		{ "storm=er", GUEST_EXIT, GUEST_RESET },
		{ "storm=pt", GUEST_PANIC, GUEST_TRIPLE_FAULT },
		{ "storm=to", GUEST_TRIPLE_FAULT, GUEST_POWEROFF },
		{ "storm=pe", GUEST_PANIC, GUEST_EXIT },
	};

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		vmtest_init(&t, &(struct vmtest_config){ .guest = "storm",
							 .cpus = 2,
							 .cmdline = c[i].how });
		machine_run(t.machine);
		while (vmtest_wait(&t) == GUEST_READY)
			;
		cr_expect(t.event == c[i].first || t.event == c[i].second,
			  "%s: event %d", c[i].how, t.event);
		vmtest_fini(&t);
	}
}

Test(guest, string_io_moves_all_bytes)
{
	run(&(struct vmtest_config){ .guest = "stringio" }, GUEST_EXIT, 0);
	expect_printed("stringio: ok?");
	vmtest_fini(&t);
}

Test(guest, page_crossing_accesses_do_both_halves)
{
	run(&(struct vmtest_config){ .guest = "crossing" }, GUEST_EXIT, 0);
	vmtest_fini(&t);
}

Test(guest, timer_ticks_in_every_mode)
{
	run(&(struct vmtest_config){ .guest = "timer" }, GUEST_EXIT, 0);
	vmtest_fini(&t);
}

Test(guest, four_cpus_work_together)
{
	run(&(struct vmtest_config){ .guest = "smp", .cpus = 4 }, GUEST_EXIT,
	    0);
	expect_printed("smp: 4 of 4 CPUs");
	vmtest_fini(&t);
}

Test(guest, ram_above_4_gib_is_there)
{
	run(&(struct vmtest_config){ .guest = "highmem", .memory = GIB(5) },
	    GUEST_EXIT, 0);
	vmtest_fini(&t);
}

Test(guest, ram_in_many_slots_is_whole)
{
	run(&(struct vmtest_config){ .guest = "highmem",
				     .memory = GIB(5),
				     .region_max = GIB(1) },
	    GUEST_EXIT, 0);
	vmtest_fini(&t);
}

static void press_power_button(void)
{
	enum guest_event got;

	machine_power_button(t.machine);
	got = vmtest_wait(&t);
	cr_assert_eq(got, GUEST_POWEROFF, "event %d; printed: %s", (int)got,
		     vmtest_output(&t));
}

static void run_until_ready(const char *guest, const char *cmdline)
{
	run(&(struct vmtest_config){ .guest = guest, .cmdline = cmdline },
	    GUEST_READY, 0);
}

Test(guest, spinning_at_cpl3_is_paused_and_goes_on)
{
	run_until_ready("spin", "");
	for (int i = 0; i < 50; i++) {
		machine_pause(t.machine);
		machine_run(t.machine);
	}
	vmtest_fini(&t);
}

Test(guest, spinning_at_cpl0_is_paused_and_goes_on)
{
	run_until_ready("spin", "cpl0");
	for (int i = 0; i < 50; i++) {
		machine_pause(t.machine);
		machine_run(t.machine);
	}
	vmtest_fini(&t);
}

Test(guest, flooding_is_paused)
{
	run_until_ready("flood", "");
	cr_assert(vmtest_wait_output(&t, "...."));
	machine_pause(t.machine);
	vmtest_fini(&t);
}

Test(guest, power_button_powers_off)
{
	run_until_ready("button", "");
	press_power_button();
	vmtest_let_run(&t, 3);
	expect_printed("power button");
	vmtest_fini(&t);
}

/* ---- the demo guest ---- */

Test(demo, script_ends_in_power_off)
{
	run_demo(SCRIPT("echo one; echo two"), GUEST_POWEROFF, 0);
	expect_printed("tintype demo guest: 2 CPUs, 32 MiB, type help");
	expect_printed("one\r\ntwo\r\n");
	vmtest_fini(&t);
}

Test(demo, prompt_is_ready_and_the_button_powers_off)
{
	run(&(struct vmtest_config){ .cpus = 1 }, GUEST_READY, 0);
	cr_assert(vmtest_wait_output(&t, "tintype> "));
	press_power_button();
	vmtest_fini(&t);
}

/* Typed before the guest has set up its UART: nothing may be lost. */
Test(demo, typed_line_is_edited_and_run)
{
	run(
	    &(struct vmtest_config){
		.input = "echo hi there\177\177yo\r\n\025junk\025"
			 "echo \033[Aup\rzzz\003bogus\nexit 9\r" },
	    GUEST_EXIT, 9);
	expect_printed("\r\nhi theyo\r\n");
	expect_printed("\r\nup\r\n");
	expect_printed("zzz^C\r\n");
	expect_printed("bogus: no such command");
	vmtest_fini(&t);
}

Test(demo, interrupt_ends_a_command)
{
	run(&(struct vmtest_config){ .input = "flood\r\003exit 4\r" },
	    GUEST_EXIT, 4);
	vmtest_fini(&t);
}

Test(demo, check_accepts_what_fill_wrote)
{
	run_demo(SCRIPT("fill 7 8; check 7 8; exit 5"), GUEST_EXIT, 5);
	expect_printed("check: 8 MiB, seed 7: 0 pages differ");
	vmtest_fini(&t);
}

Test(demo, check_fails_on_another_pattern)
{
	run_demo(SCRIPT("fill 7 8; check 8 8; exit 5"), GUEST_EXIT, 1);
	expect_printed("2048 pages differ");
	vmtest_fini(&t);
}

/* In the first byte of what fill writes. */
Test(demo, check_finds_a_single_changed_word)
{
	char script[128], *at;

	run_demo(SCRIPT("mem"), GUEST_POWEROFF, 0);
	at = strstr(vmtest_output(&t), " KiB free for fill");
	cr_assert_not_null(at);
	while (at[-1] != '\n')
		at--;
	snprintf(script, sizeof(script),
		 SCRIPT("fill 1 1; poke mmio %.14s 1 1; check 1 1"), at);
	vmtest_fini(&t);
	run_demo(script, GUEST_EXIT, 1);
	expect_printed(" 1 pages differ");
	vmtest_fini(&t);
}

Test(demo, unknown_and_wrong_commands_fail_the_script)
{
	run_demo(SCRIPT("bogus; exit 0"), GUEST_EXIT, 127);
	vmtest_fini(&t);
	run_demo(SCRIPT("fill x; exit 0"), GUEST_EXIT, 2);
	vmtest_fini(&t);
	run_demo(SCRIPT("exit 256; exit 0"), GUEST_EXIT, 2);
	vmtest_fini(&t);
}

Test(demo, more_than_255_cpus_start)
{
	run(&(struct vmtest_config){ .cmdline = SCRIPT("cpus 1000"),
				     .cpus = 300 },
	    GUEST_POWEROFF, 0);
	expect_printed("CPU 299: APIC id 299, counted 1000");
	expect_printed("cpus: 300 of 300 ran");
	vmtest_fini(&t);
}

static uint64_t hash_of(const char *cmdline)
{
	const char *at;
	uint64_t hash;

	run_demo(cmdline, GUEST_POWEROFF, 0);
	at = strstr(vmtest_output(&t), "hash 0x");
	cr_assert_not_null(at);
	hash = strtoull(at + 5, NULL, 16);
	vmtest_fini(&t);
	return hash;
}

Test(demo, deterministic_runs_have_equal_hashes)
{
	static const char script[] =
	    "deterministic " SCRIPT("fill 3 8; cpus; ping 20; hash");

	cr_assert_eq(hash_of(script), hash_of(script));
}

/* The guest flips a bit of its RAM, and back; in each of the hash's lanes. */
Test(demo, hash_depends_on_each_bit_of_ram)
{
	char script[256];
	const char *at;
	uint64_t hash[3];

	for (unsigned lane = 0; lane < 4; lane++) {
		snprintf(script, sizeof(script),
			 SCRIPT("hash; poke mmio 0x18000%02x 1 4; hash; "
				"poke mmio 0x18000%02x 1 0; hash"),
			 lane * 8, lane * 8);
		run_demo(script, GUEST_POWEROFF, 0);
		at = vmtest_output(&t);
		for (int i = 0; i < 3; i++) {
			at = strstr(at, "hash 0x");
			cr_assert_not_null(at);
			at += 5;
			hash[i] = strtoull(at, NULL, 16);
		}
		cr_assert_neq(hash[0], hash[1], "lane %u", lane);
		cr_assert_eq(hash[0], hash[2], "lane %u", lane);
		vmtest_fini(&t);
	}
}

Test(demo, deterministic_run_refuses_the_clock)
{
	run_demo("deterministic " SCRIPT("sleep 1"), GUEST_EXIT, 1);
	vmtest_fini(&t);
}

Test(demo, clock_commands_run)
{
	run_demo(SCRIPT("ticks start 1000 deadline; sleep 20; ticks; "
			"ticks start 1000 oneshot; ticks wait 3; ticks stop; "
			"ticks print 2; dirty 10 1 4; gap 0; speed"),
		 GUEST_POWEROFF, 0);
	expect_printed("ticks: ");
	expect_printed("tick 2");
	expect_printed("dirty: ");
	expect_printed("gap: longest ");
	vmtest_fini(&t);
}

Test(demo, endings_are_told)
{
	run_demo(SCRIPT("reboot"), GUEST_RESET, 0);
	vmtest_fini(&t);
	run_demo(SCRIPT("crash panic"), GUEST_PANIC, 1);
	vmtest_fini(&t);
	run_demo(SCRIPT("crash triple"), GUEST_TRIPLE_FAULT, 0);
	vmtest_fini(&t);
	run_demo(SCRIPT("crash ud"), GUEST_PANIC, 1);
	expect_printed("exception 6");
	vmtest_fini(&t);
}

Test(demo, two_mib_and_five_gib_are_enough)
{
	run(&(struct vmtest_config){ .cmdline = SCRIPT("mem; hash"),
				     .memory = MIB(2) },
	    GUEST_POWEROFF, 0);
	vmtest_fini(&t);
	run(&(struct vmtest_config){ .cmdline = SCRIPT(
					 "poke mmio 0x110000000 8 1; mem; "
					 "peek mmio 0x110000000 8"),
				     .memory = GIB(5) },
	    GUEST_POWEROFF, 0);
	expect_printed("mmio 0x110000000: 0x1\r\n");
	vmtest_fini(&t);
}

/* ---- virtio ---- */

Test(guest, rng_gives_random_bytes_by_interrupt)
{
	run(&(struct vmtest_config){ .cmdline = SCRIPT("rng; rng 4096; exit 9"),
				     .rng = true },
	    GUEST_EXIT, 9);
	expect_printed("4096 random bytes");
	vmtest_fini(&t);
}

/* More than a period gives: the rest comes when the next one begins. */
Test(guest, rng_when_asked_for_more_than_it_may_give_goes_on_later)
{
	run(&(struct vmtest_config){ .cmdline = SCRIPT("rng 20000; exit 9"),
				     .rng = true },
	    GUEST_EXIT, 9);
	vmtest_fini(&t);
}

Test(guest, rng_after_a_reset_of_the_machine_works)
{
	run(&(struct vmtest_config){ .cmdline = SCRIPT("rng; reboot"),
				     .rng = true },
	    GUEST_RESET, 0);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(machine_reset(t.machine, &t.why), 0);
		cr_assert_eq(vmtest_wait(&t), GUEST_RESET);
	}
	vmtest_fini(&t);
}

Test(guest, rng_when_paused_again_and_again_loses_no_request)
{
	vmtest_init(
	    &t, &(struct vmtest_config){ .cmdline = SCRIPT("rng 6000; exit 9"),
					 .rng = true });
	machine_run(t.machine);
	for (unsigned i = 0; i < 200 && !t.told; i++) {
		machine_pause(t.machine);
		machine_run(t.machine);
		vmtest_let_run(&t, 1);
	}
	cr_assert_eq(t.told ? t.event : vmtest_wait(&t), GUEST_EXIT);
	cr_assert_eq(t.value, 9);
	vmtest_fini(&t);
}
