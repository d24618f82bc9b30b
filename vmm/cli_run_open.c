/* SPDX-License-Identifier: Apache-2.0 */
/* Everything the VM will ever have open, each with its own clear failure. */
#include "cli_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "kvm.h"
#include "log.h"
#include "netfd.h"
#include "util.h"
#include "vsock_broker.h"

static enum exit_code code_of(int err)
{
	switch (-err) {
	case ENOENT:
	case ENOTDIR:
		return EXIT_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EROFS:
		return EXIT_DENIED;
	case EEXIST:
	case EADDRINUSE:
		return EXIT_CONFLICT;
	case ENOSPC:
	case EDQUOT:
		return EXIT_NO_SPACE;
	default:
		return EXIT_FAILED;
	}
}

int run_file_error(int err, const char *what, const char *path,
		   const char *hint, struct fail *why)
{
	char object[sizeof(why->object)];

	snprintf(object, sizeof(object), "%s %s", what, path);
	return fail_set(why, code_of(err), err, object, hint, "%s",
			strerror(-err));
}

/* A file the guest boots from: read only, and really a file. O_NONBLOCK, so
 * that a named pipe cannot hold us up. */
int run_open_input(const char *what, const char *path, struct fail *why)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char object[sizeof(why->object)];
	struct stat st;

	if (fd < 0)
		return run_file_error(-errno, what, path, NULL, why);
	if (fstat(fd, &st) < 0)
		return run_file_error(-errno, what, path, NULL, why);
	if (!S_ISREG(st.st_mode)) {
		snprintf(object, sizeof(object), "%s %s", what, path);
		return fail_set(why, EXIT_USAGE, -EINVAL, object,
				"give a regular file", "not a file");
	}
	return steal_fd(&fd);
}

static int open_images(const struct vm_config *c, struct vm_files *f,
		       struct fail *why)
{
	if (c->kernel) {
		f->kernel = run_open_input("kernel", c->kernel, why);
		if (f->kernel < 0)
			return f->kernel;
	}
	if (c->initrd) {
		f->initrd = run_open_input("initrd", c->initrd, why);
		if (f->initrd < 0)
			return f->initrd;
	}
	return 0;
}

/* Before anything of a VM of that name is touched. */
int run_check_images(const struct vm_config *c, struct fail *why)
{
	struct vm_files f = RUN_NO_FILES;
	int err = open_images(c, &f, why);

	cleanup_close(&f.kernel);
	cleanup_close(&f.initrd);
	return err ? err : disk_check_all(c, why);
}

/* It would be silent for ever, and nobody would know why. */
static void warn_of_pvm(const struct vm_config *c, int kernel)
{
	const char *back_end = kernel >= 0 ? kvm_back_end() : NULL;
	char magic[4];

	/* "HdrS" at 0x202 is a bzImage (Documentation/x86/boot.rst). */
	if (back_end && !strcmp(back_end, KVM_PVM) &&
	    pread(kernel, magic, sizeof(magic), 0x202) == sizeof(magic) &&
	    !memcmp(magic, "HdrS", sizeof(magic)))
		log_warn(c->kernel,
			 "stock Linux kernels do not boot on this "
			 "host's " KVM_PVM ": 'tintype doctor' says more");
}

/* RAM is reserved, not taken, so more of it than the host has would only fail
 * when the guest touches it, by the host's killer. */
int run_check_memory(const struct vm_config *c, struct fail *why)
{
	char object[64], hint[96], asked[CLI_SIZE_TEXT], there[CLI_SIZE_TEXT];
	struct sysinfo s;
	uint64_t bytes;

	if (sysinfo(&s) < 0)
		return fail_set(why, EXIT_FAILED, -errno, "memory", NULL, "%s",
				strerror(errno));
	bytes = ((uint64_t)s.totalram + s.totalswap) * s.mem_unit;
	if (c->memory_bytes <= bytes)
		return 0;
	cli_size_text(asked, c->memory_bytes);
	cli_size_text(there, bytes);
	snprintf(object, sizeof(object), "run: --memory %s", asked);
	snprintf(hint, sizeof(hint), "use at most %s", there);
	return fail_set(why, EXIT_NO_SPACE, -ENOMEM, object, hint,
			"more than this host has (RAM and swap)");
}

static int socket_error(int err, const char *path, struct fail *why)
{
	const char *hint = NULL;

	if (err == -EEXIST)
		hint = "remove it, or give another path";
	else if (err == -EADDRINUSE)
		hint = "give another path: a program listens there";
	return run_file_error(err, "socket", path, hint, why);
}

/* O_NONBLOCK, so that a named pipe that nobody reads cannot hold us up. */
static int open_serial_file(const struct vm_config *c, struct vm_files *f,
			    struct fail *why)
{
	f->out = open(c->serial_path,
		      O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY |
			  O_NONBLOCK,
		      0600);
	if (f->out >= 0)
		return 0;
	return run_file_error(-errno, "serial", c->serial_path,
			      errno == ENXIO ? "if it is a named pipe, let a "
					       "program read it first"
					     : NULL,
			      why);
}

