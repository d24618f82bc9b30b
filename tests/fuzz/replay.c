/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over each file of a directory, once: its corpus as a
 * regression test, in any build. An empty directory is a failure. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(int dir, const char *name)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ uint8_t *data = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -1;
	if (!S_ISREG(st.st_mode))
		return 0;
	data = malloc((size_t)st.st_size + 1);
	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
		return -1;
	LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	return 1;
}

int main(int argc, char **argv)
{
	DIR *d = argc == 2 ? opendir(argv[1]) : NULL;
	struct dirent *e;
	int files = 0;

	if (!d) {
		fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
		return 2;
	}
	while ((e = readdir(d))) {
		int n = replay(dirfd(d), e->d_name);

		if (n < 0) {
			perror(e->d_name);
			return 1;
		}
		files += n;
	}
	closedir(d);
	printf("%d files\n", files);
	return files ? 0 : 1;
}
