/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: snapshots of all VMs of a home.
 *
 *   HOME/store/layers/ID      sealed layers, read-only, never changed
 *   HOME/store/manifests/ID   manifests
 *   HOME/store/refs/VM@NAME   refs: what gives a snapshot its name
 *   HOME/store/lock           OFD lock: shared while layers are opened or
 *                             linked, exclusive while garbage is collected
 *
 * Everything gets its name when it is complete and synced; a ref's rename and
 * the sync of refs/ is the commit point. What no ref and no running VM
 * ("parents" of its roots.json) reaches is garbage.
 *
 * Owner: one thread; not inside the sandbox. 0 or -errno with `why`. A file is
 * input: of a wrong owner or kind it is refused, its bytes are judged by
 * manifest.h, ref.h and layer.h.
 */
#ifndef TINTYPE_STORE_H
#define TINTYPE_STORE_H

#include "layer.h"
#include "manifest.h"
#include "ref.h"

struct store;

/* `home`: a directory's fd, borrowed during the call. -ENOENT (no `why`) when
 * there is none and `create` is not set. */
int store_open(struct store **out, int home, bool create, struct fail *why);
void store_close(struct store *s); /* drops the lock; NULL: nothing */

enum store_lock { STORE_UNLOCKED, STORE_SHARED, STORE_EXCLUSIVE };
/* Waits for a collector, at most 10 s: EXIT_CONFLICT. Whatever is put or linked
 * below is so with the lock held, from the first layer to the ref. */
int store_lock(struct store *s, enum store_lock how, struct fail *why);

/* ---- layers ---- */

/* layer_find_fn with the store as ctx. */
int store_find_layer(void *store, const struct object_id *id);
/* A nameless file for a new layer, `reserve` bytes of space allocated: *rw and
 * the same read-only, *ro. EXIT_NO_SPACE. */
int store_new_layer(struct store *s, uint64_t reserve, int *rw, int *ro,
		    struct fail *why);
/*
 * Gives the sealed layer in `fd` (read-only) its name, which `id` must be:
 * trailer and table are read, and a read lease proves that nobody can write to
 * the file any more. One that is there already is success. A head's file
 * (`dir`, `name`) is linked by its name, a nameless one (`dir` -1) by its fd.
 */
int store_link_layer(struct store *s, int fd, int dir, const char *name,
		     const struct object_id *id, struct fail *why);
int store_sync_layers(struct store *s, struct fail *why);
/* All layers that the manifest's images may need, opened and linked in a new
 * set; each image's root is there, of the size that it is to have. Its tree is
 * judged by who walks it. */
int store_open_images(struct store *s, const struct manifest *m,
		      struct layer_set **set, struct fail *why);

/* ---- manifests and refs ---- */

int store_put_manifest(struct store *s, struct manifest *m,
		       struct object_id *id, struct fail *why);
int store_get_manifest(struct store *s, const struct object_id *id,
		       struct manifest *m, struct fail *why);

/* The commit point. `replace`: there must be one, whose sequence this one
 * follows; else there must be none (EXIT_CONFLICT). */
int store_put_ref(struct store *s, struct ref *r, bool replace,
		  struct fail *why);
/* EXIT_NOT_FOUND names the VM's snapshots that there are. */
int store_get_ref(struct store *s, const char *vm, const char *name,
		  struct ref *r, struct fail *why);
/* The same for a hint: "it has: a, b, c", as many as there is room for; "" when
 * there is none. */
void store_name_refs(struct store *s, const char *vm, char *text, size_t room);
/* All of a VM (NULL: of all VMs), by name, until `fn` returns non-zero; returns
 * that. A damaged one is given with `why` and no ref; so is a file that has not
 * the name of any, with `vm` "", when all are asked for. */
int store_each_ref(struct store *s, const char *vm,
		   int (*fn)(void *ctx, const char *vm, const char *name,
			     const struct ref *r, const struct fail *why),
		   void *ctx, struct fail *why);
/* EXIT_DENIED for what is pinned, held or immutable. Needs no lock; what it
 * kept alive is removed by store_collect. */
int store_delete_ref(struct store *s, const char *vm, const char *name,
		     struct fail *why);

/* ---- garbage ---- */

struct store_collected {
	unsigned manifests, layers;
	uint64_t bytes;
};
/*
 * Locked EXCLUSIVE. Removes manifests that are neither named by a ref nor in
 * `keep` (whose names were read and synced since it was locked), and layers
 * that no tree of the others reaches. Nothing at all when anything that lives
 * is damaged or not there. It may be broken off anywhere, and begun again.
 */
int store_collect(struct store *s, const struct object_id *keep, size_t nkeep,
		  struct store_collected *n, struct fail *why);

#endif
