/* SPDX-License-Identifier: Apache-2.0 */
/* Raw mode is undone exactly, and the escape parser sends what was typed. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "terminal.h"

static void open_pty(int *master, int *slave)
{
	cr_assert_eq(openpty(master, slave, NULL, NULL, NULL), 0);
}

static void assert_same(const struct termios *a, const struct termios *b)
{
	cr_assert_eq(a->c_iflag, b->c_iflag);
	cr_assert_eq(a->c_oflag, b->c_oflag);
	cr_assert_eq(a->c_cflag, b->c_cflag);
	cr_assert_eq(a->c_lflag, b->c_lflag);
	cr_assert_arr_eq(a->c_cc, b->c_cc, sizeof(a->c_cc));
}

Test(terminal, enter_when_terminal_makes_it_raw_and_restore_undoes_it)
{
	struct termios before, raw, after;
	int m, s;

	open_pty(&m, &s);
	cr_assert_eq(tcgetattr(s, &before), 0);
	cr_assert_eq(terminal_enter(s), 0);
	cr_assert_eq(tcgetattr(s, &raw), 0);
	cr_assert_eq(raw.c_lflag & (ICANON | ECHO | ISIG | IEXTEN), 0);
	cr_assert_eq(raw.c_iflag & (ICRNL | IXON), 0);
	cr_assert_eq(raw.c_oflag & OPOST, 0);
	terminal_restore();
	cr_assert_eq(tcgetattr(s, &after), 0);
	assert_same(&before, &after);
}

Test(terminal, enter_when_no_terminal_is_refused)
{
	int p[2];

	cr_assert_eq(pipe(p), 0);
	cr_assert_eq(terminal_enter(p[0]), -ENOTTY);
	cr_assert_eq(terminal_enter(-1), -EBADF);
}

Test(terminal, enter_when_raw_already_is_refused_and_the_first_is_kept)
{
	struct termios before, after;
	int m, s;

	open_pty(&m, &s);
	cr_assert_eq(tcgetattr(s, &before), 0);
	cr_assert_eq(terminal_enter(s), 0);
	cr_assert_eq(terminal_enter(s), -EBUSY);
	terminal_restore();
	cr_assert_eq(tcgetattr(s, &after), 0);
	assert_same(&before, &after);
	cr_assert_eq(terminal_enter(s), 0);
	terminal_restore();
}

Test(terminal, restore_when_twice_or_never_entered_leaves_the_terminal_alone)
{
	struct termios mine, after;
	int m, s;

	open_pty(&m, &s);
	terminal_restore();
	cr_assert_eq(terminal_enter(s), 0);
	terminal_restore();
	cr_assert_eq(tcgetattr(s, &mine), 0);
	mine.c_lflag ^= ECHO;
	cr_assert_eq(tcsetattr(s, TCSANOW, &mine), 0);
	errno = 77;
	terminal_restore();
	cr_assert_eq(errno, 77);
	cr_assert_eq(tcgetattr(s, &after), 0);
	assert_same(&mine, &after);
}

/* In a session of its own whose foreground is another process group. */
static void restore_in_background(int s)
{
	int status;
	pid_t other;

	if (setsid() < 0 || ioctl(s, TIOCSCTTY, 0) < 0 || terminal_enter(s) < 0)
		_exit(1);
	other = fork();
	if (!other) {
		pause();
		_exit(0);
	}
	setpgid(other, other);
	signal(SIGTTOU, SIG_IGN);
	if (tcsetpgrp(s, other) < 0)
		_exit(2);
	signal(SIGTTOU, SIG_DFL);
	terminal_restore();
	/* Would stop us; EIO, since no shell of this session could go on. */
	status = terminal_enter(s) == -EIO ? 0 : 3;
	kill(other, SIGKILL);
	_exit(status);
}

Test(terminal, restore_when_in_the_background_is_not_stopped_but_enter_is)
{
	struct termios before, after;
	int m, s, status;
	pid_t child;

	open_pty(&m, &s);
	cr_assert_eq(tcgetattr(s, &before), 0);
	child = fork();
	if (!child)
		restore_in_background(s);
	cr_assert_eq(waitpid(child, &status, WUNTRACED), child);
	cr_assert(WIFEXITED(status), "stopped by SIGTTOU");
	cr_assert_eq(WEXITSTATUS(status), 0);
	cr_assert_eq(tcgetattr(s, &after), 0);
	assert_same(&before, &after);
}

/* Types `in`; returns the last action, with what was sent in `sent`. */
static enum terminal_action type_all(const char *in, char *sent)
{
	struct terminal_escape e = { 0 };
	enum terminal_action last = TERMINAL_NONE;
	uint8_t out[2];
	size_t n, len = 0;

	for (; *in; in++) {
		last = terminal_type(&e, (uint8_t)*in, out, &n);
		memcpy(sent + len, out, n);
		len += n;
	}
	sent[len] = '\0';
	return last;
}

static const struct {
	const char *typed, *sent;
	enum terminal_action last;
} typing[] = {
	{ "ls\r", "ls\r", TERMINAL_NONE },
	{ "~.", "", TERMINAL_DETACH },
	{ "ls\r~.", "ls\r", TERMINAL_DETACH },
	{ "ls\n~.", "ls\n", TERMINAL_DETACH },
	{ "a~.", "a~.", TERMINAL_NONE },
	{ "~~.", "~.", TERMINAL_NONE },
	{ "~~~.", "~~.", TERMINAL_NONE },
	{ "~", "", TERMINAL_NONE },
	{ "~?", "", TERMINAL_HELP },
	{ "~?~.", "", TERMINAL_DETACH },
	{ "~/x", "~/x", TERMINAL_NONE },
	{ "~\r~.", "~\r", TERMINAL_DETACH },
	{ "~x~.", "~x~.", TERMINAL_NONE },
	{ "\r\r~.", "\r\r", TERMINAL_DETACH },
};

Test(terminal, type_when_escapes_are_typed_sends_the_rest)
{
	char sent[32];

	for (size_t i = 0; i < sizeof(typing) / sizeof(typing[0]); i++) {
		enum terminal_action got = type_all(typing[i].typed, sent);

		cr_expect_eq(got, typing[i].last, "case %zu", i);
		cr_expect_str_eq(sent, typing[i].sent, "case %zu", i);
	}
}

Test(terminal, type_when_bytes_are_not_ascii_passes_them_on)
{
	struct terminal_escape e = { 0 };
	uint8_t out[2];
	size_t n;

	for (unsigned b = 0x80; b < 0x100; b++) {
		cr_assert_eq(terminal_type(&e, (uint8_t)b, out, &n),
			     TERMINAL_NONE);
		cr_assert_eq(n, 1);
		cr_assert_eq(out[0], b);
	}
}
