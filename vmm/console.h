/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of the serial console: what the guest prints goes to every
 * sink, what the sinks send goes to the guest.
 *
 * Sinks: the terminal (raw mode, escape "~." at the start of a line), stdout
 * or a file (lossless: while it is behind, the guest's transmitter waits), the
 * VM's bounded log (which may be some milliseconds behind), and clients of
 * listening UNIX sockets (a client that is behind loses bytes, which are
 * counted; it never holds up the guest).
 *
 * Nothing here grows without bound: one ring of CONSOLE_RING_BYTES from the
 * guest, one of CONSOLE_INPUT_BYTES to it, CONSOLE_MAX_CLIENTS clients. All of
 * it is allocated by console_create.
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
	/* Takes what fits now, from the front; returns how many bytes. When
	 * that was not all, the device calls console_pull later. */
	size_t (*input)(struct console_guest *g, const uint8_t *data,
			size_t len);
	/* After a console_put that was refused: there is room again. */
	void (*writable)(struct console_guest *g);
};

struct console_config {
	int in_fd;     /* the terminal or a pipe; -1: none. Not owned */
	int out_fd;    /* lossless: stdout or a file; -1: none. Not owned;
			* another number than in_fd */
	bool terminal; /* in_fd is a terminal: raw mode, escape */
	int log_fd;    /* read/write file, kept within CONSOLE_LOG_BYTES; -1 */
	int listen_fd[CONSOLE_MAX_LISTEN]; /* UNIX stream sockets, made
					    * non-blocking here; -1: none */
	/* The user typed the escape. May be NULL. */
	void (*escape)(void *ctx);
	void *ctx;
};

struct console_counters {
	uint64_t out_bytes, in_bytes;
	uint64_t dropped_clients; /* bytes that slow clients lost */
	uint64_t dropped_input;	  /* bytes that the guest never took */
	uint64_t dropped_output;  /* bytes that a failed or stuck out_fd lost */
	uint64_t failed_writes;	  /* log or out_fd; the guest goes on */
	uint64_t refused_clients; /* wrong user, or too many */
};

/*
 * A copy of the terminal or pipe `fd` that is non-blocking without making
 * those non-blocking who share it with us, for in_fd (O_RDONLY) and out_fd
 * (O_WRONLY); -errno when it cannot be had (a socket, a file of another user):
 * then use `fd` itself, which the console writes in pieces that poll(2)
 * promises not to block. Opens a file: before the sandbox is closed.
 */
int console_reopen(int fd, int access);

/*
 * 0 or -errno. Ignores SIGPIPE and SIGXFSZ for the process. Raw mode begins
 * here and is undone by console_destroy; a fatal signal's handler calls
 * terminal_restore (terminal.h).
 *
 * console_destroy first writes what the guest printed: it waits for the
 * lossless sink as long as that takes something every CONSOLE_FLUSH_MS.
 */
#define CONSOLE_FLUSH_MS 3000
int console_create(struct console **out, struct loop *l,
		   const struct console_config *c);
void console_destroy(struct console *c);

/* Before the device's first console_put. */
void console_connect(struct console *c, struct console_guest *g);

/* One byte from the guest: true when taken; false when a lossless sink is
 * behind and the ring is full: `writable` will be called. */
bool console_put(struct console *c, uint8_t byte);

/* All that was put is in the log when it returns. I/O thread. */
void console_sync(struct console *c);

/* The device has room for input again. */
void console_pull(struct console *c);

void console_counters(struct console *c, struct console_counters *out);

#endif
