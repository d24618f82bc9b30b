/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that are answered later, files that come over the control socket,
 * and the thread that takes them. A server runs its loop on a thread; the test
 * is its clients.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control.h"
#include "fdio.h"
#include "loop.h"
#include "sandbox.h"
#include "util.h"
#include "writer.h"

#define MAX_FDS 200

/* ---- a server: everything is the I/O thread's, but the job ---- */

struct take {
	struct writer_job job;
	struct control_request *request;
	int conn, fd[MAX_FDS];
	unsigned n;
	int failed;
	atomic_bool held; /* the job has begun, but takes nothing yet */
	size_t bytes;
	char text[MAX_FDS + 1]; /* the first byte of each */
};

static struct {
	struct loop loop;
	struct control *control;
	struct writer *writer;
	struct take take;
	struct control_request *kept[8];
	unsigned nkept;
	json_t *log;
	char dir[64], path[128];
	pthread_t thread;
	bool running;
} srv;

static void note(const char *text)
{
	json_array_append_new(srv.log, json_string(text));
}

static int op_mark(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	note("mark");
	return 0;
}

static int op_log(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	*result =
	    json_pack("{s:O, s:i}", "log", srv.log, "kept", (int)srv.nkept);
	return 0;
}

static int op_wait(void *ctx, struct control_request *r, json_t *args,
		   struct fail *why)
{
	note("wait");
	srv.kept[srv.nkept++] = r;
	return 0;
}

/* Answers all that are kept. */
static int op_answer(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	unsigned n = srv.nkept;

	srv.nkept = 0;
	for (unsigned i = 0; i < n; i++)
		control_reply(srv.kept[i], json_incref(args));
	return 0;
}

static int op_refuse(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	struct fail f;

	fail_set(&f, EXIT_CANCELLED, 0, "vm", "wait", "held too long");
	control_refuse(srv.kept[--srv.nkept], &f);
	return 0;
}

static int op_now(void *ctx, struct control_request *r, json_t *args,
		  struct fail *why)
{
	note("now");
	control_reply(r, json_incref(args));
	return 0;
}

static int op_wrong(void *ctx, struct control_request *r, json_t *args,
		    struct fail *why)
{
	return fail_set(why, EXIT_CONFLICT, -EBUSY, "vm", NULL, "one runs");
}

/* As a capture's owner: its end is an abort, which answers who waits. */
static void owner_ended(void *ctx)
{
	struct fail f;

	note("end");
	fail_set(&f, EXIT_CANCELLED, 0, "vm", NULL, "aborted");
	while (ctx && srv.nkept)
		control_refuse(srv.kept[--srv.nkept], &f);
}

static int op_own(void *ctx, struct control_request *r, json_t *args,
		  struct fail *why)
{
	bool aborts = json_is_true(json_object_get(args, "aborts"));

	control_watch(control_client_of(r), owner_ended,
		      aborts ? srv.kept : NULL);
	control_reply(r, NULL);
	return 0;
}

static int op_disown(void *ctx, struct control_request *r, json_t *args,
		     struct fail *why)
{
	control_watch(control_client_of(r), NULL, NULL);
	control_reply(r, NULL);
	return 0;
}

