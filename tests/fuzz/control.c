/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as messages of the control socket. The first byte chooses the
 * side, modulo 3: 0, the rest is a request line to the VM; 1, it is what a
 * hostile VM answers; 2, it is all that a client sends before it half-closes,
 * where 0xff lets the VM work, and answer what it has kept. Whatever it was:
 * one line of JSON comes back that says ok or why not, or the call ends in an
 * error; and a client gets lines of JSON and an end, which its owner is told
 * once.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "util.h"

#define PAUSE 0xff

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int op_echo(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	*result = json_incref(args);
	return 0;
}

/* A failure made of what the client sent, as a real operation would. */
static int op_refuse(void *ctx, json_t *args, json_t **result, struct fail *why)
{
	const char *name = json_string_value(json_object_get(args, "name"));

	return fail_set(why, EXIT_NOT_FOUND, -ENOENT, name ? name : "", name,
			"no such thing: '%s'", name ? name : "");
}

static const struct control_op ops[] = {
	{ .verb = "echo", .run = op_echo },
	{ .verb = "refuse", .run = op_refuse },
};

static void as_request(const char *line, size_t len)
{
	bool broken = false;
	char *text =
	    control_answer(ops, ARRAY_SIZE(ops), NULL, line, len, &broken);
	size_t n = text ? strlen(text) : 0;
	json_t *doc, *ok;

	assert(n > 0 && memchr(text, '\n', n) == text + n - 1);
	doc = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	ok = json_object_get(doc, "ok");
	assert(json_is_boolean(ok) && json_object_get(doc, "id"));
	assert(json_is_object(
	    json_object_get(doc, json_is_true(ok) ? "result" : "error")));
	assert(!broken || json_is_false(ok));
	json_decref(doc);
	free(text);
}

static void as_answer(const char *text, size_t len)
{
	struct fail why = { .code = EXIT_OK };
	json_t *result = NULL;
	int pair[2], r;

	if (len > KIB(64) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return;
	if (len > 0 && write(pair[1], text, len) != (ssize_t)len)
		abort();
	if (shutdown(pair[1], SHUT_WR))
		abort();
	r = control_call(pair[0], "x", NULL, &result, -1, &why);
	assert((r == 0) == (result != NULL));
	assert(r == 0 || memchr(why.message, 0, sizeof(why.message)));
	json_decref(result);
	close(pair[0]);
	close(pair[1]);
}

/* ---- a client of a VM that answers later ---- */

static struct {
	struct loop loop;
	struct control *control;
	struct control_request *kept;
	bool watched;
} vm;

static int op_wait(void *ctx, struct control_request *r, json_t *args,
		   struct fail *why)
{
	assert(!vm.kept);
	vm.kept = r;
	return 0;
}

static int op_now(void *ctx, struct control_request *r, json_t *args,
		  struct fail *why)
{
	control_reply(r, json_incref(args));
	return 0;
}

static int op_no(void *ctx, struct control_request *r, json_t *args,
		 struct fail *why)
{
	return -EBUSY;
}

static int op_take(void *ctx, struct control_request *r, json_t *args,
		   struct fail *why)
{
	int fd = control_ask_fds(r, 1);

	return fd < 0 ? fd : op_wait(ctx, r, args, why);
}

static void ended(void *ctx)
{
	assert(vm.watched);
	vm.watched = false;
}

static int op_own(void *ctx, struct control_request *r, json_t *args,
		  struct fail *why)
{
	vm.watched = true;
	control_watch(control_client_of(r), ended, NULL);
	control_reply(r, NULL);
	return 0;
}

static const struct control_op later[] = {
	{ .verb = "echo", .run = op_echo },
	{ .verb = "wait", .later = op_wait },
	{ .verb = "now", .later = op_now },
	{ .verb = "no", .later = op_no },
	{ .verb = "take", .later = op_take },
	{ .verb = "own", .later = op_own },
};

/* A VM, and a client that is connected to it. */
static int connect_to_vm(void)
{
	struct sockaddr_un any = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	int client = socket(AF_UNIX, SOCK_STREAM, 0);
	socklen_t len = sizeof(any);

	/* A name that the kernel makes up. */
	if (bind(s, (struct sockaddr *)&any, sizeof(sa_family_t)) ||
	    listen(s, 1) || getsockname(s, (struct sockaddr *)&any, &len) ||
	    connect(client, (struct sockaddr *)&any, len) ||
	    loop_init(&vm.loop) ||
	    control_create(&vm.control, &vm.loop, s, later, ARRAY_SIZE(later),
			   NULL))
		abort();
	return client;
}

static void answer_kept(void)
{
	struct control_request *r = vm.kept;

	vm.kept = NULL;
	if (r)
		control_reply(r, NULL);
}

/* What comes is whole lines, each of them an answer. */
static void check_answers(const char *text, size_t len)
{
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) + 1 : 0;
		json_t *doc = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);

		assert(json_is_boolean(json_object_get(doc, "ok")));
		json_decref(doc);
		text += n;
		len -= n;
	}
}

/* Lets the VM work until the connection is closed. */
static void hear_all(int client)
{
	static char text[KIB(512)];
	size_t len = 0;

	for (unsigned rounds = 0;; rounds++) {
		ssize_t n =
		    recv(client, text + len, sizeof(text) - len, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			break;
		len += (size_t)MAX(n, 0);
		assert(rounds < 10000);
		answer_kept();
		assert(loop_step(&vm.loop, 0) == 0);
	}
	check_answers(text, len);
}

/* Sends up to a pause; how much that was, with it. What the VM does not take
 * is lost, as it has closed on us, or a line of ours waits. */
static size_t say_part(int client, const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, PAUSE, size);
	size_t len = end ? (size_t)(end - data) : size;

	(void)send(client, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (!end)
		return len;
	if (loop_step(&vm.loop, 0))
		abort();
	answer_kept();
	return len + 1;
}

static void as_client(const uint8_t *data, size_t size)
{
	int client = connect_to_vm();

	/* Empty lines are answered too, by a hundred bytes each. */
	size = MIN(size, KIB(4));
	vm.watched = false;
	for (size_t at = 0; at < size;)
		at += say_part(client, data + at, size - at);
	shutdown(client, SHUT_WR);
	hear_all(client);
	assert(!vm.watched);
	close(client);
	control_destroy(vm.control);
	answer_kept();
	loop_fini(&vm.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (size == 0)
		return 0;
	/* Hash order is not to differ from run to run. */
	json_object_seed(1);
	switch (data[0] % 3) {
	case 0:
		as_request(text, size - 1);
		break;
	case 1:
		as_answer(text, size - 1);
		break;
	default:
		as_client(data + 1, size - 1);
	}
	return 0;
}
