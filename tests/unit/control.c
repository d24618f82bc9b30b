/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: what is a request, what is refused, and clients that
 * are slow, many, gone, or hostile. A server runs its loop on a thread; the
 * test is its client, by the client's functions or byte by byte.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control.h"
#include "sandbox.h"
#include "util.h"

#define BIG_BYTES 300000

static int op_echo(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	*result = json_incref(args);
	return 0;
}

static int op_nothing(void *ctx, json_t *args, json_t **result,
		      struct fail *why)
{
	return 0;
}

static int op_broken(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	return fail_set(why, EXIT_INTEGRITY, -EBADMSG, "layer \xff 3f2a",
			"verify it", "checksum mismatch");
}

static int op_silent(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	return -EIO;
}

static int op_big(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	char *text = malloc(BIG_BYTES + 1);

	cr_assert(text);
	memset(text, 'x', BIG_BYTES);
	text[BIG_BYTES] = 0;
	*result = json_pack("{s:s}", "text", text);
	free(text);
	return 0;
}

static const struct control_op ops[] = {
	{ .verb = "echo", .run = op_echo },
	{ .verb = "nothing", .run = op_nothing },
	{ .verb = "broken", .run = op_broken },
	{ .verb = "silent", .run = op_silent },
	{ .verb = "big", .run = op_big },
};

/* ---- the text, without a socket ---- */

static char *answer(const char *line, size_t len)
{
	char *text =
	    control_answer(ops, ARRAY_SIZE(ops), NULL, line, len, NULL);

	cr_assert(text);
	cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1);
	return text;
}

static void expect_answer(const char *line, const char *expected)
{
	char *text = answer(line, strlen(line));

	cr_expect_str_eq(text, expected, "%s: %s", line, text);
	free(text);
}

/* Refused, for a reason that holds `reason`; and whether that ends it. */
static void expect_refused(const char *line, size_t len, const char *reason,
			   bool ends)
{
	bool broken = !ends;
	char *text =
	    control_answer(ops, ARRAY_SIZE(ops), NULL, line, len, &broken);

	cr_assert(text);
	cr_expect(strstr(text, "\"ok\":false"), "%s", text);
	cr_expect(strstr(text, reason), "%s", text);
	cr_expect_eq(broken, ends, "%s", text);
	free(text);
}

Test(control, answer_carries_the_id_as_it_came)
{
	expect_answer("{\"id\":1,\"verb\":\"nothing\"}\n",
		      "{\"id\":1,\"ok\":true,\"result\":{}}\n");
	expect_answer("{\"verb\":\"nothing\",\"id\":\"a\\nb\",\"args\":{}}",
		      "{\"id\":\"a\\nb\",\"ok\":true,\"result\":{}}\n");
	expect_answer("{\"verb\":\"echo\",\"args\":{\"a\":[1,2.5,null]}}",
		      "{\"id\":null,\"ok\":true,\"result\":"
		      "{\"a\":[1,2.5,null]}}\n");
}

Test(control, answer_of_a_failed_operation_says_all_of_it)
{
	/* What is no UTF-8 must not make the answer itself fail. */
	expect_answer("{\"id\":7,\"verb\":\"broken\"}",
		      "{\"id\":7,\"ok\":false,\"error\":{"
		      "\"code\":\"E_INTEGRITY\","
		      "\"message\":\"checksum mismatch\","
		      "\"object\":\"layer ? 3f2a\",\"hint\":\"verify it\"}}\n");
	expect_answer("{\"verb\":\"silent\"}",
		      "{\"id\":null,\"ok\":false,\"error\":{"
		      "\"code\":\"E_FAILED\","
		      "\"message\":\"Input/output error\","
		      "\"object\":\"silent\",\"hint\":\"\"}}\n");
}

