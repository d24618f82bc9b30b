/* SPDX-License-Identifier: Apache-2.0 */
/* See history.h. */
#include "history.h"

#include <criterion/criterion.h>
#include <string.h>

struct sector {
	uint8_t (*content)[SECTOR_BYTES]; /* from the last flush on */
	size_t n, room;
	size_t flushed; /* content that the flush under way will vouch for */
};

struct history {
	struct sector *sector;
	uint64_t sectors;
};

static void add(struct sector *s, const uint8_t *data)
{
	if (s->n == s->room) {
		s->room = s->room ? 2 * s->room : 4;
		s->content =
		    reallocarray(s->content, s->room, sizeof(*s->content));
		cr_assert_not_null(s->content);
	}
	if (data)
		memcpy(s->content[s->n], data, SECTOR_BYTES);
	else
		memset(s->content[s->n], 0, SECTOR_BYTES);
	s->n++;
}

struct history *history_create(uint64_t sectors, const uint8_t *content)
{
	struct history *h = calloc(1, sizeof(*h));

	cr_assert_not_null(h);
	h->sectors = sectors;
	h->sector = calloc(sectors, sizeof(*h->sector));
	cr_assert_not_null(h->sector);
	history_write(h, 0, sectors, content);
	return h;
}

void history_destroy(struct history *h)
{
	for (uint64_t i = 0; i < h->sectors; i++)
		free(h->sector[i].content);
	free(h->sector);
	free(h);
}

void history_write(struct history *h, uint64_t sector, uint64_t count,
		   const uint8_t *data)
{
	for (uint64_t i = 0; i < count; i++)
		add(&h->sector[sector + i],
		    data ? data + i * SECTOR_BYTES : NULL);
}

void history_flush_begins(struct history *h)
{
	for (uint64_t i = 0; i < h->sectors; i++)
		h->sector[i].flushed = h->sector[i].n - 1;
}

void history_flush_ended(struct history *h)
{
	for (uint64_t i = 0; i < h->sectors; i++) {
		struct sector *s = &h->sector[i];

		s->n -= s->flushed;
		memmove(s->content[0], s->content[s->flushed],
			s->n * SECTOR_BYTES);
		s->flushed = 0;
	}
}

const uint8_t *history_now(const struct history *h, uint64_t sector)
{
	const struct sector *s = &h->sector[sector];

	return s->content[s->n - 1];
}

static bool may_be(const struct sector *s, const uint8_t *content)
{
	for (size_t i = s->n; i-- > 0;)
		if (memcmp(s->content[i], content, SECTOR_BYTES) == 0)
			return true;
	return false;
}

uint64_t history_wrong(const struct history *h, const uint8_t *content)
{
	for (uint64_t i = 0; i < h->sectors; i++)
		if (!may_be(&h->sector[i], content + i * SECTOR_BYTES))
			return i;
	return UINT64_MAX;
}
