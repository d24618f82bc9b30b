/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices at work: a guest's driver on one side, the host on the other. The
 * demo guest's commands check what the guest sees.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "device.h"
#include "util.h"
#include "vmtest.h"

#define SCRIPT(s) "run=\"" s "\""

static struct vmtest t;

/* Boots, and runs until the guest ends so, with that value. */
static void run(const struct vmtest_config *c, enum guest_event event,
		uint32_t value)
{
	enum guest_event got;

	vmtest_init(&t, c);
	machine_run(t.machine);
	got = vmtest_wait(&t);
	vmtest_let_run(&t, 3);
	cr_assert_eq(got, event, "event %d, not %d; printed: %s", (int)got,
		     (int)event, vmtest_output(&t));
	if (event == GUEST_EXIT)
		cr_assert_eq(t.value, value, "value %u, not %u; printed: %s",
			     t.value, value, vmtest_output(&t));
}

static void expect_printed(const char *text)
{
	cr_assert_not_null(strstr(vmtest_output(&t), text), "printed: %s",
			   vmtest_output(&t));
}

/* The device's counts, by name. */
struct wanted {
	const char *device, *counter;
	uint64_t value;
	bool found;
};

static void find_count(void *ctx, const struct device *dev, const char *state)
{
	struct wanted *w = ctx;

	for (unsigned i = 0; i < dev->ops->ncounters; i++) {
		if (strcmp(dev->name, w->device) ||
		    strcmp(dev->ops->counter[i].name, w->counter))
			continue;
		w->found = true;
		w->value = device_count(dev, i);
	}
}

static uint64_t count_of(const char *device, const char *counter)
{
	struct wanted w = { .device = device, .counter = counter };

	machine_each_device(t.machine, find_count, &w);
	cr_assert(w.found, "%s has no counter %s", device, counter);
	return w.value;
}

/* ---- the balloon ---- */

static uint64_t resident_bytes(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	cr_assert_not_null(f);
	cr_assert_eq(fscanf(f, "%*u %lu", &pages), 1);
	fclose(f);
	return pages * PAGE_BYTES;
}

/* What this process has in memory once the guest has run the script. */
static uint64_t resident_after(const char *script)
{
	uint64_t bytes;

	run(&(struct vmtest_config){ .cmdline = script,
				     .memory = MIB(64),
				     .balloon = true },
	    GUEST_EXIT, 9);
	bytes = resident_bytes();
	vmtest_fini(&t);
	return bytes;
}

/* 32 MiB are given, of which up to 8 were not filled in the first run; the rest
 * of the margin is for what else the process has. */
Test(balloon, given_pages_leave_the_process)
{
	uint64_t full, given, reported;

	full = resident_after(SCRIPT("fill 1 56; exit 9"));
	given =
	    resident_after(SCRIPT("fill 1 56; balloon inflate 8192; exit 9"));
	cr_assert_leq(given + MIB(20), full, "%lu, %lu", given, full);
	reported =
	    resident_after(SCRIPT("fill 1 56; balloon report 8192; exit 9"));
	cr_assert_leq(reported + MIB(20), full, "%lu, %lu", reported, full);
}

Test(balloon, pages_when_touched_again_are_zero)
{
	run(&(struct vmtest_config){ .cmdline = SCRIPT(
					 "balloon inflate 2000; "
					 "balloon report 500; balloon check "
					 "500; balloon deflate 2000; exit 9"),
				     .balloon = true },
	    GUEST_EXIT, 9);
	expect_printed("500 pages looked at, 0 of them not zero");
	expect_printed("2000 pages taken back, 0 of them not zero");
	cr_assert_eq(count_of("balloon0", "inflated_pages"), 2000);
	cr_assert_eq(count_of("balloon0", "reported_pages"), 500);
	cr_assert_eq(count_of("balloon0", "deflated_pages"), 2000);
	cr_assert_eq(count_of("balloon0", "refused_pages"), 0);
	vmtest_fini(&t);
}

Test(balloon, guest_without_a_page_to_give_says_so)
{
	run(&(struct vmtest_config){ .cmdline = SCRIPT("balloon inflate 1"),
				     .memory = MIB(2),
				     .balloon = true },
	    GUEST_EXIT, 1);
	vmtest_fini(&t);
}

Test(balloon, guest_follows_the_target_and_tells_its_memory)
{
	struct machine_balloon b;

	vmtest_init(&t, &(struct vmtest_config){
			    .cmdline = SCRIPT("balloon follow 1000"),
			    .balloon = true });
	machine_run(t.machine);
	cr_assert(vmtest_wait_output(&t, "following"));
	cr_assert_eq(machine_balloon(t.machine, MIB(20), true, &b), 0);
	cr_assert(b.asked);
	do {
		vmtest_let_run(&t, 1);
		cr_assert_eq(machine_balloon(t.machine, 0, false, &b), 0);
	} while (b.actual_bytes != MIB(20) || !b.updates);
	cr_assert_eq(b.target_bytes, MIB(20));
	cr_assert_eq(b.nstats, 2);
	cr_assert_str_eq(b.stat[1].name, "total");
	machine_balloon(t.machine, MIB(32), false, &b);
	do {
		vmtest_let_run(&t, 1);
		machine_balloon(t.machine, 0, false, &b);
	} while (b.actual_bytes != MIB(32));
	vmtest_fini(&t);
}

