/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests and refs in the store. Whoever changes a ref reads it first, so
 * those who do it at the same time take turns: byte 1 of the lock file.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "new_file.h"
#include "store_impl.h"
#include "util.h"

/* ---- manifests ---- */

/* One of that name is there: it has what is to be written, or is damaged. */
static int compare_manifest(struct store *s, const char *name,
			    const uint8_t *data, size_t len, const char *object,
			    struct fail *why)
{
	_cleanup_free_ uint8_t *there = NULL;
	size_t n;
	int err =
	    store_read_file(s->manifests, name, RECORD_MAX_BYTES, &there, &n);

	if (err && err != -EFBIG)
		return file_failed(object, err, "read", why);
	if (!err && n == len && !memcmp(there, data, len))
		return 0;
	return fail_set(why, EXIT_INTEGRITY, -EBADMSG, object,
			"remove the file, then take the snapshot again",
			"the store's manifests/%s is damaged", name);
}

/* -EEXIST: it is there already, or something else is. */
static int write_manifest(struct store *s, const char *name,
			  const uint8_t *data, size_t len, const char *object,
			  struct fail *why)
{
	struct new_file f = NEW_FILE_NONE;
	int err = new_file_create_in(&f, s->manifests, name, object, 0400, why);

	if (!err) {
		err = file_write(f.fd, 0, data, len);
		if (err)
			file_failed(object, err, "write", why);
	}
	if (!err)
		err = new_file_commit(&f, why);
	new_file_discard(&f);
	return err;
}

static int put_manifest(struct store *s, const char *name, const uint8_t *data,
			size_t len, const char *object, struct fail *why)
{
	struct fail first;
	int err = write_manifest(s, name, data, len, object, &first);

	if (err && err != -EEXIST && why)
		*why = first;
	if (err != -EEXIST)
		return err;
	err = compare_manifest(s, name, data, len, object, why);
	if (err)
		return err;
	/* Who made it may not have come to this. */
	err = file_sync_dir(s->manifests);
	return err ? file_failed(object, err, "sync", why) : 0;
}

int store_put_manifest(struct store *s, struct manifest *m,
		       struct object_id *id, struct fail *why)
{
	char object[STORE_OBJECT_TEXT], name[ID_TEXT];
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	int err;

	assert(s->held != STORE_UNLOCKED);
	err = manifest_encode(m, NULL, &data, &len, id, why);
	if (err)
		return err;
	store_object(object, "manifest", id);
	object_id_text(name, id);
	return put_manifest(s, name, data, len, object, why);
}

int store_get_manifest(struct store *s, const struct object_id *id,
		       struct manifest *m, struct fail *why)
{
	char object[STORE_OBJECT_TEXT], name[ID_TEXT];
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	int err;

	store_object(object, "manifest", id);
	object_id_text(name, id);
	err =
	    store_read_file(s->manifests, name, RECORD_MAX_BYTES, &data, &len);
	if (err == -ENOENT)
		return fail_set(why, EXIT_INTEGRITY, err, object,
				"restore it from a copy",
				"is not in the store");
	if (err == -EFBIG)
		return fail_set(why, EXIT_INTEGRITY, -EBADMSG, object,
				"restore it from a copy",
				"is longer than any manifest");
	if (err)
		return file_failed(object, err, "read", why);
	return manifest_decode(m, data, len, id, NULL, why);
}

/* ---- refs: names ---- */

bool store_ref_parse(const char *file, char vm[RECORD_NAME_MAX + 1],
		     char name[RECORD_NAME_MAX + 1])
{
	const char *at = strchr(file, '@');
	size_t len = at ? (size_t)(at - file) : 0;

	if (!at || len > RECORD_NAME_MAX || strlen(at + 1) > RECORD_NAME_MAX)
		return false;
	memcpy(vm, file, len);
	vm[len] = '\0';
	strcpy(name, at + 1);
	return !record_name_check(vm) && !record_name_check(name);
}

/* Its file's name, which is what messages call it, too. */
static int ref_file(char file[REF_FILE_MAX + 1], const char *vm,
		    const char *name, struct fail *why)
{
	const char *bad = record_name_check(vm)	    ? vm
			  : record_name_check(name) ? name
						    : NULL;

	if (bad)
		return fail_set(why, EXIT_USAGE, -EINVAL, bad,
				"use 1 to 63 letters, digits, '_', '.' or '-', "
				"the first a letter or digit",
				"not a name");
	snprintf(file, REF_FILE_MAX + 1, "%s@%s", vm, name);
	return 0;
}

