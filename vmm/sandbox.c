/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stages, each a handful of system calls: what a thread may do afterwards
 * is decided by tables made at build time.
 */
#include "sandbox.h"

#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox_filter.h"
#include "sandbox_policy.h"
#include "thread.h"
#include "util.h"

#ifdef TINTYPE_INSTRUMENTED
static const bool instrumented = true;
#else
static const bool instrumented = false;
#endif

/* --- stage 1 --- */

static int close_span(unsigned first, unsigned last)
{
	long top = sysconf(_SC_OPEN_MAX);

	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return 0;
	if (errno != ENOSYS)
		return -errno;
	/* Before Linux 5.9: one after the other, as far as any can be open. */
	for (unsigned fd = first; fd <= last && (long)fd < top; fd++)
		close((int)fd);
	return 0;
}

#define NONE UINT32_MAX

/* The lowest of them that is at least `from`. They are few enough to be looked
 * through for each. */
static unsigned next_kept(const int *keep, unsigned n, unsigned from)
{
	unsigned next = NONE;

	for (unsigned i = 0; i < n; i++)
		if (keep[i] >= 0 && (unsigned)keep[i] >= from)
			next = MIN(next, (unsigned)keep[i]);
	return next;
}

int sandbox_close_others(const int *keep, unsigned n)
{
	unsigned from = STDERR_FILENO + 1, fd;

	while ((fd = next_kept(keep, n, from)) != NONE) {
		int r = fd > from ? close_span(from, fd - 1) : 0;

		if (r)
			return r;
		from = fd + 1;
	}
	return close_span(from, UINT32_MAX);
}

/* --- stage 2 --- */

/*
 * Landlock's interface, from the kernel's Documentation/userspace-api/
 * landlock.rst; older headers lack the newer rights. Each step adds rights; a
 * kernel refuses those that it does not know, so its ABI decides how many.
 */
struct landlock_attr {
	uint64_t fs, net, scoped;
};

#define LANDLOCK_VERSION_FLAG 1u

static const struct {
	int abi;
	size_t size; /* of the attribute in this ABI */
	struct landlock_attr handled;
} landlock_steps[] = {
	{ 1, 8, { 0x1fff, 0, 0 } },  /* files, Linux 5.13 */
	{ 2, 8, { 0x3fff, 0, 0 } },  /* + REFER */
	{ 3, 8, { 0x7fff, 0, 0 } },  /* + TRUNCATE */
	{ 4, 16, { 0x7fff, 3, 0 } }, /* + TCP bind and connect, 6.7 */
	{ 5, 16, { 0xffff, 3, 0 } }, /* + IOCTL_DEV */
	{ 6, 24, { 0xffff, 3, 3 } }, /* + abstract sockets, signals, 6.12 */
};

/* 0 where there is none. */
static int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
			   LANDLOCK_VERSION_FLAG);

	return abi < 0 ? 0 : (int)abi;
}

/* The kernel's landlock_path_beneath_attr. */
struct landlock_beneath {
	uint64_t allowed;
	int32_t dir;
} __attribute__((packed));

#define LANDLOCK_BENEATH     1
#define LANDLOCK_REMOVE_FILE (1u << 5)

/* A ruleset that handles everything and allows nothing, but to remove files in
 * `dir`, unless that is -1. */
static int landlock_close(int dir)
{
	const struct landlock_beneath rule = { LANDLOCK_REMOVE_FILE, dir };
	_cleanup_close_ int fd = -1;
	int abi = landlock_abi();
	unsigned step = 0;

	if (abi == 0)
		return 0;
	while (step + 1 < ARRAY_SIZE(landlock_steps) &&
	       landlock_steps[step + 1].abi <= abi)
		step++;
	fd = (int)syscall(SYS_landlock_create_ruleset,
			  &landlock_steps[step].handled,
			  landlock_steps[step].size, 0);
	if (fd < 0)
		return -errno;
	if (dir >= 0 &&
	    syscall(SYS_landlock_add_rule, fd, LANDLOCK_BENEATH, &rule, 0))
		return -errno;
	return syscall(SYS_landlock_restrict_self, fd, 0) ? -errno : 0;
}

static int drop_capabilities(int dir)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct none[2] = { 0 };

	return syscall(SYS_capset, &head, none) ? -errno : 0;
}

static int no_core_dumps(int dir)
{
	struct rlimit none = { 0, 0 };

	return setrlimit(RLIMIT_CORE, &none) ? -errno : 0;
}

static int no_new_privileges(int dir)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

static int not_dumpable(int dir)
{
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? -errno : 0;
}

/* In this order: Landlock wants no_new_privs first. */
static const struct {
	const char *name;
	int (*run)(int dir);
	bool instrumented_too;
} harden_steps[] = {
	{ "no core dumps", no_core_dumps, true },
	{ "not dumpable", not_dumpable, false },
	{ "no new privileges", no_new_privileges, true },
	{ "no capabilities", drop_capabilities, true },
	{ "Landlock", landlock_close, false },
};

int sandbox_harden_removing(int dir, struct fail *why)
{
	for (unsigned i = 0; i < ARRAY_SIZE(harden_steps); i++) {
		int r;

		if (instrumented && !harden_steps[i].instrumented_too)
			continue;
		r = harden_steps[i].run(dir);
		if (r)
			return fail_set(why, EXIT_OWN_FAILURE, r, "sandbox",
					"see 'tintype doctor'",
					"step '%s' failed: %s",
					harden_steps[i].name, strerror(-r));
	}
	return 0;
}

int sandbox_harden(struct fail *why)
{
	return sandbox_harden_removing(-1, why);
}

/* --- stages 3 and 4 --- */

#define MAX_INSNS 512

static int install(const struct sandbox_filter *f)
{
	struct sock_filter insn[MAX_INSNS];
	struct sock_fprog prog = { .len = f->insns, .filter = insn };
	struct thread_id self = thread_learn();

	if (instrumented)
		return 0;
	assert(f->insns <= MAX_INSNS);
	memcpy(insn, f->insn, f->insns * sizeof(*insn));
	for (unsigned i = 0; i < f->pids; i++)
		insn[f->pid_at[i]].k = (uint32_t)self.process;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		return -errno;
	return 0;
}

int sandbox_vcpu(void)
{
	return install(&sandbox_filter_vcpu);
}

/* A thread's own arena would grow by mprotect, and a large block's own mapping
 * by mremap: all threads that allocate do it from one heap. */
static void use_one_heap(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);
}

int sandbox_writer(void)
{
	use_one_heap();
	return install(&sandbox_filter_writer);
}

int sandbox_io(void)
{
	use_one_heap();
	return install(&sandbox_filter_io);
}

int sandbox_broker(void)
{
	return install(&sandbox_filter_broker);
}

void sandbox_report(struct sandbox_report *r)
{
	r->filters = !instrumented;
	r->landlock_abi = instrumented ? 0 : landlock_abi();
}
