/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a layer: header, trailer and table are read, checked against each
 * other and bounded, so that all later accesses have limits to go by.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "layer_impl.h"

const uint8_t section_item_bytes[SECTIONS] = {
	[SECTION_NODES] = sizeof(struct node_entry),
	[SECTION_SUMS] = sizeof(uint64_t),
	[SECTION_DIFFS] = sizeof(struct layer_diff),
	[SECTION_IMPORTS] = sizeof(struct object_id),
	[SECTION_ROOTS] = sizeof(struct layer_root),
};

static const char *const section_names[SECTIONS] = {
	[SECTION_NODES] = "nodes", [SECTION_SUMS] = "sums",
	[SECTION_DIFFS] = "diffs", [SECTION_IMPORTS] = "imports",
	[SECTION_ROOTS] = "roots",
};

/* ---- header ---- */

static int bad_file(const char *name, struct fail *why, const char *what)
{
	return fail_set(why, EXIT_INTEGRITY, -EBADMSG, name,
			"restore it from a copy", "%s", what);
}

static int bad_version(const char *name, uint32_t version, struct fail *why)
{
	return fail_set(why, EXIT_INCOMPATIBLE, -ENOTSUP, name,
			"use a newer tintype",
			"version %u of the layer format, we know 1 to %u",
			version, LAYER_VERSION);
}

static int check_header(const char *name, const struct layer_header *h,
			struct fail *why)
{
	/* In that order: what is no layer, then what is damaged (a version is
	 * believed only behind a check that fits), then what we cannot read. */
	if (memcmp(h->magic, LAYER_MAGIC, sizeof(h->magic)))
		return fail_set(why, EXIT_INTEGRITY, -EBADMSG, name,
				"import a raw disk by 'tintype image create'",
				"is no layer (wrong magic at 0x0)");
	if (!hash_check_fits(h->check, h, offsetof(struct layer_header, check)))
		return bad_file(name, why,
				"header damaged: wrong check at "
				"0x1f0");
	if (h->version == 0)
		return bad_file(name, why, "no version at 0x8");
	if (h->version > LAYER_VERSION)
		return bad_version(name, h->version, why);
	if (h->flags & ~LAYER_FLAGS)
		return bad_file(name, why, "unknown flags at 0xc");
	if (!mem_is_zero(h->zero, sizeof(h->zero)))
		return bad_file(name, why, "header is not zero at 0x50");
	if (h->below_kind > BELOW_HEAD ||
	    (h->below_kind != BELOW_LAYER && h->below_root) ||
	    (h->below_kind == BELOW_NOTHING &&
	     !mem_is_zero(h->below, ID_BYTES)) ||
	    (h->below_kind == BELOW_HEAD &&
	     !mem_is_zero(h->below + UID_BYTES, ID_BYTES - UID_BYTES)))
		return bad_file(name, why,
				"what it lies on is misshapen at "
				"0x28");
	if (h->bytes % 512 || h->bytes > IMAGE_MAX_BYTES)
		return bad_file(name, why, "no size of an image at 0x20");
	return 0;
}

static int read_failed(const char *name, int err, uint64_t offset,
		       struct fail *why)
{
	if (err == -ENODATA)
		return fail_set(why, EXIT_INTEGRITY, -EBADMSG, name,
				"restore it from a copy",
				"truncated: ends before 0x%llx",
				(unsigned long long)offset);
	return fail_set(why, err == -ENOMEM ? EXIT_NO_SPACE : EXIT_FAILED, err,
			name, NULL, "read at 0x%llx: %s",
			(unsigned long long)offset, strerror(-err));
}

int layer_read_header(int fd, const char *name, struct layer_header *h,
		      struct fail *why)
{
	int err = file_read(fd, 0, h, sizeof(*h));

	return err ? read_failed(name, err, sizeof(*h), why)
		   : check_header(name, h, why);
}

