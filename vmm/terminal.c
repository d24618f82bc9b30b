/* SPDX-License-Identifier: Apache-2.0 */
/* Raw mode that every way out undoes, and the parser of the "~." escape. */
#include "terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <termios.h>

/*
 * `raw_fd` is -1 while nothing is to be undone. It is set after `saved` is
 * complete and before the terminal changes, so that a signal at any point
 * finds either nothing to do or all it needs.
 */
static atomic_int raw_fd = -1;
static struct termios saved;

static void set_raw(struct termios *t)
{
	t->c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR |
				  IGNCR | ICRNL | IXON);
	t->c_oflag &= ~(tcflag_t)OPOST;
	t->c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	t->c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
	t->c_cflag |= CS8;
	t->c_cc[VMIN] = 1;
	t->c_cc[VTIME] = 0;
}

/* Lets SIGTTOU stop us, or not. */
static void mask_ttou(int how)
{
	sigset_t ttou;

	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(how, &ttou, NULL);
}

int terminal_enter(int fd)
{
	struct termios raw;

	if (atomic_load(&raw_fd) >= 0)
		return -EBUSY;
	if (tcgetattr(fd, &saved) < 0)
		return -errno;
	raw = saved;
	set_raw(&raw);
	atomic_store(&raw_fd, fd);
	/* In the background: stops, as whoever takes the terminal shall. */
	mask_ttou(SIG_UNBLOCK);
	if (tcsetattr(fd, TCSANOW, &raw) < 0) {
		int err = -errno;

		atomic_store(&raw_fd, -1);
		return err;
	}
	mask_ttou(SIG_BLOCK);
	return 0;
}

void terminal_restore(void)
{
	int keep = errno;
	int fd = atomic_exchange(&raw_fd, -1);

	if (fd < 0)
		return;
	/* Nobody is left to be told when the terminal is gone. */
	(void)tcsetattr(fd, TCSANOW, &saved);
	errno = keep;
}

static enum terminal_action after_tilde(struct terminal_escape *e, uint8_t byte,
					uint8_t out[2], size_t *n)
{
	e->held = 0;
	switch (byte) {
	case '.':
		return TERMINAL_DETACH;
	case '?':
		return TERMINAL_HELP;
	case '~':
		e->in_line = 1;
		out[(*n)++] = '~';
		return TERMINAL_NONE;
	default:
		e->in_line = byte != '\r' && byte != '\n';
		out[(*n)++] = '~';
		out[(*n)++] = byte;
		return TERMINAL_NONE;
	}
}

enum terminal_action terminal_type(struct terminal_escape *e, uint8_t byte,
				   uint8_t out[2], size_t *n)
{
	*n = 0;
	if (e->held)
		return after_tilde(e, byte, out, n);
	if (byte == '~' && !e->in_line) {
		e->held = 1;
		return TERMINAL_NONE;
	}
	e->in_line = byte != '\r' && byte != '\n';
	out[(*n)++] = byte;
	return TERMINAL_NONE;
}
