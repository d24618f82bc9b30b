/* SPDX-License-Identifier: Apache-2.0 */
/* qemu-img, asked twice: what is in the file, then to convert it. */
#include "disk_import.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "disk_source.h"
#include "util.h"

#define PATH_TEXT 128
/* Of what `info` prints; it lists internal snapshots too. */
#define INFO_MAX MIB(1)

/* Its stdout is `out`, its stderr ours. The fds in `pass` are its too. */
static void become_qemu_img(char *const *argv, int out, const int pass[2])
{
	for (unsigned i = 0; i < 2; i++)
		if (pass[i] >= 0)
			fcntl(pass[i], F_SETFD, 0);
	if (dup2(out, STDOUT_FILENO) < 0)
		_exit(126);
	execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

static int start(char *const *argv, int out, const int pass[2], pid_t *pid,
		 const char *object, struct fail *why)
{
	*pid = fork();
	if (!*pid)
		become_qemu_img(argv, out, pass);
	return *pid < 0 ? fail_set(why, EXIT_FAILED, -errno, object, NULL,
				   "start qemu-img: %s", strerror(errno))
			: 0;
}

static int await(pid_t pid, const char *what, const char *object,
		 struct fail *why)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail_set(why, EXIT_FAILED, -errno, object, NULL,
					"wait for qemu-img: %s",
					strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return fail_set(why, EXIT_FAILED, -ENOENT, object,
				"install it (Debian: qemu-utils), or give a "
				"raw file",
				"format=qcow2 needs qemu-img, which is not "
				"here");
	return fail_set(why, EXIT_FAILED, -EIO, object,
			"its own message is above", "qemu-img could not %s it",
			what);
}

/* ---- what it is ---- */

static size_t read_all(int fd, char *text, size_t room)
{
	size_t n = 0;

	while (n < room) {
		ssize_t r = read(fd, text + n, room - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	return n;
}

static int refuse(const char *object, const char *what, struct fail *why)
{
	return fail_set(why, EXIT_DENIED, -EPERM, object,
			"convert it yourself: qemu-img convert -O raw FILE "
			"RAW",
			"%s", what);
}

static int judge(const json_t *info, const char *object, struct fail *why)
{
	const json_t *data =
	    json_object_get(json_object_get(info, "format-specific"), "data");
	const json_t *bytes = json_object_get(info, "virtual-size");

	if (!json_is_integer(bytes))
		return fail_set(why, EXIT_FAILED, -EBADMSG, object, NULL,
				"qemu-img told nothing of it");
	if (json_object_get(info, "backing-filename") ||
	    json_object_get(info, "full-backing-filename"))
		return refuse(object,
			      "has a backing file: that is never "
			      "followed",
			      why);
	if (json_object_get(data, "data-file") ||
	    json_is_true(json_object_get(data, "data-file-raw")))
		return refuse(object,
			      "keeps its data in another file: that is "
			      "never followed",
			      why);
	if (json_is_true(json_object_get(info, "encrypted")) ||
	    json_object_get(data, "encrypt"))
		return refuse(object, "is encrypted", why);
	return disk_bytes_judge((uint64_t)MAX(json_integer_value(bytes), 0),
				object, why);
}

static int look(char *path, int source_fd, const char *object, struct fail *why)
{
	char *argv[] = { (char *)"qemu-img",
			 (char *)"info",
			 (char *)"-U",
			 (char *)"--output=json",
			 (char *)"-f",
			 (char *)"qcow2",
			 path,
			 NULL };
	_cleanup_free_ char *text = malloc(INFO_MAX);
	const int pass[2] = { source_fd, -1 };
	json_t *info = NULL;
	int out[2], err;
	size_t n;
	pid_t pid;

	if (!text || pipe2(out, O_CLOEXEC) < 0)
		return fail_set(why, EXIT_FAILED, -ENOMEM, object, NULL,
				"out of memory or files");
	err = start(argv, out[1], pass, &pid, object, why);
	close(out[1]);
	n = err ? 0 : read_all(out[0], text, INFO_MAX);
	close(out[0]);
	if (!err)
		err = await(pid, "read", object, why);
	if (!err) {
		info = json_loadb(text, n, 0, NULL);
		err = judge(info, object, why);
	}
	json_decref(info);
	return err;
}

/* ---- its content ---- */

static int convert(char *from, char *to, const int pass[2], const char *object,
		   struct fail *why)
{
	char *argv[] = { (char *)"qemu-img",
			 (char *)"convert",
			 (char *)"-U",
			 (char *)"-p",
			 (char *)"-f",
			 (char *)"qcow2",
			 (char *)"-O",
			 (char *)"raw",
			 from,
			 to,
			 NULL };
	pid_t pid;
	int err = start(argv, STDERR_FILENO, pass, &pid, object, why);

	return err ? err : await(pid, "convert", object, why);
}

static int sync_file(int dir, const char *name, const char *object,
		     struct fail *why)
{
	_cleanup_close_ int fd =
	    openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0 && fchmod(fd, 0600) == 0 && fsync(fd) == 0)
		return 0;
	return fail_set(why, errno == ENOSPC ? EXIT_NO_SPACE : EXIT_FAILED,
			-errno, object, NULL, "import: %s", strerror(errno));
}

int disk_import_qcow2(int source_fd, int dir, const char *name,
		      const char *object, struct fail *why)
{
	char from[PATH_TEXT], to[PATH_TEXT];
	const int pass[2] = { source_fd, dir };
	int err;

	snprintf(from, sizeof(from), "/proc/self/fd/%d", source_fd);
	if ((size_t)snprintf(to, sizeof(to), "/proc/self/fd/%d/%s", dir,
			     name) >= sizeof(to))
		return fail_set(why, EXIT_FAILED, -ENAMETOOLONG, object, NULL,
				"name too long");
	err = look(from, source_fd, object, why);
	if (err)
		return err;
	fprintf(stderr, "tintype: %s: importing qcow2\n", object);
	err = convert(from, to, pass, object, why);
	if (!err)
		err = sync_file(dir, name, object, why);
	if (err)
		unlinkat(dir, name, 0);
	return err;
}
