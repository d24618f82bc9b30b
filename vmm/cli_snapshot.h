/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs of `snapshot` share. Owner: the main thread. */
#ifndef TINTYPE_CLI_SNAPSHOT_H
#define TINTYPE_CLI_SNAPSHOT_H

#include "cli.h"
#include "snapshot_name.h"
#include "store.h"
#include "taker.h"

/* Opens the home's store. -ENOENT, without `why`, when there is none. */
int cli_store_open(struct store **s, struct fail *why);

/* taker_take in the home's store, which is opened, and made, if *s is NULL. */
int cli_snapshot_take(struct store **s, const struct vm_dir *d,
		      const struct taker_request *r, struct taken *t,
		      struct fail *why);

/* A snapshot that was read, or why it could not be. */
struct snapshot {
	struct snapshot_name name;
	struct ref ref;
	struct manifest manifest;
	bool whole;
	struct fail why;  /* unless it is whole */
	uint64_t bytes;	  /* that its own layers take of the file system */
	unsigned nparent; /* 1 + where its parent is among all, or 0 */
	unsigned depth;	  /* set by cli_snapshots_tree */
};

struct snapshots {
	struct snapshot **item; /* by VM, then by time; damaged ones first */
	size_t n, room;
};

/* All of a VM, NULL: of all. 0 or -errno; cli_snapshots_free either way. */
int cli_snapshots_read(struct snapshots *all, struct store *s, const char *vm,
		       struct fail *why);
void cli_snapshots_free(struct snapshots *all);

/* Number `from` and all below it, each parent before its children; with `from`
 * all->n, all of them. The caller frees *order, which has *n. 0 or -errno. */
int cli_snapshots_tree(const struct snapshots *all, size_t from,
		       struct snapshot ***order, size_t *n, struct fail *why);

/* The manifest, and what else is known of a ref's snapshot. 0 or -errno;
 * cli_snapshot_free either way. */
int cli_snapshot_load(struct snapshot *x, struct store *s, struct fail *why);
void cli_snapshot_free(struct snapshot *x);

/* "VM@NAME"; of a file that has not the name of a ref, that. */
#define REF_NAME_TEXT 256
void cli_snapshot_name(char text[REF_NAME_TEXT], const struct snapshot *x);

/* What `list` and `show` say of it; NULL: no memory. */
json_t *cli_snapshot_json(const struct snapshot *x);
json_t *cli_id_json(const struct object_id *id); /* null when it is zero */

/* "2026-01-31T23:59:59Z" */
#define CLI_TIME_TEXT 32
void cli_time_text(char text[CLI_TIME_TEXT], uint64_t ns_since_1970);
json_t *cli_time_json(uint64_t ns_since_1970); /* null when it is 0 */
/* JSON has no unsigned numbers: what does not fit is as large as can be. */
json_t *cli_number_json(uint64_t n);

#endif
