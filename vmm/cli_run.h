/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of `run`. Owner: the main thread, before the sandbox. 0 or
 * -errno with `why`. */
#ifndef TINTYPE_CLI_RUN_H
#define TINTYPE_CLI_RUN_H

#include "cli.h"

#define RUN_NO_FILES                                                           \
	{                                                                      \
		.kvm = -1, .kernel = -1, .initrd = -1, .rng = -1, .in = -1,    \
		.out = -1, .log = -1, .control = -1, .console = { -1, -1 },    \
		.agent = -1, .vsock = -1, .status = -1, .started = -1,         \
		.ready = -1, .lock = -1, .pagemap = -1,                        \
		.disk = { [0 ... CONFIG_MAX_DISKS - 1] = DISK_FILES_NONE },    \
		.net = { [0 ... CONFIG_MAX_NETS - 1] = -1 }                    \
	}

/* `what` `path` failed with `err`, and the exit code that fits; returns err. */
int run_file_error(int err, const char *what, const char *path,
		   const char *hint, struct fail *why);
/* A regular file, for reading: its fd. */
int run_open_input(const char *what, const char *path, struct fail *why);

/* Before anything of a VM of that name is touched: its files could be opened;
 * the host has that much memory. */
int run_check_images(const struct vm_config *c, struct fail *why);
int run_check_memory(const struct vm_config *c, struct fail *why);

/* All of `f` but what the caller has set; `f->disks_stay` is. After a failure
 * some is open. */
int run_open_all(const struct vm_config *c, const struct vm_dir *d,
		 struct vm_files *f, struct fail *why);

#endif
