/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a VM's disks in its directory, while capture.lock is held:
 * heads/ID.UID, bases/ID.raw, roots.json (docs/capture-protocol.md,
 * "Processes, files, locks").
 *
 *   disk_dir_lock -> heads made, opened, dropped; roots changed and written
 *                 -> disk_dir_trim -> disk_dir_unlock
 *
 * A head has its name when it is complete and synced. What roots.json does not
 * name is nobody's, and goes when somebody trims.
 *
 * Owner: who starts the VM or captures it, one thread; not in the sandbox. 0 or
 * -errno with `why`.
 */
#ifndef TINTYPE_DISK_DIR_H
#define TINTYPE_DISK_DIR_H

#include "disk_roots.h"
#include "head.h"

/* ID.UID, ID.raw, ID.new */
#define DISK_HEAD_TEXT (CONFIG_DISK_ID_MAX + DISK_UID_TEXT + 8)

struct disk_dir {
	const struct vm_dir *vm;
	bool durable;		/* names are synced: the VM stays */
	int lock, heads, bases; /* heads, bases: -1 until they are needed */
	struct disk_roots roots;
};
#define DISK_DIR_NONE                                                          \
	{                                                                      \
		.lock = -1, .heads = -1, .bases = -1                           \
	}

/* Takes capture.lock (EXIT_CONFLICT) and reads roots.json; `d` outlives it. */
int disk_dir_lock(struct disk_dir *x, const struct vm_dir *d, bool durable,
		  struct fail *why);
void disk_dir_unlock(struct disk_dir *x); /* also after a failure */

/* The directories' fds, made when they are not there. */
int disk_dir_heads(struct disk_dir *x, struct fail *why);
int disk_dir_bases(struct disk_dir *x, struct fail *why);
int disk_dir_sync(const struct disk_dir *x, int dir, struct fail *why);
int disk_dir_sync_heads(struct disk_dir *x, struct fail *why);

/* A file of ours: never through a link, of nobody else. An fd or -errno. */
int disk_dir_open_own(int dir, const char *name, int flags);

/*
 * An empty head, complete and synced, with its name. `info`: bytes and what it
 * lies on; uid is filled in, as is `uid`. `reserve`: so many bytes of space are
 * there for it (EXIT_NO_SPACE). *fd is read-write, the caller's.
 */
int disk_dir_make_head(struct disk_dir *x, const char *id,
		       struct head_info *info, uint64_t reserve,
		       char uid[DISK_UID_TEXT], int *fd, struct fail *why);
/* An fd. */
int disk_dir_open_head(struct disk_dir *x, const char *id, const char *uid,
		       int flags, struct fail *why);
void disk_dir_drop_head(struct disk_dir *x, const char *id, const char *uid);

struct disk_head_ref {
	const char *id, *uid;
};
/*
 * Unlinks what neither roots.json ("heads", "next", "bases") nor `keep` names.
 * `keep` has all of a disk's chain, or nothing of it: then all that this disk
 * has stays.
 */
void disk_dir_trim(struct disk_dir *x, const struct disk_head_ref *keep,
		   unsigned n);

void disk_uid_text(char text[DISK_UID_TEXT], const uint8_t uid[UID_BYTES]);
int disk_uid_parse(uint8_t uid[UID_BYTES], const char *text); /* or -EINVAL */
void disk_head_name(char name[DISK_HEAD_TEXT], const char *id, const char *uid);
/* The disk and uid that a file's name has; false: it is no head's. */
bool disk_head_name_parse(const char *name, char id[CONFIG_DISK_ID_MAX + 1],
			  char uid[DISK_UID_TEXT]);
void disk_base_name(char name[DISK_HEAD_TEXT], const char *id);

#endif