/* ---- refs: reading ---- */

/* -ENOENT without `why`. */
static int read_ref(struct store *s, const char *file, struct ref *r,
		    struct fail *why)
{
	char vm[RECORD_NAME_MAX + 1], name[RECORD_NAME_MAX + 1];
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	int err = store_read_file(s->refs, file, RECORD_MAX_BYTES, &data, &len);

	if (err == -ENOENT)
		return err;
	if (err == -EFBIG)
		return fail_set(why, EXIT_INTEGRITY, -EBADMSG, file, NULL,
				"is longer than any ref");
	if (err)
		return file_failed(file, err, "read", why);
	err = ref_decode(r, data, len, NULL, why);
	if (err) {
		fail_about(why, "%s", file);
		return err;
	}
	if (store_ref_parse(file, vm, name) && !strcmp(vm, r->vm) &&
	    !strcmp(name, r->name))
		return 0;
	ref_free(r);
	return fail_set(why, EXIT_INTEGRITY, -EBADMSG, file, NULL,
			"is another snapshot's ref than its name says");
}

void store_name_refs(struct store *s, const char *vm, char *text, size_t room)
{
	char ref_vm[RECORD_NAME_MAX + 1], name[RECORD_NAME_MAX + 1];
	struct store_names names;
	size_t at = 0;

	*text = '\0';
	if (store_names_read(&names, s->refs))
		return;
	for (size_t i = 0; i < names.n; i++) {
		if (!store_ref_parse(names.name[i], ref_vm, name) ||
		    strcmp(ref_vm, vm))
			continue;
		if (at + strlen(name) + sizeof("it has: , ...") > room) {
			strcpy(text + at, ", ...");
			break;
		}
		at += (size_t)sprintf(text + at, "%s%s",
				      at ? ", " : "it has: ", name);
	}
	store_names_free(&names);
}

static int not_found(struct store *s, const char *vm, const char *file,
		     struct fail *why)
{
	char hint[sizeof(why->hint)];

	store_name_refs(s, vm, hint, sizeof(hint));
	return fail_set(why, EXIT_NOT_FOUND, -ENOENT, file,
			*hint ? hint : "see 'tintype snapshot list'",
			*hint ? "no such snapshot"
			      : "no such snapshot: there is none of this VM");
}

int store_get_ref(struct store *s, const char *vm, const char *name,
		  struct ref *r, struct fail *why)
{
	char file[REF_FILE_MAX + 1];
	int err = ref_file(file, vm, name, why);

	if (!err)
		err = read_ref(s, file, r, why);
	return err == -ENOENT ? not_found(s, vm, file, why) : err;
}

struct each {
	const char *vm;
	int (*fn)(void *ctx, const char *vm, const char *name,
		  const struct ref *r, const struct fail *why);
	void *ctx;
};

static int each_one(struct store *s, const char *file, const struct each *e)
{
	char vm[RECORD_NAME_MAX + 1], name[RECORD_NAME_MAX + 1];
	struct fail why = { .code = EXIT_OK };
	struct ref r = { 0 };
	int err, stop;

	if (!strncmp(file, NEW_FILE_TEMP, strlen(NEW_FILE_TEMP)))
		return 0;
	if (!store_ref_parse(file, vm, name)) {
		if (e->vm)
			return 0;
		fail_set(&why, EXIT_INTEGRITY, -EBADMSG, file,
			 "remove it from the store's refs/",
			 "is not the name of a ref");
		return e->fn(e->ctx, "", file, NULL, &why);
	}
	if (e->vm && strcmp(e->vm, vm))
		return 0;
	err = read_ref(s, file, &r, &why);
	if (err == -ENOENT) /* gone since we looked */
		return 0;
	stop = e->fn(e->ctx, vm, name, err ? NULL : &r, err ? &why : NULL);
	if (!err)
		ref_free(&r);
	return stop;
}

int store_each_ref(struct store *s, const char *vm,
		   int (*fn)(void *ctx, const char *vm, const char *name,
			     const struct ref *r, const struct fail *why),
		   void *ctx, struct fail *why)
{
	const struct each e = { vm, fn, ctx };
	struct store_names names;
	int stop = store_names_read(&names, s->refs);

	if (stop)
		return file_failed("store/refs", stop, "list", why);
	for (size_t i = 0; i < names.n && !stop; i++)
		stop = each_one(s, names.name[i], &e);
	store_names_free(&names);
	return stop;
}

