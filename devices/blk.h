/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk (virtio 1.2, 5.2) over a disk (disk.h): one queue, data moved
 * between the disk and the driver's own buffers without a copy.
 *
 * A chain becomes a request from a pool that is as large as the queue, so that
 * nothing is allocated later and nothing outlives a reset: a reset by the
 * driver waits, on the vCPU's thread, until what is on its way has ended.
 *
 * What a driver gets wrong in a request ends that request with IOERR or UNSUPP;
 * one without a header or a status byte cannot be answered and breaks the
 * device. What the host gets wrong is IOERR, counted and logged.
 *
 * Owner: dev.lock. Kicks, timers, tasks and the disk are the I/O thread's.
 */
#ifndef TINTYPE_BLK_H
#define TINTYPE_BLK_H

#include "disk.h"
#include "limit.h"
#include "virtio.h"

#define BLK_QUEUE_MAX 256
#define BLK_ID_BYTES  20
#define BLK_NAME_MAX  32
/* One buffer, one request, one discard: so much and no more, since other
 * devices wait for us meanwhile. */
#define BLK_SEGMENTS	   (BLK_QUEUE_MAX - 2)
#define BLK_SEGMENT_BYTES  UINT32_C(65536)
#define BLK_REQUEST_BYTES  ((uint64_t)BLK_SEGMENTS * BLK_SEGMENT_BYTES)
#define BLK_RANGE_SECTORS  UINT32_C(131072) /* 64 MiB */
#define BLK_PHYSICAL_BYTES 4096

/* Feature bits (virtio 1.2, 5.2.3). */
#define BLK_F_SIZE_MAX	   (UINT64_C(1) << 1)
#define BLK_F_SEG_MAX	   (UINT64_C(1) << 2)
#define BLK_F_RO	   (UINT64_C(1) << 5)
#define BLK_F_BLK_SIZE	   (UINT64_C(1) << 6)
#define BLK_F_FLUSH	   (UINT64_C(1) << 9)
#define BLK_F_TOPOLOGY	   (UINT64_C(1) << 10)
#define BLK_F_CONFIG_WCE   (UINT64_C(1) << 11)
#define BLK_F_DISCARD	   (UINT64_C(1) << 13)
#define BLK_F_WRITE_ZEROES (UINT64_C(1) << 14)

/* Requests (5.2.6). */
enum blk_type {
	BLK_T_IN = 0,
	BLK_T_OUT = 1,
	BLK_T_FLUSH = 4,
	BLK_T_GET_ID = 8,
	BLK_T_DISCARD = 11,
	BLK_T_WRITE_ZEROES = 13,
};
enum { BLK_S_OK, BLK_S_IOERR, BLK_S_UNSUPP };

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* The data of DISCARD and WRITE_ZEROES. */
struct blk_range {
	uint64_t sector;
	uint32_t sectors, flags;
};
#define BLK_RANGE_UNMAP 1

/* Configuration (5.2.4), up to what we offer. */
struct blk_space {
	uint64_t capacity; /* sectors */
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	uint16_t min_io_size; /* blocks, as opt_io_size */
	uint32_t opt_io_size;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg;
	uint32_t discard_sector_alignment;
	uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
};

struct blk_state {
	struct virtio_state virtio;
	/* The driver has written 0 to `writeback`: 0 or 1. */
	uint64_t writethrough;
};

struct blk_counters {
	uint64_t reads, writes, flushes, discards; /* that ended well */
	uint64_t read_bytes, written_bytes;
	uint64_t errors;    /* that the host failed */
	uint64_t invalid;   /* that the driver should not have sent */
	uint64_t throttled; /* times that the queue waited for its limits */
	uint64_t polled;    /* bursts that came without a kick */
	uint64_t in_flight;
	/* From the pop to the end of what the disk did, ended well or not. */
	uint64_t latency_sum_ns, latency_max_ns;
};

struct blk_request;

struct blk {
	struct virtio virtio;
	struct blk_state st;
	char name[BLK_NAME_MAX];
	char serial[BLK_ID_BYTES]; /* padded with NUL */
	struct blk_space space;
	struct disk *disk;
	struct loop *loop;
	pthread_t io_thread;  /* which made us */
	pthread_cond_t ended; /* in_flight became 0; with dev.lock */
	struct blk_request *request, *free;
	struct iovec *iov; /* BLK_QUEUE_MAX for each request */
	struct iovec scratch[BLK_QUEUE_MAX];
	uint64_t burst_ns; /* when this burst began */
	uint64_t burst_bytes;
	bool bursting; /* whoever ends requests need not interrupt */
	struct limit bytes_limit, ops_limit;
	bool waiting; /* for them, by the timer */
	struct loop_timer ready;
	/* Polling, see blk.c */
	struct loop_task again;
	struct virtq_watch watch;
	bool watching;
	uint64_t poll_max_ns, poll_ns;
	uint64_t kicks_on_ns; /* when we last asked for kicks */
	struct blk_counters counters;
	struct log_limit failures;
};

struct blk_config {
	struct virtio_config virtio; /* its name is copied */
	struct disk *disk; /* outlives the device, which alone uses it */
	struct loop *loop;
	const char *serial; /* up to BLK_ID_BYTES; NULL: the name */
	uint64_t bytes_a_second, ops_a_second; /* 0: no limit */
	uint64_t poll_max_ns; /* how long to look for more; 0: not at all */
};

/* As long as a kick and the wake-up that follows cost. */
#define BLK_POLL_NS UINT64_C(50000)

/* NULL: no memory or timer. device_destroy ends it. I/O thread. */
struct blk *blk_create(const struct blk_config *c);

#endif
