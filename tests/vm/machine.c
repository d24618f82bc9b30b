/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's own edges: run, pause, reset, end. What guests see of it is in
 * guest.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "platform.h"
#include "util.h"
#include "vmtest.h"

static struct vmtest t;

static void boot(const struct vmtest_config *c)
{
	vmtest_init(&t, c);
	machine_run(t.machine);
}

static void expect(enum guest_event event)
{
	enum guest_event got = vmtest_wait(&t);

	cr_assert_eq(got, event, "event %d, not %d; the guest printed: %s",
		     (int)got, (int)event, vmtest_output(&t));
}

static void expect_exit(uint32_t code)
{
	expect(GUEST_EXIT);
	cr_assert_eq(t.value, code, "exit code %u, not %u; printed: %s",
		     t.value, code, vmtest_output(&t));
}

/* The console takes what was printed before the guest's last event, but on
 * its own task: give it its turn. */
static const char *printed(void)
{
	vmtest_let_run(&t, 3);
	return vmtest_output(&t);
}

Test(machine, hello_prints_and_exits)
{
	boot(&(struct vmtest_config){ .guest = "hello" });
	expect_exit(0);
	cr_assert_not_null(strstr(printed(), "hello"));
	machine_pause(t.machine);
	vmtest_fini(&t);
}

Test(machine, spinning_guest_is_paused_and_destroyed)
{
	boot(&(struct vmtest_config){ .guest = "spin" });
	cr_assert(vmtest_wait_output(&t, "spin: begins"));
	for (int i = 0; i < 100; i++) {
		machine_pause(t.machine);
		cr_assert_eq(machine_state(t.machine), MACHINE_QUIESCED);
		machine_run(t.machine);
	}
	machine_pause(t.machine);
	cr_assert_neq(machine_vcpu_rip(t.machine, 0), 0);
	machine_run(t.machine);
	vmtest_fini(&t);
}

Test(machine, paused_smp_guest_goes_on)
{
	boot(&(struct vmtest_config){ .guest = "smp", .cpus = 4 });
	for (int i = 0; i < 20; i++) {
		vmtest_let_run(&t, 1);
		if (t.told)
			break;
		machine_pause(t.machine);
		machine_run(t.machine);
	}
	if (!t.told)
		expect(GUEST_EXIT);
	cr_assert_eq(t.value, 0, "%s", vmtest_output(&t));
	vmtest_fini(&t);
}

Test(machine, more_than_255_cpus_are_made)
{
	vmtest_init(&t,
		    &(struct vmtest_config){ .guest = "hello", .cpus = 300 });
	machine_run(t.machine);
	expect_exit(0);
	vmtest_fini(&t);
}

Test(machine, reset_runs_the_guest_again)
{
	struct machine_counters c;

	boot(&(struct vmtest_config){ .guest = "hello" });
	for (int i = 0; i < 3; i++) {
		expect_exit(0);
		machine_pause(t.machine);
		cr_assert_eq(machine_reset(t.machine, &t.why), 0, "%s",
			     t.why.message);
		machine_run(t.machine);
	}
	expect_exit(0);
	machine_counters(t.machine, &c);
	cr_assert_eq(c.resets, 3);
	vmtest_fini(&t);
}

Test(machine, reset_of_an_smp_guest_runs_it_again)
{
	boot(&(struct vmtest_config){ .guest = "smp", .cpus = 3 });
	expect_exit(0);
	machine_pause(t.machine);
	cr_assert_eq(machine_reset(t.machine, &t.why), 0);
	machine_run(t.machine);
	expect_exit(0);
	vmtest_fini(&t);
}

/* Until an event was raised that nobody was told of: the loop does not run,
 * and nothing else posts to it. */
static void boot_to_untold_event(const struct vmtest_config *c)
{
	bool posted = false;

	vmtest_init(&t, c);
	cr_assert_eq(loop_step(&t.loop, 0), 0);
	cr_assert_null(t.loop.first);
	machine_run(t.machine);
	while (!posted) {
		_locked_(&t.loop.lock);
		posted = t.loop.first;
	}
}

Test(machine, reset_while_running_runs_on_and_while_paused_stays_paused)
{
	boot(&(struct vmtest_config){ .guest = "hello" });
	expect_exit(0);
	cr_assert_eq(machine_reset(t.machine, &t.why), 0);
	cr_assert_eq(machine_state(t.machine), MACHINE_RUNNING);
	expect_exit(0);
	machine_pause(t.machine);
	cr_assert_eq(machine_reset(t.machine, &t.why), 0);
	cr_assert_eq(machine_state(t.machine), MACHINE_QUIESCED);
	vmtest_let_run(&t, 3);
	cr_assert_not(t.told);
	machine_run(t.machine);
	expect_exit(0);
	vmtest_fini(&t);
}

Test(machine, event_from_before_a_reset_is_not_told_after_it)
{
	boot_to_untold_event(&(struct vmtest_config){ .guest = "triple" });
	machine_pause(t.machine);
	cr_assert_eq(machine_reset(t.machine, &t.why), 0);
	vmtest_let_run(&t, 3);
	cr_assert_not(t.told, "event %d", (int)t.event);
	machine_run(t.machine);
	expect(GUEST_TRIPLE_FAULT);
	vmtest_fini(&t);
}

Test(machine, event_told_while_paused_is_told_once)
{
	boot_to_untold_event(&(struct vmtest_config){ .guest = "hello" });
	machine_pause(t.machine);
	expect_exit(0);
	cr_assert_eq(machine_state(t.machine), MACHINE_QUIESCED);
	vmtest_let_run(&t, 3);
	cr_assert_not(t.told);
	vmtest_fini(&t);
}

Test(machine, destroy_leaves_no_task_in_the_loop)
{
	boot_to_untold_event(&(struct vmtest_config){ .guest = "hello" });
	machine_destroy(t.machine);
	t.machine = NULL;
	cr_assert_null(t.loop.first);
	vmtest_fini(&t);
}

Test(machine, more_cpus_than_kvm_takes_are_refused)
{
	struct machine_config c = { .rng_fd = -1,
				    .agent_fd = -1,
				    .vsock_fd = -1,
				    .cpus = 100000,
				    .memory_bytes = MIB(2),
				    .loop = &t.loop };
	struct machine *m;

	vmtest_init(&t, &(struct vmtest_config){ .guest = "hello" });
	c.kvm_fd = vmtest_kvm();
	cr_assert_lt(machine_create(&m, &c, &t.why), 0);
	cr_assert_eq(t.why.code, EXIT_INCOMPATIBLE);
	c.cpus = 0;
	c.kvm_fd = vmtest_kvm();
	cr_assert_lt(machine_create(&m, &c, &t.why), 0);
	vmtest_fini(&t);
}

Test(machine, more_ram_than_the_host_has_is_refused)
{
	struct machine_config c = { .rng_fd = -1,
				    .agent_fd = -1,
				    .vsock_fd = -1,
				    .cpus = 1,
				    .memory_bytes = GIB(1 << 20),
				    .loop = &t.loop };
	struct machine *m;

	vmtest_init(&t, &(struct vmtest_config){ .guest = "hello" });
	c.kvm_fd = vmtest_kvm();
	cr_assert_lt(machine_create(&m, &c, &t.why), 0);
	cr_assert_eq(t.why.code, EXIT_NO_SPACE);
	vmtest_fini(&t);
}
