/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `console`: the user's terminal, or stdin and stdout, joined to a VM's
 * console socket. The terminal is put back on every way out.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cli.h"
#include "terminal.h"
#include "util.h"

struct session {
	int sock;
	bool terminal, input_open, detached;
	struct terminal_escape escape;
	uint8_t pending[4096]; /* typed, not yet taken by the VM */
	size_t npending;
};

/* Set by a stop and continue: the settings are to be made again. SIGTSTP is
 * let in only while we wait, with the mask below: between a look at this and
 * the wait it would be noticed only by the next key. */
static volatile sig_atomic_t continued;
static sigset_t while_waiting;

static void on_deadly_signal(int sig)
{
	terminal_restore();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void on_stop(int sig)
{
	terminal_restore();
	raise(SIGSTOP);
	continued = 1;
}

static void catch_signals(void)
{
	static const int deadly[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction a = { .sa_handler = on_deadly_signal };
	sigset_t stop;

	sigaddset(&a.sa_mask, SIGTTOU); /* for terminal_restore */
	for (unsigned i = 0; i < ARRAY_SIZE(deadly); i++)
		sigaction(deadly[i], &a, NULL);
	a.sa_handler = on_stop;
	sigaction(SIGTSTP, &a, NULL);
	sigemptyset(&stop);
	sigaddset(&stop, SIGTSTP);
	sigprocmask(SIG_BLOCK, &stop, &while_waiting);
	sigdelset(&while_waiting, SIGTSTP);
	signal(SIGPIPE, SIG_IGN);
}

static int write_all(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* One typed byte. When the VM takes nothing, a terminal's bytes are dropped,
 * so that the escape still works. */
static void typed(struct session *s, uint8_t byte)
{
	static const char help[] =
	    TERMINAL_HELP_TEXT("leave the console; the VM goes on");
	uint8_t out[2] = { byte };
	size_t n = 1;

	if (s->terminal) {
		switch (terminal_type(&s->escape, byte, out, &n)) {
		case TERMINAL_DETACH:
			s->detached = true;
			return;
		case TERMINAL_HELP:
			write_all(STDOUT_FILENO, help, strlen(help));
			return;
		case TERMINAL_NONE:
			break;
		}
	}
	if (n > sizeof(s->pending) - s->npending)
		return;
	memcpy(s->pending + s->npending, out, n);
	s->npending += n;
}

static void read_input(struct session *s)
{
	uint8_t buf[1024];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		s->input_open = false;
		/* A terminal that is gone leaves nobody to detach. */
		s->detached = s->terminal;
		return;
	}
	for (ssize_t i = 0; i < n && !s->detached; i++)
		typed(s, buf[i]);
}

static void send_pending(struct session *s)
{
	ssize_t n =
	    send(s->sock, s->pending, s->npending, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n <= 0)
		return; /* read() will tell when the VM is gone */
	s->npending -= (size_t)n;
	memmove(s->pending, s->pending + n, s->npending);
}

/* 1: go on; 0: the VM closed; -errno: stdout failed. */
static int copy_output(struct session *s)
{
	uint8_t buf[16384];
	ssize_t n = read(s->sock, buf, sizeof(buf));
	int err;

	if (n < 0 && errno == EINTR)
		return 1;
	if (n <= 0)
		return 0;
	err = write_all(STDOUT_FILENO, buf, (size_t)n);
	return err ? err : 1;
}

static bool takes_input(const struct session *s)
{
	/* A pipe waits until the VM took what came before. */
	return s->input_open &&
	       (s->terminal || s->npending + 1024 <= sizeof(s->pending));
}

static int pump(struct session *s)
{
	int more = 1;

	while (more > 0 && !s->detached) {
		struct pollfd p[2] = {
			{ .fd = s->sock,
			  .events =
			      (short)(POLLIN | (s->npending ? POLLOUT : 0)) },
			{ .fd = takes_input(s) ? STDIN_FILENO : -1,
			  .events = POLLIN },
		};
		int n = ppoll(p, 2, NULL, &while_waiting);

		if (continued && s->terminal) {
			continued = 0;
			(void)terminal_enter(STDIN_FILENO);
		}
		if (n < 0)
			continue;
		if (p[1].revents)
			read_input(s);
		if (p[0].revents & POLLOUT)
			send_pending(s);
		if (p[0].revents & (POLLIN | POLLHUP | POLLERR))
			more = copy_output(s);
	}
	return MIN(more, 0);
}

static int connect_console(const char *name, struct vm_dir *d, struct fail *why)
{
	int fd;

	if (cli_find_vm(name, d, why))
		return -ENOENT;
	fd = vm_dir_alive(d) ? home_connect_at(d->fd, "console.sock") : -ESRCH;
	if (fd >= 0)
		return fd;
	if (!vm_dir_alive(d))
		return fail_set(why, EXIT_WRONG_STATE, fd, name,
				"'tintype logs' shows what it printed",
				"is not running");
	return fail_set(why, EXIT_WRONG_STATE, fd, name,
			"it is just starting: try again",
			"its console socket: %s", strerror(-fd));
}

static void say_end(const struct session *s, const struct vm_dir *d)
{
	if (s->detached)
		fprintf(stderr, "%stintype: %s: left the console; it runs on\n",
			s->terminal ? "\n" : "", d->name);
	else
		fprintf(stderr, "tintype: %s: the console was closed\n",
			d->name);
}

int cli_console(const struct options *o, struct fail *why)
{
	struct vm_dir d = VM_DIR_NONE;
	struct session s = { .sock = connect_console(o->operand[0], &d, why),
			     .input_open = true };
	int err;

	if (s.sock < 0) {
		vm_dir_close(&d);
		return (int)why->code;
	}
	catch_signals();
	s.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
		     terminal_enter(STDIN_FILENO) == 0;
	err = pump(&s);
	terminal_restore();
	say_end(&s, &d);
	close(s.sock);
	vm_dir_close(&d);
	/* Who reads us has enough: no failure of ours. */
	if (!err || err == -EPIPE)
		return EXIT_OK;
	fail_set(why, EXIT_FAILED, err, "stdout", NULL, "%s", strerror(-err));
	return EXIT_FAILED;
}
