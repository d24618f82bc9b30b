/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers and heads as they are in a file: docs/image-format.md in C. Numbers
 * are little-endian, as the only processors that we run on.
 */
#ifndef TINTYPE_LAYER_FORMAT_H
#define TINTYPE_LAYER_FORMAT_H

#include <stdint.h>

#include "hash.h"
#include "util.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "x86-64 only");

#define LAYER_MAGIC   "ttlayer\n"
#define TRAILER_MAGIC "tttrail\n"
#define LOGROOT_MAGIC "ttlogrt\n"
#define LAYER_VERSION 1

#define LAYER_COMPRESSED UINT32_C(1)
#define LAYER_ENCRYPTED	 UINT32_C(2)
#define LAYER_FLAGS	 (LAYER_COMPRESSED | LAYER_ENCRYPTED)

#define LAYER_MAX_DATA_PAGES ((UINT32_C(1) << 30) - 1)
#define LAYER_MAX_IMPORTS    UINT32_C(65535)
#define LAYER_MAX_ROOTS	     UINT32_C(65535)
#define LAYER_MAX_ENTRIES    (UINT64_C(1) << 32)
#define IMAGE_MAX_BYTES	     (UINT64_C(1) << 52)

#define CHUNK_PAGES 16
#define CHUNK_BYTES (CHUNK_PAGES * PAGE_BYTES)

enum below_kind { BELOW_NOTHING, BELOW_LAYER, BELOW_HEAD };

struct layer_header {
	char magic[8];
	uint32_t version, flags;
	uint8_t uid[UID_BYTES];
	uint64_t bytes;
	uint32_t below_kind, below_root;
	uint8_t below[ID_BYTES]; /* an id, or a uid and zeroes */
	uint8_t zero[416];
	uint8_t check[CHECK_BYTES];
};
#define HEADER_BYTES 512

#define NODE_ENTRIES	      256
#define NODE_SHIFT	      8
#define NODE_ENTRIES_PER_PAGE (PAGE_BYTES / 8)
#define NODE_MAX_LEVEL	      4

/* In an inner node: child `first`, which has `more` + 1 entries from number
 * `at` of the nodes section of layer `import`. In a leaf: `more` + 1 pages from
 * page `first` of the leaf on; `at` is their kind and place. */
struct node_entry {
	uint8_t first, more;
	uint16_t import;
	uint32_t at;
};

enum run_kind { RUN_PAGES, RUN_ZERO, RUN_DIFFS };
#define RUN_KIND_SHIFT 30
#define RUN_PLACE_MASK LAYER_MAX_DATA_PAGES

struct layer_diff {
	uint16_t import, patch_offset;
	uint32_t base_page;
	uint32_t patch_page;
	uint16_t patch_bytes, zero;
};
#define PATCH_MAX_BYTES 512

struct layer_root {
	uint64_t bytes;
	struct node_entry top; /* all ones: nothing */
	uint32_t level;
	uint32_t zero[3];
};

enum section {
	SECTION_NODES,
	SECTION_SUMS,
	SECTION_DIFFS,
	SECTION_IMPORTS,
	SECTION_ROOTS,
	SECTIONS
};

struct layer_section {
	uint64_t offset, count;
};

struct layer_trailer {
	char magic[8];
	uint32_t version, flags;
	uint8_t header_check[CHECK_BYTES];
	uint64_t table_offset, table_bytes;
	struct object_id table_hash;
	uint64_t data_pages, meta_bytes;
	struct layer_section section[SECTIONS];
	uint8_t zero[304];
	struct object_id id;
};
#define TRAILER_BYTES 512

struct chunk_entry {
	uint64_t offset;
	uint32_t stored, zero;
	uint8_t check[CHECK_BYTES];
};

#define LOG_ROOT_OFFSET(i) (UINT64_C(512) * (1 + (i)))

struct log_root {
	char magic[8];
	uint64_t generation;
	uint32_t slot, pages;
	uint8_t zero[472];
	uint8_t check[CHECK_BYTES];
};

enum log_type { LOG_END, LOG_MAP, LOG_ZERO, LOG_NEXT, LOG_COMMIT };
#define LOG_SUM_COUNTS 1

struct log_record {
	uint8_t type, flags;
	uint16_t zero;
	uint32_t count;
	uint64_t block;
	uint32_t slot, zero2;
	uint64_t sum;
};
#define LOG_PER_PAGE (PAGE_BYTES / sizeof(struct log_record))

_Static_assert(sizeof(struct layer_header) == HEADER_BYTES, "header");
_Static_assert(sizeof(struct node_entry) == 8, "entry");
_Static_assert(sizeof(struct layer_diff) == 16, "diff");
_Static_assert(sizeof(struct layer_root) == 32, "root");
_Static_assert(sizeof(struct layer_trailer) == TRAILER_BYTES, "trailer");
_Static_assert(sizeof(struct chunk_entry) == 32, "chunk");
_Static_assert(sizeof(struct log_root) == 512, "log root");
_Static_assert(sizeof(struct log_record) == 32, "log record");

/* The size of an item of each section. */
extern const uint8_t section_item_bytes[SECTIONS];

/* The level of the top node of an image of that many bytes (not 0). */
static inline unsigned level_of(uint64_t bytes)
{
	uint64_t last = (bytes - 1) >> PAGE_SHIFT;
	unsigned level = 0;

	while (last >> (NODE_SHIFT * (level + 1)))
		level++;
	return level;
}

#endif
