/* SPDX-License-Identifier: Apache-2.0 */
/* VM directories: who may have a name, what a dead VM leaves, who is refused.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "home.h"
#include "util.h"

static char root[PATH_MAX - 256];
static struct fail why;
static int vms = -1;

static void init(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%s/tintype-home-XXXXXX",
		 tmp ? tmp : "/tmp");
	cr_assert_not_null(mkdtemp(root));
	setenv("TINTYPE_HOME", root, 1);
	why = (struct fail){ .code = EXIT_OK };
	vms = home_open(true, &why);
	cr_assert_geq(vms, 0, "%s", why.message);
}

static void fini(void)
{
	char command[PATH_MAX];

	close(vms);
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	cr_assert_eq(system(command), 0);
}

TestSuite(home, .init = init, .fini = fini);

static bool there(const char *path)
{
	struct stat st;

	return fstatat(vms, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A process that claims `name` and lives until it is killed. */
static pid_t live_vm(const char *name, bool keep)
{
	struct vm_dir d;
	int p[2];
	pid_t pid;
	char byte;

	cr_assert_eq(pipe(p), 0);
	pid = fork();
	if (!pid) {
		if (home_claim(vms, name, keep, &d, &why) ||
		    write(p[1], d.name, 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(p[1]);
	cr_assert_eq(read(p[0], &byte, 1), 1, "the child could not claim");
	close(p[0]);
	return pid;
}

static void kill_vm(pid_t pid)
{
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

Test(home, open_when_new_makes_private_directories)
{
	struct stat st;

	cr_assert_eq(fstat(vms, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
}

Test(home, open_when_missing_and_not_to_be_made_says_so)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/none/deeper", root);
	setenv("TINTYPE_HOME", path, 1);
	cr_assert_eq(home_open(false, &why), -ENOENT);
	cr_assert_str_eq(why.message, "");
	cr_assert_neq(access(path, F_OK), 0);
}

Test(home, open_when_relative_or_foreign_or_shared_is_refused)
{
	setenv("TINTYPE_HOME", "relative", 1);
	cr_assert_eq(home_open(true, &why), -EINVAL);
	cr_assert_eq(why.code, EXIT_USAGE);
	setenv("TINTYPE_HOME", root, 1);
	cr_assert_eq(chmod(root, 0777), 0);
	cr_assert_eq(home_open(true, &why), -EPERM);
	cr_assert_eq(why.code, EXIT_DENIED);
	cr_assert_eq(chmod(root, 0700), 0);
	if (geteuid() != 0)
		return; /* only root can give a directory away */
	cr_assert_eq(chown(root, 65534, 65534), 0);
	cr_assert_eq(home_open(true, &why), -EPERM);
	cr_assert_eq(why.code, EXIT_DENIED);
	cr_assert_eq(chown(root, 0, 0), 0);
}

Test(home, open_when_vms_is_a_link_is_refused)
{
	char path[PATH_MAX], aside[PATH_MAX];

	snprintf(path, sizeof(path), "%s/vms", root);
	snprintf(aside, sizeof(aside), "%s/aside", root);
	cr_assert_eq(rename(path, aside), 0);
	cr_assert_eq(symlink("aside", path), 0);
	cr_assert_lt(home_open(true, &why), 0);
}

Test(home, claim_when_a_vm_lives_is_a_conflict)
{
	pid_t pid = live_vm("web", true);
	struct vm_dir d;

	cr_assert(home_alive(vms, "web"));
	cr_assert_eq(home_claim(vms, "web", true, &d, &why), -EBUSY);
	cr_assert_eq(why.code, EXIT_CONFLICT);
	cr_assert_str_eq(why.object, "web");
	kill_vm(pid);
}

Test(home, claim_when_the_vm_was_killed_takes_over_and_empties)
{
	struct vm_dir d;
	pid_t pid = live_vm("web", true);
	int dir = openat(vms, "web", O_RDONLY | O_DIRECTORY);

	cr_assert_geq(home_listen_at(dir, "control.sock"), 0);
	close(openat(dir, "state.json", O_CREAT | O_WRONLY, 0600));
	kill_vm(pid);
	cr_assert_not(home_alive(vms, "web"));
	cr_assert_eq(home_claim(vms, "web", true, &d, &why), 0, "%s",
		     why.message);
	cr_assert_not(there("web/control.sock"));
	cr_assert_not(there("web/state.json"));
	cr_assert(there("web/lock"));
	cr_assert_geq(home_listen_at(d.fd, "control.sock"), 0);
	vm_dir_close(&d);
	close(dir);
}

static void touch(const struct vm_dir *d, const char *path)
{
	int fd = openat(d->fd, path, O_WRONLY | O_CREAT, 0600);

	cr_assert_geq(fd, 0);
	close(fd);
}

static void give_disks(const char *name)
{
	struct vm_dir d;

	cr_assert_eq(home_find(vms, name, &d, &why), 0);
	cr_assert_eq(mkdirat(d.fd, "heads", 0700), 0);
	cr_assert_eq(mkdirat(d.fd, "bases", 0700), 0);
	touch(&d, "heads/disk0.00");
	touch(&d, "heads/disk0.new");
	touch(&d, "bases/disk0.raw");
	touch(&d, "roots.json");
	touch(&d, "capture.lock");
	vm_dir_close(&d);
}

Test(home, claim_when_the_vm_had_disks_keeps_them)
{
	struct vm_dir d;

	kill_vm(live_vm("web", true));
	give_disks("web");
	cr_assert_eq(home_claim(vms, "web", true, &d, &why), 0);
	cr_assert(there("web/heads/disk0.00"));
	cr_assert(there("web/bases/disk0.raw"));
	cr_assert(there("web/roots.json"));
	vm_dir_close(&d);
}

Test(home, remove_when_the_vm_had_disks_removes_them)
{
	kill_vm(live_vm("web", true));
	give_disks("web");
	cr_assert_eq(home_remove(vms, "web", &why), 0, "%s", why.message);
	cr_assert_not(there("web"));
}

Test(home, sweep_when_an_unnamed_vm_had_disks_removes_them)
{
	kill_vm(live_vm("auto-x", false));
	give_disks("auto-x");
	home_sweep(vms, 0, 100);
	cr_assert_not(there("auto-x"));
}

Test(home, remove_when_a_directory_of_disks_is_a_link_follows_it_not)
{
	char path[PATH_MAX];
	struct vm_dir d;

	kill_vm(live_vm("web", true));
	kill_vm(live_vm("other", true));
	give_disks("other");
	cr_assert_eq(home_find(vms, "web", &d, &why), 0);
	snprintf(path, sizeof(path), "%s/vms/other/heads", root);
	cr_assert_eq(symlinkat(path, d.fd, "heads"), 0);
	vm_dir_close(&d);
	cr_assert_neq(home_remove(vms, "web", &why), 0);
	cr_assert(there("other/heads/disk0.00"));
}

Test(home, claim_when_no_name_is_given_makes_up_different_ones)
{
	struct vm_dir a, b;

	cr_assert_eq(home_claim(vms, NULL, false, &a, &why), 0);
	cr_assert_eq(home_claim(vms, NULL, false, &b, &why), 0);
	cr_assert_str_neq(a.name, b.name);
	cr_assert_eq(strncmp(a.name, "auto-", 5), 0);
	cr_assert(config_name_valid(a.name));
	cr_assert(config_name_valid(b.name));
	vm_dir_close(&a);
	vm_dir_close(&b);
}

/* Every 7 hours and some from 1970 on, over 200 years. */
Test(home, made_up_name_when_compared_is_what_strftime_says)
{
	char mine[64], libc[64];

	for (time_t t = 0; t < (time_t)200 * 366 * 86400; t += 25367) {
		struct tm tm;

		home_made_up_name(mine, sizeof(mine), t);
		cr_assert_gt(strftime(libc, sizeof(libc), "auto-%Y%m%dT%H%M%SZ",
				      gmtime_r(&t, &tm)),
			     0);
		cr_assert_str_eq(mine, libc);
	}
}

Test(home, claim_when_the_directory_is_a_link_is_refused)
{
	struct vm_dir d;

	cr_assert_eq(symlinkat("/tmp", vms, "web"), 0);
	cr_assert_lt(home_claim(vms, "web", true, &d, &why), 0);
	cr_assert_eq(why.code, EXIT_DENIED);
}

Test(home, claim_when_the_lock_is_a_link_writes_nowhere)
{
	struct vm_dir d;

	cr_assert_eq(mkdirat(vms, "web", 0700), 0);
	cr_assert_eq(symlinkat("../victim", vms, "web/lock"), 0);
	cr_assert_lt(home_claim(vms, "web", false, &d, &why), 0);
	cr_assert_not(there("victim"));
}

Test(home, claim_when_the_lock_is_hard_linked_is_refused)
{
	struct vm_dir d;

	cr_assert_eq(mkdirat(vms, "web", 0700), 0);
	close(openat(vms, "victim", O_CREAT | O_WRONLY, 0600));
	cr_assert_eq(linkat(vms, "victim", vms, "web/lock", 0), 0);
	cr_assert_lt(home_claim(vms, "web", false, &d, &why), 0);
}

Test(home, sweep_when_unnamed_vms_are_dead_removes_only_those)
{
	pid_t dead = live_vm("auto-gone", false),
	      kept = live_vm("auto-kept", true);
	pid_t lives = live_vm("auto-lives", false);

	kill_vm(dead);
	kill_vm(kept);
	home_sweep(vms, 0, UINT_MAX);
	cr_assert_not(there("auto-gone"));
	cr_assert(there("auto-kept"));
	cr_assert(there("auto-lives"));
	kill_vm(lives);
	home_sweep(vms, 0, UINT_MAX);
	cr_assert_not(there("auto-lives"));
}

Test(home, sweep_when_few_are_there_leaves_them)
{
	char name[16];

	for (unsigned i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "auto-%u", i);
		kill_vm(live_vm(name, false));
	}
	home_sweep(vms, 5, UINT_MAX);
	cr_assert(there("auto-0") && there("auto-4"));
	home_sweep(vms, 4, 2);
	home_sweep(vms, 2, UINT_MAX);
	for (unsigned i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "auto-%u", i);
		cr_assert_not(there(name));
	}
}

Test(home, sweep_when_a_claim_is_half_made_leaves_it)
{
	cr_assert_eq(mkdirat(vms, "auto-new", 0700), 0);
	home_sweep(vms, 0, UINT_MAX);
	cr_assert(there("auto-new"));
	close(openat(vms, "auto-new/lock", O_CREAT | O_WRONLY, 0600));
	home_sweep(vms, 0, UINT_MAX);
	cr_assert(there("auto-new/lock"));
}

Test(home, remove_when_it_lives_is_refused_and_when_dead_removes)
{
	pid_t pid = live_vm("web", true);

	cr_assert_eq(home_remove(vms, "web", &why), -EBUSY);
	cr_assert_eq(why.code, EXIT_WRONG_STATE);
	kill_vm(pid);
	cr_assert_eq(home_remove(vms, "web", &why), 0);
	cr_assert_not(there("web"));
	cr_assert_eq(home_remove(vms, "web", &why), -ENOENT);
	cr_assert_eq(why.code, EXIT_NOT_FOUND);
}

Test(home, remove_when_foreign_files_are_inside_says_so)
{
	kill_vm(live_vm("web", true));
	close(openat(vms, "web/mine.txt", O_CREAT | O_WRONLY, 0600));
	cr_assert_lt(home_remove(vms, "web", &why), 0);
	cr_assert(there("web/mine.txt"));
}

Test(home, find_when_the_name_is_a_path_finds_nothing)
{
	static const char *const names[] = { "..", "../vms", "a/b", "" };
	struct vm_dir d;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		cr_expect_eq(home_find(vms, names[i], &d, &why), -ENOENT);
		cr_expect_eq(why.code, EXIT_NOT_FOUND);
	}
}

static int count(void *ctx, struct vm_dir *d)
{
	strcat(ctx, d->name);
	return 0;
}

Test(home, each_when_there_are_strangers_shows_only_vms_by_name)
{
	char got[64] = "";

	kill_vm(live_vm("b", true));
	kill_vm(live_vm("a", true));
	close(openat(vms, "file", O_CREAT | O_WRONLY, 0600));
	cr_assert_eq(mkdirat(vms, ".hidden", 0700), 0);
	cr_assert_eq(home_each(vms, count, got), 0);
	cr_assert_str_eq(got, "ab");
}

/* Each length up to the longest that the kernel takes, and beyond. */
Test(home, open_when_the_home_is_as_long_as_a_path_can_be_works_or_says_so)
{
	char path[PATH_MAX + 16];
	size_t len = strlen(root);

	memcpy(path, root, len);
	while (len < sizeof(path) - 1) {
		path[len] = len % 200 ? 'x' : '/';
		len++;
	}
	for (len = PATH_MAX - 16; len < sizeof(path); len++) {
		char end = path[len];
		int fd;

		path[len] = '\0';
		setenv("TINTYPE_HOME", path, 1);
		why.message[0] = '\0';
		fd = home_open(true, &why);
		cr_expect(fd >= 0 || why.message[0], "%zu: %d", len, fd);
		cleanup_close(&fd);
		path[len] = end;
	}
}

Test(home, write_json_when_read_again_is_the_same)
{
	struct vm_dir d;
	json_t *doc = json_pack("{s:i}", "code", 7), *again;

	cr_assert_eq(home_claim(vms, "web", true, &d, &why), 0);
	cr_assert_eq(vm_dir_write_json(&d, "config.json", doc), 0);
	again = vm_dir_read_json(&d, "config.json");
	cr_assert(json_equal(doc, again));
	cr_assert_null(vm_dir_read_json(&d, "state.json"));
	json_decref(doc);
	json_decref(again);
	vm_dir_close(&d);
}

Test(home, write_json_when_too_long_to_be_read_is_refused_and_the_old_stays)
{
	static char text[2 * CONFIG_MAX_BYTES];
	struct vm_dir d;
	json_t *old = json_pack("{s:i}", "code", 7), *doc, *again;

	memset(text, 'x', sizeof(text) - 1);
	doc = json_pack("{s:s}", "long", text);
	cr_assert_eq(home_claim(vms, "web", true, &d, &why), 0);
	cr_assert_eq(vm_dir_write_json(&d, "config.json", old), 0);
	cr_assert_eq(vm_dir_write_json(&d, "config.json", doc), -EFBIG);
	again = vm_dir_read_json(&d, "config.json");
	cr_assert(json_equal(old, again));
	json_decref(old);
	json_decref(doc);
	json_decref(again);
	vm_dir_close(&d);
}

/* A path far beyond what a socket's address holds. */
static int deep_dir(char *path, size_t len)
{
	snprintf(path, len, "%s", root);
	for (unsigned i = 0; i < 5; i++) {
		strcat(path, "/a-directory-with-a-name-that-is-rather-long");
		cr_assert_eq(mkdir(path, 0700), 0);
	}
	cr_assert_gt(strlen(path), 200);
	return open(path, O_RDONLY | O_DIRECTORY);
}

Test(home, listen_when_the_path_is_long_works)
{
	char path[PATH_MAX];
	int dir = deep_dir(path, sizeof(path)), l, fd;
	struct stat st;

	l = home_listen_at(dir, "control.sock");
	cr_assert_geq(l, 0, "%s", strerror(-l));
	cr_assert_eq(fstatat(dir, "control.sock", &st, 0), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	fd = home_connect_at(dir, "control.sock");
	cr_assert_geq(fd, 0, "%s", strerror(-fd));
	strcat(path, "/other.sock");
	fd = home_listen_path(path);
	cr_assert_geq(fd, 0, "%s", strerror(-fd));
}

Test(home, listen_path_when_a_dead_socket_is_there_replaces_it)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/s", root);
	fd = home_listen_path(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(home_listen_path(path), -EADDRINUSE);
	close(fd);
	fd = home_listen_path(path);
	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert_eq(unlink(path), 0);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	cr_assert_eq(home_listen_path(path), -EEXIST);
	cr_assert_eq(access(path, F_OK), 0);
	snprintf(path, sizeof(path), "%s/no/s", root);
	cr_assert_eq(home_listen_path(path), -ENOENT);
}

/* Two processes that claim, sweep and remove at once never both own it. */
static int hammer(unsigned rounds)
{
	int bad = 0;

	for (unsigned i = 0; i < rounds; i++) {
		struct vm_dir d;

		if (home_claim(vms, "auto-hot", i % 2, &d, &why) == 0) {
			int fd = openat(d.fd, "owner",
					O_CREAT | O_EXCL | O_WRONLY, 0600);

			bad += fd < 0 || !home_alive(vms, "auto-hot");
			close(fd);
			unlinkat(d.fd, "owner", 0);
			vm_dir_close(&d);
		} else if (why.code != EXIT_CONFLICT) {
			bad++;
		}
		home_sweep(vms, 0, 4);
		if (i % 3 == 0)
			(void)home_remove(vms, "auto-hot", &why);
	}
	return bad;
}

Test(home, claim_when_others_claim_and_remove_has_one_owner)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(hammer(500) != 0);
	cr_assert_eq(hammer(500), 0);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
}
