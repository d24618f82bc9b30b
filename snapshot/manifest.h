/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The immutable description of one snapshot, as bytes and as a plain struct.
 * docs/image-format.md, "Manifest", has every byte. Only memory: who opens
 * files calls this. Any thread, each object by one at a time.
 */
#ifndef TINTYPE_MANIFEST_H
#define TINTYPE_MANIFEST_H

#include "record.h"

#define MANIFEST_MAX_IMAGES	 256
#define MANIFEST_MAX_KEYS	 4096
#define MANIFEST_MAX_FIGURES	 64
#define MANIFEST_MAX_FINGERPRINT 65536
#define MANIFEST_MAX_WRAPPED	 128

/* Bits of `kind`; without MANIFEST_MEMORY: disks only, for a fresh boot. */
enum {
	MANIFEST_MEMORY = 1, /* memory and state: the guest can go on */
	MANIFEST_LIVE = 2,   /* the guest ran while it was taken */
};

enum manifest_consistency {
	CONSISTENT_CRASH = 1, /* as after a power cut */
	CONSISTENT_FILES,     /* the guest's file systems were frozen */
	CONSISTENT_APPS,      /* and its applications had their hooks run */
};

enum manifest_image_kind { IMAGE_MEMORY = 1, IMAGE_DISK, IMAGE_STATE };
enum manifest_base { BASE_NONE, BASE_RAW_FILE };

/* These three are the values of records, byte for byte. Texts are zero from
 * their end on; what does not apply is zero. */
struct manifest_image {
	uint32_t kind; /* enum manifest_image_kind */
	char id[RECORD_NAME_MAX + 1];
	uint32_t root;	/* number of the root in the layer */
	uint64_t bytes; /* of the image */
	struct object_id layer;
	uint32_t base; /* enum manifest_base; disks only */
	uint32_t zero;
	uint64_t base_bytes;
	uint8_t base_stamp[32];
};

struct manifest_key {
	uint8_t layer_uid[UID_BYTES];
	uint32_t bytes; /* of `wrapped` */
	uint32_t zero;
	uint8_t wrapped[MANIFEST_MAX_WRAPPED];
};

struct manifest_figure {
	char name[32];
	uint64_t value;
};

struct manifest {
	struct record rec;
	uint64_t taken_ns; /* since 1970, UTC */
	char engine[64];   /* "tintype 0.1.0": what took it */
	uint8_t vm_uid[UID_BYTES];
	struct object_id parent; /* zero: none; it may be deleted meanwhile */
	uint32_t kind;
	uint32_t consistency;	     /* enum manifest_consistency */
	uint64_t immutable_until_ns; /* since 1970, UTC; 0: not promised */
	uint32_t owner_uid;	     /* of the user whose VM it is */
	RECORD_ARRAY(uint8_t) fingerprint; /* of the host */
	RECORD_ARRAY(struct manifest_image) images;
	RECORD_ARRAY(struct manifest_key) keys;
	RECORD_ARRAY(struct manifest_figure) figures;
};

/*
 * Results as record_decode and record_encode. `id`, if known, is what the bytes
 * must have; an id from an authentic ref or manifest vouches for them as a key
 * does. What was decoded is freed by manifest_free.
 */
int manifest_decode(struct manifest *m, const void *data, size_t len,
		    const struct object_id *id, const struct mac_key *key,
		    struct fail *why);

/* The caller frees *data; `id` gets the manifest's id. */
int manifest_encode(struct manifest *m, const struct mac_key *key,
		    uint8_t **data, size_t *len, struct object_id *id,
		    struct fail *why);

void manifest_free(struct manifest *m);

#endif
