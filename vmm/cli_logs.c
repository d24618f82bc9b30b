/* SPDX-License-Identifier: Apache-2.0 */
/* `logs`: prints a VM's console log; --follow goes on until the VM ends. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "cli.h"
#include "console.h"
#include "logtail.h"
#include "util.h"

#define LOOK_MS 250 /* for the VM's end, which changes no file */

static int print_bytes(void *ctx, const uint8_t *data, size_t len)
{
	return fwrite(data, 1, len, stdout) == len ? 0 : -errno;
}

static int print_new(struct logtail *t)
{
	unsigned lost = t->lost;
	int err = logtail_read(t, print_bytes, NULL);

	if (t->lost != lost)
		fputs("tintype: logs: some output came faster than it could "
		      "be printed, and is lost\n",
		      stderr);
	return !err && fflush(stdout) ? -errno : err;
}

/* Its file was given up by a new VM of that name, or its process is gone. */
static bool ended(int fd, const struct vm_dir *d)
{
	struct stat st;

	return !vm_dir_alive(d) || fstat(fd, &st) < 0 || st.st_nlink == 0;
}

static void wait_change(int watch)
{
	struct pollfd p = { .fd = watch, .events = POLLIN };
	char events[4096];

	if (poll(&p, 1, LOOK_MS) > 0 && read(watch, events, sizeof(events)) < 0)
		return; /* it is looked at again in any case */
}

static int follow(struct logtail *t, const struct vm_dir *d)
{
	_cleanup_close_ int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[HOME_SOCKET_PATH_MAX];
	bool last = false;
	int err = 0;

	home_socket_path(path, d->fd, "console.log");
	/* Without a watch the poll's time alone drives us. */
	if (watch >= 0)
		inotify_add_watch(watch, path, IN_MODIFY);
	while (!err && !last) {
		/* Asked first: what it printed at its end is printed too. */
		last = ended(t->fd, d);
		err = print_new(t);
		if (!last && !err)
			wait_change(watch);
	}
	return err;
}

int cli_logs(const struct options *o, struct fail *why)
{
	struct vm_dir d = VM_DIR_NONE;
	_cleanup_close_ int fd = -1;
	struct logtail t;
	int err;

	if (cli_find_vm(o->operand[0], &d, why))
		return (int)why->code;
	fd = vm_dir_open(&d, "console.log", O_RDONLY);
	logtail_init(&t, fd, CONSOLE_LOG_BYTES);
	err = fd == -ENOENT ? 0 : fd; /* none: it never came to print */
	if (fd >= 0)
		err = options_has(o, "follow") ? follow(&t, &d) : print_new(&t);
	vm_dir_close(&d);
	if (!err || err == -EPIPE)
		return EXIT_OK;
	fail_set(why, EXIT_FAILED, err, o->operand[0], NULL,
		 "print console.log: %s", strerror(-err));
	return EXIT_FAILED;
}
