/* SPDX-License-Identifier: Apache-2.0 */
/* See powercut.h. */
#include "powercut.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "fileio.h"
#include "imgtest.h"

/* So many writes are tried in all combinations. */
#define EXHAUSTIVE 8

static uint64_t size_of(int fd)
{
	uint64_t bytes;

	cr_assert_eq(file_bytes(fd, &bytes), 0);
	return bytes;
}

/* ---- what is durable ---- */

static void make_room(struct cut_file *f, uint64_t bytes)
{
	uint64_t room = align_up(bytes, PAGE_BYTES) + KIB(256);

	if (bytes <= f->room)
		return;
	f->durable = realloc(f->durable, room);
	cr_assert_not_null(f->durable);
	memset(f->durable + f->room, 0, room - f->room);
	f->room = room;
}

void powercut_add(struct powercut *p, int fd)
{
	struct cut_file *f = &p->file[p->files++];

	cr_assert_leq(p->files, CUT_FILES);
	*f = (struct cut_file){ .fd = fd, .bytes = size_of(fd) };
	make_room(f, f->bytes + 1);
	cr_assert_eq(file_read(fd, 0, f->durable, f->bytes), 0);
}

void powercut_fini(struct powercut *p)
{
	for (size_t i = 0; i < p->nops; i++)
		free(p->op[i].data);
	free(p->op);
	for (unsigned i = 0; i < p->files; i++)
		free(p->file[i].durable);
	free(p->state.durable);
	memset(p, 0, sizeof(*p));
}

static void apply(struct cut_file *f, const struct cut_op *op, uint64_t rng)
{
	uint64_t at = op->sector * SECTOR_BYTES;

	make_room(f, at + op->count * SECTOR_BYTES);
	for (uint64_t i = 0; i < op->count; i++, at += SECTOR_BYTES) {
		/* Torn: each sector is there or not. */
		if (rng && rng_below(&rng, 2))
			continue;
		if (op->data)
			memcpy(f->durable + at, op->data + i * SECTOR_BYTES,
			       SECTOR_BYTES);
		else
			memset(f->durable + at, 0, SECTOR_BYTES);
	}
	if (op->size_after != UINT64_MAX)
		f->bytes = op->size_after;
}

/* What is beyond the file's end is zero once it grows again. */
static void cut_tail(struct cut_file *f)
{
	make_room(f, f->bytes);
	memset(f->durable + f->bytes, 0, f->room - f->bytes);
}

static void complete_sync(struct powercut *p, unsigned file)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->nops; i++) {
		struct cut_op *op = &p->op[i];

		if (op->file == file) {
			apply(&p->file[file], op, 0);
			free(op->data);
		} else {
			p->op[kept++] = *op;
		}
	}
	p->nops = kept;
	cut_tail(&p->file[file]);
}

/* ---- what is on its way ---- */

static struct cut_op *new_op(struct powercut *p, unsigned file)
{
	if (p->nops == p->room) {
		p->room = p->room ? 2 * p->room : 64;
		p->op = reallocarray(p->op, p->room, sizeof(*p->op));
		cr_assert_not_null(p->op);
	}
	p->op[p->nops] =
	    (struct cut_op){ .file = file, .size_after = UINT64_MAX };
	return &p->op[p->nops++];
}

/* The sectors as they are in the page cache after the write. */
static void take_write(struct powercut *p, unsigned file,
		       const struct io_call *c, uint64_t len)
{
	struct cut_op *op = new_op(p, file);
	uint64_t first = align_down(c->offset, SECTOR_BYTES);
	uint64_t end = align_up(c->offset + len, SECTOR_BYTES), at = first;
	ssize_t n = 1;

	op->sector = first / SECTOR_BYTES;
	op->count = (end - first) / SECTOR_BYTES;
	op->data = calloc(op->count, SECTOR_BYTES);
	cr_assert_not_null(op->data);
	for (; at < end && n > 0; at += (uint64_t)n)
		n = pread(c->fd, op->data + (at - first), end - at, (off_t)at);
	memcpy(op->data + (c->offset - first), c->buf, len);
	if (c->offset + len > size_of(c->fd))
		op->size_after = c->offset + len;
}

static void take_zeroes(struct powercut *p, unsigned file, uint64_t from,
			uint64_t to, uint64_t size_after)
{
	struct cut_op *op = new_op(p, file);

	op->sector = align_up(from, SECTOR_BYTES) / SECTOR_BYTES;
	to = align_up(to, SECTOR_BYTES) / SECTOR_BYTES;
	op->count = to > op->sector ? to - op->sector : 0;
	op->size_after = size_after;
}

