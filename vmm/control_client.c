/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of the control socket: one request at a time, every wait
 * bounded by the caller's limit. The VM's answers are as little trusted as
 * requests are: bounded in size and depth.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "control.h"
#include "control_message.h"
#include "util.h"
#include "writer.h"

#define CONNECT_LIMIT_S 5
/* `inspect` of a machine with a thousand vCPUs is some hundred KiB. */
#define ANSWER_MAX_BYTES MIB(16)

/* ---- connect ---- */

/*
 * A socket's address has room for 107 bytes of path. A longer one is reached
 * through its directory, which *dir then holds open.
 */
static int address_of(struct sockaddr_un *a, const char *path, int *dir)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = NULL;

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) < sizeof(a->sun_path)) {
		strcpy(a->sun_path, path);
		return 0;
	}
	parent = slash ? strndup(path, (size_t)(slash - path) + 1) : NULL;
	if (!parent)
		return slash ? -ENOMEM : -ENAMETOOLONG;
	*dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dir < 0)
		return -errno;
	if ((size_t)snprintf(a->sun_path, sizeof(a->sun_path),
			     "/proc/self/fd/%d/%s", *dir,
			     slash + 1) >= sizeof(a->sun_path))
		return -ENAMETOOLONG;
	return 0;
}

static int connect_to(const char *path)
{
	struct timeval limit = { .tv_sec = CONNECT_LIMIT_S };
	_cleanup_close_ int fd = -1, dir = -1;
	struct sockaddr_un a;
	int r = address_of(&a, path, &dir);

	if (r)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* connect() waits for a full backlog as a send would. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	return steal_fd(&fd);
}

int control_connect(const char *path, struct fail *why)
{
	int fd = connect_to(path);

	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return fail_set(why, EXIT_WRONG_STATE, fd, path,
				"'tintype ps --all' lists the VMs",
				"no running VM answers here");
	if (fd == -EACCES || fd == -EPERM)
		return fail_set(why, EXIT_DENIED, fd, path,
				"be the VM's user or root", "connect: %s",
				strerror(-fd));
	if (fd == -EAGAIN)
		return fail_set(why, EXIT_CANCELLED, -ETIMEDOUT, path,
				"'tintype stop --kill' ends it",
				"the VM takes no connection");
	if (fd < 0)
		return fail_set(why, EXIT_FAILED, fd, path, NULL, "connect: %s",
				strerror(-fd));
	return fd;
}

/* ---- waits with one deadline ---- */

/* `until` in now_ms, -1: for ever. 0, -ETIMEDOUT or -errno. */
static int wait_for(int fd, short events, int64_t until)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		int64_t left = until < 0 ? -1 : MAX(until - now_ms(), 0);
		int r = poll(&p, 1, (int)left);

		if (r > 0)
			return 0;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int64_t deadline(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
}

static int send_all(int fd, const char *text, int64_t until)
{
	size_t len = strlen(text);

	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r = 0;

		if (n < 0 && errno == EAGAIN)
			r = wait_for(fd, POLLOUT, until);
		else if (n < 0 && errno != EINTR)
			r = -errno;
		if (r)
			return r;
		text += MAX(n, 0);
		len -= (size_t)MAX(n, 0);
	}
	return 0;
}

struct line {
	char *text;
	size_t len, room;
};

static int line_grow(struct line *l)
{
	size_t room = l->room ? l->room * 2 : KIB(4);
	char *p;

	if (l->len < l->room)
		return 0;
	if (room > ANSWER_MAX_BYTES)
		return -EMSGSIZE;
	p = realloc(l->text, room);
	if (!p)
		return -ENOMEM;
	l->text = p;
	l->room = room;
	return 0;
}

