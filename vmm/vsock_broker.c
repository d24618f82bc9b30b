/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's start: a socket that listens, a process that has nothing but it,
 * the link and the directory, and its sandbox.
 */
#include "vsock_broker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "footprint.h"
#include "sandbox.h"
#include "util.h"
#include "vsock_link.h"

/* Two fds a connection, and what else there is. */
#define WANTED_FDS (2 * VSOCK_BROKER_CONNECTIONS + 256)

static int socket_error(int err, const char *path, struct fail *why)
{
	enum exit_code code = EXIT_FAILED;
	const char *hint = NULL;
	char object[sizeof(why->object)];

	if (err == -EADDRINUSE || err == -EEXIST)
		code = EXIT_CONFLICT;
	else if (err == -ENOENT || err == -ENOTDIR)
		code = EXIT_NOT_FOUND;
	else if (err == -EACCES || err == -EPERM || err == -EROFS)
		code = EXIT_DENIED;
	if (err == -EEXIST)
		hint = "remove it, or give another path";
	else if (err == -EADDRINUSE)
		hint = "give another path: a program, maybe another VM, "
		       "listens there";
	else if (err == -ENAMETOOLONG)
		hint = "give a name of at most 96 bytes";
	snprintf(object, sizeof(object), "vsock %s", path);
	return fail_set(why, code, err, object, hint, "%s", strerror(-err));
}

/* The directory and the socket's name in it; a new fd or -errno. */
static int open_place(const struct vm_config *c, const struct vm_dir *d,
		      const char **name)
{
	int dir;

	if (c->vsock_path) {
		dir = home_open_parent(c->vsock_path, name);
	} else {
		*name = VSOCK_DEFAULT_NAME;
		dir = fcntl(d->fd, F_DUPFD_CLOEXEC, 0);
		dir = dir < 0 ? -errno : dir;
	}
	if (dir >= 0 && strlen(*name) > VSOCK_BROKER_NAME_MAX) {
		close(dir);
		return -ENAMETOOLONG;
	}
	return dir;
}

/* As many connections as the guest may have; fewer if the user may not. The
 * VM's process and the broker's. */
static void allow_fds(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= WANTED_FDS)
		return;
	l.rlim_cur = MIN(l.rlim_max, WANTED_FDS);
	setrlimit(RLIMIT_NOFILE, &l);
}

/* Nothing of the VM's: not its terminal, its lock, its pipes. */
static int leave_all(const struct vsock_broker_config *c, int dir)
{
	const int keep[] = { c->link, c->listener, dir };
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Not in the terminal's process group either: Ctrl-C ends the VM, and
	 * that us. */
	if (null < 0 || setsid() < 0)
		return -errno;
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	if (fchdir(dir) < 0 || prctl(PR_SET_NAME, "tintype-vsock") < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	return sandbox_close_others(keep, ARRAY_SIZE(keep));
}

/* The broker's process. */
static _Noreturn void be_the_broker(const struct vsock_broker_config *c,
				    int dir)
{
	const struct vsock_link_msg ready = { .kind = VSOCK_LINK_READY };

	if (leave_all(c, dir) || sandbox_harden_removing(dir, NULL))
		_exit(EXIT_OWN_FAILURE);
	close(dir);
	footprint_trim();
	if (sandbox_broker() || vsock_link_tell(c->link, &ready))
		_exit(EXIT_OWN_FAILURE);
	vsock_broker_run(c);
	_exit(EXIT_OK);
}

static bool wait_ready(int link)
{
	struct pollfd p = { .fd = link, .events = POLLIN };
	struct vsock_link_fds fds;
	struct vsock_link_msg m;
	int got;

	do
		poll(&p, 1, -1);
	while ((got = vsock_link_take(link, &m, &fds)) == 0);
	return got == 1 && m.kind == VSOCK_LINK_READY;
}

static int start(struct vsock_broker_config *c, int dir, struct fail *why)
{
	_cleanup_close_ int vm = -1, broker = -1;
	pid_t pid;
	int r;

	allow_fds();
	r = vsock_link_pair(&vm, &broker);
	pid = r ? -1 : fork();
	if (pid < 0)
		return fail_set(why, EXIT_FAILED, r ? r : -errno, "vsock", NULL,
				"start its broker: %s", strerror(errno));
	c->link = broker;
	if (pid == 0)
		be_the_broker(c, dir);
	close(steal_fd(&broker));
	if (!wait_ready(vm))
		return fail_set(why, EXIT_OWN_FAILURE, -EPIPE, "vsock",
				"'tintype doctor' tells what this host lacks",
				"its broker could not confine itself");
	return steal_fd(&vm);
}

int vsock_broker_start(const struct vm_config *c, const struct vm_dir *d,
		       struct fail *why)
{
	const char *path = c->vsock_path ? c->vsock_path : VSOCK_DEFAULT_NAME;
	struct vsock_broker_config b = { .owner = geteuid() };
	_cleanup_close_ int dir = open_place(c, d, &b.name);
	_cleanup_close_ int listener = -1;
	int link;

	if (dir < 0)
		return socket_error(dir, path, why);
	listener = home_listen_in(dir, b.name);
	if (listener < 0)
		return socket_error(listener, path, why);
	b.listener = listener;
	link = start(&b, dir, why);
	if (link < 0)
		unlinkat(dir, b.name, 0);
	return link;
}

int vsock_broker_path(const struct vm_config *c, char *buf, size_t len)
{
	char home[PATH_MAX];
	int n;

	if (c->vsock_path)
		n = snprintf(buf, len, "%s", c->vsock_path);
	else if (home_path(home, sizeof(home), NULL))
		return -ENOENT;
	else
		n = snprintf(buf, len, "%s/vms/%s/" VSOCK_DEFAULT_NAME, home,
			     c->name);
	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}