void powercut_take(struct powercut *p, const struct io_call *c,
		   const struct io_fate *fate)
{
	uint64_t len = c->length;
	unsigned i = 0;

	while (i < p->files && p->file[i].fd != c->fd)
		i++;
	if (i == p->files || (fate->err && !fate->effect))
		return;
	if (fate->at_most)
		len = MIN(len, fate->at_most);
	switch (c->kind) {
	case IO_WRITE:
		take_write(p, i, c, len);
		break;
	case IO_TRUNCATE:
		take_zeroes(p, i, c->offset, size_of(c->fd), c->offset);
		break;
	case IO_PUNCH:
		take_zeroes(p, i, c->offset, c->offset + len, UINT64_MAX);
		break;
	case IO_SYNC:
		complete_sync(p, i);
		break;
	case IO_READ:
	case IO_KINDS:
		break;
	}
}

/* ---- states ---- */

struct states {
	struct powercut *p;
	const int *fd;
	void (*fn)(void *ctx, const int fd[CUT_FILES]);
	void *ctx;
	uint8_t *taken; /* of each op */
	uint64_t n;
};

static uint64_t some_size(const struct states *s, unsigned file, uint64_t size)
{
	struct powercut *p = s->p;

	for (size_t i = 0; i < p->nops; i++)
		if (p->op[i].file == file &&
		    p->op[i].size_after != UINT64_MAX && rng_below(&p->rng, 2))
			size = p->op[i].size_after;
	return size;
}

static void put_file(const struct states *s, unsigned file, bool torn)
{
	const struct cut_file *from = &s->p->file[file];
	struct cut_file *to = &s->p->state;
	int fd = s->fd[file];

	make_room(to, from->room);
	memcpy(to->durable, from->durable, from->room);
	memset(to->durable + from->room, 0, to->room - from->room);
	to->bytes = from->bytes;
	for (size_t i = 0; i < s->p->nops; i++)
		if (s->p->op[i].file == file && s->taken[i])
			apply(to, &s->p->op[i],
			      torn && rng_below(&s->p->rng, 2) ? rng(&s->p->rng)
							       : 0);
	if (torn && rng_below(&s->p->rng, 3) == 0)
		to->bytes = some_size(s, file, from->bytes);
	cut_tail(to);
	cr_assert_eq(ftruncate(fd, (off_t)to->bytes), 0);
	cr_assert_eq(file_write(fd, 0, to->durable, to->bytes), 0);
}

static void one_state(struct states *s, bool torn)
{
	for (unsigned i = 0; i < s->p->files; i++)
		put_file(s, i, torn);
	s->fn(s->ctx, s->fd);
	s->n++;
}

static void all_combinations(struct states *s)
{
	for (unsigned mask = 0; mask < 1u << s->p->nops; mask++) {
		for (size_t i = 0; i < s->p->nops; i++)
			s->taken[i] = mask >> i & 1;
		one_state(s, false);
	}
}

/* Each alone there, each alone missing, and all that begins and then stops:
 * none and all among them. */
static void telling_combinations(struct states *s)
{
	size_t n = s->p->nops;

	for (size_t k = 0; k <= n; k++) {
		for (unsigned way = 0; way < 3; way++) {
			for (size_t i = 0; i < n; i++)
				s->taken[i] = way == 0	 ? i < k
					      : way == 1 ? i == k
							 : i != k;
			one_state(s, false);
		}
	}
}

static void random_combinations(struct states *s, bool torn)
{
	for (unsigned k = 0; k < s->p->random_states; k++) {
		/* Few missing, few there, or half. */
		uint64_t odds = 1 + rng_below(&s->p->rng, 7);

		for (size_t i = 0; i < s->p->nops; i++)
			s->taken[i] = rng_below(&s->p->rng, 8) < odds;
		one_state(s, torn);
	}
}

uint64_t powercut_each(struct powercut *p, const int fd[CUT_FILES],
		       void (*fn)(void *ctx, const int fd[CUT_FILES]),
		       void *ctx)
{
	struct states s = { .p = p, .fd = fd, .fn = fn, .ctx = ctx };

	s.taken = calloc(p->nops + 1, 1);
	cr_assert_not_null(s.taken);
	if (p->nops <= EXHAUSTIVE) {
		all_combinations(&s);
	} else {
		telling_combinations(&s);
		random_combinations(&s, false);
	}
	random_combinations(&s, true);
	free(s.taken);
	return s.n;
}
