/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A home with a VM of one or two disks, whose heads, store and roots.json are
 * made as a crash might have left them; and processes that are killed at each
 * of their system calls.
 */
#ifndef TINTYPE_TESTS_DIRTEST_H
#define TINTYPE_TESTS_DIRTEST_H

#include "disk_dir.h"
#include "disk_open.h"
#include "store.h"

#define DISK_BLOCKS 64
#define DISK_BYTES  (DISK_BLOCKS * UINT64_C(4096))

struct dirtest {
	char path[64]; /* the home */
	struct vm_dir vm;
	struct vm_config config;
	struct fail why;
	/* What disk_open_all gave. */
	struct disk_files files[CONFIG_MAX_DISKS];
	int *layer;
	unsigned nlayers;
};

/* As after a first `run`, but the heads that it made are gone. */
void dirtest_init(struct dirtest *t, unsigned disks);
void dirtest_fini(struct dirtest *t);

/* As the next `run`: 0 or -errno with t->why. */
int dirtest_open(struct dirtest *t);
void dirtest_close(struct dirtest *t);

/* How a head is left: what was written to it, each of these in turn. */
enum left {
	LEFT_EMPTY,
	LEFT_UNSYNCED, /* written, never flushed */
	LEFT_FLUSHED,  /* block 0 has the tag */
	LEFT_SEALED,   /* that, and sealed */
};
struct made {
	char uid[DISK_UID_TEXT];
	struct object_id layer; /* LEFT_SEALED */
};
/* On what another one is, or on nothing (NULL). `tag` goes to block 0 and to
 * block `tag`. */
struct made dirtest_head(struct dirtest *t, const char *disk,
			 const struct made *below, enum left left, uint8_t tag);
/* On root 0 of a layer. */
struct made dirtest_head_on(struct dirtest *t, const char *disk,
			    const struct object_id *layer, enum left left,
			    uint8_t tag);
bool dirtest_there(const struct dirtest *t, const char *disk,
		   const struct made *m);

/* The sealed head gets its name in the store, and a manifest there names it. */
struct object_id dirtest_store(struct dirtest *t, const char *disk,
			       const struct made *m);

/* Changes roots.json: "heads" of a disk; all of it. */
void dirtest_point(struct dirtest *t, const char *disk, const struct made *m);
struct disk_dir *dirtest_roots(struct dirtest *t);
void dirtest_roots_done(struct dirtest *t);

/* Everything in the VM's directory that lasts, as text: two recoveries must
 * leave the same. The caller frees it. */
char *dirtest_listing(const struct dirtest *t);

/* The disk as it would be read, DISK_BYTES; its block 0's tag. */
void dirtest_read(struct dirtest *t, unsigned disk, uint8_t *buf);
uint8_t dirtest_tag(struct dirtest *t, unsigned disk);

/* Runs `fn` in a process that dies before its system call number `at`: false
 * when it came to its end. */
bool killed_at(unsigned at, void (*fn)(void *ctx), void *ctx);

#endif
