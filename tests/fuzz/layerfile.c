/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the format by docs/image-format.md and not by snapshot/'s writer: the
 * two are compared by each layer that is read.
 */
#include "layerfile.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define META_MAX                                                               \
	(BUILD_MAX_NODES * 8 + BUILD_MAX_PAGES * 8 + BUILD_MAX_DIFFS * 16 +    \
	 BUILD_MAX_IMPORTS * 32 + BUILD_MAX_ROOTS * 32)
#define BODY_MAX (BUILD_MAX_PAGES * PAGE_BYTES + META_MAX)
/* Chunks may be stored in up to twice their length. */
#define FILE_MAX (2 * BODY_MAX + 2 * CHUNK_BYTES + 2 * PAGE_BYTES)
_Static_assert(FILE_MAX >= (BODY_MAX / CHUNK_BYTES + 1) * 2 * CHUNK_BYTES +
			       PAGE_BYTES + 1024 + TRAILER_BYTES,
	       "room for a file of the longest chunks");

static _Alignas(8) uint8_t file[FILE_MAX], body[BODY_MAX];

struct reader {
	const uint8_t *at;
	size_t left;
};

struct build {
	struct reader in;
	const struct layerfile_context *x;
	struct layerfile *out;
	struct layer_header header;
	struct layer_trailer trailer;
	uint32_t flags;
	uint8_t nchanges;
	struct change change[BUILD_MAX_CHANGES];
	_Alignas(8) uint8_t table[1024];
	size_t end; /* of the file so far */
};

static void take(struct reader *r, void *out, size_t len)
{
	size_t have = MIN(len, r->left);

	memset(out, 0, len);
	if (have)
		memcpy(out, r->at, have);
	r->at += have;
	r->left -= have;
}

static uint8_t take_byte(struct reader *r)
{
	uint8_t v;

	take(r, &v, sizeof(v));
	return v;
}

static uint16_t take_short(struct reader *r)
{
	uint16_t v;

	take(r, &v, sizeof(v));
	return v;
}

/* ---- changes ---- */

static void apply_changes(struct build *b, enum change_where where, void *to,
			  size_t len)
{
	for (unsigned i = 0; i < b->nchanges; i++) {
		const struct change *c = &b->change[i];
		size_t width = (size_t)1 << c->width % 4, at;

		if (c->where % CHANGE_WHERES != where || len < width)
			continue;
		at = c->offset % (len - width + 1);
		memcpy((uint8_t *)to + at, &c->value, width);
		b->out->true_to_body = false;
	}
}

/* ---- body ---- */

static void *begin_section(struct build *b, enum section s, uint64_t count)
{
	struct layer_section *x = &b->trailer.section[s];
	uint64_t at = b->trailer.meta_bytes;

	x->offset = at;
	x->count = count;
	b->trailer.meta_bytes += count * section_item_bytes[s];
	return body + b->trailer.data_pages * PAGE_BYTES + at;
}

static void put_imports(struct build *b, const uint8_t *imports, unsigned n)
{
	struct object_id *id = begin_section(b, SECTION_IMPORTS, n);

	for (unsigned i = 0; i < n; i++) {
		uint8_t which = imports[i];

		memset(&id[i], which, sizeof(*id));
		if (which < b->x->nknown)
			id[i] = b->x->known[which];
		if (which != LAYERFILE_SELF)
			continue;
		b->out->wants_self = true;
		if (b->x->self)
			id[i] = *b->x->self;
	}
}

/* Sections in the order of the file; sums are made by seal_sums. */
static uint64_t *lay_metadata(struct build *b, const uint16_t counts[4])
{
	uint8_t diffs[BUILD_MAX_DIFFS * sizeof(struct layer_diff)];
	uint8_t roots[BUILD_MAX_ROOTS * sizeof(struct layer_root)];
	uint8_t imports[BUILD_MAX_IMPORTS];
	unsigned nnodes = counts[0] % (BUILD_MAX_NODES + 1);
	unsigned ndiffs = counts[1] % (BUILD_MAX_DIFFS + 1);
	unsigned nimports = counts[2] % (BUILD_MAX_IMPORTS + 1);
	unsigned nroots = counts[3] % (BUILD_MAX_ROOTS + 1);
	uint64_t *sums;

	take(&b->in, imports, nimports);
	take(&b->in, diffs, ndiffs * sizeof(struct layer_diff));
	take(&b->in, roots, nroots * sizeof(struct layer_root));
	take(&b->in, begin_section(b, SECTION_NODES, nnodes),
	     nnodes * sizeof(struct node_entry));
	sums = begin_section(b, SECTION_SUMS, b->trailer.data_pages);
	memcpy(begin_section(b, SECTION_DIFFS, ndiffs), diffs,
	       ndiffs * sizeof(struct layer_diff));
	put_imports(b, imports, nimports);
	memcpy(begin_section(b, SECTION_ROOTS, nroots), roots,
	       nroots * sizeof(struct layer_root));
	if (b->flags & BUILD_OWN_SUMS)
		take(&b->in, sums, b->trailer.data_pages * sizeof(*sums));
	return sums;
}

