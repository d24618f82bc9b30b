/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `doctor`: what `run` needs of this host and whether it is there, each with
 * its remedy. Fails when `run` could not work.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "cli.h"
#include "disk_io.h"
#include "kvm.h"
#include "sandbox.h"
#include "util.h"

enum verdict { GOOD, NOTE, BAD };

static const char *const verdict_names[] = {
	[GOOD] = "ok",
	[NOTE] = "note",
	[BAD] = "fail",
};

struct doctor {
	json_t *array; /* --json */
	bool bad;
	int kvm; /* -1: could not be opened */
};

__attribute__((format(printf, 5, 6))) static void find(struct doctor *d,
						       enum verdict verdict,
						       const char *what,
						       const char *remedy,
						       const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->bad |= verdict == BAD;
	if (verdict == GOOD)
		remedy = NULL;
	if (d->array) {
		json_array_append_new(
		    d->array, json_pack("{s:s, s:s, s:s, s:s*}", "check", what,
					"verdict", verdict_names[verdict],
					"text", text, "remedy", remedy));
		return;
	}
	printf("%-5s %-16s %s\n", verdict_names[verdict], what, text);
	if (remedy)
		printf("%-22s -> %s\n", "", remedy);
}

/* The youngest call that a VM cannot do without: the loop sleeps in it. */
static void check_kernel(struct doctor *d)
{
	struct epoll_event ev;
	bool old = epoll_pwait2(-1, &ev, 1, NULL, NULL) < 0 && errno == ENOSYS;
	struct utsname u;

	if (uname(&u) == 0)
		find(d, old ? BAD : GOOD, "kernel", "boot Linux 5.11 or newer",
		     "%s %s", u.sysname, u.release);
}

/* ---- KVM ---- */

static void check_kvm(struct doctor *d)
{
	struct fail why = { .code = EXIT_OK };

	d->kvm = kvm_open(&why);
	if (d->kvm < 0)
		find(d, BAD, "/dev/kvm", why.hint, "%s", why.message);
	else
		find(d, GOOD, "/dev/kvm", NULL, "API version %d",
		     KVM_API_VERSION);
}

/* What of KVM is used, and for what. */
static const struct {
	int cap;
	const char *name, *use;
	enum verdict without;
} caps[] = {
	{ KVM_CAP_USER_MEMORY, "USER_MEMORY", "guest RAM", BAD },
	{ KVM_CAP_IRQCHIP, "IRQCHIP", "interrupt controllers", BAD },
	{ KVM_CAP_EXT_CPUID, "EXT_CPUID", "the processor's features", BAD },
	{ KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT", "stopping a vCPU exactly",
	  BAD },
	{ KVM_CAP_MP_STATE, "MP_STATE", "reset of several vCPUs", BAD },
	{ KVM_CAP_XSAVE, "XSAVE", "the vector registers", BAD },
	{ KVM_CAP_XCRS, "XCRS", "the vector registers", BAD },
	{ KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS", "pending interrupts", BAD },
	{ KVM_CAP_DEBUGREGS, "DEBUGREGS", "the debug registers", BAD },
	{ KVM_CAP_TSC_DEADLINE_TIMER, "TSC_DEADLINE", "exact timers", NOTE },
	{ KVM_CAP_X2APIC_API, "X2APIC_API", "more than 255 vCPUs", NOTE },
	{ KVM_CAP_XSAVE2, "XSAVE2", "guests that use AMX", NOTE },
};

static void check_caps(struct doctor *d)
{
	unsigned missing = 0;

	if (d->kvm < 0)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(caps); i++) {
		if (kvm_check_extension(d->kvm, caps[i].cap) > 0)
			continue;
		missing++;
		find(d, caps[i].without, "KVM_CAP", "use a newer kernel",
		     "%s is missing: %s", caps[i].name, caps[i].use);
	}
	if (!missing)
		find(d, GOOD, "KVM_CAP", NULL, "all %zu that are used",
		     ARRAY_SIZE(caps));
	find(d, GOOD, "vCPUs", NULL, "up to %d a VM",
	     kvm_check_extension(d->kvm, KVM_CAP_MAX_VCPUS));
}

/* Which module serves /dev/kvm. A software one emulates what the processor
 * cannot run unprivileged. */
static void check_back_end(struct doctor *d)
{
	const char *name = kvm_back_end();

	if (d->kvm < 0)
		return;
	if (!name)
		find(d, NOTE, "back end", NULL,
		     "no module that we know: built in, or another");
	else if (!strcmp(name, KVM_PVM))
		find(d, NOTE, "back end",
		     "use the demo guest here; Linux wants kvm-intel or "
		     "kvm-amd",
		     KVM_PVM
		     ": software; stock Linux kernels do not boot on it");
	else
		find(d, GOOD, "back end", NULL, "%s: hardware", name);
}

