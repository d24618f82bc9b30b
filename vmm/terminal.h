/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's terminal: raw mode that is always undone, and the escape "~." at
 * the start of a line, as ssh and others have it.
 *
 * A process has one terminal, so the saved settings are this file's own: a
 * signal handler must find them without being handed anything.
 *
 * Owner: terminal_enter on one thread; terminal_restore from any, and from a
 * signal handler, at any time, twice too. The escape parser is plain data.
 */
#ifndef TINTYPE_TERMINAL_H
#define TINTYPE_TERMINAL_H

#include <stddef.h>
#include <stdint.h>

/*
 * Saves the settings of the terminal `fd` and makes it raw: every key goes
 * through as bytes, none raises a signal. `fd` stays the caller's and stays
 * open until terminal_restore. 0; -ENOTTY when it is no terminal; -EBUSY when
 * one is raw already; or -errno. From then on the calling thread has SIGTTOU
 * blocked, until the next time it comes here: from the background, that stops.
 */
int terminal_enter(int fd);

/*
 * Puts the saved settings back; without terminal_enter before, does nothing.
 * Async-signal-safe, keeps errno, one system call. Works from a background
 * process group too, where SIGTTOU is blocked: in the thread that entered, and
 * in a handler that has it in its mask.
 */
void terminal_restore(void);

enum terminal_action {
	TERMINAL_NONE,
	TERMINAL_DETACH, /* ~. */
	TERMINAL_HELP,	 /* ~? : print TERMINAL_HELP_TEXT(what ~. does) */
};

/* `dot` says what "~." does here: a string literal. */
#define TERMINAL_HELP_TEXT(dot)                                                \
	"\r\nafter Enter:\r\n~.  " dot "\r\n~~  type one ~\r\n~?  this "       \
	"help\r\n"

/* Where the user's typing is: all zero is the start of a line. */
struct terminal_escape {
	uint8_t in_line; /* something was typed since the last Enter */
	uint8_t held;	 /* a ~ that opened the line waits for what follows */
};

/*
 * Takes one typed byte. Up to 2 bytes to send on are put into `out`, `*n` says
 * how many. An escape that means nothing is sent as it was typed.
 */
enum terminal_action terminal_type(struct terminal_escape *e, uint8_t byte,
				   uint8_t out[2], size_t *n);

#endif
