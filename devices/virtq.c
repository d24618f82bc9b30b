/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueues. Orders between us and the driver, who is another CPU:
 *
 *   avail idx is read (acquire) before the ring entry and the descriptors;
 *   a used entry is written before used idx (release);
 *   used idx is written before used_event is read, and avail_event before avail
 *   idx is read again: each a full fence, since a store goes before a load
 *   (virtio 1.2, 2.7.7.2 and 2.7.10).
 */
#include "virtq.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "util.h"
#include "virtio.h"

#define AVAIL_NO_INTERRUPT 1
#define RING_FIRST	   2 /* both rings: flags, idx, then entries */
#define USED_ENTRY_WORDS   4 /* of 16 bits */

static struct virtio_state *state_of(const struct virtq *q)
{
	return q->v->st;
}

static uint16_t size_of(const struct virtq *q)
{
	return state_of(q)->size[q->index];
}

static uint16_t load(const uint16_t *p)
{
	return atomic_load_explicit((const _Atomic uint16_t *)p,
				    memory_order_acquire);
}

/* Stores a word of the used ring, and marks it. */
static void store(struct virtq *q, unsigned word, uint16_t value)
{
	atomic_store_explicit((_Atomic uint16_t *)&q->used[word], value,
			      memory_order_release);
	gmem_return(q->v->ram,
		    GPA(state_of(q)->used[q->index] + word * sizeof(value)),
		    sizeof(value));
}

/* ---- rings ---- */

/* A ring of `bytes` at an address of the driver's. */
static void *ring(const struct virtq *q, uint64_t gpa, uint64_t align,
		  size_t bytes)
{
	return gpa % align ? NULL : gmem_borrow(q->v->ram, GPA(gpa), bytes);
}

int virtq_map(struct virtq *q)
{
	const struct virtio_state *s = state_of(q);
	size_t size = size_of(q);

	/* The event words are there whether negotiated or not. */
	q->desc =
	    ring(q, s->desc[q->index], 16, size * sizeof(struct vring_desc));
	q->avail = ring(q, s->avail[q->index], 2, 6 + 2 * size);
	q->used = ring(q, s->used[q->index], 4, 6 + 8 * size);
	if (q->desc && q->avail && q->used)
		return 0;
	virtq_unmap(q);
	return -EFAULT;
}

void virtq_unmap(struct virtq *q)
{
	q->desc = NULL;
	q->avail = NULL;
	q->used = NULL;
}

/* ---- chains ---- */

int virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	uint16_t *last = &state_of(q)->last_avail[q->index];
	uint16_t size = size_of(q), offered, head;

	if (!q->desc || state_of(q)->status & VIRTIO_NEEDS_RESET)
		return 0;
	offered = (uint16_t)(load(&q->avail[1]) - *last);
	if (!offered)
		return 0;
	if (offered > size)
		return virtio_broken(q->v,
				     "queue %u: %u chains offered at "
				     "once, it has %u",
				     q->index, offered, size);
	head = load(&q->avail[RING_FIRST + *last % size]);
	if (head >= size)
		return virtio_broken(q->v, "queue %u: chain begins at %u of %u",
				     q->index, head, size);
	++*last;
	q->v->counters.chains++;
	*c = (struct virtq_chain){
		.q = q,
		.head = head,
		.table = q->desc,
		.entries = size,
		.next = head,
		.steps_left = size,
		.more = true,
	};
	return 1;
}

void virtq_unpop(struct virtq *q, unsigned n)
{
	/* Reset meanwhile, which has forgotten them. */
	if (!q->desc)
		return;
	state_of(q)->last_avail[q->index] -= (uint16_t)n;
	q->v->counters.chains -= n;
}

static int broken_chain(struct virtq_chain *c, const char *what)
{
	c->more = false;
	return virtio_broken(c->q->v, "queue %u: chain %u: %s", c->q->index,
			     c->head, what);
}

/* The table that an indirect descriptor points to (virtio 1.2, 2.7.5.3). */
static int enter_table(struct virtq_chain *c, const struct vring_desc *x)
{
	if (!virtio_has(c->q->v, VIRTIO_F_INDIRECT_DESC))
		return broken_chain(c, "indirect, which was not negotiated");
	if (c->indirect)
		return broken_chain(c, "an indirect table in another");
	if (x->flags & VRING_DESC_NEXT)
		return broken_chain(c, "indirect, and goes on");
	if (x->len == 0 || x->len % sizeof(struct vring_desc))
		return broken_chain(c,
				    "a table that is no list of descriptors");
	c->table = gmem_borrow(c->q->v->ram, GPA(x->addr), x->len);
	if (!c->table)
		return broken_chain(c, "a table outside RAM");
	c->entries = x->len / sizeof(struct vring_desc);
	c->next = 0;
	c->indirect = true;
	c->steps_left++; /* it is no buffer, and there is only one */
	return 0;
}

/* The next descriptor, copied once; tables are entered on the way. */
static int take_desc(struct virtq_chain *c, struct vring_desc *x)
{
	int err;

	do {
		if (c->steps_left-- == 0)
			return broken_chain(c, "longer than the queue");
		memcpy(x, (const void *)&c->table[c->next], sizeof(*x));
		atomic_signal_fence(memory_order_seq_cst);
		err = x->flags & VRING_DESC_INDIRECT ? enter_table(c, x) : 0;
	} while (!err && x->flags & VRING_DESC_INDIRECT);
	return err;
}

