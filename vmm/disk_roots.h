/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roots.json of a VM's directory (docs/capture-protocol.md): which head each
 * disk uses, what that head was made over, and the snapshots that it needs.
 *
 * Owner: any thread, before the sandbox is closed; whoever writes it holds
 * capture.lock. The file is input like any other: what it claims is checked.
 */
#ifndef TINTYPE_DISK_ROOTS_H
#define TINTYPE_DISK_ROOTS_H

#include "disk_source.h"
#include "hash.h"
#include "home.h"

#define DISK_UID_TEXT 33 /* 32 hex digits */

struct disk_root {
	char id[CONFIG_DISK_ID_MAX + 1];
	char uid[DISK_UID_TEXT];  /* "heads": one in its chain; "": none */
	char next[DISK_UID_TEXT]; /* "next", of a restore; "": none */
	/* The base as it was then. */
	char *path;		  /* absolute */
	uint64_t bytes, mtime_ns; /* disk_source.h's */
	bool qcow2;
};

struct disk_roots {
	struct disk_root *root;
	unsigned n;
	/* "parents": manifests whose layers are kept, oldest first. */
	struct object_id *parent;
	unsigned nparents;
	bool scratch; /* what the heads hold does not count */
	bool dirty;   /* differs from the file */
};

/* An empty one when there is no file. Free by disk_roots_free, also after a
 * failure. EXIT_INTEGRITY; EXIT_INCOMPATIBLE when it is a newer version's. */
int disk_roots_read(struct disk_roots *r, const struct vm_dir *d,
		    struct fail *why);
/* By another file that takes its place; `durable`: synced, with all names on
 * the way to it from the home. */
int disk_roots_write(struct disk_roots *r, const struct vm_dir *d, bool durable,
		     struct fail *why);
void disk_roots_free(struct disk_roots *r);

struct disk_root *disk_roots_find(const struct disk_roots *r, const char *id);
/* In that order, each once. 0 or -ENOMEM, and nothing has changed. */
int disk_roots_set_parents(struct disk_roots *r, const struct object_id *id,
			   unsigned n);
/* A new one of that base. EXIT_USAGE when its path cannot be kept. */
int disk_roots_add(struct disk_roots *r, const struct disk_config *c,
		   const struct disk_source *s, struct disk_root **out,
		   struct fail *why);
/* Whether it is the base that the disk began with. EXIT_CONFLICT. */
int disk_root_compare(const struct disk_root *r, const struct vm_dir *d,
		      const struct disk_config *c, const struct disk_source *s,
		      struct fail *why);

/* By which a manifest knows that base again. */
void disk_root_stamp(const struct disk_root *r, uint8_t stamp[ID_BYTES]);

#endif