Test(control, answer_to_a_wrong_request_says_why_and_goes_on)
{
	static const struct {
		const char *line, *reason;
	} wrong[] = {
		{ "{}", "no verb" },
		{ "{\"id\":1}", "no verb" },
		{ "{\"verb\":\"\"}", "knows no verb ''" },
		{ "{\"verb\":\"reboot\"}", "knows no verb 'reboot'" },
		{ "{\"verb\":1}", "wrong type" },
		{ "{\"verb\":\"echo\",\"args\":[]}", "wrong type" },
		{ "{\"verb\":\"echo\",\"id\":{}}", "wrong type" },
		{ "{\"verb\":\"echo\",\"id\":1.5}", "wrong type" },
		{ "{\"verb\":\"echo\",\"more\":1}", "unknown" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		expect_refused(wrong[i].line, strlen(wrong[i].line),
			       wrong[i].reason, false);
}

Test(control, answer_to_what_is_no_request_ends_the_connection)
{
	static const char *const garbage[] = {
		"",
		"\n",
		"GET / HTTP/1.1\r\n",
		"[]",
		"\"verb\"",
		"{\"verb\":\"echo\"",
		"{\"verb\":\"echo\"}{}",
		"{\"verb\":\"echo\",\"verb\":\"big\"}",
		"{\"verb\":\"ec\xff\xfeho\"}",
		"{\"verb\":\"echo\",\"args\":{\"n\":1e999}}",
		"{\"verb\":\"echo\",\"id\":99999999999999999999}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++)
		expect_refused(garbage[i], strlen(garbage[i]), "E_USAGE", true);
	expect_refused("{\"verb\":\"echo\"}\0", 16, "JSON", true);
	expect_refused("{\"verb\":\"ec\0ho\"}", 16, "JSON", true);
}

/* "{"verb":"echo","args":{"a":[[[...]]]}}", `depth` deep in all. */
static size_t nested(char *line, size_t depth)
{
	size_t n = (size_t)sprintf(line, "{\"verb\":\"echo\",\"args\":{\"a\":");

	for (size_t i = 2; i < depth; i++)
		line[n++] = '[';
	for (size_t i = 2; i < depth; i++)
		line[n++] = ']';
	line[n++] = '}';
	line[n++] = '}';
	line[n] = 0;
	return n;
}

Test(control, answer_to_a_deep_request_is_bounded)
{
	static char line[CONTROL_MAX_BYTES + 100];
	size_t len = nested(line, CONTROL_MAX_DEPTH);
	char *text = answer(line, len);

	cr_expect(strstr(text, "\"ok\":true"), "%s", text);
	free(text);
	len = nested(line, CONTROL_MAX_DEPTH + 1);
	expect_refused(line, len, "too deeply", true);
	len = nested(line, CONTROL_MAX_BYTES / 2 - 20);
	expect_refused(line, len, "too deeply", true);
	memset(line, '[', CONTROL_MAX_BYTES);
	expect_refused(line, CONTROL_MAX_BYTES, "too deeply", true);
}

Test(control, brackets_in_strings_are_not_depth)
{
	expect_answer("{\"verb\":\"echo\",\"args\":{\"a\":\"[[[[[[[[[[[[[[[[["
		      "\\\"[{[{[{[{[{\\\\\"}}",
		      "{\"id\":null,\"ok\":true,\"result\":{\"a\":"
		      "\"[[[[[[[[[[[[[[[[[\\\"[{[{[{[{[{\\\\\"}}\n");
}

/* ---- with the socket ---- */

struct server {
	char dir[64], path[128];
	struct loop loop;
	struct control *control;
	pthread_t thread;
	bool running;
};

static struct server srv;

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_lt(strlen(path), sizeof(a.sun_path));
	strcpy(a.sun_path, path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(fd, 32), 0);
	return fd;
}

static void *serve(void *arg)
{
	cr_assert_eq(loop_run(&srv.loop), 0);
	return NULL;
}

/* A listening socket in a directory of its own. */
static int make_socket(void)
{
	snprintf(srv.dir, sizeof(srv.dir), "/tmp/tintype-control-XXXXXX");
	cr_assert(mkdtemp(srv.dir));
	snprintf(srv.path, sizeof(srv.path), "%s/sock", srv.dir);
	return listen_at(srv.path);
}

static void remove_socket(void)
{
	unlink(srv.path);
	rmdir(srv.dir);
}

static int make_server(int listen_fd)
{
	int r = loop_init(&srv.loop);

	signal(SIGPIPE, SIG_IGN);
	return r ? r
		 : control_create(&srv.control, &srv.loop, listen_fd, ops,
				  ARRAY_SIZE(ops), NULL);
}

static void start(void)
{
	cr_assert_eq(make_server(make_socket()), 0);
	cr_assert_eq(pthread_create(&srv.thread, NULL, serve, NULL), 0);
	srv.running = true;
}

static void stop_server(void)
{
	if (!srv.running)
		return;
	loop_quit(&srv.loop);
	pthread_join(srv.thread, NULL);
	control_destroy(srv.control);
	srv.running = false;
}

static void stop(void)
{
	stop_server();
	loop_fini(&srv.loop);
	remove_socket();
}

TestSuite(control_socket, .init = start, .fini = stop);

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

/* Reads until the end of the connection; how many bytes, of which the first
 * are in `text`. */
static size_t hear_all(int fd, char *text, size_t room)
{
	size_t total = 0;
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n && total + 1 < room; i++)
			text[total++] = buf[i];
	}
	text[total] = 0;
	return total;
}

