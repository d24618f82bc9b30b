/* SPDX-License-Identifier: Apache-2.0 */
/* Taps and passt, opened for `run`. */
#include "netfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"

#define TAP_FLAGS    (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
#define HEADER_BYTES 12 /* virtio 1.x */
#define PASST_FD     3	/* where passt finds its socket */

/* ---- taps ---- */

static int tap_error(const char *name, int err, enum exit_code code,
		     const char *hint, const char *text, struct fail *why)
{
	char object[sizeof(why->object)];

	snprintf(object, sizeof(object), "tap %s", name);
	return fail_set(why, code, -err, object, hint, "%s", text);
}

/* Headers as the device writes them, and no offload before it asks for one. */
static int set_headers(int fd)
{
	int bytes = HEADER_BYTES;

	if (ioctl(fd, TUNSETVNETHDRSZ, &bytes) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, 0) < 0)
		return -errno;
	return 0;
}

static int no_tun(const char *name, int err, struct fail *why)
{
	if (err == EACCES || err == EPERM)
		return tap_error(name, err, EXIT_DENIED,
				 "let this user read and write /dev/net/tun",
				 "open /dev/net/tun: permission denied", why);
	return tap_error(name, err, EXIT_INCOMPATIBLE,
			 "load the kernel's module: sudo modprobe tun",
			 "open /dev/net/tun: this host has none", why);
}

static int no_tap(const char *name, int err, struct fail *why)
{
	char hint[sizeof(why->hint)];

	switch (err) {
	case EPERM:
		snprintf(hint, sizeof(hint),
			 "make it: sudo ip tuntap add dev %s mode tap user "
			 "$USER; sudo ip link set %s up",
			 name, name);
		return tap_error(name, err, EXIT_DENIED, hint,
				 "it does not exist, or is another user's",
				 why);
	case EBUSY:
		return tap_error(name, err, EXIT_CONFLICT,
				 "give each VM a tap of its own",
				 "another program uses it", why);
	case EINVAL:
		return tap_error(name, err, EXIT_USAGE,
				 "give a tap of one queue",
				 "it is no tap, or one of several queues", why);
	default:
		return tap_error(name, err, EXIT_FAILED, NULL, strerror(err),
				 why);
	}
}

static int open_tap(const struct vm_net *n, struct fail *why)
{
	_cleanup_close_ int fd =
	    open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq r = { .ifr_flags = TAP_FLAGS };
	int err;

	if (fd < 0)
		return no_tun(n->where, errno, why);
	memcpy(r.ifr_name, n->where, strlen(n->where));
	if (ioctl(fd, TUNSETIFF, &r) < 0)
		return no_tap(n->where, errno, why);
	err = set_headers(fd);
	if (err)
		return no_tap(n->where, -err, why);
	return steal_fd(&fd);
}

/* It is the caller's until here; a copy is ours, so that one number given to
 * two cards is no harm. */
static int take_tap(const struct vm_net *n, struct fail *why)
{
	_cleanup_close_ int fd = fcntl(n->fd, F_DUPFD_CLOEXEC, PASST_FD + 1);
	struct ifreq r = { 0 };
	char name[16];
	int err;

	snprintf(name, sizeof(name), "fd %d", n->fd);
	if (fd < 0)
		return tap_error(name, errno, EXIT_USAGE,
				 "let the shell open it, and give its number",
				 "it is not open", why);
	if (ioctl(fd, TUNGETIFF, &r) < 0 ||
	    (r.ifr_flags & TAP_FLAGS) != TAP_FLAGS)
		return tap_error(name, EINVAL, EXIT_USAGE,
				 "open it with IFF_TAP, IFF_NO_PI and "
				 "IFF_VNET_HDR",
				 "it is no tap, or one without headers", why);
	err = set_headers(fd);
	if (err < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return tap_error(name, errno, EXIT_FAILED, NULL,
				 strerror(errno), why);
	return steal_fd(&fd);
}

/* ---- passt ---- */

static int passt_error(int err, const char *hint, const char *text,
		       struct fail *why)
{
	return fail_set(why, err == ENOENT ? EXIT_NOT_FOUND : EXIT_FAILED, -err,
			"passt", hint, "%s", text);
}

static int connect_passt(const char *path, struct fail *why)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char text[sizeof(why->message)];

	memcpy(to.sun_path, path, strlen(path));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	    fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
		return steal_fd(&fd);
	snprintf(text, sizeof(text), "connect to %s: %s", path,
		 strerror(errno));
	return passt_error(errno, "start it: passt --socket PATH", text, why);
}

/* The child: only its socket, its words on our stderr. `failed` is closed by
 * exec, or tells why there was none. */
static void be_passt(int sock, int failed)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), err;
	int copy = fcntl(sock, F_DUPFD_CLOEXEC, PASST_FD + 1);
	int tell = fcntl(failed, F_DUPFD_CLOEXEC, PASST_FD + 1);

	setsid(); /* the terminal's signals are for the VM */
	close_range(PASST_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
	    dup2(null, STDOUT_FILENO) >= 0 && dup2(copy, PASST_FD) >= 0)
		execlp("passt", "passt", "--foreground", "--quiet", "--fd", "3",
		       (char *)NULL);
	err = errno;
	if (write(tell, &err, sizeof(err)) < 0)
		_exit(EXIT_OWN_FAILURE);
	_exit(EXIT_FAILED);
}

/* Until exec: 0, or why there was none. */
static int wait_exec(int told)
{
	ssize_t n;
	int err = 0;

	do
		n = read(told, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	return n == sizeof(err) ? err : 0;
}

static int start_passt(struct fail *why)
{
	_cleanup_close_ int ours = -1, theirs = -1, told = -1, tell = -1;
	int fd[2], err;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
		return passt_error(errno, NULL, strerror(errno), why);
	ours = fd[0];
	theirs = fd[1];
	if (pipe2(fd, O_CLOEXEC) < 0)
		return passt_error(errno, NULL, strerror(errno), why);
	told = fd[0];
	tell = fd[1];
	pid = fork();
	if (pid < 0)
		return passt_error(errno, NULL, strerror(errno), why);
	if (pid == 0)
		be_passt(theirs, tell);
	close(steal_fd(&tell));
	err = wait_exec(told);
	if (err) {
		waitpid(pid, NULL, 0);
		return passt_error(
		    err,
		    "install it (Debian: apt-get install "
		    "passt), or use tap=IF",
		    err == ENOENT ? "it is not installed" : strerror(err), why);
	}
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return passt_error(errno, NULL, strerror(errno), why);
	return steal_fd(&ours);
}

int netfd_open(const struct vm_net *n, struct fail *why)
{
	switch (n->kind) {
	case VM_NET_TAP:
		return open_tap(n, why);
	case VM_NET_FD:
		return take_tap(n, why);
	case VM_NET_PASST:
		return n->where ? connect_passt(n->where, why)
				: start_passt(why);
	case VM_NET_UNPLUGGED:
		break;
	}
	return -EINVAL;
}