/* ---- trailer ---- */

/* Sections in order, aligned, within the metadata; a node per page bound. */
static int check_sections(struct layer *l, const struct layer_trailer *t,
			  struct fail *why)
{
	uint64_t end = 0;

	for (unsigned s = 0; s < SECTIONS; s++) {
		const struct layer_section *x = &t->section[s];

		if (x->offset % 8 || x->offset < end ||
		    x->offset > t->meta_bytes ||
		    x->count >
			(t->meta_bytes - x->offset) / section_item_bytes[s])
			return layer_damaged(
			    l, l->file_bytes - TRAILER_BYTES + 96 + 16 * s, why,
			    "section %s does not fit", section_names[s]);
		end = x->offset + x->count * section_item_bytes[s];
		l->section[s] = *x;
	}
	if (l->section[SECTION_NODES].offset)
		return layer_damaged(l, l->file_bytes - TRAILER_BYTES + 96, why,
				     "nodes do not begin the metadata");
	if (l->section[SECTION_SUMS].count != t->data_pages)
		return layer_damaged(l, l->file_bytes - TRAILER_BYTES + 112,
				     why, "not a sum for each data page");
	if (l->section[SECTION_NODES].count > LAYER_MAX_ENTRIES ||
	    l->section[SECTION_IMPORTS].count > LAYER_MAX_IMPORTS ||
	    l->section[SECTION_ROOTS].count == 0 ||
	    l->section[SECTION_ROOTS].count > LAYER_MAX_ROOTS ||
	    l->section[SECTION_DIFFS].count > RUN_PLACE_MASK)
		return layer_damaged(l, l->file_bytes - TRAILER_BYTES + 96, why,
				     "count of entries, imports, diffs or "
				     "roots");
	/* So that what a file claims bounds what is read, sparse or not. */
	if (end != t->meta_bytes)
		return layer_damaged(l, l->file_bytes - TRAILER_BYTES + 88, why,
				     "metadata goes on behind its sections");
	return 0;
}

static int check_trailer(struct layer *l, const struct layer_trailer *t,
			 const struct layer_header *h, struct fail *why)
{
	uint64_t at = l->file_bytes - TRAILER_BYTES;

	if (memcmp(t->magic, TRAILER_MAGIC, sizeof(t->magic)))
		return layer_damaged(l, at, why,
				     "no trailer: it was never "
				     "sealed, or is truncated");
	if (t->version == 0)
		return layer_damaged(l, at + 8, why, "no version");
	if (t->version > LAYER_VERSION)
		return bad_version(l->name, t->version, why);
	if (t->flags != h->flags ||
	    memcmp(t->header_check, h->check, CHECK_BYTES))
		return layer_damaged(l, at + 12, why, "header of another file");
	if (!mem_is_zero(t->zero, sizeof(t->zero)))
		return layer_damaged(l, at + 176, why, "not zero");
	if (t->data_pages > LAYER_MAX_DATA_PAGES ||
	    t->meta_bytes > l->file_bytes * CHUNK_BYTES || /* so no overflow */
	    t->meta_bytes >> 50)
		return layer_damaged(l, at + 80, why, "too many pages");
	if (t->table_offset > at || at - t->table_offset != t->table_bytes ||
	    t->table_offset < PAGE_BYTES)
		return layer_damaged(l, at + 32, why, "table does not fit");
	l->flags = t->flags;
	l->data_pages = (uint32_t)t->data_pages;
	l->meta_bytes = t->meta_bytes;
	return check_sections(l, t, why);
}

/* The last bytes of a head are a guest's, who cannot know the header's random
 * uid and so not its check. */
