/* SPDX-License-Identifier: Apache-2.0 */
/* See fault.h. */
#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

struct fault fault;

static uint64_t injected;

static bool is_due(void)
{
	uint64_t n = fault.seen++;

	if (!fault.on || (fault.for_good ? n < fault.nth : n != fault.nth))
		return false;
	injected += !fault.hit;
	fault.hit = true;
	return true;
}

static struct io_fate on_call(const struct io_call *c)
{
	struct io_fate none = { 0 };

	if (fault.memory || c->kind != fault.kind || !is_due())
		return none;
	return fault.fate;
}

static bool on_alloc(void)
{
	return fault.memory && is_due();
}

void arm(bool on)
{
	io_hook = on ? on_call : NULL;
	alloc_hook = on ? on_alloc : NULL;
}

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	cr_assert_not_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* ---- what fails ---- */

#define FAULT(name, kind, ...)                                                 \
	{                                                                      \
		name, kind, { __VA_ARGS__ }, false, false, false               \
	}
#define HARMLESS(name, kind, ...)                                              \
	{                                                                      \
		name, kind, { __VA_ARGS__ }, false, false, true                \
	}

static const struct kind_of_fault faults[] = {
	FAULT("read EIO", IO_READ, .err = EIO),
	HARMLESS("read EINTR", IO_READ, .err = EINTR),
	HARMLESS("read short", IO_READ, .at_most = 100),
	FAULT("write EIO", IO_WRITE, .err = EIO),
	FAULT("write ENOSPC", IO_WRITE, .err = ENOSPC),
	FAULT("write ENOSPC in it", IO_WRITE, ENOSPC, 1000, true),
	FAULT("write EIO, and made", IO_WRITE, .err = EIO, .effect = true),
	HARMLESS("write EINTR", IO_WRITE, .err = EINTR),
	HARMLESS("write short", IO_WRITE, .at_most = 100),
	FAULT("sync EIO", IO_SYNC, .err = EIO),
	FAULT("truncate ENOSPC", IO_TRUNCATE, .err = ENOSPC),
	HARMLESS("punch EOPNOTSUPP", IO_PUNCH, .err = EOPNOTSUPP),
	{ .name = "no memory once", .memory = true },
	{ .name = "no memory from then on", .memory = true, .for_good = true },
};

const struct kind_of_fault *now;

void each_fault(void (*fn)(void))
{
	unsigned fds = open_fds();

	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
		now = &faults[i];
		memset(&fault, 0, sizeof(fault));
		do {
			fault.kind = now->kind;
			fault.fate = now->fate;
			fault.memory = now->memory;
			fault.for_good = now->for_good;
			fault.seen = 0;
			fault.hit = false;
			fault.on = true;
			memset(&why, 0, sizeof(why));
			fn();
			arm(false);
			cr_assert_eq(open_fds(), fds, say("fds"));
			fault.nth++;
		} while (fault.hit);
	}
	test_say("faults: %lu injected", injected);
}

bool failed(int err, const char *what)
{
	if (!err)
		return false;
	cr_assert(fault.hit, say(what));
	cr_assert(!now->harmless, say(what));
	cr_assert_lt(err, 0, say(what));
	cr_assert(why.object[0] && why.message[0] && why.code, say(what));
	return true;
}

bool sync_failed(void)
{
	return fault.hit && !now->memory && now->kind == IO_SYNC;
}
