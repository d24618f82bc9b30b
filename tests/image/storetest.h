/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a directory of its own, and snapshots of one page a layer. */
#ifndef TINTYPE_STORETEST_H
#define TINTYPE_STORETEST_H

#include <criterion/criterion.h>
#include <string.h>

#include "imgtest.h"
#include "store.h"

/* The call returns that, and says that exit code. */
#define expect(call, want, want_code)                                          \
	do {                                                                   \
		memset(&why, 0, sizeof(why));                                  \
		cr_assert_eq((call), (want), "%s: %s", why.object,             \
			     why.message);                                     \
		cr_assert_eq((int)why.code, (int)(want_code), "%s",            \
			     why.message);                                     \
	} while (0)

/* A new, empty home; gone with all in it by store_test_end. */
extern int test_home;
void store_test_home(void);
void store_test_end(void);

/* The files' paths in the home. */
const char *layer_path(char path[128], const struct object_id *id);
const char *manifest_path(char path[128], const struct object_id *id);
unsigned count_files(const char *dir);
void flip_byte(const char *path, uint64_t at);
/* Makes a file of that size, or lengthens one. */
void make_large(const char *path, uint64_t bytes);
bool same_inode(int a, int b);

/* Fills and seals what is to be a layer, of nothing but that page. */
void store_test_fill(struct store *s, int rw, uint64_t tag,
		     struct object_id *id);
/* A sealed layer, of an image of a MiB over that of `base` (NULL: nothing) with
 * page `tag` filled by `tag`. Its fds; or the read-only one alone. */
void make_sealed(struct store *s, uint64_t tag, const struct object_id *base,
		 int *rw, int *ro, struct object_id *id);
int new_layer(struct store *s, uint64_t tag, const struct object_id *base,
	      struct object_id *id);
/* One that has a name in the home, as a head. */
int named_layer(struct store *s, const char *name, uint64_t tag,
		struct object_id *id);
/* One in the store; at another page than `tag` says. */
struct object_id put_layer(struct store *s, uint64_t tag,
			   const struct object_id *base);
struct object_id put_layer_at(struct store *s, uint64_t page, uint64_t tag,
			      const struct object_id *base);
void expect_page(struct layer_set *set, const struct object_id *layer,
		 uint64_t page, uint64_t tag);

/* A manifest of one disk, which is root 0 of that layer; free it. */
void store_test_manifest(struct manifest *m, const struct object_id *layer,
			 const struct object_id *parent);
/* A whole snapshot, of that layer or of a new one; the manifest's id. */
struct object_id put_snapshot_of(struct store *s, const char *vm,
				 const char *name,
				 const struct object_id *layer,
				 const struct object_id *parent);
struct object_id put_snapshot(struct store *s, const char *vm, const char *name,
			      uint64_t tag, const struct object_id *base,
			      const struct object_id *parent);

#endif