/* As many bytes of the heap and of mappings as it takes. */
static bool use_memory(void)
{
	char *p = NULL;

	for (size_t bytes = 1; bytes <= MIB(16); bytes *= 3) {
		char *q = realloc(p, bytes);

		if (!q)
			break;
		memset(q, 1, bytes);
		p = q;
	}
	free(p);
	p = mmap(NULL, MIB(1), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p != MAP_FAILED && memset(p, 1, MIB(1)) &&
	       munmap(p, MIB(1)) == 0;
}

static void run_take(struct writer_job *j)
{
	struct take *t = container_of(j, struct take, job);
	struct stat st;

	while (atomic_load(&t->held))
		usleep(100);
	t->failed = fd_receive(t->conn, t->fd, t->n, &j->cancel);
	t->bytes = 0;
	memset(t->text, 0, sizeof(t->text));
	for (unsigned i = 0; t->failed == 0 && i < t->n; i++) {
		if (fd_pread(t->fd[i], &t->text[i], 1, 0) != 1 ||
		    fstat(t->fd[i], &st))
			t->failed = -EIO;
		t->bytes += (size_t)st.st_size;
		close(t->fd[i]);
	}
	if (!use_memory())
		t->failed = -ENOMEM;
}

static void take_done(struct writer_job *j)
{
	struct take *t = container_of(j, struct take, job);
	struct control_request *r = t->request;
	struct fail f;

	note("taken");
	t->request = NULL;
	if (t->failed) {
		fail_set(&f, EXIT_FAILED, 0, "fds", NULL, "%s",
			 strerrorname_np(-t->failed));
		control_refuse(r, &f);
		return;
	}
	control_reply(r, json_pack("{s:s, s:I}", "text", t->text, "bytes",
				   (json_int_t)t->bytes));
}

static int op_take(void *ctx, struct control_request *r, json_t *args,
		   struct fail *why)
{
	struct take *t = &srv.take;

	if (writer_is_busy(srv.writer))
		return fail_set(why, EXIT_CONFLICT, -EBUSY, "vm", NULL,
				"one runs");
	t->job.run = run_take;
	t->job.done = take_done;
	t->request = r;
	t->n = (unsigned)json_integer_value(json_object_get(args, "n"));
	t->held = json_is_true(json_object_get(args, "hold"));
	t->conn = control_ask_fds(r, t->n);
	if (t->conn < 0)
		return t->conn;
	control_watch(control_client_of(r), owner_ended, NULL);
	writer_start(srv.writer, &t->job);
	note("asked");
	return 0;
}

/* Asked, and refused at once. */
static int op_tease(void *ctx, struct control_request *r, json_t *args,
		    struct fail *why)
{
	control_ask_fds(r, 1);
	return fail_set(why, EXIT_NO_SPACE, -ENOSPC, "vm", NULL, "no space");
}

static int op_go(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	atomic_store(&srv.take.held, false);
	return 0;
}

static int op_cancel(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	atomic_store(&srv.take.job.cancel, true);
	return 0;
}

static const struct control_op ops[] = {
	{ .verb = "mark", .run = op_mark },
	{ .verb = "log", .run = op_log },
	{ .verb = "wait", .later = op_wait },
	{ .verb = "answer", .run = op_answer },
	{ .verb = "refuse", .run = op_refuse },
	{ .verb = "now", .later = op_now },
	{ .verb = "wrong", .later = op_wrong },
	{ .verb = "own", .later = op_own },
	{ .verb = "disown", .later = op_disown },
	{ .verb = "take", .later = op_take },
	{ .verb = "tease", .later = op_tease },
	{ .verb = "go", .run = op_go },
	{ .verb = "cancel", .run = op_cancel },
};

static int listen_somewhere(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(srv.dir, sizeof(srv.dir), "/tmp/tintype-writer-XXXXXX");
	cr_assert(mkdtemp(srv.dir));
	snprintf(srv.path, sizeof(srv.path), "%s/sock", srv.dir);
	strcpy(a.sun_path, srv.path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(fd, 32), 0);
	return fd;
}

static int make_server(int fd, int (*confine)(void))
{
	int r;

	signal(SIGPIPE, SIG_IGN);
	json_object_seed(1);
	srv.log = json_array();
	r = loop_init(&srv.loop);
	if (r == 0)
		r = control_create(&srv.control, &srv.loop, fd, ops,
				   ARRAY_SIZE(ops), NULL);
	return r ? r : writer_create(&srv.writer, &srv.loop, confine);
}

static void *serve(void *arg)
{
	cr_assert_eq(loop_run(&srv.loop), 0);
	return NULL;
}

static void start(void)
{
	cr_assert_eq(make_server(listen_somewhere(), NULL), 0);
	cr_assert_eq(pthread_create(&srv.thread, NULL, serve, NULL), 0);
	srv.running = true;
}

static void remove_socket(void)
{
	unlink(srv.path);
	rmdir(srv.dir);
}

static void stop(void)
{
	if (srv.running) {
		loop_quit(&srv.loop);
		pthread_join(srv.thread, NULL);
	}
	writer_destroy(srv.writer);
	control_destroy(srv.control);
	/* Whoever is still kept is answered to nobody. */
	while (srv.nkept)
		control_reply(srv.kept[--srv.nkept], NULL);
	if (srv.take.request)
		control_reply(srv.take.request, NULL);
	loop_fini(&srv.loop);
	json_decref(srv.log);
	remove_socket();
}

TestSuite(later, .init = start, .fini = stop);
TestSuite(fds, .init = start, .fini = stop);

/* ---- clients ---- */

static int client(void)
{
	struct fail why;
	int fd = control_connect(srv.path, &why);

	cr_assert(fd >= 0, "%s", why.message);
	return fd;
}

static void say(int fd, const char *text)
{
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Up to the newline and no further; "" at the end. */
static const char *hear(int fd)
{
	static char text[4096];
	size_t n = 0;

	while (n + 1 < sizeof(text) && read(fd, text + n, 1) == 1)
		if (text[n++] == '\n')
			break;
	text[n] = 0;
	return text;
}

static void call(int fd, const char *verb)
{
	struct fail why = { 0 };

	cr_assert_eq(control_call(fd, verb, NULL, NULL, -1, &why), 0, "%s: %s",
		     verb, why.message);
}

/* What the server has noted, in one line. */
static char *notes(int fd)
{
	static char text[4096];
	struct fail why = { 0 };
	json_t *result = NULL, *entry;
	size_t i;

	cr_assert_eq(control_call(fd, "log", NULL, &result, -1, &why), 0);
	text[0] = 0;
	json_array_foreach(json_object_get(result, "log"), i, entry)
	{
		strcat(text, json_string_value(entry));
		strcat(text, " ");
	}
	json_decref(result);
	return text;
}

/* Asks until it is so: a test that fails hangs and is ended. */
static void until_notes(int fd, const char *expected)
{
	while (strcmp(notes(fd), expected) != 0)
		usleep(1000);
}

/* ---- answers that come later ---- */

Test(later, request_is_answered_when_its_time_has_come)
{
	int fd = client(), other = client();
	json_t *args = json_pack("{s:i}", "a", 7);
	struct fail why = { 0 };

	say(fd, "{\"id\":\"x\",\"verb\":\"wait\"}\n");
	until_notes(other, "wait ");
	cr_assert_eq(control_call(other, "answer", args, NULL, -1, &why), 0);
	cr_expect_str_eq(hear(fd),
			 "{\"id\":\"x\",\"ok\":true,\"result\":{\"a\":7}}\n");
	call(fd, "mark");
	json_decref(args);
	close(fd);
	close(other);
}

Test(later, request_is_refused_when_its_time_has_come)
{
	int fd = client(), other = client();

	say(fd, "{\"id\":3,\"verb\":\"wait\"}\n");
	until_notes(other, "wait ");
	call(other, "refuse");
	cr_expect_str_eq(hear(fd), "{\"id\":3,\"ok\":false,\"error\":{\"code\":"
				   "\"E_CANCELLED\",\"message\":\"held too "
				   "long\",\"object\":\"vm\",\"hint\":"
				   "\"wait\"}}\n");
	call(fd, "mark");
	close(fd);
	close(other);
}

Test(later, request_answered_from_within_or_refused_at_once_goes_on)
{
	int fd = client();
	struct fail why = { 0 };

	for (int i = 0; i < 20; i++)
		say(fd, "{\"id\":1,\"verb\":\"now\",\"args\":{\"b\":2}}\n");
	for (int i = 0; i < 20; i++)
		cr_expect_str_eq(
		    hear(fd), "{\"id\":1,\"ok\":true,\"result\":{\"b\":2}}\n");
	cr_expect_eq(control_call(fd, "wrong", NULL, NULL, -1, &why),
		     -EREMOTEIO);
	cr_expect_eq(why.code, EXIT_CONFLICT);
	call(fd, "mark");
	close(fd);
}

Test(later, connection_is_not_read_while_its_request_waits)
{
	int fd = client(), other = client();

	say(fd, "{\"id\":1,\"verb\":\"wait\"}\n{\"id\":2,\"verb\":\"mark\"}\n");
	until_notes(other, "wait ");
	say(fd, "{\"id\":3,\"verb\":\"mark\"}\n");
	for (int i = 0; i < 50; i++)
		cr_expect_str_eq(notes(other), "wait ");
	call(other, "answer");
	for (int i = 1; i <= 3; i++) {
		char expected[64];

		snprintf(expected, sizeof(expected), "{\"id\":%d,\"ok\":true",
			 i);
		cr_expect_eq(strncmp(hear(fd), expected, strlen(expected)), 0);
	}
	cr_expect_str_eq(notes(other), "wait mark mark ");
	close(fd);
	close(other);
}

Test(later, two_clients_wait_each_for_its_own)
{
	int fd[2] = { client(), client() }, other = client();

	say(fd[0], "{\"id\":10,\"verb\":\"wait\"}\n");
	say(fd[1], "{\"id\":11,\"verb\":\"wait\"}\n");
	until_notes(other, "wait wait ");
	call(other, "answer");
	cr_expect_str_eq(hear(fd[1]),
			 "{\"id\":11,\"ok\":true,\"result\":{}}\n");
	cr_expect_str_eq(hear(fd[0]),
			 "{\"id\":10,\"ok\":true,\"result\":{}}\n");
	close(fd[0]);
	close(fd[1]);
	close(other);
}

/* ---- ends ---- */

Test(later, end_while_it_waits_is_seen)
{
	int fd = client(), other = client();

	call(fd, "own");
	say(fd, "{\"verb\":\"wait\"}\n");
	until_notes(other, "wait ");
	close(fd);
	until_notes(other, "wait end ");
	call(other, "answer");
	/* Its place is free again. */
	for (unsigned i = 0; i < 2 * CONTROL_MAX_CLIENTS; i++) {
		fd = client();
		call(fd, "mark");
		close(fd);
	}
	close(other);
}

Test(later, end_between_requests_is_seen)
{
	int fd = client(), other = client();

	call(fd, "own");
	close(fd);
	until_notes(other, "end ");
	fd = client();
	call(fd, "own");
	shutdown(fd, SHUT_WR);
	until_notes(other, "end end ");
	cr_expect_str_eq(hear(fd), "");
	close(fd);
	fd = client();
	call(fd, "own");
	call(fd, "disown");
	close(fd);
	fd = client();
	call(fd, "mark");
	cr_expect_str_eq(notes(other), "end end mark ");
	close(fd);
	close(other);
}

/* As Ctrl-C does: half-close, read the last answer. */
Test(later, half_close_aborts_and_the_last_answer_comes)
{
	int fd = client(), other = client();

	say(fd, "{\"verb\":\"own\",\"args\":{\"aborts\":true}}\n");
	hear(fd);
	say(fd, "{\"id\":5,\"verb\":\"wait\"}\n");
	until_notes(other, "wait ");
	shutdown(fd, SHUT_WR);
	cr_expect(strstr(hear(fd), "aborted"));
	cr_expect_str_eq(hear(fd), "");
	cr_expect_str_eq(notes(other), "wait end ");
	close(fd);
	close(other);
}

Test(later, lines_before_the_end_are_obeyed_first)
{
	int fd = client(), other = client();

	call(fd, "own");
	say(fd, "{\"verb\":\"wait\"}\n");
	until_notes(other, "wait ");
	say(fd, "{\"verb\":\"mark\"}\n{\"verb\":\"wait\"}\n{\"verb\":\"now\"}"
		"\n{\"verb\":\"ma");
	close(fd);
	for (int i = 0; i < 50; i++)
		cr_expect_str_eq(notes(other), "wait ");
	call(other, "answer");
	until_notes(other, "wait mark wait ");
	call(other, "answer");
	until_notes(other, "wait mark wait now end ");
	close(other);
}

Test(later, lines_of_one_that_does_not_read_and_has_gone_are_obeyed)
{
	int fd = client(), other = client();

	call(fd, "own");
	for (int i = 0; i < 20; i++)
		say(fd, "{\"verb\":\"mark\"}\n");
	close(fd);
	until_notes(other, "mark mark mark mark mark mark mark mark mark mark "
			   "mark mark mark mark mark mark mark mark mark mark "
			   "end ");
	close(other);
}

Test(later, more_than_a_message_behind_one_that_waits_ends_all_the_same)
{
	static char spaces[2 * CONTROL_MAX_BYTES];
	int fd = client(), other = client();

	call(fd, "own");
	say(fd, "{\"verb\":\"wait\"}\n");
	until_notes(other, "wait ");
	memset(spaces, ' ', sizeof(spaces));
	cr_assert_eq(write(fd, spaces, sizeof(spaces)),
		     (ssize_t)sizeof(spaces));
	close(fd);
	call(other, "answer");
	until_notes(other, "wait end ");
	close(other);
}

/* ---- files ---- */

/* A file of `bytes` bytes, the first of which is `first`. */
static int file_of(char first, size_t bytes)
{
	int fd = memfd_create("part", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
	cr_assert_eq(pwrite(fd, &first, 1, 0), 1);
	return fd;
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	cr_assert(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void send_with(int conn, const char *bytes, const int *fds, unsigned n)
{
	union {
		char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} room = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, strlen(bytes) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (n) {
		h.msg_control = &room;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	cr_assert_eq(sendmsg(conn, &h, 0), (ssize_t)strlen(bytes));
}

/* Hands `n` files over, whose contents must come back in order. */
static void hand_over(int conn, unsigned n)
{
	char expected[MAX_FDS + 1] = "";
	json_t *args = json_pack("{s:i}", "n", (int)n), *result = NULL;
	struct fail why = { 0 };
	int fd[MAX_FDS];

	for (unsigned i = 0; i < n; i++) {
		expected[i] = (char)('a' + i % 26);
		fd[i] = file_of(expected[i], 100 + i);
	}
	cr_assert_eq(
	    control_call_fds(conn, "take", args, fd, n, &result, -1, &why), 0,
	    "%u: %s", n, why.message);
	cr_expect_str_eq(json_string_value(json_object_get(result, "text")),
			 expected);
	cr_expect_eq(json_integer_value(json_object_get(result, "bytes")),
		     100 * n + n * (n - 1) / 2);
	json_decref(result);
	json_decref(args);
	for (unsigned i = 0; i < n; i++)
		close(fd[i]);
}

Test(fds, come_in_order_whatever_their_number)
{
	const unsigned numbers[] = { 1, 2, 63, 64, 65, 128, MAX_FDS };
	int fd = client(), other = client();
	unsigned before;

	call(fd, "mark");
	call(other, "mark");
	before = open_fds();
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
		hand_over(fd, numbers[i]);
		call(other, "mark");
	}
	cr_expect_eq(open_fds(), before);
	call(fd, "mark");
	close(fd);
	close(other);
}

/* What a client sends that was asked for files; a byte each in `bytes`. */
struct wrong {
	const char *bytes;
	unsigned fds; /* with the first byte */
	unsigned n;   /* that were asked for */
	bool then_end;
	const char *reason;
};

static void send_wrong(const struct wrong *w, int fd)
{
	int part[MAX_FDS];
	char line[64];

	for (unsigned i = 0; i < w->fds; i++)
		part[i] = file_of('x', 10);
	snprintf(line, sizeof(line),
		 "{\"verb\":\"take\",\"args\":{\"n\":%u}}\n", w->n);
	say(fd, line);
	snprintf(line, sizeof(line),
		 "{\"id\":null,\"ok\":true,\"result\":{\"send\":%u}}\n", w->n);
	cr_assert_str_eq(hear(fd), line);
	if (w->bytes[0])
		send_with(fd, w->bytes, part, w->fds);
	if (w->then_end)
		shutdown(fd, SHUT_WR);
	for (unsigned i = 0; i < w->fds; i++)
		close(part[i]);
}

static void expect_wrong(const struct wrong *w)
{
	unsigned before = open_fds();
	int fd = client();
	const char *text;

	send_wrong(w, fd);
	text = hear(fd);
	cr_expect(strstr(text, "E_FAILED") && strstr(text, w->reason),
		  "'%s' with %u fds: %s", w->bytes, w->fds, text);
	/* And the connection is closed. */
	cr_expect_str_eq(hear(fd), "");
	close(fd);
	cr_expect_eq(open_fds(), before, "'%s' with %u fds", w->bytes, w->fds);
}

Test(fds, that_are_not_as_asked_for_are_closed_and_the_connection_too)
{
	static const struct wrong wrong[] = {
		{ "F", 2, 3, true, "EPIPE" },	 /* too few */
		{ "", 0, 3, true, "EPIPE" },	 /* none at all */
		{ "F", 4, 3, false, "EPROTO" },	 /* too many */
		{ "F", 65, 3, false, "EPROTO" }, /* more than a message may */
		{ "F", 65, 200, false, "EPROTO" },
		{ "F", 0, 3, false, "EPROTO" },	 /* a byte without any */
		{ "G", 3, 3, false, "EPROTO" },	 /* another byte */
		{ "FF", 2, 3, false, "EPROTO" }, /* the second has none */
		{ "{\"verb\":\"mark\"}\n", 1, 1, false, "EPROTO" },
	};
	int other = client();

	call(other, "mark");
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		expect_wrong(&wrong[i]);
	hand_over(other, 3);
	close(other);
}

Test(fds, that_come_unasked_are_dropped)
{
	int fd = client(), other = client(), part = file_of('x', 1);
	unsigned before;

	call(fd, "mark");
	call(other, "mark");
	before = open_fds();
	send_with(fd, "F", &part, 1);
	say(fd, "\n");
	cr_expect(strstr(hear(fd), "E_USAGE"));
	cr_expect_str_eq(hear(fd), "");
	/* Its end of the connection is closed with the answer. */
	while (open_fds() != before - 1)
		call(other, "mark");
	close(part);
	close(fd);
	close(other);
}

Test(fds, of_what_is_no_regular_file_are_refused)
{
	const struct wrong w = { "", 0, 2, false, NULL };
	int part[2], fifo[2], pair[2];

	cr_assert_eq(pipe(fifo), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	part[0] = file_of('x', 1);
	for (unsigned i = 0; i < 4; i++) {
		int fd = client();

		part[1] = i == 0   ? fifo[0]
			  : i == 1 ? pair[0]
			  : i == 2 ? open("/dev/zero", O_RDWR)
				   : open("/", O_RDONLY | O_DIRECTORY);
		send_wrong(&w, fd);
		send_with(fd, "F", part, 2);
		cr_expect(strstr(hear(fd), "EPROTO"), "%u", i);
		cr_expect_str_eq(hear(fd), "");
		close(fd);
	}
}

/* It is the process that has no numbers for them. */
Test(fds, without_numbers_for_them_are_refused)
{
	const struct wrong w = { "", 0, 30, false, NULL };
	int fd = client(), part[30];
	struct rlimit old, few;

	for (unsigned i = 0; i < w.n; i++)
		part[i] = file_of('x', 10);
	send_wrong(&w, fd);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = (rlim_t)part[w.n - 1] + 10;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	send_with(fd, "F", part, w.n);
	cr_expect(strstr(hear(fd), "EMFILE"));
	cr_expect_str_eq(hear(fd), "");
	for (unsigned i = 0; i < w.n; i++)
		close(part[i]);
	/* Those that had one have given it back. */
	cr_expect_lt(fd = dup(0), part[0] + 2);
	close(fd);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
}

Test(fds, that_do_not_come_are_not_waited_for_for_ever)
{
	const struct wrong w = { "F", 1, 2, false, "ETIMEDOUT" };
	int other = client();

	call(other, "mark");
	expect_wrong(&w);
	close(other);
}

Test(fds, that_do_not_come_are_not_waited_for_when_cancelled)
{
	const struct wrong w = { "F", 1, 2, false, NULL };
	int fd = client(), other = client();

	send_wrong(&w, fd);
	call(other, "cancel");
	cr_expect(strstr(hear(fd), "ECANCELED"));
	cr_expect_str_eq(hear(fd), "");
	close(fd);
	close(other);
}

Test(fds, end_is_told_while_they_are_awaited)
{
	const struct wrong w = { "F", 1, 2, true, NULL };
	int fd = client(), other = client();
	char *text;

	send_wrong(&w, fd);
	close(fd);
	do
		text = notes(other);
	while (!strstr(text, "end") || !strstr(text, "taken"));
	cr_expect(!strcmp(text, "asked end taken ") ||
		      !strcmp(text, "asked taken end "),
		  "%s", text);
	close(other);
}

/* The I/O thread sees the end first, and must not read what is the writer's. */
Test(fds, before_an_end_are_the_writer_s)
{
	int fd = client(), other = client(), part = file_of('q', 1);

	say(fd, "{\"verb\":\"take\",\"args\":{\"n\":1,\"hold\":true}}\n");
	cr_expect(strstr(hear(fd), "\"send\":1"));
	send_with(fd, "F", &part, 1);
	say(fd, "{\"id\":4,\"verb\":\"mark\"}\n");
	shutdown(fd, SHUT_WR);
	until_notes(other, "asked end ");
	call(other, "go");
	cr_expect(strstr(hear(fd), "\"text\":\"q\""));
	cr_expect_str_eq(hear(fd), "{\"id\":4,\"ok\":true,\"result\":{}}\n");
	cr_expect_str_eq(hear(fd), "");
	close(part);
	close(fd);
	close(other);
}

Test(fds, of_two_clients_at_once_are_one_s_and_the_other_is_told)
{
	const struct wrong w = { "", 0, 1, false, NULL };
	int fd = client(), other = client(), part = file_of('q', 1);
	struct fail why = { 0 };

	send_wrong(&w, fd);
	cr_expect_eq(
	    control_call_fds(other, "take", NULL, &part, 1, NULL, -1, &why),
	    -EREMOTEIO);
	cr_expect_eq(why.code, EXIT_CONFLICT);
	call(other, "mark");
	send_with(fd, "F", &part, 1);
	cr_expect(strstr(hear(fd), "\"text\":\"q\""));
	close(part);
	close(fd);
	close(other);
}

Test(fds, asked_for_and_then_refused_end_the_connection)
{
	int fd = client();

	say(fd, "{\"verb\":\"tease\"}\n");
	cr_expect(strstr(hear(fd), "\"send\":1"));
	cr_expect(strstr(hear(fd), "E_NO_SPACE"));
	cr_expect_str_eq(hear(fd), "");
	close(fd);
}

Test(fds, lines_behind_them_are_obeyed)
{
	const struct wrong w = { "", 0, 1, false, NULL };
	int fd = client(), other = client(), part = file_of('q', 1);

	send_wrong(&w, fd);
	send_with(fd, "F", &part, 1);
	say(fd, "{\"id\":9,\"verb\":\"mark\"}\n");
	cr_expect(strstr(hear(fd), "\"text\":\"q\""));
	cr_expect_str_eq(hear(fd), "{\"id\":9,\"ok\":true,\"result\":{}}\n");
	close(part);
	close(fd);
	close(other);
}

/* ---- a hostile VM ---- */

static void expect_no_fds(const char *answers, int expected)
{
	int pair[2], part = file_of('x', 1), r;
	struct fail why = { 0 };

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	say(pair[1], answers);
	shutdown(pair[1], SHUT_WR);
	r = control_call_fds(pair[0], "take", NULL, &part, 1, NULL, -1, &why);
	cr_expect_eq(r, expected, "%s: %d", answers, r);
	cr_expect(why.message[0]);
	close(pair[0]);
	close(pair[1]);
	close(part);
}

Test(fds, call_is_an_error_when_the_vm_asks_for_others)
{
	expect_no_fds("{\"ok\":true,\"result\":{}}\n", -EPROTO);
	expect_no_fds("{\"ok\":true,\"result\":{\"send\":2}}\n", -EPROTO);
	expect_no_fds("{\"ok\":true,\"result\":{\"send\":\"1\"}}\n", -EPROTO);
	expect_no_fds("{\"ok\":true,\"result\":{\"send\":1}}\n"
		      "{\"ok\":true,\"result\":{}}\n",
		      -EPROTO);
	expect_no_fds("{\"ok\":true,\"result\":{\"send\":1}}\n", -EPIPE);
	expect_no_fds("{\"ok\":false,\"error\":{\"message\":\"busy\"}}\n",
		      -EREMOTEIO);
}

/* ---- the thread ---- */

struct step {
	struct writer_job job;
	pthread_t ran_on, ended_on;
	struct writer *next; /* starts itself once more there */
	unsigned runs, ends;
	bool waits;
	_Atomic bool runs_now;
};

static void run_step(struct writer_job *j)
{
	struct step *s = container_of(j, struct step, job);

	s->ran_on = pthread_self();
	s->runs++;
	s->runs_now = true;
	while (s->waits && !atomic_load(&j->cancel))
		usleep(100);
}

static void step_done(struct writer_job *j)
{
	struct step *s = container_of(j, struct step, job);
	struct writer *next = s->next;

	s->ended_on = pthread_self();
	s->ends++;
	s->next = NULL;
	if (next) {
		cr_expect_not(writer_is_busy(next));
		writer_start(next, j);
	}
}

static _Atomic unsigned confined;
static sigset_t blocked;

static int confine(void)
{
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	confined++;
	return 0;
}

Test(writer, does_its_jobs_and_ends_them_on_the_io_thread)
{
	struct step s = { .job = { .run = run_step, .done = step_done } };
	struct writer *w;
	struct loop l;

	cr_assert_eq(loop_init(&l), 0);
	cr_assert_eq(writer_create(&w, &l, confine), 0);
	cr_expect_not(writer_is_busy(w));
	s.next = w;
	s.job.cancel = true; /* of another time */
	writer_start(w, &s.job);
	cr_expect(writer_is_busy(w));
	while (s.ends < 2)
		cr_assert_eq(loop_step(&l, -1), 0);
	cr_expect_eq(s.runs, 2);
	cr_expect_not(s.job.cancel);
	cr_expect_not(writer_is_busy(w));
	cr_expect(pthread_equal(s.ended_on, pthread_self()));
	cr_expect_not(pthread_equal(s.ran_on, pthread_self()));
	cr_expect_eq(confined, 1);
	cr_expect(sigismember(&blocked, SIGTERM) &&
		  sigismember(&blocked, SIGRTMIN) &&
		  !sigismember(&blocked, SIGSEGV));
	writer_destroy(w);
	loop_fini(&l);
}

Test(writer, destroyed_cancels_its_job_and_does_not_end_it)
{
	struct step s = { .job = { .run = run_step, .done = step_done },
			  .waits = true };
	struct writer *w;
	struct loop l;

	cr_assert_eq(loop_init(&l), 0);
	cr_assert_eq(writer_create(&w, &l, NULL), 0);
	writer_start(w, &s.job);
	while (!s.runs_now)
		usleep(100);
	writer_destroy(w);
	cr_expect(s.job.cancel);
	cr_assert_eq(loop_step(&l, 0), 0);
	cr_expect_eq(s.ends, 0);
	writer_destroy(NULL);
	loop_fini(&l);
}

/* ---- inside the sandbox ---- */

#define INSIDE "TINTYPE_TEST_LISTENER"

static void serve_inside(int fd)
{
	struct fail why;

	alarm(100);
	if (sandbox_harden(&why) || make_server(fd, sandbox_writer) ||
	    sandbox_io())
		_exit(99);
	_exit(loop_run(&srv.loop) ? 98 : 0);
}

/* This program once more, as the server: as in a VM's process, no thread has
 * been there before the writer, to leave it an arena of malloc. */
__attribute__((constructor)) static void be_the_server(void)
{
	const char *fd = getenv(INSIDE);

	if (fd)
		serve_inside(atoi(fd));
}

static pid_t server_inside(void)
{
	int listener = listen_somewhere();
	pid_t pid = fork();
	char number[16];

	if (pid == 0) {
		snprintf(number, sizeof(number), "%d", dup(listener));
		setenv(INSIDE, number, 1);
		execl("/proc/self/exe", "server", NULL);
		_exit(97);
	}
	close(listener);
	return pid;
}

Test(writer, takes_files_inside_the_sandbox)
{
	const struct wrong w = { "F", 4, 3, false, "EPROTO" };
	pid_t pid = server_inside();
	int status, fd;

	for (int round = 0; round < 3; round++) {
		fd = client();
		call(fd, "own");
		hand_over(fd, 100);
		say(fd, "{\"verb\":\"wait\"}\n");
		close(fd);
		fd = client();
		send_wrong(&w, fd);
		cr_expect(strstr(hear(fd), w.reason));
		cr_expect_str_eq(hear(fd), "");
		close(fd);
	}
	fd = client();
	call(fd, "answer");
	close(fd);
	cr_expect_eq(kill(pid, SIGTERM), 0);
	cr_expect_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM,
		  "status %x", status);
	remove_socket();
}
