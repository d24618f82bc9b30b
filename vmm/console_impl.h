/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the console share; for console*.c only.
 *
 * Owner: the I/O thread, but for what `lock` guards.
 */
#ifndef TINTYPE_CONSOLE_IMPL_H
#define TINTYPE_CONSOLE_IMPL_H

#include <sys/types.h>

#include "console.h"
#include "listener.h"
#include "log.h"
#include "ringlog.h"
#include "terminal.h"
#include "util.h"

/* The lossless sink. */
struct console_output {
	struct loop_source source; /* fd -1: there is none, or it failed */
	bool pollable;		   /* false: a regular file or the like */
	size_t piece;		   /* bytes that one write may have */
	bool ask;		   /* poll before each write: it may block */
	bool direct;		   /* console_put may write to it */
};

struct console_input {
	struct loop_source source; /* fd -1: none, or it ended */
	bool pollable, terminal;
	struct terminal_escape escape;
};

struct console_client {
	struct loop_source source; /* fd -1: free */
	struct console *con;
	uint64_t at;
	bool ended; /* it will send nothing more */
	bool gone;  /* it hung up, with input still to be read */
};

struct console_listener {
	struct listener listener;
	struct console *con;
};

struct console {
	struct loop *loop;
	struct console_config cfg;
	struct console_guest *guest;
	struct loop_task drain;	 /* output */
	struct loop_timer lazy;	 /* drains what the log alone waits for */
	struct loop_task refill; /* input */
	struct console_output out;
	struct console_input in;
	struct ringlog log;
	struct log_limit log_failed, clients_refused;
	atomic_bool out_told;
	struct console_listener listener[CONSOLE_MAX_LISTEN];
	struct console_client client[CONSOLE_MAX_CLIENTS];

	uint8_t input[CONSOLE_INPUT_BYTES];
	size_t input_first, input_count;
	atomic_bool input_waits; /* the guest has not taken all */

	pthread_mutex_t lock;
	uint8_t ring[CONSOLE_RING_BYTES];
	uint64_t head, tail, logged;
	bool refused; /* the device waits for `writable` */
	bool posted;  /* drain will come: now or when `lazy` expires */
	unsigned nclients;
	struct console_counters count;
};

/* Adds to one of the counters. */
void console_count(struct console *c, uint64_t *what, uint64_t n);

/* console_out.c. 0 or -errno; wait for out_fd as console.h says; whether a
 * write can be tried now (also true when it would fail). */
int console_out_init(struct console *c, int fd, int log_fd);
void console_out_flush(struct console *c);
bool console_writable(int fd, int timeout_ms);

static inline size_t console_stretch(uint64_t at, uint64_t end)
{
	return MIN(end - at, CONSOLE_RING_BYTES - at % CONSOLE_RING_BYTES);
}

/* console_in.c: how much fits; add (what does not fit is dropped and counted);
 * offer it to the guest; listen to the sources whose input would fit. */
int console_in_init(struct console *c, int fd, bool terminal);
size_t console_in_room(const struct console *c);
void console_in_add(struct console *c, const uint8_t *data, size_t len);
void console_in_deliver(struct console *c);
void console_in_ask(struct console *c);

/* console_client.c: console_client_events with the lock held. */
int console_listen(struct console *c, struct console_listener *l, int fd);
void console_clients_serve(struct console *c); /* new output to all */
uint32_t console_client_events(const struct console *c,
			       const struct console_client *k);
void console_client_close(struct console *c, struct console_client *k);

#endif