int layer_is_sealed(int fd, const struct layer_header *h, struct object_id *id)
{
	struct layer_trailer t;
	uint64_t bytes;
	int err = file_bytes(fd, &bytes);

	if (err || bytes < PAGE_BYTES + sizeof(t))
		return err;
	err = file_read(fd, bytes - sizeof(t), &t, sizeof(t));
	if (err)
		return err;
	hash_id(id, &t, offsetof(struct layer_trailer, id));
	return !memcmp(t.magic, TRAILER_MAGIC, sizeof(t.magic)) &&
	       !memcmp(t.header_check, h->check, CHECK_BYTES) &&
	       object_id_equal(id, &t.id);
}

/* ---- table ---- */

static uint32_t chunk_plain_bytes(const struct layer *l, uint64_t chunk)
{
	return (uint32_t)MIN(layer_body_bytes(l) - chunk * CHUNK_BYTES,
			     CHUNK_BYTES);
}

static int check_chunks(struct layer *l, const struct layer_trailer *t,
			struct fail *why)
{
	uint64_t n = t->table_bytes / sizeof(struct chunk_entry);
	uint64_t end = PAGE_BYTES;

	for (uint64_t i = 0; i < n; i++) {
		const struct chunk_entry *c = &l->chunks[i];

		if (c->zero || c->stored == 0 ||
		    c->stored > chunk_plain_bytes(l, i) || c->offset != end)
			return layer_damaged(l, t->table_offset + i * 32, why,
					     "chunk %llu does not fit",
					     (unsigned long long)i);
		end += c->stored;
	}
	return end == t->table_offset
		   ? 0
		   : layer_damaged(l, end, why, "chunks end before the table");
}

static int read_table(struct layer *l, const struct layer_trailer *t,
		      struct fail *why)
{
	bool plain = !(l->flags & LAYER_FLAGS);
	uint64_t body = layer_body_bytes(l);
	uint64_t want = plain ? layer_meta_pages(l) * CHECK_BYTES
			      : (body + CHUNK_BYTES - 1) / CHUNK_BYTES *
				    sizeof(struct chunk_entry);
	struct object_id hash;
	void *table;
	int err;

	if (t->table_bytes != want ||
	    (plain && t->table_offset - PAGE_BYTES != body))
		return layer_damaged(l, l->file_bytes - TRAILER_BYTES + 40, why,
				     "table of the wrong size");
	table = malloc(MAX(want, 1));
	if (plain)
		l->checks = table;
	else
		l->chunks = table;
	if (!table)
		return -ENOMEM;
	err = file_read(l->fd, t->table_offset, table, want);
	if (err)
		return layer_io_failed(l, err, "read", t->table_offset, why);
	hash_id(&hash, table, want);
	if (!object_id_equal(&hash, &t->table_hash))
		return layer_damaged(l, t->table_offset, why,
				     "table: wrong hash");
	return plain ? 0 : check_chunks(l, t, why);
}

/* ---- open ---- */

static void layer_destroy(struct layer *l)
{
	if (!l)
		return;
	for (uint64_t i = 0; l->meta && i < layer_meta_pages(l); i++)
		free(atomic_load_explicit(&l->meta[i], memory_order_relaxed));
	free(l->meta);
	free(l->checks);
	free(l->chunks);
	free(l->imports);
	free(l->chunk_plain);
	free(l->chunk_stored);
	codec_destroy(l->codec);
	pthread_mutex_destroy(&l->decode_lock);
	if (l->fd >= 0)
		close(l->fd);
	free(l);
}

static int make_codec(struct layer *l, const struct layer_header *h,
		      struct fail *why)
{
	uint8_t key[LAYER_KEY_BYTES] = { 0 };
	const struct layer_set *s = l->set;
	int err = 0;