/* Requests on their way at a pause are neither lost nor done twice. */
Test(balloon, when_paused_again_and_again_loses_no_page)
{
	vmtest_init(&t, &(struct vmtest_config){
			    .cmdline = SCRIPT("balloon inflate 4000; "
					      "balloon deflate 4000; exit 9"),
			    .balloon = true });
	machine_run(t.machine);
	for (unsigned i = 0; i < 200 && !t.told; i++) {
		machine_pause(t.machine);
		machine_run(t.machine);
		vmtest_let_run(&t, 1);
	}
	cr_assert_eq(t.told ? t.event : vmtest_wait(&t), GUEST_EXIT);
	cr_assert_eq(t.value, 9);
	cr_assert_eq(count_of("balloon0", "inflated_pages"), 4000);
	cr_assert_eq(count_of("balloon0", "deflated_pages"), 4000);
	vmtest_fini(&t);
}

/* After a reboot there is a new driver and a fresh balloon. */
Test(balloon, after_a_reset_of_the_machine_works)
{
	run(&(struct vmtest_config){ .cmdline = SCRIPT("balloon inflate 100; "
						       "reboot"),
				     .balloon = true },
	    GUEST_RESET, 0);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(machine_reset(t.machine, &t.why), 0);
		cr_assert_eq(vmtest_wait(&t), GUEST_RESET);
	}
	cr_assert_eq(count_of("balloon0", "inflated_pages"), 400);
	vmtest_fini(&t);
}

/* ---- the guest agent's port ---- */

static struct sockaddr_un address;
static socklen_t address_len;

/* At an abstract name of the kernel's choice. */
static int listening(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	address_len = sizeof(address);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)),
		     0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &address_len),
		     0);
	cr_assert_eq(listen(fd, 4), 0);
	return fd;
}

static int client(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&address, address_len), 0);
	return fd;
}

/* Sends `len` bytes of a pattern, and reads them back. With `pause` the VM is
 * paused now and then. */
static void echo(int fd, size_t len, bool pause)
{
	size_t sent = 0, got = 0;
	unsigned round = 0;
	uint8_t buf[700];

	while (got < len) {
		size_t n = MIN(sizeof(buf), len - sent);
		ssize_t r;

		for (size_t i = 0; i < n; i++)
			buf[i] = (uint8_t)((sent + i) % 251);
		r = n ? write(fd, buf, n) : 0;
		cr_assert(r >= 0 || errno == EAGAIN);
		sent += (size_t)MAX(r, (ssize_t)0);
		vmtest_let_run(&t, 1);
		if (pause && round++ % 8 == 0) {
			machine_pause(t.machine);
			machine_run(t.machine);
		}
		r = read(fd, buf, sizeof(buf));
		cr_assert(r > 0 || (r < 0 && errno == EAGAIN));
		for (ssize_t i = 0; i < r; i++)
			cr_assert_eq(buf[i], (got + (size_t)i) % 251);
		got += (size_t)MAX(r, (ssize_t)0);
	}
}

Test(agent, bytes_come_back_through_the_guest_for_one_client_after_another)
{
	int fd;

	vmtest_init(&t, &(struct vmtest_config){ .cmdline = SCRIPT("agent"),
						 .agent_fd = listening() });
	machine_run(t.machine);
	for (unsigned i = 0; i < 3; i++) {
		fd = client();
		echo(fd, 20000, false);
		close(fd);
	}
	cr_assert(vmtest_wait_output(&t, "port org.qemu.guest_agent.0"));
	cr_assert(vmtest_wait_output(&t, "gone"));
	cr_assert_eq(count_of("agent0", "clients"), 3);
	cr_assert_eq(count_of("agent0", "in_bytes"), 60000);
	cr_assert_eq(count_of("agent0", "out_bytes"), 60000);
	cr_assert_eq(count_of("agent0", "dropped_bytes"), 0);
	vmtest_fini(&t);
}

Test(agent, bytes_when_paused_again_and_again_are_not_lost)
{
	int fd;

	vmtest_init(&t, &(struct vmtest_config){ .cmdline = SCRIPT("agent"),
						 .agent_fd = listening() });
	machine_run(t.machine);
	fd = client();
	echo(fd, 50000, true);
	close(fd);
	vmtest_fini(&t);
}

Test(agent, client_stays_when_the_guest_reboots)
{
	int fd;

	vmtest_init(&t, &(struct vmtest_config){
			    .cmdline = SCRIPT("agent 1000; reboot"),
			    .agent_fd = listening() });
	machine_run(t.machine);
	fd = client();
	for (unsigned i = 0; i < 3; i++) {
		echo(fd, 1000, false);
		if (!t.told)
			vmtest_wait(&t);
		cr_assert_eq(t.event, GUEST_RESET);
		cr_assert_eq(machine_reset(t.machine, &t.why), 0);
	}
	cr_assert_eq(count_of("agent0", "clients"), 1);
	close(fd);
	vmtest_fini(&t);
}

/* ---- the clock ---- */

Test(rtc, guest_reads_the_hosts_year)
{
	char year[5], want[64];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(year, sizeof(year), "%Y", &tm);
	run(
	    &(struct vmtest_config){
		.cmdline = SCRIPT("poke port 0x70 1 0x32; peek port 0x71 1; "
				  "poke port 0x70 1 9; peek port 0x71 1; "
				  "exit 9") },
	    GUEST_EXIT, 9);
	snprintf(want, sizeof(want), "port 0x71: 0x%.2s\r\nport 0x71: 0x%s",
		 year, year + 2);
	expect_printed(want);
	vmtest_fini(&t);
}