/* ---- refs: changing ---- */

/* 0: `r` may take the place of what is there. */
static int judge_sequence(struct store *s, const char *file,
			  const struct ref *r, struct fail *why)
{
	struct ref old = { 0 };
	uint64_t sequence;
	int err = read_ref(s, file, &old, why);

	if (err)
		return err == -ENOENT ? not_found(s, r->vm, file, why) : err;
	sequence = old.sequence;
	ref_free(&old);
	if (r->sequence - 1 == sequence)
		return 0;
	return fail_set(why, EXIT_CONFLICT, -ESTALE, file, "try again",
			"somebody else has changed it meanwhile");
}

static int write_ref(struct store *s, const char *file, const uint8_t *data,
		     size_t len, bool replace, struct fail *why)
{
	struct new_file f = NEW_FILE_NONE;
	int err = new_file_create_in(&f, s->refs, file, file, 0600, why);

	if (!err) {
		err = file_write(f.fd, 0, data, len);
		if (err)
			file_failed(file, err, "write", why);
	}
	if (!err)
		err = replace ? new_file_replace(&f, why)
			      : new_file_commit(&f, why);
	new_file_discard(&f);
	if (err == -EEXIST)
		return fail_set(why, EXIT_CONFLICT, err, file,
				"give another name, or delete it first",
				"there is a snapshot of this name");
	return err;
}

int store_put_ref(struct store *s, struct ref *r, bool replace,
		  struct fail *why)
{
	char file[REF_FILE_MAX + 1];
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	int err = ref_file(file, r->vm, r->name, why);

	assert(s->held != STORE_UNLOCKED);
	if (!err)
		err = ref_encode(r, NULL, &data, &len, why);
	if (!err)
		err = store_lock_byte(s, F_WRLCK, 1, why);
	if (err)
		return err;
	if (replace)
		err = judge_sequence(s, file, r, why);
	if (!err)
		err = write_ref(s, file, data, len, replace, why);
	(void)store_lock_byte(s, F_UNLCK, 1, NULL);
	return err;
}

static int denied(const char *file, const char *what, const char *hint,
		  struct fail *why)
{
	return fail_set(why, EXIT_DENIED, -EPERM, file, hint, "is %s", what);
}

static uint64_t since_1970_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A manifest that cannot be read promises nothing, and its snapshot is lost. */
static int immutable_until(struct store *s, const char *file,
			   const struct object_id *id, uint64_t *until,
			   struct fail *why)
{
	struct manifest m = { 0 };
	int err = store_get_manifest(s, id, &m, NULL);

	*until = 0;
	if (err == -ENOENT || err == -EBADMSG)
		return 0;
	if (err)
		return file_failed(file, err, "read the manifest of", why);
	*until = m.immutable_until_ns;
	manifest_free(&m);
	return 0;
}

static int may_delete(struct store *s, const char *file, const struct ref *r,
		      struct fail *why)
{
	uint64_t now = since_1970_ns(), until;
	int err;

	if (r->keep & REF_HELD || r->hold_until_ns > now)
		return denied(file, "held", "ask who administers it", why);
	if (r->keep & REF_PINNED)
		return denied(file, "pinned", NULL, why);
	err = immutable_until(s, file, &r->manifest, &until, why);
	if (!err && until > now)
		err = denied(file, "immutable for some time",
			     "'tintype snapshot show' says until when", why);
	return err;
}

static int remove_ref(struct store *s, const char *vm, const char *file,
		      struct fail *why)
{
	struct ref r = { 0 };
	int err = read_ref(s, file, &r, why);

	if (err)
		return err == -ENOENT ? not_found(s, vm, file, why) : err;
	err = may_delete(s, file, &r, why);
	ref_free(&r);
	if (err)
		return err;
	if (unlinkat(s->refs, file, 0))
		return file_failed(file, -errno, "delete", why);
	err = file_sync_dir(s->refs);
	return err ? file_failed(file, err, "sync", why) : 0;
}

int store_delete_ref(struct store *s, const char *vm, const char *name,
		     struct fail *why)
{
	char file[REF_FILE_MAX + 1];
	int err = ref_file(file, vm, name, why);

	if (!err)
		err = store_lock_byte(s, F_WRLCK, 1, why);
	if (err)
		return err;
	err = remove_ref(s, vm, file, why);
	(void)store_lock_byte(s, F_UNLCK, 1, NULL);
	return err;
}