	if (!(l->flags & LAYER_FLAGS))
		return 0;
	if (l->flags & LAYER_ENCRYPTED)
		err = s->key ? s->key(s->key_ctx, h->uid, key) : -ENOKEY;
	if (err)
		return fail_set(
		    why, EXIT_DENIED, err, l->name,
		    "give its key by --key-file", "is encrypted: %s",
		    err == -ENOKEY ? "its key is not here" : strerror(-err));
	err = codec_create(&l->codec, l->flags, h->uid, key);
	explicit_bzero(key, sizeof(key));
	if (err == -EOPNOTSUPP)
		return fail_set(why, EXIT_INCOMPATIBLE, err, l->name, NULL,
				"is encrypted, and this processor has no AES");
	l->chunk_plain = malloc(CHUNK_BYTES);
	l->chunk_stored = malloc(CHUNK_BYTES);
	l->chunk_held = UINT64_MAX;
	return err || !l->chunk_plain || !l->chunk_stored ? -ENOMEM : 0;
}

static int read_trailer(struct layer *l, struct layer_trailer *t,
			struct fail *why)
{
	int err = file_bytes(l->fd, &l->file_bytes);

	if (err)
		return fail_set(why, EXIT_INTEGRITY, err, l->name, NULL,
				"is no regular file");
	if (l->file_bytes < PAGE_BYTES + TRAILER_BYTES)
		return layer_damaged(l, l->file_bytes, why, "truncated");
	err = file_read(l->fd, l->file_bytes - TRAILER_BYTES, t, sizeof(*t));
	if (err)
		return layer_io_failed(l, err, "read",
				       l->file_bytes - TRAILER_BYTES, why);
	hash_id(&l->id, t, offsetof(struct layer_trailer, id));
	return 0;
}

static int read_layer(struct layer *l, const struct object_id *want,
		      struct fail *why)
{
	struct layer_header h;
	struct layer_trailer t;
	int err = layer_read_header(l->fd, l->name, &h, why);

	if (!err)
		err = read_trailer(l, &t, why);
	if (!err && !memcmp(t.magic, TRAILER_MAGIC, sizeof(t.magic)) &&
	    !object_id_equal(&l->id, &t.id))
		err = layer_damaged(l, l->file_bytes - ID_BYTES, why,
				    "trailer damaged: wrong id");
	if (!err)
		err = check_trailer(l, &t, &h, why);
	if (!err && want && !object_id_equal(&l->id, want))
		err = layer_damaged(l, l->file_bytes - ID_BYTES, why,
				    "is another layer than its name says");
	if (!err)
		err = read_table(l, &t, why);
	if (!err)
		err = make_codec(l, &h, why);
	if (err)
		return err;
	l->meta = calloc(MAX(layer_meta_pages(l), 1), sizeof(*l->meta));
	l->imports = calloc(MAX(l->section[SECTION_IMPORTS].count, 1),
			    sizeof(*l->imports));
	return l->meta && l->imports ? 0 : -ENOMEM;
}

/* The place of that id, or the free one where it belongs. */
static struct layer **place_of(const struct layer_set *s,
			       const struct object_id *id)
{
	unsigned mask = 2 * s->room - 1, i;

	memcpy(&i, id->b, sizeof(i));
	while (s->by_id[i & mask] &&
	       !object_id_equal(&s->by_id[i & mask]->id, id))
		i++;
	return &s->by_id[i & mask];
}

struct layer *layer_set_find(const struct layer_set *s,
			     const struct object_id *id)
{
	return s->room ? *place_of(s, id) : NULL;
}

static int grow_set(struct layer_set *s)
{
	unsigned room = s->room ? 2 * s->room : 8;
	struct layer **by_id = calloc(2 * room, sizeof(struct layer *)), **more;

	more = by_id ? reallocarray(s->layer, room, sizeof(*more)) : NULL;
	if (!more) {
		free(by_id);
		return -ENOMEM;
	}
	free(s->by_id);
	s->layer = more;
	s->by_id = by_id;
	s->room = room;
	for (unsigned i = 0; i < s->count; i++)
		*place_of(s, &s->layer[i]->id) = s->layer[i];
	return 0;
}

