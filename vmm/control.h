/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket of a VM: JSON Lines over a UNIX stream socket (mode 0600;
 * the peer's uid by SO_PEERCRED must be the VM's own or root).
 *
 *   -> {"id":1,"verb":"pause","args":{}}
 *   <- {"id":1,"ok":true,"result":{...}}
 *   <-
 * {"id":1,"ok":false,"error":{"code":..,"message":..,"object":..,"hint":..}}
 *
 * `id` is a number or a string, comes back as it was, and may be left out, as
 * `args` may. A request is at most CONTROL_MAX_BYTES long with its newline and
 * CONTROL_MAX_DEPTH deep. What is no request at all (too long, too deep, no
 * JSON, cut off by the end of the connection) gets one error line and the
 * connection is closed; a request that cannot be done gets its error and the
 * connection goes on.
 *
 * At most CONTROL_MAX_CLIENTS at once; one more is told so and closed. A
 * client's next request is read when its last answer has left, so that a
 * client which does not read holds up nobody but itself and one answer of
 * memory. A client that half-closes gets its answers first; the lines of one
 * that has gone are obeyed too. A connection lives as long as the VM does: its
 * end tells a waiting client that the VM ended.
 */
#ifndef TINTYPE_CONTROL_H
#define TINTYPE_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "fail.h"
#include "loop.h"

#define CONTROL_MAX_BYTES   65536
#define CONTROL_MAX_DEPTH   16
#define CONTROL_MAX_CLIENTS 16

/* ---- the VM's side. Owner: the I/O thread ---- */

/* One connection, as long as it lives. */
struct control_client;
/* One that is answered later: by control_reply or control_refuse, once. Until
 * then its connection is not read. It may outlive its connection. */
struct control_request;

struct control_op {
	const char *verb;
	/* `args` is an object (empty when left out). On success may set
	 * *result to a new reference. 0, or -errno with `why` filled. It is
	 * short: nothing else of the loop runs meanwhile. It may end the loop,
	 * but not destroy the control. */
	int (*run)(void *ctx, json_t *args, json_t **result, struct fail *why);
	/* Instead of run, for what takes longer: 0 keeps `r`, which is answered
	 * by control_reply or control_refuse, also from within; else -errno
	 * with `why`, and `r` is answered by that. */
	int (*later)(void *ctx, struct control_request *r, json_t *args,
		     struct fail *why);
};

/* The answer; takes `result` (NULL: {}). The request is gone then. When its
 * connection has ended meanwhile it does nothing else. */
void control_reply(struct control_request *r, json_t *result);
void control_refuse(struct control_request *r, const struct fail *why);

/*
 * Answers {"send":n} and keeps the request, for its real answer: the other side
 * now sends n fds. The connection is not read by the loop; returns its fd, from
 * which fd_receive (writer.h) takes them, on the writer. The real answer must
 * not be given before that has returned; a refusal closes the connection.
 * -EPIPE: that has ended; or -ENOMEM.
 */
int control_ask_fds(struct control_request *r, unsigned n);

/* Whose it is; NULL when that has ended. */
struct control_client *control_client_of(struct control_request *r);
/*
 * Calls `ended` once, on the I/O thread, when that connection ends (also by a
 * half-close), then forgets it; not by control_destroy. Lines that came before
 * are obeyed first; but while fds are asked for, it is told at once. It may
 * answer requests, that connection's too. NULL: no more.
 */
void control_watch(struct control_client *k, void (*ended)(void *ctx),
		   void *ctx);

struct control;

/* Takes listen_fd over, also when it fails. Before the sandbox is closed. The
 * process must ignore SIGPIPE and have seeded jansson (json_object_seed), which
 * else opens a file at its first object. 0 or -errno. */
int control_create(struct control **out, struct loop *l, int listen_fd,
		   const struct control_op *ops, unsigned nops, void *ctx);

/* Closes all connections, when no fd_receive reads from one any more; an answer
 * that has not left by then is lost. Requests that were kept may still be
 * answered, to nobody. NULL does no harm. */
void control_destroy(struct control *c);

/* Parses and answers one request line (its newline may be there or not),
 * without the socket: what the fuzz target drives. Returns a new string that
 * ends in a newline, or NULL (no memory). *broken (may be NULL): it was no
 * request at all. What is answered later is refused. */
char *control_answer(const struct control_op *ops, unsigned nops, void *ctx,
		     const char *line, size_t len, bool *broken);

/* ---- the client's side. Any thread ---- */

/* The fd; -ENOENT, -ECONNREFUSED: no VM there; or another -errno; always with
 * `why`. A path of any length. Waits 5 s at most for a VM that does not take
 * connections. */
int control_connect(const char *path, struct fail *why);

/* Sends one request and waits for its answer up to `timeout_ms` (-1: for
 * ever). `args` (NULL: none) stays the caller's, *result is a new reference
 * (`result` may be NULL). 0; -EREMOTEIO with the VM's own error in `why`;
 * -ETIMEDOUT; -EPIPE: the VM ended meanwhile; or another -errno, always with
 * `why`. After any error but -EREMOTEIO the connection is good for nothing. */
int control_call(int fd, const char *verb, json_t *args, json_t **result,
		 int timeout_ms, struct fail *why);

/* The same for a request that takes files: when the VM asks for them, `nfds` of
 * them are sent; they stay the caller's. */
int control_call_fds(int fd, const char *verb, json_t *args, const int *fds,
		     unsigned nfds, json_t **result, int timeout_ms,
		     struct fail *why);

/* Waits up to `timeout_ms` (-1: for ever) for the VM to end. 0, -ETIMEDOUT or
 * another -errno. */
int control_wait_end(int fd, int timeout_ms);

#endif
