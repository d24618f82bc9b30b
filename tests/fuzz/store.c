/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any file in the store's directories: told of or passed over, removed only if
 * its name is that of garbage. The first byte chooses the directory; then comes
 * the name, up to a newline; the rest is in the file. The name is tried as one
 * that a user gives, too.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "new_file.h"
#include "snapshot_name.h"
#include "store.h"
#include "util.h"

enum { IN_LAYERS, IN_MANIFESTS, IN_REFS, PLACES };
static const char *const places[PLACES] = { "store/layers", "store/manifests",
					    "store/refs" };

static char path[64];
static int home = -1;
static struct store *s;

static void remove_home(void)
{
	static const char *const rest[] = { "store/lock", "store/layers",
					    "store/manifests", "store/refs",
					    "store" };

	for (unsigned i = 0; i < ARRAY_SIZE(rest); i++)
		unlinkat(home, rest[i], i ? AT_REMOVEDIR : 0);
	rmdir(path);
}

static void make_home(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(path, sizeof(path), "%.40s/fuzz-store-XXXXXX",
		 tmp ? tmp : "/tmp");
	assert(mkdtemp(path));
	home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(home >= 0 && hash_init() == 0);
	assert(store_open(&s, home, true, NULL) == 0);
	assert(store_lock(s, STORE_EXCLUSIVE, NULL) == 0);
	atexit(remove_home);
}

static bool is_temp(const char *name)
{
	return !strncmp(name, NEW_FILE_TEMP, strlen(NEW_FILE_TEMP));
}

static int see_damaged(void *ctx, const char *vm, const char *name,
		       const struct ref *r, const struct fail *why)
{
	unsigned *n = ctx;

	assert(!r == !!why);
	if (r) /* of a name that fits what it says */
		assert(!record_name_check(vm) && !record_name_check(name) &&
		       !strcmp(r->vm, vm) && !strcmp(r->name, name));
	else
		assert(why->code && why->object[0] && why->message[0]);
	(*n)++;
	return 0;
}

static void try_refs(const char *name)
{
	struct fail why = { .code = EXIT_OK };
	unsigned n = 0;

	assert(store_each_ref(s, NULL, see_damaged, &n, &why) == 0);
	assert(n == !is_temp(name));
}

/* The only file: garbage by its name, a ref that keeps nothing there, or none
 * of ours. */
static void try_collect(unsigned place, const char *name)
{
	struct fail why = { .code = EXIT_OK };
	struct store_collected n;
	struct object_id id;
	int err = store_collect(s, NULL, 0, &n, &why), dir;
	bool garbage =
	    is_temp(name) || (place != IN_REFS && object_id_parse(&id, name));
	struct stat st;

	assert(!err == !(place == IN_REFS && !is_temp(name)));
	if (err)
		assert(why.code && why.object[0] && why.message[0]);
	dir = openat(home, places[place], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(!fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == !garbage);
	unlinkat(dir, name, 0);
	close(dir);
}

static void try_as_given(const char *name)
{
	struct fail why = { .code = EXIT_OK };
	char again[2 * RECORD_NAME_MAX + 2];
	struct snapshot_name n;
	struct ref r;

	if (snapshot_name_parse(&n, name, &why)) {
		assert(why.code == EXIT_USAGE && why.message[0]);
	} else {
		snprintf(again, sizeof(again), "%s%s%s", n.vm,
			 *n.name ? "@" : "", n.name);
		assert(!strcmp(again, name));
	}
	if (snapshot_find(s, name, &r, &why))
		assert(why.code && why.message[0]);
	else
		ref_free(&r);
}

static bool put_file(unsigned place, const char *name, const uint8_t *data,
		     size_t len)
{
	int dir =
	    openat(home, places[place], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd =
	    openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	close(dir);
	if (fd < 0)
		return false;
	assert(write(fd, data, len) == (ssize_t)len);
	close(fd);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end;
	char name[256];
	unsigned place;
	size_t len;

	if (size < 2)
		return 0;
	place = data[0] % PLACES;
	end = memchr(data + 1, '\n', size - 1);
	len = end ? (size_t)(end - data - 1) : size - 1;
	if (len >= sizeof(name))
		return 0;
	memcpy(name, data + 1, len);
	name[len] = '\0';
	if (strlen(name) != len || strchr(name, '/'))
		return 0;
	if (!s)
		make_home();
	if (!put_file(place, name, data + 1 + len + !!end,
		      size - 1 - len - !!end))
		return 0;
	if (place == IN_REFS)
		try_refs(name);
	try_as_given(name);
	try_collect(place, name);
	return 0;
}
