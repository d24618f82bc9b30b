/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed layers, read: each is a file that never changes
 * (docs/image-format.md). A layer is opened into a set, which finds it again by
 * its id; all layers that refer to each other are in one set.
 *
 * Nothing that is read from the file is believed: metadata is checked against
 * the id, page by page, when it is first used, and used from the checked copy;
 * numbers in it are bounded at each use; data is checked by its sum when it is
 * read. What is returned is safe to use for a file with any content.
 *
 * Threads: opening and layer_link belong to one thread; others may meanwhile
 * read layers that are linked, and images of them, but not ask for or go
 * through the set. Closing: while no other thread uses it. All else: any
 * thread.
 *
 * Errors: -EBADMSG damaged (EXIT_INTEGRITY; EXIT_DENIED: or the key is not the
 * layer's, none of whose chunks it has opened yet), -ENOTSUP made by a newer
 * version (EXIT_INCOMPATIBLE), -ENOENT a layer or root that is not there
 * (EXIT_DENIED: or that may be in a file which could not be read), -ENOMEM,
 * what the file system says, or what the key's giver says (-ENOKEY: there is
 * none); `why` names the layer, and for damage the offset.
 */
#ifndef TINTYPE_LAYER_H
#define TINTYPE_LAYER_H

#include "codec.h"
#include "fail.h"
#include "layer_format.h"

struct layer;
struct layer_set;

/* Gives the key of the layer with that uid. 0 or -errno. */
typedef int (*layer_key_fn)(void *ctx, const uint8_t uid[UID_BYTES],
			    uint8_t key[LAYER_KEY_BYTES]);
/* Gives an open file, read-only, of the layer with that id (ownership goes to
 * the caller), or -ENOENT. */
typedef int (*layer_find_fn)(void *ctx, const struct object_id *id);

/* `key` may be NULL: encrypted layers are then refused. NULL: no memory. */
struct layer_set *layer_set_create(layer_key_fn key, void *ctx);
/* Closes every layer. */
void layer_set_destroy(struct layer_set *s);

/*
 * Opens the layer in `fd` (always taken: closed on failure, and when the set
 * has that layer already, which is then returned). `name` is for messages.
 * `want`: refused with -EBADMSG when its id is another; NULL: any.
 */
int layer_open(struct layer_set *s, int fd, const char *name,
	       const struct object_id *want, struct layer **out,
	       struct fail *why);

/* The same, but when it fails, or the set has that layer already, `fd` stays
 * open and the caller's: *taken tells. */
int layer_open_lent(struct layer_set *s, int fd, const char *name,
		    const struct object_id *want, struct layer **out,
		    bool *taken, struct fail *why);

/*
 * Opens the imports of all layers of the set, and theirs, by `find`. One that
 * is not found (-ENOENT) is no failure before something needs it: a tree may
 * have stopped referring to it. Any other error of `find` is returned, and so
 * is damage; all that can be linked is linked then too, and what cannot is as
 * good as not there.
 */
int layer_link(struct layer_set *s, layer_find_fn find, void *ctx,
	       struct fail *why);

/* The n-th layer of the set in the order of opening, or NULL: each knows its
 * number. */
struct layer *layer_set_at(const struct layer_set *s, unsigned n);
unsigned layer_set_count(const struct layer_set *s);
/* NULL: it is not in the set. */
struct layer *layer_set_find(const struct layer_set *s,
			     const struct object_id *id);

/* The name of a file that could not be read where layers were looked for: who
 * needs one that is not there is told of it. */
void layer_set_unreadable(struct layer_set *s, const char *name);

unsigned layer_number(const struct layer *l);
const struct object_id *layer_id(const struct layer *l);
const char *layer_name(const struct layer *l);
uint32_t layer_flags(const struct layer *l);
int layer_fd(const struct layer *l);
/* Its fd, the caller's from here on: the layer can only be closed. */
int layer_take_fd(struct layer *l);
uint64_t layer_file_bytes(const struct layer *l);
uint32_t layer_data_pages(const struct layer *l);
uint64_t layer_meta_bytes(const struct layer *l);
uint64_t layer_items(const struct layer *l, enum section s);

/* Import 0 is the layer itself. */
int layer_import(struct layer *l, unsigned import, struct layer **out,
		 struct fail *why);
/* That import's id, also when it is not there; `import` is not 0. */
int layer_import_id(struct layer *l, unsigned import, struct object_id *id,
		    struct fail *why);

/* `n` entries from number `at` of the nodes section: valid as long as the
 * layer. They lie within one page of metadata, else -EBADMSG. */
int layer_node(struct layer *l, uint32_t at, unsigned n,
	       const struct node_entry **node, struct fail *why);
int layer_diff(struct layer *l, uint32_t at, struct layer_diff *diff,
	       struct fail *why);
int layer_root(struct layer *l, uint32_t at, struct layer_root *root,
	       struct fail *why);
/* The sum of a data page, 1 to layer_data_pages. */
int layer_sum(struct layer *l, uint32_t page, uint64_t *sum, struct fail *why);

/* `n` data pages from body page `page` on, each compared with its sum. */
int layer_read(struct layer *l, uint32_t page, unsigned n, void *buf,
	       struct fail *why);

/* Fills `why` for damage at that offset of the file; returns -EBADMSG. */
int layer_damaged(const struct layer *l, uint64_t offset, struct fail *why,
		  const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Where an item of a section stands in a plain layer's file, for messages. */
uint64_t layer_item_offset(const struct layer *l, enum section s, uint64_t at);

/* Reads and checks the header alone, as for `image info` on a file that is
 * perhaps a head: 0, else as above. */
int layer_read_header(int fd, const char *name, struct layer_header *h,
		      struct fail *why);

/* Whether the file with that header ends in a trailer that names it, and so is
 * a layer and no head: 1 with the layer's id, 0, or -errno. */
int layer_is_sealed(int fd, const struct layer_header *h, struct object_id *id);

#endif
