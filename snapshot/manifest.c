/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a manifest's records, and what must be true of their values. */
#include "manifest.h"

#include <assert.h>
#include <string.h>

#include "layer_format.h"
#include "util.h"

static_assert(sizeof(struct manifest_image) == 160, "no padding");
static_assert(sizeof(struct manifest_key) == 152, "no padding");
static_assert(sizeof(struct manifest_figure) == 40, "no padding");

static const char *check_taken(const void *value)
{
	return *(const uint64_t *)value ? NULL : "no clock says 1970";
}

static const char *check_uid(const void *value)
{
	return mem_is_zero(value, UID_BYTES) ? "is zero" : NULL;
}

static const char *check_kind(const void *value)
{
	const uint32_t *kind = value;

	return *kind & ~(uint32_t)(MANIFEST_MEMORY | MANIFEST_LIVE)
		   ? "has unknown bits"
		   : NULL;
}

static const char *check_consistency(const void *value)
{
	const uint32_t *c = value;

	return *c < CONSISTENT_CRASH || *c > CONSISTENT_APPS ? "is unknown"
							     : NULL;
}

static const char *check_base(const struct manifest_image *im)
{
	switch (im->base) {
	case BASE_NONE:
		return im->base_bytes || !mem_is_zero(im->base_stamp,
						      sizeof(im->base_stamp))
			   ? "describes a base that is not there"
			   : NULL;
	case BASE_RAW_FILE:
		if (im->kind != IMAGE_DISK)
			return "has a base and is no disk";
		return im->base_bytes == 0 || im->base_bytes > IMAGE_MAX_BYTES
			   ? "has a base of an impossible size"
			   : NULL;
	default:
		return "has an unknown kind of base";
	}
}

static const char *check_image(const void *value)
{
	const struct manifest_image *im = value;
	const char *bad = record_padded_check(im->id, sizeof(im->id));
	uint64_t unit = im->kind == IMAGE_MEMORY ? PAGE_BYTES : 512;

	if (im->kind < IMAGE_MEMORY || im->kind > IMAGE_STATE)
		return "is of an unknown kind";
	if (!bad)
		bad = record_name_check(im->id);
	if (bad)
		return bad;
	if (im->bytes == 0 || im->bytes > IMAGE_MAX_BYTES || im->bytes % unit)
		return "has an impossible size";
	if (object_id_is_zero(&im->layer))
		return "has no layer";
	return im->zero ? "has a reserved field that is not zero"
			: check_base(im);
}

static const char *check_key(const void *value)
{
	const struct manifest_key *k = value;

	if (mem_is_zero(k->layer_uid, sizeof(k->layer_uid)))
		return "is of no layer";
	if (k->bytes == 0 || k->bytes > sizeof(k->wrapped))
		return "has an impossible length";
	if (k->zero ||
	    !mem_is_zero(k->wrapped + k->bytes, sizeof(k->wrapped) - k->bytes))
		return "has a reserved field that is not zero";
	return NULL;
}

static const char *check_figure(const void *value)
{
	const struct manifest_figure *f = value;
	const char *bad = record_padded_check(f->name, sizeof(f->name));

	return bad ? bad : record_name_check(f->name);
}

/* A writer that lost the memory is not to be taken for disks only. */
static const char *check_manifest(const void *obj)
{
	const struct manifest *m = obj;
	bool memory = m->kind & MANIFEST_MEMORY;
	bool found[IMAGE_STATE + 1] = { false };

	for (uint32_t i = 0; i < m->images.n; i++)
		found[m->images.item[i].kind] = true;
	if (found[IMAGE_MEMORY] != memory)
		return memory ? "kind: there is no image of memory"
			      : "kind: says nothing of the image of memory";
	if (found[IMAGE_STATE] != memory)
		return memory ? "kind: there is no image of state"
			      : "kind: says nothing of the image of state";
	return NULL;
}

#define IMAGE_KEY offsetof(struct manifest_image, root)
#define KEY_KEY	  offsetof(struct manifest_key, bytes)
#define NAME_KEY  offsetof(struct manifest_figure, value)

/* clang-format off */
static const struct record_row rows[] = {
	{ 1, .must = true, .critical = true, .check = check_taken,
	  ROW_FIXED(struct manifest, taken_ns) },
	{ 2, .must = true,
	  ROW_TEXT(struct manifest, engine) },
	{ 3, .must = true, .critical = true, .check = check_uid,
	  ROW_FIXED(struct manifest, vm_uid) },
	{ 4, .critical = true,
	  ROW_FIXED(struct manifest, parent) },
	{ 5, .must = true, .critical = true, .check = check_kind,
	  ROW_FIXED(struct manifest, kind) },
	{ 6, .must = true, .critical = true, .check = check_consistency,
	  ROW_FIXED(struct manifest, consistency) },
	{ 7, .critical = true,
	  ROW_FIXED(struct manifest, immutable_until_ns) },
	{ 8, .must = true, .critical = true,
	  ROW_FIXED(struct manifest, owner_uid) },
	{ 9, .critical = true,
	  ROW_BYTES(struct manifest, fingerprint, MANIFEST_MAX_FINGERPRINT) },
	{ 10, .must = true, .critical = true, .check = check_image,
	  ROW_ITEMS(struct manifest, images, MANIFEST_MAX_IMAGES, IMAGE_KEY) },
	{ 11, .critical = true, .check = check_key,
	  ROW_ITEMS(struct manifest, keys, MANIFEST_MAX_KEYS, KEY_KEY) },
	{ 12, .check = check_figure,
	  ROW_ITEMS(struct manifest, figures, MANIFEST_MAX_FIGURES, NAME_KEY) },
};
/* clang-format on */

static const struct record_desc desc = {
	.what = "manifest",
	.magic = "ttmanif\n",
	.version = 1,
	.nrows = ARRAY_SIZE(rows),
	.size = sizeof(struct manifest),
	.rows = rows,
	.check = check_manifest,
};

int manifest_decode(struct manifest *m, const void *data, size_t len,
		    const struct object_id *id, const struct mac_key *key,
		    struct fail *why)
{
	return record_decode(&desc, m, data, len, id, key, why);
}

int manifest_encode(struct manifest *m, const struct mac_key *key,
		    uint8_t **data, size_t *len, struct object_id *id,
		    struct fail *why)
{
	int err = record_encode(&desc, m, key, data, len, why);

	if (!err)
		record_id(id, *data, *len);
	return err;
}

void manifest_free(struct manifest *m)
{
	record_free(&desc, m);
}
