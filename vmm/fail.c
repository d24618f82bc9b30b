/* SPDX-License-Identifier: Apache-2.0 */
/* Failures as people read them: one record, filled where the reason is known.
 */
#include "fail.h"

#include <stdarg.h>
#include <stdio.h>

#include "utf8.h"

int fail_set(struct fail *f, enum exit_code code, int err, const char *object,
	     const char *hint, const char *fmt, ...)
{
	va_list ap;

	if (!f)
		return err;
	f->code = code;
	snprintf(f->object, sizeof(f->object), "%s", object);
	snprintf(f->hint, sizeof(f->hint), "%s", hint ? hint : "");
	va_start(ap, fmt);
	vsnprintf(f->message, sizeof(f->message), fmt, ap);
	va_end(ap);
	utf8_only(f->object);
	utf8_only(f->message);
	utf8_only(f->hint);
	return err;
}

void fail_about(struct fail *f, const char *fmt, ...)
{
	va_list ap;

	if (!f)
		return;
	va_start(ap, fmt);
	vsnprintf(f->object, sizeof(f->object), fmt, ap);
	va_end(ap);
	utf8_only(f->object);
}

const char *fail_code_name(enum exit_code code)
{
	switch (code) {
	case EXIT_OK:
		return "OK";
	case EXIT_FAILED:
		return "E_FAILED";
	case EXIT_USAGE:
		return "E_USAGE";
	case EXIT_NOT_FOUND:
		return "E_NOT_FOUND";
	case EXIT_CONFLICT:
		return "E_CONFLICT";
	case EXIT_WRONG_STATE:
		return "E_WRONG_STATE";
	case EXIT_INTEGRITY:
		return "E_INTEGRITY";
	case EXIT_INCOMPATIBLE:
		return "E_INCOMPATIBLE";
	case EXIT_NO_SPACE:
		return "E_NO_SPACE";
	case EXIT_CANCELLED:
		return "E_CANCELLED";
	case EXIT_DENIED:
		return "E_DENIED";
	case EXIT_OWN_FAILURE:
		return "E_OWN_FAILURE";
	case EXIT_GUEST_CRASH:
		return "E_GUEST_CRASH";
	}
	return "E_FAILED";
}