static void lay_pages(struct build *b)
{
	uint8_t patches[PAGE_BYTES];
	size_t len = take_short(&b->in) % (PAGE_BYTES + 1);

	for (unsigned i = 0; i < b->trailer.data_pages; i++)
		memset(body + i * PAGE_BYTES, (int)i + 1, PAGE_BYTES);
	take(&b->in, patches, len);
	if (b->trailer.data_pages)
		memcpy(body, patches, len);
}

/* ---- chunks ---- */

static void vouch(struct build *b, struct chunk_entry *e, uint64_t number,
		  bool last, uint32_t plain_bytes, uint8_t *stored)
{
	uint8_t ad[32], nonce[12] = { 0 };
	uint32_t flags = b->header.flags;

	if (!(flags & LAYER_ENCRYPTED)) {
		hash_check(e->check, stored, e->stored);
		return;
	}
	if (!crypto_aead_aes256gcm_is_available())
		return; /* it will be refused for that */
	memcpy(ad, b->header.uid, 16);
	memcpy(ad + 16, &number, 8);
	memcpy(ad + 24, &plain_bytes, 4);
	memcpy(ad + 28, &flags, 4);
	memcpy(nonce, &number, 8);
	nonce[8] = last;
	crypto_aead_aes256gcm_encrypt_detached(stored, e->check, NULL, stored,
					       e->stored, ad, sizeof(ad), NULL,
					       nonce, b->x->key);
}

/* What is stored of a chunk, before encryption: its length. */
static uint32_t pack_chunk(struct build *b, const uint8_t *plain, uint32_t len,
			   uint8_t *stored)
{
	static ZSTD_CCtx *zstd;
	uint8_t byte = take_byte(&b->in);
	enum chunk_how how = byte % CHUNK_HOWS;
	uint16_t given = how >= CHUNK_BENT ? take_short(&b->in) : 0;
	uint8_t mix[16];
	size_t n;

	if (how == CHUNK_GIVEN) {
		b->out->true_to_body = false;
		n = given + (byte & CHUNK_LONG ? CHUNK_BYTES : 0);
		take(&b->in, stored, n);
		return (uint32_t)n;
	}
	memcpy(stored, plain, len);
	if (how == CHUNK_RAW)
		return len;
	if (!zstd)
		zstd = ZSTD_createCCtx();
	n = ZSTD_compressCCtx(zstd, stored, len, plain, len, 1);
	if (ZSTD_isError(n) || n == len) {
		memcpy(stored, plain, len);
		return len;
	}
	if (how == CHUNK_BENT) {
		b->out->true_to_body = false;
		take(&b->in, mix, sizeof(mix));
		for (size_t i = 0; i < sizeof(mix); i++)
			stored[(given + i) % n] ^= mix[i];
	}
	return (uint32_t)n;
}

/* ---- the parts of the file ---- */

static void seal_chunks(struct build *b, uint64_t body_bytes)
{
	struct chunk_entry *e = (void *)b->table;
	uint64_t last = (body_bytes - 1) / CHUNK_BYTES;

	for (uint64_t i = 0; body_bytes && i <= last; i++) {
		uint64_t at = i * CHUNK_BYTES;
		uint32_t len = (uint32_t)MIN(CHUNK_BYTES, body_bytes - at);

		e[i] = (struct chunk_entry){ .offset = b->end };
		e[i].stored = pack_chunk(b, body + at, len, file + b->end);
		vouch(b, &e[i], i, i == last, len, file + b->end);
		b->end += e[i].stored;
		b->trailer.table_bytes += sizeof(*e);
	}
}

static void seal_plain(struct build *b, uint64_t body_bytes)
{
	uint64_t meta = b->trailer.data_pages * PAGE_BYTES;

	memcpy(file + b->end, body, body_bytes);
	b->end += body_bytes;
	for (uint64_t at = meta; at < body_bytes; at += PAGE_BYTES) {
		hash_check(b->table + b->trailer.table_bytes, body + at,
			   MIN(PAGE_BYTES, body_bytes - at));
		b->trailer.table_bytes += CHECK_BYTES;
	}
}

static void make_header(struct build *b)
{
	struct layer_header *h = &b->header;

	memcpy(h->magic, "ttlayer\n", 8);
	h->version = 1;
	h->flags = b->flags & LAYER_FLAGS;
	memset(h->uid, 'u', sizeof(h->uid));
	apply_changes(b, CHANGE_HEADER, h, HEADER_BYTES - CHECK_BYTES);
	hash_check(h->check, h, HEADER_BYTES - CHECK_BYTES);
	memset(file, 0, PAGE_BYTES);
	memcpy(file, h, sizeof(*h));
	b->end = PAGE_BYTES;
}

