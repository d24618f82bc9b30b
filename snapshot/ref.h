/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small record that gives a snapshot its name and keeps it alive, as bytes
 * and as a plain struct. docs/image-format.md, "Ref", has every byte. Only
 * memory: who opens and replaces files calls this. Any thread, each object by
 * one at a time.
 */
#ifndef TINTYPE_REF_H
#define TINTYPE_REF_H

#include "record.h"

#define REF_MAX_LABELS 64
#define REF_MAX_CONFIG 65536

/* Bits of `keep`. */
enum {
	REF_PINNED = 1, /* by its user: nothing removes it by itself */
	REF_HELD = 2,	/* by an administrator: no one removes it */
};

/* The value of a record, byte for byte; texts are zero from their end on. */
struct ref_label {
	char key[RECORD_NAME_MAX + 1];
	char value[128]; /* may be empty */
};

struct ref {
	struct record rec;
	char name[RECORD_NAME_MAX + 1];
	char vm[RECORD_NAME_MAX + 1];
	struct object_id manifest;
	uint64_t sequence; /* from 1, one more at each replacement */
	uint32_t keep;
	uint64_t hold_until_ns; /* since 1970, UTC; only ever later; 0: none */
	uint64_t expiry_ns;	/* since 1970, UTC; 0: none */
	char created_by[128];
	char reason[512];
	char description[4096];
	RECORD_ARRAY(struct ref_label) labels;
	/* How the VM was configured, as JSON: a hint, for instance where the
	 * files are that its disks lie on. Nobody has judged it. */
	RECORD_ARRAY(uint8_t) config;
};

/*
 * Results as record_decode and record_encode; a store that has a key always
 * gives it. The caller compares name, vm and sequence with what it asked for.
 * What was decoded is freed by ref_free; the caller frees *data.
 */
int ref_decode(struct ref *r, const void *data, size_t len,
	       const struct mac_key *key, struct fail *why);
int ref_encode(struct ref *r, const struct mac_key *key, uint8_t **data,
	       size_t *len, struct fail *why);
void ref_free(struct ref *r);

#endif
