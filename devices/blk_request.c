/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of virtio-blk, from its chain to its status byte. The header is
 * copied once; data is lent to the disk where the driver has it. The status is
 * written last, then the chain goes into the used ring.
 */
#include "blk_impl.h"

#include <assert.h>
#include <string.h>

#include "util.h"

static_assert(sizeof(struct blk_header) == 16, "virtio 1.2, 5.2.6");
static_assert(sizeof(struct blk_range) == 16, "virtio 1.2, 5.2.6");

/* ---- the end of a request ---- */

void blk_request_put(struct blk *b, struct blk_request *r)
{
	r->next = b->free;
	b->free = r;
	if (--b->counters.in_flight == 0)
		pthread_cond_broadcast(&b->ended);
}

/* `written` bytes of the data are certain; the status counts where it follows
 * them (virtio 1.2, 2.7.8.2: the length counts from the beginning). */
static void finish(struct blk *b, struct blk_request *r, uint8_t status,
		   uint64_t written)
{
	*r->status = status;
	gmem_wrote(b->virtio.ram, r->status, 1);
	virtq_push(&r->chain, (uint32_t)(written + (written == r->in_bytes)));
	blk_request_put(b, r);
}

static void refuse(struct blk *b, struct blk_request *r, uint8_t status,
		   const char *why)
{
	b->counters.invalid++;
	log_guest(&b->virtio.mistakes, b->name, "request of type %u: %s",
		  r->header.type, why);
	finish(b, r, status, 0);
}

bool blk_writes_through(const struct blk *b)
{
	return !virtio_has(&b->virtio, BLK_F_FLUSH) || b->st.writethrough;
}

static bool is_write(const struct blk_request *r)
{
	return r->disk.op == DISK_WRITE || r->disk.op == DISK_ZEROES ||
	       r->disk.op == DISK_DISCARD;
}

/* Even of a read that failed any part may be there. */
static void mark_read(struct blk *b, const struct blk_request *r)
{
	for (unsigned i = 0; i < r->disk.niov; i++)
		gmem_wrote(b->virtio.ram, r->disk.iov[i].iov_base,
			   r->disk.iov[i].iov_len);
}

static void count_failure(struct blk *b, const struct blk_request *r,
			  int result)
{
	static const char *const verb[] = {
		[DISK_READ] = "read",	[DISK_WRITE] = "write",
		[DISK_FLUSH] = "flush", [DISK_DISCARD] = "discard",
		[DISK_ZEROES] = "zero",
	};
	static_assert(ARRAY_SIZE(verb) == DISK_OPS, "a verb each");

	b->counters.errors++;
	log_guest(&b->failures, b->name, "%s %llu bytes at 0x%llx: %s",
		  verb[r->disk.op], (unsigned long long)r->disk.bytes,
		  (unsigned long long)r->disk.offset,
		  result < 0 ? strerror(-result) : "cut short");
}

static void count_success(struct blk *b, const struct blk_request *r)
{
	struct blk_counters *c = &b->counters;

	switch (r->header.type) {
	case BLK_T_IN:
		c->reads++;
		c->read_bytes += r->disk.bytes;
		break;
	case BLK_T_OUT:
		c->writes++;
		c->written_bytes += r->disk.bytes;
		break;
	case BLK_T_FLUSH:
		c->flushes++;
		break;
	default:
		c->discards++;
	}
}

void blk_request_done(struct disk_request *d, int result)
{
	struct blk_request *r = container_of(d, struct blk_request, disk);
	struct blk *b = d->owner;
	uint64_t ns;

	if (result == 0 && is_write(r) && blk_writes_through(b)) {
		d->op = DISK_FLUSH;
		b->disk->ops->submit(b->disk, d);
		b->disk->ops->commit(b->disk);
		return;
	}
	if (d->op == DISK_READ)
		mark_read(b, r);
	ns = now_ns() - r->popped_ns;
	b->counters.latency_sum_ns += ns;
	b->counters.latency_max_ns = MAX(b->counters.latency_max_ns, ns);
	if (result)
		count_failure(b, r, result);
	else
		count_success(b, r);
	finish(b, r, result ? BLK_S_IOERR : BLK_S_OK,
	       result || d->op != DISK_READ ? 0 : r->in_bytes);
}

/* ---- the beginning of one ---- */

/* Where the data is: of the requests that have some, `in` for those that fill
 * the driver's buffers. */
static bool data_is_in(const struct blk_request *r)
{
	return r->header.type == BLK_T_IN || r->header.type == BLK_T_GET_ID;
}

/* The last byte that we may write is the status, wherever buffers begin and end
 * (virtio 1.2, 2.7.4.1). */
static int take_status(struct blk *b, struct blk_request *r,
		       const struct virtq_desc *last)
{
	if (!last->len)
		return virtio_broken(&b->virtio,
				     "a request without a status byte");
	r->status = last->data + last->len - 1;
	r->in_bytes--;
	if (!data_is_in(r))
		return 0;
	r->disk.bytes--;
	if (--b->scratch[r->disk.niov - 1].iov_len == 0)
		r->disk.niov--;
	return 0;
}

/* What is left of the chain after the header, as a list in `scratch`; 0, or
 * -EPROTO: it cannot be answered. */
static int take_buffers(struct blk *b, struct blk_request *r)
{
	struct virtq_desc d, last = { .len = 0 };
	int got;

	r->disk.niov = 0;
	r->disk.bytes = r->in_bytes = 0;
	while ((got = virtq_rest(&r->chain, &d)) == 1) {
		if (!d.len)
			continue;
		if (d.writable) {
			r->in_bytes += d.len;
			last = d;
		}
		if (d.writable != data_is_in(r))
			continue;
		assert(r->disk.niov < BLK_QUEUE_MAX); /* virtq_next's promise */
		b->scratch[r->disk.niov++] = (struct iovec){ d.data, d.len };
		r->disk.bytes += d.len;
	}
	return got < 0 ? got : take_status(b, r, &last);
}