/* Up to the newline and no further. */
static void hear_line(int fd, char *text, size_t room)
{
	const char *end = NULL;
	size_t n = 0;

	while (!end && n + 1 < room) {
		ssize_t seen = recv(fd, text + n, room - 1 - n, MSG_PEEK);
		size_t take;

		if (seen <= 0)
			break;
		end = memchr(text + n, '\n', (size_t)seen);
		take = end ? (size_t)(end - text) + 1 - n : (size_t)seen;
		cr_assert_eq(recv(fd, text + n, take, 0), (ssize_t)take);
		n += take;
	}
	text[n] = 0;
}

static void expect_served(int fd)
{
	struct fail why = { 0 };

	cr_expect_eq(control_call(fd, "nothing", NULL, NULL, -1, &why), 0, "%s",
		     why.message);
}

Test(control_socket, call_brings_the_result)
{
	int fd = client();
	json_t *args = json_pack("{s:[i,i]}", "a", 1, 2), *result = NULL;
	struct fail why = { 0 };

	cr_assert_eq(control_call(fd, "echo", args, &result, -1, &why), 0);
	cr_assert(json_equal(args, result));
	json_decref(args);
	json_decref(result);
	expect_served(fd);
	close(fd);
}

Test(control_socket, call_brings_the_error_with_its_exit_code)
{
	int fd = client();
	struct fail why = { 0 };

	cr_assert_eq(control_call(fd, "broken", NULL, NULL, -1, &why),
		     -EREMOTEIO);
	cr_expect_eq(why.code, EXIT_INTEGRITY);
	cr_expect_str_eq(why.message, "checksum mismatch");
	cr_expect_str_eq(why.object, "layer ? 3f2a");
	cr_expect_str_eq(why.hint, "verify it");
	cr_assert_eq(control_call(fd, "fly", NULL, NULL, -1, &why), -EREMOTEIO);
	cr_expect_eq(why.code, EXIT_USAGE);
	expect_served(fd);
	close(fd);
}

Test(control_socket, call_takes_an_answer_larger_than_any_request)
{
	int fd = client();
	json_t *result = NULL;
	struct fail why = { 0 };

	cr_assert_eq(control_call(fd, "big", NULL, &result, -1, &why), 0);
	cr_assert_eq(json_string_length(json_object_get(result, "text")),
		     BIG_BYTES);
	json_decref(result);
	close(fd);
}

Test(control_socket, message_in_single_bytes_is_answered_when_complete)
{
	static const char line[] = "{\"id\":5,\"verb\":\"nothing\"}\n";
	char text[256];
	int fd = client(), other = client();

	for (size_t i = 0; i < sizeof(line) - 1; i++) {
		cr_assert_eq(write(fd, line + i, 1), 1);
		expect_served(other);
	}
	hear_line(fd, text, sizeof(text));
	cr_expect_str_eq(text, "{\"id\":5,\"ok\":true,\"result\":{}}\n");
	close(other);
	close(fd);
}

