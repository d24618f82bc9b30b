/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line a message, to stderr (or the fd given), never to the guest's
 * console: "uart0: write 1 byte to console: Broken pipe". Object, verb,
 * reason. Callable from any thread; a line is one write.
 */
#ifndef TINTYPE_LOG_H
#define TINTYPE_LOG_H

#include <stdatomic.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Messages above `level` are dropped. Call before threads are started. */
void log_setup(int fd, enum log_level level);

void log_msg(enum log_level level, const char *object, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(obj, ...) log_msg(LOG_ERROR, obj, __VA_ARGS__)
#define log_warn(obj, ...)  log_msg(LOG_WARN, obj, __VA_ARGS__)
#define log_info(obj, ...)  log_msg(LOG_INFO, obj, __VA_ARGS__)
#define log_debug(obj, ...) log_msg(LOG_DEBUG, obj, __VA_ARGS__)

/*
 * What a guest can trigger is counted always, and logged as LOG_INFO for the
 * first LOG_LIMIT_LINES times; the last of them says that it is the last. (Any
 * Linux pokes at ports that nobody claims: that is no warning.)
 */
#define LOG_LIMIT_LINES 8
struct log_limit {
	_Atomic uint64_t count;
};

void log_guest(struct log_limit *l, const char *object, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