static int open_serial(const struct vm_config *c, struct vm_files *f,
		       struct fail *why)
{
	switch (c->serial) {
	case SERIAL_STDIO:
		f->in = STDIN_FILENO;
		f->out = STDOUT_FILENO;
		f->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
		return 0;
	case SERIAL_NONE:
		return 0;
	case SERIAL_FILE:
		return open_serial_file(c, f, why);
	case SERIAL_SOCKET:
		f->console[1] = home_listen_path(c->serial_path);
		return f->console[1] < 0
			   ? socket_error(f->console[1], c->serial_path, why)
			   : 0;
	}
	return 0;
}

static int open_share(const struct vm_config *c, struct vm_files *f,
		      struct fail *why)
{
	if (!c->share_console)
		return 0;
	f->console[1] = home_listen_path(c->share_console);
	return f->console[1] < 0
		   ? socket_error(f->console[1], c->share_console, why)
		   : 0;
}

static int open_agent(const struct vm_config *c, const struct vm_dir *d,
		      struct vm_files *f, struct fail *why)
{
	const char *path = c->agent_path ? c->agent_path : "agent.sock";

	if (!c->agent)
		return 0;
	f->agent = c->agent_path ? home_listen_path(path)
				 : home_listen_at(d->fd, path);
	return f->agent < 0 ? socket_error(f->agent, path, why) : 0;
}

/* What lies in the VM's own directory. */
static int open_own(const struct vm_dir *d, struct vm_files *f,
		    struct fail *why)
{
	const struct {
		int *fd;
		const char *file;
		int flags;
	} own[] = {
		{ &f->log, "console.log", O_RDWR | O_CREAT },
		{ &f->status, "state.json", O_RDWR | O_CREAT },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(own); i++) {
		*own[i].fd = vm_dir_open(d, own[i].file, own[i].flags);
		if (*own[i].fd < 0)
			return run_file_error(*own[i].fd, d->name, own[i].file,
					      NULL, why);
	}
	f->control = home_listen_at(d->fd, "control.sock");
	if (f->control < 0)
		return run_file_error(f->control, d->name, "control.sock", NULL,
				      why);
	f->console[0] = home_listen_at(d->fd, "console.sock");
	if (f->console[0] < 0)
		return run_file_error(f->console[0], d->name, "console.sock",
				      NULL, why);
	return 0;
}

/* What this process has in memory, told by pages. Where the kernel has none, or
 * keeps it from us, all of RAM counts as there. */
static int open_pagemap(struct vm_files *f, struct fail *why)
{
	static const char path[] = "/proc/self/pagemap";

	f->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (f->pagemap >= 0 || errno == ENOENT || errno == EACCES ||
	    errno == EPERM)
		return 0;
	return run_file_error(-errno, "page map", path, NULL, why);
}

static int open_nets(const struct vm_config *c, struct vm_files *f,
		     struct fail *why)
{
	for (unsigned i = 0; i < c->nnets; i++) {
		if (c->net[i].kind == VM_NET_UNPLUGGED)
			continue;
		f->net[i] = netfd_open(&c->net[i], why);
		if (f->net[i] < 0)
			return f->net[i];
	}
	return 0;
}

static int save_config(const struct vm_config *c, const struct vm_dir *d,
		       struct fail *why)
{
	json_t *doc = config_to_json(c);
	int err = doc ? vm_dir_write_json(d, "config.json", doc) : -ENOMEM;

	json_decref(doc);
	return err ? run_file_error(err, d->name, "config.json", NULL, why) : 0;
}

int run_open_all(const struct vm_config *c, const struct vm_dir *d,
		 struct vm_files *f, struct fail *why)
{
	int err;

	if ((err = open_images(c, f, why)) || (err = save_config(c, d, why)) ||
	    (err = open_own(d, f, why)) || (err = open_serial(c, f, why)) ||
	    (err = open_share(c, f, why)) || (err = open_agent(c, d, f, why)) ||
	    (err = disk_open_all(c, d, f->disks_stay, f->disk, &f->layer,
				 &f->nlayers, why)))
		return err;
	if (c->rng) {
		f->rng = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
		if (f->rng < 0)
			return run_file_error(-errno, "random source",
					      "/dev/urandom", NULL, why);
	}
	f->kvm = kvm_open(why);
	if (f->kvm < 0)
		return f->kvm;
	/* Last: it may start a program. */
	if ((err = open_pagemap(f, why)) || (err = open_nets(c, f, why)))
		return err;
	warn_of_pvm(c, f->kernel);
	/* Last: what fails before leaves no socket behind. */
	if (c->vsock)
		f->vsock = vsock_broker_start(c, d, why);
	return c->vsock && f->vsock < 0 ? f->vsock : 0;
}
