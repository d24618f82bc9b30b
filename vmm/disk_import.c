/* SPDX-License-Identifier: Apache-2.0 */
/* The header is judged here, the rest is for qemu-img. */
#include "disk_import.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "disk_source.h"
#include "fileio.h"
#include "util.h"

#define PATH_TEXT 128

/* What it prints goes to our stderr. The fds in `pass` are its too. */
static void become_qemu_img(char *const *argv, const int pass[2], pid_t parent)
{
	/* Who ends us may not end it: it would go on filling the disk, with the
	 * source locked. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(126);
	for (unsigned i = 0; i < 2; i++)
		fcntl(pass[i], F_SETFD, 0);
	if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		_exit(126);
	execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

static int start(char *const *argv, const int pass[2], pid_t *pid,
		 const char *object, struct fail *why)
{
	pid_t parent = getpid();

	*pid = fork();
	if (!*pid)
		become_qemu_img(argv, pass, parent);
	return *pid < 0 ? fail_set(why, EXIT_FAILED, -errno, object, NULL,
				   "start qemu-img: %s", strerror(errno))
			: 0;
}

static int await(pid_t pid, const char *object, struct fail *why)
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
			"its own message is above",
			"qemu-img could not convert it");
}

/* ---- what it is ---- */

/* The beginning of a qcow2 file, big-endian (QEMU's docs/interop/qcow2.txt). */
struct qcow2_header {
	uint32_t magic, version;
	uint64_t backing_file_offset;
	uint32_t backing_file_size, cluster_bits;
	uint64_t size;
	uint32_t crypt_method, l1_size;
	uint64_t l1_table_offset, refcount_table_offset;
	uint32_t refcount_table_clusters, nb_snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible_features; /* from version 3 on */
};
static_assert(sizeof(struct qcow2_header) == 80, "as in the file");

#define QCOW2_MAGIC	0x514649fb /* "QFI", 0xfb */
#define QCOW2_DATA_FILE (UINT64_C(1) << 2)

static int refuse(const char *object, const char *what, struct fail *why)
{
	return fail_set(why, EXIT_DENIED, -EPERM, object,
			"convert it yourself: qemu-img convert -O raw FILE "
			"RAW",
			"%s", what);
}

/* By ourselves: qemu-img may open what the file names before it tells. What
 * else may be wrong with the file, it finds. */
static int judge(int source_fd, const char *object, struct fail *why)
{
	struct qcow2_header h;

	if (file_read(source_fd, 0, &h, sizeof(h)) ||
	    be32toh(h.magic) != QCOW2_MAGIC)
		return fail_set(why, EXIT_USAGE, -EINVAL, object,
				"leave out format=qcow2 if it is a raw file",
				"is no qcow2 file");
	if (h.backing_file_offset)
		return refuse(object,
			      "has a backing file: that is never "
			      "followed",
			      why);
	if (be32toh(h.version) > 2 &&
	    be64toh(h.incompatible_features) & QCOW2_DATA_FILE)
		return refuse(object,
			      "keeps its data in another file: that is "
			      "never followed",
			      why);
	if (h.crypt_method)
		return refuse(object, "is encrypted", why);
	return disk_bytes_judge(be64toh(h.size), object, why);
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
	int err = start(argv, pass, &pid, object, why);

	return err ? err : await(pid, object, why);
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
	err = judge(source_fd, object, why);
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