/* ---- the host ---- */

static void check_memory(struct doctor *d)
{
	char total[CLI_SIZE_TEXT], avail[CLI_SIZE_TEXT];
	struct sysinfo s;

	if (sysinfo(&s) < 0)
		return;
	cli_size_text(total, (uint64_t)s.totalram * s.mem_unit);
	cli_size_text(avail, (uint64_t)s.freeram * s.mem_unit);
	find(d,
	     (uint64_t)s.totalram * s.mem_unit < CONFIG_DEFAULT_MEMORY ? NOTE
								       : GOOD,
	     "memory", "give VMs less by --memory", "%s, %s free", total,
	     avail);
}

static void check_home(struct doctor *d)
{
	struct fail why = { .code = EXIT_OK };
	_cleanup_close_ int vms = home_open(true, &why);
	char path[4096];

	if (vms < 0)
		find(d, BAD, "home", why.hint, "%s: %s", why.object,
		     why.message);
	else if (home_path(path, sizeof(path), &why) == 0)
		find(d, faccessat(vms, ".", W_OK, AT_EACCESS) ? BAD : GOOD,
		     "home", "make it writable, or set TINTYPE_HOME", "%s",
		     path);
}

static void check_proc(struct doctor *d)
{
	if (access("/proc/self/fd", F_OK) == 0)
		find(d, GOOD, "/proc", NULL, "mounted");
	else
		find(d, BAD, "/proc", "mount -t proc proc /proc",
		     "missing: the VM's sockets cannot be made");
}

#define FILES_WANTED 64

static void check_limits(struct doctor *d)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0)
		/* `run` takes what it may have. */
		find(d, l.rlim_max < FILES_WANTED ? BAD : GOOD, "open files",
		     "raise it with 'ulimit -n 1024'", "limit %llu",
		     (unsigned long long)l.rlim_max);
	if (getrlimit(RLIMIT_AS, &l) == 0 && l.rlim_cur != RLIM_INFINITY)
		find(d,
		     l.rlim_cur < CONFIG_DEFAULT_MEMORY + MIB(64) ? BAD : NOTE,
		     "address space", "lift it with 'ulimit -v unlimited'",
		     "limited to %llu bytes: guest RAM counts against it",
		     (unsigned long long)l.rlim_cur);
}

static void check_sandbox(struct doctor *d)
{
	struct sandbox_report r;

	sandbox_report(&r);
	if (r.filters)
		find(d, GOOD, "seccomp", NULL, "each thread has its filter");
	else
		find(d, NOTE, "seccomp", "use a release build",
		     "this build is instrumented: threads are not confined");
	if (r.landlock_abi > 0)
		find(d, GOOD, "Landlock", NULL, "ABI %d", r.landlock_abi);
	else
		find(d, NOTE, "Landlock",
		     "boot with lsm=landlock,... on Linux 5.13 or newer",
		     "missing: the filters alone keep a VM from files");
}

static void check_io_uring(struct doctor *d)
{
	int err = disk_io_probe();

	if (err)
		find(d, NOTE, "io_uring",
		     err == -ENOSYS ? "use Linux 5.10 or newer"
				    : "sysctl kernel.io_uring_disabled=0",
		     "%s: a slow disk holds up its VM's control",
		     strerror(-err));
	else
		find(d, GOOD, "io_uring", NULL,
		     "restricted to a disk's four operations");
}

/* The word in brackets is the setting. */
static void check_huge_pages(struct doctor *d)
{
	_cleanup_close_ int fd =
	    open("/sys/kernel/mm/transparent_hugepage/enabled",
		 O_RDONLY | O_CLOEXEC);
	char text[128] = "";
	char *open_at, *close_at;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return;
	open_at = strchr(text, '[');
	close_at = open_at ? strchr(open_at, ']') : NULL;
	if (!close_at)
		return;
	*close_at = '\0';
	find(d, strcmp(open_at + 1, "never") ? GOOD : NOTE, "huge pages",
	     "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled", "%s",
	     open_at + 1);
}

static void (*const checks[])(struct doctor *d) = {
	check_kernel,  check_kvm,      check_caps,	 check_back_end,
	check_memory,  check_home,     check_proc,	 check_limits,
	check_sandbox, check_io_uring, check_huge_pages,
};

int cli_doctor(const struct options *o, struct fail *why)
{
	struct doctor d = { .kvm = -1 };
	int code;

	if (options_has(o, "json"))
		d.array = json_array();
	for (unsigned i = 0; i < ARRAY_SIZE(checks); i++)
		checks[i](&d);
	if (d.kvm >= 0)
		close(d.kvm);
	code = d.array ? cli_print_json(d.array, why) : cli_flush(EXIT_OK, why);
	return code ? code : d.bad ? EXIT_FAILED : EXIT_OK;
}
