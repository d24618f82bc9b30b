/* SPDX-License-Identifier: Apache-2.0 */
/* Writes each log line whole, so that lines of several threads never mix. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "fdio.h"
#include "util.h"

static int log_fd = STDERR_FILENO;
static enum log_level log_level_max = LOG_WARN;

void log_setup(int fd, enum log_level level)
{
	log_fd = fd;
	log_level_max = level;
}

__attribute__((format(printf, 2, 0))) static void log_line(const char *object,
							   const char *fmt,
							   va_list ap,
							   const char *tail)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "tintype: %s: ", object);
	size_t len = MIN((size_t)MAX(n, 0), sizeof(line) - 1);

	n = vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	len = MIN(len + (size_t)MAX(n, 0), sizeof(line) - 1);
	n = snprintf(line + len, sizeof(line) - len, "%s\n", tail);
	len = MIN(len + (size_t)MAX(n, 0), sizeof(line) - 1);
	line[len - 1] = '\n';
	/* Nobody is left to be told when the log itself cannot be written. */
	if (fd_write(log_fd, line, len) < 0)
		return;
}

void log_msg(enum log_level level, const char *object, const char *fmt, ...)
{
	va_list ap;

	if (level > log_level_max)
		return;
	va_start(ap, fmt);
	log_line(object, fmt, ap, "");
	va_end(ap);
}

void log_guest(struct log_limit *l, const char *object, const char *fmt, ...)
{
	uint64_t nth = atomic_fetch_add(&l->count, 1) + 1;
	va_list ap;

	if (nth > LOG_LIMIT_LINES || log_level_max < LOG_INFO)
		return;
	va_start(ap, fmt);
	log_line(object, fmt, ap,
		 nth == LOG_LIMIT_LINES ? " (further ones are only counted)"
					: "");
	va_end(ap);
}
