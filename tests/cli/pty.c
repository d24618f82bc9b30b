/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program on a terminal: raw while it runs, put back on every way out.
 * There is no clock here: what does not come is a hang, which meson ends.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PROMPT "tintype> "

static int master = -1, slave = -1;
static struct termios before;
static char home[64];
static char seen[1 << 16];
static size_t nseen;

static void init(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		cr_skip_test("/dev/kvm: %s", strerror(errno));
	close(fd);
	strcpy(home, "/tmp/tintype-pty-XXXXXX");
	cr_assert_not_null(mkdtemp(home));
	setenv("TINTYPE_HOME", home, 1);
	cr_assert_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	fcntl(master, F_SETFD, FD_CLOEXEC);
	fcntl(slave, F_SETFD, FD_CLOEXEC);
	cr_assert_eq(tcgetattr(slave, &before), 0);
	nseen = 0;
}

static int shell(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void fini(void)
{
	char command[256];

	shell("for v in $(\"$TINTYPE\" ps -q); do \"$TINTYPE\" stop --kill $v "
	      ">/dev/null; done");
	snprintf(command, sizeof(command), "rm -rf '%s'", home);
	shell(command);
}

TestSuite(pty, .init = init, .fini = fini);

/* Starts the program with the terminal as its own. */
static pid_t start(const char *const *args)
{
	const char *argv[16] = { getenv("TINTYPE") };
	pid_t pid;

	cr_assert_not_null(argv[0], "TINTYPE names the program");
	for (unsigned i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	pid = fork();
	if (pid)
		return pid;
	setsid();
	ioctl(slave, TIOCSCTTY, 0);
	for (int fd = 0; fd < 3; fd++)
		dup2(slave, fd);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

#define START(...) start((const char *const[]){ __VA_ARGS__, NULL })

/* Reads until `text` has come, since the last time. */
static void expect(const char *text)
{
	for (;;) {
		ssize_t n;

		seen[nseen] = '\0';
		if (strstr(seen, text)) {
			nseen = 0;
			return;
		}
		n = read(master, seen + nseen, sizeof(seen) - 1 - nseen);
		cr_assert_gt(n, 0,
			     "the terminal closed before '%s'; it has "
			     "'%s'",
			     text, seen);
		nseen += (size_t)n;
	}
}

static void type(const char *keys)
{
	cr_assert_eq(write(master, keys, strlen(keys)), (ssize_t)strlen(keys));
}

static bool is_raw(void)
{
	struct termios t;

	cr_assert_eq(tcgetattr(slave, &t), 0);
	return !(t.c_lflag & (ICANON | ECHO | ISIG));
}

static void assert_restored(void)
{
	struct termios t;

	cr_assert_eq(tcgetattr(slave, &t), 0);
	cr_expect_eq(t.c_iflag, before.c_iflag);
	cr_expect_eq(t.c_oflag, before.c_oflag);
	cr_expect_eq(t.c_cflag, before.c_cflag);
	cr_expect_eq(t.c_lflag, before.c_lflag);
	cr_expect_arr_eq(t.c_cc, before.c_cc, sizeof(t.c_cc));
}

static int wait_for(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
	return status;
}

static void assert_exits(pid_t pid, int code)
{
	int status = wait_for(pid);

	cr_assert(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
	cr_assert_eq(WEXITSTATUS(status), code, "code %d", WEXITSTATUS(status));
}

static pid_t start_demo(void)
{
	pid_t pid = START("run", "--name", "vm", "--memory", "32M");

	expect(PROMPT);
	cr_assert(is_raw());
	return pid;
}

Test(pty, run_when_the_escape_is_typed_restores)
{
	pid_t pid = START("run", "--name", "vm", "--memory", "32M");

	expect("Enter ~. ends the VM");
	expect(PROMPT);
	type("~?");
	expect("~.  end the VM");
	type("~.");
	/* On a line of its own, below what was typed. */
	expect("\n"
	       "tintype: vm: ended by the terminal");
	assert_exits(pid, 9);
	assert_restored();
}

Test(pty, run_when_the_guest_exits_restores)
{
	pid_t pid = start_demo();

	type("exit 5\r");
	assert_exits(pid, 5);
	assert_restored();
}

Test(pty, run_when_the_guest_crashes_restores_and_says_so)
{
	pid_t pid = start_demo();

	type("crash triple\r");
	assert_exits(pid, 134);
	assert_restored();
	expect("triple-faulted");
}

Test(pty, run_when_terminated_restores)
{
	static const int signals[] = { SIGTERM, SIGINT,	 SIGHUP,  SIGQUIT,
				       SIGUSR1, SIGUSR2, SIGALRM, SIGXCPU };

	for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		pid_t pid = start_demo();

		kill(pid, signals[i]);
		assert_exits(pid, 9);
		assert_restored();
	}
}

Test(pty, run_when_it_crashes_itself_restores)
{
	static const int signals[] = { SIGSEGV, SIGABRT, SIGBUS };

	for (unsigned i = 0; i < 3; i++) {
		pid_t pid = start_demo();
		int status;

		kill(pid, signals[i]);
		status = wait_for(pid);
		cr_assert(WIFSIGNALED(status));
		cr_expect_eq(WTERMSIG(status), signals[i]);
		assert_restored();
	}
}

Test(pty, run_when_it_never_starts_leaves_the_terminal_alone)
{
	assert_exits(START("run", "--kernel", "/etc/passwd"), 7);
	assert_restored();
}

Test(pty, run_when_keys_would_raise_signals_gives_them_to_the_guest)
{
	pid_t pid = start_demo();

	type("\x03\x1c\x1a");
	type("\recho still here\r");
	expect("\nstill here");
	type("exit 0\r");
	assert_exits(pid, 0);
	assert_restored();
}

Test(pty, run_when_stdout_is_no_terminal_leaves_the_terminal_alone)
{
	cr_assert_eq(shell("\"$TINTYPE\" run --memory 32M --cmdline "
			   "'run=\"exit 3\"' </dev/null | cat >/dev/null"),
		     0);
	assert_restored();
}

/* A VM in the background, and its console on the terminal. */
static pid_t start_console(void)
{
	pid_t pid;

	cr_assert_eq(shell("\"$TINTYPE\" run -d --name vm --memory 32M "
			   ">/dev/null"),
		     0);
	pid = START("console", "vm");
	while (!is_raw())
		usleep(1000);
	/* The guest may have printed its prompt before we came. */
	type("\r");
	expect(PROMPT);
	return pid;
}

static bool lives(void)
{
	return shell("test \"$(\"$TINTYPE\" ps -q)\" = vm") == 0;
}

Test(pty, console_when_the_escape_is_typed_leaves_the_vm)
{
	pid_t pid = start_console();

	type("~?");
	expect("leave the console");
	type("~.");
	assert_exits(pid, 0);
	assert_restored();
	cr_assert(lives());
}

Test(pty, console_when_the_guest_exits_restores)
{
	pid_t pid = start_console();

	type("exit 5\r");
	assert_exits(pid, 0);
	assert_restored();
}

Test(pty, console_when_killed_by_a_signal_restores)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	pid_t pid = start_console();

	for (unsigned i = 0; i < 4; i++) {
		int status;

		kill(pid, signals[i]);
		status = wait_for(pid);
		cr_assert(WIFSIGNALED(status));
		cr_expect_eq(WTERMSIG(status), signals[i]);
		assert_restored();
		cr_assert(lives());
		pid = START("console", "vm");
		while (!is_raw())
			usleep(1000);
	}
	type("~.");
	assert_exits(pid, 0);
}

Test(pty, console_when_the_vm_is_killed_restores)
{
	pid_t pid = start_console();

	cr_assert_eq(shell("\"$TINTYPE\" stop --kill vm >/dev/null"), 0);
	assert_exits(pid, 0);
	assert_restored();
}

Test(pty, console_when_stopped_and_continued_is_raw_again)
{
	pid_t pid = start_console();

	kill(pid, SIGTSTP);
	cr_assert(WIFSTOPPED(wait_for(pid)));
	assert_restored();
	kill(pid, SIGCONT);
	while (!is_raw())
		usleep(1000);
	type("~.");
	assert_exits(pid, 0);
	assert_restored();
}

Test(pty, console_when_the_vm_is_paused_still_obeys_the_escape)
{
	pid_t pid = start_console();
	char many[4096];

	cr_assert_eq(shell("\"$TINTYPE\" pause vm >/dev/null"), 0);
	memset(many, 'x', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	for (unsigned i = 0; i < 200; i++)
		type(many);
	type("\r~.");
	assert_exits(pid, 0);
	assert_restored();
}
