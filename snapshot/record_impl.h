/* SPDX-License-Identifier: Apache-2.0 */
/* What reading and writing records share; only record*.c include this. */
#ifndef TINTYPE_RECORD_IMPL_H
#define TINTYPE_RECORD_IMPL_H

#include <assert.h>

#include "record.h"

#define TAG_AUTH 0xffff

struct file_head {
	char magic[8];
	uint32_t version;
	uint32_t bytes; /* before the authentication */
};

struct record_head {
	uint16_t tag, flags;
	uint32_t bytes;
};

struct record_auth {
	struct record_head head;
	uint32_t scheme, zero;
	uint8_t mac[MAC_BYTES];
};

static_assert(sizeof(struct file_head) == RECORD_HEAD_BYTES,
	      "as the page has it");
static_assert(sizeof(struct record_auth) == RECORD_AUTH_BYTES,
	      "as the page has it");

struct any_array {
	void *item;
	uint32_t n;
};

static inline uint16_t row_flags(const struct record_row *row)
{
	return (uint16_t)((row->critical ? RECORD_CRITICAL : 0) |
			  (row->kind == RECORD_ITEMS ? RECORD_LIST : 0));
}

static inline void *member(const struct record_row *row, void *obj)
{
	return (char *)obj + row->offset;
}

static inline bool is_array(const struct record_row *row)
{
	return row->kind == RECORD_BYTES || row->kind == RECORD_ITEMS;
}

/* Asserts that a table is in order: our own bug if not. */
void record_check_table(const struct record_desc *d);

#endif
