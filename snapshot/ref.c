/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a ref's records, and what must be true of their values. */
#include "ref.h"

#include <assert.h>

#include "util.h"

static_assert(sizeof(struct ref_label) == 192, "no padding");

static const char *check_manifest(const void *value)
{
	return object_id_is_zero(value) ? "is zero" : NULL;
}

static const char *check_sequence(const void *value)
{
	return *(const uint64_t *)value ? NULL : "is zero";
}

static const char *check_keep(const void *value)
{
	const uint32_t *keep = value;

	return *keep & ~(uint32_t)(REF_PINNED | REF_HELD) ? "has unknown bits"
							  : NULL;
}

static const char *check_label(const void *value)
{
	const struct ref_label *l = value;
	const char *bad = record_padded_check(l->key, sizeof(l->key));

	if (!bad)
		bad = record_padded_check(l->value, sizeof(l->value));
	if (!bad)
		bad = record_name_check(l->key);
	return bad ? bad : record_text_check(l->value, false);
}

#define LABEL_KEY offsetof(struct ref_label, value)

/* clang-format off */
static const struct record_row rows[] = {
	{ 1, .must = true, .critical = true, .check = record_name_check,
	  ROW_TEXT(struct ref, name) },
	{ 2, .must = true, .critical = true, .check = record_name_check,
	  ROW_TEXT(struct ref, vm) },
	{ 3, .must = true, .critical = true, .check = check_manifest,
	  ROW_FIXED(struct ref, manifest) },
	{ 4, .must = true, .critical = true, .check = check_sequence,
	  ROW_FIXED(struct ref, sequence) },
	{ 5, .critical = true, .check = check_keep,
	  ROW_FIXED(struct ref, keep) },
	{ 6, .critical = true,
	  ROW_FIXED(struct ref, hold_until_ns) },
	{ 7, .critical = true,
	  ROW_FIXED(struct ref, expiry_ns) },
	{ 8, ROW_TEXT(struct ref, created_by) },
	{ 9, .lines = true,
	  ROW_TEXT(struct ref, reason) },
	{ 10, .lines = true,
	  ROW_TEXT(struct ref, description) },
	{ 11, .check = check_label,
	  ROW_ITEMS(struct ref, labels, REF_MAX_LABELS, LABEL_KEY) },
	{ 12, ROW_BYTES(struct ref, config, REF_MAX_CONFIG) },
};
/* clang-format on */

static const struct record_desc desc = {
	.what = "ref",
	.magic = "ttsnref\n",
	.version = 1,
	.nrows = ARRAY_SIZE(rows),
	.size = sizeof(struct ref),
	.rows = rows,
};

int ref_decode(struct ref *r, const void *data, size_t len,
	       const struct mac_key *key, struct fail *why)
{
	return record_decode(&desc, r, data, len, NULL, key, why);
}

int ref_encode(struct ref *r, const struct mac_key *key, uint8_t **data,
	       size_t *len, struct fail *why)
{
	return record_encode(&desc, r, key, data, len, why);
}

void ref_free(struct ref *r)
{
	record_free(&desc, r);
}
