/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk lies on, between its opening and its lock. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "disk_source.h"
#include "util.h"

static char path[] = "/tmp/tintype-source-XXXXXX";
static struct disk_config config = { .path = path };
static struct disk_source source;
static struct fail why;

static void setup(void)
{
	_cleanup_close_ int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, 8192), 0);
	/* Whoever holds a lock is looked for in a home. */
	setenv("TINTYPE_HOME", "/nowhere", true);
}

static void teardown(void)
{
	disk_source_close(&source);
	unlink(path);
}

TestSuite(disk_source, .init = setup, .fini = teardown);

/* Its writer may have ended between the two. */
Test(disk_source, lock_when_the_file_was_changed_meanwhile_tells_its_new_time)
{
	const struct timespec then[2] = { { .tv_sec = 7 }, { .tv_sec = 7 } };

	cr_assert_eq(disk_source_open(&source, &config, &why), 0);
	cr_assert_eq(truncate(path, 4096), 0);
	cr_assert_eq(utimensat(AT_FDCWD, path, then, 0), 0);
	cr_assert_eq(disk_source_lock(&source, &config, "vm", &why), 0);
	cr_assert_eq(source.mtime_ns, UINT64_C(7000000000));
	cr_assert_eq(source.bytes, 4096);
}

Test(disk_source, lock_when_the_file_was_emptied_meanwhile_refuses_it)
{
	cr_assert_eq(disk_source_open(&source, &config, &why), 0);
	cr_assert_eq(truncate(path, 0), 0);
	cr_assert_eq(disk_source_lock(&source, &config, "vm", &why), -EINVAL);
	cr_assert_eq(why.code, EXIT_USAGE);
}

Test(disk_source, lock_when_another_writes_is_a_conflict)
{
	struct disk_config direct = { .path = path, .direct = true };
	struct disk_source writer;

	cr_assert_eq(disk_source_open(&writer, &direct, &why), 0);
	cr_assert_eq(disk_source_lock(&writer, &direct, "w", &why), 0);
	cr_assert_eq(disk_source_open(&source, &config, &why), 0);
	cr_assert_eq(disk_source_lock(&source, &config, "vm", &why), -EBUSY);
	disk_source_close(&writer);
	cr_assert_eq(disk_source_lock(&source, &config, "vm", &why), 0);
}