static void keep_buffers(struct blk *b, struct blk_request *r)
{
	r->disk.iov = r->disk.niov <= FEW
			  ? r->few
			  : b->iov + (r - b->request) * BLK_QUEUE_MAX;
	memcpy(r->disk.iov, b->scratch, r->disk.niov * sizeof(*b->scratch));
}

static void submit(struct blk *b, struct blk_request *r, enum disk_op op,
		   uint64_t sector)
{
	r->disk.op = op;
	r->disk.offset = sector * DISK_SECTOR_BYTES;
	r->popped_ns = b->burst_ns;
	b->burst_bytes += r->disk.bytes;
	if (op == DISK_READ || op == DISK_WRITE)
		limit_charge(&b->bytes_limit, r->disk.bytes, b->burst_ns);
	b->disk->ops->submit(b->disk, &r->disk);
}

/* By division and subtraction: no sum or product of the driver's numbers. */
static bool on_disk(const struct blk *b, uint64_t sector, uint64_t sectors)
{
	return range_within(sector, sectors, b->space.capacity);
}

static void move(struct blk *b, struct blk_request *r)
{
	bool write = r->header.type == BLK_T_OUT;
	uint64_t bytes = r->disk.bytes;

	if (write && b->disk->read_only)
		refuse(b, r, BLK_S_IOERR, "the disk is read-only");
	else if (bytes % DISK_SECTOR_BYTES)
		refuse(b, r, BLK_S_IOERR, "no whole sectors");
	else if (bytes > BLK_REQUEST_BYTES)
		refuse(b, r, BLK_S_IOERR, "longer than size_max and seg_max");
	else if (!on_disk(b, r->header.sector, bytes / DISK_SECTOR_BYTES))
		refuse(b, r, BLK_S_IOERR, "beyond the end of the disk");
	else if (!bytes)
		finish(b, r, BLK_S_OK, 0);
	else {
		keep_buffers(b, r);
		submit(b, r, write ? DISK_WRITE : DISK_READ, r->header.sector);
	}
}

static void give_id(struct blk *b, struct blk_request *r)
{
	size_t done = 0;

	if (r->disk.bytes < BLK_ID_BYTES) {
		refuse(b, r, BLK_S_IOERR, "no room for 20 bytes of id");
		return;
	}
	for (unsigned i = 0; done < BLK_ID_BYTES; i++) {
		const struct iovec *v = &b->scratch[i];
		size_t n = MIN(v->iov_len, BLK_ID_BYTES - done);

		memcpy(v->iov_base, b->serial + done, n);
		gmem_wrote(b->virtio.ram, v->iov_base, n);
		done += n;
	}
	finish(b, r, BLK_S_OK, BLK_ID_BYTES);
}

/* `n` bytes of `range` came; it has room for one more than there may be. */
static void clear(struct blk *b, struct blk_request *r, int64_t n,
		  const struct blk_range *range)
{
	bool discard = r->header.type == BLK_T_DISCARD;
	bool unmap = range->flags & BLK_RANGE_UNMAP;

	if (b->disk->read_only)
		refuse(b, r, BLK_S_IOERR, "the disk is read-only");
	else if (n != sizeof(*range))
		refuse(b, r, BLK_S_IOERR, "not one range");
	else if (range->flags & ~BLK_RANGE_UNMAP || (discard && unmap))
		refuse(b, r, BLK_S_UNSUPP, "unknown flags");
	else if (range->sectors > BLK_RANGE_SECTORS)
		refuse(b, r, BLK_S_IOERR, "more sectors than one may clear");
	else if (!on_disk(b, range->sector, range->sectors))
		refuse(b, r, BLK_S_IOERR, "beyond the end of the disk");
	else if (!range->sectors)
		finish(b, r, BLK_S_OK, 0);
	else {
		r->disk.niov = 0;
		r->disk.bytes = (uint64_t)range->sectors * DISK_SECTOR_BYTES;
		submit(b, r, discard || unmap ? DISK_DISCARD : DISK_ZEROES,
		       range->sector);
	}
}

static void flush(struct blk *b, struct blk_request *r)
{
	r->disk.niov = 0;
	r->disk.bytes = 0;
	submit(b, r, DISK_FLUSH, 0);
}

int blk_request_start(struct blk *b, struct blk_request *r)
{
	struct blk_range range[2] = { 0 };
	int64_t n = 0;

	if (virtq_read(&r->chain, &r->header, sizeof(r->header)) !=
	    sizeof(r->header))
		return virtio_broken(&b->virtio, "a request without a header");
	if (r->header.type == BLK_T_DISCARD ||
	    r->header.type == BLK_T_WRITE_ZEROES)
		n = virtq_read(&r->chain, range, sizeof(range));
	if (n < 0 || take_buffers(b, r) < 0)
		return -EPROTO;
	switch (r->header.type) {
	case BLK_T_IN:
	case BLK_T_OUT:
		move(b, r);
		break;
	case BLK_T_FLUSH:
		flush(b, r);
		break;
	case BLK_T_GET_ID:
		give_id(b, r);
		break;
	case BLK_T_DISCARD:
	case BLK_T_WRITE_ZEROES:
		clear(b, r, n, range);
		break;
	default:
		refuse(b, r, BLK_S_UNSUPP, "not known");
	}
	return 0;
}