/* Until the newline, behind which nothing may stand: nothing was asked. */
static int receive_line(int fd, struct line *l, int64_t until)
{
	for (;;) {
		int r = line_grow(l);
		const char *end;
		ssize_t n;

		if (r || (r = wait_for(fd, POLLIN, until)))
			return r;
		n = recv(fd, l->text + l->len, l->room - l->len, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n < 0 && errno != ECONNRESET ? -errno : -EPIPE;
		end = memchr(l->text + l->len, '\n', (size_t)n);
		l->len += (size_t)n;
		if (end)
			return end + 1 == l->text + l->len ? 0 : -EPROTO;
	}
}

/* ---- calls ---- */

static char *request_line(const char *verb, json_t *args)
{
	return control_line(
	    args ? json_pack("{s:i, s:s, s:O}", "id", 1, "verb", verb, "args",
			     args)
		 : json_pack("{s:i, s:s}", "id", 1, "verb", verb));
}

static int misunderstood(struct fail *why)
{
	return fail_set(why, EXIT_FAILED, -EPROTO, "control",
			"is another program behind this socket?",
			"the answer is not understood");
}

/* Takes an answer apart; what it holds, or its error. */
static int read_answer(const struct line *l, json_t **result, struct fail *why)
{
	json_t *doc = control_parse(l->text, l->len, why);
	json_t *ok = json_object_get(doc, "ok");
	json_t *body =
	    json_object_get(doc, json_is_true(ok) ? "result" : "error");
	int r = 0;

	if (!json_is_boolean(ok) || !body) {
		r = misunderstood(why);
	} else if (json_is_false(ok)) {
		control_fail_from_json(why, body);
		r = -EREMOTEIO;
	} else if (result) {
		*result = json_incref(body);
	}
	json_decref(doc);
	return r;
}

static int call_failed(int r, const char *verb, struct fail *why)
{
	if (r == -EPROTO)
		return misunderstood(why);
	if (r == -EPIPE || r == -ECONNRESET)
		return fail_set(why, EXIT_WRONG_STATE, -EPIPE, verb, NULL,
				"the VM ended before it answered");
	if (r == -ETIMEDOUT)
		return fail_set(why, EXIT_CANCELLED, r, verb,
				"'tintype stop --kill' ends it",
				"the VM does not answer");
	return fail_set(why, EXIT_FAILED, r, verb, NULL, "%s", strerror(-r));
}

/* Waits for an answer; `sent` is what became of the request. */
static int hear(int fd, int sent, const char *verb, json_t **result,
		int64_t until, struct fail *why)
{
	struct line answer = { 0 };
	int r = sent;

	/* Whoever closes on us may have said why before. */
	if (r == 0 || r == -EPIPE || r == -ECONNRESET)
		r = receive_line(fd, &answer, until);
	r = r ? call_failed(r, verb, why) : read_answer(&answer, result, why);
	free(answer.text);
	return r;
}

static int ask(int fd, const char *verb, json_t *args, json_t **result,
	       int64_t until, struct fail *why)
{
	_cleanup_free_ char *request = request_line(verb, args);

	if (!request)
		return call_failed(-ENOMEM, verb, why);
	return hear(fd, send_all(fd, request, until), verb, result, until, why);
}

int control_call(int fd, const char *verb, json_t *args, json_t **result,
		 int timeout_ms, struct fail *why)
{
	return ask(fd, verb, args, result, deadline(timeout_ms), why);
}

/* ---- fds ---- */

union fd_room {
	char bytes[CMSG_SPACE(FD_BATCH * sizeof(int))];
	struct cmsghdr align;
};

/* One byte with `n` fds. 0, or -1 with errno. */
static int send_batch(int fd, const int *fds, size_t n)
{
	char byte = FD_BYTE;
	struct iovec iov = { &byte, 1 };
	union fd_room room = { 0 };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &room,
			    .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	return sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -1;
}

static int send_fds(int fd, const int *fds, size_t n, int64_t until)
{
	while (n > 0) {
		size_t batch = MIN(n, FD_BATCH);
		int r = send_batch(fd, fds, batch) ? -errno : 0;

		if (r == -EAGAIN || r == -EINTR) {
			if ((r = wait_for(fd, POLLOUT, until)))
				return r;
			continue;
		}
		if (r)
			return r;
		fds += batch;
		n -= batch;
	}
	return 0;
}

int control_call_fds(int fd, const char *verb, json_t *args, const int *fds,
		     unsigned nfds, json_t **result, int timeout_ms,
		     struct fail *why)
{
	int64_t until = deadline(timeout_ms);
	json_t *asked = NULL, *n;
	bool right;
	int r = ask(fd, verb, args, &asked, until, why);

	if (r)
		return r;
	n = json_object_get(asked, "send");
	right = json_is_integer(n) && json_integer_value(n) == nfds;
	json_decref(asked);
	if (!right)
		return misunderstood(why);
	return hear(fd, send_fds(fd, fds, nfds, until), verb, result, until,
		    why);
}

int control_wait_end(int fd, int timeout_ms)
{
	int64_t until = deadline(timeout_ms);

	for (;;) {
		int r = wait_for(fd, POLLIN, until);
		char c;
		ssize_t n;

		if (r)
			return r;
		n = recv(fd, &c, 1, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n > 0)
			return -EPROTO;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}