Test(control_socket, many_messages_at_once_are_answered_in_order)
{
	static char lines[CONTROL_MAX_BYTES];
	char text[256], expected[64];
	int fd = client(), count = 500;
	size_t n = 0;

	for (int i = 0; i < count; i++)
		n += (size_t)sprintf(lines + n,
				     "{\"id\":%d,\"verb\":\"nothing\"}\n", i);
	say(fd, lines);
	for (int i = 0; i < count; i++) {
		hear_line(fd, text, sizeof(text));
		sprintf(expected, "{\"id\":%d,\"ok\":true,\"result\":{}}\n", i);
		cr_assert_str_eq(text, expected);
	}
	close(fd);
}

Test(control_socket, garbage_gets_one_line_and_the_end)
{
	char text[1024];
	int fd = client();

	say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	hear_all(fd, text, sizeof(text));
	cr_expect(strstr(text, "E_USAGE") && strchr(text, '\n') &&
		      strchr(text, '\n')[1] == 0,
		  "%s", text);
	close(fd);
	fd = client();
	expect_served(fd);
	close(fd);
}

/* As much as a client cares to send: the rest is met by a closed door. */
Test(control_socket, message_without_end_gets_one_line_and_the_end)
{
	static char block[65536];
	char text[1024];
	size_t sent = 0;
	int fd = client();

	memset(block, ' ', sizeof(block));
	while (sent < GIB(1)) {
		ssize_t n = write(fd, block, sizeof(block));

		if (n < 0)
			break;
		sent += (size_t)n;
	}
	cr_expect_lt(sent, MIB(16));
	hear_all(fd, text, sizeof(text));
	cr_expect(strstr(text, "too long"), "%s", text);
	close(fd);
}

Test(control_socket, longest_message_is_taken_and_one_byte_more_is_not)
{
	static char line[CONTROL_MAX_BYTES + 2];
	char text[1024];

	for (size_t more = 0; more < 2; more++) {
		size_t len = CONTROL_MAX_BYTES + more;
		int fd = client();

		memset(line, ' ', len);
		memcpy(line, "{\"verb\":\"nothing\"}", 18);
		line[len - 1] = '\n';
		cr_assert_eq(write(fd, line, len), (ssize_t)len);
		hear_line(fd, text, sizeof(text));
		cr_expect(strstr(text, more ? "too long" : "\"ok\":true"), "%s",
			  text);
		close(fd);
	}
}

Test(control_socket, half_closed_client_gets_its_answers_and_the_end)
{
	char text[1024];
	int fd = client();

	say(fd, "{\"verb\":\"nothing\"}\n{\"verb\":\"nothing\"}\n");
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	hear_all(fd, text, sizeof(text));
	cr_expect_str_eq(text, "{\"id\":null,\"ok\":true,\"result\":{}}\n"
			       "{\"id\":null,\"ok\":true,\"result\":{}}\n");
	close(fd);
}

Test(control_socket, message_cut_off_is_told_so)
{
	char text[1024];
	int fd = client();

	say(fd, "{\"verb\":\"nothing\"}\n{\"verb\":\"noth");
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	hear_line(fd, text, sizeof(text));
	cr_expect(strstr(text, "\"ok\":true"), "%s", text);
	hear_all(fd, text, sizeof(text));
	cr_expect(strstr(text, "cut off"), "%s", text);
	close(fd);
}

Test(control_socket, client_over_the_limit_is_told_and_a_freed_place_is_used)
{
	int fd[CONTROL_MAX_CLIENTS], more;
	struct fail why = { 0 };
	char text[1024];

	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		fd[i] = client();
		expect_served(fd[i]);
	}
	more = client();
	cr_expect_eq(control_call(more, "nothing", NULL, NULL, -1, &why),
		     -EREMOTEIO);
	cr_expect_eq(why.code, EXIT_CONFLICT);
	cr_expect(strstr(why.message, "too many clients"), "%s", why.message);
	close(more);
	/* The server has closed it when the end of the half-close is seen. */
	shutdown(fd[3], SHUT_WR);
	hear_all(fd[3], text, sizeof(text));
	close(fd[3]);
	fd[3] = client();
	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		expect_served(fd[i]);
		close(fd[i]);
	}
}