static int add_to_set(struct layer_set *s, struct layer *l)
{
	int err = s->count == s->room ? grow_set(s) : 0;

	if (err)
		return err;
	l->number = s->count;
	s->layer[s->count++] = l;
	*place_of(s, &l->id) = l;
	return 0;
}

int layer_open_lent(struct layer_set *s, int fd, const char *name,
		    const struct object_id *want, struct layer **out,
		    bool *taken, struct fail *why)
{
	struct layer *l = calloc(1, sizeof(*l)), *same;
	int err;

	*taken = false;
	if (!l)
		return file_failed(name, -ENOMEM, "open", why);
	l->set = s;
	l->fd = fd;
	pthread_mutex_init(&l->decode_lock, NULL);
	snprintf(l->name, sizeof(l->name), "%s", name);
	err = read_layer(l, want, why);
	same = err ? NULL : layer_set_find(s, &l->id);
	if (!err && !same)
		err = add_to_set(s, l);
	if (err == -ENOMEM)
		file_failed(name, err, "open", why);
	*taken = !err && !same;
	if (!*taken) {
		l->fd = -1;
		layer_destroy(l);
	}
	if (!err)
		*out = same ? same : l;
	return err;
}

int layer_open(struct layer_set *s, int fd, const char *name,
	       const struct object_id *want, struct layer **out,
	       struct fail *why)
{
	bool taken;
	int err = layer_open_lent(s, fd, name, want, out, &taken, why);

	if (!taken)
		close(fd);
	return err;
}

/* ---- imports ---- */

static int link_one(struct layer *l, unsigned import, layer_find_fn find,
		    void *ctx, struct fail *why)
{
	struct object_id id;
	char name[FILE_NAME_TEXT];
	int err = layer_import_id(l, import, &id, why), fd;

	if (err)
		return err;
	l->imports[import - 1] = layer_set_find(l->set, &id);
	if (l->imports[import - 1])
		return 0;
	fd = find(ctx, &id);
	if (fd == -ENOENT)
		return 0;
	snprintf(name, sizeof(name), "layer ");
	object_id_short(name + strlen(name), &id);
	if (fd < 0)
		return fail_set(why, EXIT_FAILED, fd, name, NULL, "open: %s",
				strerror(-fd));
	return layer_open(l->set, fd, name, &id, &l->imports[import - 1], why);
}

static int link_layer(struct layer *l, layer_find_fn find, void *ctx,
		      struct fail *why)
{
	uint64_t n = l->section[SECTION_IMPORTS].count;
	int first = 0;

	for (unsigned k = 1; k <= n; k++) {
		int err = link_one(l, k, find, ctx, first ? NULL : why);

		first = first ? first : err;
	}
	l->linked = !first;
	return first;
}

int layer_link(struct layer_set *s, layer_find_fn find, void *ctx,
	       struct fail *why)
{
	int first = 0;

	/* Those that are opened on the way are appended and get their turn. */
	for (unsigned i = 0; i < s->count; i++) {
		struct layer *l = s->layer[i];
		int err = l->linked
			      ? 0
			      : link_layer(l, find, ctx, first ? NULL : why);

		first = first ? first : err;
	}
	return first;
}

struct layer_set *layer_set_create(layer_key_fn key, void *ctx)
{
	struct layer_set *s = calloc(1, sizeof(*s));

	if (s) {
		s->key = key;
		s->key_ctx = ctx;
	}
	return s;
}

void layer_set_destroy(struct layer_set *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->count; i++)
		layer_destroy(s->layer[i]);
	free(s->layer);
	free(s->by_id);
	free(s);
}

void layer_set_unreadable(struct layer_set *s, const char *name)
{
	snprintf(s->unreadable, sizeof(s->unreadable), "%s", name);
}

struct layer *layer_set_at(const struct layer_set *s, unsigned n)
{
	return n < s->count ? s->layer[n] : NULL;
}

unsigned layer_set_count(const struct layer_set *s)
{
	return s->count;
}
