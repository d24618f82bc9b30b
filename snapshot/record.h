/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of manifests and refs (docs/image-format.md, "Manifest"): tagged
 * records between a header and an authentication. A format is one table whose
 * rows lay tags onto the members of a plain struct; reading, checking and
 * writing are generic over it.
 *
 * Only bytes in memory; any thread, each object by one at a time. hash_init
 * comes first.
 */
#ifndef TINTYPE_RECORD_H
#define TINTYPE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fail.h"
#include "hash.h"

#define RECORD_MAX_BYTES  (1U << 20) /* of a whole file */
#define RECORD_HEAD_BYTES 16
#define RECORD_AUTH_BYTES 48
#define RECORD_NAME_MAX	  63
#define RECORD_MAX_ROWS	  16

/* Flags of a record, in the file. */
#define RECORD_CRITICAL 1 /* who does not know the tag refuses */
#define RECORD_LIST	2 /* one item of a list: may be repeated */

enum record_scheme { RECORD_NOT_AUTHENTICATED, RECORD_KEYED };

/* On the heap; record_free frees it. Items are bytes, or a struct without
 * padding that is the record's value. */
#define RECORD_ARRAY(T)                                                        \
	struct {                                                               \
		T *item;                                                       \
		uint32_t n;                                                    \
	}

/* The first member of every struct that a table describes; zero in a new one.
 * `unknown`: records of a newer version that may be ignored; they are written
 * again as they were. */
struct record {
	uint32_t scheme;
	uint8_t mac[MAC_BYTES];
	RECORD_ARRAY(uint8_t) unknown;
};

enum record_kind {
	RECORD_FIXED, /* a number, bytes: as many as the member has */
	RECORD_TEXT,  /* char[size]: UTF-8, ended by a NUL in memory only */
	RECORD_BYTES, /* RECORD_ARRAY(uint8_t): one record */
	RECORD_ITEMS, /* RECORD_ARRAY(struct): one record for each */
};

struct record_row {
	uint16_t tag; /* 1 to 0xfffe, ascending in the table */
	bool critical;
	bool must;   /* else a member that is zero or empty has no record */
	bool lines;  /* TEXT: newline and tab are allowed */
	uint8_t key; /* ITEMS: so many first bytes are unique */
	enum record_kind kind;
	uint32_t size;	 /* bytes of the member, of an item; BYTES: 1 */
	uint32_t max;	 /* items or bytes of an array */
	uint16_t offset; /* of the member */
	const char *name;
	/* NULL, or what is wrong with a member or item. */
	const char *(*check)(const void *value);
};

#define RECORD_MEMBER(T, f) (((T *)0)->f)
#define ROW_AT(T, f, k)                                                        \
	.name = #f, .kind = (k), .offset = (uint16_t)offsetof(T, f)
#define ROW_FIXED(T, f)                                                        \
	ROW_AT(T, f, RECORD_FIXED), .size = sizeof(RECORD_MEMBER(T, f))
#define ROW_TEXT(T, f)                                                         \
	ROW_AT(T, f, RECORD_TEXT), .size = sizeof(RECORD_MEMBER(T, f))
#define ROW_BYTES(T, f, most)                                                  \
	ROW_AT(T, f, RECORD_BYTES), .size = 1, .max = (most)
#define ROW_ITEMS(T, f, most, unique)                                          \
	ROW_AT(T, f, RECORD_ITEMS), .size = sizeof(*RECORD_MEMBER(T, f).item), \
				    .max = (most), .key = (unique)

struct record_desc {
	const char *what; /* "manifest" */
	char magic[8];
	uint32_t version; /* the newest that is read, and the one written */
	uint16_t nrows;
	size_t size; /* of the struct */
	const struct record_row *rows;
	/* NULL, or what is wrong between members that are right. */
	const char *(*check)(const void *obj);
};

/*
 * Reads `len` hostile bytes, a private copy that no one changes meanwhile, into
 * `obj`, which holds nothing yet. Whatever vouches for them comes before the
 * records are looked at:
 *
 * - `key`: they must be authenticated by it. NULL: authentication is not
 *   looked at; obj's scheme and mac then are only what the file says.
 * - `id`: the hash of all before the authentication must be this. May be NULL.
 *
 * 0; or -errno with `why` filled and `obj` holding nothing: -EBADMSG and
 * EXIT_INTEGRITY for damage, -ENOTSUP and EXIT_INCOMPATIBLE for what a newer
 * version wrote, -ENOMEM. `why` names object, offset and member.
 */
int record_decode(const struct record_desc *d, void *obj, const void *data,
		  size_t len, const struct object_id *id,
		  const struct mac_key *key, struct fail *why);

/*
 * The one encoding of `obj`, on the heap: the caller frees *data. Sorts the
 * arrays of `obj`. With a key it is authenticated; without, it keeps the scheme
 * and mac that obj has, which no longer fit if anything was changed.
 *
 * What comes out has been read back: an `obj` that record_decode would refuse
 * is -EINVAL and EXIT_USAGE, named as there; -E2BIG when the file would be too
 * large; -ENOMEM.
 */
int record_encode(const struct record_desc *d, void *obj,
		  const struct mac_key *key, uint8_t **data, size_t *len,
		  struct fail *why);

/* The id of an encoding that record_encode made or record_decode took. */
void record_id(struct object_id *id, const void *data, size_t len);

/* Frees what `obj` holds and clears it. */
void record_free(const struct record_desc *d, void *obj);

/*
 * For checks, NULL or what is wrong. A name: 1 to RECORD_NAME_MAX letters,
 * digits, '_', '.', '-', the first a letter or digit. A padded text: char[size]
 * that is zero from its end on.
 */
const char *record_name_check(const void *text);
const char *record_padded_check(const char *text, size_t size);
const char *record_text_check(const char *text, bool lines);

#endif