Test(control_socket, client_that_does_not_read_holds_up_nobody)
{
	char *text = malloc(BIG_BYTES + 100);
	int slow = client(), quick = client(), asked = 20;

	cr_assert(text);
	for (int i = 0; i < asked; i++)
		say(slow, "{\"verb\":\"big\"}\n");
	for (int i = 0; i < 100; i++)
		expect_served(quick);
	for (int i = 0; i < asked; i++) {
		hear_line(slow, text, BIG_BYTES + 100);
		cr_assert_gt(strlen(text), BIG_BYTES);
	}
	expect_served(slow);
	close(slow);
	close(quick);
	free(text);
}

Test(control_socket, clients_that_vanish_leave_their_places)
{
	for (unsigned i = 0; i < 5 * CONTROL_MAX_CLIENTS; i++) {
		int fd = client();

		say(fd, i % 3 ? "{\"verb\":\"big\"}\n" : "{\"ver");
		if (i % 2)
			expect_served(fd = (close(fd), client()));
		close(fd);
	}
}

Test(control_socket, wait_end_sees_the_end_and_not_before)
{
	int fd = client();
	struct fail why = { 0 };

	expect_served(fd);
	cr_expect_eq(control_wait_end(fd, 1), -ETIMEDOUT);
	stop_server();
	cr_expect_eq(control_wait_end(fd, -1), 0);
	cr_expect_eq(control_call(fd, "nothing", NULL, NULL, -1, &why), -EPIPE);
	cr_expect_eq(why.code, EXIT_WRONG_STATE);
	close(fd);
	fd = control_connect(srv.path, &why);
	cr_expect_eq(fd, -ECONNREFUSED);
	cr_expect_eq(why.code, EXIT_WRONG_STATE);
}

Test(control_socket, connect_by_a_path_longer_than_an_address)
{
	static const char part[] = "a-directory-with-quite-a-long-name-to-it";
	char longer[512], link[600];
	struct fail why = { 0 };
	int fd;

	snprintf(longer, sizeof(longer), "%s/%s", srv.dir, part);
	cr_assert_eq(mkdir(longer, 0700), 0);
	snprintf(longer, sizeof(longer), "%s/%s/%s", srv.dir, part, part);
	cr_assert_eq(mkdir(longer, 0700), 0);
	snprintf(link, sizeof(link), "%s/%s", longer, part);
	cr_assert_gt(strlen(link), 107);
	cr_assert_eq(symlink(srv.path, link), 0);
	fd = control_connect(link, &why);
	cr_expect(fd >= 0, "%s", why.message);
	expect_served(fd);
	close(fd);
	unlink(link);
	rmdir(longer);
	*strrchr(longer, '/') = 0;
	rmdir(longer);
}

/* Another user who was let near the socket is still refused. */
static void as_nobody(void)
{
	struct fail why = { 0 };
	int fd;

	if (setuid(65534))
		_exit(1);
	fd = control_connect(srv.path, &why);
	if (fd < 0)
		_exit(2);
	if (control_call(fd, "nothing", NULL, NULL, -1, &why) != -EREMOTEIO)
		_exit(3);
	_exit(why.code == EXIT_DENIED ? 0 : 4);
}

Test(control_socket, client_of_another_user_is_refused)
{
	int status, fd;
	pid_t pid;

	if (geteuid() != 0)
		cr_skip_test("only root can become another user");
	cr_assert_eq(chmod(srv.dir, 0755), 0);
	cr_assert_eq(chmod(srv.path, 0666), 0);
	pid = fork();
	if (pid == 0)
		as_nobody();
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0, "status %x", status);
	fd = client();
	expect_served(fd);
	close(fd);
}

/* ---- the server in a process of its own ---- */

static pid_t server_process(int (*prepare)(void))
{
	int fd = make_socket();
	pid_t pid = fork();

	if (pid == 0) {
		if (make_server(fd) || prepare())
			_exit(99);
		_exit(loop_run(&srv.loop) ? 98 : 0);
	}
	close(fd);
	return pid;
}

static void end_process(pid_t pid)
{
	int status;

	cr_expect_eq(kill(pid, SIGTERM), 0);
	cr_expect_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM,
		  "status %x", status);
	remove_socket();
}

static int close_sandbox(void)
{
	struct fail why;

	json_object_seed(1); /* as the program does */
	return sandbox_harden(&why) ? -1 : sandbox_io();
}

