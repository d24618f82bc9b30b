/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets in files: read with care, and never used as a key themselves. */
#include "key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fileio.h"
#include "util.h"

/* At most `len` bytes; their number or -errno. */
static ssize_t read_some(int fd, uint8_t *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, buf + got, len - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

int key_file_read(struct mac_key *secret, const char *path, struct fail *why)
{
	/* O_NONBLOCK: a pipe cannot hold us up. */
	_cleanup_close_ int fd =
	    open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	uint8_t buf[sizeof(secret->b) + 1];
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return file_failed(path, -errno, "open", why);
	if (!S_ISREG(st.st_mode))
		return fail_set(why, EXIT_USAGE, -EINVAL, path,
				"give a file of 32 bytes",
				"is no regular file");
	if (st.st_mode & S_IRWXO)
		return fail_set(why, EXIT_DENIED, -EACCES, path,
				"chmod o= it, and think whether to make a new "
				"key",
				"a key that all users can read or write");
	n = read_some(fd, buf, sizeof(buf));
	if (n == sizeof(secret->b))
		memcpy(secret->b, buf, sizeof(secret->b));
	explicit_bzero(buf, sizeof(buf));
	if (n < 0)
		return file_failed(path, (int)n, "read", why);
	if (n != sizeof(secret->b))
		return fail_set(why, EXIT_USAGE, -EINVAL, path,
				"make one: (umask 077; head -c 32 "
				"/dev/urandom > FILE)",
				"a key has 32 bytes, this has %s",
				n < (ssize_t)sizeof(secret->b) ? "fewer"
							       : "more");
	return 0;
}

int key_file_layer_key(void *secret, const uint8_t uid[UID_BYTES],
		       uint8_t key[LAYER_KEY_BYTES])
{
	uint8_t text[16 + UID_BYTES] = "tintype layer\n";

	_Static_assert(MAC_BYTES == LAYER_KEY_BYTES, "a hash is a key");
	memcpy(text + 16, uid, UID_BYTES);
	hash_keyed(key, secret, text, sizeof(text));
	return 0;
}