int virtq_next(struct virtq_chain *c, struct virtq_desc *d)
{
	struct vring_desc x;
	int err;

	if (!c->more)
		return 0;
	err = take_desc(c, &x);
	if (err)
		return err;
	c->more = x.flags & VRING_DESC_NEXT;
	if (c->more && x.next >= c->entries)
		return broken_chain(c, "goes on beyond its table");
	c->next = x.next;
	*d = (struct virtq_desc){
		.gpa = GPA(x.addr),
		.len = x.len,
		.writable = x.flags & VRING_DESC_WRITE,
	};
	if (c->writing && !d->writable)
		return broken_chain(c, "to be read after what is written");
	c->writing = d->writable;
	if (!d->len)
		return 1; /* legal, wherever it points */
	d->data = gmem_borrow(c->q->v->ram, d->gpa, d->len);
	return d->data ? 1 : broken_chain(c, "a buffer outside RAM");
}

int virtq_rest(struct virtq_chain *c, struct virtq_desc *d)
{
	if (!c->part.len)
		return virtq_next(c, d);
	*d = c->part;
	c->part.len = 0;
	return 1;
}

void virtq_wrote(struct virtq_chain *c, const struct virtq_desc *d,
		 uint32_t len)
{
	gmem_return(c->q->v->ram, d->gpa, len);
}

/* Copies to or from the buffers of one direction; `c->part` is what is left of
 * the buffer at hand. */
static int64_t copy(struct virtq_chain *c, void *buf, size_t len, bool out)
{
	uint8_t *p = buf;
	size_t done = 0;

	while (done < len) {
		size_t n;

		while (!c->part.len || (out && !c->part.writable)) {
			int got = virtq_next(c, &c->part);

			if (got != 1) {
				c->part.len = 0;
				return got ? got : (int64_t)done;
			}
		}
		if (!out && c->part.writable)
			return (int64_t)done; /* it stays for the writer */
		n = MIN(len - done, c->part.len);
		if (out) {
			memcpy(c->part.data, p + done, n);
			virtq_wrote(c, &c->part, (uint32_t)n);
		} else {
			memcpy(p + done, c->part.data, n);
		}
		c->part.data += n;
		c->part.gpa.v += n;
		c->part.len -= (uint32_t)n;
		done += n;
	}
	return (int64_t)done;
}

int64_t virtq_read(struct virtq_chain *c, void *buf, size_t len)
{
	return copy(c, buf, len, false);
}

int64_t virtq_write(struct virtq_chain *c, const void *buf, size_t len)
{
	return copy(c, (void *)(uintptr_t)buf, len, true);
}

void virtq_push(struct virtq_chain *c, uint32_t written)
{
	struct virtq *q = c->q;
	uint16_t *next = &state_of(q)->next_used[q->index];
	unsigned word =
	    RING_FIRST + *next % size_of(q) * (unsigned)USED_ENTRY_WORDS;
	uint32_t entry[2] = { c->head, written };

	/* Reset meanwhile: nobody waits for it. */
	if (!q->used)
		return;
	memcpy(&q->used[word], entry, sizeof(entry));
	gmem_return(q->v->ram,
		    GPA(state_of(q)->used[q->index] + word * sizeof(uint16_t)),
		    sizeof(entry));
	store(q, 1, ++*next);
}

/* ---- events ---- */

/* virtio 1.2, 2.7.10: did `event` lie in (old, new]? */
static bool passed(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

void virtq_interrupt(struct virtq *q)
{
	struct virtio_state *s = state_of(q);
	uint16_t new = s->next_used[q->index], old = s->signalled[q->index];
	bool wanted;

	if (!q->used || new == old)
		return;
	s->signalled[q->index] = new;
	atomic_thread_fence(memory_order_seq_cst);
	if (virtio_has(q->v, VIRTIO_F_EVENT_IDX))
		wanted =
		    passed(load(&q->avail[RING_FIRST + size_of(q)]), new, old);
	else
		wanted = !(load(&q->avail[0]) & AVAIL_NO_INTERRUPT);
	if (wanted)
		virtio_raise(q->v, VIRTIO_INT_USED);
}

/* Of a broken queue nothing is popped: who asks again asks for ever. */
bool virtq_offers(const struct virtq *q)
{
	return q->avail && !(state_of(q)->status & VIRTIO_NEEDS_RESET) &&
	       load(&q->avail[1]) != state_of(q)->last_avail[q->index];
}

bool virtq_enable_kicks(struct virtq *q)
{
	uint16_t last = state_of(q)->last_avail[q->index];

	if (!q->used || state_of(q)->status & VIRTIO_NEEDS_RESET)
		return false;
	if (virtio_has(q->v, VIRTIO_F_EVENT_IDX)) {
		store(q, RING_FIRST + size_of(q) * (unsigned)USED_ENTRY_WORDS,
		      last);
		atomic_thread_fence(memory_order_seq_cst);
	}
	return virtq_offers(q);
}

struct virtq_watch virtq_watch(const struct virtq *q)
{
	static const uint16_t nothing;

	if (!q->avail)
		return (struct virtq_watch){ .idx = &nothing };
	return (struct virtq_watch){
		.idx = &q->avail[1],
		.seen = state_of(q)->last_avail[q->index],
	};
}

bool virtq_watch_offers(const struct virtq_watch *w)
{
	return load(w->idx) != w->seen;
}
