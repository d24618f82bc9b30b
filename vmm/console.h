/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of the serial console: what the guest prints goes to every
 * sink, what the sinks send goes to the guest.
 *
 * Sinks: the terminal (raw mode, escape "~." at the start of a line), stdout
 * or a file (lossless: while it is behind, the guest's transmitter waits), the
 * VM's bounded log, and clients of listening UNIX sockets (a client that is
 * behind loses bytes, which are counted; it never holds up the guest).
 *
 * Nothing here grows without bound: one ring of CONSOLE_RING_BYTES from the
 * guest, one of CONSOLE_INPUT_BYTES to it, CONSOLE_MAX_CLIENTS clients.
 *
 * Owner: the I/O thread; console_put and console_pull are called by the device
 * on any thread, under its lock.
 */
#ifndef TINTYPE_CONSOLE_H
#define TINTYPE_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

#define CONSOLE_RING_BYTES  65536
#define CONSOLE_INPUT_BYTES 4096
#define CONSOLE_MAX_CLIENTS 8
#define CONSOLE_MAX_LISTEN  2
#define CONSOLE_LOG_BYTES   (1 << 20) /* the log keeps at least half of it */

struct console;

/* The device's side. Called on the I/O thread, with no console lock held. */
struct console_guest {
	/* How many bytes of input it would take now. */
	size_t (*room)(struct console_guest *g);
	/* At most `room` bytes. */
	void (*input)(struct console_guest *g, const uint8_t *data, size_t len);
	/* After a console_put that was refused: there is room again. */
	void (*writable)(struct console_guest *g);
};

struct console_config {
	int in_fd;     /* the terminal or a pipe; -1: none. Not owned */
	int out_fd;    /* lossless: stdout or a file; -1: none. Not owned */
	bool terminal; /* in_fd and out_fd are a terminal: raw mode, escape */
	int log_fd;    /* read/write file, kept within CONSOLE_LOG_BYTES; -1 */
	int listen_fd[CONSOLE_MAX_LISTEN]; /* UNIX stream sockets; -1: none */
	/* The user typed the escape. */
	void (*escape)(void *ctx);
	void *ctx;
};

struct console_counters {
	uint64_t out_bytes, in_bytes;
	uint64_t dropped_clients; /* bytes that slow clients lost */
	uint64_t dropped_input;   /* bytes that the guest never took */
	uint64_t failed_writes;   /* log or file; the guest goes on */
};

/* 0 or -errno. Raw mode begins here and is undone by console_destroy, and by
 * console_restore_terminal, which is async-signal-safe and may be called at
 * any time, twice too. */
int console_create(struct console **out, struct loop *l,
		   const struct console_config *c);
void console_destroy(struct console *c); /* flushes what it can, bounded */
void console_restore_terminal(void);

void console_connect(struct console *c, struct console_guest *g);

/* One byte from the guest: true when taken; false when a lossless sink is
 * behind and the ring is full: `writable` will be called. */
bool console_put(struct console *c, uint8_t byte);

/* The device has room for input again. */
void console_pull(struct console *c);

void console_counters(struct console *c, struct console_counters *out);

#endif
