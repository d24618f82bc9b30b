/* SPDX-License-Identifier: Apache-2.0 */
/* The store's inside, for store*.c alone. */
#ifndef TINTYPE_STORE_IMPL_H
#define TINTYPE_STORE_IMPL_H

#include "fileio.h"
#include "image.h"
#include "store.h"

struct store {
	int dir, layers, manifests, refs;
	/* Byte 0: enum store_lock; byte 1: a ref is being changed. */
	int lock_fd;
	enum store_lock held;
	bool no_leases; /* the file system has none; said once */
};

/* What a message calls a thing: "layer 0123456789ab", "manifest ...". */
#define STORE_OBJECT_TEXT 64
void store_object(char text[STORE_OBJECT_TEXT], const char *kind,
		  const struct object_id *id);

/* Opens a file of ours for reading: -ENOENT, -EPERM when it is another's or
 * none, or what the file system says. */
int store_open_file(int dir, const char *name);
/* The whole of a small one, on the heap. 0 or -errno; -EFBIG beyond `max`. */
int store_read_file(int dir, const char *name, size_t max, uint8_t **data,
		    size_t *len);

/* Names of a directory but "." and "..", sorted; free by store_names_free. 0 or
 * -errno. */
struct store_names {
	char **name;
	size_t n, room;
};
int store_names_read(struct store_names *names, int dir);
void store_names_free(struct store_names *names);

/* One layer, one image, in a set that may have more: not linked yet. */
int store_open_layer(struct store *s, struct layer_set *set,
		     const struct object_id *id, struct layer **l,
		     struct fail *why);
int store_open_image(struct store *s, struct layer_set *set,
		     const struct manifest_image *im, struct image *img,
		     struct fail *why);

/* "VM@NAME" in its parts: false when it is not the name of a ref's file. */
#define REF_FILE_MAX (2 * RECORD_NAME_MAX + 1)
bool store_ref_parse(const char *file, char vm[RECORD_NAME_MAX + 1],
		     char name[RECORD_NAME_MAX + 1]);

/* Waits for the lock on that byte; F_UNLCK gives it back. */
int store_lock_byte(struct store *s, short type, unsigned byte,
		    struct fail *why);

#endif
