/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UNIX sockets at paths of any length: sun_path holds 107 bytes, so the
 * directory is opened and named as /proc/self/fd/N.
 */
#include "home.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util.h"

#define LISTEN_BACKLOG 16

void home_socket_path(char buf[HOME_SOCKET_PATH_MAX], int dir, const char *name)
{
	snprintf(buf, HOME_SOCKET_PATH_MAX, "/proc/self/fd/%d/%s", dir, name);
}

static int address_at(struct sockaddr_un *a, int dir, const char *name)
{
	int n;

	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	n = snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d/%s",
		     dir, name);
	return n < 0 || (size_t)n >= sizeof(a->sun_path) ? -ENAMETOOLONG : 0;
}

/* A socket, and the address of `name` in `dir` for it. The fd or -errno. */
static int socket_at(struct sockaddr_un *a, int dir, const char *name)
{
	int err = address_at(a, dir, name);
	int fd = err ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (err)
		return err;
	return fd < 0 ? -errno : fd;
}

int home_listen_at(int dir, const char *name)
{
	struct sockaddr_un a;
	_cleanup_close_ int fd = socket_at(&a, dir, name);

	if (fd < 0)
		return fd;
	/* bind() gives the name the socket's own mode: there is no moment at
	 * which others could connect. */
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, LISTEN_BACKLOG) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* A process that hangs does not take connections; when its queue is full, a
 * blocking connect would hang with it. */
int home_connect_at(int dir, const char *name)
{
	struct sockaddr_un a;
	_cleanup_close_ int fd = socket_at(&a, dir, name);

	if (fd < 0)
		return fd;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    fcntl(fd, F_SETFL, 0) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* Splits off the directory and opens it; *base points into `path`. */
int home_open_parent(const char *path, const char **base)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	int fd;

	*base = slash ? slash + 1 : path;
	if (!**base)
		return -EISDIR;
	if (slash && (size_t)(slash - path) >= sizeof(dir))
		return -ENAMETOOLONG;
	if (!slash)
		strcpy(dir, ".");
	else
		snprintf(dir, sizeof(dir), "%.*s",
			 (int)MAX(slash - path, (ptrdiff_t)1), path);
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* 0: nothing is there now; or why the path cannot be had. */
static int clear_dead_socket(int dir, const char *base)
{
	struct stat st;
	int fd;

	if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = home_connect_at(dir, base);
	if (fd >= 0) {
		close(fd);
		return -EADDRINUSE;
	}
	if (fd != -ECONNREFUSED)
		return fd;
	return unlinkat(dir, base, 0) < 0 ? -errno : 0;
}

int home_listen_in(int dir, const char *base)
{
	int err = clear_dead_socket(dir, base);

	return err ? err : home_listen_at(dir, base);
}

int home_listen_path(const char *path)
{
	const char *base;
	_cleanup_close_ int dir = home_open_parent(path, &base);

	return dir < 0 ? dir : home_listen_in(dir, base);
}