static void make_end(struct build *b)
{
	struct layer_trailer *t = &b->trailer;

	memcpy(t->magic, "tttrail\n", 8);
	t->version = 1;
	t->flags = b->header.flags;
	memcpy(t->header_check, b->header.check, CHECK_BYTES);
	t->table_offset = b->end;
	apply_changes(b, CHANGE_TABLE, b->table, t->table_bytes);
	hash_id(&t->table_hash, b->table, t->table_bytes);
	memcpy(file + b->end, b->table, t->table_bytes);
	b->end += t->table_bytes;
	apply_changes(b, CHANGE_TRAILER, t, TRAILER_BYTES - ID_BYTES);
	hash_id(&t->id, t, TRAILER_BYTES - ID_BYTES);
	memcpy(file + b->end, t, sizeof(*t));
	b->end += sizeof(*t);
}

static void seal_sums(uint64_t *sums, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		sums[i] = sum64(body + i * PAGE_BYTES, PAGE_BYTES, 0);
}

void layerfile_make(struct layerfile *f, const struct layerfile_context *x,
		    const uint8_t *data, size_t size)
{
	struct build b = { .in = { data, size }, .x = x, .out = f };
	uint16_t counts[4];
	uint64_t *sums, body_bytes;

	*f = (struct layerfile){ .file = file,
				 .body = body,
				 .true_to_body = true };
	b.flags = take_byte(&b.in);
	b.trailer.data_pages = take_byte(&b.in) % (BUILD_MAX_PAGES + 1);
	f->data_pages = (uint32_t)b.trailer.data_pages;
	f->flags = b.flags;
	b.nchanges = take_byte(&b.in) % (BUILD_MAX_CHANGES + 1);
	take(&b.in, counts, sizeof(counts));
	sums = lay_metadata(&b, counts);
	for (unsigned i = 0; i < b.nchanges; i++) {
		b.change[i].where = take_byte(&b.in);
		b.change[i].width = take_byte(&b.in);
		b.change[i].offset = take_short(&b.in);
		take(&b.in, &b.change[i].value, sizeof(b.change[i].value));
	}
	make_header(&b);
	body_bytes = b.trailer.data_pages * PAGE_BYTES + b.trailer.meta_bytes;
	lay_pages(&b);
	if (!(b.flags & BUILD_OWN_SUMS))
		seal_sums(sums, f->data_pages);
	if (b.flags & LAYER_FLAGS)
		seal_chunks(&b, body_bytes);
	else
		seal_plain(&b, body_bytes);
	make_end(&b);
	apply_changes(&b, CHANGE_FILE, file, b.end);
	f->bytes = b.end;
}

/* ---- mutation ---- */

struct field {
	uint8_t offset, width;
};

static const struct field diff_fields[] = { { 0, 2 }, { 2, 2 },	 { 4, 4 },
					    { 8, 4 }, { 12, 2 }, { 14, 2 } };
static const struct field root_fields[] = { { 0, 8 },  { 8, 1 },  { 9, 1 },
					    { 10, 2 }, { 12, 4 }, { 16, 4 } };
static const struct field node_fields[] = {
	{ 0, 1 }, { 1, 1 }, { 2, 2 }, { 4, 4 }
};

/* Limits of the format, and what is near the value that was there. */
static uint64_t near_value(uint64_t old, uint64_t random)
{
	static const uint64_t limits[] = {
		0,   1,	  255,	 511,	     512,	 4095,	     4096,
		513, 256, 65535, 0x3fffffff, 0x40000000, 0x80000000, UINT64_MAX
	};

	switch (random % 4) {
	case 0:
		return old + 1;
	case 1:
		return old - 1;
	case 2:
		return (random >> 2) % 40;
	default:
		return limits[(random >> 2) % ARRAY_SIZE(limits)];
	}
}

bool layerfile_mutate(uint8_t *data, size_t size, uint64_t random)
{
	static const struct {
		const struct field *field;
		unsigned fields, bytes;
	} kinds[] = { { diff_fields, ARRAY_SIZE(diff_fields), 16 },
		      { root_fields, ARRAY_SIZE(root_fields), 32 },
		      { node_fields, ARRAY_SIZE(node_fields), 8 } };
	struct reader r = { data, size };
	uint16_t counts[4];
	uint64_t at, item, n[3], v = 0;
	unsigned kind = random % 3;
	const struct field *f;

	take(&r, counts, 3); /* flags, pages, changes */
	take(&r, counts, sizeof(counts));
	n[0] = counts[1] % (BUILD_MAX_DIFFS + 1);
	n[1] = counts[3] % (BUILD_MAX_ROOTS + 1);
	n[2] = counts[0] % (BUILD_MAX_NODES + 1);
	at = 11 + counts[2] % (BUILD_MAX_IMPORTS + 1);
	for (unsigned k = 0; k < kind; k++)
		at += n[k] * kinds[k].bytes;
	if (n[kind] == 0)
		return false;
	item = (random >> 8) % n[kind];
	f = &kinds[kind].field[(random >> 20) % kinds[kind].fields];
	at += item * kinds[kind].bytes + f->offset;
	if (!range_within(at, f->width, size))
		return false;
	memcpy(&v, data + at, f->width);
	v = near_value(v, random >> 32);
	memcpy(data + at, &v, f->width);
	return true;
}