Test(control, serves_inside_the_sandbox)
{
	pid_t pid = server_process(close_sandbox);

	for (int round = 0; round < 3; round++) {
		int fd = client();
		json_t *result = NULL;
		struct fail why = { 0 };
		char text[1024];

		expect_served(fd);
		cr_expect_eq(control_call(fd, "big", NULL, &result, -1, &why),
			     0, "%s", why.message);
		json_decref(result);
		cr_expect_eq(control_call(fd, "broken", NULL, NULL, -1, &why),
			     -EREMOTEIO);
		say(fd, "garbage\n");
		hear_all(fd, text, sizeof(text));
		cr_expect(strstr(text, "E_USAGE"), "%s", text);
		close(fd);
	}
	end_process(pid);
}

/* Room for one client only: its fd is the last one that may be had. */
static int room_for_one(void)
{
	struct rlimit limit;
	int next = dup(0);

	if (next < 0 || getrlimit(RLIMIT_NOFILE, &limit))
		return -1;
	close(next);
	limit.rlim_cur = (rlim_t)next + 1;
	return setrlimit(RLIMIT_NOFILE, &limit);
}

Test(control, without_fds_new_clients_wait_until_there_are_some)
{
	pid_t pid = server_process(room_for_one);
	int first = client(), second;
	char text[256];

	expect_served(first);
	second = client();
	say(second, "{\"verb\":\"nothing\"}\n");
	expect_served(first);
	close(first);
	hear_line(second, text, sizeof(text));
	cr_expect(strstr(text, "\"ok\":true"), "%s", text);
	end_process(pid);
	close(second);
}

/* ---- a hostile server ---- */

Test(control, connect_to_nobody_says_so)
{
	struct fail why = { 0 };

	cr_expect_eq(control_connect("/nonexistent/sock", &why), -ENOENT);
	cr_expect_eq(why.code, EXIT_WRONG_STATE);
	cr_expect_eq(control_connect("/dev/null", &why), -ECONNREFUSED);
}

Test(control, call_without_answer_times_out)
{
	struct fail why = { 0 };
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	cr_expect_eq(control_call(pair[0], "nothing", NULL, NULL, 20, &why),
		     -ETIMEDOUT);
	cr_expect_eq(why.code, EXIT_CANCELLED);
}

static void expect_misunderstood(const char *line, size_t len)
{
	struct fail why = { 0 };
	json_t *result = NULL;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	cr_assert_eq(write(pair[1], line, len), (ssize_t)len);
	cr_expect_eq(control_call(pair[0], "nothing", NULL, &result, -1, &why),
		     -EPROTO, "%.40s", line);
	cr_expect_null(result);
	close(pair[0]);
	close(pair[1]);
}

Test(control, call_answered_with_nonsense_is_an_error)
{
	static const char *const nonsense[] = {
		"\n",
		"ok\n",
		"[]\n",
		"{}\n",
		"{\"ok\":true}\n",
		"{\"ok\":1,\"result\":{}}\n",
		"{\"ok\":false,\"result\":{}}\n",
		"{\"ok\":true,\"result\":{}}\n{\"ok\":true,\"result\":{}}\n",
	};
	static char deep[50001];

	for (size_t i = 0; i < ARRAY_SIZE(nonsense); i++)
		expect_misunderstood(nonsense[i], strlen(nonsense[i]));
	memset(deep, '[', sizeof(deep));
	deep[sizeof(deep) - 1] = '\n';
	expect_misunderstood(deep, sizeof(deep));
}

static void *flood(void *arg)
{
	static char block[65536];

	memset(block, 'x', sizeof(block));
	while (write(*(int *)arg, block, sizeof(block)) > 0)
		;
	return NULL;
}

Test(control, call_answered_without_end_is_an_error)
{
	struct fail why = { 0 };
	pthread_t thread;
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	cr_assert_eq(pthread_create(&thread, NULL, flood, &pair[1]), 0);
	cr_expect_eq(control_call(pair[0], "nothing", NULL, NULL, -1, &why),
		     -EMSGSIZE);
	close(pair[0]);
	pthread_join(thread, NULL);
	close(pair[1]);
}
