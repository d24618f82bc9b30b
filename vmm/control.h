/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket of a VM: JSON Lines over a UNIX stream socket (mode 0600;
 * the peer's uid by SO_PEERCRED must be the VM's own or root).
 *
 *   -> {"id":1,"verb":"pause","args":{}}
 *   <- {"id":1,"ok":true,"result":{...}}
 *   <- {"id":1,"ok":false,"error":{"code":..,"message":..,"object":..,"hint":..}}
 *
 * A request is at most CONTROL_MAX_BYTES long and CONTROL_MAX_DEPTH deep; what
 * is not gets one error line and the connection is closed. At most
 * CONTROL_MAX_CLIENTS at once; one that does not read its answers is closed
 * when CONTROL_MAX_BYTES are waiting for it. Nothing a client does can hold up
 * the guest.
 *
 * Owner: the I/O thread.
 */
#ifndef TINTYPE_CONTROL_H
#define TINTYPE_CONTROL_H

#include <jansson.h>
#include <sys/types.h>

#include "fail.h"
#include "loop.h"

#define CONTROL_MAX_BYTES   65536
#define CONTROL_MAX_DEPTH   16
#define CONTROL_MAX_CLIENTS 16

struct control_op {
	const char *verb;
	/* `args` is an object (empty when left out). On success may set
	 * *result to a new reference. 0, or -errno with `why` filled. */
	int (*run)(void *ctx, json_t *args, json_t **result, struct fail *why);
};

struct control;

/* Takes listen_fd over. 0 or -errno. */
int control_create(struct control **out, struct loop *l, int listen_fd,
		   const struct control_op *ops, unsigned nops, void *ctx);
void control_destroy(struct control *c); /* sends what it can, bounded */

/* Parses and answers one request line, without the socket: what the fuzz
 * target drives. Returns a new string that ends in a newline, or NULL (no
 * memory). */
char *control_answer(const struct control_op *ops, unsigned nops, void *ctx,
		     const char *line, size_t len);

/* The client's side: connect (-ENOENT, -ECONNREFUSED: no VM there), send one
 * request, wait for its answer up to `timeout_ms`. On an error answer, `why`
 * holds it and -EREMOTEIO is returned. *result is a new reference. */
int control_connect(const char *path, struct fail *why);
int control_call(int fd, const char *verb, json_t *args, json_t **result,
		 int timeout_ms, struct fail *why);

#endif
