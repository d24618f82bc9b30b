/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of the control socket, as both sides need it: bounded parsing, and
 * failures on their way through JSON. Private to control*.c. Any thread.
 */
#ifndef TINTYPE_CONTROL_MESSAGE_H
#define TINTYPE_CONTROL_MESSAGE_H

#include <jansson.h>
#include <stddef.h>

#include "fail.h"

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

#endif
