/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as messages of the control socket. The first byte chooses the
 * side: even, the rest is a request line to the VM; odd, the rest is what a
 * hostile VM answers. Whatever it was: one line of JSON comes back that says
 * ok or why not, or the call ends in an error.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "util.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (size == 0)
		return 0;
	/* Hash order is not to differ from run to run. */
	json_object_seed(1);
	if (data[0] % 2 == 0)
		as_request(text, size - 1);
	else
		as_answer(text, size - 1);
	return 0;
}
