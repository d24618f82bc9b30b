/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and answers as text: no input, of any shape, makes this recurse
 * deeper than CONTROL_MAX_DEPTH or answer with anything but one line.
 */
#include "control_message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* ---- in ---- */

/*
 * How deep brackets nest outside of strings. As far as the text is JSON this
 * sees the same strings as the parser does; behind its first error the parser
 * does not go.
 */
static unsigned depth_of(const char *line, size_t len)
{
	unsigned depth = 0, deepest = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = line[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']') && depth > 0)
			depth--;
		deepest = MAX(deepest, depth);
	}
	return deepest;
}

static void *refuse(struct fail *why, const char *reason)
{
	fail_set(why, EXIT_USAGE, -EINVAL, "control",
		 "send one JSON object a line: {\"verb\":\"status\"}", "%s",
		 reason);
	return NULL;
}

json_t *control_parse(const char *line, size_t len, struct fail *why)
{
	json_error_t error;
	json_t *doc;

	if (depth_of(line, len) > CONTROL_MAX_DEPTH)
		return refuse(why, "the message nests too deeply");
	doc = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	if (!doc)
		return refuse(why, "the message is no valid JSON");
	if (!json_is_object(doc)) {
		json_decref(doc);
		return refuse(why, "the message is no JSON object");
	}
	return doc;
}

/* ---- out ---- */

/* Text that may hold what a user typed: bytes that are no UTF-8 become '?'. */
static json_t *text_to_json(const char *text)
{
	json_t *s = json_string(text);
	char copy[sizeof(((struct fail *)0)->message)];

	if (s)
		return s;
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *c = copy; *c; c++)
		if (*c & 0x80)
			*c = '?';
	return json_string(copy);
}

json_t *control_fail_to_json(const struct fail *why)
{
	return json_pack(
	    "{s:s, s:o, s:o, s:o}", "code", fail_code_name(why->code),
	    "message", text_to_json(why->message), "object",
	    text_to_json(why->object), "hint", text_to_json(why->hint));
}

static enum exit_code code_from_name(const char *name)
{
	/* Exit codes are bytes; a name nobody has is a plain failure. */
	for (int code = 0; code < 256; code++)
		if (strcmp(name, fail_code_name((enum exit_code)code)) == 0)
			return (enum exit_code)code;
	return EXIT_FAILED;
}

static const char *text_of(const json_t *error, const char *key)
{
	const char *s = json_string_value(json_object_get(error, key));

	return s ? s : "";
}

void control_fail_from_json(struct fail *why, const json_t *error)
{
	fail_set(why, code_from_name(text_of(error, "code")), 0,
		 text_of(error, "object"), text_of(error, "hint"), "%s",
		 text_of(error, "message"));
}

char *control_line(json_t *doc)
{
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;
	char *line = text ? malloc(len + 2) : NULL;

	json_decref(doc);
	if (line) {
		memcpy(line, text, len);
		memcpy(line + len, "\n", 2);
	}
	free(text);
	return line;
}

/* ---- one request ---- */

struct request {
	json_t *doc;
	const json_t *id; /* NULL: none was given */
	const char *verb;
	json_t *args;
};

static int bad_request(struct fail *why, const char *reason)
{
	return fail_set(why, EXIT_USAGE, -EINVAL, "control",
			"a request is {\"id\":1,\"verb\":\"..\",\"args\":{}}",
			"%s", reason);
}

/* What the document holds, or why it is no request. */
static int read_request(struct request *r, struct fail *why)
{
	const char *key;
	json_t *value;

	json_object_foreach(r->doc, key, value)
	{
		bool known = true;

		if (strcmp(key, "id") == 0 &&
		    (json_is_integer(value) || json_is_string(value)))
			r->id = value;
		else if (strcmp(key, "verb") == 0 && json_is_string(value))
			r->verb = json_string_value(value);
		else if (strcmp(key, "args") == 0 && json_is_object(value))
			r->args = value;
		else
			known = false;
		if (!known)
			return bad_request(why, "a key of the request is "
						"unknown or of a wrong type");
	}
	return r->verb ? 0 : bad_request(why, "the request has no verb");
}

static const struct control_op *find_op(const struct control_op *ops,
					unsigned nops, const char *verb)
{
	for (unsigned i = 0; i < nops; i++)
		if (strcmp(ops[i].verb, verb) == 0)
			return &ops[i];
	return NULL;
}

static int run_op(const struct control_op *op, const struct request *r,
		  json_t *args, void *ctx, struct control_request *q,
		  bool *kept, json_t **result, struct fail *why)
{
	int err;

	if (!op->later)
		return op->run(ctx, args, result, why);
	if (!q)
		return fail_set(why, EXIT_USAGE, -ENOTCONN, r->verb, NULL,
				"is answered on a connection only");
	q->id = json_incref((json_t *)r->id);
	err = op->later(ctx, q, args, why);
	*kept = err >= 0;
	return err;
}

static int obey(const struct request *r, const struct control_op *ops,
		unsigned nops, void *ctx, struct control_request *q, bool *kept,
		json_t **result, struct fail *why)
{
	const struct control_op *op = find_op(ops, nops, r->verb);
	json_t *none = NULL;
	int err;

	if (!op)
		return fail_set(why, EXIT_USAGE, -ENOSYS, "control",
				"its program may be older than this one",
				"the VM knows no verb '%.64s'", r->verb);
	if (!r->args && !(none = json_object()))
		return fail_set(why, EXIT_FAILED, -ENOMEM, "control", NULL,
				"out of memory");
	err =
	    run_op(op, r, r->args ? r->args : none, ctx, q, kept, result, why);
	json_decref(none);
	/* An operation that did not say why: at least what errno tells. */
	if (err < 0 && why->code == EXIT_OK)
		fail_set(why, EXIT_FAILED, err, r->verb, NULL, "%s",
			 strerror(-err));
	return err;
}

char *control_answer_line(const json_t *id, bool ok, json_t *body)
{
	json_t *doc = json_pack("{s:o, s:b, s:o}", "id",
				id ? json_incref((json_t *)id) : json_null(),
				"ok", (int)ok, ok ? "result" : "error", body);

	return control_line(doc);
}

char *control_obey(const struct control_op *ops, unsigned nops, void *ctx,
		   struct control_request *q, const char *line, size_t len,
		   bool *broken, bool *kept)
{
	struct fail why = { .code = EXIT_OK };
	struct request r = { .doc = control_parse(line, len, &why) };
	json_t *result = NULL;
	char *text = NULL;
	int err = -EINVAL;

	*broken = !r.doc;
	*kept = false;
	if (r.doc)
		err = read_request(&r, &why);
	if (r.doc && err == 0)
		err = obey(&r, ops, nops, ctx, q, kept, &result, &why);
	if (err < 0) {
		json_decref(result);
		result = control_fail_to_json(&why);
	} else if (!result) {
		result = json_object();
	}
	if (*kept)
		json_decref(result);
	else
		text = control_answer_line(r.id, err >= 0, result);
	json_decref(r.doc);
	return text;
}

char *control_answer(const struct control_op *ops, unsigned nops, void *ctx,
		     const char *line, size_t len, bool *broken)
{
	bool ends, kept;
	char *text =
	    control_obey(ops, nops, ctx, NULL, line, len, &ends, &kept);

	if (broken)
		*broken = ends;
	return text;
}
