/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of the control socket, as both sides need it: bounded parsing, and
 * failures on their way through JSON. Private to control*.c. Any thread.
 */
#ifndef TINTYPE_CONTROL_MESSAGE_H
#define TINTYPE_CONTROL_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "control.h"
#include "fail.h"

/* Belongs to whoever will answer it; its client knows it as long as both are
 * there. */
struct control_request {
	struct control_client *client; /* NULL: has ended */
	json_t *id;		       /* as it came; NULL: none was given */
	bool fds;		       /* some were asked for */
};

/* A new reference to the object that the line is, or NULL with `why`: too
 * deep (looked at before jansson, which recurses), no JSON, no object. */
json_t *control_parse(const char *line, size_t len, struct fail *why);

/* {"code":..,"message":..,"object":..,"hint":..}; NULL: no memory. */
json_t *control_fail_to_json(const struct fail *why);

/* What the other side's error says. Missing or misshapen parts stay empty. */
void control_fail_from_json(struct fail *why, const json_t *error);

/* Compact, with a newline at the end; steals `doc`, which may be NULL. NULL:
 * no memory. */
char *control_line(json_t *doc);

/* The answer to the request with that id (NULL: it had none), which stays the
 * caller's; steals `body`. NULL: no memory. */
char *control_answer_line(const json_t *id, bool ok, json_t *body);

/*
 * control_answer for a client: as there, but an operation may keep `q`, which
 * then has its id: *kept, and NULL is returned. By then `q` may have been
 * answered, and be gone.
 */
char *control_obey(const struct control_op *ops, unsigned nops, void *ctx,
		   struct control_request *q, const char *line, size_t len,
		   bool *broken, bool *kept);

#endif
