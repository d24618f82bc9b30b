/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks by zstd and AES-256-GCM: first compressed, then encrypted. */
#include "codec.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <zstd.h>

#define ZSTD_LEVEL 1

struct codec {
	uint32_t flags;
	uint8_t uid[UID_BYTES];
	ZSTD_CCtx *cctx;
	ZSTD_DCtx *dctx;
	crypto_aead_aes256gcm_state *key; /* locked memory */
	uint8_t packed[CHUNK_BYTES];	  /* between the two steps */
};

/* Bound to its chunk by the nonce, to its layer and its place by the AD. */
struct associated {
	uint8_t uid[UID_BYTES];
	uint64_t number;
	uint32_t plain_bytes, flags;
};

_Static_assert(sizeof(struct associated) == 32, "no padding in the AD");
_Static_assert(CHECK_BYTES == crypto_aead_aes256gcm_ABYTES, "a tag's size");
_Static_assert(LAYER_KEY_BYTES == crypto_aead_aes256gcm_KEYBYTES, "a key's");

int codec_create(struct codec **out, uint32_t flags,
		 const uint8_t uid[UID_BYTES],
		 const uint8_t key[LAYER_KEY_BYTES])
{
	struct codec *c;

	if (flags & LAYER_ENCRYPTED && !crypto_aead_aes256gcm_is_available())
		return -EOPNOTSUPP;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->flags = flags;
	memcpy(c->uid, uid, UID_BYTES);
	if (flags & LAYER_COMPRESSED) {
		c->dctx = ZSTD_createDCtx();
		if (!c->dctx)
			goto out;
	}
	if (flags & LAYER_ENCRYPTED) {
		c->key = sodium_malloc(sizeof(*c->key));
		if (!c->key)
			goto out;
		crypto_aead_aes256gcm_beforenm(c->key, key);
	}
	*out = c;
	return 0;
out:
	codec_destroy(c);
	return -ENOMEM;
}

void codec_destroy(struct codec *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->cctx);
	ZSTD_freeDCtx(c->dctx);
	sodium_free(c->key);
	free(c);
}

static void bind(const struct codec *c, const struct chunk *chunk,
		 struct associated *ad,
		 uint8_t nonce[crypto_aead_aes256gcm_NPUBBYTES])
{
	uint32_t last = chunk->last;

	memcpy(ad->uid, c->uid, UID_BYTES);
	ad->number = chunk->number;
	ad->plain_bytes = chunk->plain_bytes;
	ad->flags = c->flags;
	memcpy(nonce, &chunk->number, 8);
	memcpy(nonce + 8, &last, 4);
}

static void seal(struct codec *c, struct chunk *chunk, const void *in,
		 void *out)
{
	uint8_t nonce[crypto_aead_aes256gcm_NPUBBYTES];
	struct associated ad;

	bind(c, chunk, &ad, nonce);
	crypto_aead_aes256gcm_encrypt_detached_afternm(
	    out, chunk->check, NULL, in, chunk->stored_bytes, (uint8_t *)&ad,
	    sizeof(ad), NULL, nonce, c->key);
}

static int unseal(struct codec *c, const struct chunk *chunk, const void *in,
		  void *out)
{
	uint8_t nonce[crypto_aead_aes256gcm_NPUBBYTES];
	struct associated ad;

	bind(c, chunk, &ad, nonce);
	return crypto_aead_aes256gcm_decrypt_detached_afternm(
		   out, NULL, in, chunk->stored_bytes, chunk->check,
		   (uint8_t *)&ad, sizeof(ad), nonce, c->key)
		   ? -EBADMSG
		   : 0;
}

/* The chunk as a zstd frame in c->packed, or as it is where that is no
 * smaller; NULL: no memory. */
static const void *pack(struct codec *c, struct chunk *chunk, const void *plain)
{
	size_t n;

	chunk->stored_bytes = chunk->plain_bytes;
	if (!(c->flags & LAYER_COMPRESSED))
		return plain;
	/* A reader has no use for one, and it is large. */
	if (!c->cctx && !(c->cctx = ZSTD_createCCtx()))
		return NULL;
	n = ZSTD_compressCCtx(c->cctx, c->packed, sizeof(c->packed), plain,
			      chunk->plain_bytes, ZSTD_LEVEL);
	if (ZSTD_isError(n) || n >= chunk->plain_bytes)
		return plain;
	chunk->stored_bytes = (uint32_t)n;
	return c->packed;
}

int codec_encode(struct codec *c, struct chunk *chunk, const void *plain,
		 void *stored)
{
	const void *packed = pack(c, chunk, plain);

	if (!packed)
		return -ENOMEM;
	if (c->flags & LAYER_ENCRYPTED) {
		seal(c, chunk, packed, stored);
	} else {
		memcpy(stored, packed, chunk->stored_bytes);
		hash_check(chunk->check, stored, chunk->stored_bytes);
	}
	return 0;
}

/* Nothing else than a frame as the format has it. The library would also take
 * several, frames to be skipped, and the formats from before zstd 1.0, whose
 * decoders nobody looks after any more. */
static bool is_one_frame(const void *packed, size_t len)
{
	uint32_t magic = 0;

	memcpy(&magic, packed, MIN(sizeof(magic), len));
	return magic == ZSTD_MAGICNUMBER &&
	       ZSTD_findFrameCompressedSize(packed, len) == len;
}

static int unpack(struct codec *c, const struct chunk *chunk,
		  const void *packed, void *plain)
{
	size_t n;

	if (!(c->flags & LAYER_COMPRESSED))
		return -EBADMSG; /* only its own length would do */
	if (!is_one_frame(packed, chunk->stored_bytes))
		return -EBADMSG;
	n = ZSTD_decompressDCtx(c->dctx, plain, chunk->plain_bytes, packed,
				chunk->stored_bytes);
	return ZSTD_isError(n) || n != chunk->plain_bytes ? -EBADMSG : 0;
}

int codec_decode(struct codec *c, const struct chunk *chunk, const void *stored,
		 void *plain)
{
	bool packed = chunk->stored_bytes != chunk->plain_bytes;
	int err = 0;

	if (chunk->stored_bytes > chunk->plain_bytes)
		return -EBADMSG;
	if (c->flags & LAYER_ENCRYPTED) {
		err = unseal(c, chunk, stored, packed ? c->packed : plain);
		if (!err && packed)
			err = unpack(c, chunk, c->packed, plain);
		return err;
	}
	if (!hash_check_fits(chunk->check, stored, chunk->stored_bytes))
		return -EBADMSG;
	if (packed)
		return unpack(c, chunk, stored, plain);
	memcpy(plain, stored, chunk->plain_bytes);
	return 0;
}
